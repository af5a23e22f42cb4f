use super::{Found, Look};
use crate::{alert::Kind, tally::DAY_S};

/// An account that nobody used for weeks is used again.
pub(super) fn look(look: &Look<'_>) -> Option<Found> {
    let slept_s = look.seen.time.as_second() - look.last?.as_second();
    let sleeps_after_s = i64::from(look.thresholds.dormant_days) * DAY_S;
    (slept_s >= sleeps_after_s).then(|| look.found(Kind::DormantAwake))
}
