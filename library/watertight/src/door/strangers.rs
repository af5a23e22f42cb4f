use std::sync::Arc;

use axum::response::Response;
use watertight_edge::rate::Stranger;
use watertight_terms::{Fault, Kind, Request as Facts};

use super::Door;

/// Hears of whoever was not let in.
pub(super) type Hear = Arc<dyn Fn(&Fault, &Facts) + Send + Sync>;

impl Door {
    /// The same door, which tells `hear` of each request by somebody who could not say who they are, and why
    /// ([`Fault::why_unproven`]): neither of one that is refused for another reason, nor while it is ours that nobody can say so.
    /// It is called while the request waits, and keeps nothing up.
    pub fn with_strangers(self, hear: impl Fn(&Fault, &Facts) + Send + Sync + 'static) -> Self {
        self.changed(|inside| inside.strangers = Some(Arc::new(hear)))
    }

    /// Strangers write nothing to the database: they go to the platform's security log, and to whoever counts
    /// them.
    pub(super) fn note_stranger(&self, fault: &Fault, facts: &Facts) {
        if fault.why_unproven().is_none() {
            return;
        }
        tracing::info!(target: "security", request_id = %facts.id, address = facts.address, reason = %fault, "not let in");
        if let Some(hear) = &self.0.strangers {
            hear(fault, facts);
        }
    }
}

/// Marks the answer to somebody who could not say who they are: their address pays for that.
pub(super) fn marked(mut response: Response, fault: &Fault) -> Response {
    if fault.kind() == Kind::Unauthenticated {
        response.extensions_mut().insert(Stranger);
    }
    response
}
