//! Counts who is not let in, and tells operators what looks wrong about it.
//!
//! ```text
//! hear()           in the request: a counter, in memory
//! keep_telling()   each second: what it noticed, to the log and to the table that operators list
//! ```
//!
//! Each process counts what comes to it, anew after a restart; alerts of all of them meet in the table.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use watertight_tenancy::{Tell, Tenancy};
use watertight_terms::{Fault, Request};
use watertight_watch::{Alert, Failure, PlatformWatch, Refusal, Thresholds};

use crate::metrics::Metrics;

const NOTE: Tell = Tell::new("y1", "SELECT watch.note_alert($1)");

/// So many wait to be told; of more, the oldest are told by the log alone.
const UNTOLD_MOST: usize = 1_000;

/// Who is not let in.
#[derive(Clone, Debug)]
pub struct Strangers {
    thresholds: Arc<Thresholds>,
    metrics: Metrics,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    watch: PlatformWatch,
    untold: VecDeque<Alert>,
}

impl Strangers {
    /// Nobody yet.
    pub fn new(thresholds: Thresholds, metrics: Metrics) -> Self {
        Self {
            thresholds: Arc::new(thresholds),
            metrics,
            counted: Arc::default(),
        }
    }

    /// Counts somebody who was not let in.
    pub fn hear(&self, fault: &Fault, request: &Request) {
        let refusal = Refusal {
            at: request.at,
            address: request.address.clone(),
            failure: failure(fault),
            subject: None,
            studio: None,
        };
        self.metrics.stranger(refusal.failure);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in counted.watch.observe(&refusal, &self.thresholds) {
            tracing::warn!(target: "alert", kind = alert.kind.as_str(), subject = alert.subject, "{}", alert.kind.advice());
            self.metrics.alert(alert.kind);
            if counted.untold.len() == UNTOLD_MOST {
                counted.untold.pop_front();
            }
            counted.untold.push_back(alert);
        }
    }

    /// Tells what was noticed, each second, for as long as it is let.
    pub async fn keep_telling(&self, tenancy: &Tenancy) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(fault) = self.tell(tenancy).await {
                tracing::warn!("telling operators: {fault}");
            }
        }
    }

    /// Tells what was noticed until now.
    ///
    /// # Errors
    /// When the database cannot be reached; the next time goes on from there.
    pub async fn tell(&self, tenancy: &Tenancy) -> Result<(), Fault> {
        while let Some(alert) = self.next() {
            let at = alert.at.as_microsecond().to_string();
            let subject = alert.subject.as_deref().unwrap_or_default();
            let fields = [alert.kind.as_str(), alert.severity.as_str(), subject, &at];
            if let Err(fault) = tenancy.tell(NOTE, &fields).await {
                let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.untold.push_front(alert);
                return Err(fault);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Alert> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.untold.pop_front()
    }
}

/// Why somebody was not let in, by what the log is told of it.
fn failure(fault: &Fault) -> Failure {
    let said = fault.logged().unwrap_or_default();
    let reasons = [
        ("kid is no known key", Failure::UnknownKey),
        ("the signature is wrong", Failure::Signature),
        ("no signature is right", Failure::WebhookSignature),
        ("sent more than five minutes ago", Failure::ReplayedWebhook),
        ("expired", Failure::Expired),
        ("issuer", Failure::Claims),
        ("azp", Failure::Claims),
        ("aud", Failure::Claims),
    ];
    let mut reasons = reasons.into_iter();
    let found = reasons.find(|(reason, _)| said.contains(reason));
    found.map_or(Failure::Malformed, |(_, failure)| failure)
}
