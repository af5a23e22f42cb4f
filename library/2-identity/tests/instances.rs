//! Several issuers at once, keys that an operator withdrew, and sets in which not every key is one.

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

use axum::{Router, http::StatusCode, routing::get};
use serde_json::{Value, json};
use support::{ISSUER, PARTY, assert_refused, clock, member, request, settings};
use watertight_identity::{Keys, SettingsError, Verifier, VerifierSettings, double::Double};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Kind, Random};

const OTHER_ISSUER: &str = "https://clerk.other.test";
const OTHER_PARTY: &str = "https://app.other.test";

fn other_settings() -> VerifierSettings {
    VerifierSettings::new(OTHER_ISSUER, [OTHER_PARTY])
}

fn stand_in(issuer: &str, party: &str) -> Double {
    Double::new(issuer, party, clock(), Random::system()).unwrap()
}

fn good(double: &Double) -> String {
    double.token(&request("org:studio_owner", 2))
}

/// What a double signs under another's name: its key id, and claims of whoever it wants to be.
fn forged(signer: &Double, kid: &str, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "kid": kid, "typ": "JWT" });
    signer.sign(&header, claims)
}

#[tokio::test]
async fn each_issuer_is_held_to_its_own_keys_and_settings() {
    let (one, two) = (stand_in(ISSUER, PARTY), stand_in(OTHER_ISSUER, OTHER_PARTY));
    let third = stand_in("https://clerk.third.test", PARTY);
    let verifier = Verifier::of(
        [(settings(), one.keys()), (other_settings(), two.keys())],
        clock(),
    )
    .unwrap();
    for (double, issuer) in [(&one, ISSUER), (&two, OTHER_ISSUER)] {
        let token = good(double);
        // The second time from memory.
        for _ in 0..2 {
            let caller = verifier.verify(&token).await.unwrap();
            assert_eq!(member(&caller).issuer(), issuer);
        }
    }
    let claims = |double: &Double| double.claims(&request("org:studio_owner", 2));
    let cases = [
        ("unknown issuer", good(&third), "iss"),
        (
            "one's claims, two's key and id",
            forged(&two, two.kid(), &claims(&one)),
            "no known key",
        ),
        (
            "one's claims and id, two's key",
            forged(&two, one.kid(), &claims(&one)),
            "signature is wrong",
        ),
        (
            "two's claims, one's id",
            forged(&two, one.kid(), &claims(&two)),
            "no known key",
        ),
    ];
    for (name, token, word) in cases {
        assert_refused(name, verifier.verify(&token).await, word);
    }
    // One's party is not two's.
    let mut mixed = claims(&two);
    mixed["azp"] = json!(PARTY);
    let token = forged(&two, two.kid(), &mixed);
    assert_refused("party", verifier.verify(&token).await, "azp");
    // The payload is looked at early here, and is no other's business for that.
    for payload in ["", "[]", "{\"iss\":\"a\",\"iss\":\"b\"}", "{\"iss\":1}"] {
        let token = one.sign_text(&one.header().to_string(), payload);
        assert!(verifier.verify(&token).await.is_err(), "{payload}");
    }
}

/// The same key id at two issuers is two keys.
#[tokio::test]
async fn a_key_is_found_by_issuer_and_id() {
    let (one, two) = (stand_in(ISSUER, PARTY), stand_in(OTHER_ISSUER, OTHER_PARTY));
    let renamed = two.jwks_json().replace(two.kid(), one.kid());
    let verifier = Verifier::of(
        [
            (settings(), one.keys()),
            (other_settings(), Keys::fixed(renamed.as_bytes()).unwrap()),
        ],
        clock(),
    )
    .unwrap();
    let claims = two.claims(&request("org:studio_owner", 2));
    assert!(verifier.verify(&good(&one)).await.is_ok());
    let as_two = verifier.verify(&forged(&two, one.kid(), &claims)).await;
    assert_eq!(member(&as_two.unwrap()).issuer(), OTHER_ISSUER);
    let by_one = verifier.verify(&forged(&one, one.kid(), &claims)).await;
    assert_refused("one's key as two's", by_one, "signature is wrong");
}

