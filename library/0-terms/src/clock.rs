use std::{fmt, sync::Arc};

use jiff::Timestamp;

/// Where the time comes from.
///
/// The only place of the workspace that asks the operating system for the time; everything else
/// is handed a `Clock` (clippy refuses `Timestamp::now` elsewhere).
///
/// ```
/// use watertight_terms::Clock;
/// let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().unwrap());
/// assert_eq!(clock.now_s(), 1_792_888_200);
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else is handed"
    )]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that always shows `at`.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// A clock that asks `source` each time, for tests that move time.
    pub fn from_fn(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, as tokens count them.
    pub fn now_s(&self) -> i64 {
        self.now().as_second()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
