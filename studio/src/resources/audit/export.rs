//! Entries, a line each, for whoever keeps or examines them elsewhere.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use watertight::{
    answer::{Answer, Draft, Text},
    argument::Query,
};
use watertight_tenancy::{Read, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{Audit, EntryView, Numbered, actions::View};
use crate::resources::table;

/// So many lines at once; the next ones begin after the last number.
const LINES: u32 = 1_000;

/// What is taken along, and in which form.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    #[garde(skip)]
    format: Format,
    /// The first number.
    #[garde(range(min = 0, max = 9_007_199_254_740_991_i64))]
    from: Option<i64>,
    #[garde(range(min = 1, max = LINES))]
    limit: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Format {
    /// An entry as `/v1/audit` answers it, a line each.
    #[default]
    Jsonl,
    /// For spreadsheets.
    Csv,
    /// OCSF 1.3, API Activity.
    Ocsf,
    /// What was hashed, to the letter: for a verifier.
    Leaves,
}

const LIST: Read = Read::new(
    "SELECT l.seq, l.entry_id, e.leaf FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
     WHERE l.tenant_id = $1 AND l.seq >= $2 ORDER BY l.seq LIMIT $3",
);

pub(super) async fn export(
    mut tx: TenantTx,
    Query(asked): Query<Asked>,
) -> Result<Answer<Text>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let from = asked.from.unwrap_or_default();
    let limit = i64::from(asked.limit.unwrap_or(LINES));
    let mut text = match asked.format {
        Format::Csv => format!("{}\n", COLUMNS.join(",")),
        _ => String::new(),
    };
    for row in tx.read(LIST, &[&from, &limit]).await? {
        let entry = Numbered::from_row(&row)?;
        let line = match asked.format {
            Format::Leaves => entry.leaf,
            Format::Jsonl => json!(entry.view()?).to_string(),
            Format::Csv => csv(&entry.view()?),
            Format::Ocsf => ocsf(&entry.view()?).to_string(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    Draft::text(text)
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}

pub(super) async fn events(tx: &mut TenantTx, first: i64, last: i64) -> Result<Vec<Value>, Fault> {
    let rows = tx.read(LIST, &[&first, &(last - first + 1)]).await?;
    let mut events = Vec::new();
    for row in &rows {
        let entry = Numbered::from_row(row)?;
        // Where some were removed, more follow.
        if entry.seq <= last {
            events.push(ocsf(&entry.view()?));
        }
    }
    Ok(events)
}

pub(super) async fn lines(tx: &mut TenantTx, from: i64, most: i64) -> Result<Vec<String>, Fault> {
    let rows = tx.read(LIST, &[&from, &most]).await?;
    let lines = rows.iter().map(|row| {
        let view = Numbered::from_row(row)?.view()?;
        Ok(json!(view).to_string())
    });
    lines.collect()
}

/// An entry with what was hashed.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    view: EntryView,
    leaf: &'a str,
}

pub(super) async fn whole(tx: &mut TenantTx, from: i64, most: i64) -> Result<Vec<Value>, Fault> {
    let rows = tx.read(LIST, &[&from, &most]).await?;
    let entries = rows.iter().map(|row| {
        let entry = Numbered::from_row(row)?;
        Ok(json!(Whole {
            view: entry.view()?,
            leaf: &entry.leaf,
        }))
    });
    entries.collect()
}

const COLUMNS: [&str; 14] = [
    "seq",
    "time",
    "actor",
    "acted_by",
    "role",
    "action",
    "resource",
    "ids",
    "outcome",
    "rule",
    "status",
    "address",
    "client",
    "request_id",
];

fn csv(entry: &EntryView) -> String {
    let ids = entry.ids.iter().map(ToString::to_string);
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        entry.seq.to_string(),
        entry.time.to_string(),
        entry.actor.clone(),
        or_nothing(&entry.acted_by),
        entry.role.clone(),
        entry.action.clone(),
        entry.resource.clone(),
        ids.collect::<Vec<_>>().join(" "),
        entry.outcome.clone(),
        or_nothing(&entry.rule),
        entry.status.to_string(),
        or_nothing(&entry.address),
        or_nothing(&entry.client),
        entry.request_id.to_string(),
    ];
    table::line(&cells)
}

/// An entry as OCSF's API Activity (class 6003).
fn ocsf(entry: &EntryView) -> Value {
    let verb = entry.action.rsplit('.').next().unwrap_or_default();
    let activity = match verb {
        "create" => 1,
        "view" => 2,
        "archive" | "remove" => 4,
        "change" => 3,
        _ => 99,
    };
    let rows = entry
        .ids
        .iter()
        .map(|id| json!({ "type": entry.resource, "uid": id }));
    json!({
        "class_uid": 6003, "category_uid": 6, "activity_id": activity, "type_uid": 600_300 + activity,
        "activity_name": verb, "severity_id": 1, "time": entry.time.as_millisecond(),
        "status_id": if entry.outcome == "allowed" { 1 } else { 2 }, "status": entry.outcome, "status_code": entry.status.to_string(),
        "status_detail": entry.rule,
        "actor": { "user": { "uid": entry.actor, "type": entry.role } },
        "api": { "operation": entry.action, "request": { "uid": entry.request_id } },
        "src_endpoint": { "ip": entry.address }, "http_request": { "user_agent": entry.client },
        "resources": rows.collect::<Vec<_>>(),
        "metadata": { "version": "1.3.0", "uid": entry.id, "sequence": entry.seq,
            "product": { "name": "Production Tool", "vendor_name": "Watertight" } },
    })
}
