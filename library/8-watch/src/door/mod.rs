//! What is refused before a studio is known: tokens, deliveries, other sites' requests. Nothing here is of a
//! tenant: a person and an organization are digests.

mod bursts;
mod hourly;
mod spray;
mod targets;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, Kind},
    raised::Raised,
    seen::network,
    thresholds::Thresholds,
};

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Nothing that says who it is: whoever is not signed in.
    Absent,
    /// A token that cannot be read.
    Malformed,
    /// The signature is not that of the key.
    Signature,
    /// Nobody has that key.
    UnknownKey,
    /// It was good once.
    Expired,
    /// It is for somebody else: another issuer or party.
    Claims,
    /// A cookie or a feed's address that nobody has.
    UnknownSecret,
    /// The person is no member of what they ask for.
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
    pub const ALL: [Self; 11] = [
        Self::Absent,
        Self::Malformed,
        Self::Signature,
        Self::UnknownKey,
        Self::Expired,
        Self::Claims,
        Self::UnknownSecret,
        Self::NotAMember,
        Self::ReplayedWebhook,
        Self::WebhookSignature,
        Self::ForeignPage,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::UnknownKey => "unknown-key",
            Self::Expired => "expired",
            Self::Claims => "claims",
            Self::UnknownSecret => "unknown-secret",
            Self::NotAMember => "not-a-member",
            Self::ReplayedWebhook => "replayed-webhook",
            Self::WebhookSignature => "webhook-signature",
            Self::ForeignPage => "foreign-page",
        }
    }

    /// Whether somebody tries what nobody gave them. Tokens that expired are everyday's, and so is whoever has none.
    fn is_a_try(self) -> bool {
        self.is_forged() || matches!(self, Self::UnknownSecret | Self::NotAMember)
    }

    /// Whether many who try it a little are more than many who know no better: calendars ask for years for a feed that is gone, and
    /// people come before they are members.
    fn is_forged(self) -> bool {
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
    /// Whom the token names, where it can be read: a digest.
    #[serde(default)]
    pub subject: Option<String>,
    /// The organization that it names: a digest.
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
    #[serde(default)]
    forged: hourly::Hourly,
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
            Failure::WebhookSignature => Some((
                &mut self.forged,
                Kind::ForgedWebhooks,
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
        if refusal.failure.is_a_try()
            && self.bursts.add(&network, now_s) >= thresholds.token_failures
        {
            found.push((Kind::TokenBurst, Some(network.clone())));
        }
        if refusal.failure.is_forged() {
            if self.spray.is_wide(&network, now_s, thresholds) {
                found.push((Kind::SlowSpray, None));
            }
            let named =
                |what: &str, id: &Option<String>| id.as_ref().map(|id| format!("{what} {id}"));
            let targets = [
                (
                    &mut self.subjects,
                    named("person", &refusal.subject),
                    Kind::TargetedSubject,
                ),
                (
                    &mut self.studios,
                    named("organization", &refusal.studio),
                    Kind::TargetedStudio,
                ),
            ];
            let most = thresholds.target_networks;
            for (targets, target, kind) in targets {
                if let Some(target) = target
                    && targets.add(&target, &network, now_s, most) >= most
                {
                    found.push((kind, targets.name(target, now_s)));
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
