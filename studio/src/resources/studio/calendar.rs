//! When work is done: in the hours of an artist or of the studio, and on no holiday.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use watertight_terms::Fault;

use super::settings::{Week, first_instant};

/// How far ahead the next hours are looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(31 * 24);

/// The hours of somebody, day by day.
pub(crate) struct Calendar<'a> {
    pub(super) zone: TimeZone,
    /// None: around the clock.
    pub(super) week: Option<&'a Week>,
    pub(super) holidays: &'a BTreeMap<Date, String>,
}

impl Calendar<'_> {
    /// The stretches of a window in which work is done: their starts and their ends.
    ///
    /// # Errors
    /// When a day lies beyond the calendar: a defect of ours, since windows are bounded.
    pub(crate) fn stretches(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(Vec<Timestamp>, Vec<Timestamp>), Fault> {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        if self.week.is_none() && self.holidays.is_empty() {
            return Ok((vec![from], vec![to]));
        }
        let mut day = from.to_zoned(self.zone.clone()).date();
        let last = to.to_zoned(self.zone.clone()).date();
        while day <= last {
            for (opens, closes) in self.hours(day)? {
                let (opens, closes) = (opens.max(from), closes.min(to));
                if opens < closes {
                    starts.push(opens);
                    ends.push(closes);
                }
            }
            day = day.tomorrow().map_err(beyond)?;
        }
        Ok((starts, ends))
    }

    /// A deadline that does not fall when nobody works: it moves on to the end of the hours that come next.
    ///
    /// # Errors
    /// As [`Calendar::stretches`].
    pub(crate) fn not_before_hours(&self, deadline: Timestamp) -> Result<Timestamp, Fault> {
        let far = deadline
            .checked_add(AHEAD)
            .map_err(|error| Fault::bug(format!("a deadline: {error}")))?;
        let (starts, ends) = self.stretches(deadline, far)?;
        Ok(match (starts.first(), ends.first()) {
            (Some(opens), Some(closes)) if *opens > deadline => *closes,
            _ => deadline,
        })
    }

    fn hours(&self, day: Date) -> Result<Vec<(Timestamp, Timestamp)>, Fault> {
        if self.holidays.contains_key(&day) {
            return Ok(Vec::new());
        }
        let whole = |day| first_instant(day, &self.zone).map_err(Fault::bug);
        let Some(week) = self.week else {
            return Ok(vec![(whole(day)?, whole(day.tomorrow().map_err(beyond)?)?)]);
        };
        let at = |time| {
            self.zone
                .to_timestamp(day.to_datetime(time))
                .map_err(beyond)
        };
        let hours = week.of(day.weekday()).iter();
        hours
            .map(|hours| Ok((at(hours.from.time())?, at(hours.to.time())?)))
            .collect()
    }
}

fn beyond(error: jiff::Error) -> Fault {
    Fault::bug(format!("working hours: {error}"))
}
