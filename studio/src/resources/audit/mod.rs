//! The studio's ledger, for its owners: read, taken along, and verified without us.
//!
//! ```text
//! GET /v1/audit               newest first; by actor, action, resource, outcome, row, request and time
//! GET /v1/audit/export        from a number on, as JSON Lines, CSV, OCSF or the leaves to the letter
//! GET /v1/audit/checkpoints   what was signed, and the public keys to check it with
//! GET /v1/audit/checkpoint    the newest of it
//! GET /v1/audit/tile/…        hashes and leaves, as C2SP tlog-tiles lays them
//! GET /v1/audit/verify        the newest checkpoint against the tree, the newest entries against it
//! ```
//!
//! What is read here is an entry too. An entry is listed once it has its number, within a second.

mod export;
mod proof;
mod tiles;

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{CursorText, Id, Instant, Line, Query},
    door::{Routes, get},
};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, TenantId};

use super::{
    Class, Columns, Registered,
    page::{List, Page},
};
use crate::app::Desk;

/// A studio's ledger, for policies and for itself.
#[derive(Debug)]
pub struct Audit(TenantId);

super::of_studio!(Audit, "audit");

/// What may be done with the ledger.
pub mod actions {
    crate::resources::actions! { super::Audit: View "audit.view" }
}
use actions::View;

/// The ledger, for the register. Its tables are room 6's: the others are among the library's.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[COLUMNS],
    rows: &[],
    constraints: &[],
    routes,
};

const COLUMNS: Columns = Columns {
    table: "ledger.entries",
    columns: &[
        ("tenant_id", Class::Internal),
        ("entry_id", Class::Internal),
        ("at", Class::Internal),
        ("tickets", Class::Internal),
        ("leaf", Class::Internal),
        ("body", Class::Internal),
    ],
    retention: Retention::Log(Rule {
        name: "ledger",
        step: 100,
        since: "its writing",
        days: Days::new(7 * 365, 365, 30 * 365),
        then: Then::Remove,
    }),
};

fn routes(routes: Routes) -> Routes {
    routes
        .route(
            "/v1/audit",
            get(list)
                .says("who did what in the studio, newest first")
                .expensive()
                .needs::<View, Audit>(),
        )
        .route(
            "/v1/audit/export",
            get(export::export)
                .says("entries from a number on, a line each")
                .expensive()
                .needs::<View, Audit>(),
        )
        .route(
            "/v1/audit/checkpoints",
            get(proof::checkpoints)
                .says("signed checkpoints of the ledger, and the keys to check them with")
                .needs::<View, Audit>(),
        )
        .route(
            "/v1/audit/checkpoint",
            get(tiles::checkpoint)
                .says("the newest signed checkpoint, as C2SP tlog-tiles names it")
                .needs::<View, Audit>(),
        )
        .route(
            "/v1/audit/tile/{*tile}",
            get(tiles::tile)
                .says("hashes, or leaves each after its length, as C2SP tlog-tiles lays them")
                .needs::<View, Audit>(),
        )
        .route(
            "/v1/audit/verify",
            get(proof::verify)
                .says("checks the newest checkpoint, and the newest entries against it")
                .needs::<View, Audit>(),
        )
}

/// Entries from one number to another as OCSF events, for whoever may read them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn events(tx: &mut TenantTx, first: i64, last: i64) -> Result<Vec<Value>, Fault> {
    export::events(tx, first, last).await
}

/// Entries from a number on, a line each, for whoever may read them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn lines(tx: &mut TenantTx, from: i64, most: i64) -> Result<Vec<String>, Fault> {
    export::lines(tx, from, most).await
}

/// Entries from a number on as `/v1/audit` answers them, each with its leaf, for whoever may read them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn whole(tx: &mut TenantTx, from: i64, most: i64) -> Result<Vec<Value>, Fault> {
    export::whole(tx, from, most).await
}

/// What the page of the ledger loads and lets save, with the cookie of its session.
pub(crate) fn downloads(routes: Routes) -> Routes {
    routes
        .route(
            "/ui/audit/export",
            get(export::export)
                .page()
                .expensive()
                .needs::<View, Audit>(),
        )
        .route(
            "/ui/audit/checkpoints",
            get(proof::checkpoints).page().needs::<View, Audit>(),
        )
        .route(
            "/ui/audit/tile/{*tile}",
            get(tiles::tile).page().needs::<View, Audit>(),
        )
}

/// Which entries.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort,
    #[garde(dive)]
    actor: Option<Line<100>>,
    #[garde(dive)]
    action: Option<Line<100>>,
    #[garde(dive)]
    resource: Option<Line<100>>,
    #[garde(skip)]
    outcome: Option<Outcome>,
    /// A row that an entry names.
    #[garde(skip)]
    id: Option<Id>,
    #[garde(skip)]
    request_id: Option<Id>,
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

