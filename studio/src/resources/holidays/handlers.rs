use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Day, Firm, IfMatch, Line, Path, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    ARCHIVE, CREATE, EDIT, Holiday, View,
    actions::{self, Archive, Create, Edit},
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, expect_version},
};

/// Which ones, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Holiday>,
    /// The first day.
    #[garde(skip)]
    from: Option<Day>,
    /// The last day.
    #[garde(skip)]
    to: Option<Day>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<View>>, Fault> {
    let (from, to) = (asked.from.map(Day::date), asked.to.map(Day::date));
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 2] = [&from, &to];
    page::list::<actions::View, Holiday, _>(tx, &desk, paging, &filters, |row, _| View::from(row))
        .await
}

/// A new one.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    day: Day,
    #[garde(dive)]
    name: Line<{ Limits::NAME_CHARS }>,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<View>>, Fault> {
    let granted = tx.grant_new::<Create, Holiday>()?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let (day, name) = (new.day.date(), new.name.into_inner());
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &now, &day, &name];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let view = View::from(tx.written::<Holiday>(Holiday::LOAD, id).await?);
    Draft::created(view, &format!("/v1/holidays/{id}"))?
        .etag(1)
        .commit(tx, Entry::new(spent.action(), spent.noun()).ids([id]))
        .await
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    day: Firm<Day>,
    #[serde(default)]
    #[garde(dive)]
    name: Firm<Line<{ Limits::NAME_CHARS }>>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<View>, Fault> {
    let granted = tx.grant::<Edit, Holiday>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let name = edited.name.given().map(Line::into_inner);
    let name = name.unwrap_or_else(|| before.name.clone());
    let day = edited.day.given().map_or(before.day, Day::date);
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, EDIT, &[&now, &day, &name]).await?;
    let view = View::from(tx.written::<Holiday>(Holiday::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}

pub(super) async fn archive(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    page::archive::<Archive, Holiday>(tx, &desk, id, version, ARCHIVE).await
}
