//! Requests that are sent twice, and have their effect once.
//!
//! A request with an idempotency key claims it in its own transaction. Either the key is new: then the
//! transaction keeps its answer when it ends, with every right that it was granted on the way. Or the
//! answer is there: then each of those rights is asked for again before it is given out.

use std::sync::{Mutex, PoisonError};

use postgres_types::ToSql;
use uuid::Uuid;
use watertight_terms::{Fault, problems};

use crate::{Right, TenantTx, desk::Account, right::On};

/// Seals an answer under an id of its own.
pub type Seal = Box<dyn Fn(Uuid, &str) -> Result<Vec<u8>, Fault> + Send + Sync>;

/// A request that carries a key.
#[derive(Clone, Copy)]
pub struct Repeat {
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of what was asked: the same key for something else is a mistake.
    pub request: [u8; 32],
}

impl std::fmt::Debug for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repeat(…)")
    }
}

/// What a key is worth.
#[derive(Debug)]
pub enum Claim {
    /// It is this transaction's: say how to [keep](TenantTx::keep_with) the answer, then work as if
    /// there were none.
    New(Claimed),
    /// It was answered: ask again for each right that is kept with the answer, and give it.
    Done {
        /// The id under which the answer was sealed.
        id: Uuid,
        /// The answer.
        sealed: Vec<u8>,
    },
}

/// A key that was claimed by this transaction and is not yet kept anything for.
#[must_use = "a claimed key that keeps no answer lets its request have its effect twice"]
#[derive(Debug)]
pub struct Claimed(Repeat);

/// A transaction whose answer is kept, and what it was granted so far.
pub(crate) struct Keyed {
    repeat: Repeat,
    seal: Seal,
    rights: Mutex<Vec<Right>>,
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
    fn keeps(
        &self,
        account: &Account,
        answer: impl FnOnce(&[Right]) -> Result<String, Fault>,
    ) -> Result<Kept, Fault> {
        let rights = self.rights.lock().unwrap_or_else(PoisonError::into_inner);
        if rights.is_empty() {
            return Err(Fault::bug(
                "a request that may be repeated was granted nothing",
            ));
        }
        let Repeat { key, request } = &self.repeat;
        let id = account.request().id;
        Ok(Kept {
            key: key.to_vec(),
            request: request.to_vec(),
            id,
            sealed: (self.seal)(id, &answer(&rights)?)?,
        })
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
    /// request; not allowed when the caller's role or artist has changed since it was answered, or the
    /// membership has ended: what was answered then was made for who the caller was.
    pub async fn claim(&mut self, repeat: Repeat) -> Result<Claim, Fault> {
        let (key, request) = (repeat.key.as_slice(), repeat.request.as_slice());
        let rows = self.run(CLAIM, &[&key, &request]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Fault::bug("a claim without an outcome"))?;
        match row.field::<String>("outcome")?.as_str() {
            "new" => Ok(Claim::New(Claimed(repeat))),
            "done" => Ok(Claim::Done {
                id: row.field("id")?,
                sealed: row.field("sealed")?,
            }),
            "in flight" => Err(Fault::new(
                problems::IDEMPOTENCY_IN_FLIGHT,
                "a request with this `Idempotency-Key` is under way; wait for its end",
            )),
            "other" => Err(Fault::new(
                problems::IDEMPOTENCY_MISMATCH,
                "this `Idempotency-Key` was used for another request; take a new one",
            )),
            "changed" => Err(Fault::not_allowed().log("the role changed since it was answered")),
            other => Err(Fault::bug(format!("a claim came out as `{other}`"))),
        }
    }

    /// Says how the answer of a claimed key is sealed when it is kept. From here on what is granted is
    /// noted too.
    pub fn keep_with(&mut self, claimed: Claimed, seal: Seal) {
        let Claimed(repeat) = claimed;
        let rights = Mutex::default();
        self.keyed = Some(Keyed {
            repeat,
            seal,
            rights,
        });
    }

    /// Notes what was granted, where it will be asked for again.
    pub(crate) fn note(&self, action: &str, on: impl FnOnce() -> On) {
        let Some(keyed) = &self.keyed else { return };
        let right = Right {
            action: action.to_owned(),
            on: on(),
        };
        let mut rights = keyed.rights.lock().unwrap_or_else(PoisonError::into_inner);
        if !rights.contains(&right) {
            rights.push(right);
        }
    }

    /// What is kept when the transaction ends.
    pub(crate) fn keeps(
        &self,
        answer: impl FnOnce(&[Right]) -> Result<String, Fault>,
    ) -> Result<Option<Kept>, Fault> {
        let Some(keyed) = &self.keyed else {
            return Ok(None);
        };
        let answer = |rights: &[Right]| {
            for right in rights {
                if let On::Row { entity, .. } = &right.on {
                    self.rows(entity)?;
                }
            }
            answer(rights)
        };
        keyed.keeps(&self.bound.account, answer).map(Some)
    }
}
