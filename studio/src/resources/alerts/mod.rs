//! What looks wrong in a studio, for its owners.
//!
//! ```text
//! GET   /v1/alerts        newest first; ?state=open&severity=high&kind=probing
//! GET   /v1/alerts/{id}   with the numbers of the ledger's entries that show it, and what to do
//! PATCH /v1/alerts/{id}   {"state": "acknowledged", "note": "asked her"}
//! ```
//!
//! The same about the same is one alert for as long as it is not closed: it is counted, and its evidence is
//! the newest. Nobody makes one by the API; the service `watch` does, see `jobs/watch.rs`.

mod handlers;
pub mod learn;

pub(crate) use handlers::{Asked, handle, list};

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight::door::{Routes, get, get_one, patch};
use watertight_authority::{Fact, Principal, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Insert, Read, Row, Rows, Stored, TenantTx};
use watertight_terms::{Fault, Role, TenantId};
use watertight_watch::{Kind, Severity};

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

/// An alert, as stored.
#[derive(Debug)]
pub struct Alert {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: Kind,
    severity: Severity,
    state: State,
    subject: Option<String>,
    opened_at: Timestamp,
    last_seen_at: Timestamp,
    times: i32,
    evidence: Vec<i64>,
    note: String,
}

/// How far somebody has come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum State {
    Open,
    Acknowledged,
    Closed,
}

/// Its states, in the order in which it goes through them.
pub(crate) const STATES: [&str; 3] = ["open", "acknowledged", "closed"];

/// Who is shown the way to alerts, and who the form of one. What they may do there the policy says when they come.
pub(crate) fn shows(tx: &TenantTx) -> (bool, bool) {
    match tx.standing().principal {
        Principal::Member { role, .. } => (role >= Role::Manager, role == Role::Owner),
        Principal::Service { .. } => (false, false),
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let mut all = [Self::Open, Self::Acknowledged, Self::Closed].into_iter();
        all.find(|state| state.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("an alert in the state `{name}`")))
    }
}

/// How bad something is, as callers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Grade {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Severity> for Grade {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }
}

impl Grade {
    fn severity(self) -> Severity {
        match self {
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let mut all = [Self::Low, Self::Medium, Self::High, Self::Critical].into_iter();
        all.find(|grade| grade.severity().as_str() == name)
            .ok_or_else(|| Fault::bug(format!("an alert of the severity `{name}`")))
    }
}

impl Resource for Alert {
    const NOUN: &'static str = "alert";
    const ENTITY: &'static str = "Alert";

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

/// Alerts, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0029_alerts"),
        super::migration!("0030_platform_alerts"),
        super::migration!("0037_figures"),
        super::migration!("0038_platform_learned"),
        super::migration!("0040_operators_told"),
    ],
    tables: &[COLUMNS, learn::COLUMNS],
    rows: &[Rows::of::<Alert>(), Rows::of::<learn::Watching>()],
    constraints: &[],
    routes,
};

/// What may be done with an alert.
pub mod actions {
    crate::resources::actions! { super::Alert:
        View "alert.view", Handle "alert.handle", Raise "alert.raise", Repeat "alert.repeat"
    }
}

const COLUMNS: Columns = Columns {
    table: "studio.alerts",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("kind", Class::Internal),
        ("severity", Class::Internal),
        ("state", Class::Internal),
        ("subject", Class::Internal),
        ("opened_at", Class::Internal),
        ("last_seen_at", Class::Internal),
        ("times", Class::Internal),
        ("evidence", Class::Internal),
        ("note", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "alerts",
        step: 15,
        since: "the time it was closed",
        days: Days::new(365, 30, 3650),
        then: Then::Remove,
    }),
};

macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, kind, severity, state, subject, opened_at, last_seen_at,
           times, evidence, note"
    };
}

impl Stored for Alert {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.alerts WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let (kind, severity): (String, String) = (row.field("kind")?, row.field("severity")?);
        let kind = Kind::parse(&kind)
            .ok_or_else(|| Fault::bug(format!("an alert of the kind `{kind}`")))?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            kind,
            severity: Grade::parse(&severity)?.severity(),
            state: State::parse(&row.field::<String>("state")?)?,
            subject: row.field("subject")?,
            opened_at: row.field("opened_at")?,
            last_seen_at: row.field("last_seen_at")?,
            times: row.field("times")?,
            evidence: row.field("evidence")?,
            note: row.field("note")?,
        })
    }
}

