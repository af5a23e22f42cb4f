//! What proves afterwards that something is gone: a signed note, which nobody keeps but whom it is given to.
//!
//! ```text
//! studio.watertight/receipt/8a3c…
//! {"at":"2031-03-01T09:00:00Z","entry":"…","kind":"erasure",…}
//!
//! — studio.watertight/receipt/8a3c… Az3g…=
//! ```
//!
//! `entry` is the request's entry in the studio's ledger.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use watertight_ledger::{receipt_keys, sign_receipt};
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use crate::app::Desk;

/// A receipt as answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Receipt {
    /// A C2SP signed note with one line of JSON.
    pub note: String,
    /// The public keys that it is checked with.
    pub keys: Vec<String>,
}

impl Receipt {
    /// A receipt of what this transaction does, with what else is to be said of it.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn of<const N: usize>(
        tx: &TenantTx,
        desk: &Desk,
        kind: &str,
        facts: [(&str, Value); N],
    ) -> Result<Self, Fault> {
        let ours = [
            ("kind", json!(kind)),
            ("at", json!(desk.clock.now())),
            ("studio", json!(tx.tenant())),
            ("entry", json!(tx.account().request().id)),
        ];
        let all = ours.into_iter().chain(facts);
        let facts: Value = all.map(|(name, fact)| (name.to_owned(), fact)).collect();
        let keys = (desk.checkpoint_keys)();
        Ok(Self {
            note: sign_receipt(&keys, tx.tenant(), &facts)?,
            keys: receipt_keys(&keys, tx.tenant())?,
        })
    }
}
