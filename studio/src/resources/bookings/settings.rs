//! How a studio divides its days and how patient it is: its zone, and its row in `studio.settings`.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use serde::Deserialize;
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::Fault;

use super::when::{DayPart, Part};

/// What a studio decided, or what holds where it decided nothing.
#[derive(Debug)]
pub(crate) struct Settings {
    zone: TimeZone,
    zone_name: String,
    am: (Time, Time),
    pm: (Time, Time),
    working_hours: Option<Week>,
    hold: SignedDuration,
    challenge: SignedDuration,
}

const HOLD_MINUTES: i32 = 30;
const CHALLENGE_HOURS: i32 = 24;
const AM: (Time, Time) = (Time::constant(9, 0, 0, 0), Time::constant(13, 0, 0, 0));
const PM: (Time, Time) = (Time::constant(14, 0, 0, 0), Time::constant(18, 0, 0, 0));

/// The studio's row, for pipelines that read more.
pub(super) const READ: Read = Read::new(
    "SELECT hold_minutes, challenge_hours, am_from, am_to, pm_from, pm_to, working_hours
     FROM studio.settings WHERE tenant_id = $1",
);

/// The parameters of [`READ`].
pub(super) const NONE: [&(dyn ToSql + Sync); 0] = [];

impl Settings {
    /// Reads what the studio decided.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn of(tx: &mut TenantTx) -> Result<Self, Fault> {
        let rows = tx.read(READ, &NONE).await?;
        Self::from_rows(tx, &rows)
    }

    /// What the studio decided, from the rows that [`READ`] gave.
    pub(super) fn from_rows(tx: &TenantTx, rows: &[Row]) -> Result<Self, Fault> {
        let zone_name = tx.studio().1.to_owned();
        let zone = TimeZone::get(&zone_name)
            .map_err(|error| Fault::bug(format!("the studio's zone: {error}")))?;
        let mut settings = Self {
            zone,
            zone_name,
            am: AM,
            pm: PM,
            working_hours: None,
            hold: SignedDuration::from_mins(HOLD_MINUTES.into()),
            challenge: SignedDuration::from_hours(CHALLENGE_HOURS.into()),
        };
        if let Some(row) = rows.first() {
            settings.decide(row)?;
        }
        Ok(settings)
    }

    fn decide(&mut self, row: &Row) -> Result<(), Fault> {
        if let Some(minutes) = row.field::<Option<i32>>("hold_minutes")? {
            self.hold = SignedDuration::from_mins(minutes.into());
        }
        if let Some(hours) = row.field::<Option<i32>>("challenge_hours")? {
            self.challenge = SignedDuration::from_hours(hours.into());
        }
        let time = |column| row.field::<Option<Time>>(column);
        if let (Some(am_from), Some(am_to), Some(pm_from), Some(pm_to)) = (
            time("am_from")?,
            time("am_to")?,
            time("pm_from")?,
            time("pm_to")?,
        ) {
            (self.am, self.pm) = ((am_from, am_to), (pm_from, pm_to));
        }
        if let Some(hours) = row.field::<Option<serde_json::Value>>("working_hours")? {
            let week = serde_json::from_value(hours)
                .map_err(|error| Fault::bug(format!("the studio's working hours: {error}")))?;
            self.working_hours = Some(week);
        }
        Ok(())
    }

    /// When a hold that is touched now ends.
    pub(super) fn hold_ends(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        later(now, self.hold)
    }

    /// When a challenge that is made now must be answered.
    pub(super) fn answer_by(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        later(now, self.challenge)
    }

    /// The instant at which a day, or a half of it, begins.
    ///
    /// # Errors
    /// When the clocks skip that time: says which and why.
    pub(super) fn opens(&self, day: DayPart) -> Result<Timestamp, String> {
        let time = match day.part {
            None => return first_instant(day.date.date(), &self.zone),
            Some(Part::Am) => self.am.0,
            Some(Part::Pm) => self.pm.0,
        };
        self.instant(day.date.date(), time, Edge::Opens)
    }

    /// The instant at which a day, or a half of it, ends.
    ///
    /// # Errors
    /// When the clocks skip that time: says which and why.
    pub(super) fn closes(&self, day: DayPart) -> Result<Timestamp, String> {
        let time = match day.part {
            None => {
                let next = day.date.date().tomorrow().map_err(beyond)?;
                return first_instant(next, &self.zone);
            }
            Some(Part::Am) => self.am.1,
            Some(Part::Pm) => self.pm.1,
        };
        self.instant(day.date.date(), time, Edge::Closes)
    }

    fn instant(&self, date: Date, time: Time, edge: Edge) -> Result<Timestamp, String> {
        let ambiguous = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
        match (ambiguous.offset(), edge) {
            (AmbiguousOffset::Unambiguous { .. }, _) => ambiguous.unambiguous(),
            (AmbiguousOffset::Gap { .. }, _) => {
                return Err(format!(
                    "on {date} there is no {} in {}: the clocks are set forward over it",
                    time.strftime("%H:%M"),
                    self.zone_name
                ));
            }
            // A time that comes twice: the half-day has all of it.
            (AmbiguousOffset::Fold { .. }, Edge::Opens) => ambiguous.earlier(),
            (AmbiguousOffset::Fold { .. }, Edge::Closes) => ambiguous.later(),
        }
        .map_err(beyond)
    }

    /// The stretches of a window in which the studio works: all of it, unless it said otherwise.
    pub(super) fn working_time(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(Vec<Timestamp>, Vec<Timestamp>), Fault> {
        let Some(week) = &self.working_hours else {
            return Ok((vec![from], vec![to]));
        };
        let bug = |error: jiff::Error| Fault::bug(format!("working hours: {error}"));
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        let mut day = from.to_zoned(self.zone.clone()).date();
        let last = to.to_zoned(self.zone.clone()).date();
        while day <= last {
            for hours in week.of(day.weekday()) {
                let at = |time: Time| self.zone.to_timestamp(day.to_datetime(time)).map_err(bug);
                let (opens, closes) = (at(hours.from)?.max(from), at(hours.to)?.min(to));
                if opens < closes {
                    starts.push(opens);
                    ends.push(closes);
                }
            }
            day = day.tomorrow().map_err(bug)?;
        }
        Ok((starts, ends))
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Opens,
    Closes,
}

/// The first instant of a day: midnight, or what follows it where the clocks skip midnight.
fn first_instant(date: Date, zone: &TimeZone) -> Result<Timestamp, String> {
    let midnight = date.to_zoned(zone.clone()).map_err(beyond)?;
    let first = midnight.start_of_day().map_err(beyond)?;
    Ok(first.timestamp())
}

fn beyond(_: jiff::Error) -> String {
    "lies beyond the calendar".to_owned()
}

fn later(now: Timestamp, by: SignedDuration) -> Result<Timestamp, Fault> {
    now.checked_add(by)
        .map_err(|error| Fault::bug(format!("a deadline: {error}")))
}

/// The hours in which a studio works, by the days of the week.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Week {
    mon: Vec<Hours>,
    tue: Vec<Hours>,
    wed: Vec<Hours>,
    thu: Vec<Hours>,
    fri: Vec<Hours>,
    sat: Vec<Hours>,
    sun: Vec<Hours>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hours {
    from: Time,
    to: Time,
}

impl Week {
    fn of(&self, day: Weekday) -> &[Hours] {
        match day {
            Weekday::Monday => &self.mon,
            Weekday::Tuesday => &self.tue,
            Weekday::Wednesday => &self.wed,
            Weekday::Thursday => &self.thu,
            Weekday::Friday => &self.fri,
            Weekday::Saturday => &self.sat,
            Weekday::Sunday => &self.sun,
        }
    }
}
