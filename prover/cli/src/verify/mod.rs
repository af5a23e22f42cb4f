//! `watertight verify`: a studio's log as it was downloaded, against signed checkpoints and public keys.
//!
//! ```text
//! LOG/checkpoint                  the newest checkpoint
//! LOG/checkpoints/2026-11-27      further ones, as many as there are
//! LOG/removed                     what stands for entries that retention has removed
//! LOG/keys                        the public keys, a line each
//! LOG/checkpoints.json            all of these at once, as `/v1/audit/checkpoints` answers them
//! LOG/tile/0/000 …                the hashes of the leaves
//! LOG/tile/entries/000 …          the leaves
//! ```
//!
//! A bundle of evidence is a file that the studio's owner was given: `--identity` opens it, `--keys` are those of the log.
//!
//! First the hashes: with the checkpoints they must give the roots that were signed. Then each leaf
//! against its hash, so that what is wrong with it can be named. Without hashes the leaves alone must
//! give the roots, and a finding names the entries since the last root that was right.

mod bundle;
mod log;
mod notes;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use watertight_prover_core::{Finding, Hashes, Listed, NoteFault, Shown, Summary, Verifier, whose};

use self::{
    bundle::Bent,
    log::Log,
    notes::{Said, read_keys},
};
use crate::output::{Failure, Output};

/// So many entries are verified between two lines of progress.
const PROGRESS_ENTRIES: u64 = 10_000;

/// Verify a studio's ledger, offline.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The log: a folder of tiles (C2SP tlog-tiles), or a file of leaves, a line each; or a bundle of evidence
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Public keys that are believed: a file of `name+id+key` lines, or what `/v1/audit/checkpoints`
    /// answered. Without it those of the folder, which whoever bent the log may have bent too
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Checkpoints beside those of the folder: a signed note, a folder of such, or what
    /// `/v1/audit/checkpoints` answered
    #[arg(long, value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// What opens a bundle of evidence: a file of age's identities
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// The first thing that is wrong.
#[derive(Debug)]
enum Wrong {
    /// With the log.
    Log(Finding),
    /// With a checkpoint: where it came from, and why it is not believed.
    Checkpoint(String, NoteFault),
}

impl Verify {
    pub(crate) fn run(self, output: &Output) -> Result<u8, Failure> {
        if bundle::is_one(&self.log) {
            return self.bundle(output);
        }
        let said = Said::read(&self.log, self.keys.as_deref(), &self.checkpoints)?;
        let log = Log::open(&self.log, said.removed())?;
        let studio = said.studio.clone();
        output.progress(&format!("studio {studio}: {} checkpoints", said.notes()));
        let verdict = match said.open()? {
            Ok(verifier) => verified(&studio, verifier, log, output)?.map_err(Wrong::Log),
            Err((source, fault)) => Err(Wrong::Checkpoint(source, fault)),
        };
        output.result(&text(&verdict), &value(&studio, &verdict));
        Ok(u8::from(verdict.is_err()))
    }

    fn bundle(&self, output: &Output) -> Result<u8, Failure> {
        if !self.checkpoints.is_empty() {
            return Err(Failure::new(
                "a bundle is compared with the checkpoints in it; compare those of elsewhere with the whole log, without `--identity`",
            ));
        }
        let keys = self.keys.as_deref().ok_or_else(|| {
            Failure::new("name the public keys of the studio's log with `--keys FILE`: those in the bundle vouch for nothing")
        })?;
        let verdict = bundle::verify(&self.log, self.identity.as_deref(), read_keys(keys)?)?;
        let (text, value) = match &verdict {
            Ok(shown) => shown_as(shown),
            Err(bent) => bent_as(bent),
        };
        output.result(&text, &value);
        Ok(u8::from(verdict.is_err()))
    }
}

fn shown_as(shown: &Shown) -> (String, Value) {
    let Shown {
        studio,
        bundle,
        made_at,
        window: (from, to),
        range: (begins, ends),
        removed_before,
        entries: (first, until),
        leaves,
        checkpoints,
    } = shown;
    let mut text = format!(
        "sound: bundle {bundle} of studio {studio}, made {made_at}; of {from} to {to} entry {begins} to before {ends}, all of them; \
         {leaves} entries can be read, entry {first} to before {until} are covered by {checkpoints} checkpoints"
    );
    if let Some(day) = removed_before {
        text += &format!("\nretention removed what was before entry {begins}, older than {day}");
    }
    let value = json!({
        "verdict": "sound", "studio": studio, "findings": [], "bundle": bundle, "made_at": made_at,
        "first": first, "until": until, "entries": leaves, "checkpoints": checkpoints,
        "window": { "from": from, "to": to, "first": begins, "end": ends, "removed_before": removed_before },
    });
    (text, value)
}

