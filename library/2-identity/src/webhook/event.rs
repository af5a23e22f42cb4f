use serde::Deserialize;
use serde_json::{Map, Value};
use watertight_terms::{Fault, Subject, problems};

use super::Delivery;
use crate::{
    json,
    objects::{self, Invitation, Membership, Organization, Session, User},
};

/// Below it a time is meant in seconds, from it on in milliseconds: Clerk writes both. In seconds
/// it is the year 5138, in milliseconds 1973.
const FIRST_MS: i64 = 100_000_000_000;
/// The last second whose milliseconds a number of JSON holds exactly.
const LAST_MS: i64 = 1 << 53;
/// A type that is not known is repeated up to so many letters.
const TYPE_CHARS: usize = 64;

/// An event with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The instance that it happened in, `ins_…`. Compare it with the one that is yours: a secret
    /// that was pasted into two dashboards is known to two instances.
    pub instance: Option<Subject>,
    /// When it happened, in milliseconds since 1970. It is all the time that a deletion carries.
    pub at_ms: Option<i64>,
    /// Its type, as a line of a log may show it.
    pub kind: String,
    /// What happened.
    pub event: Event,
}

/// What happened at Clerk. Events come in any order, again, and not at all: apply one only if its
/// object's `updated_at_ms` is not older than what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `user.created`
    UserCreated(User),
    /// `user.updated`
    UserUpdated(User),
    /// `user.deleted`
    UserDeleted(Subject),
    /// `organization.created`
    OrganizationCreated(Organization),
    /// `organization.updated`
    OrganizationUpdated(Organization),
    /// `organization.deleted`
    OrganizationDeleted(Subject),
    /// `organizationMembership.created`
    MembershipCreated(Membership),
    /// `organizationMembership.updated`
    MembershipUpdated(Membership),
    /// `organizationMembership.deleted`: what it was last.
    MembershipDeleted(Membership),
    /// `organizationInvitation.created`
    InvitationCreated(Invitation),
    /// `organizationInvitation.accepted`
    InvitationAccepted(Invitation),
    /// `organizationInvitation.revoked`
    InvitationRevoked(Invitation),
    /// `session.created`
    SessionCreated(Session),
    /// `session.pending`
    SessionPending(Session),
    /// `session.ended`
    SessionEnded(Session),
    /// `session.removed`
    SessionRemoved(Session),
    /// `session.revoked`
    SessionRevoked(Session),
    /// Another type, which is no mistake: acknowledge it, and log its name.
    Unknown(String),
}

impl Delivery<'_> {
    /// What the delivery says. Only a delivery whose signature was right can be asked.
    ///
    /// Members that an effect needs must be there: ids, the role and the time of a membership.
    /// Others may be absent, but not malformed.
    ///
    /// # Errors
    /// `malformed-event` when it is no JSON object in which every member stands once, or lacks
    /// what its type promises. Clerk sends it again, and shows it to whoever operates the instance.
    pub fn event(&self) -> Result<Received, Fault> {
        #[derive(Deserialize)]
        struct Envelope {
            object: Option<String>,
            r#type: String,
            timestamp: Option<i64>,
            #[serde(default, deserialize_with = "objects::id_if_any")]
            instance_id: Option<Subject>,
            data: Map<String, Value>,
        }
        let object = json::object(self.body)
            .ok_or_else(|| malformed("it is no object in which every member stands once"))?;
        let envelope: Envelope = read(object)?;
        if envelope.object.is_some_and(|object| object != "event") {
            return Err(malformed("its object is not `event`"));
        }
        Ok(Received {
            instance: envelope.instance_id,
            at_ms: envelope.timestamp.map(milliseconds).transpose()?,
            kind: plain(&envelope.r#type),
            event: event(&envelope.r#type, envelope.data)?,
        })
    }
}

fn event(kind: &str, data: Map<String, Value>) -> Result<Event, Fault> {
    Ok(match kind {
        "user.created" => Event::UserCreated(read(data)?),
        "user.updated" => Event::UserUpdated(read(data)?),
        "user.deleted" => Event::UserDeleted(deleted(data)?),
        "organization.created" => Event::OrganizationCreated(read(data)?),
        "organization.updated" => Event::OrganizationUpdated(read(data)?),
        "organization.deleted" => Event::OrganizationDeleted(deleted(data)?),
        "organizationMembership.created" => Event::MembershipCreated(read(data)?),
        "organizationMembership.updated" => Event::MembershipUpdated(read(data)?),
        "organizationMembership.deleted" => Event::MembershipDeleted(read(data)?),
        "organizationInvitation.created" => Event::InvitationCreated(read(data)?),
        "organizationInvitation.accepted" => Event::InvitationAccepted(read(data)?),
        "organizationInvitation.revoked" => Event::InvitationRevoked(read(data)?),
        "session.created" => Event::SessionCreated(read(data)?),
        "session.pending" => Event::SessionPending(read(data)?),
        "session.ended" => Event::SessionEnded(read(data)?),
        "session.removed" => Event::SessionRemoved(read(data)?),
        "session.revoked" => Event::SessionRevoked(read(data)?),
        other => Event::Unknown(plain(other)),
    })
}

/// A deleted thing is an id, and that it is deleted.
fn deleted(data: Map<String, Value>) -> Result<Subject, Fault> {
    #[derive(Deserialize)]
    struct Deleted {
        #[serde(deserialize_with = "objects::id")]
        id: Subject,
        deleted: Option<bool>,
    }
    let gone: Deleted = read(data)?;
    match gone.deleted {
        Some(false) => Err(malformed("it is deleted and not deleted")),
        Some(true) | None => Ok(gone.id),
    }
}

fn read<T: for<'de> Deserialize<'de>>(data: Map<String, Value>) -> Result<T, Fault> {
    // What a parser says of a value repeats the value, which may be somebody's name.
    serde_json::from_value(Value::Object(data))
        .map_err(|_| malformed("it lacks what its type promises"))
}

fn milliseconds(time: i64) -> Result<i64, Fault> {
    let time_ms = if time < FIRST_MS {
        time.saturating_mul(1_000)
    } else {
        time
    };
    if (0..=LAST_MS).contains(&time_ms) {
        Ok(time_ms)
    } else {
        Err(malformed("its timestamp is out of its bounds"))
    }
}

/// A type as a line of a log may show it.
fn plain(kind: &str) -> String {
    kind.chars()
        .take(TYPE_CHARS)
        .map(|letter| match letter {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-' => letter,
            _ => '?',
        })
        .collect()
}

fn malformed(why: &'static str) -> Fault {
    Fault::new(
        problems::MALFORMED_EVENT,
        "the delivery is signed, but is no event that can be read",
    )
    .log(why)
}
