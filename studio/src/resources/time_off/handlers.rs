use garde::Validate;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{Field, IfMatch, Instant, Path, Query, Valid, prose},
};
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, Limits, Outcome};

use super::{
    ARCHIVE, CREATE, EDIT, LIST_BY_START, LIST_BY_START_DOWN, TimeOff, TimeOffView,
    actions::{Archive, Create, Edit, View},
};
use crate::{
    app::Desk,
    resources::{
        bookings::{
            settings::Settings,
            time::{Before, expect_room, lock, lock_move, lock_new},
            when::{DayPart, Given},
        },
        page::{Page, expect_version, limit},
    },
};

/// Whose time off, in which order.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(length(bytes, max = Limits::CURSOR_BYTES))]
    cursor: Option<String>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort,
    #[garde(skip)]
    artist_id: Option<Uuid>,
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Sort {
    #[default]
    #[serde(rename = "starts_at")]
    Start,
    #[serde(rename = "-starts_at")]
    StartDown,
}

impl Sort {
    fn statement(self) -> Read {
        match self {
            Self::Start => LIST_BY_START,
            Self::StartDown => LIST_BY_START_DOWN,
        }
    }
}

pub(super) async fn list(
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
            "time off {:?} {:?} {from:?} {to:?}",
            asked.sort, asked.artist_id
        ),
        asked.limit,
        asked.cursor.as_deref(),
        &desk.cursors,
        tx.tenant(),
    )?;
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &asked.artist_id,
        &from,
        &to,
        &page.after_value(),
        &page.after_id(),
        &limit(&page),
    ];
    let absences = tx
        .page::<View, TimeOff>(asked.sort.statement(), &parameters)
        .await?;
    let listed = absences.into_iter().map(TimeOffView::from).collect();
    let position = |view: &TimeOffView| (view.starts_at.to_string(), view.id);
    let (list, ids) = page.cut(listed, position, &desk.cursors, tx.tenant())?;
    let receipt = tx
        .finish(Entry::new("time_off.view", "time_off").ids(ids))
        .await?;
    Answer::ok(list, receipt)
}

pub(super) async fn show(mut tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer, Fault> {
    let granted = tx.grant::<View, TimeOff>(id).await?;
    let off = tx.seen(granted)?;
    let version = off.version;
    let receipt = tx
        .finish(Entry::new("time_off.view", "time_off").ids([id]))
        .await?;
    Ok(Answer::ok(TimeOffView::from(off), receipt)?.etag(version))
}

/// A new absence.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    artist_id: Uuid,
    #[garde(skip)]
    starts_at: Option<Instant>,
    #[garde(skip)]
    ends_at: Option<Instant>,
    #[garde(skip)]
    from: Option<DayPart>,
    #[garde(skip)]
    to: Option<DayPart>,
    #[serde(default)]
    #[garde(custom(prose(Limits::NOTES_CHARS)))]
    notes: String,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer, Fault> {
    let granted = tx.grant_new::<Create, TimeOff>()?;
    let settings = Settings::of(&mut tx).await?;
    let given = Given {
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        from: new.from,
        to: new.to,
        slices: None,
    };
    let spell = given.spell(&settings)?;
    lock_new(&mut tx, new.artist_id).await?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    expect_room(&mut tx, new.artist_id, &spell, id, Before::NoOption).await?;
    let (from_day, from_part, to_day, to_part) = spell.day_columns();
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &id,
        &now,
        &new.artist_id,
        &spell.starts_at,
        &spell.ends_at,
        &from_day,
        &from_part,
        &to_day,
        &to_part,
        &new.notes,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun())
        .ids([id])
        .ended(Outcome::Allowed, 201);
    let view = reload(&mut tx, id).await?;
    let receipt = tx.commit(entry).await?;
    Ok(Answer::created(view, &format!("/v1/time-off/{id}"), receipt)?.etag(1))
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
    #[garde(inner(custom(prose(Limits::NOTES_CHARS))))]
    notes: Field<String>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Edit, TimeOff>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    expect_unarchived(before)?;
    let given = Given {
        starts_at: edited.starts_at.given("starts_at")?,
        ends_at: edited.ends_at.given("ends_at")?,
        from: edited.from.given("from")?,
        to: edited.to.given("to")?,
        slices: None,
    };
    let mut spell = before.spell.clone();
    if !given.is_empty() {
        let settings = Settings::of(&mut tx).await?;
        spell = given.over(&before.spell).spell(&settings)?;
    }
    let artist = edited
        .artist_id
        .given("artist_id")?
        .unwrap_or(before.artist);
    let notes = edited.notes.given("notes")?;
    let notes = notes.unwrap_or_else(|| before.notes.clone());
    if artist != before.artist || spell != before.spell {
        lock_move(&mut tx, before.artist, artist).await?;
        expect_room(&mut tx, artist, &spell, id, Before::NoOption).await?;
    }
    let now = desk.clock.now();
    let (from_day, from_part, to_day, to_part) = spell.day_columns();
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &now,
        &artist,
        &spell.starts_at,
        &spell.ends_at,
        &from_day,
        &from_part,
        &to_day,
        &to_part,
        &notes,
    ];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
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
    let granted = tx.grant::<Archive, TimeOff>(id).await?;
    expect_version(version, granted.version())?;
    lock(&mut tx, granted.row().artist).await?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, ARCHIVE, &[&now]).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let receipt = tx.commit(entry.ended(Outcome::Allowed, 204)).await?;
    Ok(Answer::no_content(receipt))
}

fn expect_unarchived(off: &TimeOff) -> Result<(), Fault> {
    match off.archived_at {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            Kind::Conflict,
            "conflict",
            "the time off is archived",
        )),
    }
}

async fn reload(tx: &mut TenantTx, id: Uuid) -> Result<TimeOffView, Fault> {
    let rows = tx.read(TimeOff::LOAD, &[&id]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("written time off is not there"))?;
    Ok(TimeOff::from_row(row)?.into())
}
