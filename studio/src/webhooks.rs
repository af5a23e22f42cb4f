//! What Clerk tells: `POST /webhooks/clerk`.
//!
//! A delivery is believed for its signature over the raw bytes, and has its effect once: its id is
//! stored in the effect's transaction. Clerk may lower at once and never raise above what an owner
//! admitted. What is not understood is answered with success and a log line, so that it is not sent
//! again.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use watertight::door::{Routes, receive};
use watertight_identity::{
    objects::{Session, User},
    webhook::{Delivery, Event, Headers, Received, Signer},
};
use watertight_tenancy::{Effect, EffectKind, News, ProviderEvent};
use watertight_terms::{Clock, Fault};

use crate::people::People;

/// Who receives deliveries.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Knows the endpoint's secrets.
    pub signer: Arc<Signer>,
    /// Where they have their effect.
    pub people: People,
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
        let named = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let delivery = self.signer.verify(Headers::of(named)?, body, &self.clock)?;
        let received = delivery.event()?;
        self.apply(&delivery, &received).await
    }

    async fn apply(&self, delivery: &Delivery<'_>, received: &Received) -> Result<(), Fault> {
        let said = Said {
            people: &self.people,
            delivery: delivery.id,
            told_ms: received.at_ms,
            sent_ms: delivery.sent_at_s * 1_000,
        };
        match &received.event {
            Event::SessionCreated(session) | Event::SessionPending(session) => {
                said.session(session, false).await
            }
            Event::SessionEnded(session)
            | Event::SessionRemoved(session)
            | Event::SessionRevoked(session) => said.session(session, true).await,
            Event::MembershipCreated(membership) | Event::MembershipUpdated(membership) => {
                let effects = self.people.hear_of_membership(delivery.id, membership);
                said.had(&effects.await?);
                Ok(())
            }
            Event::MembershipDeleted(membership) => {
                // It carries what the membership was last; when it was deleted says the envelope.
                let told_ms = said.told_ms.unwrap_or_default();
                let at_ms = membership.updated_at_ms.max(told_ms);
                let news = News::MemberGone {
                    organization: &membership.organization,
                    subject: &membership.subject,
                };
                said.apply(Some(at_ms), news).await
            }
            Event::InvitationAccepted(invitation) => {
                let Some(subject) = &invitation.accepted_by else {
                    return Ok(());
                };
                let news = News::Accepted {
                    organization: &invitation.organization,
                    invitation: &invitation.id,
                    subject,
                };
                said.apply(invitation.updated_at_ms, news).await
            }
            Event::InvitationRevoked(invitation) => {
                let news = News::Uninvited {
                    organization: &invitation.organization,
                    invitation: &invitation.id,
                };
                said.apply(invitation.updated_at_ms, news).await
            }
            Event::OrganizationDeleted(organization) => {
                let news = News::OrganizationGone(organization);
                said.apply(None, news).await
            }
            Event::UserDeleted(subject) => said.apply(None, News::UserGone(subject)).await,
            Event::UserCreated(user) | Event::UserUpdated(user) => said.user(user).await,
            Event::OrganizationCreated(_)
            | Event::OrganizationUpdated(_)
            | Event::InvitationCreated(_)
            | Event::Unknown(_) => {
                tracing::info!(
                    id = delivery.id,
                    kind = received.kind,
                    "a delivery without an effect here"
                );
                Ok(())
            }
        }
    }
}

/// What a delivery said, and when that was.
struct Said<'a> {
    people: &'a People,
    delivery: &'a str,
    /// When it was so, as the envelope says.
    told_ms: Option<i64>,
    sent_ms: i64,
}

impl Said<'_> {
    async fn apply(&self, at_ms: Option<i64>, news: News<'_>) -> Result<(), Fault> {
        let event = ProviderEvent {
            delivery: self.delivery,
            // What is said without a time was so when it was sent.
            at_ms: at_ms.or(self.told_ms).unwrap_or(self.sent_ms),
            news,
        };
        self.had(&self.people.tenancy.apply(&event).await?);
        Ok(())
    }

    async fn user(&self, user: &User) -> Result<(), Fault> {
        let subject = &user.subject;
        if user.banned {
            let news = News::UserBanned(subject);
            return self.apply(user.updated_at_ms, news).await;
        }
        let name = user.name.as_ref().map_or("", |name| name.expose());
        self.apply(user.updated_at_ms, News::User { subject, name })
            .await
    }

    async fn session(&self, session: &Session, ended: bool) -> Result<(), Fault> {
        // Without a time an end counts from now on, and a beginning against nothing.
        let untimed_ms = if ended { self.sent_ms } else { 0 };
        let at_ms = session.updated_at_ms.or(self.told_ms);
        let heard = self.people.tenancy.note_session(
            self.delivery,
            &session.id,
            &session.subject,
            ended,
            at_ms.unwrap_or(untimed_ms),
        );
        let is_new = heard.await?;
        tracing::info!(target: "security", id = self.delivery, ended, is_new, "clerk told of a session");
        Ok(())
    }

    fn had(&self, effects: &[Effect]) {
        let kinds: Vec<EffectKind> = effects.iter().map(|effect| effect.kind).collect();
        tracing::info!(target: "security", id = self.delivery, effects = ?kinds, "clerk told of people");
    }
}
