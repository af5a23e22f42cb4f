//! Bookings: whose time is taken, from when to when, how firmly.
//!
//! ```text
//! GET    /v1/bookings                by artist, state, window
//! GET    /v1/bookings/{id}
//! POST   /v1/bookings                a pencil, or confirmed at once
//! PATCH  /v1/bookings/{id}           moves and renames
//! POST   /v1/bookings/{id}/confirm   takes the time, or says who has it
//! POST   /v1/bookings/{id}/cancel    gives the time back
//! DELETE /v1/bookings/{id}           archives, and gives the time back
//! ```
//!
//! A confirmed booking excludes others of its artist through `studio.occupancy`. Whoever changes an
//! artist's time first locks the artist's row; the exclusion constraint is the wall behind it.

mod handlers;
mod states;
mod time;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::door::{Routes, delete, get, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, Kind, TenantId};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};
pub(crate) use handlers::{Asked, New, create, list, show};
pub use states::{ACTIONS, STATES, State, Transition, next};

/// A booking, as stored.
#[derive(Debug)]
pub struct Booking {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    artist: Uuid,
    title: String,
    state: State,
    starts_at: Timestamp,
    ends_at: Timestamp,
    notes: String,
    archived_at: Option<Timestamp>,
}

impl Resource for Booking {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";

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
        vec![
            ("artist", Fact::Is("Artist", self.artist)),
            ("state", Fact::Text(self.state.as_str().to_owned())),
        ]
    }
}

/// Bookings, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[COLUMNS, OCCUPANCY_COLUMNS],
    rows: &[Rows::of::<Booking>()],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with a booking.
pub mod actions {
    crate::resources::actions! { super::Booking:
        View "booking.view", Create "booking.create", Edit "booking.change", Confirm "booking.confirm",
        Cancel "booking.cancel", Archive "booking.archive"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.bookings",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("reference", Class::Internal),
        ("artist_id", Class::Internal),
        ("title", Class::Internal),
        ("state", Class::Internal),
        ("starts_at", Class::Internal),
        ("ends_at", Class::Internal),
        ("notes", Class::Internal),
        ("reason", Class::Internal),
        ("payable", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: "archived rows: 10 years (accounting), then removed by custody",
};

const OCCUPANCY_COLUMNS: Columns = Columns {
    table: "studio.occupancy",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("artist_id", Class::Internal),
        ("slice", Class::Internal),
        ("kind", Class::Internal),
        ("source_id", Class::Internal),
        ("blocks", Class::Internal),
    ],
    retention: "as long as its source",
};

const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "bookings_reference",
        kind: Kind::Conflict,
        slug: "not-unique",
        spoken: "another booking of this studio has that reference",
    },
    Constraint {
        name: "occupancy_no_double",
        kind: Kind::Conflict,
        slug: "double-booking",
        spoken: time::DOUBLE,
    },
    Constraint {
        name: "bookings_artist",
        kind: Kind::Invalid,
        slug: "invalid",
        spoken: "the artist is none that you may book",
    },
];

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, reference, artist_id, title, state,
           starts_at, ends_at, notes, archived_at"
    };
}

impl Stored for Booking {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.bookings WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let state: String = row.field("state")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            reference: row.field("reference")?,
            artist: row.field("artist_id")?,
            title: row.field("title")?,
            state: State::parse(&state)
                .ok_or_else(|| Fault::bug(format!("a booking in state `{state}`")))?,
            starts_at: row.field("starts_at")?,
            ends_at: row.field("ends_at")?,
            notes: row.field("notes")?,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose bookings alone the caller may see, `$3` an
/// artist, `$4` a state, `$5` and `$6` a window, `$7` words in title or reference, `$8` and `$9` value
/// and id after which the page begins, `$10` its length.
macro_rules! list {
    ($column:literal, $after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ", columns!(), " FROM studio.bookings WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2)
               AND ($3::uuid IS NULL OR artist_id = $3) AND ($4::text IS NULL OR state = $4)
               AND ($5::timestamptz IS NULL OR ends_at > $5) AND ($6::timestamptz IS NULL OR starts_at < $6)
               AND ($7::text IS NULL OR position(lower($7) in lower(title)) > 0 OR position(lower($7) in lower(reference)) > 0)
               AND archived_at IS NULL
               AND ($9::uuid IS NULL OR (", $column, ", id) ", $after, " ($8::text::timestamptz, $9))
             ORDER BY ", $column, " ", $direction, ", id ", $direction, " LIMIT $10"
        ))
    };
}

impl Listed for Booking {
    const ORDERS: &'static [Order<Self>] = &[
        Order {
            name: "starts_at",
            up: list!("starts_at", ">", "ASC"),
            down: list!("starts_at", "<", "DESC"),
            value: |booking| booking.starts_at.to_string(),
        },
        Order {
            name: "created_at",
            up: list!("created_at", ">", "ASC"),
            down: list!("created_at", "<", "DESC"),
            value: |booking| booking.created_at.to_string(),
        },
    ];
}

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.bookings (tenant_id, id, created_at, updated_at, reference, artist_id, title, state,
       starts_at, ends_at, notes)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.bookings SET version = version + 1, updated_at = $4, artist_id = $5, title = $6,
       starts_at = $7, ends_at = $8, notes = $9
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const MOVE_TO_STATE: Change = Change::new(
    "UPDATE studio.bookings SET version = version + 1, updated_at = $4, state = $5,
       reason = coalesce($6, reason), payable = coalesce($7, payable)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.bookings SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A booking as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Booking")]
pub(crate) struct BookingView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    artist_id: Uuid,
    title: String,
    state: State,
    starts_at: Timestamp,
    ends_at: Timestamp,
    notes: String,
    archived_at: Option<Timestamp>,
}

impl From<Booking> for BookingView {
    fn from(booking: Booking) -> Self {
        Self {
            id: booking.id,
            version: booking.version,
            created_at: booking.created_at,
            updated_at: booking.updated_at,
            reference: booking.reference,
            artist_id: booking.artist,
            title: booking.title,
            state: booking.state,
            starts_at: booking.starts_at,
            ends_at: booking.ends_at,
            notes: booking.notes,
            archived_at: booking.archived_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Cancel, Confirm, Create, Edit, View};
    routes
        .route(
            "/v1/bookings",
            get(handlers::list)
                .says("bookings by artist, state and window")
                .needs::<View, Booking>()
                .and(
                    post(handlers::create)
                        .says("makes a booking: a pencil, or confirmed at once")
                        .sample(SAMPLE)
                        .needs::<Create, Booking>(),
                ),
        )
        .route(
            "/v1/bookings/{id}",
            get(handlers::show)
                .says("a booking")
                .needs::<View, Booking>()
                .and(
                    patch(handlers::edit)
                        .says("moves or renames a booking; what is absent stays")
                        .sample(r#"{"notes": "changed"}"#)
                        .needs::<Edit, Booking>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a booking, and gives its time back")
                        .needs::<Archive, Booking>(),
                ),
        )
        .route(
            "/v1/bookings/{id}/confirm",
            post(handlers::confirm)
                .says("takes the time, or says who has it")
                .needs::<Confirm, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/cancel",
            post(handlers::cancel)
                .says("gives the time back")
                .sample(r#"{"reason": "moved to May", "payable": false}"#)
                .needs::<Cancel, Booking>(),
        )
}

const SAMPLE: &str = r#"{
    "artist_id": "{/v1/artists}", "title": "Titles", "starts_at": "2031-05-01T08:00:00Z", "ends_at": "2031-05-01T09:00:00Z"
}"#;