/// A page of the list in one order. `$2` the artist whose rows alone the caller may see (whoever is held to
/// one sees none of these), `$3` a state, `$4` a severity, `$5` a kind, `$6` and `$7` value and id after which
/// the page begins, `$8` its length.
macro_rules! list {
    ($column:literal, $after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.alerts WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR severity = $4)
               AND ($5::text IS NULL OR kind = $5)
               AND ($7::uuid IS NULL OR (",
            $column,
            ", id) ",
            $after,
            " ($6::text::timestamptz, $7)) ORDER BY ",
            $column,
            " ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $8"
        ))
    };
}

impl Listed for Alert {
    const ORDERS: &'static [Order<Self>] = &[
        Order {
            name: "opened_at",
            up: list!("opened_at", ">", "ASC"),
            down: list!("opened_at", "<", "DESC"),
            value: |alert| alert.opened_at.to_string(),
        },
        Order {
            name: "last_seen_at",
            up: list!("last_seen_at", ">", "ASC"),
            down: list!("last_seen_at", "<", "DESC"),
            value: |alert| alert.last_seen_at.to_string(),
        },
    ];
}

/// The one of a kind and subject that nobody closed.
const OPEN: Read = Read::new(
    "SELECT id FROM studio.alerts WHERE tenant_id = $1 AND kind = $2 AND subject IS NOT DISTINCT FROM $3
       AND state <> 'closed'",
);

const RAISE: Insert = Insert::new(
    "INSERT INTO studio.alerts (tenant_id, id, created_at, updated_at, kind, severity, subject, opened_at, last_seen_at, evidence)
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $7, $8)",
);

const REPEAT: Change = Change::new(
    "UPDATE studio.alerts SET version = version + 1, updated_at = $4, last_seen_at = greatest(last_seen_at, $5),
       times = least(times + 1, 1000000), evidence = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const HANDLE: Change = Change::new(
    "UPDATE studio.alerts SET version = version + 1, updated_at = $4, state = $5, note = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// An alert as it is told when it is opened.
pub(super) struct Told {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) opened_at: Timestamp,
    subject: Option<String>,
    evidence: Vec<i64>,
}

/// Reads what is told.
///
/// # Errors
/// When the database refuses.
pub(super) async fn told(tx: &mut TenantTx, id: Uuid) -> Result<Told, Fault> {
    let rows = tx.read(Alert::LOAD, &[&id]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a delivery of an alert that is not there"))?;
    let alert = Alert::from_row(row)?;
    Ok(Told {
        id: alert.id,
        kind: alert.kind,
        severity: alert.severity,
        opened_at: alert.opened_at,
        subject: alert.subject,
        evidence: alert.evidence,
    })
}

impl Told {
    /// What a webhook is told.
    pub(super) fn body(&self) -> Value {
        let finding = watertight_watch::Alert {
            kind: self.kind,
            severity: self.severity,
            subject: self.subject.clone(),
            at: self.opened_at,
            evidence: self.evidence.clone(),
            is_repeated: false,
        };
        json!({
            "type": "alert.opened", "timestamp": self.opened_at,
            "data": {
                "alert_id": self.id, "kind": self.kind, "severity": self.severity, "subject": self.subject,
                "evidence": self.evidence, "advice": self.kind.advice(), "finding": finding.ocsf(&self.id.to_string()),
            },
        })
    }
}

/// An alert as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Alert")]
pub(crate) struct View {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: &'static str,
    severity: Grade,
    state: State,
    opened_at: Timestamp,
    last_seen_at: Timestamp,
    /// How often it was noticed, once an hour at most.
    times: i32,
    /// Whom it is about, as the ledger names actors.
    subject: Option<String>,
    /// Numbers of the ledger's entries that show it.
    evidence: Vec<i64>,
    advice: &'static str,
    note: String,
}

impl From<Alert> for View {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            version: alert.version,
            created_at: alert.created_at,
            updated_at: alert.updated_at,
            kind: alert.kind.as_str(),
            severity: alert.severity.into(),
            state: alert.state,
            opened_at: alert.opened_at,
            last_seen_at: alert.last_seen_at,
            times: alert.times,
            subject: alert.subject,
            evidence: alert.evidence,
            advice: alert.kind.advice(),
            note: alert.note,
        }
    }
}

fn routes(routes: Routes) -> Routes {
    use actions::{Handle, View};
    routes
        .route(
            "/v1/alerts",
            get(handlers::list)
                .says("what looks wrong")
                .needs::<View, Alert>(),
        )
        .route(
            "/v1/alerts/{id}",
            get_one::<View, Alert, self::View>(|row, _| row.into()).says("an alert, what shows it and what to do")
                .and(
                    patch(handlers::handle)
                        .says("acknowledges it, closes it, or opens it again; and what is to be remembered")
                        .sample(r#"{"state": "acknowledged", "note": "asked her"}"#)
                        .needs::<Handle, Alert>(),
                ),
        )
}
