//! Keys while the issuer changes them, while nobody asks, and while the clock is not what it was.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{encoding::AsDer, signature::RsaPublicKeyComponents};
use axum::{Router, routing::get};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use support::{ISSUER, PARTY, assert_refused, request, settings};
use watertight_identity::{Caller, Keys, KeysError, Verifier, double::Double};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Fault, Kind, Random};

/// Publishes keys after a tenth of a second, and has a clock that is set from outside.
#[derive(Clone)]
struct Issuer {
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    body: Arc<Mutex<String>>,
    offset_s: Arc<AtomicI64>,
}

impl Issuer {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            fetches: Arc::default(),
            body: Arc::default(),
            offset_s: Arc::default(),
        };
        let served = issuer.clone();
        let answer = move || async move {
            served.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            served.body.lock().unwrap().clone()
        };
        let router = Router::new().route("/keys", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    fn clock(&self) -> Clock {
        let offset_s = Arc::clone(&self.offset_s);
        let start = support::clock().now();
        Clock::from_fn(move || {
            let offset_s = offset_s.load(Ordering::SeqCst);
            let apart = Duration::from_secs(offset_s.unsigned_abs());
            if offset_s < 0 {
                start - apart
            } else {
                start + apart
            }
        })
    }

    fn move_s(&self, seconds: i64) {
        self.offset_s.fetch_add(seconds, Ordering::SeqCst);
    }

    fn says(&self, body: String) {
        *self.body.lock().unwrap() = body;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn verifier(&self) -> Verifier {
        let allow = vec![self.address.to_string()];
        let rules = OutboundRules {
            allow,
            ..OutboundRules::default()
        };
        let keys = Keys::jwks(
            Outbound::new(rules).unwrap(),
            &format!("http://{}/keys", self.address),
        );
        Verifier::new(settings(), keys, self.clock()).unwrap()
    }

    fn double(&self) -> Double {
        Double::new(ISSUER, PARTY, self.clock(), Random::system()).unwrap()
    }
}

fn good(double: &Double) -> String {
    double.token(&request("org:studio_owner", 2))
}

/// Fifty callers at once, each with a good token.
async fn fifty(verifier: &Verifier, double: &Double) -> Vec<Result<Caller, Fault>> {
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), good(double));
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn parallel_callers_share_one_fetch_whenever_they_need_it() {
    let issuer = Issuer::open().await;
    let (old, new) = (issuer.double(), issuer.double());
    issuer.says(old.jwks_json());
    let verifier = issuer.verifier();
    let all_good = |answers: Vec<Result<Caller, Fault>>| answers.iter().all(Result::is_ok);
    assert!(all_good(fifty(&verifier, &old).await), "at the start");
    assert_eq!(issuer.fetches(), 1);
    // The night was quiet, and what is held is too old to be used.
    issuer.move_s(8 * 3_600);
    assert!(all_good(fifty(&verifier, &old).await), "in the morning");
    assert_eq!(issuer.fetches(), 2);
    // Good tokens of a key that nobody has seen yet.
    issuer.says(new.jwks_json());
    issuer.move_s(10);
    assert!(all_good(fifty(&verifier, &new).await), "after a rotation");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn whoever_was_never_a_key_waits_for_one_fetch_at_most() {
    let issuer = Issuer::open().await;
    let (known, unknown) = (issuer.double(), issuer.double());
    issuer.says(known.jwks_json());
    let verifier = issuer.verifier();
    assert!(verifier.verify(&good(&known)).await.is_ok());
    issuer.move_s(60);
    let refused = tokio::time::timeout(Duration::from_secs(4), fifty(&verifier, &unknown));
    for answer in refused.await.unwrap() {
        assert_refused("unknown", answer, "no known key");
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_fresh() {
    let issuer = Issuer::open().await;
    let (old, new) = (issuer.double(), issuer.double());
    issuer.says(old.jwks_json());
    let verifier = issuer.verifier();
    issuer.move_s(86_400);
    assert!(verifier.verify(&good(&old)).await.is_ok());
    // The day too much is taken back; meanwhile the key was withdrawn.
    issuer.move_s(-86_400);
    issuer.says(new.jwks_json());
    assert_refused(
        "withdrawn",
        verifier.verify(&good(&old)).await,
        "no known key",
    );
    assert!(verifier.verify(&good(&new)).await.is_ok());
    assert_eq!(issuer.fetches(), 2);
    // Without an answer, what was fetched in the future is not trusted.
    issuer.move_s(-86_400);
    issuer.says(String::new());
    let fault = verifier.verify(&good(&new)).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Unavailable);
}

/// A seconds' step back, as time servers make it, costs no fetch.
#[tokio::test]
async fn a_small_step_back_is_nothing() {
    let issuer = Issuer::open().await;
    let double = issuer.double();
    issuer.says(double.jwks_json());
    let verifier = issuer.verifier();
    assert!(verifier.verify(&good(&double)).await.is_ok());
    issuer.move_s(-2);
    assert!(verifier.verify(&good(&double)).await.is_ok());
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn keys_of_another_kind_do_not_spoil_the_set() {
    let issuer = Issuer::open().await;
    let double = issuer.double();
    let mut set: Value = serde_json::from_str(&double.jwks_json()).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.push(json!({ "kty": "EC", "crv": "P-256", "kid": double.kid(), "x": "AA", "y": "AA" }));
    keys.push(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }));
    issuer.says(set.to_string());
    assert!(issuer.verifier().verify(&good(&double)).await.is_ok());
}

#[test]
fn a_pem_key_with_a_tiny_exponent_is_no_key() {
    let modulus = [vec![0xc1; 255], vec![0x0f]].concat();
    let with = |exponent: &[u8]| {
        let parts = RsaPublicKeyComponents {
            n: modulus.as_slice(),
            e: exponent,
        };
        let der = parts.as_der().ok()?;
        let body = BASE64_STANDARD.encode(der.as_ref());
        Some(Keys::pem(
            None,
            &format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"),
        ))
    };
    assert!(with(&[1, 0, 1]).unwrap().is_ok());
    for exponent in [&[1][..], &[2], &[3], &[1, 0, 0]] {
        // Either the encoder or the parser refuses it.
        let refused = with(exponent).is_none_or(|keys| keys.err() == Some(KeysError::NotAKey));
        assert!(refused, "{exponent:?}");
    }
}

/// A token that comes again is not checked anew: but its time, its key and its every letter are.
#[tokio::test]
async fn a_token_seen_before_is_good_for_no_longer_than_it_says() {
    let issuer = Issuer::open().await;
    let double = issuer.double();
    issuer.says(double.jwks_json());
    let verifier = issuer.verifier();
    let token = good(&double);
    for _ in 0..3 {
        assert!(verifier.verify(&token).await.is_ok());
    }
    assert!(format!("{verifier:?}").contains("Cache(1 tokens)"));
    // One letter of it is another token.
    for at in [0, token.len() / 2, token.len() - 2] {
        let mut letters = token.clone().into_bytes();
        letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(letters).unwrap();
        assert!(verifier.verify(&other).await.is_err(), "{at}");
    }
    issuer.move_s(70);
    assert_refused("expired", verifier.verify(&token).await, "expired");
    issuer.move_s(-90);
    assert_refused("early", verifier.verify(&token).await, "not active");
}

#[tokio::test]
async fn a_token_seen_before_is_nothing_without_its_key() {
    let issuer = Issuer::open().await;
    let (old, new) = (issuer.double(), issuer.double());
    let long = |double: &Double| {
        let mut asked = request("org:studio_owner", 2);
        asked.life_s = 119;
        double.token(&asked)
    };
    // Withdrawn: noticed when the set is fetched anew, here because of another's new key.
    issuer.says(old.jwks_json());
    let verifier = issuer.verifier();
    let token = long(&old);
    assert!(verifier.verify(&token).await.is_ok());
    issuer.says(new.jwks_json());
    issuer.move_s(10);
    assert!(verifier.verify(&good(&new)).await.is_ok());
    assert_refused("withdrawn", verifier.verify(&token).await, "no known key");
    // Replaced under the same id: the signature is checked with what stands there now.
    let replaced = new.jwks_json().replace(new.kid(), old.kid());
    issuer.says(replaced);
    issuer.move_s(10);
    assert_refused(
        "replaced",
        verifier.verify(&token).await,
        "signature is wrong",
    );
}

/// Whoever has no signature pushes nobody out.
#[tokio::test]
async fn refused_tokens_are_not_remembered() {
    let issuer = Issuer::open().await;
    let (double, other) = (issuer.double(), issuer.double());
    issuer.says(double.jwks_json().replace(double.kid(), other.kid()));
    let verifier = issuer.verifier();
    for _ in 0..20 {
        assert_refused(
            "foreign",
            verifier.verify(&good(&other)).await,
            "signature is wrong",
        );
    }
    assert!(format!("{verifier:?}").contains("Cache(0 tokens)"));
}
