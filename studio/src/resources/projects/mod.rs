//! Projects: what bookings are for.
//!
//! ```text
//! GET    /v1/projects        owners and managers all; a freelancer those of the own bookings: code, name, dates
//! GET    /v1/projects/{id}
//! GET    /v1/projects/{id}/costs   what is booked, beside the budget
//! POST   /v1/projects        owners and managers
//! PATCH  /v1/projects/{id}   RFC 7396: absent stays, null clears
//! DELETE /v1/projects/{id}   archives; its bookings stay
//! GET    /v1/projects/export, POST /v1/projects/import   as tables
//! ```

mod costs;
mod handlers;
mod tables;

pub(crate) use handlers::choices;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    argument::Day,
    door::{Routes, delete, get, get_one, patch, post},
};
use watertight_authority::{Fact, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Sight, Stored, TenantTx};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    money::Money,
    page::{Listed, Order},
    table,
};
use handlers::Status;

/// A project, as stored.
#[derive(Debug)]
pub struct Project {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    code: String,
    name: String,
    client: String,
    status: String,
    starts_on: Option<Date>,
    ends_on: Option<Date>,
    budget: Option<Money>,
    notes: String,
    archived_at: Option<Timestamp>,
    /// The caller's artist, where one of its bookings is for the project.
    artist: Option<Uuid>,
}

impl Project {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Resource for Project {
    const NOUN: &'static str = "project";
    const ENTITY: &'static str = "Project";

    fn id(&self) -> Uuid {
        self.id
    }

    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![(
            "artist",
            Fact::Is("Artist", self.artist.unwrap_or_default()),
        )]
    }
}

/// Projects, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0004_projects")],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Project>()],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with a project.
pub mod actions {
    crate::resources::actions! { super::Project:
        View "project.view", Inspect "project.inspect", SumCosts "project.sum_costs", Create "project.create", Import "project.import",
        Edit "project.change", Archive "project.archive"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.projects",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("code", Class::Internal),
        ("name", Class::Internal),
        ("client", Class::Internal),
        ("status", Class::Internal),
        ("starts_on", Class::Internal),
        ("ends_on", Class::Internal),
        ("budget_minor", Class::Internal),
        ("budget_currency", Class::Internal),
        ("notes", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "projects",
        step: 50,
        since: "its end, where it is finished or archived and has no bookings",
        days: Days::new(1825, 365, 5475),
        then: Then::Remove,
    }),
};

const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "projects_code",
        problem: crate::problems::NOT_UNIQUE,
        spoken: "another project of this studio has that code",
    },
    Constraint {
        name: "projects_dates",
        problem: problems::INVALID,
        spoken: "a project ends on the day it starts or later",
    },
];

/// The columns that a row is made from. Whose project it is follows from the bookings that the
/// caller may see.
macro_rules! columns {
    () => {
        "p.tenant_id, p.id, p.version, p.created_at, p.updated_at, p.code, p.name, p.client, p.status,
           p.starts_on, p.ends_on, p.budget_minor, p.budget_currency, p.notes, p.archived_at,
           (SELECT b.artist_id FROM studio.bookings b WHERE b.tenant_id = p.tenant_id AND b.project_id = p.id
              AND b.archived_at IS NULL AND b.artist_id = tenancy.artist_id() LIMIT 1) AS artist_id"
    };
}
use columns;

impl Stored for Project {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.projects p WHERE p.tenant_id = $1 AND p.id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            code: row.field("code")?,
            name: row.field("name")?,
            client: row.field("client")?,
            status: row.field("status")?,
            starts_on: row.field("starts_on")?,
            ends_on: row.field("ends_on")?,
            budget: Money::from_row(row, "budget_minor", "budget_currency")?,
            notes: row.field("notes")?,
            archived_at: row.field("archived_at")?,
            artist: row.field("artist_id")?,
        })
    }
}

/// The conditions of every list: `$2` the artist whose bookings' projects alone the caller may see.
macro_rules! visible {
    () => {
        " FROM studio.projects p WHERE p.tenant_id = $1 AND ($2::uuid IS NULL OR EXISTS (SELECT FROM studio.bookings own
             WHERE own.tenant_id = p.tenant_id AND own.project_id = p.id AND own.archived_at IS NULL AND own.artist_id = $2))"
    };
}
use visible;

