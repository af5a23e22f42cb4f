//! How a studio divides its days and how patient it is: its zone, and its row in `studio.settings`.

use garde::Validate;
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watertight::argument::{Field, TimeOfDay};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::Fault;

use crate::resources::bookings::when::{DayPart, Part};

/// What a studio decided, or what holds where it decided nothing.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    zone: TimeZone,
    zone_name: String,
    /// Where the studio decided about them.
    half_days: Option<HalfDays>,
    working_hours: Option<Week>,
    hold_minutes: Option<i32>,
    challenge_hours: Option<i32>,
}

const HOLD_MINUTES: i32 = 30;
const CHALLENGE_HOURS: i32 = 24;

/// The studio's row, for pipelines that read more.
pub(crate) const READ: Read = Read::new(
    "SELECT hold_minutes, challenge_hours, am_from, am_to, pm_from, pm_to, working_hours
     FROM studio.settings WHERE tenant_id = $1",
);

/// The parameters of [`READ`].
pub(crate) const NONE: [&(dyn ToSql + Sync); 0] = [];

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
    pub(crate) fn from_rows(tx: &TenantTx, rows: &[Row]) -> Result<Self, Fault> {
        Self::new(tx.studio().1, rows.first())
    }

    /// What a studio of that zone decided, by its row.
    pub(super) fn new(zone_name: &str, row: Option<&Row>) -> Result<Self, Fault> {
        let zone = TimeZone::get(zone_name)
            .map_err(|error| Fault::bug(format!("the studio's zone: {error}")))?;
        let mut settings = Self {
            zone,
            zone_name: zone_name.to_owned(),
            half_days: None,
            working_hours: None,
            hold_minutes: None,
            challenge_hours: None,
        };
        if let Some(row) = row {
            settings.decide(row)?;
        }
        Ok(settings)
    }

    /// Takes over what a row says.
    fn decide(&mut self, row: &Row) -> Result<(), Fault> {
        self.hold_minutes = row.field("hold_minutes")?;
        self.challenge_hours = row.field("challenge_hours")?;
        let half = |from, to| -> Result<Option<Hours>, Fault> {
            let (from, to): (Option<Time>, Option<Time>) = (row.field(from)?, row.field(to)?);
            Ok(from.zip(to).map(|(from, to)| Hours::new(from, to)))
        };
        let (am, pm) = (half("am_from", "am_to")?, half("pm_from", "pm_to")?);
        self.half_days = am.zip(pm).map(|(am, pm)| HalfDays { am, pm });
        if let Some(hours) = row.field::<Option<serde_json::Value>>("working_hours")? {
            let week = serde_json::from_value(hours)
                .map_err(|error| Fault::bug(format!("the studio's working hours: {error}")))?;
            self.working_hours = Some(week);
        }
        Ok(())
    }

    /// Minutes and hours, where the studio decided about them.
    pub(super) fn decided_patience(&self) -> (Option<i32>, Option<i32>) {
        (self.hold_minutes, self.challenge_hours)
    }

    /// The halves of a day, where the studio decided about them.
    pub(super) fn decided_half_days(&self) -> Option<&HalfDays> {
        self.half_days.as_ref()
    }

    /// For how long a hold holds.
    pub(super) fn hold_minutes(&self) -> i32 {
        self.hold_minutes.unwrap_or(HOLD_MINUTES)
    }

    /// For how long a challenge may be answered.
    pub(super) fn challenge_hours(&self) -> i32 {
        self.challenge_hours.unwrap_or(CHALLENGE_HOURS)
    }

    /// What a half of a day is.
    pub(super) fn half_days(&self) -> HalfDays {
        self.half_days.clone().unwrap_or_default()
    }

    /// The hours in which the studio works; none: around the clock.
    pub(super) fn working_hours(&self) -> Option<&Week> {
        self.working_hours.as_ref()
    }

    /// What is decided once this was changed.
    pub(super) fn changed(
        mut self,
        hold_minutes: Field<i32>,
        challenge_hours: Field<i32>,
        half_days: Field<HalfDays>,
        working_hours: Field<Week>,
    ) -> Self {
        self.hold_minutes = hold_minutes.or(self.hold_minutes);
        self.challenge_hours = challenge_hours.or(self.challenge_hours);
        self.half_days = half_days.or(self.half_days);
        self.working_hours = working_hours.or(self.working_hours);
        self
    }

    /// When a hold that is touched now ends.
    pub(crate) fn hold_ends(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        later(now, SignedDuration::from_mins(self.hold_minutes().into()))
    }

    /// When a challenge that is made now must be answered.
    pub(crate) fn answer_by(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        later(
            now,
            SignedDuration::from_hours(self.challenge_hours().into()),
        )
    }

    /// The instant at which a day, or a half of it, begins.
    ///
    /// # Errors
    /// When the clocks skip that time: says which and why.
    pub(crate) fn opens(&self, day: DayPart) -> Result<Timestamp, String> {
        let time = match day.part {
            None => return first_instant(day.date.date(), &self.zone),
            Some(Part::Am) => self.half_days().am.from.time(),
            Some(Part::Pm) => self.half_days().pm.from.time(),
        };
        self.instant(day.date.date(), time, Edge::Opens)
    }

    /// The instant at which a day, or a half of it, ends.
    ///
    /// # Errors
    /// When the clocks skip that time: says which and why.
    pub(crate) fn closes(&self, day: DayPart) -> Result<Timestamp, String> {
        let time = match day.part {
            None => {
                let next = day.date.date().tomorrow().map_err(beyond)?;
                return first_instant(next, &self.zone);
            }
            Some(Part::Am) => self.half_days().am.to.time(),
            Some(Part::Pm) => self.half_days().pm.to.time(),
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
    pub(crate) fn working_time(
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
                let (opens, closes) = (
                    at(hours.from.time())?.max(from),
                    at(hours.to.time())?.min(to),
                );
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
#[derive(Debug, Clone, Default, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "WorkingHours")]
pub(super) struct Week {
    #[garde(dive, length(max = 8), custom(in_order))]
    mon: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    tue: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    wed: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    thu: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    fri: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    sat: Vec<Hours>,
    #[garde(dive, length(max = 8), custom(in_order))]
    sun: Vec<Hours>,
}

/// From one time of a day to a later one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hours {
    #[garde(skip)]
    pub(super) from: TimeOfDay,
    #[garde(custom(after(self.from)))]
    pub(super) to: TimeOfDay,
}

impl Hours {
    fn new(from: Time, to: Time) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
        }
    }
}

