//! What happened: the journal of every access.
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
//! An entry is written by a plain statement here: in the change's own transaction, or in one of its
//! own for reads and refusals. Writing many at once, and evidence against tampering, come with the
//! checkpointed log; the trait is already theirs.

use serde_json::{Map, Value, json};
use watertight_tenancy::{Account, BoxFuture, Desk, Journal, KeyTable, Line, Migration};
use watertight_terms::{Entry, Fault, KeyRing, hmac_sha256};

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
];

/// The journal that appends to `ledger.entries`.
#[derive(Debug)]
pub struct Ledger {
    keys: KeyRing,
}

impl Ledger {
    /// A ledger that signs with the current key of the ring `ledger`.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
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
        "SELECT ledger.append($1, $2)"
    }

    fn line(&self, account: &Account, entry: &Entry) -> Result<Line, Fault> {
        let (_, key) = self
            .keys
            .current()
            .ok_or_else(|| Fault::bug("the key ring `ledger` has no current key"))?;
        let text = json!({
            "tenant": account.tenant(),
            "entry": account.request().id,
            "at": account.request().at.to_string(),
            "ticket": account.ticket(),
            "body": body(account, entry),
        })
        .to_string();
        let mac = hmac_sha256(key, format!("ledger1|{text}").as_bytes()).to_vec();
        Ok(Line { text, mac })
    }

    fn record<'a>(&'a self, line: Line, desk: &'a Desk) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { desk.append(&[line]).await })
    }
}

/// The members of an entry as `docs/formats` and the API name them.
fn body(account: &Account, entry: &Entry) -> Map<String, Value> {
    let request = account.request();
    let mut members = entry.to_json();
    members.insert("actor".to_owned(), json!(account.actor()));
    members.insert("role".to_owned(), json!(account.role()));
    members.insert("request_id".to_owned(), json!(request.id));
    members.insert("client_request_id".to_owned(), json!(request.client_id));
    members.insert("address".to_owned(), json!(request.address));
    members.insert("client".to_owned(), json!(request.client));
    members
}
