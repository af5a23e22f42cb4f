use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Firm, Id, IfMatch, Instant, Line, Path, Prose, Query, Valid},
};
use watertight_authority::{Action, Granted};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, Limits};

use super::{
    ARCHIVE, Booking, BookingView, CREATE, EDIT, MOVE_TO_STATE, State, Transition,
    actions::{Archive, Cancel, Confirm, Create, Edit, View},
    next,
    time::{Window, expect_free, give_back, lock, lock_free, lock_move, take},
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, expect_version},
};

/// Which bookings, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Booking>,
    /// Words in title or reference.
    #[garde(dive)]
    q: Option<Line<100>>,
    #[garde(skip)]
    artist_id: Option<Id>,
    #[garde(skip)]
    state: Option<State>,
    /// What ends after it.
    #[garde(skip)]
    from: Option<Instant>,
    /// What begins before it.
    #[garde(skip)]
    to: Option<Instant>,
}

impl Asked {
    /// The words that are looked for.
    pub(crate) fn words(&self) -> Option<&str> {
        self.q.as_deref()
    }
}

pub(crate) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<BookingView>>, Fault> {
    let artist = asked.artist_id.map(|id| id.0);
    let state = asked.state.map(State::as_str);
    let (from, to) = (
        asked.from.map(Instant::timestamp),
        asked.to.map(Instant::timestamp),
    );
    let q = asked.q.as_deref();
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 5] = [&artist, &state, &from, &to, &q];
    page::list::<View, Booking, _>(tx, &desk, paging, &filters, BookingView::from).await
}

pub(crate) async fn show(
    mut tx: TenantTx,
    Path(id): Path<Uuid>,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<View, Booking>(id).await?;
    let booking = tx.seen(granted)?;
    let version = booking.version;
    let entry = Entry::new("booking.view", "booking").ids([id]);
    Draft::ok(BookingView::from(booking))?
        .etag(version)
        .finish(tx, entry)
        .await
}

/// A new booking.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    #[garde(skip)]
    artist_id: Id,
    #[garde(skip)]
    starts_at: Instant,
    #[garde(skip)]
    ends_at: Instant,
    #[serde(default)]
    #[garde(dive)]
    title: Prose<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(skip)]
    state: NewState,
    #[garde(dive)]
    reference: Option<Line<32>>,
    #[serde(default)]
    #[garde(dive)]
    notes: Prose<{ Limits::NOTES_CHARS }>,
}

/// The states in which a booking may begin.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NewState {
    #[default]
    Pencil,
    Confirmed,
}

pub(crate) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<BookingView>>, Fault> {
    let granted = tx.grant_new::<Create, Booking>()?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let state = match new.state {
        NewState::Pencil => State::Pencil,
        NewState::Confirmed => State::Confirmed,
    };
    let window = Window {
        artist: new.artist_id.0,
        starts_at: new.starts_at.timestamp(),
        ends_at: new.ends_at.timestamp(),
    };
    window.check()?;
    if state.blocks() {
        lock_free(&mut tx, window, id).await?;
    } else {
        lock(&mut tx, window.artist).await?;
    }
    let reference = new.reference.map(Line::into_inner);
    let reference = reference.unwrap_or_else(|| made_reference(id));
    let state_name = state.as_str();
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &id,
        &now,
        &reference,
        &window.artist,
        &&*new.title,
        &state_name,
        &window.starts_at,
        &window.ends_at,
        &&*new.notes,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    if state.blocks() {
        take(&mut tx, &spent, desk.random.uuid(), window, id).await?;
    }
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let view = reload(&mut tx, id).await?;
    Draft::created(view, &format!("/v1/bookings/{id}"))?
        .etag(1)
        .commit(tx, entry)
        .await
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    artist_id: Firm<Id>,
    #[serde(default)]
    #[garde(dive)]
    starts_at: Firm<Instant>,
    #[serde(default)]
    #[garde(dive)]
    ends_at: Firm<Instant>,
    #[serde(default)]
    #[garde(dive)]
    title: Firm<Prose<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    notes: Firm<Prose<{ Limits::NOTES_CHARS }>>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<Edit, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    expect_unarchived(before)?;
    if before.state == State::Cancelled {
        return Err(wrong_state(before.state, "changed"));
    }
    let blocks = before.state.blocks();
    let was = Window {
        artist: before.artist,
        starts_at: before.starts_at,
        ends_at: before.ends_at,
    };
    let starts_at = edited.starts_at.given().map(Instant::timestamp);
    let ends_at = edited.ends_at.given().map(Instant::timestamp);
    let window = Window {
        artist: edited.artist_id.given().map_or(was.artist, |id| id.0),
        starts_at: starts_at.unwrap_or(was.starts_at),
        ends_at: ends_at.unwrap_or(was.ends_at),
    };
    let title = edited.title.given().map(Prose::into_inner);
    let title = title.unwrap_or_else(|| before.title.clone());
    let notes = edited.notes.given().map(Prose::into_inner);
    let notes = notes.unwrap_or_else(|| before.notes.clone());
    let moves = window != was;
    if moves {
        window.check()?;
        lock_move(&mut tx, was.artist, window.artist).await?;
        if blocks {
            expect_free(&mut tx, window, id).await?;
        }
    }
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &now,
        &window.artist,
        &title,
        &window.starts_at,
        &window.ends_at,
        &notes,
    ];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    if moves && blocks {
        give_back(&mut tx, &spent).await?;
        take(&mut tx, &spent, desk.random.uuid(), window, id).await?;
    }
    let view = reload(&mut tx, id).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::ok(view)?
        .etag(spent.version() + 1)
        .commit(tx, entry)
        .await
}

