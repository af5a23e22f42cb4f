//! Limits of members, studios and addresses, in one process.

use serde_json::json;

use crate::world::{Answered, Like, World};

/// Rates that a test can reach.
pub(crate) async fn world(limits: &str) -> World {
    World::like(Like {
        limits: limits.to_owned(),
        ..Like::default()
    })
    .await
}

/// Sends the same request so often; gives every answer.
pub(crate) async fn flood(
    world: &World,
    of: (usize, &str),
    path: &str,
    times: u32,
) -> Vec<Answered> {
    let token = world.token(of.0, of.1);
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(world.ask("GET", path, &token, &[], None).await);
    }
    answers
}

/// How many were granted; all others are refused in due form.
pub(crate) fn granted(answers: &[Answered]) -> usize {
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(refused.body["type"], "/problems/too-many-requests");
        let after_s: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&after_s), "{after_s}");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test]
async fn a_members_flood_ends_in_429_and_is_nobody_elses() {
    let world = world("per_member_s = 1\nburst_s = 8").await;
    let before = (world.entries(0).await, world.entries(1).await);
    let answers = flood(&world, (0, "owner"), "/v1/me", 30).await;
    let let_in = granted(&answers);
    assert!((8..=10).contains(&let_in), "{let_in}");
    let first = &answers[0];
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"member-read\";q=8;w=8")
    );
    assert_eq!(first.header("ratelimit"), Some("\"member-read\";r=7;t=1"));
    let last = answers.last().unwrap();
    assert_eq!(last.header("ratelimit"), Some("\"member-read\";r=0;t=8"));
    // The others of the studio, and the other studio, do not feel it.
    assert_eq!(
        granted(&flood(&world, (0, "manager"), "/v1/me", 5).await),
        5
    );
    assert_eq!(granted(&flood(&world, (1, "owner"), "/v1/me", 5).await), 5);
    // What is let in has an entry each; of the flood there is one.
    let after = (world.entries(0).await, world.entries(1).await);
    assert_eq!(after.0 - before.0, i64::try_from(let_in).unwrap() + 5 + 1);
    assert_eq!(after.1 - before.1, 5);
    let raw = world.as_admin().await;
    let noted: i64 = raw
        .value(
            "SELECT count(*) FROM ledger.entries WHERE body ->> 'rule' = 'too-many-requests'
             AND (body ->> 'status')::int = 429 AND body ->> 'outcome' = 'refused' AND body ->> 'actor' = $1",
            &[&world.studios[0].person("owner").subject],
        )
        .await
        .unwrap();
    assert_eq!(noted, 1);
    // Whoever comes again when told to is let in.
    let again_s = last.header("retry-after").unwrap().parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(again_s)).await;
    assert_eq!(granted(&flood(&world, (0, "owner"), "/v1/me", 1).await), 1);
}

#[tokio::test]
async fn members_of_two_studios_have_a_bucket_in_each() {
    let world = world("per_member_s = 1\nburst_s = 8").await;
    let first = granted(&flood(&world, (0, "dual"), "/v1/me", 20).await);
    assert!((8..=10).contains(&first), "{first}");
    assert_eq!(granted(&flood(&world, (1, "dual"), "/v1/me", 5).await), 5);
}

#[tokio::test]
async fn a_studio_has_a_quota_over_all_of_its_members() {
    let world = world("per_studio_s = 1\nburst_s = 8").await;
    let owner = granted(&flood(&world, (0, "owner"), "/v1/me", 6).await);
    assert_eq!(owner, 6);
    let answers = flood(&world, (0, "manager"), "/v1/me", 20).await;
    let let_in = granted(&answers);
    assert!((2..=4).contains(&let_in), "{let_in}");
    // What the others do is told only to whom it stops.
    assert!(
        answers[0]
            .header("ratelimit")
            .unwrap()
            .starts_with("\"member-read\"")
    );
    let last = answers.last().unwrap();
    assert!(
        last.header("ratelimit")
            .unwrap()
            .starts_with("\"studio-read\";r=0")
    );
    assert_eq!(granted(&flood(&world, (1, "owner"), "/v1/me", 6).await), 6);
}

#[tokio::test]
async fn changes_and_what_is_expensive_have_smaller_limits_of_their_own() {
    let world =
        world("per_member_s = 1\nburst_s = 20\nwrite_percent = 50\nexpensive_percent = 20").await;
    let expensive = granted(&flood(&world, (0, "owner"), "/v1/members", 20).await);
    assert!((4..=6).contains(&expensive), "{expensive}");
    let token = world.token(0, "owner");
    let mut made = 0;
    for number in 0..20 {
        let body = json!({ "name": format!("artist {number}") });
        let (status, _) = world.send("POST", "/v1/artists", &token, Some(body)).await;
        assert!(matches!(status, 201 | 429), "{status}");
        made += u32::from(status == 201);
    }
    assert!((10..=12).contains(&made), "{made}");
    let read = granted(&flood(&world, (0, "owner"), "/v1/me", 30).await);
    assert!((20..=23).contains(&read), "{read}");
}

#[tokio::test]
async fn a_studio_and_a_member_can_have_rates_of_their_own() {
    // The ids are of the template, which all worlds share.
    let template = World::new().await;
    let own = &template.studios[0].organization;
    let manager = &template.studios[0].person("manager").subject;
    let world = world(&format!(
        "per_member_s = 1\nburst_s = 4\noverrides = [
            {{ organization = \"{own}\", per_member_s = 3 }},
            {{ organization = \"{own}\", subject = \"{manager}\", per_member_s = 2 }},
        ]"
    ))
    .await;
    let (owner, manager, other) = (
        granted(&flood(&world, (0, "owner"), "/v1/me", 20).await),
        granted(&flood(&world, (0, "manager"), "/v1/me", 20).await),
        granted(&flood(&world, (1, "owner"), "/v1/me", 20).await),
    );
    assert!((12..=15).contains(&owner), "{owner}");
    assert!((8..=11).contains(&manager), "{manager}");
    assert!((4..=6).contains(&other), "{other}");
}

#[tokio::test]
async fn strangers_are_limited_by_address_before_anybody_asks_who_they_are() {
    let world = world("per_address_s = 1\nburst_s = 40").await;
    // Members pay from their own: more of them than the address may.
    for part in ["owner", "manager"] {
        assert_eq!(granted(&flood(&world, (0, part), "/v1/me", 30).await), 30);
    }
    let mut statuses = Vec::new();
    for number in 0..20 {
        let forwarded = format!("203.0.113.{number}");
        let headers = [("x-forwarded-for", forwarded.as_str())];
        let answered = world.ask("GET", "/v1/me", "x.y.z", &headers, None).await;
        statuses.push(answered.status);
    }
    // Ten a failure: four or five of them.
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((15..=16).contains(&refused), "{statuses:?}");
    assert_eq!(statuses[0], 401);
    // Pages ask for their cookie only in the transaction, and fail as dearly.
    let page = world.http.get(format!("{}/ui/bookings", world.base));
    assert_eq!(page.send().await.unwrap().status(), 429);
}
