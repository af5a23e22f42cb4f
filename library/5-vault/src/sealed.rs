use std::{fmt, marker::PhantomData};

use zeroize::{Zeroize, Zeroizing};

/// An encrypted `T`, as it lies in its column. It has no `Display` and no `Serialize`: it cannot
/// reach a log or an answer without being opened first.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed<T> {
    stored: Vec<u8>,
    holds: PhantomData<fn() -> T>,
}

impl<T> Sealed<T> {
    /// A value as read from its column. Whether it opens is found out by opening it.
    pub fn from_stored(stored: Vec<u8>) -> Self {
        Self {
            stored,
            holds: PhantomData,
        }
    }

    /// The bytes for its column.
    pub fn as_stored(&self) -> &[u8] {
        &self.stored
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// A value in clear. Its memory is cleared when it is dropped; it does not print, serialize or
/// clone, so every place that reads it says `expose`.
pub struct Opened<T: Zeroize>(Zeroizing<T>);

impl Opened<String> {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text, for the answer that may carry it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Opened<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(…)")
    }
}
