//! Somebody at Clerk who acts as a member; and what asks for a fresh proof of who it is.

use serde_json::{Value, json};

use crate::{
    refusals::{Request, api, request},
    world::World,
};

const ACT: &str = "user_support";

pub(crate) fn acted(world: &World, studio: usize, part: &str) -> String {
    world.bent_token(studio, part, &json!({ "act": { "sub": ACT } }))
}

pub(crate) async fn let_act(world: &World, studio: usize, choice: &str) {
    let body = json!({ "impersonation": choice });
    let owner = world.token(studio, "owner");
    let (status, answer) = world.send("PATCH", "/v1/studio", &owner, Some(body)).await;
    assert_eq!((status, &answer["impersonation"]), (200, &json!(choice)));
}

/// Actor, who acted, and outcome of the studio's newest entry.
async fn last_entry(world: &World, studio: usize) -> [Option<String>; 3] {
    let raw = world.as_admin().await;
    let mut last = [None, None, None];
    for (member, place) in ["actor", "acted_by", "outcome"].iter().zip(&mut last) {
        *place = raw
            .value(
                "SELECT body ->> $2 FROM ledger.entries WHERE tenant_id = $1 ORDER BY at DESC LIMIT 1",
                &[&world.studios[studio].tenant, member],
            )
            .await
            .unwrap();
    }
    last
}

fn entry(actor: &str, acted_by: Option<&str>, outcome: &str) -> [Option<String>; 3] {
    [Some(actor), acted_by, Some(outcome)].map(|text| text.map(str::to_owned))
}

#[tokio::test]
async fn whoever_acts_as_a_member_gets_in_where_an_owner_chose_so_and_both_are_named() {
    let world = World::new().await;
    let owner = world.studios[0].person("owner").subject.clone();
    let told = async |studio: usize| {
        let token = acted(&world, studio, "owner");
        let (status, answer) = world.send("GET", "/v1/artists", &token, None).await;
        (status, answer["type"].as_str().map(str::to_owned))
    };
    let refused = (401, Some("/problems/impersonation-off".to_owned()));
    assert_eq!(told(0).await, refused);
    assert_eq!(
        last_entry(&world, 0).await,
        entry(&owner, Some(ACT), "refused")
    );

    let_act(&world, 0, "read_only").await;
    assert_eq!(last_entry(&world, 0).await, entry(&owner, None, "allowed"));
    assert_eq!(told(0).await, (200, None));
    assert_eq!(
        last_entry(&world, 0).await,
        entry(&owner, Some(ACT), "allowed")
    );
    assert_eq!(told(1).await, refused, "another studio chose nothing");

    let_act(&world, 0, "refused").await;
    assert_eq!(told(0).await, refused);
}

#[tokio::test]
async fn whoever_acts_as_a_member_changes_nothing_by_any_route() {
    let world = World::new().await;
    let_act(&world, 0, "read_only").await;
    let token = acted(&world, 0, "owner");
    let mut tried = 0;
    for route in api() {
        if route.method == http::Method::GET || route.path.ends_with("check-availability") {
            continue;
        }
        tried += 1;
        let Request {
            method, path, body, ..
        } = request(&world, &route).await;
        let made = rows(&world).await;
        let (status, problem) = world.send(method, &path, &token, body).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (403, Some("/problems/impersonation")),
            "{method} {path}: {problem}"
        );
        assert_eq!(rows(&world).await, made, "{method} {path}");
    }
    assert!(tried > 20, "{tried}");
}

/// How many rows there are, and their versions together.
async fn rows(world: &World) -> i64 {
    let raw = world.as_admin().await;
    raw.value(
        "SELECT (SELECT count(*) + coalesce(sum(version), 0) FROM studio.bookings)::bigint
              + (SELECT count(*) + coalesce(sum(version), 0) FROM studio.artists)::bigint
              + (SELECT count(*) + coalesce(sum(version), 0) FROM studio.projects)::bigint
              + (SELECT count(*) FROM studio.time_off)
              + (SELECT count(*) + coalesce(sum(version), 0) FROM tenancy.members)::bigint
              + (SELECT count(*) FROM tenancy.page_sessions)",
        &[],
    )
    .await
    .unwrap()
}

