//! Bookings: whose time is taken, from when to when, how firmly.
//!
//! ```text
//! GET    /v1/bookings                      by artist, project, state, window
//! GET    /v1/bookings/{id}
//! GET    /v1/bookings/{id}/history         every version, with who and why
//! POST   /v1/bookings                      a hold, a pencil, or confirmed at once
//! POST   /v1/bookings/check-availability   of one artist or many
//! PATCH  /v1/bookings/{id}                 moves and renames
//! POST   /v1/bookings/{id}/ACTION          pencil confirm start complete release cancel challenge extend undo move split
//! POST   /v1/bookings/series               every week, all at once
//! DELETE /v1/bookings/{id}                 archives, and gives the time back
//! GET    /v1/bookings/export               as a table, and back:
//! POST   /v1/bookings/import
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
mod series;
mod shift;
mod states;
mod tables;
pub(crate) mod time;
mod view;
mod warnings;
pub(crate) mod when;

use jiff::Timestamp;
use uuid::Uuid;
use watertight::door::{Routes, delete, get, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Constraint, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
    table,
};
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
    migrations: &[
        super::migration!("0003_bookings"),
        super::migration!("0018_kinds"),
    ],
    tables: &[COLUMNS, VERSION_COLUMNS, OCCUPANCY_COLUMNS],
    rows: &[Rows::of::<Booking>()],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with a booking.
pub mod actions {
    crate::resources::actions! { super::Booking:
        View "booking.view", Create "booking.create", Import "booking.import", Edit "booking.change", Pencil "booking.pencil",
        Confirm "booking.confirm", Start "booking.start", Complete "booking.complete",
        Release "booking.release", Cancel "booking.cancel", Challenge "booking.challenge",
        Extend "booking.extend", Move "booking.move", Split "booking.split", Undo "booking.undo", Archive "booking.archive",
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
            ("kind", Class::Internal),
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
    retention: Retention::By(Rule {
        name: "bookings",
        step: 40,
        since: "its end, where it is completed, released, cancelled or archived",
        days: Days::new(1825, 365, 5475),
        then: Then::Remove,
    }),
};

const VERSION_COLUMNS: Columns = Columns {
    table: "studio.booking_versions",
    columns: with_booking_columns!(
        ("source_id", Internal),
        ("xact", Internal),
        ("former_artist_id", Internal),
        ("actor", Internal),
        ("actor_role", Internal)
    ),
    retention: Retention::With {
        table: "studio.bookings",
    },
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
    retention: Retention::With {
        table: "studio.bookings",
    },
};

const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "bookings_reference",
        problem: crate::problems::NOT_UNIQUE,
        spoken: "another booking of this studio has that reference",
    },
    Constraint {
        name: "occupancy_no_double",
        problem: crate::problems::DOUBLE_BOOKING,
        spoken: time::DOUBLE,
    },
    Constraint {
        name: "bookings_artist",
        problem: problems::INVALID,
        spoken: "the artist is none that you may book",
    },
    Constraint {
        name: "bookings_project",
        problem: problems::INVALID,
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
use booking_columns;

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

impl Listed for Booking {
    const ORDERS: &'static [Order<Self>] = &[
        Order {
            name: "starts_at",
            up: list!("starts_at", ">", "ASC"),
            down: list!("starts_at", "<", "DESC"),
            value: |booking| booking.content.spell.starts_at.to_string(),
        },
        Order {
            name: "created_at",
            up: list!("created_at", ">", "ASC"),
            down: list!("created_at", "<", "DESC"),
            value: |booking| booking.created_at.to_string(),
        },
    ];
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, Import, Review, View};
    let routes = routes
        .route(
            "/v1/bookings/export",
            get(tables::export)
                .says("bookings as a table, with artists and projects by their names")
                .expensive()
                .needs::<View, Booking>(),
        )
        .route(
            "/v1/bookings/series",
            post(series::create)
                .says("books the same again every week: all of it or nothing")
                .sample(
                    r#"{"artist_id": "{/v1/artists}", "project_id": "{/v1/projects}", "weekdays": ["tue", "thu"],
                        "from": "2031-03-04", "until": "2031-03-20", "hours": {"from": "09:00", "to": "17:00"}}"#,
                )
                .expensive()
                .needs::<Create, Booking>(),
        )
        .route(
            "/v1/bookings/import",
            post(tables::import)
                .says("books by a table: all of it or nothing")
                .sample(r#""reference,artist,project,starts_at,ends_at\n""#)
                .body_bytes(table::BODY_BYTES)
                .expensive()
                .needs::<Import, Booking>(),
        )
        .route(
            "/v1/bookings",
            get(handlers::list)
                .says("bookings by their time or creation, of an artist, a project, a state, a window")
                .needs::<View, Booking>()
                .and(
                    post(handlers::create)
                        .says("books: a hold, a pencil, or confirmed at once")
                        .sample(
                            r#"{"artist_id": "{/v1/artists}", "project_id": "{/v1/projects}",
                                "starts_at": "2031-03-03T09:00:00Z", "ends_at": "2031-03-03T17:00:00Z"}"#,
                        )
                        .needs::<Create, Booking>(),
                ),
        )
        .route(
            "/v1/bookings/check-availability",
            post(availability::check)
                .says("who is free, contended or busy in a window, and when they are free next")
                .sample(
                    r#"{"artist_ids": ["{/v1/artists}"],
                        "window": {"starts_at": "2031-03-03T09:00:00Z", "ends_at": "2031-03-03T17:00:00Z"}}"#,
                )
                .expensive()
                .needs::<View, Booking>(),
        )
        .route(
            "/v1/bookings/{id}",
            get(handlers::show)
                .says("a booking, with its rank where it is a pencil")
                .needs::<View, Booking>()
                .and(
                    patch(handlers::edit)
                        .says("moves it, or changes what is said of it")
                        .sample(r#"{"title": "Grading"}"#)
                        .needs::<Edit, Booking>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a booking, and gives its time back")
                        .needs::<Archive, Booking>(),
                ),
        )
        .route(
            "/v1/bookings/{id}/history",
            get(history::list)
                .says("every version, the newest first, with who made it so and why")
                .expensive()
                .needs::<Review, Booking>(),
        );
    actions_of(routes)
}

