//! What a studio decides for itself: who reads it, who changes it, and what comes of it.

use serde_json::{Value, json};

use watertight_terms::Clock;

use crate::{
    webhooks::{deliver, membership},
    world::World,
};

const PATH: &str = "/v1/studio";

async fn decide(world: &World, body: Value) -> (u16, Value) {
    let owner = world.token(0, "owner");
    world.send("PATCH", PATH, &owner, Some(body)).await
}

#[tokio::test]
async fn owners_decide_managers_read_and_freelancers_see_nothing_of_it() {
    let world = World::new().await;
    let (status, before) = world
        .send("GET", PATH, &world.token(0, "owner"), None)
        .await;
    assert_eq!(
        (
            status,
            &before["hold_minutes"],
            &before["half_days"]["pm"]["to"]
        ),
        (200, &json!(30), &json!("18:00")),
        "{before}"
    );
    let decided = json!({
        "name": "Alderwood", "hold_minutes": 45, "challenge_hours": 48,
        "half_days": { "am": { "from": "08:30", "to": "12:00" }, "pm": { "from": "13:00", "to": "17:30" } },
        "working_hours": { "mon": [{ "from": "08:30", "to": "12:00" }, { "from": "13:00", "to": "17:30" }] },
    });
    let (status, after) = decide(&world, decided.clone()).await;
    assert_eq!(status, 200, "{after}");
    assert_eq!(after["version"], json!(2));
    for part in ["name", "hold_minutes", "challenge_hours", "half_days"] {
        assert_eq!(after[part], decided[part]);
    }
    assert_eq!(
        after["working_hours"]["mon"],
        decided["working_hours"]["mon"]
    );

    let manager = world.token(0, "manager");
    assert_eq!(world.send("GET", PATH, &manager, None).await, (200, after));
    for (part, method, expected) in [
        ("manager", "PATCH", 403),
        ("freelancer", "GET", 403),
        ("freelancer", "PATCH", 403),
    ] {
        let body = (method == "PATCH").then(|| json!({ "hold_minutes": 1 }));
        let token = world.token(0, part);
        let (status, problem) = world.send(method, PATH, &token, body).await;
        assert_eq!(status, expected, "{part} {method}: {problem}");
    }
    let other = world
        .send("GET", PATH, &world.token(1, "owner"), None)
        .await
        .1;
    assert_eq!(
        other["hold_minutes"],
        json!(30),
        "another studio decided nothing"
    );
    assert_ne!(other["name"], json!("Alderwood"));
    let me = world.send("GET", "/v1/me", &manager, None).await.1;
    assert_eq!(me["studio"]["name"], json!("Alderwood"));

    let (status, cleared) = decide(
        &world,
        json!({ "hold_minutes": null, "working_hours": null }),
    )
    .await;
    assert_eq!(
        (
            status,
            &cleared["hold_minutes"],
            &cleared["working_hours"],
            &cleared["challenge_hours"]
        ),
        (200, &json!(30), &Value::Null, &json!(48))
    );
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_by_name_and_nothing_changes() {
    let world = World::new().await;
    for (body, status, pointer) in [
        (json!({ "hold_minutes": 0 }), 422, "/hold_minutes"),
        (json!({ "hold_minutes": 10_081 }), 422, "/hold_minutes"),
        (json!({ "challenge_hours": 721 }), 422, "/challenge_hours"),
        (
            json!({ "half_days": { "am": { "from": "9:00", "to": "13:00" }, "pm": { "from": "14:00", "to": "18:00" } } }),
            400,
            "/half_days/am/from",
        ),
        (
            json!({ "half_days": { "am": { "from": "13:00", "to": "09:00" }, "pm": { "from": "14:00", "to": "18:00" } } }),
            422,
            "/half_days/am/to",
        ),
        (
            json!({ "half_days": { "am": { "from": "09:00", "to": "15:00" }, "pm": { "from": "14:00", "to": "18:00" } } }),
            422,
            "/half_days/pm",
        ),
        (
            json!({ "working_hours": { "mon": [{ "from": "12:00", "to": "13:00" }, { "from": "09:00", "to": "10:00" }] } }),
            422,
            "/working_hours/mon",
        ),
        (
            json!({ "working_hours": { "mon": [{ "from": "09:00", "to": "24:00" }] } }),
            400,
            "/working_hours/mon/0/to",
        ),
        (
            json!({ "working_hours": { "monday": [] } }),
            400,
            "/working_hours",
        ),
        (json!({ "name": "" }), 422, "/name"),
        (json!({ "name": null }), 422, "/name"),
        (json!({ "admission": "anybody" }), 400, "/admission"),
        (json!({ "zone": "Europe/Paris" }), 400, ""),
        (
            json!({ "retention": { "bookings": 364 } }),
            422,
            "/retention/bookings",
        ),
        (
            json!({ "retention": { "ledger": 10_951 } }),
            422,
            "/retention/ledger",
        ),
        (json!({ "retention": { "ledger": -1 } }), 400, "/retention"),
        (json!({ "retention": { "coffee": 9 } }), 400, "/retention"),
        (json!({ "retention": [] }), 400, "/retention"),
    ] {
        let (told, problem) = decide(&world, body.clone()).await;
        assert_eq!(told, status, "{body}: {problem}");
        let named = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(named.starts_with(pointer), "{body}: {problem}");
    }
    let kept = world
        .send("GET", PATH, &world.token(0, "owner"), None)
        .await
        .1;
    assert_eq!(kept["version"], json!(1));
}

#[tokio::test]
async fn of_two_who_decide_on_one_version_one_is_told_that_it_is_stale() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let change = async |minutes: i32| {
        let body = Some(json!({ "hold_minutes": minutes }));
        let if_match = [("if-match", "\"v1\"")];
        world
            .ask("PATCH", PATH, &owner, &if_match, body)
            .await
            .status
    };
    assert_eq!(change(10).await, 200);
    assert_eq!(change(20).await, 412);
}

