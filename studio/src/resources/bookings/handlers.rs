use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Field, Firm, Id, IfMatch, Instant, Line, Path, Prose, Query, Valid},
};
use watertight_authority::{Action, Granted, Spent};
use watertight_tenancy::{TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, problems};

use super::{
    Booking, State, Transition,
    actions::{Archive, Create, Edit, View},
    acts::{answered, expect_next},
    content::{self, BookingKind, Content, Rate, write},
    time::{Before, LOCK_ARTIST, PROJECT, expect_room, known, lock, lock_move},
    view::{BookingView, load, reload},
    when::{DayPart, Given, Slices},
};
use crate::{
    app::Desk,
    resources::{
        page::{self, List, Paging, Sort, expect_version, made_name},
        studio::settings::{self, Settings},
    },
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
    #[garde(dive)]
    q: Option<Line<100>>,
    #[garde(skip)]
    artist_id: Option<Id>,
    #[garde(skip)]
    project_id: Option<Id>,
    #[garde(skip)]
    state: Option<State>,
    #[garde(skip)]
    from: Option<Instant>,
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
    let (artist, project) = (
        asked.artist_id.map(|Id(id)| id),
        asked.project_id.map(|Id(id)| id),
    );
    let (from, to) = (
        asked.from.map(Instant::timestamp),
        asked.to.map(Instant::timestamp),
    );
    let (state, q) = (asked.state.map(State::as_str), asked.q.as_deref());
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 6] = [&artist, &project, &state, &from, &to, &q];
    page::list::<View, Booking, _>(tx, &desk, paging, &filters, BookingView::of).await
}

pub(crate) async fn show(
    mut tx: TenantTx,
    Path(id): Path<Uuid>,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<View, Booking>(id).await?;
    let booking = tx.seen(granted)?;
    let view = match booking.content.state {
        State::Pencil => load(&mut tx, id).await?,
        _ => BookingView::of(booking, &tx),
    };
    let version = view.version;
    let entry = Entry::new("booking.view", "booking").ids([id]);
    Draft::ok(view)?.etag(version).finish(tx, entry).await
}

/// A new booking.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    #[garde(skip)]
    pub(super) artist_id: Id,
    #[garde(skip)]
    pub(super) project_id: Id,
    #[garde(skip)]
    pub(super) starts_at: Option<Instant>,
    #[garde(skip)]
    pub(super) ends_at: Option<Instant>,
    #[garde(skip)]
    pub(super) from: Option<DayPart>,
    #[garde(skip)]
    pub(super) to: Option<DayPart>,
    #[garde(dive)]
    pub(super) slices: Option<Slices>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) title: Prose<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(skip)]
    pub(super) kind: BookingKind,
    #[serde(default)]
    #[garde(skip)]
    pub(super) state: NewState,
    #[garde(dive)]
    pub(super) reference: Option<Line<32>>,
    #[garde(dive)]
    pub(super) rate: Option<Rate>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) notes: Prose<{ Limits::NOTES_CHARS }>,
}

/// The states in which a booking may begin.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum NewState {
    #[default]
    Hold,
    Pencil,
    Confirmed,
}

