//! Artists: the people whose time is booked.
//!
//! ```text
//! GET    /v1/artists        name, kind, skills …; never a personal field
//! GET    /v1/artists/{id}   with the personal fields that the caller may see, opened and noted
//! POST   /v1/artists        owners and managers
//! PATCH  /v1/artists/{id}   RFC 7396: absent stays, null clears
//! DELETE /v1/artists/{id}   archives
//! POST   /v1/artists/{id}/erase   owners: for good, with a receipt; `{"plan": true}` says what would go
//! GET    /v1/artists/export, POST /v1/artists/import   as tables, without the personal fields
//! ```

mod handlers;
mod tables;
mod view;

pub(crate) use handlers::choices;

use jiff::Timestamp;
use uuid::Uuid;
use watertight::door::{Routes, delete, get, patch, post};
use watertight_authority::{Fact, Opens, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId};
use watertight_vault::Sealed;

use crate::custody::erasure;

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
    studio::settings::Week,
    table,
};

/// An artist, as stored. Personal fields are sealed.
#[derive(Debug)]
pub struct Artist {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: String,
    reference: String,
    name: String,
    skills: Vec<String>,
    zone: Option<String>,
    notes: String,
    working_hours: Option<Week>,
    personal: Personal,
    archived_at: Option<Timestamp>,
}

impl Artist {
    /// The hours of an artist who has own ones, and by which clocks if not by the studio's.
    pub(crate) fn hours(&self) -> Option<(&Week, Option<&str>)> {
        let hours = self.working_hours.as_ref()?;
        Some((hours, self.zone.as_deref()))
    }
}

/// The personal fields, by the order of [`PERSONAL`].
type Personal = [Option<Sealed<String>>; 6];

/// The personal fields, with the column's full name.
const PERSONAL: [PersonalField; 6] = [
    PersonalField::new("email", "studio.artists.email"),
    PersonalField::new("phone", "studio.artists.phone"),
    PersonalField::new("legal_name", "studio.artists.legal_name"),
    PersonalField::new("tax_id", "studio.artists.tax_id"),
    PersonalField::new("address", "studio.artists.address"),
    PersonalField::new("bank", "studio.artists.bank"),
];

#[derive(Clone, Copy)]
struct PersonalField {
    name: &'static str,
    column: &'static str,
}

impl PersonalField {
    const fn new(name: &'static str, column: &'static str) -> Self {
        Self { name, column }
    }
}

impl Resource for Artist {
    const NOUN: &'static str = "artist";
    const ENTITY: &'static str = "Artist";

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

/// Artists, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0001_artists_and_bookings"),
        super::migration!("0011_vault"),
        super::migration!("0016_tables"),
        super::migration!("0026_erasure"),
    ],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Artist>()],
    constraints: &[
        Constraint {
            name: "artists_reference",
            problem: crate::problems::NOT_UNIQUE,
            spoken: "another artist of this studio has that reference",
        },
        erasure::READY,
    ],
    routes,
};

/// What may be done with an artist.
pub mod actions {
    crate::resources::actions! { super::Artist:
        View "artist.view", Create "artist.create", Import "artist.import", Edit "artist.change", Archive "artist.archive",
        ViewContact "artist.view_contact", ViewPrivate "artist.view_private", Erase "artist.erase"
    }
}

impl Opens<Artist> for actions::ViewContact {
    const COLUMNS: &'static [&'static str] = &["studio.artists.email", "studio.artists.phone"];
}

impl Opens<Artist> for actions::ViewPrivate {
    const COLUMNS: &'static [&'static str] = &[
        "studio.artists.legal_name",
        "studio.artists.tax_id",
        "studio.artists.address",
        "studio.artists.bank",
    ];
}

const COLUMNS: Columns = Columns {
    table: "studio.artists",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("kind", Class::Internal),
        ("name", Class::Internal),
        ("skills", Class::Internal),
        ("zone", Class::Internal),
        ("notes", Class::Internal),
        ("email", Class::Personal),
        ("phone", Class::Personal),
        ("legal_name", Class::Personal),
        ("tax_id", Class::Personal),
        ("address", Class::Personal),
        ("bank", Class::Personal),
        ("archived_at", Class::Internal),
        ("reference", Class::Internal),
        ("working_hours", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "artists",
        step: 60,
        since: "the time it was archived",
        days: Days::new(1095, 90, 5475),
        then: Then::Anonymise,
    }),
};

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, kind, name, skills, zone, notes,
           email, phone, legal_name, tax_id, address, bank, archived_at, reference, working_hours"
    };
}
use columns;