/// The transitions that somebody takes, and the way back.
fn actions_of(routes: Routes) -> Routes {
    use actions::{
        Cancel, Challenge, Complete, Confirm, Extend, Move, Pencil, Release, Split, Start, Undo,
    };
    routes
        .route(
            "/v1/bookings/{id}/move",
            post(shift::shift)
                .says("moves it whole, by the studio's clocks")
                .sample(r#"{"from": "2031-04-07", "reason": "the client is late"}"#)
                .needs::<Move, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/split",
            post(shift::split)
                .says("cuts it in two, and answers the second")
                .sample(r#"{"at": "2031-03-03T12:00:00Z"}"#)
                .needs::<Split, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/undo",
            post(history::undo)
                .says("puts the version before the last change back")
                .after(&["pencil"])
                .needs::<Undo, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/pencil",
            post(acts::pencil)
                .says("a hold becomes an option and keeps its place by age")
                .needs::<Pencil, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/confirm",
            post(acts::confirm)
                .says("takes the time")
                .after(&["pencil"])
                .needs::<Confirm, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/start",
            post(acts::start)
                .says("it begins")
                .after(&["confirm"])
                .needs::<Start, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/complete",
            post(acts::complete)
                .says("it is done")
                .after(&["confirm", "start"])
                .needs::<Complete, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/release",
            post(acts::release)
                .says("gives an option up")
                .needs::<Release, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/cancel",
            post(acts::cancel)
                .says("calls it off")
                .after(&["confirm"])
                .needs::<Cancel, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/challenge",
            post(acts::challenge)
                .says("asks the first option before this one to confirm or release")
                .after(&["pencil"])
                .needs::<Challenge, Booking>(),
        )
        .route(
            "/v1/bookings/{id}/extend",
            post(acts::extend)
                .says("lets a hold live longer")
                .needs::<Extend, Booking>(),
        )
}
