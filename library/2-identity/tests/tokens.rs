//! Good tokens are accepted; then every rule is broken once, and the log says which.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use proptest::prelude::*;
use serde_json::json;
use support::{DROP, NOW_S, World, clock, double, member, request, settings};
use watertight_identity::{
    Caller, RoleMap, ServiceName, SettingsError, Verifier, VerifierSettings, Who, bearer,
};
use watertight_terms::{Kind, Role, TenantId};

#[tokio::test]
async fn a_good_token_of_every_role_and_version_is_accepted() {
    let world = World::new();
    for (claimed, role) in [
        ("org:studio_owner", Role::Owner),
        ("org:studio_manager", Role::Manager),
        ("org:freelancer", Role::Freelancer),
        ("org:guest", Role::Guest),
        ("org:admin", Role::Guest),
        ("org:member", Role::Guest),
        ("org:owner", Role::Guest),
        ("org:Studio_Owner", Role::Guest),
    ] {
        for version in [1, 2] {
            let token = world.double.token(&request(claimed, version));
            let caller = world.verifier.verify(&token).await.unwrap();
            let member = member(&caller);
            assert_eq!(member.claimed_role(), role, "{claimed} v{version}");
            assert_eq!(member.subject().as_str(), "user_ada");
            assert_eq!(member.session().as_str(), "sess_ada");
            assert_eq!(member.organization().as_str(), "org_one");
            assert_eq!(member.issued_at_s(), NOW_S);
        }
    }
}

#[tokio::test]
async fn what_is_allowed_to_differ_is_accepted() {
    let world = World::new();
    let good = [
        ("no typ", world.with_header(json!({ "typ": DROP }))),
        ("no cat", world.with_header(json!({ "cat": DROP }))),
        (
            "cat that says nothing",
            world.with_header(json!({ "cat": "cl_I7d4PD111III" })),
        ),
        (
            "unknown header",
            world.with_header(json!({ "oiat": 1, "more": [1] })),
        ),
        ("no sts", world.with_claims(2, json!({ "sts": DROP }))),
        (
            "unknown claims",
            world.with_claims(2, json!({ "role": "owner", "fea": "o:x", "x": [{}] })),
        ),
        (
            "expired within the skew",
            world.with_claims(2, json!({ "exp": NOW_S - 4, "iat": NOW_S - 64 })),
        ),
        (
            "issued within the skew",
            world.with_claims(2, json!({ "iat": NOW_S + 5, "nbf": NOW_S + 5 })),
        ),
        (
            "the longest life",
            world.with_claims(2, json!({ "exp": NOW_S + 120 })),
        ),
    ];
    for (name, token) in good {
        let accepted = world.verifier.verify(&token).await;
        assert!(accepted.is_ok(), "{name}: {accepted:?}");
    }
}

#[tokio::test]
async fn a_role_is_mapped_by_configuration_only() {
    let double = double();
    let mut settings = settings();
    settings.role_map = RoleMap::default().with("org:admin", Role::Owner);
    let verifier = Verifier::new(settings, double.keys(), clock()).unwrap();
    let caller = verifier
        .verify(&double.token(&request("org:admin", 2)))
        .await;
    assert_eq!(member(&caller.unwrap()).claimed_role(), Role::Owner);
}