/// Under `clerk` whoever Clerk names is in at once, as far as a manager, and so they stay when the
/// owners decide otherwise; by default, and in the other studio, they are pending.
#[tokio::test]
async fn clerk_admits_where_an_owner_left_it_to_clerk_and_nobody_as_an_owner() {
    let world = World::new().await;
    let (status, problem) = decide(&world, json!({ "admission": "clerk" })).await;
    assert_eq!(status, 200, "{problem}");
    let hear = async |studio: usize, subject: &str, role: &str, at: i64| {
        let at_ms = Clock::system().now().as_millisecond() - 1_000 + at;
        let organization = &world.studios[studio].organization;
        let event = membership("created", organization, subject, role, at_ms);
        let id = format!("msg_{subject}_{at_ms}");
        let told = deliver(&world, "svix", &id, &event, &world.webhook_secret).await;
        assert!(told < 300, "{told}");
        let raw = world.as_admin().await;
        let word: String = raw
            .value(
                "SELECT state || ' ' || CASE least(tenancy.rank(provider_role), tenancy.rank(ceiling))
                   WHEN 3 THEN 'owner' WHEN 2 THEN 'manager' WHEN 1 THEN 'freelancer' ELSE 'guest' END
                 FROM tenancy.members WHERE tenant_id = $1 AND subject = $2",
                &[&world.studios[studio].tenant, &subject],
            )
            .await
            .unwrap();
        word
    };
    assert_eq!(
        hear(0, "user_one", "org:freelancer", 1).await,
        "active freelancer"
    );
    assert_eq!(
        hear(0, "user_two", "org:studio_owner", 1).await,
        "active manager"
    );
    assert_eq!(
        hear(1, "user_one", "org:studio_manager", 1).await,
        "pending guest"
    );

    let removed = hear(0, "user_three", "org:freelancer", 5).await;
    assert_eq!(removed, "active freelancer");
    decide(&world, json!({ "admission": "owner" })).await;
    assert_eq!(
        hear(0, "user_four", "org:freelancer", 1).await,
        "pending guest"
    );
    assert_eq!(
        hear(0, "user_one", "org:studio_manager", 2).await,
        "active manager"
    );
}

/// SQL as the app role, in the context of a manager or of who acts, decides nothing.
#[tokio::test]
async fn sql_of_a_manager_decides_nothing() {
    let world = World::new().await;
    let raw = world.as_app().await;
    for (part, decides) in [("owner", true), ("manager", false), ("freelancer", false)] {
        for sql in [
            "UPDATE studio.settings SET version = version + 1, hold_minutes = 1",
            "UPDATE tenancy.studios SET admission = 'clerk'",
            "INSERT INTO studio.settings (tenant_id, id) VALUES (gen_random_uuid(), gen_random_uuid())",
            "SELECT tenancy.choose(NULL, NULL, 'clerk')",
        ] {
            raw.script("BEGIN").await.unwrap();
            let context = world.context(0, part);
            raw.run("SELECT tenancy.enter($1)", &[&context])
                .await
                .unwrap();
            let done = raw.run(sql, &[]).await.is_ok_and(|rows| rows > 0);
            raw.script("ROLLBACK").await.unwrap();
            let through_the_door =
                sql.starts_with("UPDATE studio.settings") || sql.contains("choose");
            assert_eq!(done, decides && through_the_door, "{part}: {sql}");
        }
    }
}

/// Of the days for which it keeps what is over, each rule by itself.
#[tokio::test]
async fn an_owner_decides_how_long_what_is_over_is_kept() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let kept = async |body: Option<Value>| {
        let (method, given) = body.map_or(("GET", None), |body| ("PATCH", Some(body)));
        let (status, answered) = world.send(method, PATH, &owner, given).await;
        assert_eq!(status, 200, "{answered}");
        let days = &answered["retention"];
        (days["bookings"].clone(), days["ledger"].clone())
    };
    assert_eq!(kept(None).await, (json!(1825), json!(2555)));
    let both = json!({ "retention": { "bookings": 730, "ledger": 365 } });
    assert_eq!(kept(Some(both)).await, (json!(730), json!(365)));
    let one = json!({ "retention": { "bookings": null } });
    assert_eq!(kept(Some(one)).await, (json!(1825), json!(365)));
    assert_eq!(
        kept(Some(json!({ "hold_minutes": 45 }))).await,
        (json!(1825), json!(365))
    );
    let none = json!({ "retention": null });
    assert_eq!(kept(Some(none)).await, (json!(1825), json!(2555)));
    let other = world.token(1, "owner");
    let of_other = world.send("GET", PATH, &other, None).await.1;
    assert_eq!(of_other["retention"]["ledger"], json!(2555));
}
