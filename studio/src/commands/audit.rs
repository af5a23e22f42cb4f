use std::{
    collections::BTreeSet,
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_ledger::{notes, origin, removed, verifier_keys};
use watertight_prover_core::{
    Checkpoint, Finding, Hash, Listed, Stub, Summary, Verifier, VerifierKey,
};
use watertight_tenancy::{Call, Operator, Row};
use watertight_terms::{Fault, KeyFile, TenantId};

use super::{
    Failure, Output,
    complete::{Complete, reader},
};
use crate::config::Config;

/// Look at the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Verify that nothing of the ledger was changed, removed, reordered or cut off
    Verify(Verify),
    /// Look for accesses that were never written
    Complete(Complete),
}

/// Verify logs entry by entry against every checkpoint, in the database and outside.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// One studio only
    #[arg(long, value_name = "ID")]
    studio: Option<Uuid>,
    /// A checkpoint that is believed: what it covers is verified by its hashes alone
    #[arg(long, value_name = "FILE", requires = "studio")]
    from: Option<PathBuf>,
}

const STUDIOS: Call = Call::new("SELECT tenant_id FROM ledger.heads WHERE size > 0");
const CHECKPOINTS: Call = Call::new(
    "SELECT 'the checkpoint of ' || day || ' in the database' AS source, note
     FROM ledger.checkpoints WHERE tenant_id = $1",
);
const STUB: Call = Call::new("SELECT note FROM ledger.removals WHERE tenant_id = $1");
const PAGE: Call = Call::new(
    "SELECT l.seq, l.entry_id, l.hash, l.chain, e.leaf FROM ledger.leaves l LEFT JOIN ledger.entries e USING (tenant_id, entry_id)
     WHERE l.tenant_id = $1 AND l.seq >= $2 ORDER BY l.seq LIMIT 1000",
);
/// Entries that have no number and wait for none, and the other way round.
const UNLISTED: Call = Call::new(
    "SELECT e.entry_id FROM ledger.entries e WHERE e.tenant_id = $1
       AND NOT EXISTS (SELECT FROM ledger.leaves l WHERE l.tenant_id = e.tenant_id AND l.entry_id = e.entry_id)
       AND NOT EXISTS (SELECT FROM ledger.waiting w WHERE w.tenant_id = e.tenant_id AND w.entry_id = e.entry_id)
     UNION ALL SELECT w.entry_id FROM ledger.waiting w WHERE w.tenant_id = $1
       AND NOT EXISTS (SELECT FROM ledger.entries e WHERE e.tenant_id = w.tenant_id AND e.entry_id = w.entry_id)
     LIMIT 1",
);

/// What came of a studio's log.
#[derive(Debug)]
pub enum Verdict {
    /// All of it is as it was written.
    Sound(Summary),
    /// The first thing that is not.
    Found(String),
}

impl Audit {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<u8, Failure> {
        match self {
            Self::Verify(verify) => verify.run(config, output).await,
            Self::Complete(complete) => complete.run(config, output).await,
        }
    }
}

impl Verify {
    async fn run(self, config: &Config, output: &Output) -> Result<u8, Failure> {
        let Self { studio, from } = self;
        let setup = |error: String| Failure::setup(error);
        let verification = Verification::new(config).await?;
        let studios = match studio {
            Some(studio) => BTreeSet::from([TenantId(studio)]),
            None => verification.studios().await.map_err(setup)?,
        };
        let from = from.map(|path| read(&path)).transpose()?;
        let (mut text, mut logs, mut found) = (String::new(), Vec::new(), false);
        for studio in studios {
            let mut meter = output.meter();
            let what = format!("entries of studio {studio}");
            let verdict = verification.verify(studio, from.as_deref(), |done, all| {
                meter.is_at(&what, done, Some(all));
            });
            let verdict = verdict.await.map_err(setup)?;
            found |= matches!(verdict, Verdict::Found(_));
            let _ = writeln!(text, "{}", line(studio, &verdict));
            logs.push(value(studio, &verdict));
        }
        let verdict = if found { "found" } else { "sound" };
        output.result(
            text.trim_end(),
            &json!({ "verdict": verdict, "studios": logs }),
        );
        Ok(u8::from(found))
    }
}

