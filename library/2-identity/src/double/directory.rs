//! Whom the stand-in knows: organizations, members, invitations, sessions, and what happened to
//! them that nobody was told yet.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use secrecy::SecretString;
use serde_json::{Value, json};
use watertight_outbound::{GetOptions, Outbound, OutboundError, SendRequest, Verb};

use super::{Double, Person};
use crate::webhook::Signer;

/// Whom the stand-in knows.
#[derive(Debug, Default)]
pub(super) struct Directory {
    organizations: BTreeMap<String, String>,
    /// By organization and user.
    memberships: BTreeMap<(String, String), Member>,
    /// By organization and address.
    invitations: BTreeMap<(String, String), Value>,
    sessions: BTreeMap<String, Session>,
    events: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Member {
    role: String,
    name: String,
    updated_at_ms: i64,
}

#[derive(Debug, Clone)]
struct Session {
    user: String,
    status: &'static str,
    updated_at_ms: i64,
}

impl Double {
    /// The secret key by which its Backend API is asked.
    pub fn secret_key(&self) -> SecretString {
        self.0.secret_key.clone().into()
    }

    /// Knows these people, each with an organization, a membership and a session.
    pub fn know(&self, people: &[Person]) {
        let now_ms = self.now_ms();
        let mut directory = self.directory();
        for person in people {
            let organization = person.organization.clone();
            directory
                .organizations
                .insert(organization.clone(), person.studio.clone());
            directory.memberships.insert(
                (organization, person.subject.clone()),
                Member {
                    role: person.role.clone(),
                    name: person.name.clone(),
                    updated_at_ms: now_ms,
                },
            );
            directory.sessions.insert(
                person.session.clone(),
                Session {
                    user: person.subject.clone(),
                    status: "active",
                    updated_at_ms: now_ms,
                },
            );
        }
    }

    /// What happened since this was asked last, oldest first: bodies of webhooks.
    pub fn take_events(&self) -> Vec<Value> {
        std::mem::take(&mut self.directory().events)
    }

    /// Delivers an event as Clerk does, and gives the status of the answer.
    ///
    /// # Errors
    /// When the rules of connections refuse it, or nobody answers.
    pub async fn deliver(
        &self,
        outbound: &Outbound,
        url: &str,
        signer: &Signer,
        event: &Value,
    ) -> Result<u16, OutboundError> {
        let id = format!("msg_{}", self.0.random.uuid().simple());
        let (sent_at_s, body) = (self.0.clock.now_s(), event.to_string());
        let options = GetOptions {
            headers: vec![
                (
                    "svix-signature".into(),
                    signer.sign(&id, sent_at_s, body.as_bytes()),
                ),
                ("svix-timestamp".into(), sent_at_s.to_string()),
                ("svix-id".into(), id),
            ],
            ..GetOptions::default()
        };
        let request = SendRequest {
            verb: Verb::Post,
            url: url.to_owned(),
            json: Some(body),
        };
        Ok(outbound.send(request, options).await?.status)
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.0
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.0.clock.now().as_millisecond()
    }

    /// The envelope of an event.
    pub(super) fn event(&self, kind: &str, data: &Value) -> Value {
        json!({
            "object": "event", "type": kind, "timestamp": self.now_ms(), "instance_id": self.0.key_id, "data": data,
        })
    }

    /// An id of that kind.
    pub(super) fn new_id(&self, kind: &str) -> String {
        format!("{kind}_{}", self.0.random.uuid().simple())
    }
}

impl Directory {
    pub(super) fn organization(&self, id: &str) -> Option<Value> {
        let name = self.organizations.get(id)?;
        Some(
            json!({ "object": "organization", "id": id, "name": name, "slug": id, "updated_at": 0 }),
        )
    }

    pub(super) fn memberships(&self, organization: &str) -> Vec<Value> {
        let of = self.memberships.keys().filter(|key| key.0 == organization);
        of.filter_map(|(organization, user)| self.membership(organization, user))
            .collect()
    }

    pub(super) fn membership(&self, organization: &str, user: &str) -> Option<Value> {
        let key = (organization.to_owned(), user.to_owned());
        let member = self.memberships.get(&key)?;
        Some(json!({
            "object": "organization_membership", "id": format!("orgmem_{user}"), "role": member.role,
            "organization": self.organization(organization),
            "public_user_data": { "user_id": user, "first_name": member.name, "last_name": null, "identifier": null },
            "updated_at": member.updated_at_ms,
        }))
    }

    pub(super) fn set_role(
        &mut self,
        organization: &str,
        user: &str,
        role: &str,
        now_ms: i64,
    ) -> Option<Value> {
        let key = (organization.to_owned(), user.to_owned());
        let member = self.memberships.get_mut(&key)?;
        role.clone_into(&mut member.role);
        member.updated_at_ms = now_ms;
        self.membership(organization, user)
    }

    /// Removes a member, and gives what it was.
    pub(super) fn remove(&mut self, organization: &str, user: &str) -> Option<Value> {
        let was = self.membership(organization, user)?;
        let key = (organization.to_owned(), user.to_owned());
        self.memberships.remove(&key);
        Some(was)
    }

    /// Keeps an invitation; none when there is one already.
    pub(super) fn invite(
        &mut self,
        organization: &str,
        email: &str,
        invitation: &Value,
    ) -> Option<()> {
        let key = (organization.to_owned(), email.to_owned());
        if self.invitations.contains_key(&key) {
            return None;
        }
        self.invitations.insert(key, invitation.clone());
        Some(())
    }

    /// The active sessions of a user.
    pub(super) fn sessions(&self, user: &str) -> Vec<Value> {
        let of = self.sessions.iter();
        of.filter(|(_, session)| session.user == user && session.status == "active")
            .filter_map(|(id, _)| self.session(id))
            .collect()
    }

    pub(super) fn revoke(&mut self, id: &str, now_ms: i64) -> Option<Value> {
        let session = self.sessions.get_mut(id)?;
        (session.status, session.updated_at_ms) = ("revoked", now_ms);
        self.session(id)
    }

    fn session(&self, id: &str) -> Option<Value> {
        let session = self.sessions.get(id)?;
        Some(json!({
            "object": "session", "id": id, "user_id": session.user, "status": session.status, "updated_at": session.updated_at_ms,
        }))
    }

    pub(super) fn happened(&mut self, event: Value) {
        self.events.push(event);
    }
}
