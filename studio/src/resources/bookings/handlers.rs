use garde::Validate;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{Field, IfMatch, Instant, Path, Query, Valid, line, prose},
};
use watertight_tenancy::{Read, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, Limits, Outcome};

use super::{
    Booking, LIST_BY_CREATION, LIST_BY_CREATION_DOWN, LIST_BY_START, LIST_BY_START_DOWN, State,
    Transition,
    actions::{Archive, Create, Edit, View},
    acts::expect_next,
    content::{self, Content, Rate, write},
    settings::{self, Settings},
    time::{Before, LOCK_ARTIST, PROJECT, expect_room, known, lock_move},
    view::{BookingView, reload},
    when::{DayPart, Given, Slice},
};
use crate::{
    app::Desk,
    resources::page::{Page, expect_version, limit},
};

/// Which bookings, in which order.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(length(bytes, max = Limits::CURSOR_BYTES))]
    cursor: Option<String>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort,
    #[garde(inner(custom(line(100))))]
    q: Option<String>,
    #[garde(skip)]
    artist_id: Option<Uuid>,
    #[garde(skip)]
    project_id: Option<Uuid>,
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

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Sort {
    #[default]
    #[serde(rename = "starts_at")]
    Start,
    #[serde(rename = "-starts_at")]
    StartDown,
    #[serde(rename = "created_at")]
    Creation,
    #[serde(rename = "-created_at")]
    CreationDown,
}

impl Sort {
    fn statement(self) -> Read {
        match self {
            Self::Start => LIST_BY_START,
            Self::StartDown => LIST_BY_START_DOWN,
            Self::Creation => LIST_BY_CREATION,
            Self::CreationDown => LIST_BY_CREATION_DOWN,
        }
    }

    fn value(self, view: &BookingView) -> String {
        match self {
            Self::Start | Self::StartDown => view.starts_at,
            Self::Creation | Self::CreationDown => view.created_at,
        }
        .to_string()
    }
}

pub(crate) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer, Fault> {
    let (from, to) = (
        asked.from.map(Instant::timestamp),
        asked.to.map(Instant::timestamp),
    );
    let page = Page::new(
        format!(
            "bookings {:?} {:?} {:?} {:?} {:?} {from:?} {to:?}",
            asked.sort, asked.q, asked.artist_id, asked.project_id, asked.state
        ),
        asked.limit,
        asked.cursor.as_deref(),
        &desk.cursors,
        tx.tenant(),
    )?;
    let state = asked.state.map(State::as_str);
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &asked.artist_id,
        &asked.project_id,
        &state,
        &from,
        &to,
        &asked.q,
        &page.after_value(),
        &page.after_id(),
        &limit(&page),
    ];
    let bookings = tx
        .page::<View, Booking>(asked.sort.statement(), &parameters)
        .await?;
    let listed = bookings
        .into_iter()
        .map(|booking| BookingView::of(booking, &tx))
        .collect();
    let (list, ids) = page.cut(
        listed,
        |view: &BookingView| (asked.sort.value(view), view.id),
        &desk.cursors,
        tx.tenant(),
    )?;
    let receipt = tx
        .finish(Entry::new("booking.view", "booking").ids(ids))
        .await?;
    Answer::ok(list, receipt)
}

pub(crate) async fn show(mut tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer, Fault> {
    let granted = tx.grant::<View, Booking>(id).await?;
    let booking = tx.seen(granted)?;
    let view = match booking.content.state {
        State::Pencil => reload(&mut tx, id).await?,
        _ => BookingView::of(booking, &tx),
    };
    let version = view.version;
    let receipt = tx
        .finish(Entry::new("booking.view", "booking").ids([id]))
        .await?;
    Ok(Answer::ok(view, receipt)?.etag(version))
}

/// A new booking.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    #[garde(skip)]
    artist_id: Uuid,
    #[garde(skip)]
    project_id: Uuid,
    #[garde(skip)]
    starts_at: Option<Instant>,
    #[garde(skip)]
    ends_at: Option<Instant>,
    #[garde(skip)]
    from: Option<DayPart>,
    #[garde(skip)]
    to: Option<DayPart>,
    #[garde(skip)]
    slices: Option<Vec<Slice>>,
    #[serde(default)]
    #[garde(custom(prose(Limits::NAME_CHARS)))]
    title: String,
    #[serde(default)]
    #[garde(skip)]
    state: NewState,
    #[garde(inner(custom(line(32))))]
    reference: Option<String>,
    #[garde(dive)]
    rate: Option<Rate>,
    #[serde(default)]
    #[garde(custom(prose(Limits::NOTES_CHARS)))]
    notes: String,
}

/// The states in which a booking may begin.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewState {
    #[default]
    Hold,
    Pencil,
    Confirmed,
}

