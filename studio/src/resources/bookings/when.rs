//! The time of a booking as it is given: from an instant to another, by days, or in slices.
//!
//! ```json
//! {"starts_at": "2031-03-03T09:00:00Z", "ends_at": "2031-03-03T17:00:00Z"}
//! {"from": {"date": "2031-03-03", "part": "pm"}, "to": {"date": "2031-03-05"}}
//! {"slices": [{"starts_at": "…", "ends_at": "…"}, {"starts_at": "…", "ends_at": "…"}]}
//! ```
//!
//! Windows are half-open. Days are dates of the studio's zone, and a day is as long as it is there:
//! 23, 24 or 25 hours. `to` is the last day, all of it unless a part is named.

use garde::Validate;
use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watertight::argument::{Day, Instant};
use watertight_tenancy::Row;
use watertight_terms::{Fault, FieldFault, problems};

use crate::resources::studio::settings::Settings;

/// A window, and a slice, is at most two years long.
const LONGEST_S: i64 = 2 * 366 * 24 * 3600;

/// A half of a day, as the studio divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Part {
    Am,
    Pm,
}

impl Part {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Am => "am",
            Self::Pm => "pm",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Am, Self::Pm]
            .into_iter()
            .find(|part| part.as_str() == name)
    }
}

/// A day, or a half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DayPart {
    #[garde(skip)]
    pub(crate) date: Day,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(crate) part: Option<Part>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slice {
    #[garde(skip)]
    pub(crate) starts_at: Instant,
    #[garde(skip)]
    pub(crate) ends_at: Instant,
}

/// The slices of a booking, as they are given.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schemars(inline)]
pub(crate) struct Slices(#[garde(length(min = 1, max = 100))] pub(crate) Vec<Slice>);

/// What a body says of the time, in any of the forms.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) starts_at: Option<Instant>,
    pub(crate) ends_at: Option<Instant>,
    pub(crate) from: Option<DayPart>,
    pub(crate) to: Option<DayPart>,
    pub(crate) slices: Option<Slices>,
}

impl Given {
    /// The time that is meant, in exactly one form.
    ///
    /// # Errors
    /// Invalid, when it is given in no form or in more than one, or cannot be: says which and why.
    pub(crate) fn spell(self, settings: &Settings) -> Result<Spell, Fault> {
        match (
            self.starts_at,
            self.ends_at,
            self.from,
            self.to,
            self.slices,
        ) {
            (Some(starts_at), Some(ends_at), None, None, None) => {
                Spell::of_slices(vec![Slice { starts_at, ends_at }], |_| {
                    "/ends_at".to_owned()
                })
            }
            (None, None, Some(from), Some(to), None) => Spell::of_days(from, to, settings),
            (None, None, None, None, Some(Slices(slices))) => {
                Spell::of_slices(slices, |at| format!("/slices/{at}"))
            }
            (Some(_), None, None, None, None) => Err(wrong("/ends_at", "goes with `starts_at`")),
            (None, Some(_), None, None, None) => Err(wrong("/starts_at", "goes with `ends_at`")),
            (None, None, Some(_), None, None) => Err(wrong("/to", "goes with `from`")),
            (None, None, None, Some(_), None) => Err(wrong("/from", "goes with `to`")),
            _ => Err(wrong(
                "/starts_at",
                "give either `starts_at` and `ends_at`, or the days `from` and `to`, or `slices`",
            )),
        }
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts_at.is_none()
            && self.ends_at.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.slices.is_none()
    }

    /// What is said, with the other end of it as it was where only one is named.
    pub(crate) fn over(mut self, before: &Spell) -> Self {
        if before.starts.len() == 1 && self.slices.is_none() {
            if self.starts_at.is_some() != self.ends_at.is_some() {
                self.starts_at.get_or_insert(before.starts_at.into());
                self.ends_at.get_or_insert(before.ends_at.into());
            }
            if let Some((from, to)) = before.days
                && self.from.is_some() != self.to.is_some()
            {
                self.from.get_or_insert(from);
                self.to.get_or_insert(to);
            }
        }
        self
    }
}

/// The time of a booking: its slices in their order, none over another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spell {
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) starts: Vec<Timestamp>,
    pub(crate) ends: Vec<Timestamp>,
    /// The days by which it was given.
    pub(crate) days: Option<(DayPart, DayPart)>,
}

