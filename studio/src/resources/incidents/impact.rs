//! What an incident touched, record by record, for the studio's owners: from their ledger, and from nothing else.
//!
//! ```text
//! GET /v1/incidents/{id}/impact?from=2031-03-01T00:00:00Z
//! {"whose": {"everybody": false, "actors": ["user_2x"], "addresses": []},
//!  "records": [{"resource": "artist", "id": "…", "opened": ["email"], "actors": ["user_2x"], "addresses": ["192.0.2.7"], …}],
//!  "trails": [{"actor": "user_2x", "address": "192.0.2.7", "is_of_incident": true, "requests": 40, …}],
//!  "unlisted": 0, "is_whole": true, "cannot_be_said": ["…"]}
//! ```
//!
//! Another studio is asked the same by its own owners: nothing looks across.

use garde::Validate;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{Instant, Path, Query},
};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, problems};

use super::{Incident, actions::View};
use crate::app::Desk;

/// So many records, and so many trails, are named; `is_whole` says whether there are more.
const MOST: i64 = 1_000;
/// So long a window is looked through at once.
const DAYS_MOST: i64 = 92;

const WHOM: Read = Read::new(
    "SELECT opened_at, actors, addresses, has_session FROM incident.whom($2) WHERE tenant_id = $1",
);

/// What is asked of the ledger: what people did in the window, all of them or these, or from these addresses.
macro_rules! theirs {
    () => {
        " e.tenant_id = $1 AND e.at BETWEEN $2 AND $3 AND e.body ->> 'role' NOT IN ('operator', 'service')
          AND (cardinality($4::text[]) + cardinality($5::text[]) = 0 OR e.body ->> 'actor' = ANY ($4) OR e.body ->> 'address' = ANY ($5))"
    };
}

const RECORDS: Read = Read::new(concat!(
    "SELECT e.body ->> 'resource' AS resource, i.id::uuid AS id, count(DISTINCT e.entry_id) AS requests, min(e.at) AS first_at, max(e.at) AS last_at,
       array_agg(DISTINCT e.body ->> 'action') AS actions, array_agg(DISTINCT e.body ->> 'actor') AS actors,
       array_remove(array_agg(DISTINCT e.body ->> 'address'), NULL) AS addresses, array_remove(array_agg(DISTINCT o.field), NULL) AS opened,
       bool_or(EXISTS (SELECT FROM jsonb_array_elements(e.leaf::jsonb -> 'changes') c WHERE c ->> 'id' = i.id)) AS is_changed
     FROM ledger.entries e CROSS JOIN LATERAL jsonb_array_elements_text(e.body -> 'ids') i (id)
     LEFT JOIN LATERAL jsonb_array_elements_text(e.body -> 'opened') o (field) ON true
     WHERE",
    theirs!(),
    " AND e.body ->> 'outcome' = 'allowed' GROUP BY 1, 2 ORDER BY last_at DESC, id LIMIT $6"
));

