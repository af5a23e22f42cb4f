//! Holidays of a studio: days on which it does not work.
//!
//! ```text
//! GET    /v1/holidays        by their days
//! GET    /v1/holidays/{id}
//! POST   /v1/holidays        owners and managers
//! PATCH  /v1/holidays/{id}   RFC 7396: absent stays
//! DELETE /v1/holidays/{id}   archives
//! ```
//!
//! Nothing is free on a holiday, no deadline falls on one, and a series leaves it out. Whoever is booked on one all the
//! same is booked: a holiday blocks nothing.

mod handlers;

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::argument::Day;
use watertight::door::{Routes, delete, get, get_one, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Insert, Read, Row, Rows, Stored, TenantTx};
use watertight_terms::{Fault, TenantId};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

/// A holiday, as stored.
#[derive(Debug)]
pub struct Holiday {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    day: Date,
    name: String,
    archived_at: Option<Timestamp>,
}

impl Resource for Holiday {
    const NOUN: &'static str = "holiday";
    const ENTITY: &'static str = "Holiday";

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

/// Holidays, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0017_holidays")],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Holiday>()],
    constraints: &[],
    routes,
};

/// What may be done with them.
pub mod actions {
    crate::resources::actions! { super::Holiday:
        View "holiday.view", Create "holiday.create", Edit "holiday.change", Archive "holiday.archive"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.holidays",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("day", Class::Internal),
        ("name", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "holidays",
        step: 35,
        since: "its day",
        days: Days::new(730, 90, 5475),
        then: Then::Remove,
    }),
};

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, day, name, archived_at"
    };
}

impl Stored for Holiday {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.holidays WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            day: row.field("day")?,
            name: row.field("name")?,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose rows alone the caller may see (whoever is
/// held to one sees none of these), `$3` and `$4` the first and the last day, `$5` and `$6` value and id
/// after which the page begins, `$7` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.holidays WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($3::date IS NULL OR day >= $3) AND ($4::date IS NULL OR day <= $4) AND archived_at IS NULL
               AND ($6::uuid IS NULL OR (day, id) ",
            $after,
            " ($5::text::date, $6))
             ORDER BY day ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $7"
        ))
    };
}

impl Listed for Holiday {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "day",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |row| row.day.to_string(),
    }];
}

/// The days `$2` to `$3` that are holidays, with their names.
const DAYS: Read = Read::new(
    "SELECT DISTINCT ON (day) day, name FROM studio.holidays WHERE tenant_id = $1 AND day BETWEEN $2 AND $3
       AND archived_at IS NULL ORDER BY day, created_at",
);

/// The holidays of the studio among those days, with their names.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn between(
    tx: &mut TenantTx,
    first: Date,
    last: Date,
) -> Result<BTreeMap<Date, String>, Fault> {
    let rows = tx.read(DAYS, &[&first, &last]).await?;
    rows.iter()
        .map(|row| Ok((row.field("day")?, row.field("name")?)))
        .collect()
}

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.holidays (tenant_id, id, created_at, updated_at, day, name)
     VALUES ($1, $2, $3, $3, $4, $5)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.holidays SET version = version + 1, updated_at = $4, day = $5, name = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.holidays SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// As answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Holiday")]
struct View {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    day: Day,
    name: String,
    archived_at: Option<Timestamp>,
}

impl From<Holiday> for View {
    fn from(row: Holiday) -> Self {
        Self {
            id: row.id,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            day: row.day.into(),
            name: row.name,
            archived_at: row.archived_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, View};
    routes
        .route(
            "/v1/holidays",
            get(handlers::list)
                .says("holidays by their days")
                .needs::<View, Holiday>()
                .and(
                    post(handlers::create)
                        .says("says that a day is a holiday")
                        .sample(r#"{"day": "2031-05-01", "name": "Labour Day"}"#)
                        .needs::<Create, Holiday>(),
                ),
        )
        .route(
            "/v1/holidays/{id}",
            get_one::<View, Holiday, self::View>(|row, _| row.into())
                .says("a holiday")
                .and(
                    patch(handlers::edit)
                        .says("changes what is given")
                        .sample(r#"{"name": "May Day"}"#)
                        .needs::<Edit, Holiday>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a holiday")
                        .needs::<Archive, Holiday>(),
                ),
        )
}
