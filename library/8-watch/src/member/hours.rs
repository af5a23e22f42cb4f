use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Found, Look};
use crate::{
    alert::Kind,
    tally::{Evidence, HOUR_S},
};

/// An hour at which fewer than one day in so many knows the member at work is unusual.
const RARE: u32 = 40;
/// And of the days of all members, so many.
const RARE_IN_STUDIO: u32 = 25;
/// Fewer requests in an hour are a glance, and no work.
const GLANCE: u32 = 6;

/// On how many days there was something in each hour of the day (UTC; one to the side is as good, so that
/// summer time changes nothing).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Hours {
    days: [u32; 24],
    all: u32,
}

impl Hours {
    fn add(&mut self, hour: usize) {
        if let Some(days) = self.days.get_mut(hour) {
            *days += 1;
        }
    }

    /// Whether fewer than one day in `rare` has it.
    fn is_rare(&self, hour: usize, rare: u32) -> bool {
        let near = [hour + 23, hour, hour + 1].map(|hour| self.days.get(hour % 24).copied());
        let near = near.into_iter().flatten().max().unwrap_or_default();
        near * rare < self.all
    }
}

/// Somebody is at work at an hour at which neither they nor the others are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct UnusualHour {
    own: Hours,
    /// Hours since 1970.
    hour: i64,
    requests: u32,
    is_rare: bool,
    evidence: Evidence,
}

impl UnusualHour {
    pub(super) fn look(&mut self, look: &Look<'_>, studio: &mut Hours) -> Option<Found> {
        let at = look.seen.time.as_second().div_euclid(HOUR_S);
        if at > self.hour {
            self.begin(at, look.last, studio);
        }
        self.requests += 1;
        if self.requests == GLANCE {
            let hour = hour_of_day(at);
            self.own.add(hour);
            studio.add(hour);
        }
        self.evidence.add(look.seen.seq);
        let is_much = self.requests >= look.thresholds.unusual_hour_requests;
        (self.is_rare && is_much && look.is_learned()).then(|| Found {
            kind: Kind::UnusualHour,
            evidence: self.evidence.list(),
        })
    }

    fn begin(&mut self, at: i64, last: Option<Timestamp>, studio: &mut Hours) {
        let hour = hour_of_day(at);
        let day = |hours: i64| hours.div_euclid(24);
        if last.is_none_or(|last| day(last.as_second().div_euclid(HOUR_S)) < day(at)) {
            self.own.all += 1;
            studio.all += 1;
        }
        // Asked before it is added: an unusual hour does not make itself usual.
        self.is_rare = self.own.is_rare(hour, RARE) && studio.is_rare(hour, RARE_IN_STUDIO);
        self.hour = at;
        self.requests = 0;
        self.evidence.clear();
    }
}

fn hour_of_day(at: i64) -> usize {
    usize::try_from(at.rem_euclid(24)).unwrap_or_default()
}
