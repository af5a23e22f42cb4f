//! A bundle of evidence, line by line as it was decrypted: `docs/formats/evidence.md`.
//!
//! ```text
//! {"archive":HEAD}       the studio, when, and the parts in their order
//! {"table":"incident"}   a part begins; its rows follow, each after `=`
//! {"manifest":"NOTE"}    signed: the head again, and of each part how many rows and their SHA-256
//! ```
//!
//! What is wrong with the stretch of the log that is in it is named by the entry, anything else by the part.

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    log::{Finding, Listed, Summary, Verifier, whose},
    note::{Checkpoint, NoteFault, VerifierKey, said},
    range::{Range, RangeFlaw},
    tree::{Hash, Tree},
};

/// What the first line says of the form and of what is in it.
const FORMAT: &str = "studio.watertight/archive/1";
const KIND: &str = "evidence";
/// Names of what is signed: the studio's id follows.
const ARCHIVES: &str = "studio.watertight/archive/";
const LOGS: &str = "studio.watertight/ledger/";
/// The parts that are read here.
const CHECKPOINTS: &str = "ledger.checkpoints";
const RANGE: &str = "ledger.range";
const EDGE: &str = "ledger.edge";
const LEAVES: &str = "ledger.leaves";

/// The first thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It does not begin as one.
    #[error("it is no bundle of evidence: its first line is another")]
    NotOne,
    /// It is another studio's than the keys.
    #[error("it is foreign: it is of studio `{0}`, and the keys are not")]
    Foreign(String),
    /// A line is none that there can be.
    #[error("line {0} is none that a bundle has")]
    Line(u64),
    /// It ends too early.
    #[error("it is cut: it ends in part `{0}`, before its manifest")]
    Cut(String),
    /// Something follows its manifest.
    #[error("line {0} was added: the manifest is the last one")]
    Added(u64),
    /// Nobody who is believed has signed it.
    #[error("the manifest is not to be believed: {0}")]
    Manifest(NoteFault),
    /// The first line is not the one that was signed.
    #[error("the first line was changed")]
    Head,
    /// A part is not there.
    #[error("part `{0}` is missing")]
    Missing(String),
    /// A part stands where another one was.
    #[error("part `{0}` was reordered or added: another one was there")]
    Reordered(String),
    /// A part is not what was signed.
    #[error("part `{0}` was changed")]
    Changed(String),
    /// A checkpoint in it is not to be believed.
    #[error("the checkpoint of {0} is not to be believed: {1}")]
    Checkpoint(String, NoteFault),
    /// The stretch of the log.
    #[error(transparent)]
    Log(#[from] Finding),
    /// Which entries of it are there.
    #[error(transparent)]
    Range(#[from] RangeFlaw),
    /// Entries at its end stand under no checkpoint.
    #[error(
        "the checkpoints cover {covered} of {entries} entries: whoever wrote the others is nobody who signed"
    )]
    Uncovered {
        /// So many stand under one.
        covered: u64,
        /// So many are there.
        entries: u64,
    },
}

impl Flaw {
    /// What kind it is, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotOne | Self::Line(_) => "malformed",
            Self::Foreign(_) => "foreign",
            Self::Cut(_) => "cut",
            Self::Added(_) => "added",
            Self::Manifest(_) | Self::Checkpoint(..) => "disbelieved",
            Self::Head | Self::Changed(_) => "changed",
            Self::Missing(_) => "missing",
            Self::Reordered(_) => "reordered",
            Self::Log(finding) => finding.kind(),
            Self::Range(RangeFlaw::Another) => "changed",
            Self::Range(RangeFlaw::Withheld(_)) => "withheld",
            Self::Range(RangeFlaw::Outside(_)) => "outside",
            Self::Range(RangeFlaw::Stub(_)) => "disbelieved",
            Self::Range(RangeFlaw::Beginning(_)) => "missing",
            Self::Uncovered { .. } => "uncovered",
        }
    }
}

/// What a sound bundle shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The studio's id.
    pub studio: String,
    /// The bundle's.
    pub bundle: String,
    /// When it was made.
    pub made_at: String,
    /// The window that it is about, from when to when.
    pub window: (String, String),
    /// The numbers of the first entry of the window and after the last: all of them are there to be read.
    pub range: (u64, u64),
    /// Retention removed what was before the first, older than this day; then of the window, too, something may be gone.
    pub removed_before: Option<String>,
    /// The number of the first entry that the log in it begins with, and the number after its last.
    pub entries: (u64, u64),
    /// So many of them are there to be read; of the others there are the hashes.
    pub leaves: u64,
    /// Against so many checkpoints they were verified.
    pub checkpoints: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Archive(Value),
    Table(String),
    Manifest(String),
}

