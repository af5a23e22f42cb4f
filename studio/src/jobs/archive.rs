//! Archives of studios: written from one snapshot, and brought back in one transaction, as the studio's service
//! `custody`.
//!
//! Whoever is killed while writing leaves no archive, and while bringing back leaves the studio as it was; nothing but
//! running it again is to be done. While a studio is brought back it is not available, and the others work on.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use tokio::sync::mpsc;
use watertight_custody::archive::{
    ArchiveFault, Became, FORMAT, Folder, Head, Identities, Kind, Manifest, Recipients, Restoring,
    Seen, Snapshot, TableHead, Writer, keys_missing, put_keys, read,
};
use watertight_identity::ServiceName;
use watertight_tenancy::{Tell, Tenancy, TenantTx};
use watertight_terms::{Entry, Fault, KeyRing, TenantId, problems};

use super::{begin, retention::snapshot_as_custody};
use crate::{app::App, commands::migrations, config::Config};

/// The service as which it acts.
const CUSTODY: ServiceName = ServiceName::new("custody");

/// The one that a frozen studio is brought back as, and nothing else is done as.
const RESTORE: ServiceName = ServiceName::new("restore");

/// What the ledger calls where it asks from.
const FROM: &str = "archive";

/// Each statement of it, and each pause between two, may take so long.
const STATEMENT_S: u32 = 600;

/// Rows are brought in batches of at most so many, and of about so many bytes.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 256 << 10;

/// So many batches wait, at most, while the database takes one.
const BATCHES_WAITING: usize = 2;

/// Both archives of a studio.
#[derive(Debug)]
pub struct Written {
    /// Its rows.
    pub data: (PathBuf, Manifest),
    /// Its wrapped keys.
    pub keys: (PathBuf, Manifest),
}

/// The folder of the archives.
///
/// # Errors
/// When none is named.
pub fn folder(config: &Config) -> Result<Folder, ArchiveFault> {
    let folder = config.backup.folder.as_ref();
    folder.map(Folder::new).ok_or(ArchiveFault::NoFolder)
}

/// What is known of how old the archives of all studios are.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// So many active studios have none that is young enough.
    pub missing: i64,
    /// When the newest archive was made of the studio whose is the oldest; a studio without one counts from when it was made itself.
    pub oldest: Option<Timestamp>,
}

const ARCHIVED: Tell = Tell::new("y6", "SELECT many, since FROM watch.archived($1)");

/// How old archives are of the studios that are active, of which each one's newest is known: which these studios are the database
/// knows, and tells nobody.
///
/// # Errors
/// When the database cannot be reached.
pub async fn ages(
    tenancy: &Tenancy,
    newest: BTreeMap<TenantId, Timestamp>,
    hours: u32,
) -> Result<Ages, Fault> {
    let newest = newest.into_iter();
    let newest = newest.map(|(studio, at)| format!("{studio}:{}", at.as_second()));
    let newest: Vec<String> = newest.collect();
    let fields = [&*newest.join(","), &hours.to_string()];
    let rows = tenancy.tell(ARCHIVED, &fields).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("archives were asked about without an answer"))?;
    Ok(Ages {
        missing: row.field("many")?,
        oldest: row.field("since")?,
    })
}

/// To whom that studio's archives are encrypted.
///
/// # Errors
/// When it is nobody, or the file cannot be read.
pub fn recipients(config: &Config, studio: TenantId) -> Result<Recipients, ArchiveFault> {
    let named = config.backup.recipients_file.as_ref();
    let named = named.ok_or(ArchiveFault::NoRecipients)?;
    let path = named.replace("{studio}", &studio.to_string());
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ArchiveFault::File(format!("the recipients `{path}`"), error))?;
    Recipients::parse(&text)
}

