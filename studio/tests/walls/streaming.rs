//! The ledger told to a studio's SIEM: every entry, signed, at least once, and of the own studio only.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use studio::{app::App, jobs::work_until};
use watertight_terms::{Key, hmac_sha256};

use crate::{
    ledger::settle,
    telling::{FAST, Listener, deliveries, hook, reaching, work_until_so},
    world::World,
};

/// The events that were told, by their numbers; each told once under one id.
fn events(listener: &Listener) -> BTreeMap<i64, Value> {
    let mut events = BTreeMap::new();
    let mut bodies = BTreeMap::new();
    for told in listener.told() {
        let same = bodies.entry(told.id).or_insert_with(|| told.body.clone());
        assert_eq!(*same, told.body, "the same id, another body");
    }
    for body in bodies.values() {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "audit.entries");
        for event in body["data"]["events"].as_array().unwrap() {
            let seq = event["metadata"]["sequence"].as_i64().unwrap();
            assert!(events.insert(seq, event.clone()).is_none(), "{seq} twice");
        }
    }
    events
}

async fn size(world: &World, studio: usize) -> i64 {
    let admin = world.as_admin().await;
    let tenant = world.studios[studio].tenant;
    let sql = "SELECT coalesce(max(seq) + 1, 0) FROM ledger.leaves WHERE tenant_id = $1";
    admin.value(sql, &[&tenant]).await.unwrap()
}

async fn read_something(world: &World, studio: usize, path: &str) {
    let owner = world.token(studio, "owner");
    assert_eq!(world.send("GET", path, &owner, None).await.0, 200);
    settle(&world.app).await;
}

/// Works until a while of work tells nothing new and writes nothing; gives how much was told, and how many entries
/// there are then.
async fn rested(world: &World, app: &App, listener: &Listener) -> (usize, i64) {
    let mut before = None;
    for _ in 0..10 {
        let pause = tokio::time::sleep(std::time::Duration::from_millis(1200));
        work_until(app, FAST, pause).await;
        settle(&world.app).await;
        let now = (deliveries_told(listener), size(world, 0).await);
        if before == Some(now) {
            return now;
        }
        before = Some(now);
    }
    panic!("it does not come to rest");
}

/// How many deliveries came, each counted once however often it was tried.
fn deliveries_told(listener: &Listener) -> usize {
    let ids: BTreeSet<String> = listener.told().into_iter().map(|told| told.id).collect();
    ids.len()
}

#[tokio::test]
async fn every_entry_is_told_from_the_webhooks_making_on() {
    let world = World::new().await;
    let (own, foreign, bookings) = (
        Listener::new(204).await,
        Listener::new(204).await,
        Listener::new(204).await,
    );
    let app = reaching(&world, &[&own, &foreign, &bookings]);
    read_something(&world, 0, "/v1/projects").await;
    let first = size(&world, 0).await;
    let audit = json!({ "url": own.url(), "kind": "audit" });
    let (_, secret) = hook(&world, &app, 0, audit).await;
    hook(
        &world,
        &app,
        1,
        json!({ "url": foreign.url(), "kind": "audit" }),
    )
    .await;
    hook(&world, &app, 0, json!({ "url": bookings.url() })).await;
    read_something(&world, 0, "/v1/artists").await;
    let last = size(&world, 0).await - 1;
    work_until_so(&app, async || events(&own).contains_key(&last)).await;
    // All of them, from the webhook's own making on, without a hole, as OCSF.
    let told = events(&own);
    assert!(
        told.keys()
            .copied()
            .eq(first..=*told.keys().last().unwrap())
    );
    let made = told
        .values()
        .find(|event| event["api"]["operation"] == "webhook.create");
    assert_eq!(made.unwrap()["class_uid"], 6003);
    assert!(
        told.values()
            .any(|event| event["api"]["operation"] == "artist.view")
    );
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
    let key = Key::new(key.unwrap().try_into().unwrap());
    for one in own.told() {
        let mac = hmac_sha256(
            &key,
            format!("{}.{}.{}", one.id, one.at_s, one.body).as_bytes(),
        );
        assert_eq!(one.signature, format!("v1,{}", BASE64_STANDARD.encode(mac)));
    }
    // What is told of one studio is not told of the other, and nobody is told what they did not ask for.
    let other = &world.studios[1];
    let text = own
        .told()
        .into_iter()
        .map(|told| told.body)
        .collect::<String>();
    assert!(!text.contains(&other.person("owner").subject));
    assert!(bookings.told().is_empty());
    let shown = deliveries(&world, 0).await;
    assert_eq!(shown[0]["first_seq"], first);
    assert_eq!(
        (&shown[0]["booking_id"], &shown[0]["state"]),
        (&Value::Null, &json!("delivered"))
    );
}

