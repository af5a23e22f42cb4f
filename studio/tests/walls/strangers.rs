//! Whoever cannot say who they are: what counts as a try, what does not, and whom operators hear of.

use std::fmt::Write;

use serde_json::Value;
use studio::app::App;
use watertight_identity::{Keys, Verifier, VerifierSettings};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Random};

use crate::{
    platform::noticed,
    webhooks::deliver,
    world::{World, serve, verifier},
};

/// A server behind a proxy, so that each asks from an address of its own.
struct Proxied<'w> {
    world: &'w World,
    app: App,
    base: String,
}

impl<'w> Proxied<'w> {
    async fn of(world: &'w World, verifier: Verifier) -> Self {
        let mut config = world.config.clone();
        config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
        let app = App::new(config, verifier, Clock::system(), Random::system()).unwrap();
        let base = serve(&app).await;
        Self { world, app, base }
    }

    /// So many requests from one network, each of another address. Refusals of loopback are not held back.
    async fn ask(
        &self,
        network: usize,
        times: usize,
        ask: impl Fn(&reqwest::Client, &str, usize) -> reqwest::RequestBuilder,
        expected: u16,
    ) {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        for turn in 1..=times {
            let address = format!("127.0.{network}.{turn}");
            let asked = ask(&client, &self.base, turn).header("x-forwarded-for", address);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), expected, "{network}: {turn}");
        }
    }

    async fn noticed(&self) -> Vec<(String, String)> {
        noticed(self.world, &self.app).await
    }
}

fn burst(network: usize) -> (String, String) {
    ("token-burst".to_owned(), format!("127.0.{network}.0/24"))
}

/// As a program writes 32 bytes that it guessed.
fn guess(turn: usize) -> String {
    format!("{turn:A>42}A")
}

