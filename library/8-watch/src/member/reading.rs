use serde::{Deserialize, Serialize};

use super::{Found, Look, Role};
use crate::{
    alert::Kind,
    tally::{DAY_S, Evidence, HOUR_S, Limits, Tally, factor_of_day},
};

/// One day counts for at most so many deviations: a single odd one is mass reading's business.
const DAY_DEVIATIONS_MOST: f64 = 4.0;
/// And for so many less than it has: what is a little more than usual adds up to nothing.
const DRIFT: f64 = 1.0;
/// Entries that show it, of each day.
const DAYS_SHOWN: i64 = 5;

/// Many different records in an hour or a day; or more than usual, day after day (a cumulative sum, Page
/// 1954).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reading {
    hour: Tally,
    day: Tally,
    above: f64,
    evidence: Evidence,
}

impl Reading {
    pub(super) fn look(&mut self, look: &Look<'_>, role: &mut Role) -> Option<Found> {
        let Look {
            seen, thresholds, ..
        } = look;
        if !seen.is_reading() || seen.is_export() || seen.ids_count == 0 {
            return None;
        }
        let (windows, usual_before) = (self.day.before().len(), self.day.before().clone());
        if let Some(count) = self.hour.add((seen.time, HOUR_S), seen.rows(), seen.seq) {
            role.records_an_hour.push(count);
        }
        let slow = self
            .day
            .add((seen.time, DAY_S), seen.rows(), seen.seq)
            .and_then(|count| {
                role.records_a_day.push(count);
                // The day that has ended, an hour into this one at the least.
                let is_ordinary = factor_of_day(seen.time) == 1.0;
                (is_ordinary && windows >= thresholds.learn_days as usize)
                    .then(|| self.sum(usual_before.deviations(count), look))
                    .flatten()
            });
        if seen.seq % DAYS_SHOWN == 0 {
            self.evidence.add(seen.seq);
        }
        self.mass(look, role).or(slow)
    }

    fn mass(&self, look: &Look<'_>, role: &Role) -> Option<Found> {
        let thresholds = look.thresholds;
        let limits = |least: u32, own_windows: usize| Limits {
            factor: factor_of_day(look.seen.time),
            least: f64::from(least),
            unknown: 6.0,
            own_windows,
            own_deviations: thresholds.own(),
            role_windows: 4 * own_windows,
            role_deviations: thresholds.role(),
        };
        let days = thresholds.learn_days as usize;
        let an_hour = limits(thresholds.records_an_hour, 3 * days);
        let a_day = limits(thresholds.records_a_day, days);
        let tallies = [
            (&self.hour, &role.records_an_hour, an_hour),
            (&self.day, &role.records_a_day, a_day),
        ];
        let mut over = tallies
            .into_iter()
            .filter(|(tally, role, limits)| tally.is_too_much(role, limits));
        over.next().map(|(tally, ..)| Found {
            kind: Kind::MassReading,
            evidence: tally.evidence(),
        })
    }

    /// Adds a day that has ended.
    fn sum(&mut self, deviations: f64, look: &Look<'_>) -> Option<Found> {
        let added = deviations.min(DAY_DEVIATIONS_MOST) - DRIFT;
        self.above = (self.above + added).max(0.0);
        if self.above == 0.0 {
            self.evidence.clear();
        }
        if self.above < f64::from(look.thresholds.slow_deviations) {
            return None;
        }
        self.above = 0.0;
        Some(Found {
            kind: Kind::SlowReading,
            evidence: self.evidence.list(),
        })
    }
}
