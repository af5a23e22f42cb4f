//! Makes exports, as the studio's service `custody`.
//!
//! ```text
//! clear    the parts that are in no export any more, some in each transaction
//! begin    another try
//! gather   in one snapshot, a thousand rows at a time; personal fields are opened, secrets left out
//! keep     when parts are full and every few seconds, in a transaction of its own: those parts, and how far it is
//! ready    once the entry of having gathered is durable
//! ```
//!
//! Whoever is killed leaves parts of a try that is no more: the next one begins anew. Whoever waits for the database says that
//! the try goes on. Whoever was given up nevertheless notices that there is a next one, and stops.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use uuid::Uuid;
use watertight_authority::{Allowed, Granted};
use watertight_custody::{
    archive::Snapshot,
    export::{self, Exported},
};
use watertight_tenancy::{Change, Read, Stored, Tell, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind as FaultKind, TenantId, problems};
use watertight_vault::{Holder, Place, Sealed};

use super::{Export, Kind, PART_COLUMN, State, actions::Make, columns, document::Document};
use crate::{
    app::App,
    jobs::retention::{begin_as_custody, snapshot_as_custody},
    resources::{Class, audit, classified},
};

/// The kind of work.
pub(crate) const KIND: &str = "exports";

/// Each statement of the gathering, and each pause between two, may take so long.
const STATEMENT_S: u32 = 600;
/// Whoever is at one says so at least so often, or is gone.
const PATIENCE_S: u32 = 20;
const PULSE_S: u32 = 5;
/// So often it is tried.
const TRIES: i32 = 5;
/// Where it stands as whom the ledger knows somebody.
const MEMBERS: &str = "tenancy.members";
/// So long the file is there.
const DAYS: i64 = 7;
/// So many are looked at in one round.
const ROUND: usize = 20;
/// So many parts, each of at most a mebibyte, are removed at once.
const CLEARED: i32 = 50;
/// So many entries of the ledger are read at once.
const ENTRIES: i64 = 1_000;

