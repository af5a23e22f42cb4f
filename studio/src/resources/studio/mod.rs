//! The studio as its members meet it: `/v1/me`, and what its owners decide: `/v1/studio`.
//!
//! ```text
//! GET   /v1/me       everybody
//! GET   /v1/studio   owners and managers
//! POST  /v1/studio/close, /v1/studio/close/cancel   owners; in thirty days, and until then
//! PATCH /v1/studio   owners; RFC 7396: absent stays, null means the product's default
//! ```

pub(crate) mod calendar;
mod handlers;
mod kept;
mod me;
pub(crate) mod settings;

use jiff::Timestamp;
use uuid::Uuid;
use watertight::door::{Routes, get, open, patch, post};
use watertight_authority::{Fact, Resource};
use watertight_custody::Retention;
use watertight_tenancy::{Change, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId};

use super::{Class, Columns};
use settings::Settings;

/// The studio itself, as policies and the ledger name it, with what it decided.
#[derive(Debug)]
pub struct Studio {
    tenant: TenantId,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    name: String,
    zone: String,
    status: String,
    impersonation: String,
    admission: String,
    closes_at: Option<Timestamp>,
    settings: Settings,
    /// For how many days it keeps what is over, where it decided about them.
    retention: serde_json::Map<String, serde_json::Value>,
}

impl Resource for Studio {
    const NOUN: &'static str = "studio";
    const ENTITY: &'static str = "Studio";

    fn id(&self) -> Uuid {
        self.tenant.0
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

/// The studio, for the register.
pub const RESOURCE: super::Registered = super::Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0002_operators"),
        super::migration!("0027_closing"),
    ],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Studio>()],
    constraints: &[],
    routes,
};

/// What may be done with the studio.
pub mod actions {
    crate::resources::actions! { super::Studio:
        View "studio.view", Inspect "studio.inspect", Change "studio.change", Close "studio.close"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.settings",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
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
        ("retention", Class::Internal),
    ],
    retention: Retention::Studio,
};

impl Stored for Studio {
    const LOAD: Read = Read::new(
        "SELECT s.version, s.created_at, s.updated_at, s.hold_minutes, s.challenge_hours, s.am_from, s.am_to, s.pm_from,
           s.pm_to, s.working_hours, s.retention, s.tenant_id, c.name, c.zone, c.status, c.impersonation, c.admission, c.closes_at
         FROM studio.settings s, tenancy.choices() c WHERE s.tenant_id = $1 AND s.id = $2",
    );

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let zone: String = row.field("zone")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            name: row.field("name")?,
            status: row.field("status")?,
            impersonation: row.field("impersonation")?,
            admission: row.field("admission")?,
            closes_at: row.field("closes_at")?,
            settings: Settings::new(&zone, Some(row))?,
            retention: match row.field("retention")? {
                Some(serde_json::Value::Object(decided)) => decided,
                _ => serde_json::Map::new(),
            },
            zone,
        })
    }
}

const CHANGE: Change = Change::new(
    "UPDATE studio.settings SET version = version + 1, updated_at = $4, hold_minutes = $5, challenge_hours = $6,
       am_from = $7, am_to = $8, pm_from = $9, pm_to = $10, working_hours = $11, retention = $12
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

fn routes(routes: Routes) -> Routes {
    use actions::{Change, Close, Inspect, View};
    routes
        .route(
            "/v1/me",
            get(me::me)
                .says("who you are here, and what you may do")
                .guests_too(me::guest)
                .needs::<View, Studio>(),
        )
        .route(
            "/v1/studio",
            get(handlers::show)
                .says("what holds in the studio, for its owners and managers")
                .needs::<Inspect, Studio>()
                .and(
                    patch(handlers::change)
                        .says(
                            "decides what holds in the studio; `null` means the default; `impersonation` and \
                             `admission` ask for a fresh proof of who you are",
                        )
                        .sample(
                            r#"{"hold_minutes": 45, "half_days": {"am": {"from": "09:00", "to": "13:00"},
                                "pm": {"from": "14:00", "to": "18:00"}}}"#,
                        )
                        .needs::<Change, Studio>(),
                ),
        )
        .route(
            "/v1/studio/close",
            post(handlers::close)
                .says("closes the studio in thirty days: its keys are destroyed then, and its rows go; asks for a fresh proof of who you are")
                .sample(r#"{"plan": true}"#)
                .needs::<Close, Studio>(),
        )
        .route(
            "/v1/studio/close/cancel",
            post(handlers::cancel_closing)
                .says("takes the closing back")
                .needs::<Close, Studio>(),
        )
        .route(
            "/health",
            open(http::Method::GET, || async {
                axum::response::IntoResponse::into_response("ok\n")
            })
            .public("load balancers ask whether the process lives; it says nothing else"),
        )
}
