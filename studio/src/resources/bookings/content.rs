//! What a booking says, apart from who it is: the columns that a change writes, all of them and always
//! the same, so that any version can be put back.

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight_authority::{Action, Granted, GrantedNew, Principal, Spent, SpentNew};
use watertight_tenancy::{Change, Insert, Row, TenantTx, ToSql};
use watertight_terms::{Fault, Kind, problems};

use super::{Booking, State, when::Spell};
use crate::resources::money::Money;

/// What a booking says.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) artist: Uuid,
    pub(super) project: Uuid,
    pub(super) title: String,
    pub(super) kind: BookingKind,
    pub(super) state: State,
    pub(super) spell: Spell,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) challenge: Option<Challenge>,
    pub(super) rate: Option<Rate>,
    pub(super) notes: String,
    pub(super) reason: Option<String>,
    pub(super) payable: Option<bool>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) ended_by: Option<String>,
    pub(super) archived_at: Option<Timestamp>,
    /// What made it so.
    pub(super) deed: String,
}

/// A later option asks this one to confirm or release.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(super) struct Challenge {
    pub(super) by_booking_id: Uuid,
    pub(super) answer_by: Timestamp,
}

/// What the time is for.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum BookingKind {
    #[default]
    Work,
    /// On the way there or back.
    Travel,
}

impl BookingKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Travel => "travel",
        }
    }

    /// The kind of that name, as the table has it.
    fn parse(name: &str) -> Self {
        match name {
            "travel" => Self::Travel,
            _ => Self::Work,
        }
    }
}

/// What is paid, and for how much time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    #[garde(skip)]
    unit: Unit,
    #[garde(dive)]
    amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Unit {
    Day,
    HalfDay,
    Hour,
}

impl Rate {
    /// Unit, amount and currency, as texts.
    pub(super) fn texts(&self) -> [String; 3] {
        [
            self.unit.as_str().to_owned(),
            self.amount.minor.to_string(),
            self.amount.currency.clone(),
        ]
    }
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::HalfDay => "half_day",
            Self::Hour => "hour",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Day, Self::HalfDay, Self::Hour]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }
}

/// The columns of [`Content`], in the order in which they are written.
macro_rules! content_columns {
    () => {
        "artist_id, project_id, title, state, starts_at, ends_at, slice_starts, slice_ends, from_day, from_part,
           to_day, to_part, expires_at, challenged_by, answer_by, rate_unit, rate_minor, rate_currency, notes,
           reason, payable, ended_at, ended_by, archived_at, deed, kind"
    };
}
pub(super) use content_columns;

macro_rules! content_values {
    () => {
        "$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26,
           $27, $28, $29, $30"
    };
}

/// `$2` the id, `$3` since when it is there, `$4` the reference, `$31` the time.
pub(super) const CREATE: Insert = Insert::new(concat!(
    "INSERT INTO studio.bookings (tenant_id, id, created_at, updated_at, reference, ",
    content_columns!(),
    ") VALUES ($1, $2, $3, $31, $4, ",
    content_values!(),
    ")"
));

/// `$4` the time.
pub(super) const WRITE: Change = Change::new(concat!(
    "UPDATE studio.bookings SET version = version + 1, updated_at = $4, (",
    content_columns!(),
    ") = ROW(",
    content_values!(),
    ") WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version"
));

impl Content {
    /// What a booking says, from its row or from one of its versions.
    pub(super) fn from_row(row: &Row) -> Result<Self, Fault> {
        let state: String = row.field("state")?;
        let challenged_by: Option<Uuid> = row.field("challenged_by")?;
        let answer_by: Option<Timestamp> = row.field("answer_by")?;
        let unit: Option<String> = row.field("rate_unit")?;
        let unit = unit.as_deref().and_then(Unit::parse);
        let amount = Money::from_row(row, "rate_minor", "rate_currency")?;
        Ok(Self {
            artist: row.field("artist_id")?,
            project: row.field("project_id")?,
            title: row.field("title")?,
            kind: BookingKind::parse(&row.field::<String>("kind")?),
            state: State::parse(&state)
                .ok_or_else(|| Fault::bug(format!("a booking in state `{state}`")))?,
            spell: Spell::from_row(row)?,
            expires_at: row.field("expires_at")?,
            challenge: challenged_by
                .zip(answer_by)
                .map(|(by_booking_id, answer_by)| Challenge {
                    by_booking_id,
                    answer_by,
                }),
            rate: unit.zip(amount).map(|(unit, amount)| Rate { unit, amount }),
            notes: row.field("notes")?,
            reason: row.field("reason")?,
            payable: row.field("payable")?,
            ended_at: row.field("ended_at")?,
            ended_by: row.field("ended_by")?,
            archived_at: row.field("archived_at")?,
            deed: row.field("deed")?,
        })
    }

