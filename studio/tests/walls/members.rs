//! Members: who sees them, who lets them in, and what an owner cannot do.

use serde_json::{Value, json};

use watertight_tenancy::support::state;
use watertight_terms::Clock;

use crate::{
    webhooks::{deliver, membership},
    world::World,
};

fn path(world: &World, studio: usize, part: &str) -> String {
    format!("/v1/members/{}", world.studios[studio].person(part).member)
}

async fn as_owner(world: &World, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let token = world.token(0, "owner");
    world.send(method, path, &token, body).await
}

async fn status(world: &World, part: &str) -> u16 {
    let token = world.token(0, part);
    world.send("GET", "/v1/me", &token, None).await.0
}

/// A token's time has seconds; what came before a change of role counts no more.
async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

#[tokio::test]
async fn owners_and_managers_see_the_own_members_and_freelancers_none() {
    let world = World::new().await;
    for part in ["owner", "manager"] {
        let token = world.token(0, part);
        let (status, list) = world.send("GET", "/v1/members", &token, None).await;
        assert_eq!((status, &list["total"]), (200, &json!(6)), "{list}");
        let items = list["items"].as_array().unwrap();
        let is_own = |item: &Value| {
            let subject = item["subject"].as_str().unwrap();
            subject.starts_with("user_a_") || subject == "user_dual"
        };
        assert!(items.len() == 6 && items.iter().all(is_own));
        assert!(items.iter().all(|item| item.get("email").is_none()));
        assert!(items.iter().all(|item| item["role"] == item["ceiling"]));
    }
    let token = world.token(0, "freelancer");
    assert_eq!(world.send("GET", "/v1/members", &token, None).await.0, 403);
    let own = path(&world, 0, "freelancer");
    assert_eq!(world.send("GET", &own, &token, None).await.0, 404);
    let foreign = path(&world, 1, "freelancer");
    assert_eq!(as_owner(&world, "GET", &foreign, None).await.0, 404);
    let body = Some(json!({ "role": "guest" }));
    assert_eq!(as_owner(&world, "PATCH", &foreign, body).await.0, 404);
    assert_eq!(as_owner(&world, "DELETE", &foreign, None).await.0, 404);
}

