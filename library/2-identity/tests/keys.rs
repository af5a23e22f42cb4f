//! The issuer's keys over loopback: how often they are fetched, and what holds while they cannot be.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use serde_json::json;
use support::{ISSUER, NOW_S, PARTY, assert_refused, request, settings};
use watertight_identity::{Keys, Verifier, double::Double};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Kind, Random};

/// The place where the issuer publishes its keys, and a clock that moves when told to.
struct Place {
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    /// What it answers; none: 503.
    body: Arc<Mutex<Option<String>>>,
    now_s: Arc<AtomicI64>,
}

impl Place {
    fn open(body: Option<String>, delay_ms: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Self {
            address: listener.local_addr().unwrap(),
            fetches: Arc::default(),
            body: Arc::new(Mutex::new(body)),
            now_s: Arc::new(AtomicI64::new(NOW_S)),
        };
        let (fetches, body) = (Arc::clone(&place.fetches), Arc::clone(&place.body));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                drop(stream.read(&mut [0; 4096]));
                fetches.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(delay_ms));
                let (status, body) = match body.lock().unwrap().clone() {
                    Some(body) => ("200 OK", body),
                    None => ("503 Away", String::new()),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        place
    }

    fn clock(&self) -> Clock {
        let now_s = Arc::clone(&self.now_s);
        let start: jiff::Timestamp = "2026-10-25T00:30:00Z".parse().unwrap();
        Clock::from_fn(move || {
            let later_s = now_s.load(Ordering::SeqCst) - NOW_S;
            start + Duration::from_secs(later_s.unsigned_abs())
        })
    }

    fn wait_s(&self, seconds: i64) {
        self.now_s.fetch_add(seconds, Ordering::SeqCst);
    }

    fn says(&self, body: Option<String>) {
        *self.body.lock().unwrap() = body;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn verifier(&self) -> Verifier {
        let outbound = Outbound::new(OutboundRules {
            allow: vec![self.address.to_string()],
            ..OutboundRules::default()
        })
        .unwrap();
        let keys = Keys::jwks(outbound, &format!("http://{}/jwks.json", self.address));
        Verifier::new(settings(), keys, self.clock()).unwrap()
    }

    fn double(&self) -> Double {
        Double::new(ISSUER, PARTY, self.clock(), Random::system()).unwrap()
    }
}

fn good(double: &Double) -> String {
    double.token(&request("org:studio_owner", 2))
}

/// A token that names a key nobody has.
fn unknown(double: &Double, number: usize) -> String {
    let header = json!({ "alg": "RS256", "kid": format!("ins_{number}"), "typ": "JWT" });
    double.sign(&header, &double.claims(&request("org:studio_owner", 2)))
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_after_five_minutes() {
    let place = Place::open(None, 0);
    let double = place.double();
    place.says(Some(double.jwks_json()));
    let verifier = place.verifier();
    for _ in 0..10 {
        assert!(verifier.verify(&good(&double)).await.is_ok());
    }
    assert_eq!(place.fetches(), 1);
    place.wait_s(300);
    assert!(verifier.verify(&good(&double)).await.is_ok());
    assert_eq!(place.fetches(), 1);
    place.wait_s(1);
    assert!(verifier.verify(&good(&double)).await.is_ok());
    assert_eq!(place.fetches(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_ids_is_no_flood_of_fetches() {
    let place = Place::open(None, 50);
    let double = place.double();
    place.says(Some(double.jwks_json()));
    let verifier = place.verifier();
    assert!(verifier.verify(&good(&double)).await.is_ok());
    assert_eq!(place.fetches(), 1);
    place.wait_s(60);
    let flood: Vec<_> = (0..60)
        .map(|number| {
            let (verifier, token) = (verifier.clone(), unknown(&double, number));
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    // Whoever is known is not kept waiting by them.
    assert!(verifier.verify(&good(&double)).await.is_ok());
    for one in flood {
        assert_refused("unknown", one.await.unwrap(), "no known key");
    }
    assert_eq!(place.fetches(), 2);
    for number in 0..60 {
        let refused = verifier.verify(&unknown(&double, number)).await;
        assert_refused("unknown", refused, "no known key");
    }
    assert_eq!(place.fetches(), 2);
    place.wait_s(10);
    drop(verifier.verify(&unknown(&double, 0)).await);
    assert_eq!(place.fetches(), 3);
}

#[tokio::test]
async fn the_first_callers_share_one_fetch() {
    let place = Place::open(None, 50);
    let double = place.double();
    place.says(Some(double.jwks_json()));
    let verifier = place.verifier();
    let callers: Vec<_> = (0..30)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), good(&double));
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }
    assert_eq!(place.fetches(), 1);
}

#[tokio::test]
async fn without_any_keys_nobody_is_told_that_the_token_is_wrong() {
    let place = Place::open(None, 0);
    let double = place.double();
    let verifier = place.verifier();
    for _ in 0..3 {
        let fault = verifier.verify(&good(&double)).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Unavailable);
        assert_eq!(fault.retry_after_s(), Some(10));
    }
    assert_eq!(place.fetches(), 1);
    // What cannot be a token asks for no keys.
    assert_refused("garbage", verifier.verify("e30.e30.AA").await, "alg");
    place.says(Some(double.jwks_json()));
    place.wait_s(10);
    assert!(verifier.verify(&good(&double)).await.is_ok());
}

#[tokio::test]
async fn an_outage_is_bridged_for_an_hour() {
    let place = Place::open(None, 0);
    let double = place.double();
    place.says(Some(double.jwks_json()));
    let verifier = place.verifier();
    assert!(verifier.verify(&good(&double)).await.is_ok());
    for broken in [
        None,
        Some("{}".into()),
        Some("{\"keys\":[]}".into()),
        Some("x".repeat(70_000)),
    ] {
        place.says(broken);
        place.wait_s(800);
        assert!(verifier.verify(&good(&double)).await.is_ok());
        assert_refused(
            "unknown",
            verifier.verify(&unknown(&double, 1)).await,
            "no known key",
        );
    }
    assert_eq!(place.fetches(), 5);
    place.wait_s(401);
    let fault = verifier.verify(&good(&double)).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Unavailable);
    place.says(Some(double.jwks_json()));
    place.wait_s(10);
    assert!(verifier.verify(&good(&double)).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_is_gone() {
    let place = Place::open(None, 0);
    let (old, new) = (place.double(), place.double());
    place.says(Some(old.jwks_json()));
    let verifier = place.verifier();
    assert!(verifier.verify(&good(&old)).await.is_ok());
    place.says(Some(new.jwks_json()));
    place.wait_s(10);
    assert!(verifier.verify(&good(&new)).await.is_ok());
    assert_refused("old", verifier.verify(&good(&old)).await, "no known key");
    assert_eq!(place.fetches(), 2);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_take_the_fetch_along() {
    let place = Place::open(None, 100);
    let double = place.double();
    place.says(Some(double.jwks_json()));
    let verifier = place.verifier();
    {
        let token = good(&double);
        let mut hung_up = pin!(verifier.verify(&token));
        let polled = hung_up
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert!(verifier.verify(&good(&double)).await.is_ok());
    assert_eq!(place.fetches(), 1);
}
