//! What is refused before a studio is known: tokens, deliveries, other sites' requests. Nothing here is of a
//! tenant: a person is a hash, a studio at most its id.

mod bursts;
mod hourly;
mod spray;
mod targets;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, Kind},
    raised::Raised,
    seen::{network, text_hash},
    thresholds::Thresholds,
};

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No token, or none that can be read.
    Malformed,
    /// The signature is not that of the key.
    Signature,
    /// Nobody has that key.
    UnknownKey,
    /// It was good once.
    Expired,
    /// It is for somebody else: another issuer or party.
    Claims,
    /// The person is no member, or no longer.
    NotAMember,
    /// A delivery that came before, or too late.
    ReplayedWebhook,
    /// A delivery that the provider did not sign.
    WebhookSignature,
    /// Another site sent it with the browser of a member, or asked to be let (CORS).
    ForeignPage,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Signature,
        Self::UnknownKey,
        Self::Expired,
        Self::Claims,
        Self::NotAMember,
        Self::ReplayedWebhook,
        Self::WebhookSignature,
        Self::ForeignPage,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::UnknownKey => "unknown-key",
            Self::Expired => "expired",
            Self::Claims => "claims",
            Self::NotAMember => "not-a-member",
            Self::ReplayedWebhook => "replayed-webhook",
            Self::WebhookSignature => "webhook-signature",
            Self::ForeignPage => "foreign-page",
        }
    }

    /// Whether somebody tries what nobody gave them. Tokens that expired are everyday's.
    fn is_a_try(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::Signature | Self::UnknownKey | Self::Claims
        )
    }
}

/// A request that was refused before it was known whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub address: String,
    /// Why.
    pub failure: Failure,
    /// Whom the token names, where it can be read.
    #[serde(default)]
    pub subject: Option<String>,
    /// The studio that it names.
    #[serde(default)]
    pub studio: Option<String>,
}

/// What is learned from refusals.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PlatformWatch {
    bursts: bursts::Bursts,
    spray: spray::Spray,
    subjects: targets::Targets,
    studios: targets::Targets,
    unknown_keys: hourly::Hourly,
    replays: hourly::Hourly,
    foreign_pages: hourly::Hourly,
    raised: Raised,
}

impl PlatformWatch {
    /// Takes a refusal, and says what looks wrong now.
    pub fn observe(&mut self, refusal: &Refusal, thresholds: &Thresholds) -> Vec<Alert> {
        let Some(network) = network(&refusal.address) else {
            return Vec::new();
        };
        let now_s = refusal.at.as_second();
        let mut found: Vec<(Kind, Option<String>)> = Vec::new();
        let hourly = match refusal.failure {
            Failure::UnknownKey => Some((
                &mut self.unknown_keys,
                Kind::UnknownKeys,
                thresholds.unknown_keys_an_hour,
            )),
            Failure::ReplayedWebhook => Some((
                &mut self.replays,
                Kind::ReplayedWebhooks,
                thresholds.replays_an_hour,
            )),
            Failure::ForeignPage => Some((
                &mut self.foreign_pages,
                Kind::ForeignPages,
                thresholds.foreign_pages_an_hour,
            )),
            _ => None,
        };
        if let Some((hourly, kind, most)) = hourly
            && hourly.add(now_s) >= most
        {
            found.push((kind, None));
        }
        if refusal.failure.is_a_try() {
            if self.bursts.add(&network, now_s) >= thresholds.token_failures {
                found.push((Kind::TokenBurst, Some(network.clone())));
            }
            if self.spray.is_wide(&network, now_s, thresholds) {
                found.push((Kind::SlowSpray, None));
            }
            let of_subject = refusal.subject.as_deref();
            let of_subject =
                of_subject.map(|subject| format!("person {:016x}", text_hash(subject)));
            let targets = [
                (&mut self.subjects, of_subject, Kind::TargetedSubject),
                (
                    &mut self.studios,
                    refusal.studio.clone(),
                    Kind::TargetedStudio,
                ),
            ];
            for (targets, target, kind) in targets {
                if let Some(target) = target
                    && targets.add(&target, &network, now_s) >= thresholds.target_networks
                {
                    found.push((kind, Some(target)));
                }
            }
        }
        let alerts = found.into_iter();
        let alerts = alerts.map(|(kind, subject)| Alert::new(kind, subject, refusal.at));
        alerts
            .filter_map(|alert| self.raised.unless_said(alert))
            .collect()
    }
}