/// What a half of a day is.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HalfDays {
    #[garde(dive)]
    pub(super) am: Hours,
    #[garde(dive, custom(begins_after(self.am.to)))]
    pub(super) pm: Hours,
}

impl Default for HalfDays {
    fn default() -> Self {
        let hour = |hour| Time::constant(hour, 0, 0, 0);
        Self {
            am: Hours::new(hour(9), hour(13)),
            pm: Hours::new(hour(14), hour(18)),
        }
    }
}

fn after(from: TimeOfDay) -> impl FnOnce(&TimeOfDay, &()) -> garde::Result {
    move |to, ()| match *to > from {
        true => Ok(()),
        false => Err(garde::Error::new("is not after `from`")),
    }
}

fn begins_after(end: TimeOfDay) -> impl FnOnce(&Hours, &()) -> garde::Result {
    move |hours, ()| match hours.from >= end {
        true => Ok(()),
        false => Err(garde::Error::new("begins before `am` ends")),
    }
}

fn in_order(hours: &[Hours], (): &()) -> garde::Result {
    let mut pairs = hours.iter().zip(hours.iter().skip(1));
    match pairs.all(|(one, next)| next.from >= one.to) {
        true => Ok(()),
        false => Err(garde::Error::new("the hours are not in order, or overlap")),
    }
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
