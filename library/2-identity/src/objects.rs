//! What Clerk knows, as far as a product needs it: the same objects come in webhooks and as answers
//! of its Backend API. Members that are not named here are not read.
//!
//! Source: Clerk's published OpenAPI files (webhooks 2025-04-15, Backend API 2025-04-10). Times are
//! milliseconds since 1970.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error};
use watertight_terms::Subject;

/// A role's name has at most so many bytes.
const ROLE_BYTES: usize = 128;
/// What is said about a person is read up to so many bytes; what is longer is left out.
const PERSONAL_BYTES: usize = 320;
/// The last millisecond that a number of JSON holds exactly.
const LAST_MS: i64 = 1 << 53;

/// What is said about a person. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal(String);

impl Personal {
    /// What it says, for whoever stores it sealed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(…)")
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id, `user_…`.
    pub subject: Subject,
    /// The first and last name, as far as they are known.
    pub name: Option<Personal>,
    /// The primary address.
    pub email: Option<Personal>,
    /// Whether Clerk lets them sign in no more.
    pub banned: bool,
    /// When Clerk changed it last.
    pub updated_at_ms: Option<i64>,
}

/// An organization: a studio, at Clerk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Organization {
    /// Its id, `org_…`.
    #[serde(deserialize_with = "id")]
    pub id: Subject,
    /// What it is called; shown to its members, and personal where one person is a studio.
    #[serde(default, deserialize_with = "personal")]
    pub name: Option<Personal>,
    /// When Clerk changed it last.
    #[serde(default, rename = "updated_at", deserialize_with = "time_ms_if_any")]
    pub updated_at_ms: Option<i64>,
}

/// A user's membership of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its id, `orgmem_…`; organization and user name it as well.
    pub id: Option<Subject>,
    /// The organization.
    pub organization: Subject,
    /// The user.
    pub subject: Subject,
    /// Clerk's role, as Clerk writes it: `org:…`. [`RoleMap`](crate::RoleMap) says what it is here.
    pub role: String,
    /// The name, as far as it is known.
    pub name: Option<Personal>,
    /// The address or name by which the user signs in.
    pub identifier: Option<Personal>,
    /// When Clerk changed it last.
    pub updated_at_ms: i64,
}

/// An invitation into an organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Invitation {
    /// Its id, `orginv_…`.
    #[serde(deserialize_with = "id")]
    pub id: Subject,
    /// The organization.
    #[serde(rename = "organization_id", deserialize_with = "id")]
    pub organization: Subject,
    /// Clerk's role, as Clerk writes it.
    #[serde(deserialize_with = "role")]
    pub role: String,
    /// Whom it went to.
    #[serde(default, rename = "email_address", deserialize_with = "personal")]
    pub email: Option<Personal>,
    /// Who accepted it, where somebody did.
    #[serde(default, rename = "user_id", deserialize_with = "id_if_any")]
    pub accepted_by: Option<Subject>,
    /// When Clerk changed it last.
    #[serde(default, rename = "updated_at", deserialize_with = "time_ms_if_any")]
    pub updated_at_ms: Option<i64>,
}

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// Its id, `sess_…`.
    #[serde(deserialize_with = "id")]
    pub id: Subject,
    /// The user.
    #[serde(rename = "user_id", deserialize_with = "id")]
    pub subject: Subject,
    /// What has become of it.
    #[serde(default)]
    pub status: SessionStatus,
    /// When Clerk changed it last.
    #[serde(default, rename = "updated_at", deserialize_with = "time_ms_if_any")]
    pub updated_at_ms: Option<i64>,
}

/// What has become of a session. Only an active one is anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// It may be used.
    Active,
    /// Signed in, but a task is open, such as choosing an organization.
    Pending,
    /// Somebody else ended it.
    Revoked,
    /// The user signed out.
    Ended,
    /// Its time is over.
    Expired,
    /// The user signed out on the device.
    Removed,
    /// Nobody used it for too long.
    Abandoned,
    /// Another took its place.
    Replaced,
    /// None said, or a word that is not known here, which is not `active`.
    #[default]
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(deserialize_with = "id")]
            id: Subject,
            first_name: Option<String>,
            last_name: Option<String>,
            primary_email_address_id: Option<String>,
            #[serde(default)]
            email_addresses: Vec<Address>,
            #[serde(default)]
            banned: bool,
            #[serde(default, deserialize_with = "time_ms_if_any")]
            updated_at: Option<i64>,
        }
        #[derive(Deserialize)]
        struct Address {
            id: Option<String>,
            email_address: String,
        }
        let wire = Wire::deserialize(deserializer)?;
        let primary = wire.primary_email_address_id;
        let mut addresses = wire.email_addresses.into_iter();
        let email = addresses.find(|address| address.id.is_some() && address.id == primary);
        Ok(Self {
            subject: wire.id,
            name: full_name(wire.first_name, wire.last_name),
            email: email.and_then(|email| bounded(email.email_address)),
            banned: wire.banned,
            updated_at_ms: wire.updated_at,
        })
    }
}

impl<'de> Deserialize<'de> for Membership {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default, deserialize_with = "id_if_any")]
            id: Option<Subject>,
            #[serde(deserialize_with = "role")]
            role: String,
            organization: Of,
            public_user_data: Person,
            #[serde(deserialize_with = "time_ms")]
            updated_at: i64,
        }
        #[derive(Deserialize)]
        struct Of {
            #[serde(deserialize_with = "id")]
            id: Subject,
        }
        #[derive(Deserialize)]
        struct Person {
            #[serde(deserialize_with = "id")]
            user_id: Subject,
            first_name: Option<String>,
            last_name: Option<String>,
            #[serde(default, deserialize_with = "personal")]
            identifier: Option<Personal>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let person = wire.public_user_data;
        Ok(Self {
            id: wire.id,
            organization: wire.organization.id,
            subject: person.user_id,
            role: wire.role,
            name: full_name(person.first_name, person.last_name),
            identifier: person.identifier,
            updated_at_ms: wire.updated_at,
        })
    }
}

pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subject, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

pub(crate) fn id_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Subject>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(D::Error::custom))
        .transpose()
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let role = String::deserialize(deserializer)?;
    if (1..=ROLE_BYTES).contains(&role.len()) {
        Ok(role)
    } else {
        Err(D::Error::custom("a role has 1 to 128 bytes"))
    }
}

fn time_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    time_ms_if_any(deserializer)?.ok_or_else(|| D::Error::custom("a time is missing"))
}

fn time_ms_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        Some(time_ms) if !(0..=LAST_MS).contains(&time_ms) => {
            Err(D::Error::custom("a time is out of its bounds"))
        }
        time_ms => Ok(time_ms),
    }
}

fn personal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Personal>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(bounded))
}

/// A name that is too long keeps nobody's membership from being known: it is left out.
fn bounded(text: String) -> Option<Personal> {
    (1..=PERSONAL_BYTES)
        .contains(&text.len())
        .then_some(Personal(text))
}

fn full_name(first: Option<String>, last: Option<String>) -> Option<Personal> {
    let parts = [first, last].map(Option::unwrap_or_default);
    bounded(parts.join(" ").trim().to_owned())
}
