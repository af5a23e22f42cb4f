//! What an incident touched, for the owner: record by record, from the studio's own ledger.

use serde_json::{Value, json};

use crate::{
    ledger::settle,
    notices::{give_address, text},
    on_duty::{Operators, member_id},
    world::World,
};

/// The artist of the first studio that is first in its list, looked at by that person: personal fields are opened.
async fn look_at_one(world: &World, studio: usize, part: &str) -> String {
    let token = world.token(studio, part);
    let (_, artists) = world.send("GET", "/v1/artists?limit=1", &token, None).await;
    let id = artists["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/artists/{id}");
    let says = json!({ "email": "ada@example.org", "phone": "+49 30 1" });
    let owner = world.token(studio, "owner");
    assert_eq!(world.send("PATCH", &path, &owner, Some(says)).await.0, 200);
    assert_eq!(world.send("GET", &path, &token, None).await.0, 200);
    id
}

async fn impact(world: &World, studio: usize, part: &str, path: &str) -> (u16, Value) {
    let path = format!("/v1/incidents/{path}");
    world
        .send("GET", &path, &world.token(studio, part), None)
        .await
}

fn record<'a>(impact: &'a Value, id: &str) -> Option<&'a Value> {
    let mut records = impact["records"].as_array().unwrap().iter();
    records.find(|record| record["id"] == id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_sees_what_was_touched_by_whom_and_from_where() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let seen = look_at_one(&world, 0, "manager").await;
    let others = look_at_one(&world, 1, "manager").await;
    let owners = world.token(0, "owner");
    let made = json!({ "name": "touched by the owner alone" });
    let (_, own) = world.send("POST", "/v1/artists", &owners, Some(made)).await;
    let own = own["id"].as_str().unwrap();
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    let path = format!("{id}/impact");
    // It is about nobody yet, hence about everybody.
    let (status, all) = impact(&world, 0, "owner", &path).await;
    assert_eq!(status, 200, "{all}");
    assert_eq!(all["whose"]["everybody"], true);
    assert_eq!(record(&all, own).unwrap()["is_changed"], true);

    let member = member_id(&world, "manager").await;
    let freeze = ["freeze", "--incident", &id, "--member", &member];
    operators.done(0, &freeze).await;
    let (_, told) = impact(&world, 0, "owner", &path).await;
    let manager = &world.studios[0].person("manager").subject;
    assert_eq!(told["whose"]["actors"], json!([manager]));
    let found = record(&told, &seen).unwrap();
    assert_eq!(found["actors"], json!([manager]));
    assert_eq!(found["opened"], json!(["email", "phone"]), "{found}");
    assert_eq!(found["addresses"], json!(["127.0.0.1"]));
    assert_eq!(found["is_changed"], false);
    assert!(record(&told, own).is_none(), "the owner's own work");
    assert!(record(&told, &others).is_none() && record(&all, &others).is_none());
    // Whoever else used that address is said, too.
    let trails = told["trails"].as_array().unwrap();
    let trail = |who: &str| trails.iter().find(|trail| trail["actor"] == who);
    assert_eq!(trail(manager).unwrap()["is_of_incident"], true);
    let owner = &world.studios[0].person("owner").subject;
    assert_eq!(trail(owner).unwrap()["is_of_incident"], false);
    assert!(trail(&world.studios[1].person("manager").subject).is_none());
    assert_eq!(told["is_whole"], true);
    assert!(told["cannot_be_said"].as_array().unwrap().len() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_touched_is_for_owners_of_that_studio_and_a_window_has_bounds() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    look_at_one(&world, 0, "manager").await;
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    let path = format!("{id}/impact");
    assert_eq!(impact(&world, 0, "owner", &path).await.0, 200);
    assert_eq!(impact(&world, 1, "owner", &path).await.0, 404);
    assert_eq!(impact(&world, 0, "manager", &path).await.0, 404);
    let before = format!("{path}?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z");
    let (_, empty) = impact(&world, 0, "owner", &before).await;
    assert_eq!(
        (&empty["records"], &empty["trails"]),
        (&json!([]), &json!([]))
    );
    for wrong in [
        "from=2020-02-01T00:00:00Z&to=2020-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z",
        "from=yesterday",
    ] {
        let (status, told) = impact(&world, 0, "owner", &format!("{path}?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}: {told}");
    }
    // The function behind it tells owners alone.
    for (context, expected) in [
        (world.context(0, "owner"), 1_i64),
        (world.context(0, "manager"), 0),
        (world.context(1, "owner"), 0),
        (world.service_context(0, "evidence"), 0),
    ] {
        let app = world.as_app().await;
        app.script("BEGIN").await.unwrap();
        app.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let whom = "SELECT count(*) FROM incident.whom($1)";
        let id: uuid::Uuid = id.parse().unwrap();
        assert_eq!(app.value::<i64>(whom, &[&id]).await.unwrap(), expected);
    }
}

/// Writes entries of the first studio, as if they had happened: `%` in each is its number.
async fn happened(world: &World, many: i32, entry: &Value, changes: &Value) {
    let tenant = &world.studios[0].tenant;
    let leaf = json!({ "changes": changes, "entry": entry, "mac": null }).to_string();
    let sql = "INSERT INTO ledger.entries (tenant_id, entry_id, at, tickets, leaf)
               SELECT $1, gen_random_uuid(), now() - n * interval '1 millisecond', '{}', replace($2, '%', lpad((n % 1000)::text, 3, '0'))
               FROM generate_series(1, $3) n";
    let raw = world.as_admin().await;
    raw.run(sql, &[tenant, &leaf, &many]).await.unwrap();
    raw.script("ANALYZE ledger.entries").await.unwrap();
}

fn looked(actor: &str, ids: &[String]) -> Value {
    json!({ "action": "artist.view", "actor": actor, "address": "192.0.2.%", "ids": ids, "ids_count": ids.len(), "opened": [],
        "outcome": "allowed", "resource": "artist", "role": "manager" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_entries_are_gone_over_in_time_by_an_index() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let one = ["00000000-0000-4000-8000-000000000%".to_owned()];
    let list: Vec<String> = (0..20)
        .map(|n| format!("00000000-0000-4000-81{n:02}-000000000%"))
        .collect();
    let changes = json!([{ "columns": ["name"], "id": one[0], "table": "studio.artists" }]);
    happened(&world, 60_000, &looked("user_one", &one), &json!([])).await;
    happened(&world, 20_000, &looked("user_list", &list), &json!([])).await;
    happened(&world, 20_000, &looked("user_one", &one), &changes).await;
    let id = operators.open(&["--emergency"]).await;
    let began = std::time::Instant::now();
    let (status, told) = impact(&world, 0, "owner", &format!("{id}/impact")).await;
    println!("100,000 entries in {} ms", began.elapsed().as_millis());
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["records"].as_array().unwrap().len(), 1_000);
    assert_eq!(told["is_whole"], false);
    let numbers = [
        "impact",
        "--incident",
        &id,
        "--from",
        "2026-01-01T00:00:00Z",
    ];
    let began = std::time::Instant::now();
    let numbers = operators.done(0, &numbers).await;
    println!("their numbers in {} ms", began.elapsed().as_millis());
    assert_eq!(numbers["impact"]["records"], 21_001, "{numbers}");
    let changed = record(&told, "00000000-0000-4000-8000-000000000001");
    assert_eq!(changed.unwrap()["is_changed"], true);
    assert_eq!(changed.unwrap()["requests"], 80);
    // Of a short window, behind row security, only what is in it is looked at.
    let app = world.as_app().await;
    app.script("BEGIN").await.unwrap();
    app.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let plan = "EXPLAIN (FORMAT json) SELECT count(*) FROM ledger.entries WHERE tenant_id = $1 AND at BETWEEN now() - interval '1 second' AND now()";
    let plan = plan.replace("$1", &format!("'{}'", world.studios[0].tenant));
    let plan: Value = app.value(&plan, &[]).await.unwrap();
    assert!(plan.to_string().contains("entries_by_time"), "{plan}");
}

/// What the database noted by itself, and what somebody did as another, is theirs who did it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_request_accounts_for_and_what_was_done_as_another_is_seen() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let member = member_id(&world, "manager").await;
    let manager = world.studios[0].person("manager").subject.clone();
    let owner = world.studios[0].person("owner").subject.clone();
    let ids = [1, 2, 3].map(|n| format!("00000000-0000-4000-8000-{n:012}"));
    let change = |actor: &str, id: &str| {
        let entry = json!({ "action": "database.change", "actor": actor, "ids": [], "ids_count": 0, "outcome": "allowed",
            "resource": "database", "role": "manager" });
        (
            entry,
            json!([{ "columns": ["name"], "id": id, "table": "studio.artists" }]),
        )
    };
    let (own, changes) = change(&format!("member:{member}"), &ids[0]);
    happened(&world, 1, &own, &changes).await;
    let (others, changes) = change("member:00000000-0000-4000-8000-00000000aaaa", &ids[1]);
    happened(&world, 1, &others, &changes).await;
    let mut acted = looked(&owner, &ids[2..]);
    acted["acted_by"] = json!(manager);
    happened(&world, 1, &acted, &json!([])).await;
    let id = operators.open(&["--emergency"]).await;
    let freeze = ["freeze", "--incident", &id, "--member", &member];
    operators.done(0, &freeze).await;
    let (status, told) = impact(&world, 0, "owner", &format!("{id}/impact")).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["whose"]["actors"], json!([manager]));
    let found = record(&told, &ids[0]).expect("what the database noted");
    assert_eq!(
        (&found["resource"], &found["is_changed"]),
        (&json!("studio.artists"), &json!(true))
    );
    assert!(record(&told, &ids[1]).is_none(), "somebody else's");
    let found = record(&told, &ids[2]).expect("what was done as another");
    assert_eq!(
        (&found["actors"], &found["acted_by"]),
        (&json!([owner]), &json!([manager]))
    );
    let mut trails = told["trails"].as_array().unwrap().iter();
    assert!(trails.any(|trail| trail["acted_by"] == json!(manager)));
    let numbers = [
        "impact",
        "--incident",
        &id,
        "--from",
        "2026-01-01T00:00:00Z",
    ];
    let numbers = operators.done(0, &numbers).await;
    assert_eq!(numbers["impact"]["records"], 2, "{numbers}");
}

/// An incident of long ago is answered as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usual_window_of_an_old_incident_is_as_long_as_is_allowed() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let id = operators.open(&["--emergency"]).await;
    let old = "UPDATE incident.incidents SET opened_at = '2026-01-02T00:00:00Z'";
    world.as_admin().await.script(old).await.unwrap();
    let path = format!("{id}/impact");
    let (status, told) = impact(&world, 0, "owner", &path).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["from"], "2026-01-01T00:00:00Z");
    assert_eq!(told["to"], "2026-04-03T00:00:00Z");
    let until = format!("{path}?to=2026-10-01T00:00:00Z");
    assert_eq!(
        impact(&world, 0, "owner", &until).await.1["from"],
        "2026-07-01T00:00:00Z"
    );
}

