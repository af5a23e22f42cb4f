//! A connection that goes back to the pool only when its transaction was cleanly ended.

use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres_rustls::MakeRustlsConnect;
use watertight_terms::Fault;

use crate::load::Counters;

/// Sent before a connection goes back: a setting that a request left in its session would be the
/// next studio's.
pub(crate) const RESET: &str = "RESET ALL";

const ROLLBACK_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Taken before the first byte of a transaction is sent.
///
/// Dropped while a statement is under way (a cancelled request), it discards the connection and
/// asks the server to stop: nobody knows what that connection would answer next, and a pool would
/// hand it, with the open transaction of one studio, to another. Dropped between statements it is
/// rolled back first and only then returned, so that a refusal costs no new connection.
pub(crate) struct Lease {
    object: Option<Object>,
    tls: MakeRustlsConnect,
    /// Since when statements are under way.
    under_way: Option<Instant>,
    counters: Counters,
}

impl Lease {
    pub(crate) fn new(object: Object, tls: MakeRustlsConnect, counters: Counters) -> Self {
        Self {
            object: Some(object),
            tls,
            under_way: None,
            counters,
        }
    }

    /// Lends the connection for statements; the lease counts as under way until
    /// [`Lease::arrived`].
    pub(crate) fn depart(&mut self) -> Result<&ClientWrapper, Fault> {
        self.under_way = Some(Instant::now());
        self.object
            .as_deref()
            .ok_or_else(|| Fault::bug("a lease without a connection"))
    }

    /// Every answer has arrived, good or bad. Gives how long that took.
    pub(crate) fn arrived(&mut self) -> Duration {
        let Some(since) = self.under_way.take() else {
            return Duration::ZERO;
        };
        let took = since.elapsed();
        self.counters.answered(took);
        took
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
            return discard(object);
        };
        if self.under_way.is_some() {
            return stop(object, self.tls.clone(), &runtime);
        }
        runtime.spawn(async move {
            // One that does not answer in time is not used again.
            let ended = tokio::time::timeout(ROLLBACK_WITHIN, roll_back(&object)).await;
            if !matches!(ended, Ok(Ok(()))) {
                discard(object);
            }
        });
    }
}

async fn roll_back(client: &ClientWrapper) -> Result<(), tokio_postgres::Error> {
    let rollback = client.prepare_cached("ROLLBACK").await?;
    client.execute(&rollback, &[]).await?;
    reset(client).await
}

/// Clears what was set in the session, outside of any transaction.
pub(crate) async fn reset(client: &ClientWrapper) -> Result<(), tokio_postgres::Error> {
    let reset = client.prepare_cached(RESET).await?;
    client.execute(&reset, &[]).await.map(drop)
}

fn discard(object: Object) {
    drop(Object::take(object));
}

fn stop(object: Object, tls: MakeRustlsConnect, runtime: &tokio::runtime::Handle) {
    let client = Object::take(object);
    let cancel = client.cancel_token();
    drop(client);
    runtime.spawn(async move {
        // The connection is gone either way; this only frees the server sooner.
        let _ = cancel.cancel_query(tls).await;
    });
}
