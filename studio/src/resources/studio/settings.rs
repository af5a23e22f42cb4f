//! How a studio divides its days and how patient it is: its zone, and its row in `studio.settings`.

use std::collections::BTreeMap;

use garde::Validate;
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watertight::argument::{Field, TimeOfDay};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::Fault;

use super::calendar::Calendar;
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
        self.working_hours = Week::from_row(row)?;
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

    /// When work is done: in the studio's hours, or in those of an artist who has own ones, by the artist's clocks.
    ///
    /// # Errors
    /// When the artist's zone is none: a defect of ours.
    pub(crate) fn calendar<'a>(
        &'a self,
        own: Option<(&'a Week, Option<&str>)>,
        holidays: &'a BTreeMap<Date, String>,
    ) -> Result<Calendar<'a>, Fault> {
        let (week, zone) = match own {
            None => (self.working_hours.as_ref(), None),
            Some((week, zone)) => (Some(week), zone),
        };
        let zone = zone.map(TimeZone::get).transpose();
        let zone = zone.map_err(|error| Fault::bug(format!("an artist's zone: {error}")))?;
        Ok(Calendar {
            zone: zone.unwrap_or_else(|| self.zone.clone()),
            week,
            holidays,
        })
    }

    /// The days of a window, by the studio's clocks.
    pub(crate) fn days(&self, from: Timestamp, to: Timestamp) -> (Date, Date) {
        (self.local(from).date(), self.local(to).date())
    }

    /// What the studio's clocks show.
    pub(crate) fn local(&self, at: Timestamp) -> DateTime {
        at.to_zoned(self.zone.clone()).datetime()
    }

    /// When the studio's clocks show that.
    ///
    /// # Errors
    /// When they skip it: says which and why.
    pub(crate) fn instant_at(&self, local: DateTime) -> Result<Timestamp, String> {
        self.instant(local.date(), local.time(), Edge::Opens)
    }

    /// Hours of a day, as instants.
    ///
    /// # Errors
    /// When the clocks skip one of them: says which and why.
    pub(crate) fn window(&self, day: Date, hours: Hours) -> Result<(Timestamp, Timestamp), String> {
        Ok((
            self.instant(day, hours.from.time(), Edge::Opens)?,
            self.instant(day, hours.to.time(), Edge::Closes)?,
        ))
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Opens,
    Closes,
}

/// The first instant of a day: midnight, or what follows it where the clocks skip midnight.
pub(super) fn first_instant(date: Date, zone: &TimeZone) -> Result<Timestamp, String> {
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
pub(crate) struct Week {
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
pub(crate) struct Hours {
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
    /// The hours of a row, if it has any.
    ///
    /// # Errors
    /// When they cannot be read: a defect of ours.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, Fault> {
        let hours: Option<serde_json::Value> = row.field("working_hours")?;
        let hours = hours.map(serde_json::from_value).transpose();
        hours.map_err(|error| Fault::bug(format!("working hours: {error}")))
    }

    /// The hours as a row has them.
    ///
    /// # Errors
    /// When they cannot be written: a defect of ours.
    pub(crate) fn as_column(week: Option<&Self>) -> Result<Option<serde_json::Value>, Fault> {
        let week = week.map(serde_json::to_value).transpose();
        week.map_err(|error| Fault::bug(format!("working hours: {error}")))
    }

    pub(super) fn of(&self, day: Weekday) -> &[Hours] {
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
