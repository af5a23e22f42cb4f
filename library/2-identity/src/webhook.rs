//! Webhooks of Clerk: who sent these bytes, and when.
//!
//! ```
//! use secrecy::SecretString;
//! use watertight_identity::webhook::{Headers, Signer};
//! use watertight_terms::Clock;
//!
//! // The example of Svix' documentation, at its time.
//! let signer = Signer::new(&[SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).unwrap();
//! let clock = Clock::fixed("2021-02-25T15:02:10Z".parse().unwrap());
//! let headers = Headers {
//!     id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
//!     timestamp: Some("1614265330"),
//!     signature: Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
//! };
//! let delivery = signer.verify(headers, br#"{"test": 2432232314}"#, &clock).unwrap();
//! assert_eq!(delivery.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
//! assert!(signer.verify(headers, br#"{"test": 2432232315}"#, &clock).is_err());
//! ```
//!
//! Scheme: Standard Webhooks, as Svix sends it (HMAC-SHA-256 over `id.timestamp.body`). The bytes
//! are looked at before they are read as anything, in constant time, and count for five minutes;
//! the id is what makes a delivery happen once, and is the caller's to store with its effect.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use watertight_terms::{Clock, Fault, Kind, Subject};

use crate::json;

/// How far the sender's clock may be from ours.
const TOLERANCE_S: i64 = 300;
/// A header carries at most so many signatures: a sender that rotates its secret sends two.
const SIGNATURES_MAX: usize = 8;

/// The headers of a delivery: `svix-id`, `svix-timestamp`, `svix-signature`, or the same after
/// `webhook-`. Of one family, and each once: that is the caller's to see to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// The delivery's id, the same each time it is tried again.
    pub id: Option<&'a str>,
    /// When this try was sent, in seconds since 1970.
    pub timestamp: Option<&'a str>,
    /// Signatures, with a space between them.
    pub signature: Option<&'a str>,
}

/// A delivery that Clerk sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was sent, in seconds since 1970.
    pub sent_at_s: i64,
    /// What was sent.
    pub body: &'a [u8],
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session is over, whichever way.
    SessionEnded {
        /// Which.
        session: Subject,
        /// Whose.
        subject: Subject,
    },
    /// Something that has no effect here.
    Other {
        /// Its type, cut to 64 plain characters.
        kind: String,
    },
}

impl Event {
    /// Reads an event: `{"type": …, "data": {…}}`, each member once.
    ///
    /// # Errors
    /// When it is no event, or one with an effect that does not say on what.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let malformed = || {
            Fault::new(
                Kind::Malformed,
                "malformed",
                "the body is no event that can be read",
            )
        };
        let event = json::object(body).ok_or_else(malformed)?;
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .ok_or_else(malformed)?;
        let data = event
            .get("data")
            .and_then(Value::as_object)
            .ok_or_else(malformed)?;
        match kind {
            "session.ended" | "session.removed" | "session.revoked" => {
                let id = |name| {
                    let id = data.get(name).and_then(Value::as_str);
                    id.and_then(|id| id.parse().ok()).ok_or_else(malformed)
                };
                Ok(Self::SessionEnded {
                    session: id("id")?,
                    subject: id("user_id")?,
                })
            }
            other => Ok(Self::Other {
                kind: other
                    .chars()
                    .filter(|letter| letter.is_ascii_graphic())
                    .take(64)
                    .collect(),
            }),
        }
    }
}

/// A secret that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook secret is `whsec_` and 24 to 64 bytes in base64; copy it from the endpoint's page at Clerk"
)]
pub struct SecretError;

/// Knows the endpoint's secrets: one, or two while one follows the other.
pub struct Signer(Vec<hmac::Key>);

impl Signer {
    /// A signer for these secrets, as Clerk shows them.
    ///
    /// # Errors
    /// When there is none, or one is malformed.
    pub fn new(secrets: &[SecretString]) -> Result<Self, SecretError> {
        let keys: Result<Vec<_>, _> = secrets.iter().map(key).collect();
        keys.and_then(|keys| match keys.len() {
            1 | 2 => Ok(Self(keys)),
            _ => Err(SecretError),
        })
    }

    /// A new secret, as Clerk would show it: for a demonstration.
    #[cfg(feature = "double")]
    pub fn new_secret(random: &watertight_terms::Random) -> String {
        format!("whsec_{}", BASE64_STANDARD.encode(random.bytes::<24>()))
    }

    /// The delivery, if it is Clerk's and fresh.
    ///
    /// # Errors
    /// `unauthenticated`, always in the same words; the log says which rule it was.
    pub fn verify<'a>(
        &self,
        headers: Headers<'a>,
        body: &'a [u8],
        clock: &Clock,
    ) -> Result<Delivery<'a>, Fault> {
        let id = headers
            .id
            .filter(|id| is_id(id))
            .ok_or_else(|| refused("no id, or none that could be one"))?;
        let timestamp = headers.timestamp.ok_or_else(|| refused("no timestamp"))?;
        let sent_at_s =
            seconds(timestamp).ok_or_else(|| refused("the timestamp is no number of seconds"))?;
        if (clock.now_s() - sent_at_s).abs() > TOLERANCE_S {
            return Err(refused("sent more than five minutes ago, or later"));
        }
        let signatures = headers.signature.ok_or_else(|| refused("no signature"))?;
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        // Every one is tried against every key: how long it takes says nothing of which was right.
        let mut is_good = false;
        for signature in signatures.split(' ').take(SIGNATURES_MAX).filter_map(tag) {
            for key in &self.0 {
                is_good |= hmac::verify(key, &signed, &signature).is_ok();
            }
        }
        if is_good {
            Ok(Delivery {
                id,
                sent_at_s,
                body,
            })
        } else {
            Err(refused("no signature is right"))
        }
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

fn key(secret: &SecretString) -> Result<hmac::Key, SecretError> {
    let text = secret
        .expose_secret()
        .strip_prefix("whsec_")
        .ok_or(SecretError)?;
    let bytes = zeroize::Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| SecretError)?);
    if !(24..=64).contains(&bytes.len()) {
        return Err(SecretError);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&id.len()) && id.bytes().all(is_plain)
}

/// Digits only: no sign, no space, no leading zero, so that there is one way to write a time.
fn seconds(text: &str) -> Option<i64> {
    let seconds: i64 = text.parse().ok()?;
    (seconds > 0 && seconds.to_string() == text).then_some(seconds)
}

/// The bytes of a `v1,…` signature; other versions are not for us.
fn tag(text: &str) -> Option<[u8; 32]> {
    let encoded = text.strip_prefix("v1,")?;
    BASE64_STANDARD.decode(encoded).ok()?.try_into().ok()
}

fn refused(why: &'static str) -> Fault {
    Fault::new(
        Kind::Unauthenticated,
        "unauthenticated",
        "the delivery is not signed as it must be, or is too old",
    )
    .log(why)
}
