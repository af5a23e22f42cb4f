//! Limits of members, studios and addresses, in one process.

use std::time::Instant;

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

/// What was answered to as many requests as fast as they are answered, and how long that took.
pub(crate) struct Flood {
    pub(crate) answers: Vec<Answered>,
    took_s: usize,
}

/// Sends the same request so often.
pub(crate) async fn flood(world: &World, of: (usize, &str), path: &str, times: u32) -> Flood {
    let (token, started) = (world.token(of.0, of.1), Instant::now());
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(world.ask("GET", path, &token, &[], None).await);
    }
    let took_s = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    Flood { answers, took_s }
}

impl Flood {
    /// How many were granted; all others are refused in due form.
    pub(crate) fn granted(&self) -> usize {
        let is_granted = |answer: &&Answered| answer.status == 200;
        for refused in self.answers.iter().filter(|answer| !is_granted(answer)) {
            assert_eq!(refused.status, 429, "{refused:?}");
            assert_eq!(refused.body["type"], "/problems/too-many-requests");
            let after_s: u32 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&after_s), "{after_s}");
        }
        self.answers.iter().filter(is_granted).count()
    }

    /// A burst was granted, and since then so many a second at most.
    pub(crate) fn is_burst(&self, burst: usize, per_s: usize) -> usize {
        let granted = self.granted();
        let most = burst + per_s * self.took_s;
        assert!(
            (burst..=most).contains(&granted),
            "{granted} is not {burst} to {most}"
        );
        granted
    }
}

// asvs: V2.3.2 V2.4.1 V16.3.3
#[tokio::test]
async fn a_members_flood_ends_in_429_and_is_nobody_elses() {
    let world = world("per_member_s = 1\nburst_s = 8").await;
    let before = (world.entries(0).await, world.entries(1).await);
    let flooded = flood(&world, (0, "owner"), "/v1/me", 30).await;
    let let_in = flooded.is_burst(8, 1);
    let first = &flooded.answers[0];
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"member-read\";q=8;w=8")
    );
    assert_eq!(first.header("ratelimit"), Some("\"member-read\";r=7;t=1"));
    let last = flooded.answers.last().unwrap();
    assert_eq!(last.status, 429);
    assert!(
        last.header("ratelimit")
            .unwrap()
            .starts_with("\"member-read\";r=0;t=")
    );
    // The others of the studio, and the other studio, do not feel it.
    assert_eq!(
        flood(&world, (0, "manager"), "/v1/me", 5).await.granted(),
        5
    );
    assert_eq!(flood(&world, (1, "owner"), "/v1/me", 5).await.granted(), 5);
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
    assert_eq!(flood(&world, (0, "owner"), "/v1/me", 1).await.granted(), 1);
}

#[tokio::test]
async fn members_of_two_studios_have_a_bucket_in_each() {
    let world = world("per_member_s = 1\nburst_s = 8").await;
    flood(&world, (0, "dual"), "/v1/me", 30)
        .await
        .is_burst(8, 1);
    assert_eq!(flood(&world, (1, "dual"), "/v1/me", 5).await.granted(), 5);
}

#[tokio::test]
async fn a_studio_has_a_quota_over_all_of_its_members() {
    let world = world("per_studio_s = 1\nburst_s = 8").await;
    let owner = flood(&world, (0, "owner"), "/v1/me", 6).await;
    assert_eq!(owner.granted(), 6);
    let manager = flood(&world, (0, "manager"), "/v1/me", 30).await;
    manager.is_burst(2, owner.took_s + 1);
    let answers = manager.answers;
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
    assert_eq!(flood(&world, (1, "owner"), "/v1/me", 6).await.granted(), 6);
}

// asvs: V2.4.1 V15.2.2
#[tokio::test]
async fn changes_and_what_is_expensive_have_smaller_limits_of_their_own() {
    let world =
        world("per_member_s = 1\nburst_s = 20\nwrite_percent = 50\nexpensive_percent = 20").await;
    let expensive = flood(&world, (0, "owner"), "/v1/members", 20).await;
    expensive.is_burst(4, 1);
    let (token, started) = (world.token(0, "owner"), Instant::now());
    let mut made = 0;
    for number in 0..30 {
        let body = json!({ "name": format!("artist {number}") });
        let (status, _) = world.send("POST", "/v1/artists", &token, Some(body)).await;
        assert!(matches!(status, 201 | 429), "{status}");
        made += u64::from(status == 201);
    }
    let most = 11 + started.elapsed().as_secs();
    assert!((10..=most).contains(&made), "{made} is not 10 to {most}");
    flood(&world, (0, "owner"), "/v1/me", 50)
        .await
        .is_burst(20, 1);
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
    for (of, burst, per_s) in [
        ((0, "owner"), 12, 3),
        ((0, "manager"), 8, 2),
        ((1, "owner"), 4, 1),
    ] {
        flood(&world, of, "/v1/me", 50).await.is_burst(burst, per_s);
    }
}

// asvs: V6.3.1 V15.3.4
#[tokio::test]
async fn strangers_are_limited_by_address_before_anybody_asks_who_they_are() {
    let world = world("per_address_s = 1\nburst_s = 40").await;
    // Members pay from their own: more of them than the address may.
    for part in ["owner", "manager"] {
        assert_eq!(flood(&world, (0, part), "/v1/me", 30).await.granted(), 30);
    }
    let mut statuses = Vec::new();
    for number in 0..20 {
        let forwarded = format!("203.0.113.{number}");
        let headers = [("x-forwarded-for", forwarded.as_str())];
        let answered = world.ask("GET", "/v1/me", "x.y.z", &headers, None).await;
        statuses.push(answered.status);
    }
    // Ten a failure: four of them, and a fifth if this took long.
    let failed = statuses.iter().filter(|status| **status == 401).count();
    assert!((4..=5).contains(&failed), "{statuses:?}");
    assert_eq!((statuses[0], statuses[19]), (401, 429));
    // Pages ask for their cookie only in the transaction, and fail as dearly.
    let page = world.http.get(format!("{}/ui/bookings", world.base));
    assert_eq!(page.send().await.unwrap().status(), 429);
}