/// What verifying needs: the database as the role that reads the ledger, the folder, the keys.
#[derive(Debug)]
pub struct Verification {
    database: Operator,
    folder: Option<PathBuf>,
    ring: watertight_terms::KeyRing,
}

impl Verification {
    /// Connects.
    ///
    /// # Errors
    /// When the configuration lacks something or the database cannot be reached.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let setup = |error: String| Failure::setup(error);
        let keys = KeyFile::read(&config.keys.location).map_err(|e| setup(e.to_string()))?;
        let ring = keys.ring("checkpoint").map_err(|e| setup(e.to_string()))?;
        Ok(Self {
            database: reader(config).await?,
            folder: config.ledger.checkpoint_dir.clone(),
            ring: ring.clone(),
        })
    }

    /// Every studio that the database or the folder knows a log of.
    async fn studios(&self) -> Result<BTreeSet<TenantId>, String> {
        let rows = self.database.rows(STUDIOS, &[]).await.map_err(spoken)?;
        let mut studios = BTreeSet::new();
        for row in rows {
            studios.insert(TenantId(row.field("tenant_id").map_err(spoken)?));
        }
        if let Some(folder) = &self.folder {
            let listed = std::fs::read_dir(folder);
            let listed = listed.map_err(|error| format!("[ledger] checkpoint_dir: {error}"))?;
            let names = listed.filter_map(|file| file.ok()?.file_name().into_string().ok());
            studios.extend(names.filter_map(|name| name.parse().ok()).map(TenantId));
        }
        Ok(studios)
    }

    /// Verifies one studio's log. `from` is a checkpoint that is believed, `progress` is told how many
    /// entries were verified so far, and how many its newest checkpoint covers.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn verify(
        &self,
        studio: TenantId,
        from: Option<&str>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verdict, String> {
        // Checkpoints before entries: what is written meanwhile is then only more than they cover.
        let mut checkpoints = match self.checkpoints(studio).await? {
            Ok(checkpoints) => checkpoints,
            Err(found) => return Ok(Verdict::Found(found)),
        };
        let mut believed = 0;
        if let Some(note) = from {
            let keys = self.keys(studio)?;
            let said = Checkpoint::open(note, &origin(studio), &keys, "the given checkpoint");
            let said = said.map_err(|fault| format!("--from: {fault}"))?;
            believed = said.size;
            checkpoints.push(said);
        }
        let covered = checkpoints.iter().map(|one| one.size).max().unwrap_or(0);
        let mut verifier = Verifier::new(&studio.to_string(), checkpoints);
        if let Some((source, note)) = self.stub(studio).await? {
            match Stub::open(&note, &origin(studio), &self.keys(studio)?, &source) {
                Ok(stub) => verifier = verifier.after(stub),
                Err(fault) => {
                    return Ok(Verdict::Found(format!(
                        "{source} is not to be believed: {fault}"
                    )));
                }
            }
        }
        let mut next = i64::try_from(verifier.next()).unwrap_or(i64::MAX);
        loop {
            let rows = self.database.rows(PAGE, &[&studio.0, &next]).await;
            let rows = rows.map_err(spoken)?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                if let Err(finding) = one(&mut verifier, row, believed)? {
                    return Ok(Verdict::Found(finding.to_string()));
                }
                next = row.field::<i64>("seq").map_err(spoken)? + 1;
            }
            let done = next.unsigned_abs();
            progress(done, covered.max(done));
        }
        let summary = match verifier.end() {
            Ok(summary) => summary,
            Err(finding) => return Ok(Verdict::Found(finding.to_string())),
        };
        let unlisted = self.database.rows(UNLISTED, &[&studio.0]).await;
        let Some(row) = unlisted.map_err(spoken)?.pop() else {
            return Ok(Verdict::Sound(summary));
        };
        let id: Uuid = row.field("entry_id").map_err(spoken)?;
        Ok(Verdict::Found(format!(
            "entry {id} is in no list: it was added by hand, or its number was removed"
        )))
    }

    /// Every checkpoint of a studio, in the database and outside; or what is wrong with one.
    async fn checkpoints(
        &self,
        studio: TenantId,
    ) -> Result<Result<Vec<Checkpoint>, String>, String> {
        let mut found = Vec::new();
        let rows = self.database.rows(CHECKPOINTS, &[&studio.0]).await;
        for row in rows.map_err(spoken)? {
            let source: String = row.field("source").map_err(spoken)?;
            found.push((source, row.field::<String>("note").map_err(spoken)?));
        }
        if let Some(folder) = &self.folder {
            let outside = notes(&folder.join(studio.to_string()));
            let outside = outside.map_err(|error| format!("[ledger] checkpoint_dir: {error}"))?;
            let named = |(path, note): (PathBuf, String)| (format!("`{}`", path.display()), note);
            found.extend(outside.into_iter().map(named));
        }
        let (keys, origin) = (self.keys(studio)?, origin(studio));
        let open = |(source, note): &(String, String)| {
            Checkpoint::open(note, &origin, &keys, source)
                .map_err(|fault| format!("{source} is not to be believed: {fault}"))
        };
        Ok(found.iter().map(open).collect())
    }

    /// What stands for removed entries, outside if it is there, else in the database.
    async fn stub(&self, studio: TenantId) -> Result<Option<(String, String)>, String> {
        if let Some(folder) = &self.folder {
            let outside = removed(&folder.join(studio.to_string()));
            let outside = outside.map_err(|error| format!("[ledger] checkpoint_dir: {error}"))?;
            if let Some((path, note)) = outside {
                return Ok(Some((format!("`{}`", path.display()), note)));
            }
        }
        let rows = self.database.rows(STUB, &[&studio.0]).await;
        let note = rows.map_err(spoken)?.first().map(|row| row.field("note"));
        let note = note.transpose().map_err(spoken)?;
        Ok(note.map(|note| ("the stub in the database".to_owned(), note)))
    }

    fn keys(&self, studio: TenantId) -> Result<Vec<VerifierKey>, String> {
        let keys = verifier_keys(&self.ring, studio).map_err(spoken)?;
        let parse = |key: &String| VerifierKey::parse(key).map_err(|fault| fault.to_string());
        keys.iter().map(parse).collect()
    }
}

