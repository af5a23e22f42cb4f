//! What happened: the journal of every access, and the log that proves it.
//!
//! A request by somebody whom the studio knows has exactly one entry, durable before its answer
//! leaves. The entry's text carries the server's HMAC, and the database appends nothing without it:
//! SQL that is run as the app role can forge no entry.
//!
//! ```
//! use watertight_ledger::Ledger;
//! use watertight_tenancy::Journal;
//! use watertight_terms::{Key, KeyRing};
//!
//! let ledger = Ledger::new(KeyRing::single(1, Key::new([7; 32])));
//! assert!(ledger.append().contains("ledger.append"));
//! ```
//!
//! Within a second the [`Checkpointer`] numbers what was written and signs the root of each studio's
//! Merkle tree; the signed checkpoints go outside the database too. `docs/formats/ledger.md` says what
//! an entry, a leaf and a checkpoint are, to the letter; verifiers are made from it and share nothing
//! else with this room.

mod checkpointer;
mod evidence;
mod lag;
mod note;
mod outside;
mod retention;
mod tree;
mod writer;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use watertight_tenancy::{Account, BoxFuture, Desk, Journal, KeyTable, Line, Migration};
use watertight_terms::{Entry, Fault, KeyRing, hmac_sha256};

pub use checkpointer::{Checkpointer, Round};
pub use evidence::Stretch;
pub use lag::Lag;
pub use note::{
    ORIGIN, open_text, origin, receipt_keys, sign, sign_receipt, sign_stub, sign_text,
    verifier_keys,
};
pub use outside::{notes, removed};
pub use tree::{Edge, Hash, TileRoot, chain_hash, leaf_hash};
use writer::Writer;

/// This room's migrations.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "ledger/0001_ledger",
        sql: include_str!("../sql/0001_ledger.sql"),
    },
    Migration {
        name: "ledger/0002_services",
        sql: include_str!("../sql/0002_services.sql"),
    },
    Migration {
        name: "ledger/0003_log",
        sql: include_str!("../sql/0003_log.sql"),
    },
    Migration {
        name: "ledger/0004_bounds",
        sql: include_str!("../sql/0004_bounds.sql"),
    },
    Migration {
        name: "ledger/0005_operators",
        sql: include_str!("../sql/0005_operators.sql"),
    },
    Migration {
        name: "ledger/0006_lag",
        sql: include_str!("../sql/0006_lag.sql"),
    },
    Migration {
        name: "ledger/0007_retention",
        sql: include_str!("../sql/0007_retention.sql"),
    },
    Migration {
        name: "ledger/0008_evidence",
        sql: include_str!("../sql/0008_evidence.sql"),
    },
    Migration {
        name: "ledger/0009_by_time",
        sql: include_str!("../sql/0009_by_time.sql"),
    },
];

/// The journal that appends to `ledger.entries`.
#[derive(Debug)]
pub struct Ledger {
    keys: KeyRing,
    writer: OnceLock<Writer>,
}

impl Ledger {
    /// A ledger that signs with the current key of the ring `ledger`.
    pub fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            writer: OnceLock::new(),
        }
    }

    /// Where that ring is kept in the database.
    pub fn key_table(ring: KeyRing) -> KeyTable {
        KeyTable {
            role: "ledger",
            insert: "INSERT INTO ledger.keys AS k (id, ipad, opad) VALUES ($1, $2, $3)
                     ON CONFLICT (id) DO UPDATE SET ipad = k.ipad
                     WHERE k.ipad = excluded.ipad AND k.opad = excluded.opad",
            ring,
        }
    }
}

impl Journal for Ledger {
    fn append(&self) -> &'static str {
        "SELECT ledger.append($1, $2, $3)"
    }

    fn line(&self, account: &Account, entry: &Entry) -> Result<Line, Fault> {
        let (_, key) = self
            .keys
            .current()
            .ok_or_else(|| Fault::bug("the key ring `ledger` has no current key"))?;
        let text = canonical(&members(account, entry))?;
        let tickets = account.tickets().iter().map(i64::to_string);
        let tickets = tickets.collect::<Vec<_>>().join(",");
        let mac = hmac_sha256(key, format!("ledger2|{tickets}|{text}").as_bytes()).to_vec();
        Ok(Line { text, tickets, mac })
    }

    fn record<'a>(&'a self, line: Line, desk: &'a Desk) -> BoxFuture<'a, Result<(), Fault>> {
        let writer = self.writer.get_or_init(|| Writer::start(desk.clone()));
        Box::pin(writer.write(line))
    }
}

/// Canonical JSON (RFC 8785).
fn canonical(members: &Map<String, Value>) -> Result<String, Fault> {
    serde_json_canonicalizer::to_string(members)
        .map_err(|error| Fault::bug(format!("writing an entry: {error}")))
}

/// The members of an entry as `docs/formats/ledger.md` and the API name them.
fn members(account: &Account, entry: &Entry) -> Map<String, Value> {
    let request = account.request();
    let mut members = entry.to_json();
    members.insert("tenant".to_owned(), json!(account.tenant()));
    members.insert("id".to_owned(), json!(request.id));
    members.insert("time".to_owned(), json!(request.at.to_string()));
    members.insert("actor".to_owned(), json!(account.actor()));
    if let Some(by) = account.acted_by() {
        members.insert("acted_by".to_owned(), json!(by.as_str()));
    }
    members.insert("role".to_owned(), json!(account.role()));
    members.insert("request_id".to_owned(), json!(request.id));
    members.insert("client_request_id".to_owned(), json!(request.client_id));
    members.insert("address".to_owned(), json!(request.address));
    members.insert("client".to_owned(), json!(request.client));
    members
}
