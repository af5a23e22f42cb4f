//! What owners do in an incident: open one, which an operator confirms, and say what was done.

use serde_json::{Value, json};
use watertight_tenancy::support::state;

use crate::{
    on_duty::{Operators, ask, frozen, member_id},
    world::World,
};

fn new() -> Option<Value> {
    Some(json!({ "kind": "stolen-session", "reason": "somebody signed in as Ada" }))
}

fn note() -> Option<Value> {
    Some(json!({ "note": "three artists were looked at" }))
}

/// Opened by the owner, confirmed by one operator, who may freeze then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_opens_an_incident_and_an_operator_confirms_it() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let owner = world.token(0, "owner");
    let made = world.ask("POST", "/v1/incidents", &owner, &[], new()).await;
    assert_eq!(made.status, 201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/incidents/{id}");
    assert_eq!(made.header("location"), Some(path.as_str()));
    let member = world.studios[0].person("owner").member;
    assert_eq!(made.body["opened_by"], json!(format!("member:{member}")));
    assert_eq!(
        (&made.body["state"], &made.body["is_emergency"]),
        (&json!("open"), &json!(false))
    );
    assert_eq!(
        world.send("GET", &path, &owner, None).await,
        (200, made.body.clone())
    );

    let freeze = ["freeze", "--incident", &id];
    let said = operators.run(0, &freeze).await;
    assert_eq!(said.code, 1, "frozen by the owner's word alone: {said:?}");
    operators.done(0, &["confirm", "--incident", &id]).await;
    operators.done(0, &freeze).await;
    assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
    let over = ["thaw", "--incident", &id, "--override", "a drill"];
    operators.done(0, &over).await;

    // Steps are done once, and not in one that is over.
    let (_, made) = world.send("POST", "/v1/incidents", &owner, new()).await;
    let path = format!(
        "/v1/incidents/{}/steps/assess",
        made["id"].as_str().unwrap()
    );
    let (status, done) = world.send("POST", &path, &owner, note()).await;
    assert_eq!(
        (status, &done["state"]),
        (200, &json!("assessed")),
        "{done}"
    );
    let step = &done["steps"][0];
    assert_eq!(
        (&step["name"], &step["by"]),
        (&json!("assess"), &json!(format!("member:{member}")))
    );
    assert_eq!(world.send("POST", &path, &owner, note()).await.0, 409);
    let closed = format!("/v1/incidents/{id}/steps/assess");
    assert_eq!(world.send("POST", &closed, &owner, note()).await.0, 409);
}

/// The list lets a studio be thawed: a session that somebody stole does not fill it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_that_a_step_was_done_proves_again_who_they_are() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let (_, made) = world.send("POST", "/v1/incidents", &owner, new()).await;
    let path = format!("/v1/incidents/{}", made["id"].as_str().unwrap());
    let stale = world.bent_token(0, "owner", &json!({ "fva": [9000, -1] }));
    for step in [
        "assess", "notify", "keys", "sessions", "role", "policy", "check", "replay",
    ] {
        let step = format!("{path}/steps/{step}");
        let (status, told) = world.send("POST", &step, &stale, note()).await;
        let told = (status, told["type"].as_str());
        assert_eq!(told, (403, Some("/problems/reverification")), "{step}");
    }
    let (_, shown) = world.send("GET", &path, &stale, None).await;
    assert_eq!(shown["state"], "open");
    let step = format!("{path}/steps/assess");
    let other = world.token(1, "owner");
    assert_eq!(world.send("POST", &step, &other, note()).await.0, 404);
    let (status, done) = world.send("POST", &step, &owner, note()).await;
    assert_eq!((status, &done["state"]), (200, &json!("assessed")));
}

/// Nobody else of the studio, and nobody of another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_owners_of_the_studio_open_incidents_and_within_bounds() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let (_, made) = world.send("POST", "/v1/incidents", &owner, new()).await;
    let path = format!("/v1/incidents/{}", made["id"].as_str().unwrap());
    let step = format!("{path}/steps/assess");
    let other = world.token(1, "owner");
    assert_eq!(world.send("GET", &path, &other, None).await.0, 404);
    assert_eq!(world.send("POST", &step, &other, note()).await.0, 404);
    let manager = world.token(0, "manager");
    assert_eq!(
        world.send("POST", "/v1/incidents", &manager, new()).await.0,
        403
    );
    assert_eq!(world.send("POST", &step, &manager, note()).await.0, 404);
    for wrong in [
        json!({ "kind": "", "reason": "x" }),
        json!({ "kind": "Stolen session", "reason": "x" }),
        json!({ "kind": "a".repeat(41), "reason": "x" }),
        json!({ "kind": "a", "reason": "" }),
    ] {
        let (status, told) = world
            .send("POST", "/v1/incidents", &owner, Some(wrong))
            .await;
        assert_eq!(status, 422, "{told}");
    }
    let many = "INSERT INTO incident.incidents (tenant_id, id, kind, reason, is_emergency, opened_by)
                SELECT tenant_id, gen_random_uuid(), 'a', 'b', false, 'x' FROM incident.incidents, generate_series(1, 49)";
    world.as_admin().await.script(many).await.unwrap();
    assert_eq!(
        world.send("POST", "/v1/incidents", &owner, new()).await.0,
        409
    );
    assert_eq!(
        world.send("POST", "/v1/incidents", &other, new()).await.0,
        201
    );
    // What the server did not sign opens none.
    let app = world.as_app().await;
    app.script("BEGIN").await.unwrap();
    app.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let forged = "SELECT incident.report_mine('i7|1|' || tenancy.tenant_id() || '|' || gen_random_uuid() || '|a|62|9999999999|n|00')";
    assert_eq!(state(&app.run(forged, &[]).await.unwrap_err()), "ZT002");
}

/// The alerts about whom it isolates, for the owner alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_names_the_alerts_about_whom_it_isolates() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let raw = world.as_admin().await;
    let mut ids = Vec::new();
    // Another studio has one about the same person.
    for (studio, part) in [(0, "manager"), (0, "freelancer"), (1, "manager")] {
        let subject = &world.studios[0].person(part).subject;
        let sql = "INSERT INTO studio.alerts (tenant_id, id, kind, severity, subject, opened_at, last_seen_at, evidence)
                   VALUES ($1, gen_random_uuid(), 'probing', 'low', $2, now(), now(), '{1}') RETURNING id::text";
        let id: String = raw
            .value(sql, &[&world.studios[studio].tenant, subject])
            .await
            .unwrap();
        ids.push(id);
    }
    let id = operators.open(&["--emergency"]).await;
    let member = member_id(&world, "manager").await;
    operators
        .done(0, &["freeze", "--incident", &id, "--member", &member])
        .await;
    let (_, told) = world
        .send(
            "GET",
            &format!("/v1/incidents/{id}"),
            &world.token(0, "owner"),
            None,
        )
        .await;
    assert_eq!(told["alerts"], json!([ids[0]]));
    let status = operators.done(0, &["status", "--incident", &id]).await;
    assert!(
        !status.to_string().contains(&ids[0]),
        "an operator sees it: {status}"
    );
}
