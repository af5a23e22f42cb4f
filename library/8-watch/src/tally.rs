use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{distinct::Distinct, history::History};

pub(crate) const HOUR_S: i64 = 3_600;
pub(crate) const DAY_S: i64 = 24 * HOUR_S;

/// What was once may be again: a report that is made every week is no alert.
const PEAKS: f64 = 1.25;

/// At the turn of a month so many times as much is usual.
const TURN: f64 = 3.0;

/// So many numbers of entries show what an alert says.
const EVIDENCE_MOST: usize = 50;

/// Numbers of entries, the newest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Evidence(VecDeque<i64>);

impl Evidence {
    pub(crate) fn add(&mut self, seq: i64) {
        if self.0.len() == EVIDENCE_MOST {
            self.0.pop_front();
        }
        self.0.push_back(seq);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn list(&self) -> Vec<i64> {
        self.0.iter().copied().collect()
    }
}

/// Different things within a window of time, beside how many there were in windows before. Windows in which
/// there was none are not remembered: somebody who comes once a week is compared with those days.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    window: i64,
    now: Distinct,
    evidence: Evidence,
    before: History,
}

impl Tally {
    /// Adds what an entry has. Gives how many there were in the window that this one ends, if it does.
    pub(crate) fn add(
        &mut self,
        (at, window_s): (Timestamp, i64),
        things: impl Iterator<Item = u64>,
        seq: i64,
    ) -> Option<f64> {
        let window = at.as_second().div_euclid(window_s);
        let mut ended = None;
        if window > self.window {
            let count = self.now.count();
            if count > 0.0 {
                self.before.push(count);
                ended = Some(count);
            }
            self.window = window;
            self.now = Distinct::default();
            self.evidence.clear();
        }
        things.for_each(|thing| self.now.add(thing));
        self.evidence.add(seq);
        ended
    }

    pub(crate) fn count(&self) -> f64 {
        self.now.count()
    }

    pub(crate) fn before(&self) -> &History {
        &self.before
    }

    pub(crate) fn evidence(&self) -> Vec<i64> {
        self.evidence.list()
    }

    /// Whether there is clearly more than ever, more than `least`, more than the own windows before had, and more than the role's.
    /// Whoever has no history is compared with the role; where that has none, with a few times the least.
    pub(crate) fn is_too_much(&self, role: &History, limits: &Limits) -> bool {
        let count = self.count() / limits.factor;
        if count < limits.least {
            return false;
        }
        let own = (self.before.len() >= limits.own_windows)
            .then(|| self.before.above(limits.own_deviations));
        let role = (role.len() >= limits.role_windows).then(|| role.above(limits.role_deviations));
        match (own, role) {
            (None, None) => count > limits.unknown * limits.least,
            (own, role) => {
                let usual = own.unwrap_or_default().max(role.unwrap_or_default());
                count > usual && self.count() > PEAKS * self.before.peak()
            }
        }
    }
}

/// When a tally is too much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Everything below is so many times as much.
    pub(crate) factor: f64,
    pub(crate) least: f64,
    /// So many times the least, where neither history is long enough.
    pub(crate) unknown: f64,
    pub(crate) own_windows: usize,
    pub(crate) own_deviations: f64,
    pub(crate) role_windows: usize,
    pub(crate) role_deviations: f64,
}

/// At the turn of a month books are closed, and much is read that is not read on other days.
pub(crate) fn factor_of_day(at: Timestamp) -> f64 {
    let day = at.to_zoned(jiff::tz::TimeZone::UTC).date();
    let is_turn = day.day() <= 3 || day.day() + 2 > day.days_in_month();
    if is_turn { TURN } else { 1.0 }
}
