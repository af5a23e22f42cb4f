use std::{fmt, sync::Arc};

use watertight_tenancy::BoxFuture;
use watertight_terms::{Key, KeyRing, Random};

use crate::{
    WrapFault,
    cipher::{self, NONCE_BYTES},
};

/// Whoever holds the key-encryption keys, which are numbered. `context` says what the wrapped key
/// is: under another context it does not come out again.
pub trait Wrapping: Send + Sync + 'static {
    /// The number of the key that new ones are wrapped with.
    fn current(&self) -> BoxFuture<'_, Result<i16, WrapFault>>;

    /// Wraps a key with the key-encryption key of that number.
    fn wrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<u8>, WrapFault>>;

    /// Unwraps what was wrapped with the key of that number.
    fn unwrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Key, WrapFault>>;
}

/// Gives a ring each time, so that a rotation needs no restart.
pub type Ring = Arc<dyn Fn() -> KeyRing + Send + Sync>;

/// Key-encryption keys at hand, from the key file or the environment.
pub struct RingWrapping {
    ring: Ring,
    random: Random,
}

impl RingWrapping {
    /// Wraps with the keys of a ring.
    pub fn new(ring: Ring, random: Random) -> Self {
        Self { ring, random }
    }
}

impl Wrapping for RingWrapping {
    fn current(&self) -> BoxFuture<'_, Result<i16, WrapFault>> {
        let ring = (self.ring)();
        let current = ring.current().map(|(number, _)| number);
        Box::pin(async move {
            current.ok_or(WrapFault::Malformed(
                "the ring `vault` lacks its current key",
            ))
        })
    }

    fn wrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<u8>, WrapFault>> {
        Box::pin(async move {
            let ring = (self.ring)();
            let wrapping = ring.get(number).ok_or(WrapFault::Unknown(number))?;
            wrap(wrapping, context, key, &self.random)
        })
    }

    fn unwrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Key, WrapFault>> {
        Box::pin(async move {
            let ring = (self.ring)();
            let wrapping = ring.get(number).ok_or(WrapFault::Unknown(number))?;
            unwrap(wrapping, context, wrapped).ok_or(WrapFault::Wrong(number))
        })
    }
}

impl fmt::Debug for RingWrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingWrapping(…)")
    }
}

/// The form of a wrapped key: a version, a nonce, the key encrypted, a tag.
const VERSION: u8 = 1;

/// Wraps a key with another one for its context.
pub(crate) fn wrap(
    wrapping: &Key,
    context: &str,
    key: &Key,
    random: &Random,
) -> Result<Vec<u8>, WrapFault> {
    let nonce: [u8; NONCE_BYTES] = random.bytes();
    let sealed = cipher::seal(wrapping, nonce, context.as_bytes(), key.expose())
        .map_err(|_| WrapFault::Malformed("the cipher failed"))?;
    Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
}

/// Unwraps a key, if it is the one that was wrapped with that key for that context.
pub(crate) fn unwrap(wrapping: &Key, context: &str, wrapped: &[u8]) -> Option<Key> {
    let (version, rest) = wrapped.split_first_chunk()?;
    let (nonce, sealed) = rest.split_first_chunk()?;
    if *version != [VERSION] {
        return None;
    }
    let plain = cipher::open(wrapping, *nonce, context.as_bytes(), sealed).ok()?;
    Some(Key::new(plain.as_slice().try_into().ok()?))
}
