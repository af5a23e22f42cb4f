//! A connection that goes back to the pool only when its transaction was cleanly ended.

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::NoTls;
use watertight_terms::Fault;

/// Taken before the first byte of a transaction is sent.
///
/// Dropped while a statement is under way (a cancelled request), it discards the connection and
/// asks the server to stop: nobody knows what that connection would answer next, and a pool would
/// hand it, with the open transaction of one studio, to another. Dropped between statements it is
/// rolled back first and only then returned, so that a refusal costs no new connection.
#[derive(Debug)]
pub(crate) struct Lease {
    object: Option<Object>,
    under_way: bool,
}

impl Lease {
    pub(crate) fn new(object: Object) -> Self {
        Self {
            object: Some(object),
            under_way: false,
        }
    }

    /// Lends the connection for statements; the lease counts as under way until
    /// [`Lease::arrived`].
    pub(crate) fn depart(&mut self) -> Result<&ClientWrapper, Fault> {
        self.under_way = true;
        self.object
            .as_deref()
            .ok_or_else(|| Fault::bug("a lease without a connection"))
    }

    /// Every answer has arrived, good or bad.
    pub(crate) fn arrived(&mut self) {
        self.under_way = false;
    }

    /// The transaction was cleanly ended: the connection goes back.
    pub(crate) fn give_back(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return discard(object, None);
        };
        if self.under_way {
            return discard(object, Some(&runtime));
        }
        runtime.spawn(async move {
            let ended = match object.prepare_cached("ROLLBACK").await {
                Ok(rollback) => object.execute(&rollback, &[]).await.is_ok(),
                Err(_) => false,
            };
            if !ended {
                discard(object, None);
            }
        });
    }
}

fn discard(object: Object, runtime: Option<&tokio::runtime::Handle>) {
    let client = Object::take(object);
    let cancel = client.cancel_token();
    drop(client);
    if let Some(runtime) = runtime {
        runtime.spawn(async move {
            // The connection is gone either way; this only frees the server sooner.
            let _ = cancel.cancel_query(NoTls).await;
        });
    }
}