/// Two studios; the same number of requests each time, which is more than a burst needs.
const MANY: usize = 45;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_signed_in_tries_nothing_and_neither_does_anybody_while_keys_are_away() {
    let world = World::new().await;
    let outbound = Outbound::new(OutboundRules {
        allow: vec!["127.0.0.1:1".to_owned()],
        ..OutboundRules::default()
    });
    let keys = Keys::jwks(outbound.unwrap(), "http://127.0.0.1:1/keys");
    let settings = VerifierSettings::new("https://clerk.watertight.test", [studio::demo::ORIGIN]);
    let away = Verifier::new(settings, keys, Clock::system()).unwrap();
    let away = Proxied::of(&world, away).await;
    let here = Proxied::of(&world, verifier(&world.double)).await;
    let good = world.token(0, "owner");
    away.ask(
        0,
        MANY,
        |client, base, _| client.get(format!("{base}/v1/me")).bearer_auth(&good),
        503,
    )
    .await;
    here.ask(
        1,
        MANY,
        |client, base, _| client.get(format!("{base}/ui/bookings")),
        303,
    )
    .await;
    here.ask(
        2,
        MANY,
        |client, base, _| client.get(format!("{base}/v1/me")),
        401,
    )
    .await;
    // Somebody genuine who has chosen no studio yet.
    let mut claims = world.claims(1, "owner");
    claims.as_object_mut().unwrap().remove("o");
    let none = world.double.sign(&world.double.header(), &claims);
    here.ask(
        3,
        MANY,
        |client, base, _| client.get(format!("{base}/v1/me")).bearer_auth(&none),
        403,
    )
    .await;
    assert_eq!(away.noticed().await, []);
    assert_eq!(here.noticed().await, []);

    // Whoever forges tokens is heard of all the same.
    let mut forged = good.clone();
    forged.truncate(good.rfind('.').unwrap() + 1);
    write!(forged, "{}", "A".repeat(342)).unwrap();
    here.ask(
        4,
        MANY,
        |client, base, _| client.get(format!("{base}/v1/me")).bearer_auth(&forged),
        401,
    )
    .await;
    assert_eq!(here.noticed().await, [burst(4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_that_the_database_refuses_are_heard_of_and_what_has_ended_is_not() {
    let world = World::new().await;
    let here = Proxied::of(&world, verifier(&world.double)).await;
    let cookie = |client: &reqwest::Client, base: &str, secret: &str| {
        client
            .get(format!("{base}/ui/bookings"))
            .header("cookie", format!("__Host-session={secret}"))
    };
    // One that is over, of each of two studios.
    for (network, studio) in [(1, 0), (2, 1)] {
        let page = crate::pages::Page::of(&world, studio, "owner").await;
        let known = page.secret().to_owned();
        here.ask(
            network,
            1,
            |client, base, _| cookie(client, base, &known),
            200,
        )
        .await;
        let raw = world.as_admin().await;
        raw.script("UPDATE tenancy.page_sessions SET ended_at = now()")
            .await
            .unwrap();
        here.ask(
            network,
            MANY,
            |client, base, _| cookie(client, base, &known),
            303,
        )
        .await;
    }
    assert_eq!(here.noticed().await, []);

    here.ask(
        3,
        MANY,
        |client, base, turn| cookie(client, base, &guess(turn)),
        303,
    )
    .await;
    assert_eq!(here.noticed().await, [burst(3)]);
    let feed = |client: &reqwest::Client, base: &str, turn| {
        client.get(format!("{base}/feeds/{}.ics", guess(turn)))
    };
    here.ask(4, MANY, feed, 404).await;
    assert_eq!(here.noticed().await, [burst(3), burst(4)]);
    let mut claims = world.claims(0, "owner");
    claims["o"]["id"] = "org_of_nobody".into();
    let other = world.double.sign(&world.double.header(), &claims);
    here.ask(
        5,
        MANY,
        |client, base, _| client.get(format!("{base}/v1/artists")).bearer_auth(&other),
        403,
    )
    .await;
    assert_eq!(here.noticed().await, [burst(3), burst(4), burst(5)]);
}

/// The first digits of a name's SHA-256, as operators compute them.
fn named(name: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    hex::encode(digest.as_ref()).split_at(16).0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_aimed_at_is_named_by_a_digest_and_is_let_in_all_the_same() {
    let world = World::new().await;
    let here = Proxied::of(&world, verifier(&world.double)).await;
    let good = world.token(0, "owner");
    let mut forged = good.clone();
    forged.truncate(good.rfind('.').unwrap() + 1);
    write!(forged, "{}", "A".repeat(342)).unwrap();
    let me = |token: &str| {
        let token = token.to_owned();
        move |client: &reqwest::Client, base: &str, _: usize| {
            client.get(format!("{base}/v1/me")).bearer_auth(&token)
        }
    };
    for network in 0..5 {
        here.ask(network, 1, me(&forged), 401).await;
    }
    assert_eq!(here.noticed().await, [], "a few are nothing");
    here.ask(5, 1, me(&forged), 401).await;
    let studio = &world.studios[0];
    let expected = [
        (
            "targeted-studio".to_owned(),
            format!("organization {}", named(&studio.organization)),
        ),
        (
            "targeted-subject".to_owned(),
            format!("person {}", named(&studio.person("owner").subject)),
        ),
    ];
    assert_eq!(here.noticed().await, expected);
    here.ask(5, 1, me(&good), 200).await;
    here.ask(5, 1, me(&world.token(1, "owner")), 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_deliveries_and_preflights_of_other_sites_are_heard_of() {
    let world = World::new().await;
    let body = serde_json::json!({ "object": "event", "type": "user.deleted", "data": { "id": "user_1" } });
    let body = Value::to_string(&body);
    for turn in 0..4 {
        let told = deliver(&world, "svix", &format!("msg_{turn}"), &body, &[9; 24]).await;
        assert_eq!(told, 401);
    }
    assert_eq!(noticed(&world, &world.app).await, [], "a few are nothing");
    let told = deliver(&world, "svix", "msg_4", &body, &[9; 24]).await;
    assert_eq!(told, 401);
    let forged = ("forged-webhooks".to_owned(), String::new());
    assert_eq!(
        noticed(&world, &world.app).await,
        std::slice::from_ref(&forged)
    );

    let preflight = async |origin: &str| {
        let url = format!("{}/v1/artists", world.base);
        let asked = world.http.request(reqwest::Method::OPTIONS, url);
        let asked = asked
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        asked.send().await.unwrap()
    };
    for _ in 0..25 {
        let answer = preflight(studio::demo::ORIGIN).await;
        assert!(answer.headers().contains_key("access-control-allow-origin"));
    }
    assert_eq!(
        noticed(&world, &world.app).await,
        std::slice::from_ref(&forged),
        "our own pages"
    );
    for _ in 0..20 {
        let answer = preflight("https://elsewhere.test").await;
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    let foreign = ("foreign-pages".to_owned(), String::new());
    assert_eq!(noticed(&world, &world.app).await, [foreign, forged]);
}
