//! Legal holds: what is neither changed nor removed nor shredded for as long as they stand, by anybody.
//!
//! ```text
//! GET   /v1/legal-holds                by their age; ?open=true
//! POST  /v1/legal-holds                {"scope": "person", "ref": "…", "reason": "claim 12/2031"}
//! GET   /v1/legal-holds/{id}
//! POST  /v1/legal-holds/{id}/release   for good
//! ```
//!
//! A legal hold is on the `studio`, on a `person` (an artist or a member, and with one the other), on a
//! `project` with its bookings, or on a `window` of time with all that touches it. Whatever would touch a
//! held row is answered by 409 `legal-hold`. Operators place them too, in an incident; those only operators
//! release.

mod handlers;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::door::{Routes, get, get_one, post};
use watertight_authority::{Fact, Resource};
use watertight_custody::{LEGAL_HOLD, Retention};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId, problems};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

/// A legal hold, as stored.
#[derive(Debug)]
pub struct LegalHold {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    scope: Scope,
    about: Option<Uuid>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    reason: String,
    placed_by: String,
    released_at: Option<Timestamp>,
    released_by: Option<String>,
}

/// What it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Scope {
    Studio,
    Person,
    Project,
    Window,
}

impl Scope {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Studio => "studio",
            Self::Person => "person",
            Self::Project => "project",
            Self::Window => "window",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let all = [Self::Studio, Self::Person, Self::Project, Self::Window];
        let mut all = all.into_iter();
        all.find(|scope| scope.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("a legal hold on a `{name}`")))
    }
}

impl Resource for LegalHold {
    const NOUN: &'static str = "legal_hold";
    const ENTITY: &'static str = "LegalHold";

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
        let by_operator = self.placed_by.starts_with("operator:");
        vec![("by_operator", Fact::Flag(by_operator))]
    }
}

/// Legal holds, for the register. Their table is the library's.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0020_custody"),
        super::migration!("0021_retention"),
        super::migration!("0024_archive"),
    ],
    tables: &[COLUMNS],
    rows: &[Rows::of::<LegalHold>()],
    constraints: CONSTRAINTS,
    routes,
};

/// What may be done with a legal hold.
pub mod actions {
    crate::resources::actions! { super::LegalHold:
        View "legal_hold.view", Place "legal_hold.place", Release "legal_hold.release"
    }
}

const COLUMNS: Columns = Columns {
    table: "custody.legal_holds",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("scope", Class::Internal),
        ("ref", Class::Internal),
        ("starts_at", Class::Internal),
        ("ends_at", Class::Internal),
        ("covers", Class::Internal),
        ("reason", Class::Internal),
        ("placed_by", Class::Internal),
        ("released_at", Class::Internal),
        ("released_by", Class::Internal),
    ],
    retention: Retention::Studio,
};

/// What a statement breaks that would touch something held.
pub(crate) const HELD: Constraint = Constraint {
    name: LEGAL_HOLD,
    problem: crate::problems::LEGAL_HOLD,
    spoken: "it is under a legal hold and stays as it is until that is released",
};

/// What a legal hold breaks that is on nobody.
pub(crate) const NOBODY: Constraint = Constraint {
    name: "legal_holds_ref",
    problem: problems::INVALID,
    spoken: "there is no such person or project in the studio",
};

const CONSTRAINTS: &[Constraint] = &[
    HELD,
    NOBODY,
    Constraint {
        name: "legal_holds_most",
        problem: problems::CONFLICT,
        spoken: "a studio has at most 1000 legal holds at once; release one first",
    },
];

macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, scope, ref, starts_at, ends_at, reason, placed_by, released_at, released_by"
    };
}

impl Stored for LegalHold {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM custody.legal_holds WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let scope: String = row.field("scope")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            scope: Scope::parse(&scope)?,
            about: row.field("ref")?,
            starts_at: row.field("starts_at")?,
            ends_at: row.field("ends_at")?,
            reason: row.field("reason")?,
            placed_by: row.field("placed_by")?,
            released_at: row.field("released_at")?,
            released_by: row.field("released_by")?,
        })
    }
}

/// A page of the list. `$2` the artist whose rows alone the caller may see, which is nobody's; `$3` whether
/// those that stand or the others, `$4` and `$5` value and id after which it begins, `$6` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM custody.legal_holds WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($3::boolean IS NULL OR (released_at IS NULL) = $3)
               AND ($5::uuid IS NULL OR (created_at, id) ",
            $after,
            " ($4::text::timestamptz, $5)) ORDER BY created_at ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $6"
        ))
    };
}

impl Listed for LegalHold {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "created_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |held| held.created_at.to_string(),
    }];
}

const PLACE: Insert = Insert::new(
    "INSERT INTO custody.legal_holds (tenant_id, id, scope, ref, starts_at, ends_at, reason)
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);

const RELEASE: Change = Change::new(
    "UPDATE custody.legal_holds SET version = version + 1, updated_at = $4, released_at = $4
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A legal hold as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LegalHold")]
struct LegalHoldView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    scope: Scope,
    #[serde(rename = "ref")]
    about: Option<Uuid>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    reason: String,
    /// A member's id, or `operator:` and the login.
    placed_by: String,
    released_at: Option<Timestamp>,
    released_by: Option<String>,
}

impl From<LegalHold> for LegalHoldView {
    fn from(held: LegalHold) -> Self {
        Self {
            id: held.id,
            version: held.version,
            created_at: held.created_at,
            updated_at: held.updated_at,
            scope: held.scope,
            about: held.about,
            starts_at: held.starts_at,
            ends_at: held.ends_at,
            reason: held.reason,
            placed_by: held.placed_by,
            released_at: held.released_at,
            released_by: held.released_by,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Place, Release, View};
    routes
        .route(
            "/v1/legal-holds",
            get(handlers::list)
                .says("what must stay as it is, and since when")
                .needs::<View, LegalHold>()
                .and(
                    post(handlers::place)
                        .says("keeps a studio, person, project or window as it is: until it is released nobody changes or removes what it covers")
                        .sample(
                            r#"{"scope": "window", "starts_at": "2001-01-01T00:00:00Z", "ends_at": "2001-01-02T00:00:00Z",
                                "reason": "claim 12/2031"}"#,
                        )
                        .needs::<Place, LegalHold>(),
                ),
        )
        .route(
            "/v1/legal-holds/{id}",
            get_one::<View, LegalHold, LegalHoldView>(|row, _| row.into()).says("a legal hold"),
        )
        .route(
            "/v1/legal-holds/{id}/release",
            post(handlers::release)
                .says("releases it, for good")
                .needs::<Release, LegalHold>(),
        )
}
