//! Every version of a booking, and the way back to the one before.

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{CursorText, IfMatch, Path, Prose, Query, Valid},
};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, TenantId, problems};

use super::{
    Booking, State,
    actions::{Review, Undo},
    acts::{Why, answered},
    content::{Content, content_columns, write},
    time::{Before, expect_room, lock_move},
    view::BookingView,
};
use crate::{
    app::Desk,
    resources::page::{List, Page, expect_version},
};

/// Which versions: the newest first.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
}

/// A booking as it was. `$2` the booking, `$3` a version before which, `$4` how many.
const VERSIONS: Read = Read::new(concat!(
    "SELECT tenant_id, id AS version_id, source_id, version, created_at, updated_at, reference, actor, actor_role, ",
    content_columns!(),
    " FROM studio.booking_versions WHERE tenant_id = $1 AND source_id = $2
       AND ($3::text IS NULL OR version < $3::text::integer)
     ORDER BY version DESC LIMIT $4"
));

/// One version, as answered: what it was, who made it so, by what deed and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BookingVersion")]
pub(super) struct VersionView {
    version: i32,
    at: Timestamp,
    by: String,
    role: String,
    action: String,
    reason: Option<String>,
    booking: BookingView,
    #[serde(skip)]
    id: Uuid,
}

impl VersionView {
    fn of(row: &Row, tx: &TenantTx) -> Result<Self, Fault> {
        let content = Content::from_row(row)?;
        let (action, reason) = (content.deed.clone(), content.reason.clone());
        let booking = Booking {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("source_id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            reference: row.field("reference")?,
            content,
            rank: None,
        };
        Ok(Self {
            version: booking.version,
            at: booking.updated_at,
            by: row.field("actor")?,
            role: row.field("actor_role")?,
            action,
            reason,
            booking: BookingView::of(booking, tx),
            id: row.field("version_id")?,
        })
    }
}

pub(super) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<VersionView>>, Fault> {
    let granted = tx.grant::<Review, Booking>(id).await?;
    tx.seen(granted)?;
    let scope = format!("history {id}");
    let page = Page::new(&tx, &desk, scope, asked.limit, asked.cursor)?;
    let [after, _, length] = page.parameters();
    let rows = tx.read(VERSIONS, &[&id, after, length]).await?;
    let versions = rows
        .iter()
        .map(|row| VersionView::of(row, &tx))
        .collect::<Result<Vec<_>, _>>()?;
    let place = |view: &VersionView| (view.version.to_string(), view.id);
    let list = page.cut(&tx, &desk, versions, place)?;
    let entry = Entry::new("booking.review", "booking").ids([id]);
    Draft::ok(list)?.finish(tx, entry).await
}

/// Puts the version before the last change back, as a new version, where that is still possible.
pub(super) async fn undo(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    (IfMatch(version), body): (IfMatch, Option<Valid<Why>>),
) -> Result<Answer<BookingView>, Fault> {
    let granted = tx.grant::<Undo, Booking>(id).await?;
    expect_version(version, granted.version())?;
    let mut content = version_before(&mut tx, id, granted.version()).await?;
    let booking = granted.row();
    let since = booking.created_at;
    lock_move(&mut tx, booking.content.artist, content.artist).await?;
    let now = desk.clock.now();
    if content.state == State::Hold && content.expires_at.is_none_or(|at| at <= now) {
        return Err(impossible("the hold has run out meanwhile; book anew"));
    }
    if content.state.blocks() && content.archived_at.is_none() {
        let before = Before::OptionsOlderThan(since);
        expect_room(&mut tx, content.artist, &content.spell, id, before).await?;
    }
    // Whoever asked then would ask again now.
    content.challenge = None;
    content.reason = body.and_then(|Valid(why)| why.reason.map(Prose::into_inner));
    content.deed = "undo".to_owned();
    let spent = write(&mut tx, granted, now, &content).await?;
    answered(tx, spent).await
}

async fn version_before(tx: &mut TenantTx, id: Uuid, version: i32) -> Result<Content, Fault> {
    let (before, one) = (version.to_string(), 1_i64);
    let parameters: [&(dyn ToSql + Sync); 3] = [&id, &before, &one];
    let rows = tx.read(VERSIONS, &parameters).await?;
    match rows.first() {
        Some(row) => Content::from_row(row),
        None => Err(impossible("nothing was changed yet")),
    }
}

fn impossible(spoken: &'static str) -> Fault {
    Fault::new(problems::CONFLICT, spoken)
}