/// Writes both archives of a studio, from one snapshot. `tell` hears of each page: the table, and its rows so far.
///
/// # Errors
/// When the studio is not available, or the folder cannot be written to. Nothing is left then.
pub async fn write(
    app: &App,
    studio: TenantId,
    folder: &Folder,
    recipients: &Recipients,
    tell: impl FnMut(&str, u64),
) -> Result<Written, ArchiveFault> {
    let at = app.desk.clock.now();
    write_dated(app, studio, at, folder, recipients, tell).await
}

/// The same of a cluster that is as it was at that instant: the archives say that they were made then.
pub(super) async fn write_dated(
    app: &App,
    studio: TenantId,
    at: Timestamp,
    folder: &Folder,
    recipients: &Recipients,
    mut tell: impl FnMut(&str, u64),
) -> Result<Written, ArchiveFault> {
    let desk = &app.desk;
    let mut tx = snapshot_as_custody(app, studio, FROM, STATEMENT_S).await?;
    let snapshot = Snapshot::of(&mut tx).await?;
    let pair = desk.random.uuid();
    let mut parts = Vec::new();
    for kind in [Kind::Data, Kind::Keys] {
        let part = folder.begin(studio, kind, at, &desk.random)?;
        let head = Head {
            format: FORMAT.to_owned(),
            kind,
            studio,
            made_at: at,
            pair,
            schema: schema(),
            tables: snapshot.tables(kind),
        };
        let mut writer = Writer::new(&part.file, recipients, head)?;
        snapshot
            .write(&mut tx, kind, &mut writer, &mut tell)
            .await?;
        let ring = (desk.checkpoint_keys)();
        let (_, manifest) = writer.finish(snapshot.checkpoint.clone(), &ring)?;
        parts.push((part, manifest));
    }
    // What is read is noted before anybody has it.
    let entry = Entry::new("studio.backup", "archive").ids([pair]);
    tx.finish(entry).await.map(drop)?;
    let Ok([data, keys]) = <[_; 2]>::try_from(parts) else {
        return Err(Fault::bug("other archives than two").into());
    };
    // An archive of data is one that can be brought back: its keys are there before it.
    let keys = (keys.0.finish()?, keys.1);
    let done = data.0.finish().inspect_err(|_| {
        let _ = std::fs::remove_file(&keys.0);
    });
    Ok(Written {
        data: (done?, data.1),
        keys,
    })
}

/// What a restore is of.
#[derive(Debug)]
pub struct Wanted {
    /// The archive.
    pub archive: PathBuf,
    /// What opens it.
    pub identities: Arc<Identities>,
    /// Into which studio; its own, unless said.
    pub into: Option<TenantId>,
    /// Sealed values that nobody could open are not waited for: what is there now stays in their place.
    pub without_unreadable: bool,
}

/// What a restore did, or would do.
#[derive(Debug)]
pub struct Restored {
    /// Of which archive.
    pub manifest: Manifest,
    /// Into which studio.
    pub studio: TenantId,
    /// What became of each table.
    pub tables: Vec<Became>,
    /// How many who held on to the studio were ended.
    pub ended: i32,
}

/// Why a studio is not brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFault {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// It holds keys.
    #[error(
        "this archive holds wrapped keys: they come back into their own studio alone, and without a plan"
    )]
    Keys,
    /// It holds what happened.
    #[error("this is evidence of an incident: nothing of it is brought back; take an archive")]
    Evidence,
    /// The studio has others meanwhile.
    #[error(
        "{0} keys of the studio are others now, or need a key-encryption key that is out of use; nothing was changed"
    )]
    OtherKeys(i64),
    /// The studio's values were sealed with newer ones.
    #[error(
        "{0} keys that the studio's values need are neither there nor in this archive; take one of after the last rotation"
    )]
    OlderKeys(i64),
    /// Its tables are others.
    #[error(
        "`{0}` had other columns when the archive was written; restore it with the release of then, and migrate after that"
    )]
    Schema(String),
    /// Values that nobody could open.
    #[error(
        "{0} sealed values of it need keys that are destroyed; take an archive of after the last rotation or erasure, or \
         say `--without-unreadable`: then what is there now stays in their place"
    )]
    Unreadable(i64),
    /// The studio that is to take it has rows of its own.
    #[error(
        "the studio that is to take it has work of its own; make a new one with `studio create`"
    )]
    Taken,
    /// Rows refer to others that are no more.
    #[error(
        "what comes back refers to rows that are about somebody who was forgotten since; nothing was changed"
    )]
    Dangling,
    /// Counts.
    #[error("`{0}` would have {1} rows and the manifest says {2}; nothing was changed")]
    Count(String, i64, i64),
}