#[tokio::test]
async fn forms_that_are_not_canonical_are_refused() {
    let world = World::new();
    let good = world.double.token(&request("org:studio_owner", 2));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts")
    };
    let last = signature.chars().last().unwrap();
    // 256 bytes leave two bits of the last letter unused: its neighbour decodes to the same.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).unwrap();
    let spare = format!(
        "{}{}",
        &signature[..signature.len() - 1],
        &alphabet[place ^ 1..=place ^ 1]
    );
    let with = |signature: &str| format!("{header}.{payload}.{signature}");
    let cases = [
        ("empty", String::new(), "three parts"),
        ("garbage", "abc".into(), "three parts"),
        ("dots", "..".into(), "header"),
        ("two parts", format!("{header}.{payload}"), "three parts"),
        ("four parts", format!("{good}.x"), "three parts"),
        ("five parts", format!("{good}.x.y"), "three parts"),
        ("spare bits", with(&spare), "canonical"),
        ("padding", with(&format!("{signature}==")), "canonical"),
        (
            "bang",
            with(&format!("{}!{}", &signature[..10], &signature[10..])),
            "canonical",
        ),
        ("space", with(&format!("{signature} ")), "canonical"),
        ("line", with(&format!("{signature}\n")), "canonical"),
        ("letter", with(&format!("{signature}é")), "canonical"),
        ("NUL", format!("\u{0}{good}"), "canonical"),
        (
            "too long",
            format!("{good}{}", "A".repeat(8 * 1024)),
            "8 KiB",
        ),
    ];
    for (name, token, word) in cases {
        world.refuses(name, &token, word).await;
    }
    let standard = (0..40).find_map(|_| {
        let token = world.double.token(&request("org:studio_owner", 2));
        let (signed, signature) = token.rsplit_once('.')?;
        signature
            .contains(['-', '_'])
            .then(|| format!("{signed}.{}", signature.replace('-', "+").replace('_', "/")))
    });
    world
        .refuses("standard alphabet", &standard.unwrap(), "canonical")
        .await;
}

#[tokio::test]
async fn a_header_that_breaks_a_rule_is_refused() {
    let world = World::new();
    let cases = [
        ("alg none", json!({ "alg": "none" }), "alg"),
        ("alg None", json!({ "alg": "None" }), "alg"),
        ("alg empty", json!({ "alg": "" }), "alg"),
        ("alg missing", json!({ "alg": DROP }), "alg"),
        ("alg null", json!({ "alg": null }), "alg"),
        ("alg list", json!({ "alg": ["RS256"] }), "alg"),
        ("alg lower", json!({ "alg": "rs256" }), "alg"),
        ("alg space", json!({ "alg": "RS256 " }), "alg"),
        ("HS256", json!({ "alg": "HS256" }), "alg"),
        ("RS384", json!({ "alg": "RS384" }), "alg"),
        ("RS512", json!({ "alg": "RS512" }), "alg"),
        ("PS256", json!({ "alg": "PS256" }), "alg"),
        ("ES256", json!({ "alg": "ES256" }), "alg"),
        ("EdDSA", json!({ "alg": "EdDSA" }), "alg"),
        ("access token", json!({ "typ": "at+jwt" }), "typ"),
        (
            "access token, long",
            json!({ "typ": "application/at+jwt" }),
            "typ",
        ),
        ("logout", json!({ "typ": "logout+jwt" }), "typ"),
        ("JWE", json!({ "typ": "JWE" }), "typ"),
        ("typ lower", json!({ "typ": "jwt" }), "typ"),
        ("typ null", json!({ "typ": null }), "typ"),
        ("template", json!({ "cat": "cl_B7d4PD222AAA" }), "cat"),
        ("machine", json!({ "cat": "cl_B7d4PD333AAA" }), "cat"),
        ("cat empty", json!({ "cat": "" }), "cat"),
        ("cat null", json!({ "cat": null }), "cat"),
        ("kid missing", json!({ "kid": DROP }), "kid"),
        ("kid empty", json!({ "kid": "" }), "kid"),
        ("kid number", json!({ "kid": 1 }), "kid"),
        ("kid null", json!({ "kid": null }), "kid"),
        ("kid object", json!({ "kid": { "a": 1 } }), "kid"),
        ("kid long", json!({ "kid": "a".repeat(5000) }), "kid"),
        ("kid unknown", json!({ "kid": "ins_other" }), "no known key"),
        (
            "kid path",
            json!({ "kid": "../../dev/null" }),
            "no known key",
        ),
        (
            "kid sql",
            json!({ "kid": "x' UNION SELECT 'secret' -- " }),
            "no known key",
        ),
        (
            "kid url",
            json!({ "kid": "http://127.0.0.1:9/k" }),
            "no known key",
        ),
        (
            "kid NUL",
            json!({ "kid": format!("{}\u{0}", world.double.kid()) }),
            "no known key",
        ),
        ("crit", json!({ "crit": ["exp"] }), "own key or meaning"),
        ("crit empty", json!({ "crit": [] }), "own key or meaning"),
        (
            "jku",
            json!({ "jku": "http://127.0.0.1:9/" }),
            "own key or meaning",
        ),
        (
            "x5u",
            json!({ "x5u": "http://127.0.0.1:9/" }),
            "own key or meaning",
        ),
        ("jwk", json!({ "jwk": {} }), "own key or meaning"),
        ("x5c", json!({ "x5c": [] }), "own key or meaning"),
        ("jku null", json!({ "jku": null }), "own key or meaning"),
    ];
    for (name, changes, word) in cases {
        world.refuses(name, &world.with_header(changes), word).await;
    }
}

