use serde::{Deserialize, Serialize};

use super::{Found, Look};
use crate::{
    alert::Kind,
    tally::{DAY_S, HOUR_S},
};

/// Somebody who never did takes records along in one piece.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Exports {
    has_exported: bool,
}

impl Exports {
    pub(super) fn look(&mut self, look: &Look<'_>) -> Option<Found> {
        if !look.seen.is_export() || self.has_exported {
            return None;
        }
        self.has_exported = true;
        // Whoever is new does everything for the first time.
        let known_s = look.seen.time.as_second() - look.first.as_second();
        let is_known = known_s >= i64::from(look.thresholds.learn_days) * DAY_S + HOUR_S;
        (look.is_learned() && is_known).then(|| look.found(Kind::FirstExport))
    }
}
