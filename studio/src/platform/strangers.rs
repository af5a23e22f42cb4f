use jiff::Timestamp;
use watertight_terms::{Fault, Request, problems};
use watertight_watch::{Failure, Refusal};

use super::{Platform, lock};
use crate::metrics::Observed;

impl Platform {
    /// Counts somebody who was not let in.
    pub fn hear(&self, fault: &Fault, request: &Request) {
        self.refused(failure(fault), &request.address, request.at);
    }

    /// Counts a request that a page of another site made.
    pub(super) fn hear_of_foreign_page(&self, observed: &Observed, at: Timestamp) {
        if observed.rule == Some(problems::FOREIGN_FORM.slug()) {
            self.refused(Failure::ForeignPage, &observed.address, at);
        }
    }

    fn refused(&self, failure: Failure, address: &str, at: Timestamp) {
        let refusal = Refusal {
            at,
            address: address.to_owned(),
            failure,
            subject: None,
            studio: None,
        };
        self.0.metrics.stranger(refusal.failure);
        let found = {
            let mut learned = lock(&self.0.learned);
            learned.strangers.observe(&refusal, &self.0.thresholds)
        };
        self.notice(found);
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
