use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use uuid::Uuid;
use watertight_terms::{Fault, FieldFault, Key, KeyRing, Random, TenantId, problems};
use zeroize::Zeroizing;

use crate::{Opened, Sealed};

/// The version of the form that is written.
const VERSION: u8 = 1;
/// Version, key id and nonce.
const HEAD_BYTES: usize = 1 + 2 + NONCE_BYTES;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// A text has at most so many characters: as many as notes may have.
const TEXT_CHARS_MAX: usize = 10_000;
/// A sealed value is at most so long; longer ones are not decrypted.
const STORED_BYTES_MAX: usize = HEAD_BYTES + 4 * TEXT_CHARS_MAX + TAG_BYTES;
/// A document has at most so many bytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Where a value lives. It opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The studio.
    pub tenant: TenantId,
    /// `schema.table.column`.
    pub column: &'static str,
    /// The row's id.
    pub row: Uuid,
}

/// Seals and opens, with the keys of the ring `vault`.
#[derive(Clone)]
pub struct Vault {
    ring: KeyRing,
    random: Random,
}

impl Vault {
    /// A vault that seals with the ring's current key and opens with any of them.
    pub fn new(ring: KeyRing, random: Random) -> Self {
        Self { ring, random }
    }

    /// Seals a text for its place. Equal texts give different bytes.
    ///
    /// # Errors
    /// When the text has over 10,000 characters, or when the ring lacks its current key.
    pub fn seal(&self, place: Place, plaintext: &str) -> Result<Sealed<String>, VaultFault> {
        if plaintext.chars().nth(TEXT_CHARS_MAX).is_some() {
            return Err(VaultFault::TooLong);
        }
        self.seal_any(place, plaintext)
    }

    /// Seals a text that is no field of a row but made of many, such as an answer.
    ///
    /// # Errors
    /// When it has over a mebibyte, or when the ring lacks its current key.
    pub fn seal_document(
        &self,
        place: Place,
        document: &str,
    ) -> Result<Sealed<String>, VaultFault> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(VaultFault::TooLong);
        }
        self.seal_any(place, document)
    }

    fn seal_any(&self, place: Place, plaintext: &str) -> Result<Sealed<String>, VaultFault> {
        let (id, key) = self.ring.current().ok_or(VaultFault::NoCurrentKey)?;
        let nonce: [u8; NONCE_BYTES] = self.random.bytes();
        // The buffer gets its final size first: growing would leave a copy of the text behind.
        let room = plaintext.len().saturating_add(TAG_BYTES);
        let mut buffer = Zeroizing::new(Vec::with_capacity(room));
        buffer.extend_from_slice(plaintext.as_bytes());
        tenant_key(key, place.tenant)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.bound_to(id)),
                &mut *buffer,
            )
            .map_err(|_| VaultFault::Failed)?;
        let mut stored = vec![VERSION];
        stored.extend_from_slice(&id.to_be_bytes());
        stored.extend_from_slice(&nonce);
        stored.extend_from_slice(&buffer);
        Ok(Sealed::from_stored(stored))
    }

    /// Opens a value in the place where it lies.
    ///
    /// # Errors
    /// When it was sealed for another place, was changed, is no sealed value, or when its key is
    /// not in the ring.
    pub fn open(
        &self,
        place: Place,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, VaultFault> {
        self.open_any(place, Parts::of(sealed.as_stored(), STORED_BYTES_MAX)?)
    }

    /// Opens a document in the place where it lies.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_document(
        &self,
        place: Place,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, VaultFault> {
        let bytes_max = HEAD_BYTES + DOCUMENT_BYTES_MAX + TAG_BYTES;
        self.open_any(place, Parts::of(sealed.as_stored(), bytes_max)?)
    }

    fn open_any(&self, place: Place, parts: Parts<'_>) -> Result<Opened<String>, VaultFault> {
        let key = self
            .ring
            .get(parts.key_id)
            .ok_or(VaultFault::UnknownKey(parts.key_id))?;
        let mut buffer = Zeroizing::new(parts.sealed.to_vec());
        let plain = tenant_key(key, place.tenant)?
            .open_in_place(
                Nonce::assume_unique_for_key(parts.nonce),
                Aad::from(place.bound_to(parts.key_id)),
                &mut buffer,
            )
            .map_err(|_| VaultFault::NotHere)?;
        let text = std::str::from_utf8(plain).map_err(|_| VaultFault::Malformed)?;
        Ok(Opened::new(Zeroizing::new(text.to_owned())))
    }

    /// Whether a value was sealed with the current key; rotation seals the others again.
    pub fn is_current(&self, sealed: &Sealed<String>) -> bool {
        let current = self.ring.current().map(|(id, _)| id);
        Parts::of(sealed.as_stored(), STORED_BYTES_MAX)
            .is_ok_and(|parts| Some(parts.key_id) == current)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Place {
    /// The associated data: fixed lengths first, the one name of free length last.
    fn bound_to(self, key_id: i16) -> Vec<u8> {
        let mut data = vec![VERSION];
        data.extend_from_slice(&key_id.to_be_bytes());
        data.extend_from_slice(self.tenant.0.as_bytes());
        data.extend_from_slice(self.row.as_bytes());
        data.extend_from_slice(self.column.as_bytes());
        data
    }
}

/// A stored value, taken apart.
struct Parts<'a> {
    key_id: i16,
    nonce: [u8; NONCE_BYTES],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(stored: &'a [u8], bytes_max: usize) -> Result<Self, VaultFault> {
        if stored.len() < HEAD_BYTES + TAG_BYTES || stored.len() > bytes_max {
            return Err(VaultFault::Malformed);
        }
        let (version, rest) = stored.split_first_chunk().ok_or(VaultFault::Malformed)?;
        let (key_id, rest) = rest.split_first_chunk().ok_or(VaultFault::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(VaultFault::Malformed)?;
        if *version != [VERSION] {
            return Err(VaultFault::Malformed);
        }
        Ok(Self {
            key_id: i16::from_be_bytes(*key_id),
            nonce: *nonce,
            sealed,
        })
    }
}

fn tenant_key(key: &Key, tenant: TenantId) -> Result<LessSafeKey, VaultFault> {
    let own = key.derive(&format!("vault|{tenant}"));
    UnboundKey::new(&AES_256_GCM_SIV, own.expose())
        .map(LessSafeKey::new)
        .map_err(|_| VaultFault::Failed)
}

/// Why a value was not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    /// The text is longer than what is sealed.
    #[error("the text is longer than {TEXT_CHARS_MAX} characters")]
    TooLong,
    /// The ring names a current key that it does not have.
    #[error("the key ring `vault` lacks its current key; add it to the key file")]
    NoCurrentKey,
    /// The value was sealed with a key that is not in the ring.
    #[error(
        "the value was sealed with key {0}, which the key ring `vault` lacks; add it to the key file"
    )]
    UnknownKey(i16),
    /// The bytes are no sealed value of a version that is read here.
    #[error("the bytes are no sealed value; restore the row from a backup")]
    Malformed,
    /// It was sealed for another place or was changed; the two cannot be told apart.
    #[error("the value does not open here: it was moved or changed; restore the row from a backup")]
    NotHere,
    /// The cipher itself refused.
    #[error("the cipher failed")]
    Failed,
}