/// A page of the list in one order. `$3` words in name or code, `$4` a status, `$5` whether archived
/// ones too, `$6` and `$7` value and id after which the page begins, `$8` its length.
macro_rules! list {
    ($column:literal, $type:literal, $after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            visible!(),
            " AND ($3::text IS NULL OR position(lower($3) in lower(p.name)) > 0 OR position(lower($3) in lower(p.code)) > 0)
              AND ($4::text IS NULL OR p.status = $4) AND ($5 OR p.archived_at IS NULL)
              AND ($7::uuid IS NULL OR (p.",
            $column,
            ", p.id) ",
            $after,
            " ($6::text::",
            $type,
            ", $7))
             ORDER BY p.",
            $column,
            " ",
            $direction,
            ", p.id ",
            $direction,
            " LIMIT $8"
        ))
    };
}

impl Listed for Project {
    const ORDERS: &'static [Order<Self>] = &[
        Order {
            name: "name",
            up: list!("name", "text", ">", "ASC"),
            down: list!("name", "text", "<", "DESC"),
            value: |project| project.name.clone(),
        },
        Order {
            name: "created_at",
            up: list!("created_at", "timestamptz", ">", "ASC"),
            down: list!("created_at", "timestamptz", "<", "DESC"),
            value: |project| project.created_at.to_string(),
        },
    ];
}

/// The first hundred by name: what a form offers.
const CHOICES: Read = Read::new(concat!(
    "SELECT ",
    columns!(),
    visible!(),
    " AND p.archived_at IS NULL ORDER BY p.name, p.id LIMIT 100"
));

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.projects (tenant_id, id, created_at, updated_at, code, name, client, status, starts_on,
       ends_on, budget_minor, budget_currency, notes)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.projects SET version = version + 1, updated_at = $4, code = $5, name = $6, client = $7,
       status = $8, starts_on = $9, ends_on = $10, budget_minor = $11, budget_currency = $12, notes = $13
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.projects SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A project as answered: `details` are there for whoever may see them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Project")]
struct ProjectView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    code: String,
    name: String,
    starts_on: Option<Day>,
    ends_on: Option<Day>,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize, JsonSchema)]
struct Details {
    client: String,
    status: Status,
    budget: Option<Money>,
    notes: String,
    archived_at: Option<Timestamp>,
}

impl ProjectView {
    fn looked(project: Project, sight: &Sight) -> Self {
        Self::of(project, |project| {
            sight.allows::<actions::Inspect, _>(project)
        })
    }

    fn read(project: Project, tx: &TenantTx) -> Self {
        Self::of(project, |project| tx.allows::<actions::Inspect, _>(project))
    }

    /// What is shown of a project. `inspects` says whether the caller may inspect it.
    fn of(project: Project, inspects: impl FnOnce(&Project) -> bool) -> Self {
        let sees_details = inspects(&project);
        Self {
            id: project.id,
            version: project.version,
            created_at: project.created_at,
            updated_at: project.updated_at,
            code: project.code,
            name: project.name,
            starts_on: project.starts_on.map(Day::from),
            ends_on: project.ends_on.map(Day::from),
            details: sees_details.then_some(Details {
                client: project.client,
                status: Status::parse(&project.status),
                budget: project.budget,
                notes: project.notes,
                archived_at: project.archived_at,
            }),
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, Import, SumCosts, View};
    routes
        .route(
            "/v1/projects/{id}/costs",
            get(costs::show)
                .says("what its bookings cost, beside its budget")
                .expensive()
                .needs::<SumCosts, Project>(),
        )
        .route(
            "/v1/projects/export",
            get(tables::export)
                .says("projects as a table, with their budgets if you may see them")
                .expensive()
                .needs::<View, Project>(),
        )
        .route(
            "/v1/projects/import",
            post(tables::import)
                .says("takes a table of projects on: all of it or nothing")
                .sample(r#""code,name,client,starts_on,budget_minor,budget_currency\nAURORA,Aurora,Nordlicht,2031-03-01,4500000,EUR\n""#)
                .body_bytes(table::BODY_BYTES)
                .expensive()
                .needs::<Import, Project>(),
        )
        .route(
            "/v1/projects",
            get(handlers::list)
                .says("projects by name or creation")
                .needs::<View, Project>()
                .and(
                    post(handlers::create)
                        .says("opens a project")
                        .sample(
                            r#"{"name": "Aurora", "client": "Nordlicht", "starts_on": "2031-03-01",
                                "budget": {"minor": 4500000, "currency": "EUR"}}"#,
                        )
                        .needs::<Create, Project>(),
                ),
        )
        .route(
            "/v1/projects/{id}",
            get_one::<View, Project, ProjectView>(ProjectView::looked)
                .says("a project, with its budget if you may see it")
                .and(
                    patch(handlers::edit)
                        .says("changes what is given; `null` clears")
                        .sample(r#"{"status": "active", "ends_on": null}"#)
                        .needs::<Edit, Project>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a project; its bookings stay")
                        .needs::<Archive, Project>(),
                ),
        )
}