#[tokio::test]
async fn pages_of_members_follow_each_other_and_the_total_is_of_all() {
    let world = World::new().await;
    for sort in ["joined_at", "-joined_at"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/members?limit=4&sort={sort}{cursor}");
            let (status, list) = as_owner(&world, "GET", &path, None).await;
            assert_eq!((status, &list["total"]), (200, &json!(6)), "{list}");
            seen.extend(list["items"].as_array().unwrap().clone());
            match list["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut ids: Vec<_> = seen.iter().map(|item| item["id"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!((seen.len(), ids.len()), (6, 6));
    }
    for bad in ["state=gone", "sort=name", "limit=0", "role=owner"] {
        let path = format!("/v1/members?{bad}");
        assert_eq!(as_owner(&world, "GET", &path, None).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn an_invited_person_is_pending_and_the_address_is_the_owners_to_see() {
    let world = World::new().await;
    let body = json!({ "email": "ines@example.org", "role": "freelancer" });
    let (status, member) = as_owner(&world, "POST", "/v1/members", Some(body.clone())).await;
    assert_eq!(status, 202, "{member}");
    for (field, value) in [
        ("subject", Value::Null),
        ("state", json!("pending")),
        ("ceiling", json!("freelancer")),
        ("role", json!("guest")),
        ("email", json!("ines@example.org")),
    ] {
        assert_eq!(member[field], value, "{field}");
    }
    let (_, list) = as_owner(&world, "GET", "/v1/members?state=pending", None).await;
    assert_eq!(list["total"], 1);
    assert!(!list.to_string().contains("ines@"));
    let raw = world.as_admin().await;
    let stored: i64 = raw
        .value(
            "SELECT count(*) FROM tenancy.members WHERE position('ines'::bytea IN email) > 0",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(stored, 0, "it is sealed");
    // Nobody admits who has not accepted.
    let own = format!("/v1/members/{}", member["id"].as_str().unwrap());
    let role = Some(json!({ "role": "manager" }));
    let admitted = as_owner(&world, "POST", &format!("{own}/admit"), role).await;
    assert_eq!(admitted.0, 409);
    assert_eq!(as_owner(&world, "DELETE", &own, None).await.0, 204);
    let (_, list) = as_owner(&world, "GET", "/v1/members?state=pending", None).await;
    assert_eq!(list["total"], 0);
    for bad in [
        json!({ "email": "nobody", "role": "freelancer" }),
        json!({ "email": "a b@example.org", "role": "freelancer" }),
    ] {
        assert_eq!(
            as_owner(&world, "POST", "/v1/members", Some(bad)).await.0,
            422
        );
    }
    for bad in [
        json!({ "email": "ines@example.org", "role": "king" }),
        json!({ "email": "ines@example.org", "role": "owner", "state": "active" }),
    ] {
        assert_eq!(
            as_owner(&world, "POST", "/v1/members", Some(bad)).await.0,
            400
        );
    }
    let manager = world.token(0, "manager");
    let invited = world
        .send("POST", "/v1/members", &manager, Some(body))
        .await;
    assert_eq!(invited.0, 403);
}

// asvs: V8.3.2
#[tokio::test]
async fn another_role_counts_at_once_and_ends_what_came_before() {
    let world = World::new().await;
    let before = world.token(0, "manager");
    next_second().await;
    let own = path(&world, 0, "manager");
    let body = Some(json!({ "role": "freelancer" }));
    let (code, member) = as_owner(&world, "PATCH", &own, body).await;
    assert_eq!((code, &member["role"]), (200, &json!("freelancer")));
    let told = world.send("GET", "/v1/me", &before, None).await;
    assert_eq!(told.0, 401, "a token from before");
    let after = world.token(0, "manager");
    let (_, me) = world.send("GET", "/v1/me", &after, None).await;
    assert_eq!(me["role"], "freelancer", "whatever the token claims");
    let (_, other) = world
        .send("GET", "/v1/me", &world.token(1, "manager"), None)
        .await;
    assert_eq!(other["role"], "manager", "the other studio's");
    // Raised here it is no more than Clerk says.
    let raised = Some(json!({ "role": "owner" }));
    let (_, member) = as_owner(&world, "PATCH", &own, raised).await;
    assert_eq!(
        (&member["ceiling"], &member["role"]),
        (&json!("owner"), &json!("manager"))
    );
}

#[tokio::test]
async fn a_removed_member_is_refused_and_comes_back_by_an_owner_only() {
    let world = World::new().await;
    let token = world.token(0, "leaver");
    assert_eq!(world.send("GET", "/v1/artists", &token, None).await.0, 200);
    let own = path(&world, 0, "leaver");
    for _ in 0..2 {
        assert_eq!(as_owner(&world, "DELETE", &own, None).await.0, 204);
    }
    let (code, problem) = world.send("GET", "/v1/artists", &token, None).await;
    let expected = (403, Some("/problems/not-a-member"));
    assert_eq!((code, problem["type"].as_str()), expected);
    let (_, list) = as_owner(&world, "GET", "/v1/members", None).await;
    assert_eq!(list["total"], 5);
    let (_, list) = as_owner(&world, "GET", "/v1/members?state=removed", None).await;
    assert_eq!(list["items"][0]["subject"], "user_a_leaver");
    let role = Some(json!({ "role": "freelancer" }));
    let changed = as_owner(&world, "PATCH", &own, role.clone()).await;
    assert_eq!(changed.0, 409, "a removed member is admitted, not changed");
    let admitted = as_owner(&world, "POST", &format!("{own}/admit"), role.clone()).await;
    assert_eq!(admitted.0, 200);
    assert_eq!(
        world.send("GET", "/v1/me", &token, None).await.0,
        401,
        "from before"
    );
    next_second().await;
    let (_, me) = world
        .send("GET", "/v1/me", &world.token(0, "leaver"), None)
        .await;
    assert_eq!(me["role"], "freelancer");
    let again = as_owner(&world, "POST", &format!("{own}/admit"), role).await;
    assert_eq!(again.0, 409);
}

#[tokio::test]
async fn the_last_owner_stays_and_a_foreign_artist_is_none() {
    let world = World::new().await;
    assert_eq!(
        as_owner(&world, "DELETE", &path(&world, 0, "dual"), None)
            .await
            .0,
        204
    );
    let own = path(&world, 0, "owner");
    for (method, body) in [
        ("DELETE", None),
        ("PATCH", Some(json!({ "role": "manager" }))),
    ] {
        let (code, problem) = as_owner(&world, method, &own, body).await;
        let expected = (409, Some("/problems/last-owner"));
        assert_eq!((code, problem["type"].as_str()), expected, "{method}");
    }
    assert_eq!(status(&world, "owner").await, 200);
    let freelancer = path(&world, 0, "freelancer");
    let absent = json!({ "artist_id": "7b0b6a8e-0000-4000-8000-000000000000" });
    let foreign = json!({ "artist_id": world.studios[1].artists[0] });
    let (code, mut one) = as_owner(&world, "PATCH", &freelancer, Some(absent)).await;
    let (_, mut other) = as_owner(&world, "PATCH", &freelancer, Some(foreign)).await;
    assert_eq!(code, 422);
    for problem in [&mut one, &mut other] {
        problem["request_id"] = Value::Null;
    }
    assert_eq!(one, other);
    let own_artist = json!({ "artist_id": world.studios[0].artists[1] });
    let (code, member) = as_owner(&world, "PATCH", &freelancer, Some(own_artist)).await;
    assert_eq!(
        (code, &member["artist_id"]),
        (200, &json!(world.studios[0].artists[1]))
    );
}

/// Two owners remove, or lower, each other at the same instant: one stays.
#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let world = World::new().await;
    for round in 0..6 {
        let admin = world.as_admin().await;
        admin
            .script("UPDATE tenancy.members SET state = 'active', ceiling = 'owner', valid_after = '-infinity' WHERE subject IN ('user_a_owner', 'user_dual')")
            .await
            .unwrap();
        let (method, body) = match round % 2 {
            0 => ("DELETE", None),
            _ => ("PATCH", Some(json!({ "role": "freelancer" }))),
        };
        let paths = [path(&world, 0, "dual"), path(&world, 0, "owner")];
        let tokens = [world.token(0, "owner"), world.token(0, "dual")];
        let (one, other) = tokio::join!(
            world.send(method, &paths[0], &tokens[0], body.clone()),
            world.send(method, &paths[1], &tokens[1], body.clone())
        );
        let owners: i64 = admin
            .value(
                "SELECT count(*) FROM tenancy.members WHERE tenant_id = $1 AND state = 'active'
                 AND ceiling = 'owner' AND provider_role = 'owner'",
                &[&world.studios[0].tenant],
            )
            .await
            .unwrap();
        assert_eq!(owners, 1, "{} {}", one.0, other.0);
        let done = [one.0, other.0].iter().filter(|code| **code < 300).count();
        assert_eq!(done, 1, "{one:?} {other:?}");
    }
}

/// What the database itself refuses, whatever SQL runs as the app role in an owner's transaction.
#[tokio::test]
async fn the_database_lets_no_sql_add_or_raise_a_member() {
    let world = World::new().await;
    let tenant = world.studios[0].tenant;
    let run = async |part: &str, sql: String| {
        let raw = world.as_app().await;
        raw.script("BEGIN").await.unwrap();
        raw.run("SELECT tenancy.enter($1)", &[&world.context(0, part)])
            .await
            .unwrap();
        raw.run(&sql, &[]).await
    };
    // The positive case: an owner may invite, and change somebody's ceiling.
    let invite = format!(
        "INSERT INTO tenancy.members (tenant_id, id, ceiling) VALUES ('{tenant}', gen_random_uuid(), 'owner')"
    );
    assert_eq!(run("owner", invite.clone()).await.unwrap(), 1);
    // One address once, although whoever looked first was let through.
    let address = |many: u32| {
        format!(
            "INSERT INTO tenancy.members (tenant_id, id, ceiling, email_index)
               SELECT '{tenant}', gen_random_uuid(), 'guest', decode(repeat('01', 34), 'hex') FROM generate_series(1, {many})"
        )
    };
    assert_eq!(run("owner", address(1)).await.unwrap(), 1);
    let twice = run("owner", address(2)).await.unwrap_err();
    assert_eq!(state(&twice), "23505");
    let lower = "UPDATE tenancy.members SET ceiling = 'guest' WHERE subject = 'user_a_leaver'";
    assert_eq!(run("owner", lower.to_owned()).await.unwrap(), 1);
    for (part, sql) in [
        ("manager", invite),
        (
            "owner",
            format!(
                "INSERT INTO tenancy.members (tenant_id, id, ceiling) VALUES ('{}', gen_random_uuid(), 'owner')",
                world.studios[1].tenant
            ),
        ),
        (
            "owner",
            format!(
                "INSERT INTO tenancy.members (tenant_id, id, ceiling, subject) VALUES ('{tenant}', gen_random_uuid(), 'owner', 'user_x')"
            ),
        ),
        (
            "owner",
            format!(
                "INSERT INTO tenancy.members (tenant_id, id, ceiling, state) VALUES ('{tenant}', gen_random_uuid(), 'owner', 'active')"
            ),
        ),
        (
            "owner",
            "UPDATE tenancy.members SET provider_role = 'owner'".to_owned(),
        ),
        (
            "owner",
            "UPDATE tenancy.members SET provider_removed = false".to_owned(),
        ),
        (
            "owner",
            "UPDATE tenancy.members SET subject = 'user_x' WHERE subject = 'user_a_guest'"
                .to_owned(),
        ),
        (
            "owner",
            "UPDATE tenancy.members SET state = 'removed' WHERE ceiling = 'owner'".to_owned(),
        ),
        (
            "owner",
            "UPDATE tenancy.members SET ceiling = 'manager' WHERE ceiling = 'owner'".to_owned(),
        ),
        ("owner", "DELETE FROM tenancy.members".to_owned()),
        ("owner", "SELECT lock_key FROM tenancy.members".to_owned()),
        (
            "owner",
            "ALTER TABLE tenancy.members DISABLE TRIGGER keep_an_owner".to_owned(),
        ),
    ] {
        assert!(run(part, sql.clone()).await.is_err(), "{part}: {sql}");
    }
    // Policies, not errors: no row is seen or touched.
    let see = "SELECT 1 FROM tenancy.members";
    assert_eq!(run("manager", see.to_owned()).await.unwrap(), 6);
    assert_eq!(run("freelancer", see.to_owned()).await.unwrap(), 0);
    for part in ["manager", "freelancer"] {
        let raise = "UPDATE tenancy.members SET ceiling = 'owner'";
        assert_eq!(run(part, raise.to_owned()).await.unwrap(), 0, "{part}");
    }
    let other = format!(
        "UPDATE tenancy.members SET ceiling = 'guest' WHERE tenant_id = '{}'",
        world.studios[1].tenant
    );
    assert_eq!(run("owner", other).await.unwrap(), 0);
    // Behind the policy stands the trigger: were managers let in, they could not raise themselves.
    let admin = world.as_admin().await;
    admin
        .script("ALTER POLICY change ON tenancy.members USING (true) WITH CHECK (true)")
        .await
        .unwrap();
    let raise = "UPDATE tenancy.members SET ceiling = 'owner' WHERE subject = 'user_a_manager'";
    let refused = run("manager", raise.to_owned()).await.unwrap_err();
    assert_eq!(watertight_tenancy::support::state(&refused), "23514");
}

/// One address, one invitation: by the index of it, as nobody can compare what is sealed.
#[tokio::test]
async fn an_address_is_invited_once_whatever_its_case_and_again_once_it_is_free() {
    let world = World::new().await;
    let invite = |email: &str| Some(json!({ "email": email, "role": "freelancer" }));
    let one = as_owner(&world, "POST", "/v1/members", invite("ines@example.org")).await;
    assert_eq!(one.0, 202);
    for again in ["ines@example.org", "Ines@EXAMPLE.org"] {
        let (status, problem) = as_owner(&world, "POST", "/v1/members", invite(again)).await;
        let slug = problem["type"].as_str().unwrap_or_default();
        assert_eq!(
            (status, slug),
            (409, "/problems/already-invited"),
            "{problem}"
        );
    }
    let other = as_owner(&world, "POST", "/v1/members", invite("ines@example.net")).await;
    assert_eq!(other.0, 202);
    // The other studio's invitations are none of this one's business, and look different there.
    let foreign = world.token(1, "owner");
    let (status, _) = world
        .send("POST", "/v1/members", &foreign, invite("ines@example.org"))
        .await;
    assert_eq!(status, 202);
    let raw = world.as_admin().await;
    let kinds =
        "SELECT count(DISTINCT email_index) FROM tenancy.members WHERE email_index IS NOT NULL";
    let kinds: i64 = raw.value(kinds, &[]).await.unwrap();
    assert_eq!(kinds, 3);
    // Taken back, it is free.
    let own = format!("/v1/members/{}", one.1["id"].as_str().unwrap());
    assert_eq!(as_owner(&world, "DELETE", &own, None).await.0, 204);
    let again = as_owner(&world, "POST", "/v1/members", invite("ines@example.org")).await;
    assert_eq!(again.0, 202);
    // Somebody whom Clerk brought is in the studio with an address, too.
    let organization = &world.studios[0].organization;
    let at_ms = Clock::system().now_s() * 1000;
    let event = membership("created", organization, "user_new", "org:freelancer", at_ms);
    let event = event.replace("ines@example.org", "mo@example.org");
    let told = deliver(&world, "svix", "msg_9", &event, &world.webhook_secret).await;
    assert_eq!(told, 204);
    let there = as_owner(&world, "POST", "/v1/members", invite("MO@example.org")).await;
    assert_eq!(there.0, 409);
}

#[tokio::test]
async fn of_invitations_of_one_address_at_one_time_one_is_made() {
    let world = World::new().await;
    let invite = || {
        let body = json!({ "email": "ines@example.org", "role": "freelancer" });
        as_owner(&world, "POST", "/v1/members", Some(body))
    };
    // Whoever needs the studio's first key waits for whoever makes it: not here.
    let other = json!({ "email": "mo@example.org", "role": "freelancer" });
    assert_eq!(
        as_owner(&world, "POST", "/v1/members", Some(other)).await.0,
        202
    );
    let answers = tokio::join!(invite(), invite(), invite(), invite());
    let mut statuses = [answers.0.0, answers.1.0, answers.2.0, answers.3.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409]);
}