/// Verifies one row of the list. What a believed checkpoint covers is not read again.
fn one(verifier: &mut Verifier, row: &Row, believed: u64) -> Result<Result<(), Finding>, String> {
    let seq = row.field::<i64>("seq").map_err(spoken)?.unsigned_abs();
    let id = row.field::<Uuid>("entry_id").map_err(spoken)?.to_string();
    let leaf: Option<String> = row.field("leaf").map_err(spoken)?;
    let hash = |column| {
        let bytes = row.field::<Vec<u8>>(column).map_err(spoken)?;
        Hash::try_from(bytes).map_err(|_| format!("`{column}` is no hash"))
    };
    let listed = Listed {
        seq,
        id: &id,
        leaf: leaf.as_deref(),
        hash: Some(hash("hash")?),
        chain: Some(hash("chain")?),
    };
    Ok(if seq < believed {
        verifier.hash(&listed)
    } else {
        verifier.entry(&listed)
    })
}

fn spoken(fault: Fault) -> String {
    fault.to_string()
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::setup(format!("`{}`: {error}", path.display())))
}

fn line(studio: TenantId, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Sound(summary) => format!(
            "studio {studio}: sound, {} entries, {} of them covered by {} checkpoints, {} removed",
            summary.entries, summary.covered, summary.checkpoints, summary.removed
        ),
        Verdict::Found(what) => format!("studio {studio}: {what}"),
    }
}

fn value(studio: TenantId, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Sound(summary) => json!({
            "studio": studio, "verdict": "sound", "entries": summary.entries,
            "covered": summary.covered, "checkpoints": summary.checkpoints, "removed": summary.removed,
        }),
        Verdict::Found(what) => json!({ "studio": studio, "verdict": "found", "what": what }),
    }
}