impl From<VaultFault> for Fault {
    fn from(fault: VaultFault) -> Self {
        match fault {
            VaultFault::TooLong => {
                let field = FieldFault {
                    pointer: String::new(),
                    code: "too-long",
                    detail: fault.to_string(),
                };
                Self::new(problems::INVALID, "a field is longer than its bound").fields(vec![field])
            }
            _ => Self::bug(fault.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight_terms::Kind;

    fn vault() -> Vault {
        Vault::new(KeyRing::single(1, Key::new([1; 32])), Random::system())
    }

    fn place() -> Place {
        Place {
            tenant: TenantId(Uuid::from_u128(1)),
            column: "studio.artists.email",
            row: Uuid::from_u128(2),
        }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place() {
        let longest = "ü".repeat(TEXT_CHARS_MAX);
        for text in ["", "zoe@example.org", "a\u{0}b", &longest] {
            let sealed = vault().seal(place(), text).unwrap();
            let opened = vault().open(place(), &sealed).unwrap();
            assert_eq!(opened.expose(), text);
        }
    }

    #[test]
    fn a_text_over_the_bound_is_refused() {
        let text = "a".repeat(TEXT_CHARS_MAX + 1);
        let fault = vault().seal(place(), &text).unwrap_err();
        assert_eq!(fault, VaultFault::TooLong);
        assert_eq!(Fault::from(fault).kind(), Kind::Invalid);
    }

    #[test]
    fn a_document_may_be_longer_and_opens_as_one() {
        let text = "ü".repeat(DOCUMENT_BYTES_MAX / 2);
        let sealed = vault().seal_document(place(), &text).unwrap();
        let opened = vault().open_document(place(), &sealed).unwrap();
        assert_eq!(opened.expose(), &text);
        assert_eq!(
            vault().open(place(), &sealed).unwrap_err(),
            VaultFault::Malformed
        );
        let fault = vault().seal_document(place(), &format!("{text}a"));
        assert_eq!(fault.unwrap_err(), VaultFault::TooLong);
    }

    #[test]
    fn equal_texts_are_sealed_differently() {
        let vault = vault();
        let one = vault.seal(place(), "same").unwrap();
        let two = vault.seal(place(), "same").unwrap();
        assert_ne!(one.as_stored()[HEAD_BYTES..], two.as_stored()[HEAD_BYTES..]);
    }

    #[test]
    fn a_value_opens_in_no_other_row_column_or_studio() {
        let sealed = vault().seal(place(), "text").unwrap();
        assert!(vault().open(place(), &sealed).is_ok());
        let (other, here) = (Uuid::from_u128(9), place());
        for elsewhere in [
            Place { row: other, ..here },
            Place {
                column: "studio.artists.phone",
                ..here
            },
            Place {
                column: "studio.artists.emai",
                ..here
            },
            Place {
                tenant: TenantId(other),
                ..here
            },
            Place {
                tenant: TenantId(here.row),
                row: here.tenant.0,
                ..here
            },
        ] {
            assert_eq!(
                vault().open(elsewhere, &sealed).unwrap_err(),
                VaultFault::NotHere
            );
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealed = vault().seal(place(), "text").unwrap();
        assert!(vault().open(place(), &sealed).is_ok());
        for at in 0..sealed.as_stored().len() {
            let mut bytes = sealed.as_stored().to_vec();
            bytes[at] ^= 1;
            assert!(
                vault().open(place(), &Sealed::from_stored(bytes)).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed() {
        let sealed = vault().seal(place(), "text").unwrap();
        for length in 0..sealed.as_stored().len() {
            let cut = Sealed::from_stored(sealed.as_stored()[..length].to_vec());
            assert!(vault().open(place(), &cut).is_err(), "cut to {length}");
        }
        let longer = [sealed.as_stored(), b"x"].concat();
        assert!(vault().open(place(), &Sealed::from_stored(longer)).is_err());
        let huge = vec![1; STORED_BYTES_MAX + 1];
        assert_eq!(
            vault()
                .open(place(), &Sealed::from_stored(huge))
                .unwrap_err(),
            VaultFault::Malformed
        );
    }

    #[test]
    fn an_unknown_key_says_so() {
        let other = Vault::new(KeyRing::single(-7, Key::new([7; 32])), Random::system());
        let sealed = other.seal(place(), "text").unwrap();
        let fault = vault().open(place(), &sealed).unwrap_err();
        assert_eq!(fault, VaultFault::UnknownKey(-7));
        assert!(fault.to_string().contains("key -7"));
        assert_eq!(Fault::from(fault).kind(), Kind::Bug);
    }

    #[test]
    fn after_a_rotation_the_old_key_still_opens() {
        let old = vault().seal(place(), "text").unwrap();
        let ring = KeyRing::single(1, Key::new([1; 32])).rotated(2, Key::new([2; 32]));
        let rotated = Vault::new(ring, Random::system());
        assert_eq!(rotated.open(place(), &old).unwrap().expose(), "text");
        assert!(!rotated.is_current(&old));
        let new = rotated.seal(place(), "text").unwrap();
        assert!(rotated.is_current(&new));
        assert_eq!(
            vault().open(place(), &new).unwrap_err(),
            VaultFault::UnknownKey(2)
        );
    }

    #[test]
    fn studios_have_keys_of_their_own() {
        let ring_key = Key::new([1; 32]);
        let one = ring_key.derive(&format!("vault|{}", Uuid::from_u128(1)));
        let two = ring_key.derive(&format!("vault|{}", Uuid::from_u128(2)));
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let nonce = Random::from_fn(|bytes| bytes.fill(5));
        let vault = Vault::new(KeyRing::single(258, Key::new([1; 32])), nonce);
        let stored = vault.seal(place(), "text").unwrap().as_stored().to_vec();
        assert_eq!(stored[..3], [1, 1, 2]);
        assert_eq!(stored[3..15], [5; 12]);
        assert_eq!(stored.len(), 31 + "text".len());
    }

    #[test]
    fn nothing_prints() {
        let sealed = vault().seal(place(), "text").unwrap();
        let opened = vault().open(place(), &sealed).unwrap();
        assert_eq!(
            format!("{sealed:?} {opened:?} {:?}", vault()),
            "Sealed(…) Opened(…) Vault(…)"
        );
    }
}
