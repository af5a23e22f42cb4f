use std::fmt;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::{OUT_OF_RANGE, spoken};

/// The first and the first no longer accepted second: 2000-01-01 and 2101-01-01, UTC.
const FIRST_S: i64 = 946_684_800;
const END_S: i64 = 4_133_980_800;
const YEARS: std::ops::RangeInclusive<i16> = 2000..=2100;

/// An instant of a body or query: RFC 3339 with an offset, years 2000 to 2100, kept to the
/// microsecond as PostgreSQL does, answered in UTC with `Z`.
///
/// ```
/// use watertight::argument::Instant;
/// let instant: Instant = serde_json::from_str(r#""2026-10-25T02:30:00+02:00""#).unwrap();
/// assert_eq!(instant.to_string(), "2026-10-25T00:30:00Z");
/// assert!(serde_json::from_str::<Instant>(r#""2026-10-25 02:30""#).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Timestamp);

impl Instant {
    /// The instant for arithmetic and statements.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let at = parse_instant(&text).ok_or_else(|| {
            spoken(
                "wrong-type",
                "a time is written like `2026-03-01T09:00:00Z`",
            )
        })?;
        if !(FIRST_S..END_S).contains(&at.as_second()) {
            return Err(spoken(
                OUT_OF_RANGE,
                "a time lies in the years 2000 to 2100",
            ));
        }
        Ok(Self(at))
    }
}

/// RFC 3339 and nothing else: jiff's own parser knows more forms.
fn parse_instant(text: &str) -> Option<Timestamp> {
    let (civil, rest) = text.split_at_checked(19)?;
    // A leap second would silently become the second before it.
    if !has_shape(civil, "0000-00-00T00:00:00") || civil.ends_with("60") {
        return None;
    }
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = fraction.len().saturating_sub(offset.len());
            (1..=9).contains(&digits).then_some(offset)?
        }
    };
    let known = offset == "Z" || has_shape(offset, "+00:00") || has_shape(offset, "-00:00");
    let at: Timestamp = known.then(|| text.parse().ok()).flatten()?;
    Timestamp::from_microsecond(at.as_microsecond()).ok()
}

/// A day of a body or query: `YYYY-MM-DD`, years 2000 to 2100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// The day for arithmetic and statements.
    pub fn date(self) -> Date {
        self.0
    }
}

impl From<Date> for Day {
    fn from(date: Date) -> Self {
        Self(date)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let shaped = has_shape(&text, "0000-00-00");
        let date: Option<Date> = shaped.then(|| text.parse().ok()).flatten();
        let date =
            date.ok_or_else(|| spoken("wrong-type", "a day is written like `2026-03-01`"))?;
        if !YEARS.contains(&date.year()) {
            return Err(spoken(OUT_OF_RANGE, "a day lies in the years 2000 to 2100"));
        }
        Ok(Self(date))
    }
}

/// Whether the text is the shape with its zeros replaced by any digits.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(byte, wanted): (u8, u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}
