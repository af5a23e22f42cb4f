//! Evidence of incidents: made as the studio's service `evidence`, of a studio that is frozen too, and encrypted from the first
//! byte to the studio's own recipients. `docs/formats/evidence.md` says what is in it.
//!
//! ```text
//! begin_bundles   what operators asked for
//! snapshot        of one instant: the incident, how the database keeps studios apart, a stretch of the log
//! end_bundle      the file's name, length and digest, once it is on the disk; or why there is none
//! ```

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_custody::archive::{
    ArchiveFault, FORMAT, Folder, Head, Kind, Part, Recipients, TableHead, Writer,
};
use watertight_identity::{Caller, ServiceName};
use watertight_ledger::{Stretch, verifier_keys};
use watertight_tenancy::{Read, Row, Tell, TenantTx};
use watertight_terms::{Entry, Fault, TenantId};

use super::{archive, begin, request};
use crate::{app::App, resources};

/// The kind of work.
pub(super) const KIND: &str = "evidence";
/// The service as which it acts.
const EVIDENCE: ServiceName = ServiceName::new("evidence");
/// Each statement of it, and each pause between two, may take so long.
const STATEMENT_S: u32 = 600;
/// Entries get their checkpoint within a second; that is waited for, so often and so long each time.
const LOOKS_MOST: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(500);

const BEGIN: Tell = Tell::new(
    "i5",
    "SELECT id, incident_id, starts_at, ends_at, is_ours FROM incident.begin_bundles($1)",
);
const END: Tell = Tell::new("i6", "SELECT incident.end_bundle($1) AS is_ours");
const FACTS: Read = Read::new("SELECT part, line FROM incident.facts($2) WHERE tenant_id = $1");

/// The parts of a bundle, in their order. Those of the database come first.
const FACTS_OF_DATABASE: [&str; 5] = ["incident", "versions", "roles", "tables", "policies"];
const RULES: &str = "rules";
const KEYS: &str = "ledger.keys";
const CHECKPOINTS: &str = "ledger.checkpoints";
const RANGE: &str = "ledger.range";
const EDGE: &str = "ledger.edge";
const LEAVES: &str = "ledger.leaves";

/// What was asked for.
struct Bundle {
    studio: TenantId,
    id: Uuid,
    incident: Uuid,
    from: Timestamp,
    to: Timestamp,
}

impl Bundle {
    fn from_row(studio: TenantId, row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            studio,
            id: row.field("id")?,
            incident: row.field("incident_id")?,
            from: row.field("starts_at")?,
            to: row.field("ends_at")?,
        })
    }
}

/// A file that was written.
struct Made {
    path: PathBuf,
    name: String,
    bytes: u64,
    sha256: String,
}

/// Makes what is asked for in a studio. Says whether nothing is left to be made now.
///
/// # Errors
/// When something could not be made, of which the database knows when it is tried again; when the database cannot be reached, or
/// the studio is being frozen at this moment.
pub(super) async fn work(app: &App, studio: TenantId) -> Result<bool, Fault> {
    let mut tx = begin(&app.tenancy, &app.desk, EVIDENCE, studio, "worker").await?;
    let rows = tx.tell(BEGIN, &[&studio.to_string()]).await?;
    let (mut begun, mut is_all, mut failed) = (Vec::new(), true, None);
    for row in &rows {
        if row.field("is_ours")? {
            begun.push(Bundle::from_row(studio, row)?);
        } else {
            is_all = false;
        }
    }
    let ids = begun.iter().map(|bundle| bundle.id);
    let entry = Entry::new("evidence.begin", "incident").ids(ids);
    tx.commit(entry).await.map(drop)?;
    for bundle in begun {
        let made = make(app, &bundle).await;
        if let Err(fault) = &made {
            let spoken = "evidence could not be made";
            failed = Some(Fault::unavailable(spoken, 60).log(fault.to_string()));
        }
        settle(app, &bundle, made).await?;
    }
    failed.map_or(Ok(is_all), Err)
}

