//! What Clerk tells: `POST /webhooks/clerk`.
//!
//! A delivery is believed for its signature over the raw bytes, and has its effect once: its id is
//! stored in the effect's transaction. Clerk may lower and never raise; a session that was ended
//! here does not come back, and what is not understood is answered with success and a log line, so
//! that it is not sent again.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use watertight::door::{Routes, receive};
use watertight_identity::webhook::{Event, Headers, Signer};
use watertight_tenancy::Tenancy;
use watertight_terms::{Clock, Fault};

/// Who receives deliveries.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Knows the endpoint's secrets.
    pub signer: Arc<Signer>,
    /// Where they have their effect.
    pub tenancy: Tenancy,
    /// The time.
    pub clock: Clock,
}

/// Adds the route, where there is a secret to believe deliveries by.
pub fn routes(routes: Routes, receiver: Option<Receiver>) -> Routes {
    let Some(receiver) = receiver else {
        return routes;
    };
    let take = move |headers: HeaderMap, body: Bytes| {
        let receiver = receiver.clone();
        async move { receiver.take(&headers, &body).await }
    };
    routes.route(
        "/webhooks/clerk",
        receive(take).public("Clerk's deliveries are believed for their signature"),
    )
}

impl Receiver {
    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Fault> {
        let headers = headers.iter();
        let headers = Headers::of(headers.map(|(name, value)| (name.as_str(), value.as_bytes())))?;
        let delivery = self.signer.verify(headers, body, &self.clock)?;
        let received = delivery.event()?;
        match received.event {
            Event::SessionEnded(session)
            | Event::SessionRemoved(session)
            | Event::SessionRevoked(session) => {
                let is_new = self
                    .tenancy
                    .end_session(delivery.id, &session.id, &session.subject)
                    .await?;
                tracing::info!(target: "security", id = delivery.id, is_new, "a session ended at clerk");
            }
            _ => {
                tracing::info!(
                    id = delivery.id,
                    kind = received.kind,
                    "a delivery without an effect here"
                );
            }
        }
        Ok(())
    }
}