#[tokio::test]
async fn what_is_no_unambiguous_object_is_refused() {
    let world = World::new();
    let claims = world.claims(2, json!({})).to_string();
    let header = world.double.header().to_string();
    let deep = "[".repeat(2_000);
    let open_header = header.strip_suffix('}').unwrap();
    let open_claims = claims.strip_suffix('}').unwrap();
    for (name, header) in [
        ("array", "[]".to_owned()),
        ("text", "\"x\"".into()),
        ("empty", String::new()),
        ("byte order mark", format!("\u{feff}{header}")),
        ("trailing", format!("{header}{{}}")),
        ("alg twice", format!("{open_header},\"alg\":\"RS256\"}}")),
        (
            "alg twice, escaped",
            format!("{open_header},\"\\u0061lg\":\"none\"}}"),
        ),
        ("unknown twice", format!("{open_header},\"x\":1,\"x\":1}}")),
        ("deep", format!("{open_header},\"x\":{deep}")),
        ("not a number", format!("{open_header},\"x\":NaN}}")),
    ] {
        let token = world.double.sign_text(&header, &claims);
        world.refuses(name, &token, "the header is no object").await;
    }
    for (name, payload) in [
        ("array", "[]".to_owned()),
        ("text", "\"x\"".into()),
        ("null", "null".into()),
        ("empty", String::new()),
        ("byte order mark", format!("\u{feff}{claims}")),
        ("trailing", format!("{claims}{{}}")),
        ("sub twice", format!("{open_claims},\"sub\":\"user_eve\"}}")),
        (
            "sub twice, escaped",
            format!("{open_claims},\"su\\u0062\":\"user_eve\"}}"),
        ),
        ("unknown twice", format!("{open_claims},\"x\":1,\"x\":1}}")),
        (
            "twice within",
            format!("{open_claims},\"x\":{{\"a\":1,\"a\":1}}}}"),
        ),
        ("deep", format!("{open_claims},\"x\":{deep}")),
        (
            "half a character",
            format!("{open_claims},\"x\":\"\\ud800\"}}"),
        ),
    ] {
        let token = world.with_payload(&payload);
        world
            .refuses(name, &token, "the payload is no object")
            .await;
    }
}

