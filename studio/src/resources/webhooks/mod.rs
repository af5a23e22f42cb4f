//! Where a studio wants to be told of its bookings or of its ledger, and what became of each telling.
//!
//! ```text
//! GET    /v1/webhooks                  owners; the secret is shown once, by the answer to the POST
//! POST   /v1/webhooks                  {"url": "https://hooks.example.com/studio", "kind": "bookings"}
//! PATCH  /v1/webhooks/{id}             {"is_paused": true}
//! DELETE /v1/webhooks/{id}             archives it; nothing is told there any more
//! GET    /v1/deliveries                by time; ?webhook_id=…&state=pending|delivered|dead
//! POST   /v1/deliveries/{id}/replay    as if it had never been tried
//! ```
//!
//! Each version of a booking is told once to each webhook, at least: by a `POST` of JSON, signed after
//! [Standard Webhooks](https://www.standardwebhooks.com). `webhook-id` is the delivery's and the same
//! each time; whoever is told twice knows it by that. Any 2xx means that it has arrived. Otherwise it is
//! tried eight times over two days and is then dead, to be seen and replayed.
//!
//! ```json
//! {"type": "booking.confirm", "timestamp": "2031-03-03T09:00:00Z",
//!  "data": {"booking_id": "…", "version": 3, "state": "confirmed", "artist_id": "…", "project_id": "…",
//!           "starts_at": "2031-04-01T08:00:00Z", "ends_at": "2031-04-02T16:00:00Z"}}
//! ```
//!
//! Names, notes and rates are not told: whoever may see them asks the API.
//!
//! A webhook of the kind `audit` is told of the ledger instead, for the studio's SIEM: every entry from its
//! making on, a hundred at most each time, as OCSF events. Entries about telling itself come with the next
//! others. What came while it was paused is told afterwards.
//!
//! ```json
//! {"type": "audit.entries", "timestamp": "2031-03-03T09:00:00Z",
//!  "data": {"first_seq": 1200, "last_seq": 1207, "events": [{"class_uid": 6003, …}]}}
//! ```
//!
//! One of the kind `alerts` is told of each alert when it is opened, also as an OCSF Detection Finding.
//!
//! ```json
//! {"type": "alert.opened", "timestamp": "2031-03-03T09:00:00Z",
//!  "data": {"alert_id": "…", "kind": "probing", "severity": "high", "subject": "…", "finding": {"class_uid": 2004, …}}}
//! ```

pub mod deliveries;
mod handlers;
pub(crate) mod hook;
pub(crate) mod mail;
pub(crate) mod tell;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::door::{Routes, delete, get, get_one, patch, post};
use watertight_authority::{Fact, Opens, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Insert, Read, Row, Rows, Stored};
use watertight_terms::{Fault, TenantId};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};
use deliveries::Delivery;

/// The column of a webhook's secret.
const SECRET: &str = "studio.webhooks.secret";

/// A webhook, as stored.
#[derive(Debug)]
pub struct Webhook {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    url: String,
    kind: Kind,
    is_paused: bool,
    archived_at: Option<Timestamp>,
}

/// What is told there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Kind {
    /// Each version of a booking.
    #[default]
    Bookings,
    /// The entries of the ledger.
    Audit,
    /// Each alert, when it is opened.
    Alerts,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bookings => "bookings",
            Self::Audit => "audit",
            Self::Alerts => "alerts",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let mut all = [Self::Bookings, Self::Audit, Self::Alerts].into_iter();
        all.find(|kind| kind.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("a webhook of the kind `{name}`")))
    }
}

impl Resource for Webhook {
    const NOUN: &'static str = "webhook";
    const ENTITY: &'static str = "Webhook";

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

/// Webhooks and deliveries, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0012_webhooks"),
        super::migration!("0015_mail"),
        super::migration!("0022_audit_webhooks"),
    ],
    tables: &[COLUMNS, deliveries::COLUMNS],
    rows: &[Rows::of::<Webhook>(), Rows::of::<Delivery>()],
    constraints: &[],
    routes,
};

