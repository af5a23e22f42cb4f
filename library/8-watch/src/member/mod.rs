//! What one member does, and the detectors that look at it: a file each.

mod dormant;
mod enumeration;
mod exports;
mod hours;
mod networks;
mod personal;
mod probing;
mod reading;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, Kind},
    history::History,
    seen::Seen,
    tally::DAY_S,
    thresholds::Thresholds,
};

pub(crate) use hours::Hours;
pub(crate) use networks::Known;

/// What others in a role do in an hour or a day.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    records_an_hour: History,
    records_a_day: History,
    people_a_day: History,
    probes_an_hour: History,
    probes_a_day: History,
}

/// What is known of the studio as a whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Around {
    /// When people are at work.
    pub(crate) hours: Hours,
    /// Where from.
    pub(crate) networks: Known,
}

/// What a member is known to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Days on which there was something.
    days: u32,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    reading: reading::Reading,
    enumeration: enumeration::Enumeration,
    exports: exports::Exports,
    personal: personal::Personal,
    probing: probing::Probing,
    hours: hours::UnusualHour,
    networks: networks::UnusualNetwork,
}

/// What a detector found: what it is, and the entries that show it.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) evidence: Vec<i64>,
}

/// What every detector is given.
pub(crate) struct Look<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) thresholds: &'a Thresholds,
    /// Days on which the member was at work before.
    pub(crate) days: u32,
    /// Since when the member is known.
    pub(crate) first: Timestamp,
    /// When the member was last at work before this.
    pub(crate) last: Option<Timestamp>,
}

impl Look<'_> {
    pub(crate) fn is_learned(&self) -> bool {
        self.days >= self.thresholds.learn_days
    }

    /// A finding that this entry alone shows.
    pub(crate) fn found(&self, kind: Kind) -> Found {
        Found {
            kind,
            evidence: vec![self.seen.seq],
        }
    }
}

impl Member {
    /// Since when nothing was heard.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    pub(crate) fn observe(
        &mut self,
        seen: &Seen,
        role: &mut Role,
        around: &mut Around,
        thresholds: &Thresholds,
    ) -> Vec<Alert> {
        let last = self.last;
        let look = Look {
            seen,
            thresholds,
            days: self.days,
            first: *self.first.get_or_insert(seen.time),
            last,
        };
        let found = [
            dormant::look(&look),
            self.reading.look(&look, role),
            self.enumeration.look(&look),
            self.exports.look(&look),
            self.personal.look(&look, role),
            self.probing.look(&look, role),
            self.hours.look(&look, &mut around.hours),
            self.networks.look(&look, &mut around.networks),
        ];
        let day = |at: Timestamp| at.as_second().div_euclid(DAY_S);
        if last.is_none_or(|last| day(seen.time) > day(last)) {
            self.days += 1;
        }
        self.last = Some(seen.time.max(last.unwrap_or(seen.time)));
        let alert = |found: Found| Alert {
            evidence: found.evidence,
            ..Alert::new(found.kind, Some(seen.actor.clone()), seen.time)
        };
        found.into_iter().flatten().map(alert).collect()
    }
}
