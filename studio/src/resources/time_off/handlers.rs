use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Firm, Id, IfMatch, Instant, Path, Prose, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    ARCHIVE, CREATE, EDIT, TimeOff, TimeOffView,
    actions::{Archive, Create, Edit, View},
};
use crate::{
    app::Desk,
    resources::{
        bookings::{
            time::{Before, expect_room, lock, lock_move, lock_new},
            when::{DayPart, Given},
        },
        page::{self, List, Paging, Sort, expect_unarchived, expect_version},
        studio::settings::Settings,
    },
};

/// Whose time off, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<TimeOff>,
    #[garde(skip)]
    artist_id: Option<Id>,
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<TimeOffView>>, Fault> {
    let artist = asked.artist_id.map(|Id(id)| id);
    let (from, to) = (
        asked.from.map(Instant::timestamp),
        asked.to.map(Instant::timestamp),
    );
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 3] = [&artist, &from, &to];
    page::list::<View, TimeOff, _>(tx, &desk, paging, &filters, |off, _| TimeOffView::from(off))
        .await
}

/// A new absence.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    artist_id: Id,
    #[garde(skip)]
    starts_at: Option<Instant>,
    #[garde(skip)]
    ends_at: Option<Instant>,
    #[garde(skip)]
    from: Option<DayPart>,
    #[garde(skip)]
    to: Option<DayPart>,
    #[serde(default)]
    #[garde(dive)]
    notes: Prose<{ Limits::NOTES_CHARS }>,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<TimeOffView>>, Fault> {
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
    lock_new(&mut tx, new.artist_id.0).await?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    expect_room(&mut tx, new.artist_id.0, &spell, id, Before::NoOption).await?;
    let (from_day, from_part, to_day, to_part) = spell.day_columns();
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &id,
        &now,
        &new.artist_id.0,
        &spell.starts_at,
        &spell.ends_at,
        &from_day,
        &from_part,
        &to_day,
        &to_part,
        &&*new.notes,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let view = TimeOffView::from(tx.written::<TimeOff>(TimeOff::LOAD, id).await?);
    let draft = Draft::created(view, &format!("/v1/time-off/{id}"))?;
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
    notes: Firm<Prose<{ Limits::NOTES_CHARS }>>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<TimeOffView>, Fault> {
    let granted = tx.grant::<Edit, TimeOff>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    expect_unarchived("the time off", before.archived_at)?;
    let given = Given {
        starts_at: edited.starts_at.given(),
        ends_at: edited.ends_at.given(),
        from: edited.from.given(),
        to: edited.to.given(),
        slices: None,
    };
    let mut spell = before.spell.clone();
    if !given.is_empty() {
        let settings = Settings::of(&mut tx).await?;
        spell = given.over(&before.spell).spell(&settings)?;
    }
    let artist = edited.artist_id.given().map(|Id(id)| id);
    let artist = artist.unwrap_or(before.artist);
    let notes = edited.notes.given().map(Prose::into_inner);
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
    let view = TimeOffView::from(tx.written::<TimeOff>(TimeOff::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}

pub(super) async fn archive(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant::<Archive, TimeOff>(id).await?;
    expect_version(version, granted.version())?;
    lock(&mut tx, granted.row().artist).await?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, ARCHIVE, &[&now]).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::no_content().commit(tx, entry).await
}