#[test]
fn instances_are_named_once() {
    let keys = stand_in(ISSUER, PARTY).keys();
    let refused = |list: Vec<VerifierSettings>| {
        let list = list.into_iter().map(|settings| (settings, keys.clone()));
        Verifier::of(list, clock()).err()
    };
    assert_eq!(refused(vec![settings(), other_settings()]), None);
    assert_eq!(refused(vec![]), Some(SettingsError::Instances));
    assert_eq!(
        refused(vec![settings(), settings()]),
        Some(SettingsError::Instances)
    );
    let many = (0..9).map(|n| VerifierSettings::new(&format!("https://clerk.n{n}.test"), [PARTY]));
    assert_eq!(refused(many.collect()), Some(SettingsError::Instances));
    let mut bad = other_settings();
    bad.authorized_parties.clear();
    assert_eq!(refused(vec![settings(), bad]), Some(SettingsError::Parties));
}

/// Publishes keys, or is away, under a clock that moves when told to.
#[derive(Clone)]
struct Issuer {
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    body: Arc<Mutex<Option<String>>>,
    later_s: Arc<AtomicI64>,
    delay_ms: u64,
}

impl Issuer {
    async fn open(delay_ms: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            fetches: Arc::default(),
            body: Arc::default(),
            later_s: Arc::default(),
            delay_ms,
        };
        let served = issuer.clone();
        let answer = move || async move {
            served.fetches.fetch_add(1, Ordering::SeqCst);
            let body = served.body.lock().unwrap().clone();
            tokio::time::sleep(Duration::from_millis(served.delay_ms)).await;
            body.ok_or(StatusCode::SERVICE_UNAVAILABLE)
        };
        let router = Router::new().route("/keys", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    fn says(&self, body: Option<String>) {
        *self.body.lock().unwrap() = body;
    }

    fn wait_s(&self, seconds: i64) {
        self.later_s.fetch_add(seconds, Ordering::SeqCst);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn verifier(&self) -> Verifier {
        let rules = OutboundRules {
            allow: vec![self.address.to_string()],
            ..OutboundRules::default()
        };
        let outbound = Outbound::new(rules).unwrap();
        let keys = Keys::jwks(outbound, &format!("http://{}/keys", self.address));
        let (start, later_s) = (clock().now(), Arc::clone(&self.later_s));
        let clock = Clock::from_fn(move || {
            start + Duration::from_secs(later_s.load(Ordering::SeqCst).unsigned_abs())
        });
        Verifier::new(settings(), keys, clock).unwrap()
    }
}

#[tokio::test]
async fn after_a_rotation_nothing_of_before_counts() {
    let issuer = Issuer::open(0).await;
    let (old, new) = (stand_in(ISSUER, PARTY), stand_in(ISSUER, PARTY));
    issuer.says(Some(old.jwks_json()));
    let verifier = issuer.verifier();
    let token = good(&old);
    assert!(verifier.verify(&token).await.is_ok());
    assert!(format!("{verifier:?}").contains("Cache(1 tokens)"));
    // Without the event an outage is bridged. With it, the issuer being away shuts everybody out.
    issuer.says(None);
    assert!(verifier.verify(&token).await.is_ok());
    verifier.rotated();
    assert!(format!("{verifier:?}").contains("Cache(0 tokens)"));
    for _ in 0..3 {
        let fault = verifier.verify(&token).await.unwrap_err();
        assert_eq!(
            (fault.kind(), fault.retry_after_s()),
            (Kind::Unavailable, Some(10))
        );
    }
    assert_eq!(issuer.fetches(), 2);
    issuer.says(Some(new.jwks_json()));
    issuer.wait_s(10);
    assert_refused("old", verifier.verify(&token).await, "no known key");
    assert!(verifier.verify(&good(&new)).await.is_ok());
}

/// The event asks at once: its own fetch is not made to wait for ten seconds to pass.
#[tokio::test]
async fn a_rotation_fetches_at_once() {
    let issuer = Issuer::open(0).await;
    let (old, new) = (stand_in(ISSUER, PARTY), stand_in(ISSUER, PARTY));
    issuer.says(Some(old.jwks_json()));
    let verifier = issuer.verifier();
    assert!(verifier.verify(&good(&old)).await.is_ok());
    issuer.says(Some(new.jwks_json()));
    verifier.rotated();
    assert!(verifier.verify(&good(&new)).await.is_ok());
    assert_refused("old", verifier.verify(&good(&old)).await, "no known key");
    assert_eq!(issuer.fetches(), 2);
}

/// What was on its way when the operator rotated brings the keys of before: it is not taken in.
#[tokio::test]
async fn a_fetch_from_before_a_rotation_brings_nothing() {
    let issuer = Issuer::open(200).await;
    let (old, new) = (stand_in(ISSUER, PARTY), stand_in(ISSUER, PARTY));
    issuer.says(Some(old.jwks_json()));
    let verifier = issuer.verifier();
    let early = {
        let (verifier, token) = (verifier.clone(), good(&old));
        tokio::spawn(async move { verifier.verify(&token).await })
    };
    while issuer.fetches() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    verifier.rotated();
    issuer.says(Some(new.jwks_json()));
    let fault = early.await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), Kind::Unavailable);
    assert!(verifier.verify(&good(&new)).await.is_ok());
    assert_refused("old", verifier.verify(&good(&old)).await, "no known key");
}

