//! Claims that say more than who is calling: who acts as somebody, when a factor was proven, and
//! what the token's own list of permissions leaves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{DROP, World, clock, double, member, settings};
use watertight_identity::{Impersonation, Member, Reverification, Verifier};
use watertight_terms::{Clock, Kind};

fn actor(more: Value) -> Value {
    let mut act =
        json!({ "sub": "user_helper", "iss": "https://dashboard.clerk.com", "sid": "sess_helper" });
    for (name, value) in more.as_object().unwrap() {
        act[name] = value.clone();
    }
    json!({ "act": act })
}

fn letting_act() -> World {
    let double = double();
    let mut settings = settings();
    settings.impersonation = Impersonation::ReadOnly;
    let verifier = Verifier::new(settings, double.keys(), clock()).unwrap();
    World { double, verifier }
}

#[tokio::test]
async fn whoever_acts_as_another_is_refused_unless_it_is_allowed() {
    let strict = World::new();
    for version in [1, 2] {
        let token = strict.with_claims(version, actor(json!({})));
        strict.refuses("acts", &token, "act").await;
    }
    let world = letting_act();
    for version in [1, 2] {
        let token = world.with_claims(version, actor(json!({})));
        let caller = world.verifier.verify(&token).await.unwrap();
        let member = member(&caller);
        assert_eq!(member.subject().as_str(), "user_ada");
        let acting = member.actor().unwrap();
        assert_eq!(acting.subject().as_str(), "user_helper");
        assert_eq!(acting.session().unwrap().as_str(), "sess_helper");
    }
    let plain = world.with_claims(2, json!({}));
    let caller = world.verifier.verify(&plain).await.unwrap();
    assert_eq!(member(&caller).actor(), None);
}

#[tokio::test]
async fn an_actor_who_is_no_person_acting_directly_is_refused_always() {
    let world = letting_act();
    for (act, word) in [
        (json!({ "act": null }), "act"),
        (json!({ "act": "user_helper" }), "act"),
        (json!({ "act": [] }), "act"),
        (json!({ "act": {} }), "act"),
        (json!({ "act": { "sub": 1 } }), "act"),
        (json!({ "act": { "sub": "user|x" } }), "malformed"),
        (actor(json!({ "sid": "" })), "malformed"),
        (actor(json!({ "sid": 1 })), "act"),
        (actor(json!({ "type": "agent" })), "no person acts directly"),
        (
            actor(json!({ "act": { "sub": "user_behind" } })),
            "no person acts directly",
        ),
    ] {
        let token = world.with_claims(2, act.clone());
        world.refuses(&act.to_string(), &token, word).await;
    }
}

async fn with_ages(ages: Value) -> Member {
    let world = World::new();
    let token = world.with_claims(2, json!({ "fva": ages }));
    let caller = world.verifier.verify(&token).await.unwrap();
    member(&caller).clone()
}

const LEVELS: [Reverification; 4] = [
    Reverification::StrictMfa,
    Reverification::Strict,
    Reverification::Moderate,
    Reverification::Lax,
];

/// Which of the four levels the ages are enough for.
async fn enough_for(ages: Value) -> [bool; 4] {
    let member = with_ages(ages).await;
    LEVELS.map(|level| member.verified_within(level, &clock()).is_ok())
}

#[tokio::test]
async fn a_factor_counts_for_as_long_as_its_level_says() {
    for (ages, enough) in [
        (json!([0, 0]), [true, true, true, true]),
        (json!([9, 9]), [true, true, true, true]),
        (json!([10, 10]), [false, false, true, true]),
        (json!([60, 60]), [false, false, false, true]),
        (json!([1440, 1440]), [false, false, false, false]),
        // Strict asks for the second alone, strict_mfa for both.
        (json!([50, 0]), [false, true, true, true]),
        (json!([0, 50]), [false, false, true, true]),
        // Who has no second factor proves the first.
        (json!([0, -1]), [true, true, true, true]),
        (json!([30, -1]), [false, false, true, true]),
        (json!([-1, -1]), [false, false, false, false]),
        (json!([-1, 0]), [false, true, true, true]),
        // What is missing or malformed was never proven.
        (json!(DROP), [false; 4]),
        (json!(null), [false; 4]),
        (json!([]), [false; 4]),
        (json!([0]), [false; 4]),
        (json!([0, 0, 0]), [false; 4]),
        (json!(["0", "0"]), [false; 4]),
        (json!([0.5, 0.5]), [false; 4]),
        (json!([-2, -2]), [false; 4]),
        (json!([i64::MAX, i64::MAX]), [false; 4]),
        (json!({ "0": 0, "1": 0 }), [false; 4]),
    ] {
        assert_eq!(enough_for(ages.clone()).await, enough, "{ages}");
    }
}

#[tokio::test]
async fn an_age_grows_after_the_token_was_issued() {
    let member = with_ages(json!([9, -1])).await;
    let later = |seconds| Clock::fixed(clock().now() + Duration::from_secs(seconds));
    let strict = |clock: &Clock| {
        member
            .verified_within(Reverification::Strict, clock)
            .is_ok()
    };
    assert!(strict(&later(59)));
    assert!(!strict(&later(60)));
    // A clock behind the issuer's makes nothing younger than it was.
    assert!(strict(&Clock::fixed(
        clock().now() - Duration::from_secs(5)
    )));
}

#[tokio::test]
async fn whoever_is_asked_again_is_told_so_in_clerks_words() {
    let member = with_ages(json!([-1, -1])).await;
    for (level, word) in LEVELS
        .into_iter()
        .zip(["strict_mfa", "strict", "moderate", "lax"])
    {
        let fault = member.verified_within(level, &clock()).unwrap_err();
        assert_eq!(
            (fault.kind(), fault.slug()),
            (Kind::NotAllowed, "reverification")
        );
        assert_eq!(
            fault.extension().unwrap(),
            &json!({ "clerk_error": {
                "type": "forbidden", "reason": "reverification-error", "metadata": { "reverification": word },
            } })
        );
    }
}

#[tokio::test]
async fn permissions_come_with_the_member_and_change_no_role() {
    let world = World::new();
    let organization = |more: Value| {
        let mut o = json!({ "id": "org_one", "rol": "freelancer" });
        for (name, value) in more.as_object().unwrap() {
            o[name] = value.clone();
        }
        json!({ "fea": "u:profile,o:bookings,o:people", "o": o })
    };
    let packed = organization(json!({ "per": "read,manage", "fpm": "0,1,3" }));
    let caller = world.verifier.verify(&world.with_claims(2, packed)).await;
    let caller = caller.unwrap();
    let permissions = member(&caller).permissions();
    assert!(permissions.allows("people", "read") && !permissions.allows("people", "manage"));
    assert!(!permissions.allows("bookings", "read") && permissions.is_disputed());
    assert_eq!(
        member(&caller).claimed_role(),
        watertight_terms::Role::Freelancer
    );
    // Without the list there is nothing to be asked, and the member is let in all the same.
    let bare = world.with_claims(2, organization(json!({})));
    let caller = world.verifier.verify(&bare).await.unwrap();
    assert_eq!(member(&caller).permissions().iter().count(), 0);
    let version_1 = world.with_claims(1, json!({ "org_permissions": ["org:bookings:read"] }));
    let caller = world.verifier.verify(&version_1).await.unwrap();
    assert!(member(&caller).permissions().allows("bookings", "read"));
}