impl From<Fault> for RestoreFault {
    fn from(fault: Fault) -> Self {
        Self::Archive(fault.into())
    }
}

/// Says what a restore would do. Nothing is changed, and nobody waits for it.
///
/// # Errors
/// As [`restore`].
pub async fn plan(app: &App, wanted: &Wanted) -> Result<Restored, RestoreFault> {
    let (tx, _, restored) = prepare(app, wanted, false, |_, _| {}).await?;
    let entry = Entry::new("studio.restore.plan", "archive").ids([restored.manifest.head.pair]);
    tx.finish(entry).await.map(drop)?;
    Ok(restored)
}

/// Brings a studio back to what the archive says: in one transaction, in which nobody else is in it.
///
/// # Errors
/// When the archive is not to be believed, the studio not available, something under a legal hold would change, or
/// what comes back is not what the manifest says. Nothing is changed then.
pub async fn restore(
    app: &App,
    wanted: &Wanted,
    tell: impl FnMut(&str, u64),
) -> Result<Restored, RestoreFault> {
    let (mut tx, restoring, restored) = prepare(app, wanted, true, tell).await?;
    let unreadable = restored.tables.iter().map(|table| table.unreadable).sum();
    if unreadable > 0 && !wanted.without_unreadable {
        return Err(RestoreFault::Unreadable(unreadable));
    }
    let mut work = restored
        .tables
        .iter()
        .filter(|table| table.table != SETTINGS);
    if wanted.into.is_some() && work.any(|table| table.removed + table.changed > 0) {
        return Err(RestoreFault::Taken);
    }
    let present = restoring
        .end(&mut tx)
        .await
        .map_err(|fault| match fault.slug() {
            "invalid" => RestoreFault::Dangling,
            _ => fault.into(),
        })?;
    for (came, (table, present)) in restored.tables.iter().zip(present) {
        let expected = came.came - came.forgotten;
        if table != came.table || present != expected {
            return Err(RestoreFault::Count(table, present, expected));
        }
    }
    let head = &restored.manifest.head;
    let entry = Entry::new("studio.restore", "archive").ids([head.pair]);
    tx.commit(entry.rule(head.made_at.to_string()))
        .await
        .map(drop)?;
    Ok(restored)
}

/// Puts a studio's wrapped keys back that the cluster lost, in one transaction: first its own, then its people's. Gives how many
/// came, and how many are somebody's who was forgotten.
///
/// # Errors
/// When the archive is not to be believed or is one of data, or when the studio has other keys meanwhile, or needs newer ones.
/// Nothing is changed then.
pub async fn restore_keys(app: &App, wanted: &Wanted) -> Result<(i64, i64), RestoreFault> {
    let (manifest, batches) = gathered(app, wanted).await?;
    if manifest.head.kind != Kind::Keys || wanted.into.is_some() {
        return Err(RestoreFault::Keys);
    }
    let mut tx = begin_restoring(app, manifest.head.studio).await?;
    tx.take_longer(STATEMENT_S).await?;
    let (mut added, mut forgotten) = (0, 0);
    for (table, rows) in batches {
        let became = put_keys(&mut tx, &table, &rows).await?;
        if became.others > 0 {
            return Err(RestoreFault::OtherKeys(became.others));
        }
        added += became.added;
        forgotten += became.forgotten;
    }
    let missing = keys_missing(&mut tx).await?;
    if missing > 0 {
        return Err(RestoreFault::OlderKeys(missing));
    }
    let entry = Entry::new("key.restore", "archive").ids([manifest.head.pair]);
    let made_at = manifest.head.made_at.to_string();
    tx.commit(entry.rule(made_at)).await.map(drop)?;
    Ok((added, forgotten))
}