    /// Notes that it was given up, and by whom.
    pub(super) fn end(&mut self, tx: &TenantTx, now: Timestamp) {
        self.ended_at = Some(now);
        self.ended_by = Some(match &tx.standing().principal {
            Principal::Member { id, .. } => id.to_string(),
            Principal::Service { name } => format!("service:{name}"),
        });
    }

    /// As columns have it.
    pub(super) fn flat(&self) -> Flat<'_> {
        let rate = self.rate.as_ref();
        let (from_day, from_part, to_day, to_part) = self.spell.day_columns();
        Flat {
            state: self.state.as_str(),
            kind: self.kind.as_str(),
            from_day,
            from_part,
            to_day,
            to_part,
            challenged_by: self.challenge.map(|challenge| challenge.by_booking_id),
            answer_by: self.challenge.map(|challenge| challenge.answer_by),
            rate_unit: rate.map(|rate| rate.unit.as_str()),
            rate_minor: rate.map(|rate| rate.amount.minor),
            rate_currency: rate.map(|rate| rate.amount.currency.as_str()),
        }
    }
}

/// What has another form in columns.
pub(super) struct Flat<'a> {
    state: &'static str,
    kind: &'static str,
    from_day: Option<jiff::civil::Date>,
    from_part: Option<&'static str>,
    to_day: Option<jiff::civil::Date>,
    to_part: Option<&'static str>,
    challenged_by: Option<Uuid>,
    answer_by: Option<Timestamp>,
    rate_unit: Option<&'static str>,
    rate_minor: Option<i64>,
    rate_currency: Option<&'a str>,
}

/// `first`, and then the content, as parameters.
pub(super) fn parameters<'a>(
    first: &[&'a (dyn ToSql + Sync)],
    content: &'a Content,
    flat: &'a Flat<'_>,
) -> Vec<&'a (dyn ToSql + Sync)> {
    let rest: [&(dyn ToSql + Sync); 26] = [
        &content.artist,
        &content.project,
        &content.title,
        &flat.state,
        &content.spell.starts_at,
        &content.spell.ends_at,
        &content.spell.starts,
        &content.spell.ends,
        &flat.from_day,
        &flat.from_part,
        &flat.to_day,
        &flat.to_part,
        &content.expires_at,
        &flat.challenged_by,
        &flat.answer_by,
        &flat.rate_unit,
        &flat.rate_minor,
        &flat.rate_currency,
        &content.notes,
        &content.reason,
        &content.payable,
        &content.ended_at,
        &content.ended_by,
        &content.archived_at,
        &content.deed,
        &flat.kind,
    ];
    [first, rest.as_slice()].concat()
}

/// The parameters of [`CREATE`]: since when it is there, and when it is written.
pub(super) fn creation<'a>(
    id: &'a Uuid,
    born: &'a Timestamp,
    reference: &'a String,
    content: &'a Content,
    flat: &'a Flat<'_>,
    now: &'a Timestamp,
) -> Vec<&'a (dyn ToSql + Sync)> {
    let mut all = parameters(&[id, born, reference], content, flat);
    all.push(now);
    all
}

/// Writes a new booking.
pub(super) async fn create<A: Action<Booking>>(
    tx: &mut TenantTx,
    granted: GrantedNew<A, Booking>,
    id: Uuid,
    (born, now): (Timestamp, Timestamp),
    reference: &String,
    content: &Content,
) -> Result<SpentNew<A, Booking>, Fault> {
    let flat = content.flat();
    let all = creation(&id, &born, reference, content, &flat, &now);
    tx.create(granted, CREATE, &all).await
}

/// Writes the next version of the granted booking.
///
/// # Errors
/// Conflict, when somebody was faster: the version was looked at before the lock was had.
pub(super) async fn write<A: Action<Booking>>(
    tx: &mut TenantTx,
    granted: Granted<A, Booking>,
    now: Timestamp,
    content: &Content,
) -> Result<Spent<A, Booking>, Fault> {
    let flat = content.flat();
    let all = parameters(&[&now], content, &flat);
    let changed = tx.change(granted, WRITE, &all).await;
    let (spent, _row) = changed.map_err(|fault| match fault.kind() {
        Kind::Stale => Fault::new(
            problems::CONFLICT,
            "it was changed at the same moment; load it again",
        ),
        _ => fault,
    })?;
    Ok(spent)
}