/// Nothing to say with a confirmation.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {}

pub(super) async fn confirm(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    _body: Option<Valid<Confirmed>>,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<Confirm, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let booking = granted.row();
    let window = Window {
        artist: booking.artist,
        starts_at: booking.starts_at,
        ends_at: booking.ends_at,
    };
    lock_free(&mut tx, window, id).await?;
    let to = moved(&granted, Transition::Confirm)?;
    let (spent, view) = move_to(&mut tx, &desk, granted, to, None, None, Some(window)).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::ok(view)?
        .etag(spent.version() + 1)
        .commit(tx, entry)
        .await
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

pub(super) async fn cancel(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    body: Option<Valid<Cancelled>>,
) -> Result<Answer<BookingView>, Fault> {
    let Cancelled { reason, payable } = body.map(|Valid(body)| body).unwrap_or_default();
    let granted = tx.grant::<Cancel, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let to = moved(&granted, Transition::Cancel)?;
    let reason = reason.map(Prose::into_inner);
    let (spent, view) = move_to(&mut tx, &desk, granted, to, reason, payable, None).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::ok(view)?
        .etag(spent.version() + 1)
        .commit(tx, entry)
        .await
}

pub(super) async fn archive(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant::<Archive, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, ARCHIVE, &[&now]).await?;
    give_back(&mut tx, &spent).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::no_content().commit(tx, entry).await
}

/// The state after a transition, or a conflict that says in which state the booking is.
fn moved<A: Action<Booking>>(
    granted: &Granted<A, Booking>,
    transition: Transition,
) -> Result<State, Fault> {
    let state = granted.row().state;
    expect_unarchived(granted.row())?;
    next(state, transition).ok_or_else(|| {
        wrong_state(
            state,
            match transition {
                Transition::Confirm => "confirmed",
                Transition::Cancel => "cancelled",
            },
        )
    })
}

fn expect_unarchived(booking: &Booking) -> Result<(), Fault> {
    match booking.archived_at {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            Kind::Conflict,
            "conflict",
            "the booking is archived",
        )),
    }
}

fn wrong_state(state: State, deed: &str) -> Fault {
    let said = format!("a {} booking cannot be {deed}", state.as_str());
    Fault::new(Kind::Conflict, "conflict", said).details(json!({ "state": state }))
}

/// Moves a booking to a state and its artist's time with it: taken where `window` is given, given
/// back otherwise.
async fn move_to<A: Action<Booking>>(
    tx: &mut TenantTx,
    desk: &Desk,
    granted: Granted<A, Booking>,
    to: State,
    reason: Option<String>,
    payable: Option<bool>,
    window: Option<Window>,
) -> Result<(watertight_authority::Spent<A, Booking>, BookingView), Fault> {
    let id = granted.id();
    let (now, state) = (desk.clock.now(), to.as_str());
    // The version was looked at before the lock was had: whoever came first changed it.
    let changed = tx
        .change(granted, MOVE_TO_STATE, &[&now, &state, &reason, &payable])
        .await;
    let (spent, _row) = changed.map_err(|fault| match fault.kind() {
        Kind::Stale => Fault::new(
            Kind::Conflict,
            "conflict",
            "it was changed at the same moment; load it again",
        ),
        _ => fault,
    })?;
    match window {
        Some(window) => take(tx, &spent, desk.random.uuid(), window, id).await?,
        None => give_back(tx, &spent).await?,
    }
    let view = reload(tx, id).await?;
    Ok((spent, view))
}

async fn reload(tx: &mut TenantTx, id: Uuid) -> Result<BookingView, Fault> {
    let rows = tx.read(Booking::LOAD, &[&id]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a written booking is not there"))?;
    Ok(Booking::from_row(row)?.into())
}

/// A reference for people: `B-` and eight characters of the random id.
fn made_reference(id: Uuid) -> String {
    let digits: String = id.simple().to_string().chars().take(8).collect();
    format!("B-{}", digits.to_uppercase())
}
