//! The edges of what is read: each part in its one spelling, the last byte, any three parts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;
use support::{World, clock, double, request, settings};
use watertight_identity::{SettingsError, Verifier};
use watertight_terms::{Limits, Role};

/// The same bytes with a spare bit set in the last letter, if there is a spare bit.
fn respelled(part: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = ALPHABET.find(part.chars().last()?)?;
    let mut respelled = part[..part.len() - 1].to_owned();
    respelled.push(ALPHABET.chars().nth(place ^ 1)?);
    (!part.len().is_multiple_of(4)).then_some(respelled)
}

#[tokio::test]
async fn every_part_has_one_spelling() {
    let world = World::new();
    // Padded with spaces, so that each of the two texts leaves spare bits.
    let spaced = |text: String| {
        let over = text.len() % 3;
        text + if over == 0 { " " } else { "" }
    };
    let header = spaced(world.double.header().to_string());
    let claims = spaced(world.claims(2, json!({})).to_string());
    let good = world.double.sign_text(&header, &claims);
    assert!(world.verifier.verify(&good).await.is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for at in 0..3 {
        let changed = |part: String| {
            let mut parts = parts.clone();
            parts[at] = &part;
            parts.join(".")
        };
        let part = parts[at];
        for (name, part) in [
            ("spare bits", respelled(part).unwrap()),
            ("padding", format!("{part}==")),
            (
                "one letter more",
                format!("{part}{}", "A".repeat(5 - part.len() % 4)),
            ),
            ("standard alphabet", format!("{part}+/+/")),
            ("space", format!(" {part}")),
            ("line", format!("{part}\n")),
        ] {
            let name = format!("{name} in part {at}");
            world.refuses(&name, &changed(part), "canonical").await;
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let world = World::new();
    let good = world.double.token(&request("org:studio_owner", 2));
    let (_, rest) = good.split_once('.').unwrap();
    let mut header = world.double.header().to_string().into_bytes();
    header.truncate(header.len() - 1);
    header.extend_from_slice(b",\"x\":\"\xff\"}");
    let token = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header));
    world
        .refuses("no text", &token, "the header is no object")
        .await;
}

#[tokio::test]
async fn the_bound_on_length_is_met_to_the_byte() {
    let world = World::new();
    let mut of_length = std::collections::BTreeMap::new();
    for letters in 5_490..5_530 {
        let filling = "x".repeat(letters);
        let token = world.with_claims(2, json!({ "x": filling }));
        of_length.insert(token.len(), token);
    }
    let (_, nearest) = of_length.range(..=Limits::TOKEN_BYTES).next_back().unwrap();
    assert!(nearest.len() + 2 > Limits::TOKEN_BYTES, "{}", nearest.len());
    assert!(world.verifier.verify(nearest).await.is_ok());
    let (_, over) = of_length.range(Limits::TOKEN_BYTES + 1..).next().unwrap();
    world.refuses("one over", over, "8 KiB").await;
}

#[tokio::test]
async fn nesting_is_bounded_where_it_stands_in_good_json() {
    let world = World::new();
    let nested = |depth: usize| format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth));
    let token = world.with_text("jti", &nested(100));
    assert!(world.verifier.verify(&token).await.is_ok());
    for depth in [128, 2_000] {
        let token = world.with_text("jti", &nested(depth));
        world
            .refuses("deep", &token, "the payload is no object")
            .await;
        let header = world.double.header().to_string();
        let header = format!("{},{}}}", header.strip_suffix('}').unwrap(), nested(depth));
        let token = world.double.sign_text(&header, "{}");
        world
            .refuses("deep", &token, "the header is no object")
            .await;
    }
}

/// A member that a JSON library uses for itself is an ordinary one here.
#[tokio::test]
async fn the_parsers_own_words_mean_nothing() {
    let world = World::new();
    for word in [
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
    ] {
        let number = format!("\"exp\":{{\"{word}\":\"1792888260\"}}");
        world
            .refuses(word, &world.with_text("exp", &number), "exp")
            .await;
    }
}

#[tokio::test]
async fn a_role_is_read_from_its_own_version_only() {
    let world = World::new();
    for rol in [
        "org:org:studio_owner",
        " studio_owner",
        "studio_owner ",
        "",
        "*",
    ] {
        let organization = json!({ "id": "org_one", "rol": rol });
        let token = world.with_claims(2, json!({ "o": organization }));
        let caller = world.verifier.verify(&token).await.unwrap();
        assert_eq!(
            support::member(&caller).claimed_role(),
            Role::Guest,
            "{rol}"
        );
    }
}

#[test]
fn an_issuer_and_a_party_are_origins() {
    let keys = double().keys();
    let with = |issuer: &str, party: &str| {
        let mut settings = settings();
        settings.issuer = issuer.to_owned();
        settings.authorized_parties = vec![party.to_owned()];
        Verifier::new(settings, keys.clone(), clock()).err()
    };
    let (issuer, party) = ("https://clerk.kit.test", "https://app.kit.test");
    for good in [
        party,
        "http://localhost:3000",
        "http://[::1]:80",
        "chrome-extension://abc",
    ] {
        assert_eq!(with(issuer, good), None, "{good}");
    }
    for wrong in [
        "",
        "null",
        "*",
        "app.kit.test",
        "https://",
        "://x",
        "https://x/",
        "https://x/y",
    ] {
        assert_eq!(with(issuer, wrong), Some(SettingsError::Parties), "{wrong}");
        assert_eq!(with(wrong, party), Some(SettingsError::Issuer), "{wrong}");
    }
    for wrong in [
        "https://a@b",
        "https://x?y",
        "https://x#y",
        "https://X.test",
        "https://*.test",
    ] {
        assert_eq!(with(wrong, party), Some(SettingsError::Issuer), "{wrong}");
    }
}

/// Text that is JSON, or nearly.
fn jsonish() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        Just("1e400".to_owned()),
        "\"[ -~]{0,8}\"",
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let name = prop_oneof![
            "alg",
            "kid",
            "typ",
            "cat",
            "iss",
            "exp",
            "o",
            "v",
            "[a-z]{0,3}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| {
                let mut text = String::new();
                for (name, value) in members {
                    write!(text, ",\"{name}\":{value}").unwrap();
                }
                format!("{{{}}}", text.strip_prefix(',').unwrap_or_default())
            }),
        ]
    })
}

#[test]
fn any_three_parts_are_refused() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let refuses = |token: &str| runtime.block_on(world.verifier.verify(token)).is_err();
    let header = world.double.header().to_string();
    proptest!(ProptestConfig::with_cases(512), |(first in jsonish(), second in jsonish(), third in jsonish())| {
        let [one, two, three] = [&first, &second, &third].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let token = [one, two, three].join(".");
        prop_assert!(refuses(&token));
        // Signed: it is read to the end.
        prop_assert!(refuses(&world.double.sign_text(&first, &second)));
        prop_assert!(refuses(&world.double.sign_text(&header, &second)));
    });
}