impl New {
    /// The reference that is given, and what the booking says.
    ///
    /// # Errors
    /// Invalid, when its time is none.
    pub(super) fn content(
        self,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(Option<String>, Content), Fault> {
        let given = Given {
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            from: self.from,
            to: self.to,
            slices: self.slices,
        };
        let (state, expires_at) = match self.state {
            NewState::Hold => (State::Hold, Some(settings.hold_ends(now)?)),
            NewState::Pencil => (State::Pencil, None),
            NewState::Confirmed => (State::Confirmed, None),
        };
        let content = Content {
            artist: self.artist_id.0,
            project: self.project_id.0,
            title: self.title.into_inner(),
            kind: self.kind,
            state,
            spell: given.spell(settings)?,
            expires_at,
            challenge: None,
            rate: self.rate,
            notes: self.notes.into_inner(),
            reason: None,
            payable: None,
            ended_at: None,
            ended_by: None,
            archived_at: None,
            deed: "create".to_owned(),
        };
        Ok((self.reference.map(Line::into_inner), content))
    }
}

pub(crate) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<BookingView>>, Fault> {
    let granted = tx.grant_new::<Create, Booking>()?;
    let artist: [&(dyn ToSql + Sync); 1] = [&new.artist_id.0];
    let project: [&(dyn ToSql + Sync); 1] = [&new.project_id.0];
    let answers = tx
        .reads(&[
            (settings::READ, &settings::NONE),
            (LOCK_ARTIST, &artist),
            (PROJECT, &project),
        ])
        .await?;
    let [decided, locked, project] = answers.as_slice() else {
        return Err(Fault::bug("three reads without three answers"));
    };
    known(locked, "artist")?;
    known(project, "project")?;
    let settings = Settings::from_rows(&tx, decided)?;
    // After the lock: the age by which options are ranked follows the order in which they came.
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let (reference, content) = new.content(&settings, now)?;
    if content.state.blocks() {
        let (artist, before) = (content.artist, Before::AnyOption);
        expect_room(&mut tx, artist, &content.spell, id, before).await?;
    }
    let reference = reference.unwrap_or_else(|| made_name("B", id));
    let spent = content::create(&mut tx, granted, id, (now, now), &reference, &content).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let view = reload(&mut tx, id).await?;
    let draft = Draft::created(view, &format!("/v1/bookings/{id}"))?;
    draft.etag(1).commit(tx, entry).await
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
    project_id: Firm<Id>,
    #[serde(default)]
    #[garde(dive)]
    starts_at: Firm<Instant>,
    #[serde(default)]
    #[garde(dive)]
    ends_at: Firm<Instant>,
    #[serde(default)]
    #[garde(dive)]
    from: Firm<DayPart>,
    #[serde(default)]
    #[garde(dive)]
    to: Firm<DayPart>,
    #[serde(default)]
    #[garde(dive)]
    slices: Firm<Slices>,
    #[serde(default)]
    #[garde(dive)]
    title: Firm<Prose<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    kind: Firm<BookingKind>,
    #[serde(default)]
    #[garde(dive)]
    rate: Field<Rate>,
    #[serde(default)]
    #[garde(dive)]
    notes: Firm<Prose<{ Limits::NOTES_CHARS }>>,
}

pub(super) fn rate_is_fixed() -> Fault {
    let spoken = "the rate is fixed since the booking was confirmed";
    Fault::new(problems::CONFLICT, spoken)
}

impl Edited {
    /// The time that is given, if any is.
    fn time(&mut self) -> Given {
        Given {
            starts_at: std::mem::take(&mut self.starts_at).given(),
            ends_at: std::mem::take(&mut self.ends_at).given(),
            from: std::mem::take(&mut self.from).given(),
            to: std::mem::take(&mut self.to).given(),
            slices: std::mem::take(&mut self.slices).given(),
        }
    }

    /// Puts what is said into the content, but for artist and time.
    fn describe(self, content: &mut Content) -> Result<(), Fault> {
        let rate_is_agreed = content.state.blocks();
        if rate_is_agreed && self.rate != Field::Absent {
            return Err(rate_is_fixed());
        }
        content.rate = self.rate.or(content.rate.take());
        if let Some(Id(project)) = self.project_id.given() {
            content.project = project;
        }
        if let Some(title) = self.title.given() {
            content.title = title.into_inner();
        }
        content.kind = self.kind.given().unwrap_or(content.kind);
        if let Some(notes) = self.notes.given() {
            content.notes = notes.into_inner();
        }
        Ok(())
    }
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(mut edited): Valid<Edited>,
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<Edit, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    expect_next(before, Transition::Change)?;
    let was = &before.content;
    let mut content = was.clone();
    let settings = Settings::of(&mut tx).await?;
    let given = edited.time();
    if !given.is_empty() {
        content.spell = given.over(&was.spell).spell(&settings)?;
    }
    if let Some(Id(artist)) = std::mem::take(&mut edited.artist_id).given() {
        content.artist = artist;
    }
    edited.describe(&mut content)?;
    if content.project != was.project {
        known(&tx.read(PROJECT, &[&content.project]).await?, "project")?;
    }
    content.reason = None;
    content.deed = Transition::Change.as_str().to_owned();
    let spent = settle(&mut tx, &desk, granted, content, &settings).await?;
    answered(tx, spent).await
}

/// Writes what a booking says now, once its time is had.
///
/// # Errors
/// Conflict, when the time is not to be had; invalid, when there is no artist to go to.
pub(super) async fn settle<A: Action<Booking>>(
    tx: &mut TenantTx,
    desk: &Desk,
    granted: Granted<A, Booking>,
    mut content: Content,
    settings: &Settings,
) -> Result<Spent<A, Booking>, Fault> {
    let (id, since, was) = (
        granted.id(),
        granted.row().created_at,
        &granted.row().content,
    );
    if content.artist != was.artist || content.spell != was.spell {
        lock_move(tx, was.artist, content.artist).await?;
        if content.state.blocks() {
            let before = Before::OptionsOlderThan(since);
            expect_room(tx, content.artist, &content.spell, id, before).await?;
        }
    }
    let now = desk.clock.now();
    if content.state == State::Hold {
        // Whoever works on a hold still wants it.
        content.expires_at = content.expires_at.max(Some(settings.hold_ends(now)?));
    }
    write(tx, granted, now, &content).await
}

pub(super) async fn archive(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant::<Archive, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let mut content = granted.row().content.clone();
    lock(&mut tx, content.artist).await?;
    let now = desk.clock.now();
    content.archived_at.get_or_insert(now);
    content.deed = "archive".to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::no_content().commit(tx, entry).await
}
