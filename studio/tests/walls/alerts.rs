//! What looks wrong in a studio is noticed there, told to its owners and to nobody else, and handled by them.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use studio::{
    app::App,
    jobs::{Pace, work_until},
};
use watertight_terms::Random;

use crate::{
    telling::{Listener, hook, reaching},
    world::World,
};

const FAST: Pace = Pace {
    poll_ms: 20,
    lease_s: 1,
};

/// Somebody asks for so many ids that are not there. Gives them.
pub(crate) async fn probe(
    world: &World,
    studio: usize,
    part: &str,
    times: usize,
) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for _ in 0..times {
        let id = Random::system().uuid().to_string();
        let path = format!("/v1/bookings/{id}");
        let token = world.token(studio, part);
        let (status, _) = world.send("GET", &path, &token, None).await;
        assert_eq!(status, 404);
        asked.insert(id);
    }
    asked
}

/// Lets every entry be numbered and looked at.
pub(crate) async fn look(world: &World) {
    look_by(world, &world.app).await;
}

/// The same, by that worker.
pub(crate) async fn look_by(world: &World, app: &App) {
    while world.app.checkpointer.round().await.unwrap().numbered > 0 {}
    let raw = world.as_admin().await;
    raw.script("UPDATE jobs.due SET due_at = due_at - interval '1 hour' WHERE kind = 'watch'")
        .await
        .unwrap();
    let looked = async {
        let left = "SELECT count(*) FROM jobs.due WHERE kind = 'watch' AND due_at <= now()";
        let mut tries = 0;
        while raw.value::<i64>(left, &[]).await.unwrap() > 0 {
            tries += 1;
            assert!(tries < 2_000, "nobody looks");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    work_until(app, FAST, looked).await;
}

async fn get(world: &World, studio: usize, part: &str, path: &str) -> (u16, Value) {
    world
        .send("GET", path, &world.token(studio, part), None)
        .await
}

async fn patch(world: &World, studio: usize, part: &str, id: &str, body: Value) -> (u16, Value) {
    let path = format!("/v1/alerts/{id}");
    world
        .send("PATCH", &path, &world.token(studio, part), Some(body))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tries_ids_is_told_to_the_owners_of_that_studio_alone() {
    let world = World::new().await;
    let asked = probe(&world, 0, "manager", 25).await;
    probe(&world, 1, "manager", 5).await;
    look(&world).await;
    let (status, alerts) = get(&world, 0, "owner", "/v1/alerts?state=open").await;
    assert_eq!(status, 200);
    let alert = &alerts["items"][0];
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1, "{alerts}");
    assert_eq!(
        (&alert["kind"], &alert["severity"]),
        (&json!("probing"), &json!("high"))
    );
    assert_eq!(
        alert["subject"],
        world.studios[0].person("manager").subject.as_str()
    );
    // What shows it are the very entries, each with the id that was asked for.
    let mut shown = BTreeSet::new();
    for seq in alert["evidence"].as_array().unwrap() {
        let path = format!("/v1/audit/export?from={seq}&limit=1");
        let request = world.http.get(format!("{}{path}", world.base));
        let line = request
            .bearer_auth(world.token(0, "owner"))
            .send()
            .await
            .unwrap();
        let entry: Value = serde_json::from_str(&line.text().await.unwrap()).unwrap();
        assert_eq!(
            (&entry["status"], &entry["outcome"]),
            (&json!(404), &json!("refused"))
        );
        shown.insert(entry["ids"][0].as_str().unwrap().to_owned());
    }
    assert!(shown.len() >= 15 && shown.is_subset(&asked), "{shown:?}");
    let id = alert["id"].as_str().unwrap();
    let path = format!("/v1/alerts/{id}");
    for (part, expected) in [
        ("owner", 200),
        ("manager", 200),
        ("freelancer", 403),
        ("guest", 403),
    ] {
        let (status, body) = get(&world, 0, part, &path).await;
        let is_as_expected = status == expected || expected == 403 && status == 404;
        assert!(is_as_expected, "{part}: {status} {body}");
    }
    // The other studio's five were too few, and it sees nothing of this one.
    let (_, others) = get(&world, 1, "owner", "/v1/alerts").await;
    assert_eq!(others["items"], json!([]));
    assert_eq!(get(&world, 1, "owner", &path).await.0, 404);
    assert_eq!(
        patch(&world, 1, "owner", id, json!({ "state": "closed" }))
            .await
            .0,
        404
    );
}

/// What was learned before cannot be read any more: it is learned anew, and the studio is watched on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_studio_whose_memory_is_spoilt_is_watched_all_the_same() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    raw.script("UPDATE studio.watching SET learned = 'spoilt'")
        .await
        .unwrap();
    probe(&world, 0, "manager", 25).await;
    probe(&world, 1, "manager", 5).await;
    look(&world).await;
    let (_, alerts) = get(&world, 0, "owner", "/v1/alerts").await;
    assert_eq!(alerts["items"][0]["kind"], "probing", "{alerts}");
    let (_, others) = get(&world, 1, "owner", "/v1/alerts").await;
    assert_eq!(others["items"], json!([]));
    let spoilt = "SELECT count(*) FROM studio.watching WHERE learned = 'spoilt'";
    assert_eq!(raw.value::<i64>(spoilt, &[]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_handle_alerts_and_the_same_is_one_until_it_is_closed() {
    let world = World::new().await;
    probe(&world, 0, "manager", 20).await;
    look(&world).await;
    let (_, alerts) = get(&world, 0, "owner", "/v1/alerts").await;
    let id = alerts["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        patch(&world, 0, "manager", &id, json!({ "state": "closed" }))
            .await
            .0,
        403
    );
    let handled = json!({ "state": "acknowledged", "note": "asked her" });
    let (status, alert) = patch(&world, 0, "owner", &id, handled).await;
    assert_eq!((status, &alert["note"]), (200, &json!("asked her")));
    assert_eq!(
        patch(&world, 0, "owner", &id, json!({ "state": "ignored" }))
            .await
            .0,
        400
    );
    assert_eq!(
        patch(&world, 0, "owner", &id, json!({ "severity": "low" }))
            .await
            .0,
        400
    );
    // Within the hour it is not said again, whoever starts anew in between: what was learned is kept.
    probe(&world, 0, "manager", 20).await;
    look(&world).await;
    assert_eq!(times(&world).await, [1]);
    let raw = world.as_admin().await;
    let sooner = "UPDATE studio.watching SET version = version + 1,
      learned = regexp_replace(learned, '(\"probing [^\"]+\":)\\[\\d+,\\d+\\]', '\\1[' || (extract(epoch FROM now())::bigint - 7200) || ',' || (extract(epoch FROM now())::bigint - 60) || ']')";
    raw.script(sooner).await.unwrap();
    probe(&world, 0, "manager", 2).await;
    look(&world).await;
    assert_eq!(times(&world).await, [2], "counted");
    let (status, _) = patch(&world, 0, "owner", &id, json!({ "state": "closed" })).await;
    assert_eq!(status, 200);
    raw.script(sooner).await.unwrap();
    probe(&world, 0, "manager", 2).await;
    look(&world).await;
    assert_eq!(times(&world).await, [2, 1], "a new one");
}

async fn times(world: &World) -> Vec<i64> {
    let (_, alerts) = get(world, 0, "owner", "/v1/alerts?sort=opened_at").await;
    let items = alerts["items"].as_array().unwrap().iter();
    items
        .map(|alert| alert["times"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_at_once_look_once_and_looking_is_no_reason_to_look() {
    let world = World::new().await;
    probe(&world, 0, "manager", 20).await;
    tokio::join!(look(&world), look(&world));
    let raw = world.as_admin().await;
    raw.script("DELETE FROM jobs.due WHERE kind = 'watch'")
        .await
        .unwrap();
    // What the workers wrote about their own work is numbered, and nobody is asked to look at it.
    let mut numbered = 0;
    loop {
        match world.app.checkpointer.round().await.unwrap().numbered {
            0 => break,
            more => numbered += more,
        }
    }
    assert!(numbered > 0, "looking makes entries");
    let due = "SELECT count(*) FROM jobs.due WHERE kind = 'watch'";
    assert_eq!(raw.value::<i64>(due, &[]).await.unwrap(), 0);
    assert_eq!(times(&world).await, [1]);
}

/// What whoever can send SQL as the server may do as that person or service, in one transaction.
async fn may(world: &World, token: &str, sql: &str) -> bool {
    let mut app = world.as_app().await;
    let transaction = app.client().transaction().await.unwrap();
    transaction
        .execute("SELECT tenancy.enter($1)", &[&token])
        .await
        .unwrap();
    let did = transaction.execute(sql, &[]).await;
    transaction.rollback().await.unwrap();
    did.is_ok_and(|rows| rows > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_lets_nobody_else_make_alerts_or_read_what_was_learned() {
    let world = World::new().await;
    probe(&world, 0, "manager", 20).await;
    look(&world).await;
    let raise = "INSERT INTO studio.alerts (tenant_id, id, kind, severity, opened_at, last_seen_at, evidence)
                 VALUES (tenancy.tenant_id(), gen_random_uuid(), 'probing', 'low', now(), now(), '{1}')";
    let close = "UPDATE studio.alerts SET state = 'closed', version = version + 1";
    let learned = "SELECT learned FROM studio.watching";
    let forget = "UPDATE studio.watching SET learned = NULL, version = version + 1";
    let entries = "SELECT leaf FROM ledger.entries LIMIT 1";
    for (sql, allowed) in [
        (raise, &["watch"][..]),
        (close, &["watch", "owner"]),
        (learned, &["watch"]),
        (forget, &["watch"]),
        (entries, &["watch", "delivery", "owner", "other"]),
    ] {
        for who in [
            "watch",
            "delivery",
            "expiry",
            "owner",
            "manager",
            "freelancer",
            "other",
        ] {
            // A token is good for seconds.
            let token = match who {
                "watch" | "delivery" | "expiry" => world.service_context(0, who),
                "other" => world.context(1, "owner"),
                part => world.context(0, part),
            };
            let did = may(&world, &token, sql).await;
            assert_eq!(did, allowed.contains(&who), "{who}: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_told_once_to_the_webhooks_that_want_alerts() {
    let world = World::new().await;
    let (wants, bookings, foreign) = (
        Listener::new(204).await,
        Listener::new(204).await,
        Listener::new(204).await,
    );
    let app = reaching(&world, &[&wants, &bookings, &foreign]);
    hook(
        &world,
        &app,
        0,
        json!({ "url": wants.url(), "kind": "alerts" }),
    )
    .await;
    hook(&world, &app, 0, json!({ "url": bookings.url() })).await;
    hook(
        &world,
        &app,
        1,
        json!({ "url": foreign.url(), "kind": "alerts" }),
    )
    .await;
    probe(&world, 0, "manager", 20).await;
    look(&world).await;
    let raw = world.as_admin().await;
    let told = async {
        let left = "SELECT count(*) FROM studio.deliveries WHERE webhook_id IS NOT NULL AND state = 'pending'";
        while raw.value::<i64>(left, &[]).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), work_until(&app, FAST, told));
    told.await.unwrap();
    let came = wants.told();
    assert_eq!(
        (came.len(), bookings.told().len(), foreign.told().len()),
        (1, 0, 0)
    );
    let body: Value = serde_json::from_str(&came[0].body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["kind"]),
        (&json!("alert.opened"), &json!("probing"))
    );
    assert_eq!(body["data"]["finding"]["class_uid"], 2004);
    let (_, deliveries) = get(&world, 0, "owner", "/v1/deliveries?state=delivered").await;
    assert_eq!(deliveries["items"][0]["alert_id"], body["data"]["alert_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_nobody_signed_are_told_to_operators_and_to_nobody_else() {
    let world = World::new().await;
    let good = world.token(0, "owner");
    let (signed, _) = good.rsplit_once('.').unwrap();
    for _ in 0..45 {
        let bad = format!("{signed}.{}", "A".repeat(342));
        let (status, _) = world.send("GET", "/v1/me", &bad, None).await;
        assert_eq!(status, 401);
    }
    assert_eq!(
        get(&world, 0, "owner", "/v1/me").await.0,
        200,
        "nobody is locked out"
    );
    world.app.platform.tell(&world.app.tenancy).await.unwrap();
    let url = world.config.database.ops_url.as_ref().unwrap();
    let mut operator = watertight_tenancy::support::RawConnection::connect(url)
        .await
        .unwrap();
    let told = "SELECT kind || ' ' || subject || ' ' || severity FROM watch.list_alerts(7)";
    let rows = operator.client().query(told, &[]).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(lines, ["token-burst 127.0.0.0/24 medium"]);
    // Neither the server's role nor an owner of a studio reads them, nor does the operator the table.
    assert!(
        operator
            .client()
            .query("SELECT * FROM watch.alerts", &[])
            .await
            .is_err()
    );
    let mut app = world.as_app().await;
    for sql in [
        told,
        "SELECT kind FROM watch.alerts",
        "SELECT watch.note_alert('y1|1|token-burst|low|x|0|9999999999|n|m')::text",
    ] {
        assert!(app.client().query(sql, &[]).await.is_err(), "{sql}");
    }
}
