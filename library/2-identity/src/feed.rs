//! The secret of a feed: the address by which a calendar program reads what its member may see.
//!
//! ```
//! use watertight_identity::feed::FeedSecret;
//! use watertight_terms::Random;
//!
//! let secret = FeedSecret::new(&Random::system());
//! let text = secret.to_text();
//! assert_eq!(FeedSecret::parse(&text).unwrap().digest(), secret.digest());
//! assert!(FeedSecret::parse("guessed").is_none());
//! ```
//!
//! It has 256 random bits and is stored as its SHA-256 digest, so that a copy of the table opens no
//! feed. Whoever has the address has the feed: such programs know neither headers nor sign-ins.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use watertight_terms::{Key, Random};

/// What a feed is known by.
#[derive(Clone)]
pub struct FeedSecret(Key);

impl FeedSecret {
    /// A new one.
    pub fn new(random: &Random) -> Self {
        Self(Key::new(random.bytes()))
    }

    /// The one that is written so. None when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(Key::new(bytes.try_into().ok()?)))
    }

    /// As it stands in the feed's address: 43 characters of base64url.
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.expose())
    }

    /// What is stored of it.
    pub fn digest(&self) -> [u8; 32] {
        let mut stored = [0; 32];
        stored.copy_from_slice(digest::digest(&digest::SHA256, self.0.expose()).as_ref());
        stored
    }
}

impl std::fmt::Debug for FeedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_ours_is_none() {
        let text = FeedSecret::new(&Random::system()).to_text();
        assert_eq!(text.len(), 43);
        assert!(FeedSecret::parse(&text).is_some());
        for bad in [
            String::new(),
            format!("{text}="),
            format!("{text}A"),
            text.replace(|letter: char| letter.is_ascii_alphanumeric(), "!"),
            text[..42].to_owned(),
        ] {
            assert!(FeedSecret::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn it_does_not_print_itself() {
        let secret = FeedSecret::new(&Random::system());
        assert!(!format!("{secret:?}").contains(&secret.to_text()));
    }
}
