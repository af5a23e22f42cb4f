use jiff::Timestamp;
use uuid::Uuid;
use watertight_identity::Caller;
use watertight_tenancy::{Refused, Tenancy, TenantTx};
use watertight_terms::{Entry, Fault, Kind, Outcome, Request as Facts};

use super::Visit;
use crate::{
    argument::{Argument, Input},
    describe::Description,
    problem,
};

/// The caller of a request whose answer goes on, for as long as it does: the way to further transactions,
/// each bound anew and each with an entry of its own. Only handlers of routes that say
/// [`lasting`](super::Verb::lasting) are given one.
#[derive(Clone)]
pub struct Lasting {
    tenancy: Tenancy,
    caller: Caller,
    facts: Facts,
}

impl Lasting {
    pub(super) fn of(visit: &Visit) -> Self {
        Self {
            tenancy: visit.door.0.tenancy.clone(),
            caller: visit.caller.clone(),
            facts: visit.facts.clone(),
        }
    }

    /// Who it is, as the request said. Whether that still counts, each transaction finds out.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Works in a transaction of the caller, begun now under an id of its own. What came to nothing has
    /// its entry too, as a request has.
    ///
    /// # Errors
    /// When the caller is let in no more, and what `work` refuses.
    pub async fn work<T>(
        &self,
        (id, at): (Uuid, Timestamp),
        action: &'static str,
        noun: &'static str,
        work: impl AsyncFnOnce(TenantTx) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let facts = Facts {
            id,
            at,
            ..self.facts.clone()
        };
        let (account, worked) = match self.tenancy.begin(&self.caller, facts).await {
            Ok(tx) => (Some(tx.account().clone()), work(tx).await),
            Err(Refused { fault, account, .. }) => (account, Err(fault)),
        };
        let fault = match worked {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        if let Some(account) = account.filter(|account| !account.is_settled()) {
            let outcome = match fault.kind() {
                Kind::Bug | Kind::Unavailable => Outcome::Failed,
                _ => Outcome::Refused,
            };
            let entry = Entry::new(action, noun).rule(fault.slug());
            let entry = entry.ended(outcome, problem::status_of_fault(&fault));
            self.tenancy.record(&account, &entry).await.map(drop)?;
        }
        Err(fault)
    }
}

impl std::fmt::Debug for Lasting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lasting")
    }
}

impl Argument for Lasting {
    /// It is ours, not the caller's.
    fn describe(_: &mut Description<'_>) {}

    fn take(input: &Input) -> Result<Self, Fault> {
        let lasting = input.state.get::<Self>().cloned();
        lasting.ok_or_else(|| Fault::bug("a route that does not say that it lasts"))
    }
}
