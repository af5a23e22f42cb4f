//! AES-256-GCM-SIV (RFC 8452), as aws-lc-rs has it: a nonce that is drawn twice tells only whether
//! two texts are the same.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use watertight_terms::Key;
use zeroize::Zeroizing;

use crate::VaultFault;

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// Encrypts; the tag stands behind.
pub(crate) fn seal(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    bound_to: &[u8],
    plain: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    // The buffer gets its final size first: growing would leave a copy of the text behind.
    let room = plain.len().saturating_add(TAG_BYTES);
    let mut buffer = Zeroizing::new(Vec::with_capacity(room));
    buffer.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key)?
        .seal_in_place_append_tag(nonce, Aad::from(bound_to), &mut *buffer)
        .map_err(|_| VaultFault::Failed)?;
    Ok(buffer)
}

/// Decrypts, or says that it is not what was encrypted with that key, nonce and associated data.
pub(crate) fn open(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    bound_to: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let plain = cipher(key)?
        .open_in_place(nonce, Aad::from(bound_to), &mut buffer)
        .map_err(|_| VaultFault::NotHere)?
        .len();
    buffer.truncate(plain);
    Ok(buffer)
}

fn cipher(key: &Key) -> Result<LessSafeKey, VaultFault> {
    UnboundKey::new(&AES_256_GCM_SIV, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| VaultFault::Failed)
}
