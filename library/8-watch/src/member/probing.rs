use serde::{Deserialize, Serialize};

use super::{Found, Look, Role};
use crate::{
    alert::Kind,
    distinct::mixed,
    tally::{DAY_S, HOUR_S, Limits, Tally},
};

/// Questions in numbers for what is not there or not the member's: somebody tries ids, perhaps of another
/// studio. An entry names the ids that were asked for, where it does: a page that asks for one that is gone,
/// again and again, is one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Probing {
    hour: Tally,
    day: Tally,
}

impl Probing {
    pub(super) fn look(&mut self, look: &Look<'_>, role: &mut Role) -> Option<Found> {
        let Look {
            seen, thresholds, ..
        } = look;
        if !seen.is_in_vain() {
            return None;
        }
        let asked = || {
            let unnamed = seen.ids.is_empty().then(|| mixed(seen.seq.unsigned_abs()));
            seen.rows().chain(unnamed)
        };
        if let Some(count) = self.hour.add((seen.time, HOUR_S), asked(), seen.seq) {
            role.probes_an_hour.push(count);
        }
        if let Some(count) = self.day.add((seen.time, DAY_S), asked(), seen.seq) {
            role.probes_a_day.push(count);
        }
        let limits = |least: u32| Limits {
            factor: 1.0,
            least: f64::from(least),
            unknown: 1.0,
            own_windows: 4,
            own_deviations: thresholds.own(),
            role_windows: 12,
            role_deviations: thresholds.role(),
        };
        let tallies = [
            (&self.hour, &role.probes_an_hour, thresholds.probes_an_hour),
            (&self.day, &role.probes_a_day, thresholds.probes_a_day),
        ];
        let mut over = tallies
            .into_iter()
            .filter(|(tally, role, least)| tally.is_too_much(role, &limits(*least)));
        over.next().map(|(tally, ..)| Found {
            kind: Kind::Probing,
            evidence: tally.evidence(),
        })
    }
}
