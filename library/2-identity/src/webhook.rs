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
//!
//! [`Headers::of`] takes the headers of a request as they came; [`Delivery::event`] reads what was
//! delivered.

mod event;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use watertight_terms::{Clock, Fault, Unproven, problems};

pub use event::{Event, Received};

/// A body has at most so many bytes: the largest events carry a whole mail.
const BODY_BYTES: usize = 256 * 1024;
/// How far the sender's clock may be from ours.
const TOLERANCE_S: i64 = 300;
/// A header carries at most so many signatures: a sender that rotates its secret sends two.
const SIGNATURES_MAX: usize = 8;
/// A header is read up to so many bytes.
const HEADER_BYTES: usize = 1_024;

/// The headers of a delivery: `svix-id`, `svix-timestamp`, `svix-signature`, or the same after
/// `webhook-`. Of one family, and each once, which [`Headers::of`] sees to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// The delivery's id, the same each time it is tried again.
    pub id: Option<&'a str>,
    /// When this try was sent, in seconds since 1970.
    pub timestamp: Option<&'a str>,
    /// Signatures, with a space between them.
    pub signature: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// The headers of a delivery among all that a request has, by their names in small letters.
    ///
    /// The two families are never mixed: where both are there, they say the same, or it is refused.
    ///
    /// # Errors
    /// `unauthenticated` when a header stands twice, is longer than 1 KiB or no text, or when the
    /// families differ.
    pub fn of(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Headers<'a>, Fault> {
        let (mut svix, mut standard) = (Headers::default(), Headers::default());
        for (name, value) in headers {
            let place = match name {
                "svix-id" => &mut svix.id,
                "svix-timestamp" => &mut svix.timestamp,
                "svix-signature" => &mut svix.signature,
                "webhook-id" => &mut standard.id,
                "webhook-timestamp" => &mut standard.timestamp,
                "webhook-signature" => &mut standard.signature,
                _ => continue,
            };
            let text = std::str::from_utf8(value).ok();
            let text = text.filter(|text| text.len() <= HEADER_BYTES);
            let text = text.ok_or_else(|| malformed("a header is too long or no text"))?;
            if place.replace(text).is_some() {
                return Err(malformed("a header stands twice"));
            }
        }
        let is_absent = |family: Headers<'_>| family == Headers::default();
        match (is_absent(svix), is_absent(standard)) {
            (_, true) => Ok(svix),
            (true, false) => Ok(standard),
            (false, false) if svix == standard => Ok(svix),
            (false, false) => Err(malformed("the two families of headers differ")),
        }
    }
}

/// A delivery that Clerk sent. It comes from [`Signer::verify`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was sent, in seconds since 1970.
    pub sent_at_s: i64,
    /// What was sent.
    pub body: &'a [u8],
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
        if body.len() > BODY_BYTES {
            return Err(malformed("longer than 256 KiB"));
        }
        let absent = |reason| refused(Unproven::Absent, reason);
        let id = headers.id.ok_or_else(|| absent("no id"))?;
        if !is_id(id) {
            return Err(malformed("no id that could be one"));
        }
        let timestamp = headers.timestamp.ok_or_else(|| absent("no timestamp"))?;
        let sent_at_s =
            seconds(timestamp).ok_or_else(|| malformed("the timestamp is no number of seconds"))?;
        if (clock.now_s() - sent_at_s).abs() > TOLERANCE_S {
            let late = "sent more than five minutes ago, or later";
            return Err(refused(Unproven::LateDelivery, late));
        }
        let signatures = headers.signature.ok_or_else(|| absent("no signature"))?;
        let signed = signed(id, timestamp, body);
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
            Err(refused(Unproven::ForgedDelivery, "no signature is right"))
        }
    }

    /// The signature of a delivery under the first secret, for those who stand in for Clerk.
    #[cfg(feature = "double")]
    pub fn sign(&self, id: &str, sent_at_s: i64, body: &[u8]) -> String {
        let signed = signed(id, &sent_at_s.to_string(), body);
        let tags = self.0.iter().map(|key| hmac::sign(key, &signed));
        tags.map(|tag| format!("v1,{}", BASE64_STANDARD.encode(tag)))
            .next()
            .unwrap_or_default()
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

/// What is signed: id, time and body, with dots between, none of which can be in the first two.
fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
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

fn malformed(reason: &'static str) -> Fault {
    refused(Unproven::Malformed, reason)
}

fn refused(why: Unproven, reason: &'static str) -> Fault {
    Fault::new(
        problems::UNAUTHENTICATED,
        "the delivery is not signed as it must be, or is too old",
    )
    .log(reason)
    .unproven(why)
}
