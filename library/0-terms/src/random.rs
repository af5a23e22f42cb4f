use std::{fmt, sync::Arc};

use uuid::Uuid;

/// Where random bytes come from.
///
/// ```
/// use watertight_terms::Random;
/// let random = Random::system();
/// assert_eq!(random.uuid().get_version_num(), 4);
/// assert_ne!(random.bytes::<16>(), random.bytes::<16>());
/// ```
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// The operating system's generator. Aborts when the system cannot give random bytes: no
    /// program that needs keys can go on without them.
    pub fn system() -> Self {
        Self(Arc::new(|bytes| {
            if aws_lc_rs::rand::fill(bytes).is_err() {
                std::process::abort();
            }
        }))
    }

    /// Bytes from `source`, for tests that repeat themselves.
    pub fn from_fn(source: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A random UUID, version 4. Ids are made here before the row is written, so that no counter
    /// tells one studio how busy another is.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