/// An archive of keys, whole: they are few and small. Nothing of it is used before all of it was verified.
async fn gathered(app: &App, wanted: &Wanted) -> Result<(Manifest, Vec<Batch>), RestoreFault> {
    let ring = (app.desk.checkpoint_keys)();
    let (batches, mut arriving) = mpsc::channel(BATCHES_WAITING);
    let tables = ["vault.studio_keys", "vault.person_keys"].map(str::to_owned);
    let reading = verified(wanted, &ring, Some((tables.into(), batches)));
    let gathering = async {
        let mut all = Vec::new();
        while let Some(batch) = arriving.recv().await {
            all.push(batch);
        }
        all
    };
    let (manifest, all) = tokio::join!(reading, gathering);
    Ok((manifest?, all))
}

/// A transaction that brings a studio back, while it is frozen, too.
async fn begin_restoring(app: &App, studio: TenantId) -> Result<TenantTx, Fault> {
    match begin(&app.tenancy, &app.desk, CUSTODY, studio, FROM).await {
        Err(fault) if fault.slug() == problems::FROZEN.slug() => {
            begin(&app.tenancy, &app.desk, RESTORE, studio, FROM).await
        }
        begun => begun,
    }
}

/// The one table of work that a new studio has a row in.
const SETTINGS: &str = "studio.settings";

/// Verifies the archive, then brings its rows to the database, where they wait beside those that are there.
async fn prepare(
    app: &App,
    wanted: &Wanted,
    is_run: bool,
    mut tell: impl FnMut(&str, u64),
) -> Result<(TenantTx, Restoring, Restored), RestoreFault> {
    let ring = (app.desk.checkpoint_keys)();
    // All of it first: nothing that is not signed gets as far as the database.
    let manifest = verified(wanted, &ring, None).await?;
    match manifest.head.kind {
        Kind::Data => {}
        Kind::Keys => return Err(RestoreFault::Keys),
        Kind::Evidence => return Err(RestoreFault::Evidence),
    }
    let studio = wanted.into.unwrap_or(manifest.head.studio);
    let mut tx = begin_restoring(app, studio).await?;
    tx.take_longer(STATEMENT_S).await?;
    let now = Snapshot::of(&mut tx).await?.tables(Kind::Data);
    fits(&manifest.head.tables, &now)?;
    let mut restoring =
        Restoring::begin(&mut tx, &manifest.head.tables, manifest.head.studio).await?;
    let (batches, mut arriving) = mpsc::channel(BATCHES_WAITING);
    let again = verified(wanted, &ring, Some((restored_of(&manifest), batches)));
    let taking = async {
        let mut rows = 0;
        while let Some((table, batch)) = arriving.recv().await {
            let batch: Vec<String> = batch;
            restoring.rows(&mut tx, &table, &batch).await?;
            rows += batch.len() as u64;
            tell(&table, rows);
        }
        // Dropped with an error, the sender notices and stops.
        drop(arriving);
        Ok::<_, RestoreFault>(())
    };
    let (again, taken) = tokio::join!(again, taking);
    taken?;
    if again? != manifest {
        return Err(ArchiveFault::Broken("it was changed while it was read").into());
    }
    // Only now: until here the studio worked on.
    let ended = if is_run {
        restoring.alone(&mut tx).await?
    } else {
        0
    };
    let tables = restoring.settle(&mut tx).await?;
    for table in &tables {
        let sum = manifest.sums.iter().find(|sum| sum.table == table.table);
        let expected = sum.map_or(-1, |sum| i64::try_from(sum.rows).unwrap_or(i64::MAX));
        if table.came != expected {
            let name = table.table.clone();
            return Err(RestoreFault::Count(name, table.came, expected));
        }
    }
    let restored = Restored {
        manifest,
        studio,
        tables,
        ended,
    };
    Ok((tx, restoring, restored))
}

