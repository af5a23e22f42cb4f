//! Moving a booking whole, and cutting it in two.
//!
//! ```text
//! POST /v1/bookings/{id}/move    {"starts_at": …} or {"from": day}, and {"artist_id": …}
//! POST /v1/bookings/{id}/split   {"at": instant} or {"on": day}
//! ```
//!
//! A booking that is moved keeps its hours by the studio's clocks, also over the day on which they change. Longer and
//! shorter it becomes by `PATCH` of one of its ends.

use garde::Validate;
use jiff::{SignedDuration, Timestamp, civil::DateTime};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft},
    argument::{Day, Id, IfMatch, Instant, Path, Prose, Valid},
};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault};

use super::{
    Booking, Transition,
    actions::{Create, Move, Split},
    acts::{answered, expect_next},
    content::{self, write},
    handlers::settle,
    time::lock,
    view::{BookingView, reload},
    when::{DayPart, Part, Spell},
};
use crate::{
    app::Desk,
    resources::{
        page::{expect_version, made_name, wrong_field},
        studio::settings::Settings,
    },
};

/// Where to.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Moved {
    /// When it begins.
    #[garde(skip)]
    starts_at: Option<Instant>,
    /// The day on which it begins, at the same hour.
    #[garde(skip)]
    from: Option<Day>,
    #[garde(skip)]
    artist_id: Option<Id>,
    #[garde(dive)]
    reason: Option<Prose<500>>,
}

impl Moved {
    /// By how much, by the studio's clocks.
    fn by(&self, spell: &Spell, settings: &Settings) -> Result<SignedDuration, Fault> {
        let was = settings.local(spell.starts_at);
        match (self.starts_at, self.from) {
            (Some(_), Some(_)) => Err(wrong_field(
                "/from",
                "window",
                "give either `starts_at` or `from`",
            )),
            (Some(_), None) if spell.days.is_some() => {
                let detail = "it is booked by days; give `from`";
                Err(wrong_field("/starts_at", "window", detail))
            }
            (Some(at), None) => Ok(settings.local(at.timestamp()).duration_since(was)),
            (None, Some(day)) => {
                let first = spell.days.map_or(was.date(), |(from, _)| from.date.date());
                Ok(day.date().duration_since(first))
            }
            (None, None) => Ok(SignedDuration::ZERO),
        }
    }
}

pub(super) async fn shift(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    (IfMatch(version), Valid(moved)): (IfMatch, Valid<Moved>),
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<Move, Booking>(id).await?;
    expect_version(version, granted.version())?;
    expect_next(granted.row(), Transition::Change)?;
    let settings = Settings::of(&mut tx).await?;
    let mut content = granted.row().content.clone();
    let by = moved.by(&content.spell, &settings)?;
    if by != SignedDuration::ZERO {
        content.spell = content.spell.shifted(by, &settings)?;
    }
    if let Some(Id(artist)) = moved.artist_id {
        content.artist = artist;
    }
    content.reason = moved.reason.map(Prose::into_inner);
    content.deed = "move".to_owned();
    let spent = settle(&mut tx, &desk, granted, content, &settings).await?;
    answered(tx, spent).await
}

/// Where it is cut.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    /// The second part begins then.
    #[garde(skip)]
    at: Option<Instant>,
    /// The second part begins with that day, or that half of it.
    #[garde(skip)]
    on: Option<DayPart>,
    #[garde(dive)]
    reason: Option<Prose<500>>,
}

impl Cut {
    fn parts(&self, spell: &Spell, settings: &Settings) -> Result<(Spell, Spell), Fault> {
        let outside = |pointer| {
            wrong_field(
                pointer,
                "window",
                "does not lie between its beginning and its end",
            )
        };
        match (self.at, self.on, spell.days) {
            (Some(at), None, _) => spell.cut(at.timestamp()).ok_or_else(|| outside("/at")),
            (None, Some(on), Some((from, to))) => {
                let before = day_before(on)?;
                let opens = settings
                    .opens(on)
                    .map_err(|detail| wrong_field("/on", "window", &detail))?;
                if opens <= spell.starts_at || opens >= spell.ends_at {
                    return Err(outside("/on"));
                }
                Ok((
                    Spell::of_days(from, before, settings)?,
                    Spell::of_days(on, to, settings)?,
                ))
            }
            (None, Some(on), None) => {
                let opens = settings
                    .opens(on)
                    .map_err(|detail| wrong_field("/on", "window", &detail))?;
                spell.cut(opens).ok_or_else(|| outside("/on"))
            }
            _ => Err(wrong_field("/at", "window", "give either `at` or `on`")),
        }
    }
}