impl Spell {
    fn of_slices(slices: Vec<Slice>, pointer: impl Fn(usize) -> String) -> Result<Self, Fault> {
        let (Some(first), Some(last)) = (slices.first(), slices.last()) else {
            return Err(wrong("/slices", "a booking has at least one slice"));
        };
        let (starts_at, ends_at) = (first.starts_at.timestamp(), last.ends_at.timestamp());
        let mut spell = Self {
            starts_at,
            ends_at,
            starts: Vec::with_capacity(slices.len()),
            ends: Vec::with_capacity(slices.len()),
            days: None,
        };
        for (at, slice) in slices.iter().enumerate() {
            let (from, to) = (slice.starts_at.timestamp(), slice.ends_at.timestamp());
            if from >= to {
                return Err(wrong(&pointer(at), "`ends_at` must be after `starts_at`"));
            }
            if spell.ends.last().is_some_and(|before| from < *before) {
                return Err(wrong(&pointer(at), "begins before the one before it ends"));
            }
            spell.starts.push(from);
            spell.ends.push(to);
        }
        spell.bounded("/ends_at")
    }

    pub(super) fn of_days(from: DayPart, to: DayPart, settings: &Settings) -> Result<Self, Fault> {
        let starts_at = settings
            .opens(from)
            .map_err(|detail| wrong("/from", &detail))?;
        let ends_at = settings
            .closes(to)
            .map_err(|detail| wrong("/to", &detail))?;
        if starts_at >= ends_at {
            return Err(wrong("/to", "`to` must not be before `from`"));
        }
        Self {
            starts_at,
            ends_at,
            starts: vec![starts_at],
            ends: vec![ends_at],
            days: Some((from, to)),
        }
        .bounded("/to")
    }

    fn bounded(self, pointer: &str) -> Result<Self, Fault> {
        if self.ends_at.as_second() - self.starts_at.as_second() > LONGEST_S {
            return Err(wrong(pointer, "it lasts at most two years"));
        }
        Ok(self)
    }

    /// The time of a row that has no slices but the one.
    pub(crate) fn from_window(row: &Row) -> Result<Self, Fault> {
        let (starts_at, ends_at) = (row.field("starts_at")?, row.field("ends_at")?);
        Ok(Self {
            starts_at,
            ends_at,
            starts: vec![starts_at],
            ends: vec![ends_at],
            days: days_of(row)?,
        })
    }

    /// The time of a booking's row.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            starts: row.field("slice_starts")?,
            ends: row.field("slice_ends")?,
            ..Self::from_window(row)?
        })
    }

    /// The slices, as answered.
    pub(crate) fn slices(&self) -> Vec<Slice> {
        let slices = self.starts.iter().zip(&self.ends);
        slices
            .map(|(starts_at, ends_at)| Slice {
                starts_at: (*starts_at).into(),
                ends_at: (*ends_at).into(),
            })
            .collect()
    }

    /// The days as four columns: from, its part, to, its part.
    pub(crate) fn day_columns(&self) -> DayColumns {
        let (from, to) = match self.days {
            Some((from, to)) => (Some(from), Some(to)),
            None => (None, None),
        };
        let date = |day: Option<DayPart>| day.map(|day| day.date.date());
        let part = |day: Option<DayPart>| day.and_then(|day| day.part).map(Part::as_str);
        (date(from), part(from), date(to), part(to))
    }
}

/// `from_day`, `from_part`, `to_day`, `to_part`.
pub(crate) type DayColumns = (
    Option<Date>,
    Option<&'static str>,
    Option<Date>,
    Option<&'static str>,
);

fn days_of(row: &Row) -> Result<Option<(DayPart, DayPart)>, Fault> {
    let day = |date: Option<Date>, part: Option<String>| {
        let part = part.as_deref().and_then(Part::parse);
        date.map(|date| DayPart {
            date: date.into(),
            part,
        })
    };
    let from = day(row.field("from_day")?, row.field("from_part")?);
    let to = day(row.field("to_day")?, row.field("to_part")?);
    Ok(from.zip(to))
}

fn wrong(pointer: &str, detail: &str) -> Fault {
    let spoken = "the window is not possible; see `errors`";
    Fault::new(problems::INVALID, spoken).fields(vec![FieldFault {
        pointer: pointer.to_owned(),
        code: "window",
        detail: detail.to_owned(),
    }])
}
