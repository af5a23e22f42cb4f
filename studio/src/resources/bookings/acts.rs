//! The actions: each a transition of the table, taken by somebody with a reason.

use garde::Validate;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{IfMatch, Instant, Path, Prose, Valid},
};
use watertight_authority::{Action, Granted, Spent};
use watertight_tenancy::{Read, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, FieldFault, problems};

use super::{
    Booking, State, Transition,
    actions::{Cancel, Challenge, Complete, Confirm, Extend, Pencil, Release, Start},
    content::{self, write},
    next,
    time::{Before, expect_room, lock},
    view::{BookingView, reload},
};
use crate::{
    app::Desk,
    resources::{
        holidays,
        page::{self, expect_unarchived, expect_version},
        studio::settings::{Settings, Week},
    },
};

/// A deadline that somebody names lies at most so far ahead.
const DEADLINE_MOST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// And at least so far.
const DEADLINE_LEAST: SignedDuration = SignedDuration::from_mins(1);

/// Why.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    #[garde(dive)]
    pub(super) reason: Option<Prose<500>>,
}

/// Why, and whether it is paid all the same.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancelled {
    #[garde(dive)]
    reason: Option<Prose<500>>,
    #[garde(skip)]
    payable: Option<bool>,
}

/// Why, and until when.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Extended {
    #[garde(dive)]
    reason: Option<Prose<500>>,
    #[garde(skip)]
    expires_at: Option<Instant>,
}

/// Why, and by when it must be answered.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Challenged {
    #[garde(dive)]
    reason: Option<Prose<500>>,
    #[garde(skip)]
    answer_by: Option<Instant>,
}

/// What is said with a transition.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reason: Option<String>,
    pub(super) payable: Option<bool>,
}

macro_rules! acts {
    ($($name:ident $action:ident),*) => {
        $(pub(super) async fn $name(
            tx: TenantTx,
            desk: Desk,
            path: Path<Uuid>,
            version: (IfMatch, Option<Valid<Why>>),
        ) -> Result<Answer<BookingView>, Fault> {
            let (version, why) = version;
            let reason = why.and_then(|Valid(why)| why.reason.map(Prose::into_inner));
            let said = Said { reason, payable: None };
            act::<$action>(tx, desk, path, version, Transition::$action, said).await
        })*
    };
}

acts! { pencil Pencil, confirm Confirm, start Start, complete Complete, release Release }

pub(super) async fn cancel(
    tx: TenantTx,
    desk: Desk,
    path: Path<Uuid>,
    (version, body): (IfMatch, Option<Valid<Cancelled>>),
) -> Result<Answer<BookingView>, Fault> {
    let Cancelled { reason, payable } = body.map(|Valid(body)| body).unwrap_or_default();
    let reason = reason.map(Prose::into_inner);
    let said = Said { reason, payable };
    act::<Cancel>(tx, desk, path, version, Transition::Cancel, said).await
}

async fn act<A: Action<Booking>>(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    transition: Transition,
    said: Said,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<A, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let spent = take(&mut tx, &desk, granted, transition, said).await?;
    answered(tx, spent).await
}

/// Takes a transition, and the time with it where the new state takes it.
///
/// # Errors
/// Conflict, when the state knows no such transition, or the time is not to be had.
pub(super) async fn take<A: Action<Booking>>(
    tx: &mut TenantTx,
    desk: &Desk,
    granted: Granted<A, Booking>,
    transition: Transition,
    said: Said,
) -> Result<Spent<A, Booking>, Fault> {
    let (id, booking) = (granted.id(), granted.row());
    let to = expect_next(booking, transition)?;
    let mut content = booking.content.clone();
    lock(tx, content.artist).await?;
    if to.blocks() && !content.state.blocks() {
        let before = Before::OptionsOlderThan(booking.created_at);
        expect_room(tx, content.artist, &content.spell, id, before).await?;
    }
    let now = desk.clock.now();
    content.state = to;
    content.deed = transition.as_str().to_owned();
    content.reason = said.reason;
    content.payable = said.payable;
    content.expires_at = content.expires_at.filter(|_| to == State::Hold);
    content.challenge = content.challenge.filter(|_| to == State::Pencil);
    if to.is_ended() {
        content.end(tx, now);
    }
    write(tx, granted, now, &content).await
}