/// The columns of an archive are those of the tables, or some of them: new ones get their defaults.
fn fits(then: &[TableHead], now: &[TableHead]) -> Result<(), RestoreFault> {
    for table in now.iter().filter(|table| table.is_restored) {
        let before = then.iter().find(|before| before.table == table.table);
        let fits = before.is_some_and(|before| {
            before.is_restored
                && before
                    .columns
                    .iter()
                    .all(|column| table.columns.contains(column))
        });
        if !fits {
            return Err(RestoreFault::Schema(table.table.clone()));
        }
    }
    Ok(())
}

fn restored_of(manifest: &Manifest) -> Vec<String> {
    let restored = manifest
        .head
        .tables
        .iter()
        .filter(|table| table.is_restored);
    restored.map(|table| table.table.clone()).collect()
}

/// Rows of one table.
type Batch = (String, Vec<String>);

/// Reads an archive to its end on a thread of its own, and sends the rows of some tables in batches.
async fn verified(
    wanted: &Wanted,
    ring: &KeyRing,
    send: Option<(Vec<String>, mpsc::Sender<Batch>)>,
) -> Result<Manifest, ArchiveFault> {
    let (path, identities, ring) = (
        wanted.archive.clone(),
        wanted.identities.clone(),
        ring.clone(),
    );
    let reading = tokio::task::spawn_blocking(move || {
        let file = open(&path)?;
        let Some((tables, batches)) = send else {
            return read(file, &identities, &ring, |_| Ok(()));
        };
        let mut gathering = Gathering::new(batches);
        let manifest = read(file, &identities, &ring, |seen| match seen {
            Seen::Row { table, row } if tables.iter().any(|one| one == table) => {
                gathering.add(table, row)
            }
            Seen::Row { .. } | Seen::Head(_) => Ok(()),
        })?;
        gathering.flush()?;
        Ok(manifest)
    });
    let read = reading.await;
    read.map_err(|error| Fault::bug(format!("reading an archive: {error}")))?
}

/// Gathers rows into batches.
struct Gathering {
    to: mpsc::Sender<Batch>,
    table: String,
    rows: Vec<String>,
    bytes: usize,
}

impl Gathering {
    fn new(to: mpsc::Sender<Batch>) -> Self {
        Self {
            to,
            table: String::new(),
            rows: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, table: &str, row: &str) -> Result<(), ArchiveFault> {
        if self.table != table || self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
            table.clone_into(&mut self.table);
        }
        self.bytes += row.len();
        self.rows.push(row.to_owned());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArchiveFault> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let sent = self.to.blocking_send((self.table.clone(), rows));
        sent.map_err(|_| Fault::bug("the database took no more rows").into())
    }
}

/// Verifies an archive and gives its manifest.
///
/// # Errors
/// When it is not for these identities, not whole or not signed here.
pub fn inspect(
    path: &Path,
    identities: &Identities,
    ring: &KeyRing,
) -> Result<Manifest, ArchiveFault> {
    read(open(path)?, identities, ring, |_| Ok(()))
}

fn open(path: &Path) -> Result<File, ArchiveFault> {
    let named = format!("`{}` cannot be read", path.display());
    File::open(path).map_err(|error| ArchiveFault::File(named, error))
}

/// SHA-256 over what makes the schema, in order: by it an archive says which release wrote it.
pub(super) fn schema() -> String {
    let mut digest = Context::new(&SHA256);
    for migration in migrations() {
        digest.update(migration.name.as_bytes());
        digest.update(b"\n");
        digest.update(migration.sql.as_bytes());
    }
    hex::encode(digest.finish())
}