#[derive(Debug, Deserialize)]
struct Head {
    format: String,
    kind: String,
    studio: String,
    made_at: String,
    pair: String,
    tables: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    table: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    head: Value,
    sums: Vec<Sum>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Sum {
    table: String,
    rows: u64,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct Signed {
    day: String,
    note: String,
}

#[derive(Debug, Deserialize)]
struct Edge {
    size: u64,
    edge: String,
}

#[derive(Debug, Deserialize)]
struct Leaf {
    seq: u64,
    hash: String,
    leaf: Option<String>,
}

/// A part whose rows come.
struct Coming {
    name: String,
    rows: u64,
    digest: Context,
}

/// Verifies a bundle.
pub struct Bundle {
    keys: Vec<VerifierKey>,
    head: Option<(Value, Head)>,
    lines: u64,
    coming: Option<Coming>,
    sums: Vec<Sum>,
    note: Option<String>,
    checkpoints: Vec<Checkpoint>,
    log: Option<Verifier>,
    range: Option<Range>,
    before: Tree,
    leaves: u64,
    /// The first thing that is wrong with the log in it, and the part in which it stands.
    found: Option<(String, Flaw)>,
}

impl Bundle {
    /// A verifier that believes these keys: those of the studio's log.
    pub fn new(keys: Vec<VerifierKey>) -> Self {
        Self {
            keys,
            head: None,
            lines: 0,
            coming: None,
            sums: Vec::new(),
            note: None,
            checkpoints: Vec::new(),
            log: None,
            range: None,
            before: Tree::default(),
            leaves: 0,
            found: None,
        }
    }

    /// The next line, without the line feed that ends it.
    ///
    /// # Errors
    /// When it is none that can follow.
    pub fn line(&mut self, line: &str) -> Result<(), Flaw> {
        self.lines += 1;
        if self.note.is_some() {
            return Err(Flaw::Added(self.lines));
        }
        if self.head.is_none() {
            return self.begin(line);
        }
        if let Some(row) = line.strip_prefix('=') {
            let coming = self.coming.as_mut().ok_or(Flaw::Line(self.lines))?;
            coming.rows += 1;
            coming.digest.update(row.as_bytes());
            coming.digest.update(b"\n");
            let name = coming.name.clone();
            let seen = self.row(&name, row);
            self.keep(name, seen);
            return Ok(());
        }
        match serde_json::from_str(line) {
            Ok(Line::Table(name)) => {
                self.end_part();
                self.coming = Some(Coming {
                    name,
                    rows: 0,
                    digest: Context::new(&SHA256),
                });
            }
            Ok(Line::Manifest(note)) => {
                self.end_part();
                self.note = Some(note);
            }
            _ => return Err(Flaw::Line(self.lines)),
        }
        Ok(())
    }

    fn begin(&mut self, line: &str) -> Result<(), Flaw> {
        let Ok(Line::Archive(value)) = serde_json::from_str(line) else {
            return Err(Flaw::NotOne);
        };
        let head: Head = read(&value).ok_or(Flaw::NotOne)?;
        if head.format != FORMAT || head.kind != KIND {
            return Err(Flaw::NotOne);
        }
        let log = format!("{LOGS}{}", head.studio);
        if !self.keys.iter().any(|key| key.name() == log) {
            return Err(Flaw::Foreign(head.studio));
        }
        self.head = Some((value, head));
        Ok(())
    }

    fn end_part(&mut self) {
        let Some(coming) = self.coming.take() else {
            return;
        };
        self.sums.push(Sum {
            table: coming.name,
            rows: coming.rows,
            sha256: hex::encode(coming.digest.finish()),
        });
    }

    fn keep(&mut self, part: String, seen: Result<(), Flaw>) {
        if let (Err(flaw), None) = (seen, &self.found) {
            self.found = Some((part, flaw));
        }
    }

    /// What a row says of the log. Others are hashed and not read.
    fn row(&mut self, part: &str, row: &str) -> Result<(), Flaw> {
        let malformed = || Flaw::Changed(part.to_owned());
        let studio = self.studio().to_owned();
        match part {
            CHECKPOINTS => {
                let signed: Signed = parsed(row).ok_or_else(malformed)?;
                let origin = format!("{LOGS}{studio}");
                let source = format!("the checkpoint of {}", signed.day);
                let opened = Checkpoint::open(&signed.note, &origin, &self.keys, &source);
                let opened = opened.map_err(|fault| Flaw::Checkpoint(signed.day, fault))?;
                self.checkpoints.push(opened);
            }
            RANGE => {
                let origin = format!("{LOGS}{studio}");
                let range = Range::read(row, &origin, &self.keys).ok_or_else(malformed)?;
                self.range = Some(range?);
            }
            EDGE => {
                let edge: Edge = parsed(row).ok_or_else(malformed)?;
                let tree = edge.tree().ok_or_else(malformed)?;
                self.before = tree.clone();
                let checkpoints = std::mem::take(&mut self.checkpoints);
                self.log = Some(Verifier::new(&studio, checkpoints).from(tree));
            }
            LEAVES => {
                let leaf: Leaf = parsed(row).ok_or_else(malformed)?;
                self.leaf(&leaf)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<(), Flaw> {
        if self.found.is_some() {
            return Ok(());
        }
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let mut hash = [0; 32];
        let hash = hex::decode_to_slice(&leaf.hash, &mut hash).map(|()| hash);
        let id = leaf.leaf.as_deref().and_then(whose);
        let listed = Listed {
            seq: leaf.seq,
            id: id.as_ref().map_or("", |whose| &whose.id),
            leaf: leaf.leaf.as_deref(),
            hash: hash.ok(),
            chain: None,
        };
        match leaf.leaf {
            Some(_) => log.entry(&listed)?,
            None => log.hash(&listed)?,
        }
        let time = leaf.leaf.as_deref().map(time_of);
        self.leaves += u64::from(time.is_some());
        let range = self.range.as_mut();
        let range = range.ok_or_else(|| Flaw::Missing(RANGE.to_owned()))?;
        Ok(range.entry(leaf.seq, time.as_deref())?)
    }

    fn studio(&self) -> &str {
        self.head.as_ref().map_or("", |(_, head)| &head.studio)
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn end(mut self) -> Result<Shown, Flaw> {
        let (value, head) = self.head.take().ok_or(Flaw::NotOne)?;
        let note = self.note.take().ok_or_else(|| {
            let part = self.coming.as_ref();
            Flaw::Cut(part.map_or_else(|| "none".to_owned(), |part| part.name.clone()))
        })?;
        let name = format!("{ARCHIVES}{}", head.studio);
        // Who may sign another studio's log signs nothing here.
        let log_name = format!("{LOGS}{}", head.studio);
        let own = self.keys.iter().filter(|key| key.name() == log_name);
        let keys: Vec<_> = own.map(|key| key.under(&name)).collect();
        let text = said(&note, &name, &keys).map_err(Flaw::Manifest)?;
        let manifest: Manifest =
            parsed(text.trim_end()).ok_or(Flaw::Manifest(NoteFault::Malformed))?;
        if manifest.head != value {
            return Err(Flaw::Head);
        }
        self.compare(&head, &manifest)?;
        if let Some((_, found)) = self.found {
            return Err(found);
        }
        let missing = |part: &str| Flaw::Missing(part.to_owned());
        let log = self.log.ok_or_else(|| missing(EDGE))?;
        let summary = log.end()?;
        // With no checkpoint the log would vouch for itself, and past the newest one it does.
        if summary.checkpoints == 0 {
            return Err(missing(CHECKPOINTS));
        }
        let Summary {
            covered, entries, ..
        } = summary;
        if covered != entries {
            return Err(Flaw::Uncovered { covered, entries });
        }
        let range = self.range.ok_or_else(|| missing(RANGE))?;
        range.end(&self.before, entries)?;
        Ok(Shown {
            studio: head.studio,
            bundle: head.pair,
            made_at: head.made_at,
            window: range.window(),
            range: range.entries(),
            removed_before: range.removed_before(),
            entries: (self.before.size(), entries),
            leaves: self.leaves,
            checkpoints: summary.checkpoints,
        })
    }

    /// Part by part, in the order that was signed.
    fn compare(&self, head: &Head, manifest: &Manifest) -> Result<(), Flaw> {
        let mut parts = self.sums.iter();
        for (named, signed) in head.tables.iter().zip(&manifest.sums) {
            let Some(found) = parts.next() else {
                return Err(Flaw::Missing(signed.table.clone()));
            };
            if found.table != signed.table || named.table != signed.table {
                let is_there = self.sums.iter().any(|sum| sum.table == signed.table);
                return Err(match is_there {
                    true => Flaw::Reordered(found.table.clone()),
                    false => Flaw::Missing(signed.table.clone()),
                });
            }
            if found != signed {
                return Err(match &self.found {
                    Some((part, flaw)) if *part == found.table => flaw.clone(),
                    _ => Flaw::Changed(found.table.clone()),
                });
            }
        }
        match parts.next() {
            Some(further) => Err(Flaw::Reordered(further.table.clone())),
            None => Ok(()),
        }
    }
}

impl Edge {
    fn tree(&self) -> Option<Tree> {
        let bytes = BASE64_STANDARD.decode(&self.edge).ok()?;
        let peaks = bytes.chunks(32).map(Hash::try_from);
        Tree::of_edge(self.size, &peaks.collect::<Result<Vec<_>, _>>().ok()?)
    }
}

/// When an entry says that its request arrived; nothing where it does not.
fn time_of(leaf: &str) -> String {
    let leaf: Value = parsed(leaf).unwrap_or_default();
    let time = leaf.pointer("/entry/time").and_then(Value::as_str);
    time.unwrap_or_default().to_owned()
}

fn parsed<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}
