use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight_terms::TenantId;

/// What the first line names.
pub const FORMAT: &str = "studio.watertight/archive/1";

/// A line has at most so many bytes.
pub(super) const LINE_BYTES: usize = 8 << 20;

/// What a line of a row begins with; every other line is a JSON object.
pub(super) const ROW: u8 = b'=';

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The studio's rows, with sealed values as they are.
    Data,
    /// The wrapped keys that those were sealed with.
    Keys,
    /// What shows what happened in an incident: parts that stand where tables do, see `docs/formats/evidence.md`.
    Evidence,
}

impl Kind {
    /// As it stands in the name of a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Keys => "keys",
            Self::Evidence => "evidence",
        }
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format.
    pub format: String,
    /// What it holds.
    pub kind: Kind,
    /// Of which studio.
    pub studio: TenantId,
    /// Of when.
    pub made_at: Timestamp,
    /// The archive of data and the one of its keys have the same.
    pub pair: Uuid,
    /// The schema: SHA-256 over what migrated it.
    pub schema: String,
    /// Its tables, in their order.
    pub tables: Vec<TableHead>,
}

/// A table of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableHead {
    /// `schema.table`.
    pub table: String,
    /// Its columns, in their order.
    pub columns: Vec<String>,
    /// Whether a restore brings its rows back.
    pub is_restored: bool,
}

/// What a table came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// `schema.table`.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 over its rows, each with the line feed that ends it.
    pub sha256: String,
}

/// The last line, once its signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The first line again: so it is signed, too.
    pub head: Head,
    /// What each table came to.
    pub sums: Vec<Sum>,
    /// The newest checkpoint of the studio's ledger in that snapshot.
    pub checkpoint: Option<String>,
}

impl Manifest {
    /// How many rows there are in all.
    pub fn rows(&self) -> u64 {
        self.sums.iter().map(|sum| sum.rows).sum()
    }
}

/// A line that is no row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Archive(Head),
    Table(String),
    Manifest(String),
}

/// Counts and hashes the rows of a table.
pub(super) struct Counting {
    table: String,
    rows: u64,
    digest: Context,
}

impl Counting {
    pub(super) fn new(table: String) -> Self {
        Self {
            table,
            rows: 0,
            digest: Context::new(&SHA256),
        }
    }

    pub(super) fn row(&mut self, line: &str) {
        self.rows += 1;
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
    }

    pub(super) fn sum(self) -> Sum {
        Sum {
            table: self.table,
            rows: self.rows,
            sha256: hex::encode(self.digest.finish()),
        }
    }
}

/// The name of what signs an archive of that studio.
pub(super) fn origin(studio: TenantId) -> String {
    format!("studio.watertight/archive/{studio}")
}
