use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};

use crate::{keys::PublicKey, token::Claims, verifier::Instance};

/// So many tokens are remembered: those of a minute, at some seventy a second. Each is bounded by
/// the longest token there is.
const TOKENS_MOST: usize = 4_096;

/// Signatures that were found right, by the digest of the whole token. Nothing else about a token
/// is remembered as true: its key is looked up again, and every claim is held against the clock
/// and the settings again, each time that it comes. A token that was refused is not here, so that
/// nobody can push out others without a signature.
pub(crate) struct Cache(quick_cache::sync::Cache<[u8; 32], Verified>);

/// A token whose signature was right.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    /// Whose token it is.
    pub(crate) instance: Arc<Instance>,
    pub(crate) key_id: String,
    /// The very key: one that was fetched anew is another, and the signature is checked again.
    pub(crate) key: Arc<PublicKey>,
    pub(crate) claims: Arc<Claims>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self(quick_cache::sync::Cache::new(TOKENS_MOST))
    }

    pub(crate) fn get(&self, token: &str) -> Option<Verified> {
        self.0.get(&name(token))
    }

    pub(crate) fn forget_all(&self) {
        self.0.clear();
    }

    pub(crate) fn put(&self, token: &str, verified: Verified) {
        self.0.insert(name(token), verified);
    }
}

fn name(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    name
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} tokens)", self.0.len())
    }
}