#[tokio::test]
async fn a_thousand_tokens_of_unknown_keys_are_one_fetch() {
    let issuer = Issuer::open(100).await;
    let known = stand_in(ISSUER, PARTY);
    issuer.says(Some(known.jwks_json()));
    let verifier = issuer.verifier();
    assert!(verifier.verify(&good(&known)).await.is_ok());
    issuer.wait_s(60);
    let token = good(&known);
    let (_, rest) = token.split_once('.').unwrap();
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let flood: Vec<_> = (0..1_000)
        .map(|number| {
            let header = json!({ "alg": "RS256", "kid": format!("ins_{number}") }).to_string();
            let token = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header));
            let verifier = verifier.clone();
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    for refused in flood {
        assert_refused("unknown", refused.await.unwrap(), "no known key");
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_malformed_key_spoils_no_other() {
    let (one, two) = (stand_in(ISSUER, PARTY), stand_in(ISSUER, PARTY));
    let key = |double: &Double| -> Value {
        let set: Value = serde_json::from_str(&double.jwks_json()).unwrap();
        set["keys"][0].clone()
    };
    let with = |changes: Value| {
        let mut key = key(&two);
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    for spoiled in [
        json!(null),
        json!([]),
        json!("key"),
        json!({}),
        with(json!({ "kty": 1 })),
        with(json!({ "kid": 1 })),
        with(json!({ "kid": null })),
        with(json!({ "kid": "" })),
        with(json!({ "use": ["sig"] })),
        with(json!({ "alg": null })),
        with(json!({ "n": 5 })),
        with(json!({ "n": "!" })),
        with(json!({ "e": "Aw" })),
    ] {
        let set = json!({ "keys": [spoiled, key(&one)] }).to_string();
        let keys = Keys::fixed(set.as_bytes()).unwrap();
        let verifier = Verifier::new(settings(), keys, clock()).unwrap();
        assert!(verifier.verify(&good(&one)).await.is_ok(), "{spoiled}");
        assert_refused(
            "spoiled",
            verifier.verify(&good(&two)).await,
            "no known key",
        );
    }
    // Two of one id leave open which one signs; a third is none of their business.
    let same = with(json!({ "kid": "same" }));
    let mut other = key(&stand_in(ISSUER, PARTY));
    other["kid"] = json!("same");
    let set = json!({ "keys": [same, other, key(&one)] }).to_string();
    let keys = Keys::fixed(set.as_bytes()).unwrap();
    let verifier = Verifier::new(settings(), keys, clock()).unwrap();
    assert!(verifier.verify(&good(&one)).await.is_ok());
    let twice = forged(&two, "same", &two.claims(&request("org:studio_owner", 2)));
    assert_refused("twice", verifier.verify(&twice).await, "no known key");
}
