//! Requests that are sent twice, and have their effect once.
//!
//! A request with an idempotency key claims it in its own transaction. Either the key is new: then the
//! transaction keeps its answer when it ends. Or the answer is there: then the handler is run once
//! more, but only up to the point where it was granted its right. There the transaction goes back to
//! whoever claimed, who ends it with an entry of its own. So a repetition passes the very check that
//! the first request passed, whatever the handler is.

use std::sync::{Arc, Mutex, PoisonError};

use postgres_types::ToSql;
use uuid::Uuid;
use watertight_terms::{Entry, Fault, Kind, TenantId};

use crate::{Receipt, TenantTx, desk::Account, transaction::Ending};

/// Seals an answer for a studio, under an id of its own.
pub type Seal = Arc<dyn Fn(TenantId, Uuid, &str) -> Result<Vec<u8>, Fault> + Send + Sync>;

/// A request that carries a key.
#[derive(Clone)]
pub struct Repeat {
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of what was asked: the same key for something else is a mistake.
    pub request: [u8; 32],
    /// Seals what is answered.
    pub seal: Seal,
}

impl std::fmt::Debug for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repeat(…)")
    }
}

/// What a key is worth.
#[derive(Debug)]
pub enum Claim {
    /// It is this transaction's: work as if there were none.
    New,
    /// It was answered: run the handler for its right alone, and ask `recall` for the transaction.
    Done {
        /// The id under which the answer was sealed.
        id: Uuid,
        /// The answer.
        sealed: Vec<u8>,
        /// Where the transaction comes back to.
        recall: Recall,
    },
}

/// Where a transaction goes once its right was looked at.
#[derive(Clone, Default)]
pub struct Recall(Arc<Mutex<Option<Ending>>>);

impl Recall {
    /// Ends the transaction that came back, with the entry of the repetition; `None` when the handler
    /// was granted nothing.
    ///
    /// # Errors
    /// When the entry cannot be written: no data may leave then.
    pub async fn finish(self, entry: Entry) -> Result<Option<Receipt>, Fault> {
        let ending = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match ending {
            None => Ok(None),
            Some(ending) => ending.end(&entry, None).await.map(Some),
        }
    }
}

impl std::fmt::Debug for Recall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recall")
    }
}

/// What a transaction's key makes of it.
pub(crate) enum Keyed {
    /// There is none.
    Not,
    /// The answer is kept at the end.
    New(Repeat),
    /// The transaction ends where its right is granted.
    Again(Recall),
}

/// An answer that is kept.
pub(crate) struct Kept {
    key: Vec<u8>,
    request: Vec<u8>,
    id: Uuid,
    sealed: Vec<u8>,
}

const CLAIM: &str = "SELECT outcome, id, sealed FROM tenancy.claim_key($1, $2)";
pub(crate) const KEEP: &str = "SELECT tenancy.keep_answer($1, $2, $3, $4)";

impl Keyed {
    /// What is kept at the end, sealed; its id is the request's.
    pub(crate) fn keeps(
        &self,
        account: &Account,
        answer: impl FnOnce() -> Result<String, Fault>,
    ) -> Result<Option<Kept>, Fault> {
        match self {
            Self::Not => Ok(None),
            Self::New(repeat) => {
                let id = account.request().id;
                let sealed = (repeat.seal)(account.tenant(), id, &answer()?)?;
                Ok(Some(Kept {
                    key: repeat.key.to_vec(),
                    request: repeat.request.to_vec(),
                    id,
                    sealed,
                }))
            }
            Self::Again(_) => Err(Fault::bug(
                "a repeated request came to its end without having been granted anything",
            )),
        }
    }
}

impl Kept {
    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.key, &self.request, &self.id, &self.sealed]
    }
}

impl TenantTx {
    /// Takes the request's key, or finds what came of it before.
    ///
    /// # Errors
    /// A conflict while another request with it is under way; invalid when it was used for another
    /// request; not allowed when the caller's role or artist has changed since it was answered: what
    /// was answered then was made for who the caller was.
    pub async fn claim(&mut self, repeat: Repeat) -> Result<Claim, Fault> {
        let (key, request) = (repeat.key.as_slice(), repeat.request.as_slice());
        let rows = self.run(CLAIM, &[&key, &request]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Fault::bug("a claim without an outcome"))?;
        match row.field::<String>("outcome")?.as_str() {
            "new" => {
                self.keyed = Keyed::New(repeat);
                Ok(Claim::New)
            }
            "done" => {
                let recall = Recall::default();
                self.keyed = Keyed::Again(recall.clone());
                Ok(Claim::Done {
                    id: row.field("id")?,
                    sealed: row.field("sealed")?,
                    recall,
                })
            }
            "in flight" => Err(Fault::new(
                Kind::Conflict,
                "idempotency-in-flight",
                "a request with this `Idempotency-Key` is under way; wait for its end",
            )),
            "other" => Err(Fault::new(
                Kind::Invalid,
                "idempotency-mismatch",
                "this `Idempotency-Key` was used for another request; take a new one",
            )),
            "changed" => Err(Fault::not_allowed().log("the role changed since it was answered")),
            other => Err(Fault::bug(format!("a claim came out as `{other}`"))),
        }
    }

    /// Where the right was all that was to be looked at, the transaction goes back now.
    pub(crate) fn recall(&mut self) -> Result<(), Fault> {
        let Keyed::Again(Recall(place)) = &self.keyed else {
            return Ok(());
        };
        let ending = Ending {
            lease: self.lease.hand_over(),
            account: self.bound.account.clone(),
            journal: Arc::clone(&self.parts.journal),
            sql_fault: self.parts.sql_fault,
        };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(ending);
        Err(Fault::new(
            Kind::Conflict,
            "repeated",
            "this was done before",
        ))
    }
}