/// What the code would let through, the policies of the tables do not.
#[tokio::test]
async fn sql_in_the_context_of_who_acts_writes_nothing() {
    let world = World::new().await;
    let_act(&world, 0, "read_only").await;
    let raw = world.as_app().await;
    for (kind, writes) in [("m", true), ("a", false)] {
        for sql in [
            "UPDATE studio.artists SET notes = notes, version = version + 1",
            "INSERT INTO studio.projects (tenant_id, id, code, name) VALUES (tenancy.tenant_id(), gen_random_uuid(), 'X1', 'x')",
            "UPDATE tenancy.members SET version = version + 1",
            "SELECT tenancy.choose(NULL, 'refused', NULL)",
        ] {
            raw.script("BEGIN").await.unwrap();
            let context = world.context_of(kind, 0, "owner");
            raw.run("SELECT tenancy.enter($1)", &[&context])
                .await
                .unwrap();
            let done = raw.run(sql, &[]).await;
            raw.script("ROLLBACK").await.unwrap();
            let written = done.is_ok_and(|count| count > 0);
            assert_eq!(written, writes, "{kind}: {sql}");
        }
    }
}

#[tokio::test]
async fn whoever_acts_as_a_member_takes_no_cookie() {
    let world = World::new().await;
    let_act(&world, 0, "read_only").await;
    for (token, expected) in [
        (world.token(0, "owner"), 204),
        (acted(&world, 0, "owner"), 403),
    ] {
        let opened = world
            .http
            .post(format!("{}/ui/session", world.base))
            .bearer_auth(&token)
            .header("origin", studio::demo::ORIGIN)
            .send()
            .await
            .unwrap();
        assert_eq!(opened.status(), expected);
    }
}

#[tokio::test]
async fn only_an_owner_lets_somebody_act() {
    let world = World::new().await;
    let body = json!({ "impersonation": "read_only" });
    for part in ["manager", "freelancer", "guest"] {
        let token = world.token(0, part);
        let (status, _) = world
            .send("PATCH", "/v1/studio", &token, Some(body.clone()))
            .await;
        assert_eq!(status, 403, "{part}");
    }
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    let context = world.context(0, "manager");
    raw.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let chosen = raw
        .run("SELECT tenancy.choose(NULL, 'read_only', NULL)", &[])
        .await;
    assert!(chosen.is_err());
    raw.script("ROLLBACK").await.unwrap();
}

// asvs: V7.5.1 V10.3.4
#[tokio::test]
async fn whoever_makes_an_owner_proves_again_who_they_are() {
    let world = World::new().await;
    let leaver = world.studios[0].person("leaver").member;
    let path = format!("/v1/members/{leaver}");
    let role = |role: &str| Some(json!({ "role": role }));
    let aged = |fva: Value| world.bent_token(0, "owner", &json!({ "fva": fva }));
    let owners = [
        ("PATCH", path.clone(), role("owner")),
        (
            "POST",
            "/v1/members".to_owned(),
            Some(json!({ "email": "new@example.org", "role": "owner" })),
        ),
        (
            "PATCH",
            "/v1/studio".to_owned(),
            Some(json!({ "impersonation": "read_only" })),
        ),
    ];
    for fva in [
        json!([10, -1]),
        json!([1, 10]),
        json!([-1, -1]),
        json!(null),
    ] {
        for (method, path, body) in &owners {
            let (status, problem) = world
                .send(method, path, &aged(fva.clone()), body.clone())
                .await;
            assert_eq!(
                (status, problem["type"].as_str()),
                (403, Some("/problems/reverification")),
                "{fva} {method} {path}"
            );
            assert_eq!(
                problem["clerk_error"],
                json!({ "type": "forbidden", "reason": "reverification-error",
                    "metadata": { "reverification": "strict" } })
            );
        }
        // What makes no owner asks for nothing.
        let (status, answer) = world
            .send("PATCH", &path, &aged(fva.clone()), role("manager"))
            .await;
        assert_eq!(status, 200, "{fva}: {answer}");
    }
    for (method, path, body) in owners {
        let (status, answer) = world.send(method, &path, &aged(json!([9, -1])), body).await;
        assert!((200..300).contains(&status), "{method} {path}: {answer}");
    }
}
