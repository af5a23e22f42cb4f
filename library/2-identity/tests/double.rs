//! What the stand-in serves.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(dead_code, reason = "each test file uses its part of what they share")]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what the test files share"
)]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use support::{World, double, member};
use watertight_identity::double::{Double, DoubleError, Person};
use watertight_terms::Role;

fn people() -> Vec<Person> {
    let person = |name: &str, studio: &str, role: &str, subject: &str| Person {
        name: name.into(),
        studio: studio.into(),
        role: role.into(),
        subject: subject.into(),
        session: format!("sess_{subject}"),
        organization: format!("org_{studio}"),
        slug: studio.into(),
    };
    vec![
        person("Ada <b>", "one", "org:studio_owner", "user_ada"),
        person("Bo", "two", "org:freelancer", "user_bo"),
        person("Ada too", "two", "org:studio_manager", "user_ada"),
    ]
}

async fn served(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world
        .double
        .router_with_example(people(), "http://127.0.0.1:1/v1/me");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Head and body of the answer.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_token_of_a_known_person_is_good() {
    let world = World::new();
    let address = served(&world).await;
    for (method, query, role) in [
        ("GET", "subject=user_ada", Role::Owner),
        (
            "POST",
            "subject=user_ada&organization=org_two",
            Role::Manager,
        ),
        ("GET", "subject=user_bo&version=1", Role::Freelancer),
    ] {
        let (head, token) = ask(address, method, &format!("/token?{query}")).await;
        assert!(
            head.contains("text/plain") && head.contains("no-store"),
            "{head}"
        );
        let caller = world.verifier.verify(&token).await.unwrap();
        assert_eq!(member(&caller).claimed_role(), role, "{query}");
    }
    for query in ["subject=user_eve", "subject=user_bo&organization=org_one"] {
        let (head, body) = ask(address, "GET", &format!("/token?{query}")).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        assert!(body.contains("sign-in page"), "{body}");
    }
}

#[tokio::test]
async fn fetches_of_the_keys_are_counted() {
    let world = World::new();
    let address = served(&world).await;
    assert_eq!(ask(address, "GET", "/jwks-hits").await.1, "0");
    let (_, jwks) = ask(address, "GET", "/.well-known/jwks.json").await;
    assert_eq!(jwks, world.double.jwks_json());
    assert_eq!(ask(address, "GET", "/jwks-hits").await.1, "1");
}

#[tokio::test]
async fn the_page_shows_a_token_and_runs_nothing() {
    let world = World::new();
    let address = served(&world).await;
    let (head, page) = ask(address, "GET", "/sign-in").await;
    assert!(head.contains("default-src 'none'") && head.contains("frame-ancestors 'none'"));
    assert!(page.contains("aria-label=\"Sign in as Bo\""), "{page}");
    assert!(
        page.contains("Ada &lt;b&gt;") && !page.contains("<b>"),
        "{page}"
    );
    assert!(
        !page.contains("<script") && !page.contains("textarea id"),
        "{page}"
    );
    // Each studio stands there once, though its people are not in one piece.
    assert_eq!(page.matches("<h2>").count(), 2);

    let (_, page) = ask(
        address,
        "GET",
        "/sign-in?subject=user_bo&organization=org_two",
    )
    .await;
    let (_, rest) = page.split_once("readonly>").unwrap();
    let (token, rest) = rest.split_once('<').unwrap();
    assert!(world.verifier.verify(token).await.is_ok());
    assert!(
        rest.contains("curl -H &quot;Authorization: Bearer "),
        "{rest}"
    );
    assert!(rest.contains("http://127.0.0.1:1/v1/me"), "{rest}");
}

#[test]
fn the_private_key_is_for_whoever_forges() {
    let pem = double().private_key_pem();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(pem.lines().all(|line| line.len() <= 64));
}

#[test]
fn the_stand_in_refuses_an_issuer_that_could_be_real() {
    for good in [
        "https://clerk.kit.test",
        "https://clerk.example",
        "https://a.b.localhost",
    ] {
        assert!(Double::refuse_in_production(good).is_ok(), "{good}");
    }
    for real in [
        "https://clerk.studio.com",
        "https://slug.clerk.accounts.dev",
        "https://clerk.studio.com/.test",
        "https://clerk.studio.com#.test",
        "https://clerk.studio.com:443/a.example",
        "https://user@clerk.test",
        "https://clerk.studiotest",
        "http://clerk.kit.test",
        "",
    ] {
        assert_eq!(
            Double::refuse_in_production(real),
            Err(DoubleError::Production),
            "{real}"
        );
    }
}