/// Telling makes entries. Were they a reason to tell, it would never end; they go along with the next.
#[tokio::test]
async fn telling_comes_to_rest_and_forgets_nothing() {
    let world = World::new().await;
    let listener = Listener::new(204).await;
    let app = reaching(&world, &[&listener]);
    hook(
        &world,
        &app,
        0,
        json!({ "url": listener.url(), "kind": "audit" }),
    )
    .await;
    settle(&world.app).await;
    work_until_so(&app, async || !listener.told().is_empty()).await;
    let (_, size_then) = rested(&world, &app, &listener).await;
    // The next entry brings them along.
    read_something(&world, 0, "/v1/artists").await;
    work_until_so(&app, async || events(&listener).contains_key(&(size_then))).await;
    let all = events(&listener);
    assert_eq!(
        all.len() as i64,
        *all.keys().last().unwrap() - *all.keys().next().unwrap() + 1
    );
    assert!(
        all.values()
            .any(|event| event["actor"]["user"]["uid"] == "service:delivery")
    );
}

#[tokio::test]
async fn who_does_not_answer_or_is_paused_is_told_later_and_misses_nothing() {
    let world = World::new().await;
    let listener = Listener::new(500).await;
    let app = reaching(&world, &[&listener]);
    let (id, _) = hook(
        &world,
        &app,
        0,
        json!({ "url": listener.url(), "kind": "audit" }),
    )
    .await;
    settle(&world.app).await;
    work_until_so(&app, async || !listener.told().is_empty()).await;
    listener.answer(204);
    let admin = world.as_admin().await;
    let due = "UPDATE studio.deliveries SET next_at = now() - interval '1 second'";
    admin.script(due).await.unwrap();
    work_until_so(&app, async || {
        deliveries(&world, 0).await[0]["state"] == "delivered"
    })
    .await;
    let owner = world.token(0, "owner");
    let path = format!("/v1/webhooks/{id}");
    let pause = async |is_paused: bool| {
        let body = Some(json!({ "is_paused": is_paused }));
        assert_eq!(world.send("PATCH", &path, &owner, body).await.0, 200);
    };
    pause(true).await;
    settle(&world.app).await;
    let before = deliveries_told(&listener);
    read_something(&world, 0, "/v1/artists").await;
    assert_eq!(rested(&world, &app, &listener).await.0, before);
    pause(false).await;
    settle(&world.app).await;
    let last = size(&world, 0).await - 1;
    work_until_so(&app, async || events(&listener).contains_key(&last)).await;
    let all = events(&listener);
    assert_eq!(all.len() as i64, last - *all.keys().next().unwrap() + 1);
}

/// The service reads the ledger of the studio that it is bound to, and no other service does.
#[tokio::test]
async fn only_the_service_that_tells_reads_what_it_tells() {
    let world = World::new().await;
    for studio in [0, 1] {
        read_something(&world, studio, "/v1/artists").await;
    }
    let raw = world.as_app().await;
    for (service, sees) in [("delivery", true), ("expiry", false)] {
        raw.script("BEGIN").await.unwrap();
        let context = world.service_context(0, service);
        raw.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        for table in ["ledger.entries", "ledger.leaves"] {
            let tenants =
                format!("SELECT coalesce(array_agg(DISTINCT tenant_id), '{{}}') FROM {table}");
            let tenants: Vec<uuid::Uuid> = raw.value(&tenants, &[]).await.unwrap();
            let expected = if sees {
                vec![world.studios[0].tenant]
            } else {
                Vec::new()
            };
            assert_eq!(tenants, expected, "{service} {table}");
        }
        raw.script("ROLLBACK").await.unwrap();
    }
}