impl Asked {
    /// What is looked for, as the page of the ledger asks for it.
    pub(crate) fn filters(&self) -> [(&'static str, String); 4] {
        let text = |line: &Option<Line<100>>| line.as_deref().unwrap_or_default().to_owned();
        let outcome = self.outcome.map(Outcome::text).unwrap_or_default();
        [
            ("actor", text(&self.actor)),
            ("action", text(&self.action)),
            ("resource", text(&self.resource)),
            ("outcome", outcome.to_owned()),
        ]
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
enum Sort {
    #[default]
    #[serde(rename = "-seq")]
    Newest,
    #[serde(rename = "seq")]
    Oldest,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Outcome {
    Allowed,
    Refused,
    Failed,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A page of the ledger. `$2` to `$9` are the filters, `$10` and `$11` number and id after which the
/// page begins, `$12` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT l.seq, l.entry_id, e.leaf FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
             WHERE l.tenant_id = $1
               AND ($2::text IS NULL OR e.body ->> 'actor' = $2) AND ($3::text IS NULL OR e.body ->> 'action' = $3)
               AND ($4::text IS NULL OR e.body ->> 'resource' = $4) AND ($5::text IS NULL OR e.body ->> 'outcome' = $5)
               AND ($6::uuid IS NULL OR e.body -> 'ids' ? $6::text) AND ($7::uuid IS NULL OR e.entry_id = $7)
               AND ($8::timestamptz IS NULL OR e.at >= $8) AND ($9::timestamptz IS NULL OR e.at < $9)
               AND ($10::text IS NULL OR l.seq ", $after, " $10::bigint) AND ($11::uuid IS NULL OR l.entry_id <> $11)
             ORDER BY l.seq ", $direction, " LIMIT $12"
        ))
    };
}
const NEWEST: Read = list!("<", "DESC");
const OLDEST: Read = list!(">", "ASC");

/// An entry, as answered.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct EntryView {
    seq: i64,
    id: Uuid,
    time: Timestamp,
    request_id: Uuid,
    client_request_id: Option<String>,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    acted_by: Option<String>,
    role: String,
    action: String,
    resource: String,
    ids: Vec<Uuid>,
    ids_count: i64,
    ids_digest: Option<String>,
    outcome: String,
    rule: Option<String>,
    status: u16,
    address: Option<String>,
    client: Option<String>,
    purpose: Option<String>,
    #[serde(default)]
    opened: Vec<String>,
    changes: Vec<ChangeView>,
}

/// A row that was changed, and which of its columns.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "AuditChange")]
struct ChangeView {
    table: String,
    id: Option<Uuid>,
    columns: Vec<String>,
}

/// A leaf at its number.
struct Numbered {
    seq: i64,
    id: Uuid,
    leaf: String,
}

impl Numbered {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            seq: row.field("seq")?,
            id: row.field("entry_id")?,
            leaf: row.field("leaf")?,
        })
    }

    /// What is answered of it: the entry's members, its number and what changed.
    fn view(&self) -> Result<EntryView, Fault> {
        #[derive(Deserialize)]
        struct Leaf {
            changes: Value,
            entry: Map<String, Value>,
        }
        let unreadable =
            |error: serde_json::Error| Fault::bug(format!("reading entry {}: {error}", self.id));
        let Leaf { changes, mut entry } = serde_json::from_str(&self.leaf).map_err(unreadable)?;
        entry.insert("seq".to_owned(), self.seq.into());
        entry.insert("changes".to_owned(), changes);
        serde_json::from_value(entry.into()).map_err(unreadable)
    }
}

pub(crate) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<EntryView>>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let text = |line: Option<Line<100>>| line.map(Line::into_inner);
    let (actor, action, resource) = (text(asked.actor), text(asked.action), text(asked.resource));
    let outcome = asked.outcome.map(Outcome::text);
    let (id, request) = (asked.id.map(|Id(id)| id), asked.request_id.map(|Id(id)| id));
    let (from, to) = (
        asked.from.map(Instant::timestamp),
        asked.to.map(Instant::timestamp),
    );
    let filters: [&(dyn ToSql + Sync); 8] = [
        &actor, &action, &resource, &outcome, &id, &request, &from, &to,
    ];
    let scope = format!("audit {:?} {filters:?}", asked.sort);
    let page = Page::new(&tx, &desk, scope, asked.limit, asked.cursor)?;
    let read = match asked.sort {
        Sort::Newest => NEWEST,
        Sort::Oldest => OLDEST,
    };
    let rows = tx
        .read(read, &[&filters[..], &page.parameters()].concat())
        .await?;
    let entries = rows
        .iter()
        .map(Numbered::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let page = page.cut(&tx, &desk, entries, |entry| {
        (entry.seq.to_string(), entry.id)
    })?;
    let shown = page.try_map(|entry| entry.view())?;
    Draft::ok(shown)?
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}