/// Whoever is erased leaves no name where they were isolated; what they had touched is found all the same, in numbers, record by
/// record, and for whom it concerns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_touched_who_was_erased_since_is_found_by_their_id() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    give_address(&world, 0, "freelancer").await;
    let artist = world.studios[0].person("freelancer").artist.unwrap();
    let manager = world.token(0, "manager");
    let path = format!("/v1/artists/{artist}");
    assert_eq!(world.send("GET", &path, &manager, None).await.0, 200);
    let member = member_id(&world, "manager").await;
    let noted = "00000000-0000-4000-8000-000000000001";
    let entry = json!({ "action": "database.change", "actor": format!("member:{member}"), "ids": [], "ids_count": 0,
        "outcome": "allowed", "resource": "database", "role": "manager" });
    let changes = json!([{ "columns": ["name"], "id": noted, "table": "studio.artists" }]);
    happened(&world, 1, &entry, &changes).await;
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    operators.done(1, &["confirm", "--incident", &id]).await;
    let freeze = ["freeze", "--incident", &id, "--member", &member];
    operators.done(0, &freeze).await;
    let from = (world.app.clock.now() - jiff::SignedDuration::from_hours(24)).to_string();
    let numbers = ["impact", "--incident", &id, "--from", &from];
    let before = operators.done(0, &numbers).await["impact"].clone();
    assert!(before["records"].as_i64().unwrap() >= 2, "{before}");

    let owner = world.token(0, "owner");
    let path = format!("/v1/members/{member}");
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    crate::erasure::tell_of(&world, 0, "manager", "deleted", 0).await;
    let erase = format!("{path}/erase");
    let (status, erased) = world.send("POST", &erase, &owner, Some(json!({}))).await;
    assert_eq!(status, 200, "{erased}");
    settle(&world.app).await;
    let (_, told) = impact(&world, 0, "owner", &format!("{id}/impact")).await;
    assert_eq!(
        told["whose"]["actors"],
        json!([format!("erased:{member}")]),
        "nobody's name"
    );
    for touched in [artist.to_string().as_str(), noted] {
        assert!(record(&told, touched).is_some(), "{touched}: {told}");
    }
    // What was done of them since, by owners and services, is not theirs.
    let owners = world.studios[0].person("owner").subject.clone();
    let mut trails = told["trails"].as_array().unwrap().iter();
    assert!(
        trails.all(|trail| trail["actor"] != json!(owners) || trail["is_of_incident"] == false)
    );
    assert_eq!(operators.done(0, &numbers).await["impact"], before);
    let file = text(&world, "Somebody looked at what we have about you.\n");
    let file = file.display().to_string();
    let propose = [
        "propose",
        "--incident",
        &id,
        "--whom",
        "people",
        "--text",
        &file,
        "--subject",
        "An incident",
        "--from",
        &from,
    ];
    let notice = operators.done(0, &propose).await["notice"].clone();
    let send = [
        "send",
        "--incident",
        &id,
        "--notice",
        notice.as_str().unwrap(),
    ];
    assert_eq!(operators.done(1, &send).await["mails"], 1);
}