/// Whether it may be made the next time. Who is to open it, and where it is to be, is for whoever runs the server to say.
fn passes(fault: &ArchiveFault) -> bool {
    match fault {
        ArchiveFault::Database(_) => true,
        ArchiveFault::File(_, error) => error.kind() != io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Notes what came of it; what passes is tried again. A file of which another worker was first is removed.
async fn settle(app: &App, bundle: &Bundle, made: Result<Made, ArchiveFault>) -> Result<(), Fault> {
    let mut tx = begin(&app.tenancy, &app.desk, EVIDENCE, bundle.studio, "worker").await?;
    let (studio, id) = (bundle.studio.to_string(), bundle.id.to_string());
    let (name, bytes, sha256, failed) = match &made {
        Ok(made) => (
            &*made.name,
            made.bytes.to_string(),
            &*made.sha256,
            String::new(),
        ),
        Err(fault) => ("", String::new(), "", hex::encode(fault.to_string())),
    };
    let (again, rule) = match &made {
        Ok(_) => ("", sha256),
        Err(fault) if passes(fault) => ("again", "again"),
        Err(_) => ("", "failed"),
    };
    let fields = [&*studio, &id, name, &bytes, sha256, &failed, again];
    let rows = tx.tell(END, &fields).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a bundle was ended without an answer"))?;
    let is_ours: bool = row.field("is_ours")?;
    let entry = Entry::new("evidence.make", "incident").ids([bundle.incident, bundle.id]);
    tx.commit(entry.rule(rule)).await.map(drop)?;
    if let (Ok(made), false) = (&made, is_ours) {
        // What cannot be removed is as good, and stands in nobody's record.
        let _ = fs::remove_file(&made.path);
    }
    Ok(())
}

async fn make(app: &App, bundle: &Bundle) -> Result<Made, ArchiveFault> {
    // Before anything is read: without recipients there is nothing to be done.
    let recipients = archive::recipients(&app.config, bundle.studio)?;
    let folder = archive::folder(&app.config)?;
    let (mut tx, stretch) = covered(app, bundle).await?;
    let written = write(app, bundle, &stretch, &mut tx, &folder, &recipients);
    let (part, bytes, sha256) = written.await?;
    let entry = Entry::new("evidence.read", "incident").ids([bundle.incident, bundle.id]);
    // What was read is noted before anybody has it.
    tx.finish(entry).await.map(drop)?;
    let path = part.finish()?;
    let name = path.file_name().unwrap_or_default();
    Ok(Made {
        name: name.to_string_lossy().into_owned(),
        path,
        bytes,
        sha256,
    })
}

/// A snapshot in which all of the window stands under a checkpoint: what does not could not be told from what was added.
async fn covered(app: &App, bundle: &Bundle) -> Result<(TenantTx, Stretch), Fault> {
    for _ in 0..LOOKS_MOST {
        let mut tx = snapshot(app, bundle.studio).await?;
        let stretch = Stretch::of(&mut tx, bundle.from, bundle.to).await?;
        if stretch.is_covered() {
            return Ok((tx, stretch));
        }
        let entry = Entry::new("evidence.wait", "incident").ids([bundle.incident, bundle.id]);
        tx.finish(entry).await.map(drop)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let spoken = "entries of the window stand under no checkpoint yet; is a server at work?";
    Err(Fault::unavailable(spoken, 60))
}

/// A transaction that sees the studio at one instant.
async fn snapshot(app: &App, studio: TenantId) -> Result<TenantTx, Fault> {
    let caller = Caller::service(EVIDENCE, studio);
    let begun = app
        .tenancy
        .begin_snapshot(&caller, request(&app.desk, "worker"));
    let mut tx = begun.await.map_err(|refused| refused.fault)?;
    tx.take_longer(STATEMENT_S).await?;
    Ok(tx)
}

/// A file that has no name yet, its length and its digest.
type Written = (Part, u64, String);

async fn write(
    app: &App,
    bundle: &Bundle,
    stretch: &Stretch,
    tx: &mut TenantTx,
    folder: &Folder,
    recipients: &Recipients,
) -> Result<Written, ArchiveFault> {
    let now = app.desk.clock.now();
    let part = folder.begin(bundle.studio, Kind::Evidence, now, &app.desk.random)?;
    let ring = (app.desk.checkpoint_keys)();
    let mut writer = Writer::new(Hashing::new(&part.file), recipients, head(bundle, now))?;
    let facts = tx.read(FACTS, &[&bundle.incident]).await?;
    for name in FACTS_OF_DATABASE {
        writer.table(name)?;
        for row in &facts {
            if row.field::<String>("part")? == name {
                let line: Value = row.field("line")?;
                writer.row(&completed(app, name, line).to_string())?;
            }
        }
    }
    writer.table(RULES)?;
    for (noun, policy) in resources::policies() {
        writer.row(&json!({ "of": noun, "policy": policy }).to_string())?;
    }
    let keys = verifier_keys(&ring, bundle.studio)?;
    let keys = keys.into_iter().map(|key| json!({ "key": key })).collect();
    let checkpoints = stretch.checkpoints(tx).await?;
    let newest = checkpoints
        .last()
        .and_then(|newest| newest["note"].as_str());
    let newest = newest.map(str::to_owned);
    rows(&mut writer, KEYS, keys)?;
    rows(&mut writer, CHECKPOINTS, checkpoints)?;
    rows(&mut writer, RANGE, vec![stretch.range()])?;
    rows(&mut writer, EDGE, vec![stretch.edge(tx).await?])?;
    writer.table(LEAVES)?;
    let mut from = None;
    loop {
        let (leaves, next) = stretch.page(tx, from).await?;
        for leaf in leaves {
            writer.row(&leaf.to_string())?;
        }
        if next.is_none() {
            break;
        }
        from = next;
    }
    let (to, _) = writer.finish(newest, &ring)?;
    let (bytes, sha256) = to.sum();
    Ok((part, bytes, sha256))
}

fn rows<W: Write>(
    writer: &mut Writer<W>,
    name: &str,
    rows: Vec<Value>,
) -> Result<(), ArchiveFault> {
    writer.table(name)?;
    rows.iter().try_for_each(|row| writer.row(&row.to_string()))
}

fn head(bundle: &Bundle, now: Timestamp) -> Head {
    let further = [RULES, KEYS, CHECKPOINTS, RANGE, EDGE, LEAVES];
    let parts = FACTS_OF_DATABASE.into_iter().chain(further);
    let tables = parts.map(|part| TableHead {
        table: part.to_owned(),
        columns: Vec::new(),
        is_restored: false,
    });
    Head {
        format: FORMAT.to_owned(),
        kind: Kind::Evidence,
        studio: bundle.studio,
        made_at: now,
        pair: bundle.id,
        schema: archive::schema(),
        tables: tables.collect(),
    }
}

/// What the database does not know of the versions.
fn completed(app: &App, part: &str, mut line: Value) -> Value {
    if let (Some(versions), "versions") = (line.as_object_mut(), part) {
        let known = [
            ("studio", json!(env!("CARGO_PKG_VERSION"))),
            ("configuration", json!(app.config.digest)),
        ];
        versions.extend(known.map(|(name, value)| (name.to_owned(), value)));
    }
    line
}

/// Counts and hashes what is written to a file.
struct Hashing<'a> {
    file: &'a File,
    bytes: u64,
    digest: Context,
}

impl<'a> Hashing<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            bytes: 0,
            digest: Context::new(&SHA256),
        }
    }

    fn sum(self) -> (u64, String) {
        (self.bytes, hex::encode(self.digest.finish()))
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let (taken, _) = bytes.split_at(written);
        self.digest.update(taken);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
