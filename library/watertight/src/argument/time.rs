use std::{borrow::Cow, fmt, ops::Deref};

use garde::{Path, Report, Validate};
use jiff::{
    Timestamp,
    civil::{Date, Time},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::{OUT_OF_RANGE, spoken};

const YEARS: std::ops::RangeInclusive<i16> = 2000..=2100;

/// An instant of a body or query: RFC 3339 with an offset, written years 2000 to 2100, kept to the
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
        if !year_of(&text).is_some_and(|year| YEARS.contains(&year)) {
            return Err(spoken(
                OUT_OF_RANGE,
                "a time lies in the years 2000 to 2100",
            ));
        }
        Ok(Self(at))
    }
}

/// Nothing is left to check once it is read.
impl Validate for Instant {
    type Context = ();

    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> Path, _: &mut Report) {}
}

/// The schema says the same as the reader: a form that is wrong and a year out of range alike.
impl JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": "^(20[0-9]{2}|2100)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
            "maxLength": 35,
        })
    }
}

fn year_of(text: &str) -> Option<i16> {
    text.get(..4)?.parse().ok()
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
    let within_a_day = offset.get(1..3).is_some_and(|hours| hours < "24")
        && offset.get(4..5).is_some_and(|tens| tens < "6");
    let signed = has_shape(offset, "+00:00") || has_shape(offset, "-00:00");
    let known = offset == "Z" || (signed && within_a_day);
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

/// Nothing is left to check once it is read.
impl Validate for Day {
    type Context = ();

    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> Path, _: &mut Report) {}
}

impl JsonSchema for Day {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date",
            "pattern": "^(20[0-9]{2}|2100)-[0-9]{2}-[0-9]{2}$",
            "maxLength": 10,
        })
    }
}

/// A time of the day, wherever it is: `HH:MM`.
///
/// ```
/// use watertight::argument::TimeOfDay;
/// let opens: TimeOfDay = serde_json::from_str(r#""09:30""#).unwrap();
/// assert_eq!(opens.to_string(), "09:30");
/// assert!(serde_json::from_str::<TimeOfDay>(r#""24:00""#).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(Time);

impl TimeOfDay {
    /// The time for arithmetic and statements.
    pub fn time(self) -> Time {
        self.0
    }
}

/// To the minute.
impl From<Time> for TimeOfDay {
    fn from(time: Time) -> Self {
        Self(Time::constant(time.hour(), time.minute(), 0, 0))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let shaped = has_shape(&text, "00:00");
        let time: Option<Time> = shaped.then(|| text.parse().ok()).flatten();
        time.map(Self).ok_or_else(|| {
            spoken(
                "wrong-type",
                "a time of the day is written like `09:30`, from `00:00` to `23:59`",
            )
        })
    }
}

/// Nothing is left to check once it is read.
impl Validate for TimeOfDay {
    type Context = ();

    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> Path, _: &mut Report) {}
}

impl JsonSchema for TimeOfDay {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$",
            "maxLength": 5,
            "examples": ["09:30"],
        })
    }
}

/// A time zone by its IANA name, as `Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Zone(String);

/// Names that databases of zones have beside those of zones: of no place, or of wherever the machine is.
const NO_ZONES: [&str; 4] = ["Etc/Unknown", "Factory", "localtime", "posixrules"];

impl Zone {
    /// Whether a name is that of a time zone.
    ///
    /// ```
    /// use watertight::argument::Zone;
    /// assert!(Zone::is_known("Europe/Berlin"));
    /// assert!(!Zone::is_known("Europe/Nowhere"));
    /// assert!(!Zone::is_known("localtime"));
    /// ```
    pub fn is_known(name: &str) -> bool {
        let mut none = NO_ZONES.iter();
        name.len() <= 64
            && jiff::tz::TimeZone::get(name).is_ok()
            && !none.any(|none| name.eq_ignore_ascii_case(none))
    }

    /// The name.
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl Deref for Zone {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Validate for Zone {
    type Context = ();

    fn validate_into(&self, (): &(), parent: &mut dyn FnMut() -> Path, report: &mut Report) {
        if !Self::is_known(&self.0) {
            report.append(parent(), garde::Error::new("is no IANA time zone"));
        }
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "iana-time-zone",
            "minLength": 1,
            "maxLength": 64,
            "pattern": "^[A-Za-z0-9/+_-]+$",
            "examples": ["Europe/Berlin"],
        })
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