/// The day, or the half of one, before.
fn day_before(day: DayPart) -> Result<DayPart, Fault> {
    if day.part == Some(Part::Pm) {
        return Ok(DayPart {
            date: day.date,
            part: Some(Part::Am),
        });
    }
    let before = day.date.date().yesterday();
    let before = before.map_err(|_| wrong_field("/on", "window", "lies beyond the calendar"))?;
    Ok(DayPart {
        date: before.into(),
        part: None,
    })
}

/// Cuts a booking in two: the first keeps its name and its challenge, the second is a booking of its own, as old as the
/// first, so that it keeps its place among the options.
pub(super) async fn split(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    (IfMatch(version), Valid(cut)): (IfMatch, Valid<Cut>),
) -> Result<Answer<Created<BookingView>>, Fault> {
    let granted = tx.grant::<Split, Booking>(id).await?;
    let granted_new = tx.grant_new::<Create, Booking>()?;
    expect_version(version, granted.version())?;
    let booking = granted.row();
    expect_next(booking, Transition::Change)?;
    let settings = Settings::of(&mut tx).await?;
    let born = booking.created_at;
    let (mut first, mut second) = (booking.content.clone(), booking.content.clone());
    (first.spell, second.spell) = cut.parts(&booking.content.spell, &settings)?;
    first.reason = cut.reason.map(Prose::into_inner);
    second.reason = first.reason.clone();
    first.deed = "split".to_owned();
    second.deed = "split".to_owned();
    second.challenge = None;
    lock(&mut tx, first.artist).await?;
    let (own, now) = (desk.random.uuid(), desk.clock.now());
    // The first makes room for the second before that one takes it.
    let spent = write(&mut tx, granted, now, &first).await?;
    let name = made_name("B", own);
    content::create(&mut tx, granted_new, own, (born, now), &name, &second).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id, own]);
    let view = reload(&mut tx, own).await?;
    let draft = Draft::created(view, &format!("/v1/bookings/{own}"))?;
    draft.etag(1).commit(tx, entry).await
}

impl Spell {
    /// What lies before an instant, and what lies from it on, if there is something of both.
    fn cut(&self, at: Timestamp) -> Option<(Self, Self)> {
        let slices = || self.starts.iter().copied().zip(self.ends.iter().copied());
        let before = slices()
            .filter(|(starts, _)| *starts < at)
            .map(|(starts, ends)| (starts, ends.min(at)));
        let after = slices()
            .filter(|(_, ends)| *ends > at)
            .map(|(starts, ends)| (starts.max(at), ends));
        Some((Self::of_windows(before)?, Self::of_windows(after)?))
    }

    fn of_windows(windows: impl Iterator<Item = (Timestamp, Timestamp)>) -> Option<Self> {
        let (starts, ends): (Vec<_>, Vec<_>) = windows.unzip();
        Some(Self {
            starts_at: *starts.first()?,
            ends_at: *ends.last()?,
            starts,
            ends,
            days: None,
        })
    }

    /// The same by the clocks, later or earlier.
    fn shifted(&self, by: SignedDuration, settings: &Settings) -> Result<Self, Fault> {
        let wrong = |detail: &str| wrong_field("/starts_at", "window", detail);
        let beyond = |_| wrong("lies beyond the calendar");
        if let Some((from, to)) = self.days {
            let later = |day: DayPart| -> Result<DayPart, Fault> {
                let date = day.date.date().checked_add(by).map_err(beyond)?;
                Ok(DayPart {
                    date: date.into(),
                    part: day.part,
                })
            };
            return Self::of_days(later(from)?, later(to)?, settings);
        }
        let later = |at: &Timestamp| -> Result<Timestamp, Fault> {
            let local: DateTime = settings.local(*at).checked_add(by).map_err(beyond)?;
            settings.instant_at(local).map_err(|detail| wrong(&detail))
        };
        let starts = self
            .starts
            .iter()
            .map(later)
            .collect::<Result<Vec<_>, _>>()?;
        let ends = self.ends.iter().map(later).collect::<Result<Vec<_>, _>>()?;
        let ordered = starts.iter().zip(&ends).all(|(starts, ends)| starts < ends);
        match Self::of_windows(starts.into_iter().zip(ends)) {
            Some(spell) if ordered => Ok(spell),
            _ => Err(wrong("the clocks leave nothing of it there")),
        }
    }
}
