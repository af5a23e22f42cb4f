//! Exports: what an owner takes along of the studio, of what it has about a person, or of its ledger.
//!
//! ```text
//! POST /v1/exports                {"kind": "person", "ref": "…"}   {"kind": "studio"}   {"kind": "ledger"}
//! GET  /v1/exports, /v1/exports/{id}      how far it is: queued, running, ready, failed, expired
//! GET  /v1/exports/{id}/file              JSON, by `docs/formats/export.schema.json`; of a person `?format=html`, too
//! GET  /v1/exports/{id}/file?part=3       of a large one: its parts, put one after the other, are the file
//! ```
//!
//! Asking and fetching want a fresh proof of who it is. The worker makes it, of one instant, with personal fields opened; what
//! was opened stands in the ledger. The file lies sealed with the studio's key and is gone after a week, or at once when
//! somebody is erased or anonymised meanwhile. What is in one follows from the register of columns and the tables that custody
//! knows: nothing is listed here.

mod document;
mod handlers;
pub(crate) mod make;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::door::{Routes, get, get_one, post};
use watertight_authority::{Fact, Gathers, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

pub use document::schema;

/// An export, as stored.
#[derive(Debug)]
pub struct Export {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: Kind,
    about: Option<Uuid>,
    state: State,
    attempt: i32,
    done: i64,
    total: i64,
    parts: i32,
    opened: Vec<String>,
    expires_at: Option<Timestamp>,
}

/// Of what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Kind {
    Studio,
    Person,
    Ledger,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Studio => "studio",
            Self::Person => "person",
            Self::Ledger => "ledger",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let mut all = [Self::Studio, Self::Person, Self::Ledger].into_iter();
        all.find(|kind| kind.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("an export of a `{name}`")))
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum State {
    Queued,
    Running,
    Ready,
    Failed,
    Expired,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let all = [
            Self::Queued,
            Self::Running,
            Self::Ready,
            Self::Failed,
            Self::Expired,
        ];
        let mut all = all.into_iter();
        all.find(|state| state.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("an export in the state `{name}`")))
    }
}

impl Resource for Export {
    const NOUN: &'static str = "export";
    const ENTITY: &'static str = "Export";

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

/// Exports, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0034_exports")],
    tables: &[COLUMNS, PARTS],
    rows: &[Rows::of::<Export>()],
    constraints: &[
        Constraint {
            name: "exports_ref",
            problem: problems::INVALID,
            spoken: "there is no such person in the studio",
        },
        Constraint {
            name: "exports_once",
            problem: problems::CONFLICT,
            spoken: "it is being made already; look at `/v1/exports`",
        },
        Constraint {
            name: "exports_most",
            problem: crate::problems::TOO_MANY_EXPORTS,
            spoken: "20 exports of the studio are being made or lie ready; wait until one of them is over",
        },
    ],
    routes,
};

/// What may be done with an export.
pub mod actions {
    crate::resources::actions! { super::Export:
        View "export.view", Ask "export.ask", Fetch "export.fetch", Make "export.make"
    }
}

/// Everything about people, wherever it is; no secret.
impl Gathers<Export> for actions::Make {
    fn opens(table: &str, column: &str) -> bool {
        super::classified(table, column).is_some_and(|(_, class)| class == Class::Personal)
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.exports",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("kind", Class::Internal),
        ("ref", Class::Internal),
        ("state", Class::Internal),
        ("attempt", Class::Internal),
        ("done", Class::Internal),
        ("total", Class::Internal),
        ("parts", Class::Internal),
        ("opened", Class::Internal),
        ("expires_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "exports",
        step: 16,
        since: "the time it was asked for",
        days: Days::new(365, 30, 3650),
        then: Then::Remove,
    }),
};

const PARTS: Columns = Columns {
    table: "studio.export_parts",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("export_id", Class::Internal),
        ("attempt", Class::Internal),
        ("file", Class::Internal),
        ("n", Class::Internal),
        ("sealed", Class::Personal),
    ],
    retention: Retention::With {
        table: "studio.exports",
    },
};

/// Where a part of a file lies.
const PART_COLUMN: &str = "studio.export_parts.sealed";

/// The columns that a row is made from.
macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, kind, ref, state, attempt, done, total, parts, opened, expires_at"
    };
}
use columns;

impl Stored for Export {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.exports WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            kind: Kind::parse(&row.field::<String>("kind")?)?,
            about: row.field("ref")?,
            state: State::parse(&row.field::<String>("state")?)?,
            attempt: row.field("attempt")?,
            done: row.field("done")?,
            total: row.field("total")?,
            parts: row.field("parts")?,
            opened: row.field("opened")?,
            expires_at: row.field("expires_at")?,
        })
    }
}

/// A page of the list. `$2` the artist whose rows alone the caller may see, which is nobody's; `$3` and `$4` value and id
/// after which it begins, `$5` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.exports WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($4::uuid IS NULL OR (created_at, id) ",
            $after,
            " ($3::text::timestamptz, $4)) ORDER BY created_at ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $5"
        ))
    };
}

impl Listed for Export {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "created_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |export| export.created_at.to_string(),
    }];
}

const ASK: Insert = Insert::new(
    "INSERT INTO studio.exports (tenant_id, id, created_at, updated_at, kind, ref) VALUES ($1, $2, $3, $3, $4, $5)",
);

/// An export as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Export")]
struct ExportView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: Kind,
    #[serde(rename = "ref")]
    about: Option<Uuid>,
    state: State,
    /// Rows so far.
    done: i64,
    /// Of how many.
    total: i64,
    /// How many parts its JSON has.
    parts: i32,
    /// Which personal fields are in it.
    opened: Vec<String>,
    /// Where its file is, while there is one.
    href: Option<String>,
    /// When that is gone.
    expires_at: Option<Timestamp>,
}

impl From<Export> for ExportView {
    fn from(export: Export) -> Self {
        let is_ready = export.state == State::Ready;
        Self {
            id: export.id,
            version: export.version,
            created_at: export.created_at,
            updated_at: export.updated_at,
            kind: export.kind,
            about: export.about,
            state: export.state,
            done: export.done,
            total: export.total,
            parts: export.parts,
            opened: export.opened,
            href: is_ready.then(|| format!("/v1/exports/{}/file", export.id)),
            expires_at: export.expires_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Ask, Fetch, View};
    routes
        .route(
            "/v1/exports",
            get(handlers::list)
                .says("what was asked to be given out, and how far it is")
                .needs::<View, Export>()
                .and(
                    post(handlers::ask)
                        .says("asks for an export of the studio, of a person or of the ledger; asks for a fresh proof of who you are")
                        .sample(r#"{"kind": "person", "ref": "{/v1/artists}"}"#)
                        .needs::<Ask, Export>(),
                ),
        )
        .route(
            "/v1/exports/{id}",
            get_one::<View, Export, ExportView>(|row, _| row.into()).says("an export, and how far it is"),
        )
        .route(
            "/v1/exports/{id}/file",
            get(handlers::fetch)
                .says("the file of an export that is ready, or a part of it; asks for a fresh proof of who you are")
                .expensive()
                .needs::<Fetch, Export>(),
        )
}
