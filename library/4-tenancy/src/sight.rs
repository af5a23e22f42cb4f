//! One row, read in one round trip: for requests that ask for nothing else.
//!
//! ```no_run
//! # use watertight_tenancy::*; use watertight_terms::*; use watertight_identity::Caller;
//! # use watertight_authority::{Action, Resource}; use uuid::Uuid;
//! async fn show<A: Action<R>, R: Stored>(tenancy: &Tenancy, caller: &Caller, request: Request, id: Uuid) -> Result<(R, Receipt), Fault> {
//!     let look = tenancy.look::<A, R>(caller, request, id).await.map_err(|refused| refused.fault)?;
//!     let (row, sight) = look.seen?; // 404 unseen, 403 seen but not allowed
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
    tenancy::{BEGIN, ENTER, is_refusal, let_in, member_of},
    transaction::{Bound, Parts},
};

/// A look at one row.
pub struct Look<R> {
    /// Who looked: for the entry of a look that is refused.
    pub account: Account,
    /// The row, and what else a look gives; or why it is not shown.
    pub seen: Result<(R, Sight), Fault>,
}

/// What is left of a look whose transaction has ended: who looked, and the duty to say so.
#[must_use = "what was seen may leave only with its entry"]
pub struct Sight {
    bound: Bound,
    parts: Parts,
}

impl Sight {
    /// The studio's name and time zone.
    pub fn studio(&self) -> (&str, &str) {
        (&self.bound.studio_name, &self.bound.studio_zone)
    }

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
    /// Looks at one row, if the caller may `A` it. One round trip; three where the caller's studio is not known yet, or where
    /// `enter` has to keep something, such as a session that it sees for the first time.
    ///
    /// # Errors
    /// As [`Tenancy::begin`]. What is wrong with the row is in the look.
    pub async fn look<A: Action<R>, R: Stored>(
        &self,
        caller: &Caller,
        request: Request,
        id: Uuid,
    ) -> Result<Look<R>, Refused> {
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
            Some(guess) => match self.glance::<A, R>(caller, &request, id, guess).await? {
                Glance::Whole(look) => return Ok(look),
                Glance::Again(account) => Some(account),
            },
            None => None,
        };
        let looked = self.stare::<A, R>(caller, request, id).await;
        let looked = match earlier {
            Some(earlier) => after(looked, &earlier),
            None => looked,
        };
        if let (Some(name), Ok(look)) = (organization, &looked) {
            self.studios.learn(&name, look.account.tenant());
        }
        looked
    }

    /// All in one round trip.
    async fn glance<A: Action<R>, R: Stored>(
        &self,
        caller: &Caller,
        request: &Request,
        id: Uuid,
        guess: TenantId,
    ) -> Result<Glance<R>, Refused> {
        let mut lease = self.source.lease().await?;
        let flight = self.flights.begin(&request.address);
        let member = member_of(caller);
        // Signed only now: waiting for a connection must not use up the context's life.
        let token = context::sign(caller, &(self.keys)(), &self.clock, &self.random)?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        // Prepared before the pipeline: an unprepared statement inside it would be overtaken.
        let begin = client.prepare_cached(BEGIN).await.map_err(fault)?;
        let enter = client.prepare_cached(ENTER).await.map_err(fault)?;
        let load = client.prepare_cached(R::LOAD.sql).await.map_err(fault)?;
        let end = client.prepare_cached(END_READ).await.map_err(fault)?;
        let context: [&(dyn ToSql + Sync); 1] = [&token];
        let row: [&(dyn ToSql + Sync); 2] = [&guess.0, &id];
        let (begun, entered, loaded, ended) = tokio::join!(
            biased;
            client.execute(&begin, &[]),
            client.query_one(&enter, &context),
            client.query_opt(&load, &row),
            client.execute(&end, &[])
        );
        begun.map_err(fault)?;
        ended.map_err(fault)?;
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                // After any other error the connection is not what it should be, and is discarded.
                if is_refusal(&error) {
                    lease.arrived();
                    lease.give_back();
                }
                return Err(self.refusal(&error, member.as_ref(), request.clone(), flight));
            }
        };
        tell_slow(R::LOAD.sql, lease.arrived());
        lease.give_back();
        let bound = let_in(&Row(entered), member, request.clone(), flight)?;
        if bound.has_noted || bound.standing.tenant != guess {
            return Ok(Glance::Again(bound.account));
        }
        let row = match loaded {
            Ok(row) => row.map(|row| R::from_row(&Row(row))).transpose(),
            Err(error) => Err(fault(error)),
        };
        let account = bound.account.clone();
        let seen = decided::<A, R>(bound, self.parts(), row);
        Ok(Glance::Whole(Look { account, seen }))
    }

    /// The same, step by step.
    async fn stare<A: Action<R>, R: Stored>(
        &self,
        caller: &Caller,
        request: Request,
        id: Uuid,
    ) -> Result<Look<R>, Refused> {
        let mut tx = self.begin(caller, request).await?;
        let account = tx.account().clone();
        let loaded = tx.load::<R>(id).await;
        let (lease, bound, parts) = tx.taken_apart();
        let ended = end_read(lease, bound.has_noted, &parts.desk).await;
        let row = ended.and(loaded).map(Some);
        let seen = decided::<A, R>(bound, parts, row);
        Ok(Look { account, seen })
    }
}

enum Glance<R> {
    Whole(Look<R>),
    /// It is to be done step by step: the guess was wrong, or there was something to keep.
    Again(Account),
}

/// What comes of a row that was read, or not.
fn decided<A: Action<R>, R: Stored>(
    bound: Bound,
    parts: Parts,
    row: Result<Option<R>, Fault>,
) -> Result<(R, Sight), Fault> {
    let row = own(row?.ok_or_else(Fault::unseen)?, bound.standing.tenant)?;
    let granted = parts
        .authority
        .decide::<A, R>(&bound.standing, row, &parts.nonce)
        .map_err(|refused| told(A::NAME, refused))?;
    let spent = granted
        .spend(&parts.nonce)
        .map_err(|misspent| Fault::bug(misspent.to_string()))?;
    Ok((spent.into_row(), Sight { bound, parts }))
}

/// A second attempt, whose one entry accounts for the first one's number too.
fn after<R>(looked: Result<Look<R>, Refused>, earlier: &Account) -> Result<Look<R>, Refused> {
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

impl<R> Look<R> {
    /// Goes on from an attempt at the same request that came to nothing.
    pub fn after(self, earlier: &Account) -> Self {
        let account = self.account.after(earlier);
        let seen = self.seen.map(|(row, mut sight)| {
            sight.bound.account = account.clone();
            (row, sight)
        });
        Self { account, seen }
    }
}
