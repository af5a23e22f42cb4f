//! Time off: when an artist is away. It excludes as a confirmed booking does.
//!
//! ```text
//! GET    /v1/time-off        by artist and window
//! GET    /v1/time-off/{id}
//! POST   /v1/time-off        owners and managers, by instants or by days
//! PATCH  /v1/time-off/{id}
//! DELETE /v1/time-off/{id}   archives, and gives the time back
//! ```
//!
//! It lies over options without asking them: who is away is away.

mod handlers;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::door::{Routes, delete, get, get_one, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    bookings::when::{DayPart, Spell},
    page::{Listed, Order},
};

/// An absence, as stored.
#[derive(Debug)]
pub struct TimeOff {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    artist: Uuid,
    spell: Spell,
    notes: String,
    archived_at: Option<Timestamp>,
}

impl Resource for TimeOff {
    const NOUN: &'static str = "time_off";
    const ENTITY: &'static str = "TimeOff";

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
        vec![("artist", Fact::Is("Artist", self.artist))]
    }
}

/// Time off, for the register. Its table comes with the bookings', by the same migration.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[COLUMNS],
    rows: &[Rows::of::<TimeOff>()],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with time off.
pub mod actions {
    crate::resources::actions! { super::TimeOff:
        View "time_off.view", Create "time_off.create", Edit "time_off.change", Archive "time_off.archive"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.time_off",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("artist_id", Class::Internal),
        ("starts_at", Class::Internal),
        ("ends_at", Class::Internal),
        ("from_day", Class::Internal),
        ("from_part", Class::Internal),
        ("to_day", Class::Internal),
        ("to_part", Class::Internal),
        ("notes", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "time_off",
        step: 30,
        since: "its end",
        days: Days::new(730, 90, 5475),
        then: Then::Remove,
    }),
};

const CONSTRAINTS: &[Constraint] = &[Constraint {
    name: "time_off_artist",
    problem: problems::INVALID,
    spoken: "the artist is none that you may book",
}];

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, artist_id, starts_at, ends_at, from_day, from_part,
           to_day, to_part, notes, archived_at"
    };
}

impl Stored for TimeOff {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.time_off WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            artist: row.field("artist_id")?,
            spell: Spell::from_window(row)?,
            notes: row.field("notes")?,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose time off alone the caller may see, `$3` an
/// artist, `$4` and `$5` a window, `$6` and `$7` value and id after which the page begins, `$8` its
/// length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.time_off WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2)
               AND ($3::uuid IS NULL OR artist_id = $3)
               AND ($4::timestamptz IS NULL OR ends_at > $4) AND ($5::timestamptz IS NULL OR starts_at < $5)
               AND archived_at IS NULL
               AND ($7::uuid IS NULL OR (starts_at, id) ",
            $after,
            " ($6::text::timestamptz, $7))
             ORDER BY starts_at ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $8"
        ))
    };
}

impl Listed for TimeOff {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "starts_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |off| off.spell.starts_at.to_string(),
    }];
}

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.time_off (tenant_id, id, created_at, updated_at, artist_id, starts_at, ends_at, from_day,
       from_part, to_day, to_part, notes)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.time_off SET version = version + 1, updated_at = $4, artist_id = $5, starts_at = $6,
       ends_at = $7, from_day = $8, from_part = $9, to_day = $10, to_part = $11, notes = $12
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.time_off SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// Time off as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TimeOff")]
struct TimeOffView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    artist_id: Uuid,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<DayPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<DayPart>,
    notes: String,
    archived_at: Option<Timestamp>,
}

impl From<TimeOff> for TimeOffView {
    fn from(off: TimeOff) -> Self {
        let (from, to) = off.spell.days.unzip();
        Self {
            id: off.id,
            version: off.version,
            created_at: off.created_at,
            updated_at: off.updated_at,
            artist_id: off.artist,
            starts_at: off.spell.starts_at,
            ends_at: off.spell.ends_at,
            from,
            to,
            notes: off.notes,
            archived_at: off.archived_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, View};
    routes
        .route(
            "/v1/time-off",
            get(handlers::list)
                .says("absences by their time, of an artist, in a window")
                .needs::<View, TimeOff>()
                .and(
                    post(handlers::create)
                        .says("enters an absence, by instants or by days")
                        .sample(
                            r#"{"artist_id": "{/v1/artists}", "from": {"date": "2031-03-10"},
                                "to": {"date": "2031-03-12", "part": "am"}}"#,
                        )
                        .needs::<Create, TimeOff>(),
                ),
        )
        .route(
            "/v1/time-off/{id}",
            get_one::<View, TimeOff, TimeOffView>(|row, _| row.into())
                .says("an absence")
                .and(
                    patch(handlers::edit)
                        .says("moves it, or changes what is said of it")
                        .sample(r#"{"notes": "a wedding"}"#)
                        .needs::<Edit, TimeOff>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives an absence, and gives its time back")
                        .needs::<Archive, TimeOff>(),
                ),
        )
}