fn bent_as(bent: &Bent) -> (String, Value) {
    let (kind, summary) = match bent {
        Bent::Flaw(flaw) => (flaw.kind(), flaw.to_string()),
        Bent::Bytes => (
            "changed",
            "its bytes were changed or cut: they do not decrypt to lines".to_owned(),
        ),
    };
    let finding = json!({ "kind": kind, "summary": summary });
    (
        format!("tampered: {summary}"),
        json!({ "verdict": "tampered", "findings": [finding] }),
    )
}

/// Verifies a log from its first entry to its last.
fn verified(
    studio: &str,
    verifier: Verifier,
    log: Log,
    output: &Output,
) -> Result<Result<Summary, Finding>, Failure> {
    match log.hashes()? {
        Some(hashes) => by_hashes(studio, verifier, hashes, log, output),
        None => by_leaves(verifier, log, output),
    }
}

fn by_hashes(
    studio: &str,
    mut verifier: Verifier,
    hashes: Vec<watertight_prover_core::Hash>,
    log: Log,
    output: &Output,
) -> Result<Result<Summary, Finding>, Failure> {
    let first = verifier.next();
    for hash in &hashes {
        let listed = Listed {
            seq: verifier.next(),
            id: "",
            leaf: None,
            hash: Some(*hash),
            chain: None,
        };
        if let Err(finding) = verifier.hash(&listed) {
            return Ok(Err(finding));
        }
    }
    let summary = match verifier.end() {
        Ok(summary) => summary,
        Err(finding) => return Ok(Err(finding)),
    };
    output.progress(&format!("  {} hashes", hashes.len()));
    let hashes = Hashes::new(studio, first, hashes);
    let mut leaves = log.leaves().peekable();
    let mut seq = first;
    while let Some(leaf) = leaves.next() {
        let leaf = leaf?;
        let next = leaves.peek().and_then(|next| next.as_ref().ok());
        let next = next.and_then(Option::as_deref);
        if let Err(finding) = hashes.entry(seq, leaf.as_deref(), next) {
            return Ok(Err(finding));
        }
        seq += 1;
        told(seq, output);
    }
    if seq < summary.entries {
        return Ok(Err(Finding::CutTail {
            have: seq,
            said: summary.entries,
            checkpoint: "the list of hashes".to_owned(),
        }));
    }
    Ok(Ok(summary))
}

fn by_leaves(
    mut verifier: Verifier,
    log: Log,
    output: &Output,
) -> Result<Result<Summary, Finding>, Failure> {
    for leaf in log.leaves() {
        let leaf = leaf?;
        let whose = leaf.as_deref().and_then(whose);
        let listed = Listed {
            seq: verifier.next(),
            id: whose.as_ref().map_or("", |whose| &whose.id),
            leaf: leaf.as_deref(),
            hash: None,
            chain: None,
        };
        if let Err(finding) = verifier.entry(&listed) {
            return Ok(Err(finding));
        }
        told(verifier.next(), output);
    }
    Ok(verifier.end())
}

fn told(entries: u64, output: &Output) {
    if entries.is_multiple_of(PROGRESS_ENTRIES) {
        output.progress(&format!("  {entries} entries"));
    }
}

fn text(verdict: &Result<Summary, Wrong>) -> String {
    match verdict {
        Ok(summary) => {
            let Summary {
                entries,
                covered,
                checkpoints,
                removed,
            } = summary;
            let gone = match removed {
                0 => String::new(),
                removed => format!("; the first {removed} were removed, as their stub says"),
            };
            format!(
                "sound: {entries} entries, {covered} of them covered by {checkpoints} checkpoints{gone}"
            )
        }
        Err(Wrong::Log(finding)) => format!("tampered: {finding}"),
        Err(Wrong::Checkpoint(source, fault)) => {
            format!("tampered: {source} is not to be believed: {fault}")
        }
    }
}

fn value(studio: &str, verdict: &Result<Summary, Wrong>) -> Value {
    match verdict {
        Ok(summary) => json!({
            "verdict": "sound", "studio": studio, "findings": [], "entries": summary.entries,
            "covered": summary.covered, "removed": summary.removed, "checkpoints": summary.checkpoints,
        }),
        Err(wrong) => {
            json!({ "verdict": "tampered", "studio": studio, "findings": [found(wrong)] })
        }
    }
}

fn found(wrong: &Wrong) -> Value {
    match wrong {
        Wrong::Log(finding) => json!({
            "kind": finding.kind(), "seq": finding.seq(), "id": finding.id(), "summary": finding.to_string(),
        }),
        Wrong::Checkpoint(source, fault) => json!({
            "kind": "disbelieved", "seq": null, "id": null,
            "summary": format!("{source} is not to be believed: {fault}"),
        }),
    }
}