pub(crate) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer, Fault> {
    let granted = tx.grant_new::<Create, Booking>()?;
    let artist: [&(dyn ToSql + Sync); 1] = [&new.artist_id];
    let project: [&(dyn ToSql + Sync); 1] = [&new.project_id];
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
    let given = Given {
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        from: new.from,
        to: new.to,
        slices: new.slices,
    };
    let (state, expires_at) = match new.state {
        NewState::Hold => (State::Hold, Some(settings.hold_ends(now)?)),
        NewState::Pencil => (State::Pencil, None),
        NewState::Confirmed => (State::Confirmed, None),
    };
    let content = Content {
        artist: new.artist_id,
        project: new.project_id,
        title: new.title,
        state,
        spell: given.spell(&settings)?,
        expires_at,
        challenge: None,
        rate: new.rate,
        notes: new.notes,
        reason: None,
        payable: None,
        ended_at: None,
        ended_by: None,
        archived_at: None,
        deed: "create".to_owned(),
    };
    if state.blocks() {
        let (artist, before) = (content.artist, Before::AnyOption);
        expect_room(&mut tx, artist, &content.spell, id, before).await?;
    }
    let reference = new.reference.unwrap_or_else(|| made_reference(id));
    let spent = content::create(&mut tx, granted, id, now, &reference, &content).await?;
    let entry = Entry::new(spent.action(), spent.noun())
        .ids([id])
        .ended(Outcome::Allowed, 201);
    let view = reload(&mut tx, id).await?;
    let receipt = tx.commit(entry).await?;
    Ok(Answer::created(view, &format!("/v1/bookings/{id}"), receipt)?.etag(1))
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(skip)]
    artist_id: Field<Uuid>,
    #[serde(default)]
    #[garde(skip)]
    project_id: Field<Uuid>,
    #[serde(default)]
    #[garde(skip)]
    starts_at: Field<Instant>,
    #[serde(default)]
    #[garde(skip)]
    ends_at: Field<Instant>,
    #[serde(default)]
    #[garde(skip)]
    from: Field<DayPart>,
    #[serde(default)]
    #[garde(skip)]
    to: Field<DayPart>,
    #[serde(default)]
    #[garde(skip)]
    slices: Field<Vec<Slice>>,
    #[serde(default)]
    #[garde(inner(custom(prose(Limits::NAME_CHARS))))]
    title: Field<String>,
    #[serde(default)]
    #[garde(dive)]
    rate: Field<Rate>,
    #[serde(default)]
    #[garde(inner(custom(prose(Limits::NOTES_CHARS))))]
    notes: Field<String>,
}

impl Edited {
    /// The time that is given, if any is.
    fn time(&mut self) -> Result<Given, Fault> {
        Ok(Given {
            starts_at: std::mem::take(&mut self.starts_at).given("starts_at")?,
            ends_at: std::mem::take(&mut self.ends_at).given("ends_at")?,
            from: std::mem::take(&mut self.from).given("from")?,
            to: std::mem::take(&mut self.to).given("to")?,
            slices: std::mem::take(&mut self.slices).given("slices")?,
        })
    }

    /// Puts what is said into the content, but for artist and time.
    fn describe(self, content: &mut Content) -> Result<(), Fault> {
        let rate_is_agreed = content.state.blocks();
        if rate_is_agreed && self.rate != Field::Absent {
            let spoken = "the rate is fixed since the booking was confirmed";
            return Err(Fault::new(Kind::Conflict, "conflict", spoken));
        }
        content.rate = self.rate.or(content.rate.take());
        if let Some(project) = self.project_id.given("project_id")? {
            content.project = project;
        }
        if let Some(title) = self.title.given("title")? {
            content.title = title;
        }
        if let Some(notes) = self.notes.given("notes")? {
            content.notes = notes;
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
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Edit, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    expect_next(before, Transition::Change)?;
    let (since, was) = (before.created_at, &before.content);
    let mut content = was.clone();
    let settings = Settings::of(&mut tx).await?;
    let given = edited.time()?;
    if !given.is_empty() {
        content.spell = given.over(&was.spell).spell(&settings)?;
    }
    if let Some(artist) = edited.artist_id.given("artist_id")? {
        content.artist = artist;
    }
    edited.describe(&mut content)?;
    if content.project != was.project {
        known(&tx.read(PROJECT, &[&content.project]).await?, "project")?;
    }
    if content.artist != was.artist || content.spell != was.spell {
        lock_move(&mut tx, was.artist, content.artist).await?;
        if content.state.blocks() {
            let before = Before::OptionsOlderThan(since);
            expect_room(&mut tx, content.artist, &content.spell, id, before).await?;
        }
    }
    let now = desk.clock.now();
    if content.state == State::Hold {
        // Whoever works on a hold still wants it.
        content.expires_at = content.expires_at.max(Some(settings.hold_ends(now)?));
    }
    content.reason = None;
    content.deed = Transition::Change.as_str().to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    let view = reload(&mut tx, id).await?;
    let receipt = tx
        .commit(Entry::new(spent.action(), spent.noun()).ids([id]))
        .await?;
    Ok(Answer::ok(view, receipt)?.etag(spent.version() + 1))
}

pub(super) async fn archive(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Archive, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let mut content = granted.row().content.clone();
    let artist = content.artist;
    lock_move(&mut tx, artist, artist).await?;
    let now = desk.clock.now();
    content.archived_at.get_or_insert(now);
    content.deed = "archive".to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    let entry = Entry::new(spent.action(), spent.noun())
        .ids([id])
        .ended(Outcome::Allowed, 204);
    let receipt = tx.commit(entry).await?;
    Ok(Answer::no_content(receipt))
}

/// A reference for people: `B-` and eight characters of the random id.
fn made_reference(id: Uuid) -> String {
    let digits: String = id.simple().to_string().chars().take(8).collect();
    format!("B-{}", digits.to_uppercase())
}
