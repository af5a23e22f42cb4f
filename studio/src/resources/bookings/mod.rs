//! Bookings: whose time is taken, from when to when, how firmly.
//!
//! ```text
//! GET    /v1/bookings                      by artist, project, state, window
//! GET    /v1/bookings/{id}
//! GET    /v1/bookings/{id}/history         every version, with who and why
//! POST   /v1/bookings                      a hold, a pencil, or confirmed at once
//! POST   /v1/bookings/check-availability   of one artist or many
//! PATCH  /v1/bookings/{id}                 moves and renames
//! POST   /v1/bookings/{id}/ACTION          pencil confirm start complete release cancel challenge extend undo
//! DELETE /v1/bookings/{id}                 archives, and gives the time back
//! ```
//!
//! What leads from state to state is one table, [`TABLE`]. Pencils overlap, and each has a rank, which
//! is derived whenever it is asked for. Confirmed bookings exclude one another through
//! `studio.occupancy`: whoever changes an artist's time first locks the artist's row; the exclusion
//! constraint is the wall behind it. `docs/bookings.md` draws it all.

mod acts;
mod availability;
mod content;
pub(crate) mod due;
mod handlers;
mod history;
pub(crate) mod settings;
mod states;
pub(crate) mod time;
mod view;
pub(crate) mod when;

use jiff::Timestamp;
use uuid::Uuid;
use watertight::door::{Routes, delete, get, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_tenancy::{Constraint, Read, Row, Stored};
use watertight_terms::{Fault, Kind, TenantId};

use super::{Class, Columns, Registered};
use content::{Content, content_columns};
pub(crate) use handlers::{Asked, New, create, list, show};
pub use states::{STATES, State, TABLE, TRANSITIONS, Transition, next};

/// A booking, as stored.
#[derive(Debug)]
pub struct Booking {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    content: Content,
    rank: Option<i32>,
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
        let state = self.content.state.as_str().to_owned();
        vec![
            ("artist", Fact::Is("Artist", self.content.artist)),
            ("state", Fact::Text(state)),
        ]
    }
}

/// Bookings, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0003_bookings")],
    tables: &[
        COLUMNS,
        VERSION_COLUMNS,
        OCCUPANCY_COLUMNS,
        SETTINGS_COLUMNS,
    ],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with a booking.
pub mod actions {
    crate::resources::actions! { super::Booking:
        View "booking.view", Create "booking.create", Edit "booking.change", Pencil "booking.pencil",
        Confirm "booking.confirm", Start "booking.start", Complete "booking.complete",
        Release "booking.release", Cancel "booking.cancel", Challenge "booking.challenge",
        Extend "booking.extend", Undo "booking.undo", Archive "booking.archive",
        Review "booking.review", ViewRate "booking.view_rate",
        Expire "booking.expire", Lapse "booking.lapse"
    }
}

/// The columns that a booking and its versions have, and those given.
macro_rules! with_booking_columns {
    ($(($column:literal, $class:ident)),*) => {
        &[
            ("tenant_id", Class::Internal),
            ("id", Class::Internal),
            ("version", Class::Internal),
            ("created_at", Class::Internal),
            ("updated_at", Class::Internal),
            ("reference", Class::Internal),
            ("artist_id", Class::Internal),
            ("project_id", Class::Internal),
            ("title", Class::Internal),
            ("state", Class::Internal),
            ("starts_at", Class::Internal),
            ("ends_at", Class::Internal),
            ("slice_starts", Class::Internal),
            ("slice_ends", Class::Internal),
            ("from_day", Class::Internal),
            ("from_part", Class::Internal),
            ("to_day", Class::Internal),
            ("to_part", Class::Internal),
            ("expires_at", Class::Internal),
            ("challenged_by", Class::Internal),
            ("answer_by", Class::Internal),
            ("rate_unit", Class::Internal),
            ("rate_minor", Class::Internal),
            ("rate_currency", Class::Internal),
            ("notes", Class::Internal),
            ("reason", Class::Internal),
            ("payable", Class::Internal),
            ("ended_at", Class::Internal),
            ("ended_by", Class::Internal),
            ("archived_at", Class::Internal),
            ("deed", Class::Internal),
            $(($column, Class::$class)),*
        ]
    };
}

const COLUMNS: Columns = Columns {
    table: "studio.bookings",
    columns: with_booking_columns!(),
    retention: "archived rows: 10 years (accounting), then removed by custody",
};

const VERSION_COLUMNS: Columns = Columns {
    table: "studio.booking_versions",
    columns: with_booking_columns!(
        ("source_id", Internal),
        ("actor", Internal),
        ("actor_role", Internal)
    ),
    retention: "as long as its booking",
};

const OCCUPANCY_COLUMNS: Columns = Columns {
    table: "studio.occupancy",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("artist_id", Class::Internal),
        ("slice", Class::Internal),
        ("kind", Class::Internal),
        ("source_id", Class::Internal),
        ("blocks", Class::Internal),
        ("state", Class::Internal),
        ("since", Class::Internal),
        ("starts_at", Class::Internal),
        ("ends_at", Class::Internal),
    ],
    retention: "as long as its source; made of it, and can be made again",
};

