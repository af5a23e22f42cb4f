//! One row, read in one round trip: for requests that ask for nothing else.
//!
//! ```no_run
//! # use watertight_tenancy::*; use watertight_terms::*; use watertight_identity::Caller;
//! # use watertight_authority::{Action, Resource}; use uuid::Uuid;
//! async fn show<A: Action<R>, R: Stored>(tenancy: &Tenancy, caller: &Caller, request: Request, id: Uuid) -> Result<(R, Receipt), Fault> {
//!     let look = tenancy.look::<R>(caller, request, id).await.map_err(|refused| refused.fault)?;
//!     let (row, sight) = look.seen::<A>()?; // 404 unseen, 403 seen but not allowed
//!     let receipt = sight.finish(Entry::new(A::NAME, R::NOUN).ids([id])).await?; // durable before the row may leave
//!     Ok((row, receipt))
//! }
//! ```
//!
//! `BEGIN`, `enter`, the row and `ROLLBACK` are sent together, which only a read can be whose entry is written apart: one
//! that is to be in its transaction has to wait for what is decided. Which studio the caller's organization is, the
//! statement has to say before `enter` has answered; so that is what it was when somebody of it was last let in. It is for
//! the index alone: the policies compare the studio that `enter` has bound, whatever the statement says.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;
use watertight_authority::{Action, Resource};
use watertight_identity::{Caller, Who};
use watertight_terms::{Entry, Fault, Request, TenantId};

use crate::{
    Account, Receipt, Refused, Row, Stored, Tenancy, ToSql, context,
    ending::{END_READ, end_read},
    load::tell_slow,
    right::told,
    row::own,
    tenancy::{BEGIN, ENTER, is_of, is_refusal, let_in, member_of},
    transaction::{Bound, Parts},
};

/// A look at one row, whose transaction has ended.
pub struct Look<R> {
    sight: Sight,
    row: Result<Option<Row>, Fault>,
    of: PhantomData<fn() -> R>,
}

impl<R: Stored> Look<R> {
    fn new(bound: Bound, parts: Parts, row: Result<Option<Row>, Fault>) -> Self {
        Self {
            sight: Sight { bound, parts },
            row,
            of: PhantomData,
        }
    }

    /// Who looked: for the entry of a look that shows nothing.
    pub fn account(&self) -> &Account {
        &self.sight.bound.account
    }

    /// Goes on from an attempt at the same request that came to nothing.
    pub fn after(mut self, earlier: &Account) -> Self {
        let account = self.sight.bound.account.after(earlier);
        self.sight.bound.account = account;
        self
    }

    /// The row, if it is there and the caller may `A` it.
    ///
    /// # Errors
    /// Unseen, when there is no such row or the caller may not view it; not allowed, when the caller sees it but may not do
    /// this; what the database said instead.
    pub fn seen<A: Action<R>>(self) -> Result<(R, Sight), Fault> {
        let Bound { standing, .. } = &self.sight.bound;
        let Parts {
            authority, nonce, ..
        } = &self.sight.parts;
        let row = self.row?.ok_or_else(Fault::unseen)?;
        let row = own(R::from_row(&row)?, standing.tenant)?;
        let granted = authority
            .decide::<A, R>(standing, row, nonce)
            .map_err(|refused| told(A::NAME, refused))?;
        let spent = granted.spend(nonce);
        let spent = spent.map_err(|misspent| Fault::bug(misspent.to_string()))?;
        Ok((spent.into_row(), self.sight))
    }
}

/// What is left of a look: who looked, and the duty to say so. It has no way to send SQL.
#[must_use = "what was seen may leave only with its entry"]
pub struct Sight {
    bound: Bound,
    parts: Parts,
}

impl Sight {
    /// Whether the caller may do `A` with the row: for fields that not everybody sees.
    pub fn allows<A: Action<R>, R: Resource>(&self, row: &R) -> bool {
        let authority = &self.parts.authority;
        authority.allows::<A, R>(&self.bound.standing, row)
    }

    /// Has the entry written. Resolves when it is durable.
    ///
    /// # Errors
    /// When it cannot be written: no data may leave then.
    pub async fn finish(self, entry: Entry) -> Result<Receipt, Fault> {
        let Parts { journal, desk, .. } = &self.parts;
        let account = &self.bound.account;
        journal.record(journal.line(account, &entry)?, desk).await?;
        Ok(account.settle())
    }
}

/// Which studio an organization was when somebody of it was last let in.
#[derive(Clone, Default)]
pub(crate) struct Studios(Arc<Mutex<HashMap<String, TenantId>>>);

/// So many are remembered at most.
const STUDIOS_MOST: usize = 10_000;

impl Studios {
    fn of(&self, organization: &str) -> Option<TenantId> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(organization).copied()
    }

    fn learn(&self, organization: &str, tenant: TenantId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= STUDIOS_MOST {
            known.clear();
        }
        known.insert(organization.to_owned(), tenant);
    }
}

