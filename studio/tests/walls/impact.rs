//! What an incident touched, for the owner: record by record, from the studio's own ledger.

use serde_json::{Value, json};

use crate::{
    ledger::settle,
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
    assert_eq!(impact(&world, 0, "manager", &path).await.0, 403);
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
