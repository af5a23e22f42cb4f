//! Rate limits: the arithmetic, and the layer before anybody is known.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use tower::ServiceExt;
use uuid::Uuid;
use watertight_edge::{
    Edge, RequestLimits, name_request,
    rate::{AddressRate, Ask, Key, Limiter, Paid, Quota, Stranger, Units, limit_address, refusal},
};
use watertight_terms::{Clock, Fault, Random};

/// A clock that is moved by hand, in milliseconds.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }

    fn moves(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let at = Arc::clone(&self.0);
        Clock::from_fn(move || {
            jiff::Timestamp::from_millisecond(at.load(Ordering::Relaxed)).unwrap()
        })
    }
}

fn ask(name: &str, quota: Quota) -> Ask {
    Ask {
        key: Key::of(&[name]),
        policy: "test",
        quota,
        units: Units::Take(1),
    }
}

async fn granted(limiter: &Limiter, asks: &[Ask], times: u32) -> u32 {
    let mut granted = 0;
    for _ in 0..times {
        granted += u32::from(refusal(&limiter.ask(asks).await).is_none());
    }
    granted
}

#[tokio::test]
async fn a_burst_at_once_and_then_one_in_every_interval() {
    let hand = Hand::new();
    let limiter = Limiter::local(hand.clock());
    let asks = [ask("a", Quota::per_second(2, 10))];
    assert_eq!(granted(&limiter, &asks, 30).await, 10);
    hand.moves(499);
    assert_eq!(granted(&limiter, &asks, 30).await, 0);
    hand.moves(1);
    // Those that were refused cost nothing.
    assert_eq!(granted(&limiter, &asks, 30).await, 1);
    hand.moves(3_000);
    assert_eq!(granted(&limiter, &asks, 30).await, 6);
    // However long the rest, one burst.
    hand.moves(3_600_000);
    assert_eq!(granted(&limiter, &asks, 30).await, 10);
}

#[tokio::test]
async fn whoever_comes_again_when_told_to_is_granted() {
    let hand = Hand::new();
    let limiter = Limiter::local(hand.clock());
    let one = ask("a", Quota::per_second(2, 10));
    let ten = Ask {
        units: Units::Take(10),
        ..one
    };
    assert!(refusal(&limiter.ask(&[one]).await).is_none());
    let refused = refusal(&limiter.ask(&[ten]).await).unwrap();
    assert_eq!(refused.retry_after_s(), Some(1));
    hand.moves(1_000);
    let standing = limiter.ask(&[ten]).await[0];
    assert_eq!((standing.again_after_s, standing.remaining), (None, 0));
    assert_eq!(standing.reset_s, 5);
}

#[tokio::test]
async fn what_one_bucket_refuses_is_taken_from_none() {
    let limiter = Limiter::local(Hand::new().clock());
    let (small, large) = (
        ask("small", Quota::per_second(1, 3)),
        ask("large", Quota::per_second(1, 5)),
    );
    assert_eq!(granted(&limiter, &[small, large], 20).await, 3);
    assert_eq!(granted(&limiter, &[large], 20).await, 2);
    // Of two who have nothing in common, neither feels the other.
    assert_eq!(granted(&limiter, &[ask("other", small.quota)], 20).await, 3);
}

#[tokio::test]
async fn a_clock_that_is_set_back_locks_nobody_out() {
    let hand = Hand::new();
    let limiter = Limiter::local(hand.clock());
    let asks = [ask("a", Quota::per_second(1, 5))];
    assert_eq!(granted(&limiter, &asks, 9).await, 5);
    hand.moves(-86_400_000);
    assert_eq!(granted(&limiter, &asks, 9).await, 0);
    hand.moves(5_000);
    assert_eq!(granted(&limiter, &asks, 9).await, 5);
}

#[tokio::test]
async fn of_a_flood_one_in_a_minute_is_noted() {
    let hand = Hand::new();
    let limiter = Limiter::local(hand.clock());
    let key = Key::of(&["noted", "somebody"]);
    assert!(limiter.first_in_a_minute(key).await);
    assert!(!limiter.first_in_a_minute(key).await);
    assert!(
        limiter
            .first_in_a_minute(Key::of(&["noted", "another"]))
            .await
    );
    hand.moves(60_000);
    assert!(limiter.first_in_a_minute(key).await);
}

