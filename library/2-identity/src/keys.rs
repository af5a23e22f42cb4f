use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use watertight_outbound::{GetOptions, Outbound};
use watertight_terms::{Clock, Fault};

/// Keys count as fresh for so long after they were fetched.
const FRESH_S: i64 = 300;
/// Keys are used for so long when they cannot be fetched again.
const STALE_S: i64 = 3_600;
/// Between two fetches are at least so many seconds.
const BETWEEN_S: i64 = 10;
/// More keys than so many are not read.
const KEYS_MAX: usize = 32;

/// The public keys of an issuer: fixed, or fetched from where it publishes them.
///
/// A key is found by its id alone within one `Keys`, which belongs to one issuer. Fetching is
/// single-flight and at most every ten seconds, so a flood of unknown ids is no flood of fetches.
#[derive(Clone)]
pub struct Keys(Arc<Source>);

enum Source {
    Fixed(Vec<(Option<String>, Arc<PublicKey>)>),
    Published(Published),
}

struct Published {
    outbound: Outbound,
    url: String,
    held: Mutex<Held>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<PublicKey>>,
    fetched_at_s: Option<i64>,
    tried_at_s: Option<i64>,
}

/// A parsed RSA key.
pub(crate) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    pub(crate) fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        self.0.verify_sig(signed.as_bytes(), signature).is_ok()
    }
}

/// What is wrong with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is not a public key in PEM.
    #[error("the key is not an RSA public key in PEM (`BEGIN PUBLIC KEY`) of 2048 bits or more")]
    NotAKey,
    /// It is not a JWK set.
    #[error("the keys are not a JWK set with RSA keys of 2048 bits or more")]
    NotASet,
}

impl Keys {
    /// Keys that the issuer publishes as a JWK set (RFC 7517).
    pub fn jwks(outbound: Outbound, url: &str) -> Self {
        Self(Arc::new(Source::Published(Published {
            outbound,
            url: url.to_owned(),
            held: Mutex::default(),
            flight: tokio::sync::Mutex::new(()),
        })))
    }

    /// One key in PEM. With an id only tokens of that id are tried, without one all are.
    ///
    /// # Errors
    /// When it is not an RSA public key.
    pub fn pem(id: Option<&str>, pem: &str) -> Result<Self, KeysError> {
        let body: String = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(KeysError::NotAKey)?
            .split_whitespace()
            .collect();
        let der = BASE64_STANDARD
            .decode(body)
            .map_err(|_| KeysError::NotAKey)?;
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
            .map_err(|_| KeysError::NotAKey)?;
        let key = Arc::new(PublicKey(parsed));
        Ok(Self(Arc::new(Source::Fixed(vec![(
            id.map(str::to_owned),
            key,
        )]))))
    }

    /// Keys of a JWK set at hand.
    ///
    /// # Errors
    /// When it is none, or none of its keys can be used.
    pub fn fixed(jwks: &[u8]) -> Result<Self, KeysError> {
        let keys = parse(jwks).ok_or(KeysError::NotASet)?;
        Ok(Self(Arc::new(Source::Fixed(
            keys.into_iter().map(|(id, key)| (Some(id), key)).collect(),
        ))))
    }

    /// The key of that id, or none. Fetches at most once.
    pub(crate) async fn find(
        &self,
        id: &str,
        clock: &Clock,
    ) -> Result<Option<Arc<PublicKey>>, Fault> {
        match &*self.0 {
            Source::Fixed(keys) => Ok(keys
                .iter()
                .find(|(known, _)| known.as_deref().is_none_or(|known| known == id))
                .map(|(_, key)| Arc::clone(key))),
            Source::Published(published) => published.find(id, clock).await,
        }
    }
}

impl Published {
    async fn find(&self, id: &str, clock: &Clock) -> Result<Option<Arc<PublicKey>>, Fault> {
        let now_s = clock.now_s();
        let (found, fetched_at_s) = self.look(id);
        let is_fresh = fetched_at_s.is_some_and(|at_s| now_s - at_s <= FRESH_S);
        if is_fresh && found.is_some() {
            return Ok(found);
        }
        // Somebody is fetching: with keys at hand nobody waits for that, without any all do.
        let flight = match fetched_at_s {
            Some(_) => self.flight.try_lock().ok(),
            None => Some(self.flight.lock().await),
        };
        if flight.is_some() && self.may_try(id, now_s) {
            self.fetch(now_s).await;
        }
        let (found, fetched_at_s) = self.look(id);
        match fetched_at_s {
            Some(at_s) if now_s - at_s <= STALE_S => Ok(found),
            _ => Err(Fault::unavailable(
                "the keys of the identity provider cannot be fetched right now",
                10,
            )),
        }
    }

    fn look(&self, id: &str) -> (Option<Arc<PublicKey>>, Option<i64>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        (held.keys.get(id).cloned(), held.fetched_at_s)
    }

    /// Whether it is time to try: never twice within ten seconds, and not when whoever held the
    /// flight before has just brought the key.
    fn may_try(&self, id: &str, now_s: i64) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = held
            .fetched_at_s
            .is_some_and(|at_s| now_s - at_s <= FRESH_S);
        if is_fresh && held.keys.contains_key(id) {
            return false;
        }
        if held.tried_at_s.is_some_and(|at_s| now_s - at_s < BETWEEN_S) {
            return false;
        }
        held.tried_at_s = Some(now_s);
        true
    }

    async fn fetch(&self, now_s: i64) {
        let fetched = self.outbound.get(&self.url, GetOptions::default()).await;
        let keys = match &fetched {
            Ok(bytes) => parse(bytes),
            Err(error) => {
                tracing::warn!(target: "security", reason = %error, "the issuer's keys cannot be fetched");
                return;
            }
        };
        let Some(keys) = keys else {
            tracing::warn!(target: "security", "the issuer's keys are no usable JWK set");
            return;
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys = keys;
        held.fetched_at_s = Some(now_s);
    }
}

/// A JWK set's RSA keys for signatures with RS256, by id; none when none can be used.
fn parse(jwks: &[u8]) -> Option<HashMap<String, Arc<PublicKey>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Jwk>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        kid: Option<String>,
        #[serde(rename = "use")]
        purpose: Option<String>,
        alg: Option<String>,
        n: Option<String>,
        e: Option<String>,
    }
    let set: Set = serde_json::from_slice(jwks).ok()?;
    let usable = set.keys.into_iter().take(KEYS_MAX).filter_map(|jwk| {
        let for_us = jwk.kty == "RSA"
            && jwk.purpose.is_none_or(|purpose| purpose == "sig")
            && jwk.alg.is_none_or(|alg| alg == "RS256");
        let id = jwk
            .kid
            .filter(|id| for_us && (1..=128).contains(&id.len()))?;
        Some((id, Arc::new(key_of(&jwk.n?, &jwk.e?)?)))
    });
    let keys: HashMap<_, _> = usable.collect();
    (!keys.is_empty()).then_some(keys)
}

fn key_of(n: &str, e: &str) -> Option<PublicKey> {
    let n = BASE64_URL_SAFE_NO_PAD.decode(n).ok()?;
    let e = BASE64_URL_SAFE_NO_PAD.decode(e).ok()?;
    // An exponent of one signs everything; a modulus under 2048 bits can be factored.
    if n.len() < 256 || e.len() > 4 || e == [1] {
        return None;
    }
    let parts = RsaPublicKeyComponents { n, e };
    parts
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .ok()
        .map(PublicKey)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}
