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

/// So much is kept of a studio: the column holds more, so that what one look adds always finds room.
const BYTES_MOST: usize = 8_000_000;

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
    let mut watch = before.learned.as_deref().map(recalled).unwrap_or_default();
    let (mut seen_until, mut alerts) = (before.seen_until, Vec::new());
    for line in &lines {
        let seen = match Seen::parse(line) {
            Ok(seen) => seen,
            // What stopped here would stop here each time.
            Err(error) => {
                tracing::warn!(%error, "an entry cannot be looked at; it is passed by");
                seen_until = seen_until.max(number_of(line)? + 1);
                continue;
            }
        };
        seen_until = seen.seq + 1;
        alerts.extend(watch.observe(&seen, thresholds));
    }
    let learned = written(&mut watch, BYTES_MOST)?;
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

/// What cannot be read any more is learned anew: failing would be for ever.
fn recalled(learned: &str) -> StudioWatch {
    serde_json::from_str(learned).unwrap_or_else(|error| {
        tracing::warn!(%error, "what was learned cannot be read; it is learned anew");
        StudioWatch::default()
    })
}

/// The number of an entry of which nothing else can be read.
fn number_of(line: &str) -> Result<i64, Fault> {
    let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let number = value.and_then(|value| value.get("seq")?.as_i64());
    number.ok_or_else(|| Fault::bug("an entry without a number"))
}

/// As it is kept. While it is too much, those longest unheard of are forgotten, and everything where nobody is left.
fn written(watch: &mut StudioWatch, bytes_most: usize) -> Result<String, Fault> {
    loop {
        let text = serde_json::to_string(watch)
            .map_err(|error| Fault::bug(format!("what was learned: {error}")))?;
        if text.len() <= bytes_most {
            return Ok(text);
        }
        tracing::warn!(
            bytes = text.len(),
            "what was learned of a studio is too much to keep"
        );
        if !watch.forget_some() {
            *watch = StudioWatch::default();
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// So many members, of whom each was at work a minute after the one before.
    fn of_members(many: i64) -> StudioWatch {
        let mut watch = StudioWatch::default();
        for number in 0..many {
            let time = Timestamp::from_second(1_930_867_200 + number * 60).unwrap();
            let line = json!({ "seq": number, "time": time, "actor": format!("user_{number:04}"), "role": "owner", "action": "artist.view",
                "outcome": "allowed", "status": 200, "ids": [Uuid::from_u128(number as u128)], "ids_count": 1, "address": "203.0.113.7" });
            watch.observe(
                &Seen::parse(&line.to_string()).unwrap(),
                &Thresholds::default(),
            );
        }
        watch
    }

    #[test]
    fn what_is_too_much_is_kept_without_those_longest_unheard_of() {
        let mut watch = of_members(200);
        let whole = written(&mut watch, BYTES_MOST).unwrap();
        assert!(whole.contains("user_0000") && whole.contains("user_0199"));
        let most = whole.len() / 2;
        let part = written(&mut watch, most).unwrap();
        assert!(part.len() <= most, "{} of {most}", part.len());
        assert!(!part.contains("user_0000") && part.contains("user_0199"));
        assert!(recalled(&part).forget_some());
        // Where not even one has room, all is learned anew.
        let least = serde_json::to_string(&StudioWatch::default()).unwrap();
        assert_eq!(written(&mut watch, least.len()).unwrap(), least);
    }

    #[test]
    fn what_cannot_be_read_is_learned_anew_and_an_entry_is_passed_by() {
        let empty = serde_json::to_string(&StudioWatch::default()).unwrap();
        assert_eq!(serde_json::to_string(&recalled("spoilt")).unwrap(), empty);
        assert_eq!(number_of(r#"{"seq": 7, "time": "never"}"#).unwrap(), 7);
        assert!(number_of("{}").is_err());
    }
}
