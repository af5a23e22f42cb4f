use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Day, Field, Firm, Id, IfMatch, Line, Path, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    ARCHIVE, CREATE, EDIT, Phase, View,
    actions::{self, Archive, Create, Edit},
    order,
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
    sort: Sort<Phase>,
    #[garde(skip)]
    project_id: Option<Id>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<View>>, Fault> {
    let project = asked.project_id.map(|Id(id)| id);
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 1] = [&project];
    page::list::<actions::View, Phase, _>(tx, &desk, paging, &filters, |row, _| View::from(row))
        .await
}

/// A new one.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    project_id: Id,
    #[garde(dive)]
    name: Line<{ Limits::NAME_CHARS }>,
    #[garde(skip)]
    starts_on: Option<Day>,
    #[garde(skip)]
    ends_on: Option<Day>,
    /// Which phases of the project come before it.
    #[serde(default)]
    #[garde(dive)]
    after: Phases,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<View>>, Fault> {
    let granted = tx.grant_new::<Create, Phase>()?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let (project, name) = (new.project_id.0, new.name.into_inner());
    let (starts_on, ends_on) = (new.starts_on.map(Day::date), new.ends_on.map(Day::date));
    let after = new.after.ids();
    order::expect_order(&mut tx, project, id, &name, &after).await?;
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&id, &now, &project, &name, &starts_on, &ends_on, &after];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let view = View::from(tx.written::<Phase>(Phase::LOAD, id).await?);
    Draft::created(view, &format!("/v1/phases/{id}"))?
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
    name: Firm<Line<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    starts_on: Field<Day>,
    #[serde(default)]
    #[garde(dive)]
    ends_on: Field<Day>,
    #[serde(default)]
    #[garde(dive)]
    after: Firm<Phases>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<View>, Fault> {
    let granted = tx.grant::<Edit, Phase>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let name = edited.name.given().map(Line::into_inner);
    let name = name.unwrap_or_else(|| before.name.clone());
    let starts_on = edited
        .starts_on
        .or(before.starts_on.map(Day::from))
        .map(Day::date);
    let ends_on = edited
        .ends_on
        .or(before.ends_on.map(Day::from))
        .map(Day::date);
    let after = edited.after.given().map(|phases| phases.ids());
    let is_reordered = after.is_some();
    let after = after.unwrap_or_else(|| before.after.clone());
    if is_reordered {
        order::expect_order(&mut tx, before.project, id, &name, &after).await?;
    }
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 5] = [&now, &name, &starts_on, &ends_on, &after];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    let view = View::from(tx.written::<Phase>(Phase::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}

pub(super) async fn archive(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    page::archive::<Archive, Phase>(tx, &desk, id, version, ARCHIVE).await
}

/// Phases by their ids, each once.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schemars(inline)]
struct Phases(#[garde(length(max = 20))] Vec<Id>);

impl Phases {
    fn ids(&self) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = self.0.iter().map(|Id(id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