const DUE: Read = Read::new(concat!(
    "SELECT ",
    columns!(),
    " FROM studio.exports WHERE tenant_id = $1
       AND (state IN ('queued', 'running') OR state = 'ready' AND expires_at <= $2) ORDER BY created_at LIMIT 20",
));
const COUNT: Read = Read::new("SELECT count(*) AS many FROM ledger.leaves WHERE tenant_id = $1");
const BEGIN: Change = Change::new(
    "UPDATE studio.exports SET version = version + 1, updated_at = $4, state = $5, attempt = $6, done = 0, total = 0, parts = 0
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);
const KEEP: Change = Change::new(
    "UPDATE studio.exports SET version = version + 1, updated_at = $4, done = $5, total = $6, parts = $7
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);
const ADD: Tell = Tell::new("x3", "SELECT studio.keep_export_part($1)");
const CLEAR: Tell = Tell::new("x4", "SELECT studio.clear_export_parts($1) AS gone");
const READY: Change = Change::new(
    "UPDATE studio.exports SET version = version + 1, updated_at = $4, state = 'ready', opened = $5, expires_at = $6
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);
const TURN: Change = Change::new(
    "UPDATE studio.exports SET version = version + 1, updated_at = $4, state = $5
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// Does what is due in a studio. Says whether nothing is left: another worker may be at something.
pub(crate) async fn work(app: &App, studio: TenantId, lease_s: u32) -> Result<bool, Fault> {
    clear(app, studio).await?;
    let now = app.desk.clock.now();
    let mut tx = begin_as_custody(app, studio).await?;
    let due = tx.read(DUE, &[&now]).await?;
    let due = due
        .iter()
        .map(Export::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    tx.finish(Entry::new("export.work", "export"))
        .await
        .map(drop)?;
    let mut is_all = due.len() < ROUND;
    let patience = SignedDuration::from_secs(i64::from(lease_s.max(PATIENCE_S)));
    for export in &due {
        let done = match export.state {
            State::Ready => turn(app, export, State::Expired).await,
            State::Running if now.duration_since(export.updated_at) < patience => {
                is_all = false;
                continue;
            }
            _ => make(app, studio, export.id).await,
        };
        match done {
            // Another worker does it, or nobody may any more.
            Err(fault) if is_lost(&fault) => {}
            other => other?,
        }
    }
    Ok(is_all)
}

/// Removes the parts that are in no export any more.
async fn clear(app: &App, studio: TenantId) -> Result<(), Fault> {
    let (tenant, most) = (studio.to_string(), CLEARED.to_string());
    loop {
        let mut tx = begin_as_custody(app, studio).await?;
        tx.may_write()?;
        let cleared = tx.tell(CLEAR, &[&tenant, &most]).await?;
        let gone: i32 = cleared.first().map_or(Ok(0), |row| row.field("gone"))?;
        let entry = Entry::new("export.clear", "export").rule(gone.to_string());
        tx.commit(entry).await.map(drop)?;
        if gone < CLEARED {
            return Ok(());
        }
    }
}

/// Begins another try; none, when there were enough.
async fn begin(app: &App, studio: TenantId, id: Uuid) -> Result<Option<Export>, Fault> {
    let mut tx = begin_as_custody(app, studio).await?;
    let granted = tx.grant::<Make, Export>(id).await?;
    let (now, attempt) = (app.desk.clock.now(), granted.row().attempt + 1);
    let state = if attempt > TRIES {
        State::Failed
    } else {
        State::Running
    };
    let parameters: [&(dyn ToSql + Sync); 3] = [&now, &state.as_str(), &attempt];
    let (spent, _row) = tx.change(granted, BEGIN, &parameters).await?;
    let export = tx.written::<Export>(Export::LOAD, id).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    tx.commit(entry.rule(state.as_str())).await.map(drop)?;
    Ok((state == State::Running).then_some(export))
}

async fn make(app: &App, studio: TenantId, id: Uuid) -> Result<(), Fault> {
    let Some(export) = begin(app, studio, id).await? else {
        return Ok(());
    };
    let made = gather(app, &export).await;
    if made.as_ref().is_err_and(|fault| !is_lost(fault)) {
        turn(app, &export, State::Queued).await?;
    }
    made
}

/// Whether another worker was first.
fn is_lost(fault: &Fault) -> bool {
    matches!(fault.kind(), FaultKind::Conflict | FaultKind::Stale)
}

async fn gather(app: &App, export: &Export) -> Result<(), Fault> {
    let mut tx = snapshot_as_custody(app, export.tenant, "export", STATEMENT_S).await?;
    let mut making = Making::new(app, export, &mut tx).await?;
    making.gather(&mut tx).await?;
    let gathered = tx.finish(Entry::new("export.make", "export").ids([export.id]));
    gathered.await.map(drop)?;
    making.ready().await
}

/// The export in a transaction that goes on with it, if this is still the try that makes it.
async fn still(app: &App, export: &Export) -> Result<(TenantTx, Granted<Make, Export>), Fault> {
    let mut tx = begin_as_custody(app, export.tenant).await?;
    let granted = tx.grant::<Make, Export>(export.id).await?;
    let now = granted.row();
    if now.attempt == export.attempt && now.state == export.state {
        return Ok((tx, granted));
    }
    let spoken = "another worker makes it, or nobody may any more";
    Err(Fault::new(problems::CONFLICT, spoken))
}

/// Moves an export on to another state; `parameters` follow the time.
async fn step(
    app: &App,
    export: &Export,
    change: Change,
    parameters: &[&(dyn ToSql + Sync)],
    to: &str,
) -> Result<(), Fault> {
    let (mut tx, granted) = still(app, export).await?;
    let now = app.desk.clock.now();
    let parameters = [&[&now as &(dyn ToSql + Sync)], parameters].concat();
    let (spent, _row) = tx.change(granted, change, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([export.id]);
    tx.commit(entry.rule(to.to_owned())).await.map(drop)
}

/// Moves an export on to a state of which there is nothing else to say.
async fn turn(app: &App, export: &Export, to: State) -> Result<(), Fault> {
    step(app, export, TURN, &[&to.as_str()], to.as_str()).await
}

/// Waits for the database, however long it takes, and says meanwhile that the try goes on.
async fn waited<T>(
    app: &App,
    export: &Export,
    asked: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut asked = pin!(asked);
    loop {
        tokio::select! {
            answer = &mut asked => return answer,
            () = tokio::time::sleep(Duration::from_secs(PULSE_S.into())) => turn(app, export, export.state).await?,
        }
    }
}

/// An export that is being made.
struct Making<'a> {
    app: &'a App,
    export: &'a Export,
    tables: Vec<Exported>,
    document: Document,
    /// As whom the ledger knows the person.
    subjects: Vec<String>,
    opened: BTreeSet<&'static str>,
    done: i64,
    total: i64,
    kept_at: Timestamp,
}

impl<'a> Making<'a> {
    async fn new(app: &'a App, export: &'a Export, tx: &mut TenantTx) -> Result<Self, Fault> {
        let (mut tables, mut total) = (Vec::new(), 0);
        if export.kind == Kind::Ledger {
            let counted = waited(app, export, tx.read(COUNT, &[])).await?;
            total = counted.first().map_or(Ok(0), |row| row.field("many"))?;
        } else {
            tables = waited(app, export, export::tables(tx, export.about)).await?;
            total += tables.iter().map(|table| table.rows).sum::<i64>();
        }
        let checkpoint = Snapshot::of(tx).await?.checkpoint;
        let document = Document::new(export, tx.studio(), app.desk.clock.now(), checkpoint);
        Ok(Self {
            app,
            export,
            tables,
            document,
            subjects: Vec::new(),
            opened: BTreeSet::new(),
            done: 0,
            total,
            kept_at: app.desk.clock.now(),
        })
    }

    async fn gather(&mut self, tx: &mut TenantTx) -> Result<(), Fault> {
        let allowed = tx.allowed_to_gather::<Make, Export>(self.export);
        let allowed = allowed.ok_or_else(|| Fault::not_allowed().log("export.make"))?;
        for table in std::mem::take(&mut self.tables) {
            self.document.begin_table(&table.table);
            let mut after = None;
            loop {
                let about = self.export.about;
                let asked = export::page(tx, &table.table, about, after.as_deref());
                let page = waited(self.app, self.export, asked).await?;
                for line in &page.lines {
                    let row = self.open(tx, &allowed, &table, line).await?;
                    self.document.row(&row)?;
                }
                self.count(page.lines.len()).await?;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            self.document.end_table();
        }
        self.gather_entries(tx).await?;
        self.document.end();
        self.keep(true).await
    }

    /// The entries of the ledger: all of them, or what the person did; not what somebody did who acted as them.
    async fn gather_entries(&mut self, tx: &mut TenantTx) -> Result<(), Fault> {
        self.document.begin_entries();
        let mut from = (self.export.kind != Kind::Studio).then_some(0);
        while let Some(first) = from {
            let asked = audit::whole(tx, first, ENTRIES);
            let entries = waited(self.app, self.export, asked).await?;
            let last = entries.last().and_then(|entry| entry["seq"].as_i64());
            from = last.map(|last| last + 1);
            let mut given = 0;
            for entry in &entries {
                let by = entry["acted_by"].as_str().or(entry["actor"].as_str());
                let is_theirs = self
                    .subjects
                    .iter()
                    .any(|subject| Some(subject.as_str()) == by);
                if self.export.kind == Kind::Ledger || is_theirs {
                    self.document.entry(entry)?;
                    given += 1;
                }
            }
            let rows = if self.export.kind == Kind::Ledger {
                given
            } else {
                0
            };
            self.count(rows).await?;
        }
        Ok(())
    }

    /// A row as it is given out: by the register, personal fields opened, without what is secret or only found by.
    async fn open(
        &mut self,
        tx: &mut TenantTx,
        allowed: &Allowed<Make, Export>,
        table: &Exported,
        line: &str,
    ) -> Result<Map<String, Value>, Fault> {
        let unreadable = |why: &str| Fault::bug(format!("a row of `{}`: {why}", table.table));
        let row: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| unreadable(&error.to_string()))?;
        if table.table == MEMBERS
            && let Some(Value::String(subject)) = row.get("subject")
        {
            self.subjects.push(subject.clone());
        }
        let id = row.get("id").and_then(Value::as_str);
        let id = id.and_then(|id| id.parse().ok());
        let (mut given, mut keys) = (Map::new(), None);
        for (name, value) in row {
            let classified = classified(&table.table, &name);
            let (column, class) =
                classified.ok_or_else(|| unreadable(&format!("`{name}` is in no register")))?;
            match (class, value) {
                (Class::Public | Class::Internal, value) => {
                    given.insert(name, value);
                }
                (Class::Personal, Value::String(stored)) if table.sealed.contains(&name) => {
                    let id = id.ok_or_else(|| unreadable("a person without an id"))?;
                    if keys.is_none() {
                        let vault = &self.app.desk.vault;
                        keys = Some(vault.to_open(tx, Holder::Person(id)).await?);
                    }
                    let keys = keys.as_ref().ok_or_else(|| unreadable("no keys"))?;
                    let stored = hex::decode(stored.trim_start_matches("\\x"));
                    let stored = stored.map_err(|error| unreadable(&error.to_string()))?;
                    let sealed = Sealed::from_stored(stored);
                    let place = (table.table.as_str(), column);
                    let opened = keys.open_gathered(tx, allowed, place, id, &sealed)?;
                    self.opened.insert(column);
                    given.insert(name, opened.expose().into());
                }
                (Class::Personal, Value::Null) if table.sealed.contains(&name) => {
                    given.insert(name, Value::Null);
                }
                (Class::Personal | Class::Secret, _) => {}
            }
        }
        Ok(given)
    }

    /// So many more rows are in it. Kept is that now and then: of a large ledger each keeping would be an entry of its own.
    async fn count(&mut self, rows: usize) -> Result<(), Fault> {
        self.done += i64::try_from(rows).unwrap_or(i64::MAX);
        let since = self.app.desk.clock.now().duration_since(self.kept_at);
        if self.document.has_full_part() || since >= SignedDuration::from_secs(PULSE_S.into()) {
            self.keep(false).await?;
        }
        Ok(())
    }

    /// Keeps how far it is, and what is whole of the files.
    async fn keep(&mut self, is_end: bool) -> Result<(), Fault> {
        let parts = self.document.parts(is_end);
        let (mut tx, granted) = still(self.app, self.export).await?;
        self.kept_at = self.app.desk.clock.now();
        let json_parts = self.document.json_parts();
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.kept_at, &self.done, &self.total, &json_parts];
        let (spent, _row) = tx.change(granted, KEEP, &parameters).await?;
        if !parts.is_empty() {
            let keys = self.app.desk.vault.to_seal(&mut tx, Holder::Studio).await?;
            let (tenant, id) = (self.export.tenant.to_string(), self.export.id.to_string());
            let attempt = self.export.attempt.to_string();
            for part in parts {
                let row = self.app.desk.random.uuid();
                let column = PART_COLUMN;
                let sealed = keys.seal_document(Place { column, row }, &part.text)?;
                let (row, n) = (row.to_string(), part.n.to_string());
                let sealed = hex::encode(sealed.as_stored());
                let fields = [&tenant, &id, &attempt, &row, part.file, &n, &sealed];
                tx.tell(ADD, &fields).await?;
            }
        }
        let entry = Entry::new(spent.action(), spent.noun()).ids([self.export.id]);
        tx.commit(entry.rule("running")).await.map(drop)
    }

    async fn ready(self) -> Result<(), Fault> {
        let expires_at = self.app.desk.clock.now() + SignedDuration::from_hours(24 * DAYS);
        let opened: Vec<&str> = self.opened.iter().copied().collect();
        step(
            self.app,
            self.export,
            READY,
            &[&opened, &expires_at],
            "ready",
        )
        .await
    }
}
