//! Phases: the parts of a project, with their dates, and which comes after which.
//!
//! ```text
//! GET    /v1/phases        of a project, by their first day
//! GET    /v1/phases/{id}
//! POST   /v1/phases        owners and managers
//! PATCH  /v1/phases/{id}   RFC 7396: absent stays
//! DELETE /v1/phases/{id}   archives
//! ```
//!
//! A phase names those of its project that it comes `after`. None comes after itself, directly or through others. Dates
//! bind nobody: a booking outside of them is answered with a warning.

mod handlers;
mod order;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    argument::Day,
    door::{Routes, delete, get, get_one, patch, post},
};
use watertight_authority::{Fact, Resource};
use watertight_custody::Retention;
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

/// A phase, as stored.
#[derive(Debug)]
pub struct Phase {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    project: Uuid,
    name: String,
    starts_on: Option<Date>,
    ends_on: Option<Date>,
    after: Vec<Uuid>,
    archived_at: Option<Timestamp>,
}

impl Resource for Phase {
    const NOUN: &'static str = "phase";
    const ENTITY: &'static str = "Phase";

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
        Vec::new()
    }
}

/// Phases, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0019_phases")],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Phase>()],
    constraints: &[
        Constraint {
            name: "phases_project",
            problem: problems::INVALID,
            spoken: "the project is none that you may plan",
        },
        Constraint {
            name: "phases_dates",
            problem: problems::INVALID,
            spoken: "a phase ends on the day it starts or later",
        },
    ],
    routes,
};

/// What may be done with them.
pub mod actions {
    crate::resources::actions! { super::Phase:
        View "phase.view", Create "phase.create", Edit "phase.change", Archive "phase.archive"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.phases",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("project_id", Class::Internal),
        ("name", Class::Internal),
        ("starts_on", Class::Internal),
        ("ends_on", Class::Internal),
        ("after", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: Retention::With {
        table: "studio.projects",
    },
};

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, project_id, name, starts_on, ends_on, after, archived_at"
    };
}

impl Stored for Phase {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.phases WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            project: row.field("project_id")?,
            name: row.field("name")?,
            starts_on: row.field("starts_on")?,
            ends_on: row.field("ends_on")?,
            after: row.field("after")?,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose rows alone the caller may see (whoever is
/// held to one sees none of these), `$3` a project, `$4` and `$5` value and id after which the page
/// begins, `$6` its length. Those without a first day come last.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.phases WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($3::uuid IS NULL OR project_id = $3) AND archived_at IS NULL
               AND ($5::uuid IS NULL OR (coalesce(starts_on, 'infinity'), id) ",
            $after,
            " ($4::text::date, $5))
             ORDER BY coalesce(starts_on, 'infinity') ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $6"
        ))
    };
}

impl Listed for Phase {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "starts_on",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |row| {
            row.starts_on
                .map_or_else(|| "infinity".to_owned(), |day| day.to_string())
        },
    }];
}

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.phases (tenant_id, id, created_at, updated_at, project_id, name, starts_on, ends_on, after)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.phases SET version = version + 1, updated_at = $4, name = $5, starts_on = $6,
       ends_on = $7, after = $8
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.phases SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// As answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Phase")]
struct View {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    project_id: Uuid,
    name: String,
    starts_on: Option<Day>,
    ends_on: Option<Day>,
    after: Vec<Uuid>,
    archived_at: Option<Timestamp>,
}

impl From<Phase> for View {
    fn from(row: Phase) -> Self {
        Self {
            id: row.id,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            project_id: row.project,
            name: row.name,
            starts_on: row.starts_on.map(Day::from),
            ends_on: row.ends_on.map(Day::from),
            after: row.after,
            archived_at: row.archived_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, View};
    routes
        .route(
            "/v1/phases",
            get(handlers::list)
                .says("phases of a project, by their first day")
                .needs::<View, Phase>()
                .and(
                    post(handlers::create)
                        .says("plans a phase of a project")
                        .sample(r#"{"project_id": "{/v1/projects}", "name": "Compositing", "starts_on": "2031-03-03", "ends_on": "2031-04-30"}"#)
                        .needs::<Create, Phase>(),
                ),
        )
        .route(
            "/v1/phases/{id}",
            get_one::<View, Phase, self::View>(|row, _| row.into()).says("a phase")
                .and(
                    patch(handlers::edit)
                        .says("changes what is given")
                        .sample(r#"{"ends_on": null}"#)
                        .needs::<Edit, Phase>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a phase")
                        .needs::<Archive, Phase>(),
                ),
        )
}
