//! How long entries wait to be checkpointed, and who is told when it is too long.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// An entry is checkpointed within so long; a longer wait is told.
const MOST: Duration = Duration::from_secs(1);
/// It is told so often while it lasts.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The lag of the checkpoints, shared by whoever measures and whoever shows it.
///
/// ```
/// use std::time::Duration;
/// use jiff::Timestamp;
/// use watertight_ledger::Lag;
///
/// let lag = Lag::default();
/// lag.measured(Timestamp::UNIX_EPOCH, Duration::from_millis(40));
/// assert_eq!(lag.at(Timestamp::UNIX_EPOCH), Duration::from_millis(40));
/// // Nothing was measured since: it may be all that time.
/// let later = Timestamp::from_second(9).unwrap();
/// assert_eq!(lag.at(later), Duration::from_secs(9));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lag(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    at: Option<Timestamp>,
    lag: Duration,
    told_at: Option<Timestamp>,
}

impl Lag {
    /// What was measured: the longest that an entry had waited when it was numbered, or nothing where
    /// none waited. Says whether it is to be told.
    pub fn measured(&self, now: Timestamp, lag: Duration) -> bool {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (measured.at, measured.lag) = (Some(now), lag);
        measured.is_to_be_told(now, lag)
    }

    /// A turn failed: what waits waits on. Says whether it is to be told.
    pub fn stalled(&self, now: Timestamp) -> bool {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.at.get_or_insert(now);
        let lag = measured.lag(now);
        measured.is_to_be_told(now, lag)
    }

    /// How long an entry may have waited by now: the newest measure, or the time since where that is
    /// longer. Zero before the first.
    pub fn at(&self, now: Timestamp) -> Duration {
        let measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.lag(now)
    }
}

impl Measured {
    fn lag(&self, now: Timestamp) -> Duration {
        self.at.map_or(Duration::ZERO, |at| {
            let since = now.duration_since(at).unsigned_abs();
            // Measures are taken several times a second.
            if since > MOST { since } else { self.lag }
        })
    }

    fn is_to_be_told(&mut self, now: Timestamp, lag: Duration) -> bool {
        let is_recent = self
            .told_at
            .is_some_and(|told| now.duration_since(told).unsigned_abs() < TOLD_EVERY);
        let is_told = lag > MOST && !is_recent;
        if is_told {
            self.told_at = Some(now);
        }
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_above_a_second_is_told_once_a_minute() {
        let lag = Lag::default();
        assert_eq!(lag.at(second(0)), Duration::ZERO);
        assert!(!lag.measured(second(0), Duration::from_millis(1_000)));
        assert!(lag.measured(second(1), Duration::from_millis(1_001)));
        assert!(!lag.measured(second(2), Duration::from_secs(9)));
        assert!(lag.measured(second(61), Duration::from_secs(9)));
        assert!(!lag.measured(second(200), Duration::ZERO));
    }

    #[test]
    fn a_turn_that_fails_lets_the_lag_grow() {
        let lag = Lag::default();
        assert!(!lag.stalled(second(100)));
        assert!(lag.stalled(second(102)));
        assert_eq!(lag.at(second(103)), Duration::from_secs(3));
        lag.measured(second(104), Duration::ZERO);
        assert_eq!(lag.at(second(104)), Duration::ZERO);
    }
}
