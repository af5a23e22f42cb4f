//! The generic cell rate algorithm: of a bucket only one instant is kept, the one at which it is full again.

use std::collections::HashMap;

use super::{Ask, Key, Standing, Units};

/// So many requests at once, and then one in every interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    burst: u32,
    interval_us: u64,
}

const SECOND_US: u64 = 1_000_000;

impl Quota {
    /// `per_s` requests a second, for as long as one likes; `burst` of them at once, after a rest.
    /// Nothing is less than one.
    pub const fn per_second(per_s: u32, burst: u32) -> Self {
        let per_s = if per_s == 0 { 1 } else { per_s };
        Self {
            burst: if burst == 0 { 1 } else { burst },
            interval_us: SECOND_US.div_ceil(per_s as u64),
        }
    }

    /// One request in so many seconds.
    pub const fn once_in(seconds: u32) -> Self {
        Self {
            burst: 1,
            interval_us: seconds as u64 * SECOND_US,
        }
    }

    /// So many hundredths of it, at once and for long.
    pub fn percent(self, percent: u32) -> Self {
        let (burst, percent) = (u64::from(self.burst), u64::from(percent.max(1)));
        Self {
            burst: u32::try_from(burst * percent / 100)
                .unwrap_or(u32::MAX)
                .max(1),
            interval_us: self.interval_us * 100 / percent,
        }
    }

    /// So many requests may come at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// After so many seconds of rest it is whole again.
    pub fn window_s(self) -> u64 {
        self.whole_us().div_ceil(SECOND_US)
    }

    pub(super) fn interval_us(self) -> u64 {
        self.interval_us
    }

    fn whole_us(self) -> u64 {
        u64::from(self.burst) * self.interval_us
    }
}

/// Decides over all buckets together: a request that one of them refuses costs nothing in any.
/// `full_at` has the instants in microseconds; one that is absent or past is a whole quota.
///
/// `shared.lua` has the same arithmetic.
pub(super) fn decide(asks: &[Ask], full_at: &mut HashMap<Key, u64>, now_us: u64) -> Vec<Standing> {
    let steps: Vec<Step> = asks
        .iter()
        .map(|ask| Step::of(ask, full_at.get(&ask.key).copied(), now_us))
        .collect();
    let is_granted = steps.iter().all(|step| step.lacks_us == 0);
    for (ask, step) in asks.iter().zip(&steps) {
        let is_stored = is_granted || !matches!(ask.units, Units::Take(_));
        full_at.insert(ask.key, if is_stored { step.after } else { step.before });
    }
    let standing = |(ask, step): (&Ask, &Step)| {
        let level = if is_granted { step.after } else { step.before };
        standing(ask, level - now_us, step.lacks_us)
    };
    asks.iter().zip(&steps).map(standing).collect()
}

/// How a bucket stands that is full in `used_us`, after a request that lacked `lacks_us`.
pub(super) fn standing(ask: &Ask, used_us: u64, lacks_us: u64) -> Standing {
    let left_us = ask.quota.whole_us().saturating_sub(used_us);
    Standing {
        policy: ask.policy,
        quota: ask.quota,
        remaining: u32::try_from(left_us / ask.quota.interval_us).unwrap_or(u32::MAX),
        reset_s: used_us.div_ceil(SECOND_US),
        again_after_s: (lacks_us > 0)
            .then(|| u32::try_from(lacks_us.div_ceil(SECOND_US)).unwrap_or(u32::MAX)),
    }
}

/// One bucket before and after a request.
struct Step {
    before: u64,
    after: u64,
    lacks_us: u64,
}

impl Step {
    fn of(ask: &Ask, full_at: Option<u64>, now_us: u64) -> Self {
        let interval_us = ask.quota.interval_us;
        let last = now_us + ask.quota.whole_us();
        // Bounded on both sides: a clock that was set back locks nobody out for longer than a rest.
        let before = full_at.unwrap_or(now_us).clamp(now_us, last);
        let (after, lacks_us) = match ask.units {
            Units::Take(units) => {
                let after = before + u64::from(units) * interval_us;
                (after, after.saturating_sub(last))
            }
            Units::Charge(units) => ((before + u64::from(units) * interval_us).min(last), 0),
            Units::Return(units) => {
                let less = before.saturating_sub(u64::from(units) * interval_us);
                (less.max(now_us), 0)
            }
        };
        Self {
            before,
            after,
            lacks_us,
        }
    }
}
