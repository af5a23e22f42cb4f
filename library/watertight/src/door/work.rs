//! What is done for a request that was let in: a handler in a transaction, or a look at one row.

use std::{future::Future, marker::PhantomData};

use watertight_tenancy::Account;
use watertight_terms::Fault;

use super::{Ended, Handler, Visit, Worked, keyed::Asked};

/// What is done for a request, once.
pub(super) trait Work: Clone + Send + Sync + 'static {
    /// Does it. `earlier` is the attempt before this one at the same request, which came to nothing.
    fn once(
        &self,
        visit: &Visit,
        asked: &Result<Asked, Fault>,
        earlier: Option<&Account>,
    ) -> impl Future<Output = Worked> + Send;
}

/// A handler, which is given a transaction.
pub(super) struct InTransaction<H, Arguments> {
    handler: H,
    arguments: PhantomData<fn() -> Arguments>,
}

impl<H, Arguments> InTransaction<H, Arguments> {
    pub(super) fn of(handler: H) -> Self {
        Self {
            handler,
            arguments: PhantomData,
        }
    }
}

impl<H: Clone, Arguments> Clone for InTransaction<H, Arguments> {
    fn clone(&self) -> Self {
        Self::of(self.handler.clone())
    }
}

impl<H: Handler<Arguments>, Arguments: 'static> Work for InTransaction<H, Arguments> {
    async fn once(
        &self,
        visit: &Visit,
        asked: &Result<Asked, Fault>,
        earlier: Option<&Account>,
    ) -> Worked {
        let tenancy = &visit.door.0.tenancy;
        let begun = tenancy.begin(&visit.caller, visit.facts.clone()).await;
        let tx = match (begun, earlier) {
            (Ok(tx), None) => tx,
            (Ok(tx), Some(earlier)) => tx.after(earlier),
            (Err(refused), _) => return visit.turned_away(refused, earlier).await,
        };
        let account = tx.account().clone();
        visit.is_of(&account);
        let worked = match asked {
            Ok(asked) => visit.keyed(&self.handler, tx, asked).await,
            Err(fault) => Err(fault.clone()),
        };
        worked.map_err(|fault| Ended {
            fault,
            account: Some(account),
        })
    }
}