/// Whoever used one of their addresses in the window, and wherever they were, with what was done there.
const TRAILS: Read = Read::new(concat!(
    "SELECT t.body ->> 'actor' AS actor, t.body ->> 'address' AS address, min(t.at) AS first_at, max(t.at) AS last_at, count(*) AS requests,
       count(*) FILTER (WHERE t.body ->> 'outcome' <> 'allowed') AS refused, sum((t.body ->> 'ids_count')::bigint)::bigint AS records,
       cardinality($4::text[]) + cardinality($5::text[]) = 0 OR t.body ->> 'actor' = ANY ($4)
         OR coalesce(t.body ->> 'address' = ANY ($5), false) AS is_of_incident
     FROM ledger.entries t WHERE t.tenant_id = $1 AND t.at BETWEEN $2 AND $3 AND t.body ->> 'role' NOT IN ('operator', 'service')
       AND (t.body ->> 'actor' IN (SELECT e.body ->> 'actor' FROM ledger.entries e WHERE",
    theirs!(),
    ") OR t.body ->> 'address' IN (SELECT e.body ->> 'address' FROM ledger.entries e WHERE",
    theirs!(),
    ")) GROUP BY 1, 2, 8 ORDER BY last_at DESC, 1, 2 LIMIT $6"
));

const UNLISTED: Read = Read::new(concat!(
    "SELECT coalesce(sum((e.body ->> 'ids_count')::bigint - jsonb_array_length(e.body -> 'ids')), 0)::bigint AS unlisted
     FROM ledger.entries e WHERE",
    theirs!(),
    " AND e.body ->> 'outcome' = 'allowed'"
));

/// The window: from a day before it was opened until now, unless said.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

/// What was touched, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Impact")]
pub(super) struct ImpactView {
    from: Timestamp,
    to: Timestamp,
    whose: Whose,
    /// Which records, the last touched first.
    records: Vec<RecordView>,
    /// Who was there from where: whom the incident is about, whoever else used their addresses, and where else they were.
    trails: Vec<TrailView>,
    /// So many more records were shown in lists that the ledger does not name one by one.
    unlisted: i64,
    /// Whether all records and trails are here; otherwise ask for a shorter window.
    is_whole: bool,
    /// What the ledger does not tell.
    cannot_be_said: Vec<&'static str>,
}

/// Whom it is about.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Whose {
    /// All of the studio was isolated, or nobody.
    everybody: bool,
    actors: Vec<String>,
    addresses: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct RecordView {
    resource: String,
    id: Uuid,
    requests: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// What was done with it.
    actions: Vec<String>,
    /// By whom.
    actors: Vec<String>,
    /// From where.
    addresses: Vec<String>,
    /// Which personal fields were shown in clear.
    opened: Vec<String>,
    is_changed: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct TrailView {
    actor: String,
    address: Option<String>,
    /// Whether the incident is about this actor or this address.
    is_of_incident: bool,
    requests: i64,
    refused: i64,
    /// As many records were named or counted, each as often as it was.
    records: i64,
    first_at: Timestamp,
    last_at: Timestamp,
}

pub(super) async fn impact(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Answer<ImpactView>, Fault> {
    let _granted = tx.grant_new::<View, Incident>()?;
    let rows = tx.read(WHOM, &[&id]).await?;
    let about = rows.first().ok_or_else(Fault::unseen)?;
    let (from, to) = window(&asked, about.field("opened_at")?, desk.clock.now())?;
    let (actors, addresses): (Vec<String>, Vec<String>) =
        (about.field("actors")?, about.field("addresses")?);
    let window: [&(dyn ToSql + Sync); 4] = [&from, &to, &actors, &addresses];
    let (within, one_more) = (window.to_vec(), MOST + 1);
    let bounded = [&window[..], &[&one_more]].concat();
    let mut records = views(&tx.read(RECORDS, &bounded).await?, RecordView::from_row)?;
    let mut trails = views(&tx.read(TRAILS, &bounded).await?, TrailView::from_row)?;
    let most = usize::try_from(MOST).unwrap_or_default();
    let is_whole = records.len() <= most && trails.len() <= most;
    records.truncate(most);
    trails.truncate(most);
    let unlisted = tx.read(UNLISTED, &within).await?;
    let unlisted = unlisted
        .first()
        .map_or(Ok(0), |row| row.field("unlisted"))?;
    let cannot_be_said = cannot_be_said(unlisted, about.field("has_session")?);
    let everybody = actors.is_empty() && addresses.is_empty();
    let view = ImpactView {
        from,
        to,
        whose: Whose {
            everybody,
            actors,
            addresses,
        },
        records,
        trails,
        unlisted,
        is_whole,
        cannot_be_said,
    };
    let entry = Entry::new("incident.view", "incident").ids([id]);
    Draft::ok(view)?.finish(tx, entry).await
}

fn window(
    asked: &Asked,
    opened_at: Timestamp,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Fault> {
    let day = SignedDuration::from_hours(24);
    let usual = opened_at.saturating_sub(day).unwrap_or(opened_at);
    let from = asked.from.map_or(usual, Instant::timestamp);
    let to = asked.to.map_or(now, Instant::timestamp);
    let length = to.duration_since(from);
    if length.is_negative() || length > day * i32::try_from(DAYS_MOST).unwrap_or(1) {
        let spoken = "a window has 92 days at most, and ends after it begins";
        return Err(Fault::new(problems::MALFORMED, spoken));
    }
    Ok((from, to))
}

/// What the ledger does not tell, of this incident or of any.
fn cannot_be_said(unlisted: i64, has_session: bool) -> Vec<&'static str> {
    let mut all = vec![
        "what was done with what was shown, once it had left",
        "what whoever controls the database read there: it is in no ledger",
        "what was seen in another studio: its owners ask their own ledger",
    ];
    if has_session {
        all.push("which of somebody's sessions a request came by: all of that person's are here");
    }
    if unlisted > 0 {
        all.push("which records stood in a long list from its hundred-and-first on: an entry has their number and a digest");
    }
    all
}

impl RecordView {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            resource: row.field("resource")?,
            id: row.field("id")?,
            requests: row.field("requests")?,
            first_at: row.field("first_at")?,
            last_at: row.field("last_at")?,
            actions: row.field("actions")?,
            actors: row.field("actors")?,
            addresses: row.field("addresses")?,
            opened: row.field("opened")?,
            is_changed: row.field("is_changed")?,
        })
    }
}

impl TrailView {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            actor: row.field("actor")?,
            address: row.field("address")?,
            is_of_incident: row.field("is_of_incident")?,
            requests: row.field("requests")?,
            refused: row.field("refused")?,
            records: row.field("records")?,
            first_at: row.field("first_at")?,
            last_at: row.field("last_at")?,
        })
    }
}

fn views<T>(rows: &[Row], view: fn(&Row) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    rows.iter().map(view).collect()
}