impl Stored for Artist {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.artists WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let mut personal = Personal::default();
        for (field, place) in PERSONAL.iter().zip(&mut personal) {
            *place = row
                .field::<Option<Vec<u8>>>(field.name)?
                .map(Sealed::from_stored);
        }
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            kind: row.field("kind")?,
            reference: row.field("reference")?,
            name: row.field("name")?,
            skills: row.field("skills")?,
            zone: row.field("zone")?,
            notes: row.field("notes")?,
            working_hours: Week::from_row(row)?,
            personal,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist alone that the caller may see, `$3` words in the
/// name, `$4` a kind, `$5` whether archived ones too, `$6` and `$7` value and id after which the page
/// begins, `$8` its length.
macro_rules! list {
    ($column:literal, $type:literal, $after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.artists WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id = $2)
               AND ($3::text IS NULL OR position(lower($3) in lower(name)) > 0)
               AND ($4::text IS NULL OR kind = $4) AND ($5 OR archived_at IS NULL)
               AND ($7::uuid IS NULL OR (",
            $column,
            ", id) ",
            $after,
            " ($6::text::",
            $type,
            ", $7))
             ORDER BY ",
            $column,
            " ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $8"
        ))
    };
}

impl Listed for Artist {
    const ORDERS: &'static [Order<Self>] = &[
        Order {
            name: "name",
            up: list!("name", "text", ">", "ASC"),
            down: list!("name", "text", "<", "DESC"),
            value: |artist| artist.name.clone(),
        },
        Order {
            name: "created_at",
            up: list!("created_at", "timestamptz", ">", "ASC"),
            down: list!("created_at", "timestamptz", "<", "DESC"),
            value: |artist| artist.created_at.to_string(),
        },
    ];
}

/// The first hundred by name: what a form offers. `$2` the artist alone that the caller may see.
const CHOICES: Read = Read::new(concat!(
    "SELECT ",
    columns!(),
    " FROM studio.artists WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id = $2) AND archived_at IS NULL
     ORDER BY name, id LIMIT 100"
));

const CREATE: Insert = Insert::new(
    "INSERT INTO studio.artists (tenant_id, id, created_at, updated_at, kind, name, skills, zone, notes,
       email, phone, legal_name, tax_id, address, bank, reference, working_hours)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.artists SET version = version + 1, updated_at = $4, kind = $5, name = $6, skills = $7,
       zone = $8, notes = $9, email = $10, phone = $11, legal_name = $12, tax_id = $13, address = $14, bank = $15, working_hours = $16
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.artists SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, Erase, Import, View};
    routes
        .route(
            "/v1/artists/export",
            get(tables::export)
                .says("artists as a table, without their personal fields")
                .expensive()
                .needs::<View, Artist>(),
        )
        .route(
            "/v1/artists/import",
            post(tables::import)
                .says("takes a table of artists on: all of it or nothing")
                .sample(r#""reference,name,kind,skills\nA-ZOE,Zoë Lindqvist,staff,compositing rigging\n""#)
                .body_bytes(table::BODY_BYTES)
                .expensive()
                .needs::<Import, Artist>(),
        )
        .route(
            "/v1/artists",
            get(handlers::list)
                .says("artists by name or creation, without their personal fields")
                .needs::<View, Artist>()
                .and(
                    post(handlers::create)
                        .says("takes an artist on")
                        .sample(r#"{"name": "Zoë Lindqvist", "skills": ["compositing"], "email": "zoe@example.org"}"#)
                        .needs::<Create, Artist>(),
                ),
        )
        .route(
            "/v1/artists/{id}",
            get(handlers::show)
                .says("an artist, with the personal fields that you may see")
                .needs::<View, Artist>()
                .and(
                    patch(handlers::edit)
                        .says("changes what is given; `null` clears")
                        .sample(r#"{"notes": "likes mornings"}"#)
                        .needs::<Edit, Artist>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives an artist")
                        .needs::<Archive, Artist>(),
                ),
        )
        .route(
            "/v1/artists/{id}/erase",
            post(handlers::erase)
                .says("erases an archived artist, and the member who is the same person, for good; asks for a fresh proof of who you are")
                .sample(r#"{"plan": true}"#)
                .needs::<Erase, Artist>(),
        )
}
