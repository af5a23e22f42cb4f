use std::{collections::BTreeMap, fmt, path::Path};

use aws_lc_rs::hmac;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A 256-bit key. It does not print, and its memory is cleared when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for the primitive that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose, derived from this one: HMAC-SHA-256 over `purpose` (RFC 5869's
    /// expand step with one block), so that one key in a file serves several without reuse.
    pub fn derive(&self, purpose: &str) -> Self {
        let mut info = purpose.as_bytes().to_vec();
        info.push(1);
        Self(hmac_sha256(self, &info))
    }

    fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::NotAKey)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// HMAC-SHA-256 (RFC 2104) of `message`.
pub fn hmac_sha256(key: &Key, message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), message);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Whether `mac` is the HMAC-SHA-256 of `message`, in constant time.
pub fn hmac_verify(key: &Key, message: &[u8], mac: &[u8]) -> bool {
    hmac::verify(
        &hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
        message,
        mac,
    )
    .is_ok()
}

/// The key XORed with HMAC's inner and outer pads (RFC 2104, 64 bytes each).
///
/// PostgreSQL has SHA-256 built in but no HMAC; with these two stored, its HMAC is
/// `sha256(opad || sha256(ipad || message))`.
pub fn hmac_pads(key: &Key) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    let padded = |pad: u8| {
        let mut block = vec![pad; 64];
        for (byte, key_byte) in block.iter_mut().zip(key.expose()) {
            *byte ^= key_byte;
        }
        Zeroizing::new(block)
    };
    (padded(0x36), padded(0x5c))
}

/// Numbered keys of one purpose: the current one makes, all of them check.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: i16,
    keys: BTreeMap<i16, Key>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn single(id: i16, key: Key) -> Self {
        Self {
            current: id,
            keys: BTreeMap::from([(id, key)]),
        }
    }

    /// This ring with `key` added and made current.
    pub fn rotated(mut self, id: i16, key: Key) -> Self {
        self.keys.insert(id, key);
        self.current = id;
        self
    }

    /// This ring without the key of that number.
    pub fn without(mut self, id: i16) -> Self {
        self.keys.remove(&id);
        self
    }

    /// The number of the current key, and the key.
    pub fn current(&self) -> Option<(i16, &Key)> {
        Some((self.current, self.keys.get(&self.current)?))
    }

    /// The key of that number.
    pub fn get(&self, id: i16) -> Option<&Key> {
        self.keys.get(&id)
    }

    /// Every number with its key, rising.
    pub fn iter(&self) -> impl Iterator<Item = (i16, &Key)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }
}

/// Key rings by purpose, from a TOML file that only its owner may read.
///
/// ```toml
/// [context]          # the app signs, the database checks
/// current = 2
/// 1 = "…64 hexadecimal digits…"
/// 2 = "…"
/// ```
#[derive(Clone, Debug)]
pub struct KeyFile(BTreeMap<String, KeyRing>);

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// When it cannot be read, when others than its owner may read it, or when a ring lacks its
    /// current key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path)
                .map_err(|e| KeyError::Unreadable(e.to_string()))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::Open(mode & 0o777));
            }
        }
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|e| KeyError::Unreadable(e.to_string()))?;
        Self::parse(&text)
    }

    /// Parses the text of a key file.
    ///
    /// # Errors
    /// When it is not TOML of the form above, or when a ring lacks its current key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Ring {
            current: i16,
            #[serde(flatten)]
            keys: BTreeMap<String, String>,
        }
        let rings: BTreeMap<String, Ring> =
            toml::from_str(text).map_err(|e| KeyError::Malformed(e.message().to_owned()))?;
        let mut parsed = BTreeMap::new();
        for (purpose, ring) in rings {
            let mut keys = BTreeMap::new();
            for (id, mut text) in ring.keys {
                let id = id.parse().map_err(|_| KeyError::NotAKey)?;
                keys.insert(id, Key::from_hex(&text)?);
                text.zeroize();
            }
            if !keys.contains_key(&ring.current) {
                return Err(KeyError::NoCurrent(purpose));
            }
            parsed.insert(
                purpose,
                KeyRing {
                    current: ring.current,
                    keys,
                },
            );
        }
        Ok(Self(parsed))
    }

    /// A file of rings, to be written.
    pub fn of(rings: impl IntoIterator<Item = (&'static str, KeyRing)>) -> Self {
        Self(
            rings
                .into_iter()
                .map(|(purpose, ring)| (purpose.to_owned(), ring))
                .collect(),
        )
    }

    /// The ring of that purpose.
    ///
    /// # Errors
    /// When the file has none.
    pub fn ring(&self, purpose: &'static str) -> Result<&KeyRing, KeyError> {
        self.0.get(purpose).ok_or(KeyError::NoRing(purpose))
    }

    /// This file with the ring of that purpose replaced.
    pub fn with(mut self, purpose: &'static str, ring: KeyRing) -> Self {
        self.0.insert(purpose.to_owned(), ring);
        self
    }

    /// The text of the file. Whoever writes it gives it mode 0600.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for (purpose, ring) in &self.0 {
            text.push_str(&format!("[{purpose}]\ncurrent = {}\n", ring.current));
            for (id, key) in ring.iter() {
                let digits = Zeroizing::new(hex::encode(key.expose()));
                text.push_str(&format!("{id} = \"{}\"\n", *digits));
            }
        }
        text
    }
}

/// What is wrong with a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("the key file cannot be read: {0}")]
    Unreadable(String),
    /// Others may read it.
    #[error("the key file has mode {0:o}; give it mode 600")]
    Open(u32),
    /// It is not of the form it should have.
    #[error("the key file is malformed: {0}")]
    Malformed(String),
    /// A key is not 64 hexadecimal digits under a number.
    #[error("a key is a number with 64 hexadecimal digits")]
    NotAKey,
    /// A ring names a current key that it does not have.
    #[error("the ring `{0}` lacks its current key")]
    NoCurrent(String),
    /// The purpose has no ring.
    #[error("the key file has no ring `{0}`")]
    NoRing(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_survives_being_written_and_read() {
        let ring = KeyRing::single(1, Key::new([1; 32])).rotated(2, Key::new([2; 32]));
        let file = KeyFile::of([("context", ring)]);
        let read = KeyFile::parse(&file.to_text()).unwrap();
        let ring = read.ring("context").unwrap();
        assert_eq!(ring.current().unwrap().0, 2);
        assert_eq!(ring.get(1).unwrap().expose(), &[1; 32]);
        assert_eq!(read.ring("vault").unwrap_err(), KeyError::NoRing("vault"));
    }

    #[test]
    fn a_malformed_key_file_is_refused() {
        for (text, why) in [
            ("[context]\ncurrent = 1\n", "lacks its current key"),
            (
                "[context]\ncurrent = 1\n1 = \"00\"\n",
                "64 hexadecimal digits",
            ),
            ("[context]\n1 = \"00\"\n", "malformed"),
            ("context", "malformed"),
        ] {
            let error = KeyFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_pads_give_the_same_hmac() {
        let key = Key::new([7; 32]);
        let (inner, outer) = hmac_pads(&key);
        let sha = |parts: &[&[u8]]| {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parts.concat())
        };
        let by_hand = sha(&[&outer, sha(&[&inner, b"message"]).as_ref()]);
        assert_eq!(by_hand.as_ref(), hmac_sha256(&key, b"message"));
        assert!(hmac_verify(&key, b"message", by_hand.as_ref()));
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key(…)");
    }
}
