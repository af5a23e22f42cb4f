//! What browsers are told, on every kind of answer.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;

use crate::world::World;

/// The directives of a content policy.
fn policy(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let text = headers["content-security-policy"].to_str().unwrap();
    let words = |part: &str| {
        part.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let directives = text.split(';').map(words);
    directives
        .filter_map(|mut words| (!words.is_empty()).then(|| (words.remove(0), words)))
        .collect()
}

async fn headers(world: &World, path: &str) -> (HeaderMap, String) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let asked = client.build().unwrap().get(format!("{}{path}", world.base));
    let answer = asked.send().await.unwrap();
    (answer.headers().clone(), answer.text().await.unwrap())
}

// asvs: V3.4.1 V3.4.4 V3.4.5 V3.4.6 V3.4.8
#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let world = World::new().await;
    let paths = [
        "/v1/me",
        "/v1/nothing",
        "/openapi.json",
        "/healthz",
        "/problems/not-found",
        "/ui/sign-in",
        "/ui/bookings",
        "/ui/style.css",
        "/ui/sign-in.js",
        "/ui/nothing",
    ];
    for path in paths {
        let (headers, _) = headers(&world, path).await;
        let exact = [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            (
                "strict-transport-security",
                "max-age=63072000; includeSubDomains",
            ),
        ];
        for (name, value) in exact {
            assert_eq!(headers[name], value, "{path} {name}");
        }
        let permissions = headers["permissions-policy"].to_str().unwrap();
        for feature in ["camera", "geolocation", "microphone", "payment", "usb"] {
            assert!(permissions.contains(&format!("{feature}=()")), "{path}");
        }
        let referrer = headers["referrer-policy"].to_str().unwrap();
        assert!(["no-referrer", "same-origin"].contains(&referrer), "{path}");
        // What is of nobody may be kept; anything else may not.
        let cache = headers["cache-control"].to_str().unwrap();
        let is_file = path.ends_with(".css") || path.ends_with(".js");
        assert_eq!(cache == "no-store", !is_file, "{path}: {cache}");
        let policy = policy(&headers);
        assert_eq!(policy["default-src"], ["'none'"], "{path}");
        assert_eq!(policy["base-uri"], ["'none'"], "{path}");
        assert_eq!(policy["frame-ancestors"], ["'none'"], "{path}");
        assert!(policy.contains_key("form-action"), "{path}");
        for source in policy.values().flatten() {
            assert!(
                !source.contains("unsafe") && !source.contains('*'),
                "{path}: {source}"
            );
        }
    }
}

// asvs: V3.4.3 V3.2.2
#[tokio::test]
async fn pages_run_no_script_and_the_sign_in_only_those_of_this_answer() {
    let world = World::new().await;
    for path in ["/problems/not-found", "/ui/bookings"] {
        let (headers, text) = headers(&world, path).await;
        if headers.contains_key("location") {
            continue;
        }
        let policy = policy(&headers);
        assert!(
            !policy.contains_key("script-src") && !text.contains("<script"),
            "{path}"
        );
        assert_eq!(policy["require-trusted-types-for"], ["'script'"], "{path}");
        assert_eq!(policy["trusted-types"], ["'none'"], "{path}");
    }
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let (headers, text) = headers(&world, "/ui/sign-in").await;
        let policy = policy(&headers);
        let [nonce, dynamic] = policy["script-src"].as_slice() else {
            panic!("{policy:?}");
        };
        assert_eq!(dynamic, "'strict-dynamic'");
        let nonce = nonce
            .strip_prefix("'nonce-")
            .unwrap()
            .trim_end_matches('\'')
            .to_owned();
        assert!(nonce.len() >= 32, "{nonce}");
        assert_eq!(
            text.matches("<script").count(),
            text.matches(&format!("<script nonce=\"{nonce}\"")).count()
        );
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
}