#[tokio::test]
async fn a_claim_that_breaks_a_rule_is_refused() {
    let world = World::new();
    let cases = [
        ("iss other", json!({ "iss": "https://evil.example" }), "iss"),
        ("iss missing", json!({ "iss": DROP }), "iss"),
        (
            "iss suffix",
            json!({ "iss": "https://clerk.kit.test.evil.example" }),
            "iss",
        ),
        (
            "iss slash",
            json!({ "iss": "https://clerk.kit.test/" }),
            "iss",
        ),
        (
            "iss upper",
            json!({ "iss": "HTTPS://CLERK.KIT.TEST" }),
            "iss",
        ),
        (
            "iss list",
            json!({ "iss": ["https://clerk.kit.test"] }),
            "iss",
        ),
        ("iss empty", json!({ "iss": "" }), "iss"),
        ("iss null", json!({ "iss": null }), "iss"),
        ("azp other", json!({ "azp": "https://evil.example" }), "azp"),
        ("azp missing", json!({ "azp": DROP }), "azp"),
        (
            "azp suffix",
            json!({ "azp": "https://app.kit.test.evil.example" }),
            "azp",
        ),
        ("azp http", json!({ "azp": "http://app.kit.test" }), "azp"),
        (
            "azp list",
            json!({ "azp": ["https://app.kit.test"] }),
            "azp",
        ),
        ("azp null", json!({ "azp": null }), "azp"),
        ("azp null text", json!({ "azp": "null" }), "azp"),
        (
            "azp port",
            json!({ "azp": "https://app.kit.test:8443" }),
            "azp",
        ),
        ("azp empty", json!({ "azp": "" }), "azp"),
        (
            "aud other",
            json!({ "aud": "https://other.example" }),
            "aud",
        ),
        ("aud null", json!({ "aud": null }), "aud"),
        ("aud empty list", json!({ "aud": [] }), "aud"),
        (
            "exp just past",
            json!({ "exp": NOW_S - 5, "iat": NOW_S - 60 }),
            "expired",
        ),
        (
            "exp long past",
            json!({ "exp": NOW_S - 3_600, "iat": NOW_S - 3_660 }),
            "expired",
        ),
        ("exp missing", json!({ "exp": DROP }), "exp"),
        (
            "exp text",
            json!({ "exp": (NOW_S + 60).to_string() }),
            "exp",
        ),
        ("exp float", json!({ "exp": NOW_S as f64 + 60.0 }), "exp"),
        ("exp null", json!({ "exp": null }), "exp"),
        ("exp bool", json!({ "exp": true }), "exp"),
        ("exp list", json!({ "exp": [NOW_S + 60] }), "exp"),
        ("exp negative", json!({ "exp": -1 }), "exp"),
        ("exp zero", json!({ "exp": 0 }), "exp"),
        ("exp huge", json!({ "exp": i64::MAX }), "exp"),
        ("exp too huge", json!({ "exp": u64::MAX }), "exp"),
        ("nbf missing", json!({ "nbf": DROP }), "nbf"),
        ("nbf future", json!({ "nbf": NOW_S + 6 }), "nbf"),
        ("nbf float", json!({ "nbf": 1.5 }), "nbf"),
        ("iat missing", json!({ "iat": DROP }), "iat"),
        ("iat future", json!({ "iat": NOW_S + 6 }), "iat"),
        ("iat text", json!({ "iat": "1" }), "iat"),
        ("iat most negative", json!({ "iat": i64::MIN }), "iat"),
        ("life too long", json!({ "exp": NOW_S + 121 }), "exp - iat"),
        ("life of decades", json!({ "iat": 0 }), "exp - iat"),
        (
            "life backwards",
            json!({ "exp": NOW_S - 1, "iat": NOW_S }),
            "exp - iat",
        ),
        ("pending", json!({ "sts": "pending" }), "sts"),
        ("sts unknown", json!({ "sts": "ended" }), "sts"),
        ("sts null", json!({ "sts": null }), "sts"),
        (
            "impersonation",
            json!({ "act": { "sub": "user_admin" } }),
            "act",
        ),
        ("act null", json!({ "act": null }), "act"),
        ("sid missing", json!({ "sid": DROP }), "sid"),
        ("sid empty", json!({ "sid": "" }), "malformed"),
        ("sid null", json!({ "sid": null }), "sid"),
        ("sid bar", json!({ "sid": "sess|x" }), "malformed"),
        ("sub missing", json!({ "sub": DROP }), "sub"),
        ("sub machine", json!({ "sub": "mch_1" }), "sub is no user"),
        ("sub bar", json!({ "sub": "user_a|owner" }), "malformed"),
        (
            "sub long",
            json!({ "sub": format!("user_{}", "a".repeat(60)) }),
            "malformed",
        ),
        ("v 1 said", json!({ "v": 1 }), "v is n"),
        ("v 3", json!({ "v": 3 }), "v is n"),
        ("v text", json!({ "v": "2" }), "v is n"),
        ("v float", json!({ "v": 2.0 }), "v is n"),
        ("v null", json!({ "v": null }), "v is n"),
        (
            "v missing, o there",
            json!({ "v": DROP }),
            "version 2 in version 1",
        ),
        (
            "org_id in version 2",
            json!({ "org_id": "org_two" }),
            "version 1 in version 2",
        ),
        (
            "org_role in version 2",
            json!({ "org_role": "org:studio_owner" }),
            "version 1 in version 2",
        ),
        (
            "org_id null in version 2",
            json!({ "o": null, "org_id": null }),
            "version 1 in version 2",
        ),
        ("o null", json!({ "o": null }), "malformed"),
        ("o list", json!({ "o": ["org_one"] }), "malformed"),
        (
            "o.id bar",
            json!({ "o": { "id": "org|two", "rol": "studio_owner" } }),
            "malformed",
        ),
        (
            "o.rol missing",
            json!({ "o": { "id": "org_one" } }),
            "malformed",
        ),
        (
            "o.rol list",
            json!({ "o": { "id": "org_one", "rol": ["studio_owner"] } }),
            "malformed",
        ),
    ];
    for (name, changes, word) in cases {
        world
            .refuses(name, &world.with_claims(2, changes), word)
            .await;
    }
    for (name, changes, word) in [
        (
            "o in version 1",
            json!({ "o": { "id": "org_two" } }),
            "version 2 in version 1",
        ),
        (
            "org_role missing",
            json!({ "org_role": DROP }),
            "a claim is missing",
        ),
        (
            "org_id missing",
            json!({ "org_id": DROP }),
            "a claim is missing",
        ),
        (
            "org_id null",
            json!({ "org_id": null }),
            "a claim is missing",
        ),
    ] {
        world
            .refuses(name, &world.with_claims(1, changes), word)
            .await;
    }
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let world = World::new();
    for (number, word) in [
        ("1e400", "no object"),
        ("NaN", "no object"),
        ("Infinity", "no object"),
        ("-Infinity", "no object"),
        ("01792888260", "no object"),
        ("+1792888260", "no object"),
        ("0x6ADD", "no object"),
        ("1792888260.0", "exp"),
        ("1.79288826e9", "exp"),
        ("-0", "exp"),
        ("9999999999999999999999999999999999999999", "exp"),
    ] {
        let token = world.with_text("exp", &format!("\"exp\":{number}"));
        world.refuses(number, &token, word).await;
    }
    // The same by the same way, with a number that is one.
    let token = world.with_text("exp", &format!("\"exp\":{}", NOW_S + 60));
    assert!(world.verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_session_without_an_organization_is_told_what_is_missing() {
    let world = World::new();
    let version_1 =
        json!({ "org_id": DROP, "org_role": DROP, "org_slug": DROP, "org_permissions": DROP });
    for token in [
        world.with_claims(2, json!({ "o": DROP })),
        world.with_claims(1, version_1),
    ] {
        let fault = world.verifier.verify(&token).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::NotAllowed);
        assert_eq!(fault.slug(), "no-organization");
    }
    // Whoever is not signed in is not told so.
    let pending = world.with_claims(2, json!({ "o": DROP, "sts": "pending" }));
    world.refuses("pending", &pending, "sts").await;
}

#[tokio::test]
async fn an_audience_must_be_ours_whole() {
    let double = double();
    let settings = VerifierSettings {
        audiences: vec!["studio".into(), "studio-admin".into()],
        ..settings()
    };
    let verifier = Verifier::new(settings, double.keys(), clock()).unwrap();
    let world = World { double, verifier };
    for good in [
        json!("studio"),
        json!(["studio"]),
        json!(["studio", "studio-admin"]),
    ] {
        let token = world.with_claims(2, json!({ "aud": good }));
        assert!(world.verifier.verify(&token).await.is_ok(), "{good}");
    }
    for wrong in [
        json!(DROP),
        json!(null),
        json!("x"),
        json!(["x", "y"]),
        json!(["studio", "x"]),
        json!(["studio", 1]),
        json!([["studio"]]),
        json!([]),
        json!({ "studio": 1 }),
    ] {
        let token = world.with_claims(2, json!({ "aud": wrong }));
        world.refuses(&wrong.to_string(), &token, "aud").await;
    }
}

#[test]
fn a_bearer_header_is_two_words() {
    for good in ["Bearer abc", "bearer abc", "BEARER abc"] {
        assert_eq!(bearer(Some(good)).unwrap(), "abc");
    }
    for wrong in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer  abc"),
        Some("Bearer abc "),
        Some("Bearer abc x"),
        Some(" Bearer abc"),
        Some("Bearer\tabc"),
        Some("Token abc"),
        Some("Basic YTpi"),
        Some("abc"),
    ] {
        let fault = bearer(wrong).unwrap_err();
        assert_eq!(fault.kind(), Kind::Unauthenticated, "{wrong:?}");
        assert_eq!(fault.spoken(), "the session token is missing or not valid");
    }
}