/// What may be done with a webhook.
pub mod actions {
    crate::resources::actions! { super::Webhook:
        View "webhook.view", Create "webhook.create", Edit "webhook.change", Archive "webhook.archive",
        Sign "webhook.sign"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.webhooks",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("url", Class::Internal),
        ("secret", Class::Secret),
        ("kind", Class::Internal),
        ("told_until", Class::Internal),
        ("is_paused", Class::Internal),
        ("archived_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "webhooks",
        step: 20,
        since: "the time it was archived",
        days: Days::new(365, 30, 5475),
        then: Then::Remove,
    }),
};

impl Opens<Webhook> for actions::Sign {
    const COLUMNS: &'static [&'static str] = &[SECRET];
}

/// Where a delivery goes, and what it is signed with, unless nothing is told there any more.
const TARGET: Read = Read::new(
    "SELECT tenant_id, id, version, created_at, updated_at, url, kind, is_paused, archived_at, secret
     FROM studio.webhooks WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL",
);

impl Stored for Webhook {
    const LOAD: Read = Read::new(
        "SELECT tenant_id, id, version, created_at, updated_at, url, kind, is_paused, archived_at
         FROM studio.webhooks WHERE tenant_id = $1 AND id = $2",
    );

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            url: row.field("url")?,
            kind: Kind::parse(&row.field::<String>("kind")?)?,
            is_paused: row.field("is_paused")?,
            archived_at: row.field("archived_at")?,
        })
    }
}

/// A page of the list. `$2` the artist whose rows alone the caller may see, which is nobody's; `$3` and
/// `$4` value and id after which it begins, `$5` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT tenant_id, id, version, created_at, updated_at, url, kind, is_paused, archived_at FROM studio.webhooks
             WHERE tenant_id = $1 AND $2::uuid IS NULL AND archived_at IS NULL
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

impl Listed for Webhook {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "created_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |webhook| webhook.created_at.to_string(),
    }];
}

const COUNT: Read = Read::new(
    "SELECT count(*) AS webhooks FROM studio.webhooks WHERE tenant_id = $1 AND archived_at IS NULL",
);

const CREATE: Insert = Insert::new(
    // The ledger is told from here on.
    "INSERT INTO studio.webhooks (tenant_id, id, created_at, updated_at, url, secret, kind, told_until) VALUES ($1, $2, $3, $3, $4, $5, $6::text,
       CASE WHEN $6::text = 'audit' THEN (SELECT coalesce(max(l.seq) + 1, 0) FROM ledger.leaves l WHERE l.tenant_id = $1) END)",
);

const EDIT: Change = Change::new(
    "UPDATE studio.webhooks SET version = version + 1, updated_at = $4, url = $5, is_paused = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ARCHIVE: Change = Change::new(
    "UPDATE studio.webhooks SET version = version + 1, updated_at = $4, archived_at = coalesce(archived_at, $4)
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A webhook as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
struct WebhookView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    url: String,
    kind: Kind,
    is_paused: bool,
    archived_at: Option<Timestamp>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            version: webhook.version,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            url: webhook.url,
            kind: webhook.kind,
            is_paused: webhook.is_paused,
            archived_at: webhook.archived_at,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Archive, Create, Edit, View};
    let routes = routes
        .route(
            "/v1/webhooks",
            get(handlers::list)
                .says("where the studio is told of its bookings, its ledger, or what looks wrong")
                .needs::<View, Webhook>()
                .and(
                    post(handlers::create)
                        .says("tells every change of a booking there, every entry of the ledger, or every alert; the answer alone shows the secret")
                        .sample(r#"{"url": "https://hooks.example.com/studio", "kind": "bookings"}"#)
                        .needs::<Create, Webhook>(),
                ),
        )
        .route(
            "/v1/webhooks/{id}",
            get_one::<View, Webhook, WebhookView>(|row, _| row.into()).says("a webhook")
                .and(
                    patch(handlers::edit)
                        .says("changes what is given; while it is paused nothing new is told there")
                        .sample(r#"{"is_paused": true}"#)
                        .needs::<Edit, Webhook>(),
                )
                .and(
                    delete(handlers::archive)
                        .says("archives a webhook; nothing is told there any more")
                        .needs::<Archive, Webhook>(),
                ),
        );
    deliveries::routes(routes)
}