impl Tenancy {
    /// Looks at one row: one round trip. Three where it is not known yet which studio the caller's is, and one more where that
    /// was another one or `enter` has kept something, such as a session that it saw for the first time.
    ///
    /// # Errors
    /// As [`Tenancy::begin`]. What is wrong with the row is said by [`Look::seen`].
    pub async fn look<R: Stored>(
        &self,
        caller: &Caller,
        request: Request,
        id: Uuid,
    ) -> Result<Look<R>, Refused> {
        const { assert!(!R::LOAD.locks, "a look locks nothing") };
        let organization = match caller.who() {
            Who::Member(member) => Some(member.organization().to_string()),
            Who::Page { .. } | Who::Feed { .. } => None,
            // A service holds the studio's lock until its entry is durable; a look does not.
            Who::Service { .. } => return Err(Fault::bug("a service looked").into()),
        };
        let guess = organization
            .as_deref()
            .and_then(|name| self.studios.of(name));
        let earlier = match guess {
            Some(guess) => match self.glance(caller, &request, id, guess).await? {
                Glance::Whole(look) => return Ok(*look),
                Glance::Again(account) => account,
            },
            None => None,
        };
        let looked = self.stare(caller, request, id).await;
        let looked = match earlier {
            Some(earlier) => after(looked, &earlier),
            None => looked,
        };
        if let (Some(name), Ok(look)) = (organization, &looked) {
            self.studios.learn(&name, look.account().tenant());
        }
        looked
    }

    /// All in one round trip.
    async fn glance<R: Stored>(
        &self,
        caller: &Caller,
        request: &Request,
        id: Uuid,
        guess: TenantId,
    ) -> Result<Glance<R>, Refused> {
        let mut lease = self.source.lease().await?;
        let member = member_of(caller);
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        // Prepared before the pipeline: an unprepared statement inside it would be overtaken.
        let begin = client.prepare_cached(BEGIN).await.map_err(fault)?;
        let enter = client.prepare_cached(ENTER).await.map_err(fault)?;
        let end = client.prepare_cached(END_READ).await.map_err(fault)?;
        // Where the row's table is locked or not there, whoever asks is found out first.
        let Ok(load) = client.prepare_cached(R::LOAD.sql).await else {
            return Ok(Glance::Again(None));
        };
        let flight = self.flights.begin(&request.address);
        // Signed only now: what was waited for until here must not use up the context's life.
        let token = context::sign(caller, &(self.keys)(), &self.clock, &self.random)?;
        let context: [&(dyn ToSql + Sync); 1] = [&token];
        let row: [&(dyn ToSql + Sync); 2] = [&guess.0, &id];
        let entering = async {
            let entered = client.query_one(&enter, &context).await.map(Row);
            // At once: a freeze of another studio must not wait for what this one's row waits for.
            if let Ok(row) = &entered {
                is_of(&flight, row);
            }
            entered
        };
        let (begun, entered, loaded, ended) = tokio::join!(
            biased;
            client.execute(&begin, &[]),
            entering,
            client.query_opt(&load, &row),
            client.execute(&end, &[])
        );
        // One that did not end is under way still, and is discarded; who was let in is known all the same.
        let ended = begun.and(ended).map_err(fault);
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                if ended.is_ok() && is_refusal(&error) {
                    lease.arrived();
                    lease.give_back();
                }
                return Err(self.refusal(&error, member.as_ref(), request.clone(), flight));
            }
        };
        if ended.is_ok() {
            // The whole of it, told as the row's: what waits in one pipeline is not told apart.
            tell_slow(R::LOAD.sql, lease.arrived());
            lease.give_back();
        }
        let bound = let_in(&entered, member, request.clone(), flight)?;
        if bound.has_noted || bound.standing.tenant != guess {
            return Ok(Glance::Again(Some(bound.account)));
        }
        let row = ended.and(loaded.map(|row| row.map(Row)).map_err(fault));
        let look = Look::new(bound, self.parts(), row);
        Ok(Glance::Whole(Box::new(look)))
    }

    /// The same, step by step.
    async fn stare<R: Stored>(
        &self,
        caller: &Caller,
        request: Request,
        id: Uuid,
    ) -> Result<Look<R>, Refused> {
        let mut tx = self.begin(caller, request).await?;
        let loaded = tx.read(R::LOAD, &[&id]).await;
        let (lease, bound, parts) = tx.taken_apart();
        let ended = end_read(lease, bound.has_noted, &parts.desk).await;
        let row = ended.and(loaded).map(|mut rows| rows.pop());
        Ok(Look::new(bound, parts, row))
    }
}

enum Glance<R> {
    Whole(Box<Look<R>>),
    /// It is to be done step by step: there was something to keep, the guess was wrong, or nobody has entered yet.
    Again(Option<Account>),
}

/// A second attempt, whose one entry accounts for the first one's number too.
fn after<R: Stored>(
    looked: Result<Look<R>, Refused>,
    earlier: &Account,
) -> Result<Look<R>, Refused> {
    match looked {
        Ok(look) => Ok(look.after(earlier)),
        Err(refused) => Err(Refused {
            account: Some(match &refused.account {
                Some(account) => account.after(earlier),
                None => earlier.clone(),
            }),
            ..refused
        }),
    }
}
