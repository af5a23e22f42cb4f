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

use super::expect_seen;
use crate::app::Desk;

/// So many records, and so many trails, are named; `is_whole` says whether there are more.
const MOST: i64 = 1_000;
/// So long a window is looked through at once.
const DAYS_MOST: i64 = 92;

const WHOM: Read = Read::new(
    "SELECT opened_at, actors, members, digests, addresses, has_session FROM incident.whom($2) WHERE tenant_id = $1",
);
/// What those are called in the entries who were erased since.
const NAMES: Read =
    Read::new("SELECT name FROM ledger.names_in($1, $2, $3, $4) WHERE tenant_id = $1");

/// What people did in the window. Its entries are gone over once, by the index on their times.
macro_rules! in_window {
    () => {
        "t.tenant_id = $1 AND t.at BETWEEN $2 AND $3 AND t.body ->> 'role' NOT IN ('operator', 'service')"
    };
}

/// Of all of them, or of these and whoever acted as somebody else, or from these addresses.
macro_rules! theirs {
    () => {
        "(cardinality($4::text[]) + cardinality($5::text[]) = 0 OR t.body ->> 'actor' = ANY ($4)
           OR coalesce(t.body ->> 'acted_by' = ANY ($4), false) OR coalesce(t.body ->> 'address' = ANY ($5), false))"
    };
}

/// By the ids that entries name; of what no request accounts for, by the changes that the database noted. A leaf is taken apart
/// only where something changed, and once.
const RECORDS: Read = Read::new(concat!(
    "SELECT q.* FROM (WITH e AS MATERIALIZED (
       SELECT t.at, t.body ->> 'resource' AS resource, t.body ->> 'action' AS action, t.body ->> 'actor' AS actor,
         t.body ->> 'acted_by' AS acted_by, t.body ->> 'address' AS address, t.body -> 'ids' AS ids, nullif(t.body -> 'opened', '[]') AS opened,
         CASE WHEN starts_with(t.leaf, '{\"changes\":[]') THEN '[]' ELSE t.leaf::jsonb -> 'changes' END AS changes
       FROM ledger.entries t WHERE ",
    in_window!(),
    " AND ",
    theirs!(),
    " AND t.body ->> 'outcome' = 'allowed'
     ), r AS (
       SELECT e.resource, i.id, e.action, e.actor, e.acted_by, e.address, e.opened, e.at,
         e.changes @> jsonb_build_array(jsonb_build_object('id', i.id)) AS is_changed
       FROM e CROSS JOIN LATERAL jsonb_array_elements_text(e.ids) i (id)
       UNION ALL SELECT c ->> 'table', c ->> 'id', e.action, e.actor, e.acted_by, e.address, NULL, e.at, true
       FROM e CROSS JOIN LATERAL jsonb_array_elements(e.changes) c WHERE e.action = 'database.change' AND c ->> 'id' IS NOT NULL
     ), g AS (
       SELECT r.resource, r.id, r.action, r.actor, r.acted_by, r.address, r.opened, count(*) AS requests, min(r.at) AS first_at,
         max(r.at) AS last_at, bool_or(r.is_changed) AS is_changed
       FROM r GROUP BY 1, 2, 3, 4, 5, 6, 7
     ), s AS (
       SELECT g.resource, g.id::uuid AS id, sum(g.requests)::bigint AS requests, min(g.first_at) AS first_at, max(g.last_at) AS last_at,
         array_agg(DISTINCT g.action) AS actions, array_agg(DISTINCT g.actor) AS actors,
         array_remove(array_agg(DISTINCT g.acted_by), NULL) AS acted_by, array_remove(array_agg(DISTINCT g.address), NULL) AS addresses,
         jsonb_agg(DISTINCT g.opened) FILTER (WHERE g.opened IS NOT NULL) AS shown, bool_or(g.is_changed) AS is_changed
       FROM g GROUP BY 1, 2 ORDER BY last_at DESC, 2 LIMIT $6
     ) SELECT s.*, ARRAY(SELECT DISTINCT f.field FROM jsonb_array_elements(s.shown) o (fields), jsonb_array_elements_text(o.fields) f (field)
         ORDER BY f.field) AS opened FROM s) q ORDER BY q.last_at DESC, q.id",
));

