//! Bookings that come again every week: each a booking of its own, made all at once or not at all.
//!
//! ```json
//! {"artist_id": "…", "project_id": "…", "state": "pencil", "weekdays": ["tue", "thu"],
//!  "from": "2031-03-04", "until": "2031-05-29", "hours": {"from": "09:00", "to": "17:00"}}
//! ```
//!
//! Hours are those of the studio's clocks, on both sides of the day on which they change. Holidays are left out, and
//! told.

use garde::Validate;
use jiff::civil::{Date, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{Day, Id, Prose, Valid},
};
use watertight_tenancy::{Given as Parameters, Read, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    Booking,
    actions::{Create, View},
    content::{BookingKind, CREATE, Content, Flat, Rate, content_columns, creation},
    handlers::{New, NewState},
    time::{Before, DOUBLE, PROJECT, Taking, known, lock_new, refusals},
    view::BookingView,
    warnings::Frame,
    when::{DayPart, Part},
};
use crate::{
    app::Desk,
    resources::{
        holidays,
        page::{made_name, wrong_field},
        studio::settings::{Hours, Settings},
    },
};

/// At most so many bookings.
const TIMES_MOST: usize = 200;

/// A booking, and when it comes again.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Series {
    #[garde(skip)]
    artist_id: Id,
    #[garde(skip)]
    project_id: Id,
    #[serde(default)]
    #[garde(dive)]
    title: Prose<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(skip)]
    state: NewState,
    #[serde(default)]
    #[garde(skip)]
    kind: BookingKind,
    #[garde(dive)]
    rate: Option<Rate>,
    #[serde(default)]
    #[garde(dive)]
    notes: Prose<{ Limits::NOTES_CHARS }>,
    #[garde(length(min = 1, max = 7))]
    weekdays: Vec<DayOfWeek>,
    #[garde(skip)]
    from: Day,
    /// The last day on which it may come.
    #[garde(skip)]
    until: Day,
    /// A half of each day; else all of it, or `hours`.
    #[garde(skip)]
    part: Option<Part>,
    #[garde(dive)]
    hours: Option<Hours>,
    /// On holidays too.
    #[serde(default)]
    #[garde(skip)]
    holidays: bool,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum DayOfWeek {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<DayOfWeek> for Weekday {
    fn from(day: DayOfWeek) -> Self {
        match day {
            DayOfWeek::Mon => Self::Monday,
            DayOfWeek::Tue => Self::Tuesday,
            DayOfWeek::Wed => Self::Wednesday,
            DayOfWeek::Thu => Self::Thursday,
            DayOfWeek::Fri => Self::Friday,
            DayOfWeek::Sat => Self::Saturday,
            DayOfWeek::Sun => Self::Sunday,
        }
    }
}

/// What was booked, and what was left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Series")]
pub(super) struct SeriesView {
    items: Vec<BookingView>,
    skipped: Vec<Skipped>,
}

/// A holiday that was left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SkippedDay")]
struct Skipped {
    day: Day,
    name: String,
}

/// Bookings with their ranks, by their time. `$2` the artist whose rows alone the caller may see, `$3` which.
const SHOWN_ALL: Read = Read::new(concat!(
    "SELECT b.*, r.rank FROM (SELECT ",
    super::booking_columns!(),
    " FROM studio.bookings WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2) AND id = ANY ($3)) b
     LEFT JOIN studio.ranks_of($1, $3) r ON r.booking = b.id ORDER BY b.starts_at, b.id"
));

impl Series {
    /// The days on which it comes, and the holidays that are left out.
    async fn days(&self, tx: &mut TenantTx) -> Result<(Vec<Date>, Vec<Skipped>), Fault> {
        let (first, last) = (self.from.date(), self.until.date());
        let holidays = match self.holidays {
            true => Default::default(),
            false => holidays::between(tx, first, last).await?,
        };
        let wanted: Vec<Weekday> = self.weekdays.iter().map(|day| (*day).into()).collect();
        let all = first
            .series(jiff::Span::new().days(1))
            .take_while(|day| *day <= last);
        let meant = all.filter(|day| wanted.contains(&day.weekday()));
        let (mut days, mut skipped) = (Vec::new(), Vec::new());
        for day in meant {
            match holidays.get(&day) {
                Some(name) => skipped.push(Skipped {
                    day: day.into(),
                    name: name.clone(),
                }),
                None if days.len() == TIMES_MOST => {
                    let detail = format!("that is more than {TIMES_MOST} times; end it sooner");
                    return Err(wrong_field("/until", "window", &detail));
                }
                None => days.push(day),
            }
        }
        match days.is_empty() {
            true => Err(wrong_field(
                "/until",
                "window",
                "there is no such day from `from` on",
            )),
            false => Ok((days, skipped)),
        }
    }

    /// What is booked on one of the days.
    fn on(&self, day: Date, settings: &Settings) -> Result<New, Fault> {
        let whole = DayPart {
            date: day.into(),
            part: self.part,
        };
        let days = self.hours.is_none().then_some(whole);
        let window = self
            .hours
            .map(|hours| settings.window(day, hours))
            .transpose();
        let window = window.map_err(|detail| wrong_field("/hours", "window", &detail))?;
        let (starts_at, ends_at) = window.unzip();
        Ok(New {
            artist_id: self.artist_id,
            project_id: self.project_id,
            starts_at: starts_at.map(Into::into),
            ends_at: ends_at.map(Into::into),
            from: days,
            to: days,
            slices: None,
            title: self.title.clone(),
            state: self.state,
            kind: self.kind,
            reference: None,
            rate: self.rate.clone(),
            notes: self.notes.clone(),
        })
    }
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(series): Valid<Series>,
) -> Result<Answer<SeriesView>, Fault> {
    let granted = tx.grant_new::<Create, Booking>()?;
    if series.part.is_some() && series.hours.is_some() {
        return Err(wrong_field(
            "/hours",
            "window",
            "give either `part` or `hours`",
        ));
    }
    let settings = Settings::of(&mut tx).await?;
    let (days, skipped) = series.days(&mut tx).await?;
    let artist = series.artist_id.0;
    lock_new(&mut tx, artist).await?;
    known(&tx.read(PROJECT, &[&series.project_id.0]).await?, "project")?;
    let now = desk.clock.now();
    let mut made: Vec<(Uuid, String, Content)> = Vec::with_capacity(days.len());
    for day in days {
        let (_, content) = series.on(day, &settings)?.content(&settings, now)?;
        let id = desk.random.uuid();
        made.push((id, made_name("B", id), content));
    }
    expect_room_for_all(&mut tx, &made).await?;
    let flats: Vec<Flat<'_>> = made.iter().map(|(_, _, content)| content.flat()).collect();
    let rows: Vec<Parameters<'_>> = made
        .iter()
        .zip(&flats)
        .map(|((id, reference, content), flat)| creation(id, &now, reference, content, flat, &now))
        .collect();
    let spent = tx.create_each(granted, CREATE, &rows).await?;
    let ids: Vec<Uuid> = made.iter().map(|(id, _, _)| *id).collect();
    let parameters: [&(dyn ToSql + Sync); 1] = [&ids];
    let booked = tx.page::<View, Booking>(SHOWN_ALL, &parameters).await?;
    let frame = Frame::of(&mut tx, series.project_id.0).await?;
    let items = booked
        .into_iter()
        .map(|booking| BookingView::warned(booking, &frame, &tx))
        .collect();
    let entry = Entry::new(spent.action(), spent.noun()).ids(ids);
    Draft::ok(SeriesView { items, skipped })?
        .commit(tx, entry)
        .await
}

/// Refuses when something stands against any of them: says what, of all of them.
async fn expect_room_for_all(
    tx: &mut TenantTx,
    made: &[(Uuid, String, Content)],
) -> Result<(), Fault> {
    let blocking = made.iter().filter(|(_, _, content)| content.state.blocks());
    let takings: Vec<Taking> = blocking
        .map(|(id, _, content)| Taking {
            artist: content.artist,
            spell: content.spell.clone(),
            own: *id,
            before: Before::AnyOption,
        })
        .collect();
    let refused = refusals(tx, &takings).await?;
    let mut refused = refused.into_iter().flatten().peekable();
    let Some(first) = refused.peek() else {
        return Ok(());
    };
    let problem = first.problem();
    let conflicts: Vec<Value> = refused
        .filter_map(|fault| fault.extension()?.get("conflicts")?.as_array().cloned())
        .flatten()
        .collect();
    Err(Fault::new(problem, DOUBLE).details(json!({ "conflicts": conflicts })))
}
