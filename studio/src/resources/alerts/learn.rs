//! Looks at a studio's new entries, as its service `watch`, and says what looks wrong.
//!
//! One transaction reads them, what was learned before, and writes what is learned now with the alerts: who
//! dies in between has looked at nothing, and of two workers at once the second finds another version.

use jiff::Timestamp;
use uuid::Uuid;
use watertight_authority::{Fact, Resource};
use watertight_custody::Retention;
use watertight_tenancy::{Change, Read, Row, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, TenantId};
use watertight_watch::{Seen, StudioWatch, Thresholds};

use super::{
    Alert, OPEN, RAISE, REPEAT,
    actions::{Raise, Repeat},
};
use crate::{
    app::Desk,
    resources::{Class, Columns, audit},
};

/// So many entries are looked at in one transaction.
const BATCH: i64 = 500;

/// How far a studio's ledger was looked at, and what was learned.
#[derive(Debug)]
pub struct Watching {
    tenant: TenantId,
    version: i32,
    seen_until: i64,
    learned: Option<String>,
}

impl Resource for Watching {
    const NOUN: &'static str = "watch";
    const ENTITY: &'static str = "Watching";

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

/// What may be done with it.
pub mod actions {
    crate::resources::actions! { super::Watching: Learn "watch.learn" }
}

pub(super) const COLUMNS: Columns = Columns {
    table: "studio.watching",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("seen_until", Class::Internal),
        ("learned", Class::Internal),
    ],
    retention: Retention::Studio,
};

impl Stored for Watching {
    const LOAD: Read = Read::new(
        "SELECT tenant_id, version, seen_until, learned FROM studio.watching WHERE tenant_id = $1 AND id = $2",
    );

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            version: row.field("version")?,
            seen_until: row.field("seen_until")?,
            learned: row.field("learned")?,
        })
    }
}

const LEARN: Change = Change::new(
    "UPDATE studio.watching SET version = version + 1, updated_at = $4, seen_until = $5, learned = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// Looks at some new entries. Says whether there may be more.
///
/// # Errors
/// When the database refuses; conflict, when another worker looked at the same moment.
pub(crate) async fn look(
    mut tx: TenantTx,
    desk: &Desk,
    thresholds: &Thresholds,
) -> Result<bool, Fault> {
    let tenant = tx.tenant().0;
    let granted = tx.grant::<actions::Learn, Watching>(tenant).await?;
    let before = granted.row();
    let lines = audit::lines(&mut tx, before.seen_until, BATCH).await?;
    let unreadable = |error: serde_json::Error| Fault::bug(format!("what was learned: {error}"));
    let mut watch: StudioWatch = match &before.learned {
        Some(learned) => serde_json::from_str(learned).map_err(unreadable)?,
        None => StudioWatch::default(),
    };
    let (mut seen_until, mut alerts) = (before.seen_until, Vec::new());
    for line in &lines {
        let seen = Seen::parse(line).map_err(unreadable)?;
        seen_until = seen.seq + 1;
        alerts.extend(watch.observe(&seen, thresholds));
    }
    let learned = serde_json::to_string(&watch).map_err(unreadable)?;
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 3] = [&now, &seen_until, &learned];
    tx.change(granted, LEARN, &parameters).await?;
    let mut ids = Vec::new();
    for alert in &alerts {
        ids.push(say(&mut tx, desk, alert, now).await?);
    }
    let entry = Entry::new("watch.learn", "alert").ids(ids);
    let committed = tx.commit(entry).await;
    committed.map(|_receipt| lines.len() as i64 == BATCH)
}

/// Raises an alert, or counts the one that nobody closed yet.
async fn say(
    tx: &mut TenantTx,
    desk: &Desk,
    alert: &watertight_watch::Alert,
    now: Timestamp,
) -> Result<Uuid, Fault> {
    let (kind, severity) = (alert.kind.as_str(), alert.severity.as_str());
    let open = tx.read(OPEN, &[&kind, &alert.subject]).await?;
    if let Some(row) = open.first() {
        let id: Uuid = row.field("id")?;
        let granted = tx.grant::<Repeat, Alert>(id).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&now, &alert.at, &alert.evidence];
        tx.change(granted, REPEAT, &parameters).await?;
        return Ok(id);
    }
    let granted = tx.grant_new::<Raise, Alert>()?;
    let id = desk.random.uuid();
    let parameters: [&(dyn ToSql + Sync); 7] = [
        &id,
        &now,
        &kind,
        &severity,
        &alert.subject,
        &alert.at,
        &alert.evidence,
    ];
    tx.create(granted, RAISE, &parameters).await?;
    Ok(id)
}