pub(super) async fn extend(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    (IfMatch(version), body): (IfMatch, Option<Valid<Extended>>),
) -> Result<Answer<BookingView>, Fault> {
    let Extended { reason, expires_at } = body.map(|Valid(body)| body).unwrap_or_default();
    let granted = tx.grant::<Extend, Booking>(id).await?;
    expect_version(version, granted.version())?;
    expect_next(granted.row(), Transition::Extend)?;
    let settings = Settings::of(&mut tx).await?;
    let now = desk.clock.now();
    let mut content = granted.row().content.clone();
    content.expires_at = match expires_at {
        Some(at) => Some(deadline("expires_at", at, now)?),
        None => content.expires_at.max(Some(settings.hold_ends(now)?)),
    };
    content.reason = reason.map(Prose::into_inner);
    content.deed = Transition::Extend.as_str().to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    answered(tx, spent).await
}

/// The oldest option that is before a booking and overlaps it directly. `$2` the booking.
const FIRST_BEFORE: Read = Read::new(
    "SELECT o.source_id FROM studio.occupancy own JOIN studio.occupancy o ON o.tenant_id = own.tenant_id
       AND o.artist_id = own.artist_id AND o.state = 'pencil' AND (o.since, o.source_id) < (own.since, own.source_id)
       AND o.starts_at < own.ends_at AND o.starts_at > own.starts_at - interval '732 days' AND o.ends_at > own.starts_at
     WHERE own.tenant_id = $1 AND own.source_id = $2 AND own.state = 'pencil'
     ORDER BY o.since, o.source_id LIMIT 1",
);

/// Whether a challenge still asks something: the challenger `$3` is a pencil after `$2` and overlaps it.
const STANDS: Read = Read::new(
    "SELECT own.source_id FROM studio.occupancy own JOIN studio.occupancy o ON o.tenant_id = own.tenant_id
       AND o.artist_id = own.artist_id AND o.source_id = $3 AND o.state = 'pencil'
       AND (o.since, o.source_id) > (own.since, own.source_id) AND o.starts_at < own.ends_at AND o.ends_at > own.starts_at
     WHERE own.tenant_id = $1 AND own.source_id = $2 AND own.state = 'pencil' LIMIT 1",
);

/// Whether a challenge still asks something of a booking, whose artist is locked already.
pub(super) async fn stands(
    tx: &mut TenantTx,
    challenged: Uuid,
    challenger: Uuid,
) -> Result<bool, Fault> {
    let pair: [&(dyn ToSql + Sync); 2] = [&challenged, &challenger];
    Ok(!tx.read(STANDS, &pair).await?.is_empty())
}

/// The booking that is named challenges the first option before it; that one is what is changed.
pub(super) async fn challenge(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    (IfMatch(version), body): (IfMatch, Option<Valid<Challenged>>),
) -> Result<Answer<BookingView>, Fault> {
    let Challenged { reason, answer_by } = body.map(|Valid(body)| body).unwrap_or_default();
    let granted = tx.grant::<Challenge, Booking>(id).await?;
    expect_version(version, granted.version())?;
    expect_next(granted.row(), Transition::Challenge)?;
    let challenger = tx.seen(granted)?;
    lock(&mut tx, challenger.content.artist).await?;
    let first = first_before(&mut tx, id).await?;
    let granted = tx.grant::<Challenge, Booking>(first).await?;
    if let Some(asked) = granted.row().content.challenge
        && stands(&mut tx, first, asked.by_booking_id).await?
    {
        let spoken = format!(
            "the first option is challenged already and has until {} to answer",
            asked.answer_by
        );
        return Err(Fault::new(problems::CONFLICT, spoken));
    }
    let settings = Settings::of(&mut tx).await?;
    let now = desk.clock.now();
    let mut content = granted.row().content.clone();
    content.challenge = Some(content::Challenge {
        by_booking_id: id,
        answer_by: match answer_by {
            Some(at) => deadline("answer_by", at, now)?,
            None => {
                deadline_in_hours(&mut tx, &settings, granted.row().content.artist, now).await?
            }
        },
    });
    content.reason = reason.map(Prose::into_inner);
    content.deed = Transition::Challenge.as_str().to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id, first]);
    let view = reload(&mut tx, id).await?;
    let draft = Draft::ok(view)?.etag(challenger.version);
    draft.commit(tx, entry).await
}

