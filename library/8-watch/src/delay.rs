use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{seen::network, slots::Slots};

/// So many failures cost nothing: tokens expire, and clients come back with the old one.
const FREE: u32 = 5;
const FIRST_MS: u64 = 50;
const MOST_MS: u64 = 2_000;
/// After so long a network begins anew.
const FORGET_S: i64 = 600;
/// At most so many networks are counted; of more, none new waits.
const NETWORKS_MOST: usize = 10_000;

/// How long a refusal is held back: it doubles with each failure of a network, to two seconds.
///
/// Only refusals wait. Whoever comes from the same network with a good token is not asked about here, so
/// nobody can be locked out by what others do, and a subject has no counter at all.
///
/// ```
/// use jiff::Timestamp;
/// use watertight_watch::Delay;
/// let mut delay = Delay::default();
/// let waits: Vec<u64> = (0..12).map(|_| delay.after_failure("203.0.113.7", Timestamp::UNIX_EPOCH)).collect();
/// assert_eq!(waits, [0, 0, 0, 0, 0, 50, 100, 200, 400, 800, 1600, 2000]);
/// assert_eq!(delay.after_failure("198.51.100.1", Timestamp::UNIX_EPOCH), 0);
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Delay(Slots<u32>);

impl Delay {
    /// Counts a failure of an address, and gives for how many milliseconds its answer is held back.
    pub fn after_failure(&mut self, address: &str, now: Timestamp) -> u64 {
        let Some(network) = network(address) else {
            return 0;
        };
        let slot = self
            .0
            .slot(&network, now.as_second(), FORGET_S, NETWORKS_MOST);
        let Some(failures) = slot else {
            return 0;
        };
        *failures = failures.saturating_add(1);
        match failures.saturating_sub(FREE) {
            0 => 0,
            over => FIRST_MS
                .saturating_mul(1 << (over - 1).min(16))
                .min(MOST_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn failures_are_forgiven_and_a_flood_of_networks_is_bounded() {
        let mut delay = Delay::default();
        let start = Timestamp::UNIX_EPOCH;
        for _ in 0..40 {
            delay.after_failure("203.0.113.7", start);
        }
        assert_eq!(delay.after_failure("203.0.113.99", start), MOST_MS);
        let later = start + SignedDuration::from_secs(FORGET_S);
        assert_eq!(delay.after_failure("203.0.113.7", later), 0);
        for host in 0..20_000_u32 {
            let [_, a, b, c] = host.to_be_bytes();
            delay.after_failure(&format!("10.{a}{b}.{c}.1"), later);
            delay.after_failure(&format!("2001:db8:{host:x}::1"), later);
        }
        assert!(delay.0.len() <= NETWORKS_MOST);
        assert_eq!(delay.after_failure("worker", later), 0);
    }
}
