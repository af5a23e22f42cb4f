use garde::Validate;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{Day, Field, IfMatch, Path, Query, Valid, line, prose},
};
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, Outcome};

use super::{
    ARCHIVE, CHOICES, CREATE, EDIT, LIST_BY_CREATION, LIST_BY_CREATION_DOWN, LIST_BY_NAME,
    LIST_BY_NAME_DOWN, Project, ProjectView,
    actions::{Archive, Create, Edit, View},
};
use crate::{
    app::Desk,
    resources::{
        money::Money,
        page::{Page, expect_version, limit},
    },
};

/// Which projects, in which order.
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
    #[garde(inner(custom(line(100))))]
    q: Option<String>,
    #[garde(skip)]
    status: Option<Status>,
    #[serde(default)]
    #[garde(skip)]
    archived: bool,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Sort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "created_at")]
    Creation,
    #[serde(rename = "-created_at")]
    CreationDown,
}

impl Sort {
    fn statement(self) -> Read {
        match self {
            Self::Name => LIST_BY_NAME,
            Self::NameDown => LIST_BY_NAME_DOWN,
            Self::Creation => LIST_BY_CREATION,
            Self::CreationDown => LIST_BY_CREATION_DOWN,
        }
    }

    fn value(self, view: &ProjectView) -> String {
        match self {
            Self::Name | Self::NameDown => view.name.clone(),
            Self::Creation | Self::CreationDown => view.created_at.to_string(),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Planned,
    Active,
    Finished,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Finished => "finished",
        }
    }
}

pub(super) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer, Fault> {
    let status = asked.status.map(Status::as_str);
    let page = Page::new(
        format!(
            "projects {:?} {:?} {status:?} {}",
            asked.sort, asked.q, asked.archived
        ),
        asked.limit,
        asked.cursor.as_deref(),
        &desk.cursors,
        tx.tenant(),
    )?;
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &asked.q,
        &status,
        &asked.archived,
        &page.after_value(),
        &page.after_id(),
        &limit(&page),
    ];
    let projects = tx
        .page::<View, Project>(asked.sort.statement(), &parameters)
        .await?;
    let listed = projects
        .into_iter()
        .map(|project| ProjectView::of(project, &tx))
        .collect();
    let (list, ids) = page.cut(
        listed,
        |view: &ProjectView| (asked.sort.value(view), view.id),
        &desk.cursors,
        tx.tenant(),
    )?;
    let receipt = tx
        .finish(Entry::new("project.view", "project").ids(ids))
        .await?;
    Answer::ok(list, receipt)
}

/// The projects among which somebody may choose, by id and name.
pub(crate) async fn choices(tx: &mut TenantTx) -> Result<Vec<(Uuid, String)>, Fault> {
    let projects = tx.page::<View, Project>(CHOICES, &[]).await?;
    Ok(projects
        .into_iter()
        .map(|project| (project.id, project.name))
        .collect())
}

pub(super) async fn show(mut tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer, Fault> {
    let granted = tx.grant::<View, Project>(id).await?;
    let project = tx.seen(granted)?;
    let version = project.version;
    let view = ProjectView::of(project, &tx);
    let receipt = tx
        .finish(Entry::new("project.view", "project").ids([id]))
        .await?;
    Ok(Answer::ok(view, receipt)?.etag(version))
}

/// A new project.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(inner(custom(line(32))))]
    code: Option<String>,
    #[garde(custom(line(Limits::NAME_CHARS)))]
    name: String,
    #[serde(default)]
    #[garde(custom(prose(Limits::NAME_CHARS)))]
    client: String,
    #[serde(default)]
    #[garde(skip)]
    status: Status,
    #[garde(skip)]
    starts_on: Option<Day>,
    #[garde(skip)]
    ends_on: Option<Day>,
    #[garde(dive)]
    budget: Option<Money>,
    #[serde(default)]
    #[garde(custom(prose(Limits::NOTES_CHARS)))]
    notes: String,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer, Fault> {
    let granted = tx.grant_new::<Create, Project>()?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let code = new.code.unwrap_or_else(|| made_code(id));
    let (starts_on, ends_on) = (new.starts_on.map(Day::date), new.ends_on.map(Day::date));
    let (minor, currency) = columns(&new.budget);
    let status = new.status.as_str();
    let parameters: [&(dyn ToSql + Sync); 11] = [
        &id,
        &now,
        &code,
        &new.name,
        &new.client,
        &status,
        &starts_on,
        &ends_on,
        &minor,
        &currency,
        &new.notes,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let view = reload(&mut tx, id).await?;
    let receipt = tx.commit(entry.ended(Outcome::Allowed, 201)).await?;
    Ok(Answer::created(view, &format!("/v1/projects/{id}"), receipt)?.etag(1))
}

/// A change: what is absent stays, null clears what may be empty.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(inner(custom(line(32))))]
    code: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(Limits::NAME_CHARS))))]
    name: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(prose(Limits::NAME_CHARS))))]
    client: Field<String>,
    #[serde(default)]
    #[garde(skip)]
    status: Field<Status>,
    #[serde(default)]
    #[garde(skip)]
    starts_on: Field<Day>,
    #[serde(default)]
    #[garde(skip)]
    ends_on: Field<Day>,
    #[serde(default)]
    #[garde(dive)]
    budget: Field<Money>,
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
    let granted = tx.grant::<Edit, Project>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let kept = |given: Option<String>, before: &String| given.unwrap_or_else(|| before.clone());
    let code = kept(edited.code.given("code")?, &before.code);
    let name = kept(edited.name.given("name")?, &before.name);
    let client = kept(edited.client.given("client")?, &before.client);
    let notes = kept(edited.notes.given("notes")?, &before.notes);
    let status = edited.status.given("status")?.map(Status::as_str);
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
    let granted = tx.grant::<Archive, Project>(id).await?;
    expect_version(version, granted.version())?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, ARCHIVE, &[&now]).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let receipt = tx.commit(entry.ended(Outcome::Allowed, 204)).await?;
    Ok(Answer::no_content(receipt))
}

fn columns(budget: &Option<Money>) -> (Option<i64>, Option<&str>) {
    let budget = budget.as_ref();
    (
        budget.map(|money| money.minor),
        budget.map(|money| money.currency.as_str()),
    )
}

async fn reload(tx: &mut TenantTx, id: Uuid) -> Result<ProjectView, Fault> {
    let rows = tx.read(Project::LOAD, &[&id]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a written project is not there"))?;
    Ok(ProjectView::of(Project::from_row(row)?, tx))
}

/// A code for people: `P-` and eight characters of the random id.
fn made_code(id: Uuid) -> String {
    let digits: String = id.simple().to_string().chars().take(8).collect();
    format!("P-{}", digits.to_uppercase())
}
