use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Day, Field, Firm, IfMatch, Line, Path, Prose, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    ARCHIVE, CHOICES, CREATE, EDIT, Project, ProjectView,
    actions::{Archive, Create, Edit, View},
};
use crate::{
    app::Desk,
    resources::{
        money::Money,
        page::{self, List, Paging, Sort, expect_version, made_name},
    },
};

/// Which projects, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Project>,
    #[garde(dive)]
    q: Option<Line<100>>,
    #[garde(skip)]
    status: Option<Status>,
    #[serde(default)]
    #[garde(skip)]
    archived: bool,
}

/// How far it is.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Status {
    #[default]
    Planned,
    Active,
    Finished,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Finished => "finished",
        }
    }

    /// The status of that name, as the table has it.
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "active" => Self::Active,
            "finished" => Self::Finished,
            _ => Self::Planned,
        }
    }
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<ProjectView>>, Fault> {
    let (q, status) = (asked.q.as_deref(), asked.status.map(Status::as_str));
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 3] = [&q, &status, &asked.archived];
    page::list::<View, Project, _>(tx, &desk, paging, &filters, ProjectView::read).await
}

/// The projects among which somebody may choose, by id and name.
pub(crate) async fn choices(tx: &mut TenantTx) -> Result<Vec<(Uuid, String)>, Fault> {
    let projects = tx.page::<View, Project>(CHOICES, &[]).await?;
    Ok(projects
        .into_iter()
        .map(|project| (project.id, project.name))
        .collect())
}

/// A new project.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    #[garde(dive)]
    pub(super) code: Option<Line<32>>,
    #[garde(dive)]
    pub(super) name: Line<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) client: Prose<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(skip)]
    pub(super) status: Status,
    #[garde(skip)]
    pub(super) starts_on: Option<Day>,
    #[garde(skip)]
    pub(super) ends_on: Option<Day>,
    #[garde(dive)]
    pub(super) budget: Option<Money>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) notes: Prose<{ Limits::NOTES_CHARS }>,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<ProjectView>>, Fault> {
    let granted = tx.grant_new::<Create, Project>()?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let code = new
        .code
        .map_or_else(|| made_name("P", id), Line::into_inner);
    let (starts_on, ends_on) = (new.starts_on.map(Day::date), new.ends_on.map(Day::date));
    let (minor, currency) = columns(&new.budget);
    let status = new.status.as_str();
    let parameters: [&(dyn ToSql + Sync); 11] = [
        &id,
        &now,
        &code,
        &&*new.name,
        &&*new.client,
        &status,
        &starts_on,
        &ends_on,
        &minor,
        &currency,
        &&*new.notes,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let view = ProjectView::read(tx.written(Project::LOAD, id).await?, &tx);
    let draft = Draft::created(view, &format!("/v1/projects/{id}"))?;
    draft.etag(1).commit(tx, entry).await
}

/// A change: what is absent stays, null clears what may be empty.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    code: Firm<Line<32>>,
    #[serde(default)]
    #[garde(dive)]
    name: Firm<Line<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    client: Firm<Prose<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    status: Firm<Status>,
    #[serde(default)]
    #[garde(dive)]
    starts_on: Field<Day>,
    #[serde(default)]
    #[garde(dive)]
    ends_on: Field<Day>,
    #[serde(default)]
    #[garde(dive)]
    budget: Field<Money>,
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
) -> Result<Answer<ProjectView>, Fault> {
    let granted = tx.grant::<Edit, Project>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let kept = |given: Option<String>, before: &String| given.unwrap_or_else(|| before.clone());
    let code = kept(edited.code.given().map(Line::into_inner), &before.code);
    let name = kept(edited.name.given().map(Line::into_inner), &before.name);
    let client = kept(edited.client.given().map(Prose::into_inner), &before.client);
    let notes = kept(edited.notes.given().map(Prose::into_inner), &before.notes);
    let status = edited.status.given().map(Status::as_str);
    let status = status.unwrap_or(&before.status);
    let starts_on = edited.starts_on.or(before.starts_on.map(Day::from));
    let ends_on = edited.ends_on.or(before.ends_on.map(Day::from));
    let (starts_on, ends_on) = (starts_on.map(Day::date), ends_on.map(Day::date));
    let budget = edited.budget.or(before.budget.clone());
    let (minor, currency) = columns(&budget);
    let (now, status) = (desk.clock.now(), status.to_owned());
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &now, &code, &name, &client, &status, &starts_on, &ends_on, &minor, &currency, &notes,
    ];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    let view = ProjectView::read(tx.written(Project::LOAD, id).await?, &tx);
    page::changed(tx, &spent, view).await
}

pub(super) async fn archive(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    page::archive::<Archive, Project>(tx, &desk, id, version, ARCHIVE).await
}

/// A budget as two columns.
pub(super) fn columns(budget: &Option<Money>) -> (Option<i64>, Option<&str>) {
    let budget = budget.as_ref();
    (
        budget.map(|money| money.minor),
        budget.map(|money| money.currency.as_str()),
    )
}