fn refuse(fault: &Fault, _: Uuid) -> Response {
    let status = match fault.slug() {
        "too-many-requests" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    status.into_response()
}

/// `/known` finds out who is calling and gives back what the address paid.
fn router(limiter: &Limiter) -> Router {
    let edge = Edge::new(
        Clock::system(),
        Random::system(),
        RequestLimits::default(),
        refuse,
    )
    .behind("10.0.0.0/8".parse().unwrap())
    .with_address_rate(AddressRate {
        limiter: limiter.clone(),
        quota: Quota::per_second(1, 30),
    });
    let back = limiter.clone();
    let known = async move |request: Request| {
        let paid = *request.extensions().get::<Paid>().unwrap();
        back.ask(&[paid.back()]).await;
        "known"
    };
    let stranger = async || {
        let mut response = StatusCode::UNAUTHORIZED.into_response();
        response.extensions_mut().insert(Stranger);
        response
    };
    Router::new()
        .route("/open", get(async || "open"))
        .route("/stranger", get(stranger))
        .route("/known", get(known))
        .layer(middleware::from_fn_with_state(edge.clone(), limit_address))
        .layer(middleware::from_fn_with_state(edge, name_request))
}

async fn sent(router: &Router, path: &str, peer: &str, forwarded: &str) -> Response {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get(path)
        .header("x-forwarded-for", forwarded)
        .extension(ConnectInfo(peer))
        .body(Body::empty())
        .unwrap();
    router.clone().oneshot(request).await.unwrap()
}

/// How many of a hundred get in.
async fn of_a_hundred(router: &Router, path: &str, peer: &str, forwarded: &str) -> u32 {
    let mut let_in = 0;
    for _ in 0..100 {
        let status = sent(router, path, peer, forwarded).await.status();
        let_in += u32::from(status != StatusCode::TOO_MANY_REQUESTS);
    }
    let_in
}

// asvs: V4.1.3 V15.3.4
#[tokio::test]
async fn an_address_has_its_quota_whatever_it_makes_up() {
    let router = router(&Limiter::local(Hand::new().clock()));
    assert_eq!(
        of_a_hundred(&router, "/open", "198.51.100.7:1", "").await,
        30
    );
    for made_up in ["203.0.113.9", "10.0.0.1", "203.0.113.9, 10.0.0.1"] {
        assert_eq!(
            of_a_hundred(&router, "/open", "198.51.100.7:2", made_up).await,
            0
        );
    }
    assert_eq!(
        of_a_hundred(&router, "/open", "198.51.100.8:1", "").await,
        30
    );
    // Behind a proxy of ours it is whom the proxy names last.
    let proxy = "10.1.1.1:1";
    assert_eq!(
        of_a_hundred(&router, "/open", proxy, "198.51.100.7").await,
        0
    );
    assert_eq!(
        of_a_hundred(&router, "/open", proxy, "1.1.1.1, 198.51.100.7").await,
        0
    );
    assert_eq!(
        of_a_hundred(&router, "/open", proxy, "198.51.100.9").await,
        30
    );
    let refused = sent(&router, "/open", proxy, "198.51.100.9").await;
    assert_eq!(
        refused.headers()["ratelimit-policy"],
        "\"address\";q=30;w=30"
    );
    assert_eq!(refused.headers()["ratelimit"], "\"address\";r=0;t=30");
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_client() {
    let router = router(&Limiter::local(Hand::new().clock()));
    let mut let_in = 0;
    for host in 0..100 {
        let peer = format!("[2001:db8:1:2:{host}::{host}]:1");
        let status = sent(&router, "/open", &peer, "").await.status();
        let_in += u32::from(status == StatusCode::OK);
    }
    assert_eq!(let_in, 30);
    assert_eq!(
        of_a_hundred(&router, "/open", "[2001:db8:1:3::1]:1", "").await,
        30
    );
}

// asvs: V6.3.1
#[tokio::test]
async fn whoever_fails_to_say_who_they_are_pays_ten_and_whoever_is_known_nothing() {
    let router = router(&Limiter::local(Hand::new().clock()));
    assert_eq!(
        of_a_hundred(&router, "/stranger", "198.51.100.7:1", "").await,
        3
    );
    assert_eq!(
        of_a_hundred(&router, "/known", "198.51.100.8:1", "").await,
        100
    );
    assert_eq!(
        of_a_hundred(&router, "/open", "198.51.100.8:1", "").await,
        30
    );
    assert_eq!(
        of_a_hundred(&router, "/known", "198.51.100.8:1", "").await,
        0
    );
}