#[test]
fn settings_that_accept_too_much_are_refused() {
    let keys = double().keys();
    let refused = |change: fn(&mut VerifierSettings)| {
        let mut settings = settings();
        change(&mut settings);
        Verifier::new(settings, keys.clone(), clock()).err()
    };
    assert_eq!(refused(|_| {}), None);
    type Change = fn(&mut VerifierSettings);
    let cases: [(Change, SettingsError); 10] = [
        (
            |s| s.issuer = "http://clerk.kit.test".into(),
            SettingsError::Issuer,
        ),
        (
            |s| s.issuer = "https://clerk.kit.test/".into(),
            SettingsError::Issuer,
        ),
        (|s| s.issuer = "https://".into(), SettingsError::Issuer),
        (
            |s| s.authorized_parties.push("https://app.kit.test/".into()),
            SettingsError::Parties,
        ),
        (
            |s| s.authorized_parties.push("*".into()),
            SettingsError::Parties,
        ),
        (|s| s.authorized_parties.clear(), SettingsError::Parties),
        (
            |s| s.authorized_parties.push(String::new()),
            SettingsError::Parties,
        ),
        (|s| s.clock_skew_s = 61, SettingsError::Times),
        (|s| s.clock_skew_s = -1, SettingsError::Times),
        (|s| s.longest_life_s = 3_601, SettingsError::Times),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(change), Some(expected));
    }
}

#[test]
fn a_service_acts_in_one_studio() {
    const EXPIRY: ServiceName = ServiceName::new("hold-expiry-2");
    let tenant: TenantId = "11111111-1111-4111-8111-111111111111".parse().unwrap();
    match Caller::service(EXPIRY, tenant).who() {
        Who::Service { name, tenant: of } => assert_eq!((name, of), ("hold-expiry-2", tenant)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_bytes_are_refused() {
    let world = World::new();
    let good = world.double.token(&request("org:studio_owner", 2));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let refuses = |token: &str| runtime.block_on(world.verifier.verify(token)).is_err();
    proptest!(ProptestConfig::with_cases(512), |(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        at in 0..good.len(),
        letter in "[A-Za-z0-9_.=-]",
    )| {
        prop_assert!(refuses(&String::from_utf8_lossy(&bytes)));
        // As the payload under a good header and a good signature: never a panic, never a caller.
        let payload = String::from_utf8_lossy(&bytes);
        prop_assert!(refuses(&world.with_payload(&payload)));
        // One letter of a good token, changed.
        let mut bent = good.clone();
        bent.replace_range(at..=at, &letter);
        prop_assert!(bent == good || refuses(&bent));
    });
}
