use serde::{Deserialize, Serialize};

use super::{Found, Look, Role};
use crate::{
    alert::Kind,
    tally::{DAY_S, Limits, Tally, factor_of_day},
};

/// Personal fields of many people opened in a day.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Personal {
    day: Tally,
}

impl Personal {
    pub(super) fn look(&mut self, look: &Look<'_>, role: &mut Role) -> Option<Found> {
        let Look {
            seen, thresholds, ..
        } = look;
        if seen.opened.is_empty() {
            return None;
        }
        if let Some(count) = self.day.add((seen.time, DAY_S), seen.rows(), seen.seq) {
            role.people_a_day.push(count);
        }
        let limits = Limits {
            factor: factor_of_day(seen.time),
            least: f64::from(thresholds.people_opened_a_day),
            unknown: 2.0,
            own_windows: 4,
            own_deviations: thresholds.own(),
            role_windows: 12,
            role_deviations: thresholds.role(),
        };
        self.day
            .is_too_much(&role.people_a_day, &limits)
            .then(|| Found {
                kind: Kind::PersonalFields,
                evidence: self.day.evidence(),
            })
    }
}
