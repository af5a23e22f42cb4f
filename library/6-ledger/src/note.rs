//! Checkpoints: the size and the root of a log as a signed note (C2SP tlog-checkpoint and signed-note),
//! so that existing verifiers read them.
//!
//! ```text
//! studio.watertight/ledger/8a3c…
//! 1042
//! q2T0…=
//!
//! — studio.watertight/ledger/8a3c… Az3g…=
//! ```

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519 as ED25519_KEYS, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::civil::Date;
use watertight_terms::{Fault, Key, KeyRing, TenantId};

use crate::tree::{Edge, Hash};

/// The name of every log begins so; its studio's id follows.
pub const ORIGIN: &str = "studio.watertight/ledger/";

/// And that of a studio's receipts.
const RECEIPTS: &str = "studio.watertight/receipt/";

/// The kind of signature, in a key's id: Ed25519.
const ED25519: u8 = 1;

/// The name of a studio's log, and of the key that signs it.
pub fn origin(tenant: TenantId) -> String {
    format!("{ORIGIN}{tenant}")
}

/// A checkpoint of a studio's log, signed with the current key of the ring `checkpoint`.
///
/// # Errors
/// When the ring has no current key.
pub fn sign(ring: &KeyRing, tenant: TenantId, size: u64, root: &Hash) -> Result<String, Fault> {
    sign_checkpoint(ring, tenant, size, root, "")
}

/// A checkpoint with further lines under its root.
fn sign_checkpoint(
    ring: &KeyRing,
    tenant: TenantId,
    size: u64,
    root: &Hash,
    further: &str,
) -> Result<String, Fault> {
    let root = BASE64_STANDARD.encode(root);
    sign_text(ring, &origin(tenant), &format!("{size}\n{root}\n{further}"))
}

/// A signed note of that name over any text, without its last line feed: what else than checkpoints is signed with the
/// ring has another name, so that neither is taken for the other.
///
/// # Errors
/// When the ring has no current key.
pub fn sign_text(ring: &KeyRing, name: &str, text: &str) -> Result<String, Fault> {
    let (_, key) = ring
        .current()
        .ok_or_else(|| Fault::bug("the key ring `checkpoint` has no current key"))?;
    let pair = pair(key)?;
    let text = format!("{name}\n{}\n", text.trim_end_matches('\n'));
    let id = key_id(name, pair.public_key().as_ref());
    let signature = pair.sign(text.as_bytes());
    let signature = BASE64_STANDARD.encode([&id, signature.as_ref()].concat());
    Ok(format!("{text}\n— {name} {signature}\n"))
}

/// The text of a note that [`sign_text`] signed under that name with any key of the ring; nothing of any other.
pub fn open_text<'a>(ring: &KeyRing, name: &str, note: &'a str) -> Option<&'a str> {
    let (text, signed) = note.rsplit_once("\n— ")?;
    let signature = signed.strip_prefix(name)?.strip_prefix(' ')?.trim_end();
    let signature = BASE64_STANDARD.decode(signature).ok()?;
    let signature = signature.get(4..)?;
    let is_ours = ring
        .iter()
        .filter_map(|(_, key)| pair(key).ok())
        .any(|pair| {
            let key = UnparsedPublicKey::new(&ED25519_KEYS, pair.public_key().as_ref());
            key.verify(text.as_bytes(), signature).is_ok()
        });
    let said = text.strip_prefix(name)?.strip_prefix('\n')?;
    is_ours.then_some(said)
}

/// A receipt of the studio: one line of JSON in a signed note of another name than the log's, so that neither
/// is taken for the other.
///
/// # Errors
/// When the ring has no current key.
pub fn sign_receipt(
    ring: &KeyRing,
    tenant: TenantId,
    receipt: &serde_json::Value,
) -> Result<String, Fault> {
    sign_text(ring, &receipts(tenant), &receipt.to_string())
}

/// The name under which a studio's receipts are signed.
fn receipts(tenant: TenantId) -> String {
    format!("{RECEIPTS}{tenant}")
}

/// What stands for the entries of a log that retention removes: those before `edge`, whose chain ended
/// with `chain`, all older than the day `before`.
///
/// # Errors
/// When the ring has no current key.
pub fn sign_stub(
    ring: &KeyRing,
    tenant: TenantId,
    edge: &Edge,
    chain: &Hash,
    before: Date,
) -> Result<String, Fault> {
    let (chain, peaks) = (
        BASE64_STANDARD.encode(chain),
        BASE64_STANDARD.encode(edge.to_bytes()),
    );
    let further = format!("removed {before} {chain}\nedge {peaks}\n");
    sign_checkpoint(ring, tenant, edge.size(), &edge.root(), &further)
}

/// The public half of every key of the ring, as signed-note names them: for the studio's owner, who
/// verifies with them.
///
/// # Errors
/// When a key is none: a defect of ours.
pub fn verifier_keys(ring: &KeyRing, tenant: TenantId) -> Result<Vec<String>, Fault> {
    keys_as(ring, &origin(tenant))
}

/// The same for the studio's receipts.
///
/// # Errors
/// As [`verifier_keys`].
pub fn receipt_keys(ring: &KeyRing, tenant: TenantId) -> Result<Vec<String>, Fault> {
    keys_as(ring, &receipts(tenant))
}

fn keys_as(ring: &KeyRing, name: &str) -> Result<Vec<String>, Fault> {
    let verifier_key = |key: &Key| {
        let pair = pair(key)?;
        let public = pair.public_key().as_ref();
        let id = hex::encode(key_id(name, public));
        let typed = BASE64_STANDARD.encode([&[ED25519], public].concat());
        Ok(format!("{name}+{id}+{typed}"))
    };
    ring.iter().map(|(_, key)| verifier_key(key)).collect()
}

fn pair(key: &Key) -> Result<Ed25519KeyPair, Fault> {
    Ed25519KeyPair::from_seed_unchecked(key.expose())
        .map_err(|_| Fault::bug("a key of the ring `checkpoint` is no seed"))
}

/// The first four bytes of SHA-256 over name, newline, kind and public key.
fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let named = [name.as_bytes(), b"\n", &[ED25519], public].concat();
    let mut id = [0; 4];
    for (to, from) in id.iter_mut().zip(digest(&SHA256, &named).as_ref()) {
        *to = *from;
    }
    id
}

/// Size and root of a note. Its signature is not looked at: this is for the notes that we wrote.
pub(crate) fn read(note: &str, tenant: TenantId) -> Option<(u64, Hash)> {
    let mut lines = note.lines();
    if lines.next()? != origin(tenant) {
        return None;
    }
    let size = lines.next()?.parse().ok()?;
    let root = BASE64_STANDARD.decode(lines.next()?).ok()?;
    Some((size, root.try_into().ok()?))
}

/// Edge and chain of a stub. Its signature is not looked at, as with [`read`].
pub(crate) fn read_stub(note: &str, tenant: TenantId) -> Option<(Edge, Hash)> {
    let (size, root) = read(note, tenant)?;
    let mut lines = note.lines().skip(3);
    let (_, chain) = lines.next()?.strip_prefix("removed ")?.split_once(' ')?;
    let peaks = BASE64_STANDARD.decode(lines.next()?.strip_prefix("edge ")?);
    let edge = Edge::read(size, &peaks.ok()?)?;
    let chain = BASE64_STANDARD.decode(chain).ok()?.try_into().ok()?;
    (edge.root() == root).then_some((edge, chain))
}
