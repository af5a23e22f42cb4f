use axum::{
    extract::{Request as Asked, State},
    middleware::Next,
    response::Response,
};
use http::{Method, header};
use jiff::Timestamp;
use watertight_edge::facts;
use watertight_terms::{Aim, Fault, Request, Unproven, problems};
use watertight_watch::{Failure, Refusal};

use super::{Platform, lock};
use crate::{app::App, metrics::Observed};

/// Layer: counts the pages of others that ask whether they may call the API (CORS) and are not let: the answer names no origin.
pub async fn note_foreign_pages(State(app): State<App>, request: Asked, next: Next) -> Response {
    let is_asked =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ORIGIN);
    let from = facts(request.extensions()).filter(|_| is_asked);
    let from = from.map(|facts| (facts.address.clone(), facts.at));
    let response = next.run(request).await;
    let is_let = response
        .headers()
        .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    if let Some((address, at)) = from.filter(|_| !is_let) {
        let aim = Aim::default();
        app.platform
            .refused(Failure::ForeignPage, aim, &address, at);
    }
    response
}

impl Platform {
    /// Counts somebody who was not let in, if they could not say who they are.
    pub fn hear(&self, fault: &Fault, request: &Request) {
        if let Some(why) = fault.why_unproven() {
            let aim = fault.aim().clone();
            self.refused(failure(why), aim, &request.address, request.at);
        }
    }

    /// Counts a request that a page of another site made.
    pub(super) fn hear_of_foreign_page(&self, observed: &Observed, at: Timestamp) {
        if observed.rule == Some(problems::FOREIGN_FORM.slug()) {
            let aim = Aim::default();
            self.refused(Failure::ForeignPage, aim, &observed.address, at);
        }
    }

    fn refused(&self, failure: Failure, aim: Aim, address: &str, at: Timestamp) {
        let refusal = Refusal {
            at,
            address: address.to_owned(),
            failure,
            subject: aim.subject,
            studio: aim.organization,
        };
        self.0.metrics.stranger(refusal.failure);
        let found = {
            let mut learned = lock(&self.0.learned);
            learned.strangers.observe(&refusal, &self.0.thresholds)
        };
        self.notice(found);
    }
}

/// What the detectors call it.
fn failure(why: Unproven) -> Failure {
    match why {
        Unproven::Absent => Failure::Absent,
        Unproven::Malformed => Failure::Malformed,
        Unproven::Signature => Failure::Signature,
        Unproven::UnknownKey => Failure::UnknownKey,
        Unproven::Over => Failure::Expired,
        Unproven::Claims => Failure::Claims,
        Unproven::UnknownSecret => Failure::UnknownSecret,
        Unproven::NotAMember => Failure::NotAMember,
        Unproven::ForgedDelivery => Failure::WebhookSignature,
        Unproven::LateDelivery => Failure::ReplayedWebhook,
    }
}