const SETTINGS_COLUMNS: Columns = Columns {
    table: "studio.settings",
    columns: &[
        ("tenant_id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("hold_minutes", Class::Internal),
        ("challenge_hours", Class::Internal),
        ("am_from", Class::Internal),
        ("am_to", Class::Internal),
        ("pm_from", Class::Internal),
        ("pm_to", Class::Internal),
        ("working_hours", Class::Internal),
    ],
    retention: "as long as the studio",
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
    Constraint {
        name: "bookings_project",
        kind: Kind::Invalid,
        slug: "invalid",
        spoken: "the project is none that you may book for",
    },
];

/// The columns that a booking is made from, but for its rank.
macro_rules! booking_columns {
    () => {
        concat!(
            "tenant_id, id, version, created_at, updated_at, reference, ",
            content_columns!()
        )
    };
}

/// A booking with its rank, for an answer.
const SHOWN: Read = Read::new(concat!(
    "SELECT ",
    booking_columns!(),
    ", (SELECT rank FROM studio.ranks_of($1, ARRAY[id])) AS rank FROM studio.bookings WHERE tenant_id = $1 AND id = $2"
));

impl Stored for Booking {
    /// Without its rank: no action needs it, and in a long line it costs the most.
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        booking_columns!(),
        ", NULL::integer AS rank FROM studio.bookings WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            reference: row.field("reference")?,
            content: Content::from_row(row)?,
            rank: row.field("rank")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose bookings alone the caller may see, `$3` an
/// artist, `$4` a project, `$5` a state, `$6` and `$7` a window, `$8` words in title or reference, `$9`
/// and `$10` value and id after which the page begins, `$11` its length. Ranks are derived for what is
/// on the page, and nothing else.
macro_rules! list {
    ($column:literal, $after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT * FROM (WITH page AS MATERIALIZED (SELECT ", booking_columns!(), " FROM studio.bookings WHERE tenant_id = $1
               AND ($2::uuid IS NULL OR artist_id = $2)
               AND ($3::uuid IS NULL OR artist_id = $3) AND ($4::uuid IS NULL OR project_id = $4)
               AND ($5::text IS NULL OR state = $5)
               AND ($6::timestamptz IS NULL OR ends_at > $6) AND ($7::timestamptz IS NULL OR starts_at < $7)
               AND ($8::text IS NULL OR position(lower($8) in lower(title)) > 0 OR position(lower($8) in lower(reference)) > 0)
               AND archived_at IS NULL
               AND ($10::uuid IS NULL OR (", $column, ", id) ", $after, " ($9::text::timestamptz, $10))
             ORDER BY ", $column, " ", $direction, ", id ", $direction, " LIMIT $11)
             SELECT page.*, ranked.rank FROM page
             LEFT JOIN studio.ranks_of($1, ARRAY(SELECT id FROM page WHERE state = 'pencil')) ranked ON ranked.booking = page.id) listed
             ORDER BY ", $column, " ", $direction, ", id ", $direction
        ))
    };
}

const LIST_BY_START: Read = list!("starts_at", ">", "ASC");
const LIST_BY_START_DOWN: Read = list!("starts_at", "<", "DESC");
const LIST_BY_CREATION: Read = list!("created_at", ">", "ASC");
const LIST_BY_CREATION_DOWN: Read = list!("created_at", "<", "DESC");

fn routes(routes: Routes) -> Routes {
    use actions::{
        Archive, Cancel, Challenge, Complete, Confirm, Create, Edit, Extend, Pencil, Release,
        Review, Start, Undo, View,
    };
    routes
        .route(
            "/v1/bookings",
            get(handlers::list)
                .needs::<View, Booking>()
                .and(post(handlers::create).needs::<Create, Booking>()),
        )
        .route(
            "/v1/bookings/check-availability",
            post(availability::check).needs::<View, Booking>(),
        )
        .route(
            "/v1/bookings/{id}",
            get(handlers::show)
                .needs::<View, Booking>()
                .and(patch(handlers::edit).needs::<Edit, Booking>())
                .and(delete(handlers::archive).needs::<Archive, Booking>()),
        )
        .route(
            "/v1/bookings/{id}/history",
            get(history::list).needs::<Review, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/undo",
            post(history::undo).needs::<Undo, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/pencil",
            post(acts::pencil).needs::<Pencil, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/confirm",
            post(acts::confirm).needs::<Confirm, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/start",
            post(acts::start).needs::<Start, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/complete",
            post(acts::complete).needs::<Complete, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/release",
            post(acts::release).needs::<Release, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/cancel",
            post(acts::cancel).needs::<Cancel, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/challenge",
            post(acts::challenge).needs::<Challenge, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/extend",
            post(acts::extend).needs::<Extend, Booking>(),
        )
}
