//! Projects as tables. Their budgets are for whoever may see what projects cost.

use jiff::{Timestamp, civil::Date};
use watertight::{
    answer::{Answer, Csv},
    argument::{Column, Day, Line, Lines, Prose, Query},
};
use watertight_tenancy::{Given, Read, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{
    CREATE, EDIT, Project,
    actions::{Edit, Import, Inspect, View},
    handlers::{New, columns as money_columns},
};
use crate::{
    app::Desk,
    resources::{
        money::Money,
        table::{self, Asked, AskedRows, ImportView, Table, Work},
    },
};

impl Table for Project {
    type New = New;

    const COLUMNS: &'static [Column] = &[
        Column::new("code", "/code"),
        Column::new("name", "/name"),
        Column::new("client", "/client"),
        Column::new("status", "/status"),
        Column::new("starts_on", "/starts_on"),
        Column::new("ends_on", "/ends_on"),
        Column::new("budget_minor", "/budget/minor"),
        Column::new("budget_currency", "/budget/currency"),
        Column::new("notes", "/notes"),
    ];

    const BY_KEY: Read = Read::new(concat!(
        "SELECT ",
        super::columns!(),
        " FROM studio.projects p WHERE p.tenant_id = $1 AND p.code = ANY ($2)"
    ));

    const BY_ORDER: Read = Read::new(concat!(
        "SELECT ",
        super::columns!(),
        super::visible!(),
        " AND p.archived_at IS NULL AND ($3::text IS NULL OR p.code >= $3) ORDER BY p.code LIMIT $4"
    ));

    fn key(&self) -> &str {
        &self.code
    }

    fn archived_at(&self) -> Option<Timestamp> {
        self.archived_at
    }
}

/// What a table says of a project.
#[derive(PartialEq)]
struct Said {
    code: String,
    name: String,
    client: String,
    status: String,
    starts_on: Option<Date>,
    ends_on: Option<Date>,
    budget: Option<Money>,
    notes: String,
}

impl From<New> for Said {
    fn from(new: New) -> Self {
        Self {
            code: new.code.map(Line::into_inner).unwrap_or_default(),
            name: new.name.into_inner(),
            client: Prose::into_inner(new.client),
            status: new.status.as_str().to_owned(),
            starts_on: new.starts_on.map(Day::date),
            ends_on: new.ends_on.map(Day::date),
            budget: new.budget,
            notes: Prose::into_inner(new.notes),
        }
    }
}

impl From<&Project> for Said {
    fn from(project: &Project) -> Self {
        Self {
            code: project.code.clone(),
            name: project.name.clone(),
            client: project.client.clone(),
            status: project.status.clone(),
            starts_on: project.starts_on,
            ends_on: project.ends_on,
            budget: project.budget.clone(),
            notes: project.notes.clone(),
        }
    }
}

impl Said {
    /// The same, but what the table has no column for is as it was.
    fn over(self, before: &Project, lines: &Lines) -> Self {
        let before = Self::from(before);
        let has_budget = lines.has("budget_minor") || lines.has("budget_currency");
        Self {
            code: self.code,
            name: self.name,
            client: if lines.has("client") {
                self.client
            } else {
                before.client
            },
            status: if lines.has("status") {
                self.status
            } else {
                before.status
            },
            starts_on: if lines.has("starts_on") {
                self.starts_on
            } else {
                before.starts_on
            },
            ends_on: if lines.has("ends_on") {
                self.ends_on
            } else {
                before.ends_on
            },
            budget: if has_budget {
                self.budget
            } else {
                before.budget
            },
            notes: if lines.has("notes") {
                self.notes
            } else {
                before.notes
            },
        }
    }

    /// Whether it ends before it starts: the table's own constraint says so too, but not of which line.
    fn is_backwards(&self) -> bool {
        self.starts_on
            .zip(self.ends_on)
            .is_some_and(|(starts, ends)| ends < starts)
    }
}

pub(super) async fn import(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
    lines: Lines,
) -> Result<Answer<ImportView>, Fault> {
    let granted = tx.grant_new::<Import, Project>()?;
    let mut work = Work::<Edit, Project, Said>::default();
    for item in table::read::<Edit, Project>(&mut tx, &lines, &[], &mut work.faults).await? {
        let now = item.row.as_ref().map(|granted| Said::from(granted.row()));
        let mut then = Said::from(item.new);
        if let Some(granted) = &item.row {
            then = then.over(granted.row(), &lines);
        }
        if then.is_backwards() {
            let detail = "a project ends on the day it starts or later";
            work.faults
                .push(table::fault(&item.line, "ends_on", "invalid", detail));
            continue;
        }
        work.take(item.row, desk.random.uuid(), now.as_ref(), then);
    }
    let view = work.view(asked.plan, &lines);
    if asked.plan {
        return table::planned(tx, view, Entry::new("project.import", "project")).await;
    }
    work.expect_faultless()?;
    let (ids, now) = (work.begin(&mut tx, &desk), desk.clock.now());
    let budgets: Vec<_> = work
        .made
        .iter()
        .map(|(_, said)| money_columns(&said.budget))
        .collect();
    let made: Vec<Given<'_>> = work
        .made
        .iter()
        .zip(&budgets)
        .map(|((id, said), budget)| {
            let ours: Given<'_> = vec![id];
            ours.into_iter().chain(said.given(&now, budget)).collect()
        })
        .collect();
    let spent = tx.create_each(granted, CREATE, &made).await?;
    let (changed, said): (Vec<_>, Vec<_>) = work.changed.into_iter().unzip();
    let budgets: Vec<_> = said
        .iter()
        .map(|said| money_columns(&said.budget))
        .collect();
    let rows = said
        .iter()
        .zip(&budgets)
        .map(|(said, budget)| said.given(&now, budget));
    let rows = changed.into_iter().zip(rows).collect();
    tx.change_each(EDIT, rows).await?;
    table::done(tx, view, &spent, ids).await
}

impl Said {
    /// Time, then the columns, in the order of both statements.
    fn given<'a>(
        &'a self,
        now: &'a Timestamp,
        budget: &'a (Option<i64>, Option<&'a str>),
    ) -> Given<'a> {
        vec![
            now,
            &self.code,
            &self.name,
            &self.client,
            &self.status,
            &self.starts_on,
            &self.ends_on,
            &budget.0,
            &budget.1,
            &self.notes,
        ]
    }
}

pub(super) async fn export(
    mut tx: TenantTx,
    Query(asked): Query<AskedRows>,
) -> Result<Answer<Csv>, Fault> {
    let projects = table::rows::<View, Project>(&mut tx, &asked).await?;
    table::answer::<View, Project>(tx, &projects, |project, tx| {
        let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        let said = Said::from(project);
        let sees_details = tx.allows::<Inspect, Project>(project);
        let detail = |text: String| if sees_details { text } else { String::new() };
        let (minor, currency) = said
            .budget
            .map(|budget| (budget.minor.to_string(), budget.currency))
            .unzip();
        vec![
            said.code,
            said.name,
            detail(said.client),
            detail(said.status),
            day(said.starts_on),
            day(said.ends_on),
            detail(minor.unwrap_or_default()),
            detail(currency.unwrap_or_default()),
            detail(said.notes),
        ]
    })
    .await
}