/// The hours of an artist who has own ones. `$2` the artist.
const HOURS: Read = Read::new(
    "SELECT working_hours, zone FROM studio.artists WHERE tenant_id = $1 AND id = $2 AND working_hours IS NOT NULL",
);

/// So many days a deadline moves at most, where nobody works.
const HOURS_AHEAD_DAYS: i32 = 32;

/// When a challenge that is made now must be answered: in the artist's working hours.
async fn deadline_in_hours(
    tx: &mut TenantTx,
    settings: &Settings,
    artist: Uuid,
    now: Timestamp,
) -> Result<Timestamp, Fault> {
    let deadline = settings.answer_by(now)?;
    let (first, _) = settings.days(deadline, deadline);
    let last = first.saturating_add(jiff::Span::new().days(HOURS_AHEAD_DAYS));
    let holidays = holidays::between(tx, first, last).await?;
    let rows = tx.read(HOURS, &[&artist]).await?;
    let own = match rows.first() {
        Some(row) => Week::from_row(row)?.zip(Some(row.field::<Option<String>>("zone")?)),
        None => None,
    };
    let own = own.as_ref().map(|(week, zone)| (week, zone.as_deref()));
    settings
        .calendar(own, &holidays)?
        .not_before_hours(deadline)
}

async fn first_before(tx: &mut TenantTx, id: Uuid) -> Result<Uuid, Fault> {
    let rows = tx.read(FIRST_BEFORE, &[&id]).await?;
    match rows.first() {
        Some(row) => row.field("source_id"),
        None => {
            let spoken = "no option is before this one; confirm it";
            Err(Fault::new(problems::CONFLICT, spoken))
        }
    }
}

/// The booking after its change, as answered.
pub(super) async fn answered<A: Action<Booking>>(
    mut tx: TenantTx,
    spent: Spent<A, Booking>,
) -> Result<Answer<BookingView>, Fault> {
    let view = reload(&mut tx, spent.id()).await?;
    page::changed(tx, &spent, view).await
}

/// The state after a transition, or a conflict that says in which state the booking is.
pub(super) fn expect_next(booking: &Booking, transition: Transition) -> Result<State, Fault> {
    expect_unarchived("the booking", booking.content.archived_at)?;
    let state = booking.content.state;
    next(state, transition).ok_or_else(|| {
        let name = state.as_str().replace('_', " ");
        let said = format!("a booking that is {name} cannot be {}", transition.deed());
        Fault::new(problems::CONFLICT, said).details(json!({ "state": state }))
    })
}

/// A deadline that somebody named.
fn deadline(name: &str, at: Instant, now: Timestamp) -> Result<Timestamp, Fault> {
    let at = at.timestamp();
    let ahead = at.duration_since(now);
    if (DEADLINE_LEAST..=DEADLINE_MOST).contains(&ahead) {
        return Ok(at);
    }
    let spoken = "a value is against its bound; see `errors`";
    Err(
        Fault::new(problems::INVALID, spoken).fields(vec![FieldFault {
            pointer: format!("/{name}"),
            code: "window",
            detail: "lies at least a minute and at most 30 days ahead".to_owned(),
        }]),
    )
}