/// Whoever used one of their addresses in the window, and wherever they were, with what was done there; and of how many
/// records of theirs no entry has the id.
const TRAILS: Read = Read::new(concat!(
    "SELECT q.* FROM (WITH e AS (
       SELECT t.at, t.body ->> 'actor' AS actor, t.body ->> 'acted_by' AS acted_by, t.body ->> 'address' AS address,
         t.body ->> 'outcome' <> 'allowed' AS is_refused, (t.body ->> 'ids_count')::bigint AS many,
         jsonb_array_length(t.body -> 'ids') AS named, ",
    theirs!(),
    " AS is_of_incident FROM ledger.entries t WHERE ",
    in_window!(),
    "), g AS (
       SELECT e.actor, e.acted_by, e.address, e.is_of_incident, min(e.at) AS first_at, max(e.at) AS last_at, count(*) AS requests,
         count(*) FILTER (WHERE e.is_refused) AS refused, sum(e.many)::bigint AS records,
         sum(e.many - e.named) FILTER (WHERE e.is_of_incident AND NOT e.is_refused) AS unlisted
       FROM e GROUP BY 1, 2, 3, 4
     ) SELECT g.actor, g.acted_by, g.address, g.is_of_incident, g.first_at, g.last_at, g.requests, g.refused, g.records,
         coalesce(sum(g.unlisted) OVER (), 0)::bigint AS unlisted
       FROM g WHERE g.actor IN (SELECT i.actor FROM g i WHERE i.is_of_incident)
         OR g.address IN (SELECT i.address FROM g i WHERE i.is_of_incident)
       ORDER BY g.last_at DESC, g.actor, g.acted_by, g.address LIMIT $6) q ORDER BY q.last_at DESC, q.actor, q.acted_by, q.address",
));

/// The window: from a day before it was opened until now, unless said; of 92 days at most.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

/// What was touched, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Impact")]
pub(crate) struct ImpactView {
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
    /// By whom; `member:ID` where the database noted a change that no request accounts for.
    actors: Vec<String>,
    /// Who acted as them.
    acted_by: Vec<String>,
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
    /// Who acted as them.
    acted_by: Option<String>,
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

pub(crate) async fn impact(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Answer<ImpactView>, Fault> {
    expect_seen(&mut tx)?;
    let rows = tx.read(WHOM, &[&id]).await?;
    let about = rows.first().ok_or_else(Fault::unseen)?;
    let now = desk.clock.now();
    let window = window((asked.from, asked.to), about.field("opened_at")?, now);
    let (from, to) = window.ok_or_else(|| Fault::new(problems::MALFORMED, NO_WINDOW))?;
    let (actors, addresses): (Vec<String>, Vec<String>) =
        (about.field("actors")?, about.field("addresses")?);
    let members: Vec<String> = about.field("members")?;
    let digests: Vec<String> = about.field("digests")?;
    let has_session = about.field("has_session")?;
    let rows = tx.read(NAMES, &[&from, &to, &digests]).await?;
    let erased: Vec<String> = views(&rows, |row| row.field("name"))?;
    let (names, one_more) = ([&actors[..], &members, &erased].concat(), MOST + 1);
    let bounded: [&(dyn ToSql + Sync); 5] = [&from, &to, &names, &addresses, &one_more];
    let mut records = views(&tx.read(RECORDS, &bounded).await?, RecordView::from_row)?;
    let rows = tx.read(TRAILS, &bounded).await?;
    let unlisted = rows.first().map_or(Ok(0), |row| row.field("unlisted"))?;
    let mut trails = views(&rows, TrailView::from_row)?;
    let most = usize::try_from(MOST).unwrap_or_default();
    let is_whole = records.len() <= most && trails.len() <= most;
    records.truncate(most);
    trails.truncate(most);
    let cannot_be_said = cannot_be_said(unlisted, has_session);
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

/// What is said of a window that is none.
pub(super) const NO_WINDOW: &str = "a window has 92 days at most, and ends after it begins";

/// From when until when something is asked about that is said of an incident: of 92 days at most.
pub(super) fn window(
    (from, to): (Option<Instant>, Option<Instant>),
    opened_at: Timestamp,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let day = SignedDuration::from_hours(24);
    let longest = day * i32::try_from(DAYS_MOST).unwrap_or(1);
    let (from, to) = (from.map(Instant::timestamp), to.map(Instant::timestamp));
    // An incident of long ago is asked about as it began, not until today.
    let from = from.unwrap_or_else(|| {
        let usual = opened_at.saturating_sub(day).unwrap_or(opened_at);
        let earliest = to.map(|to| to.saturating_sub(longest).unwrap_or(to));
        usual.max(earliest.unwrap_or(usual))
    });
    let to = to.unwrap_or_else(|| now.min(from.saturating_add(longest).unwrap_or(now)));
    let length = to.duration_since(from);
    (!length.is_negative() && length <= longest).then_some((from, to))
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
            acted_by: row.field("acted_by")?,
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
            acted_by: row.field("acted_by")?,
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
