//! What owners take along: all of it, of their studio alone, opened for them and sealed where it lies.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use studio::{
    jobs::{Pace, work_until},
    resources::exports::schema,
};
use watertight_tenancy::support::RawConnection;

use crate::{freeze::freeze, worker::spawn_with, world::World};

pub(crate) const EXPORTS: &str = "/v1/exports";
pub(crate) const FAST: Pace = Pace {
    poll_ms: 20,
    lease_s: 1,
};
/// What stands sealed in the own studio's rows.
const MARK: &str = "quillfeather";

pub(crate) async fn ask(world: &World, studio: usize, body: Value) -> Value {
    let owner = world.token(studio, "owner");
    let (status, asked) = world.send("POST", EXPORTS, &owner, Some(body)).await;
    assert_eq!(status, 201, "{asked}");
    asked
}

pub(crate) async fn look(world: &World, studio: usize, id: &str) -> Value {
    let owner = world.token(studio, "owner");
    let path = format!("{EXPORTS}/{id}");
    world.send("GET", &path, &owner, None).await.1
}

/// A worker, until the export is no more in these states.
pub(crate) async fn work_while(world: &World, studio: usize, id: &str, states: &[&str]) {
    let path = format!("{EXPORTS}/{id}");
    let owner = world.token(studio, "owner");
    let started = Instant::now();
    let ended = async {
        loop {
            let now = world.send("GET", &path, &owner, None).await.1;
            if !states.contains(&now["state"].as_str().unwrap()) {
                break;
            }
            assert!(started.elapsed().as_secs() < 150, "{now}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    work_until(&world.app, FAST, ended).await;
}

/// An export that is ready.
pub(crate) async fn made(world: &World, studio: usize, body: Value) -> String {
    let id = ask(world, studio, body).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    work_while(world, studio, &id, &["queued", "running"]).await;
    let now = look(world, studio, &id).await;
    assert_eq!(now["state"], "ready", "{now}");
    id
}

/// Its file.
pub(crate) async fn file(world: &World, studio: usize, id: &str, query: &str) -> (u16, String) {
    let owner = world.token(studio, "owner");
    let url = format!("{}{EXPORTS}/{id}/file{query}", world.base);
    let asked = world
        .http
        .get(url)
        .bearer_auth(&owner)
        .send()
        .await
        .unwrap();
    (asked.status().as_u16(), asked.text().await.unwrap())
}

pub(crate) async fn document(world: &World, studio: usize, id: &str) -> Value {
    let (status, text) = file(world, studio, id, "").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Its file, from its parts.
async fn joined(world: &World, studio: usize, id: &str) -> String {
    let (parts, mut text) = (
        look(world, studio, id).await["parts"].clone(),
        String::new(),
    );
    for part in 0..parts.as_i64().unwrap() {
        text += &file(world, studio, id, &format!("?part={part}")).await.1;
    }
    text
}

/// Gives an artist personal fields, and a webhook its secret.
pub(crate) async fn mark(world: &World, studio: usize, artist: usize, mark: &str) {
    let owner = world.token(studio, "owner");
    let path = format!("/v1/artists/{}", world.studios[studio].artists[artist]);
    let says = json!({ "email": format!("{mark}@example.org"), "bank": mark, "notes": format!("<b>{mark}</b>") });
    assert_eq!(world.send("PATCH", &path, &owner, Some(says)).await.0, 200);
}

pub(crate) async fn parts(raw: &RawConnection) -> i64 {
    raw.value("SELECT count(*) FROM studio.export_parts", &[])
        .await
        .unwrap()
}

/// The newest entry of an action, once it has its number.
async fn opened_by(world: &World, action: &str) -> Vec<String> {
    world.app.checkpointer.round().await.unwrap();
    let owner = world.token(0, "owner");
    let path = format!("/v1/audit?action={action}&outcome=allowed");
    let listed = world.send("GET", &path, &owner, None).await.1;
    let opened = listed["items"].as_array().unwrap().iter();
    let opened = opened.flat_map(|entry| entry["opened"].as_array().unwrap().clone());
    opened
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_owner_takes_the_studio_along_opened_and_without_the_other_or_a_secret() {
    let world = World::new().await;
    mark(&world, 0, 0, MARK).await;
    mark(&world, 1, 0, "otherfeather").await;
    let owner = world.token(0, "owner");
    let hook = json!({ "url": "https://hooks.example.org/x" });
    let (_, hook) = world.send("POST", "/v1/webhooks", &owner, Some(hook)).await;
    let secret = hook["secret"].as_str().unwrap();
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    let document = document(&world, 0, &id).await;
    let text = document.to_string();
    assert!(text.contains(&format!("{MARK}@example.org")));
    assert!(!text.contains("otherfeather") && !text.contains(&world.studios[1].tenant.to_string()));
    assert!(!text.contains(secret.trim_start_matches("whsec_")));
    let artists = document["tables"]["studio.artists"].as_array().unwrap();
    assert_eq!(artists.len(), world.studios[0].artists.len());
    let seen = look(&world, 0, &id).await;
    assert_eq!(seen["done"], seen["total"]);
    let named: BTreeSet<String> = seen["opened"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap().to_owned())
        .collect();
    assert!(
        named.is_superset(&["bank", "email"].map(str::to_owned).into()),
        "{seen}"
    );
    // The entry of making it, and that of each fetching, name every field that was opened.
    for action in ["export.make", "export.fetch"] {
        let told: BTreeSet<String> = opened_by(&world, action).await.into_iter().collect();
        assert_eq!(told, named, "{action}");
    }

    // By whom, and how lately it was proven.
    let stale = world.bent_token(0, "owner", &json!({ "fva": [9000, -1] }));
    let path = format!("{EXPORTS}/{id}");
    let fetch = format!("{path}/file");
    for token in [
        &stale,
        &world.token(0, "manager"),
        &world.token(0, "freelancer"),
    ] {
        let asked = world
            .send("POST", EXPORTS, token, Some(json!({ "kind": "studio" })))
            .await;
        assert_eq!(asked.0, 403, "{}", asked.1);
        let fetched = world.send("GET", &fetch, token, None).await.0;
        assert!([403, 404].contains(&fetched), "{fetched}");
    }
    assert_eq!(world.send("GET", &fetch, &stale, None).await.0, 403);
    let foreign = world.token(1, "owner");
    for path in [&path, &fetch] {
        assert_eq!(world.send("GET", path, &foreign, None).await.0, 404);
    }
    // In parts it is the same.
    let whole = file(&world, 0, &id, "").await.1;
    assert_eq!(whole, joined(&world, 0, &id).await);
    assert_eq!(file(&world, 0, &id, "?part=7000").await.0, 404);
    assert_eq!(file(&world, 0, &id, "?format=html").await.0, 404);
    // Another one takes nothing from it.
    made(&world, 0, json!({ "kind": "ledger" })).await;
    assert_eq!(file(&world, 0, &id, "").await.1, whole);
}

#[tokio::test]
async fn what_is_asked_for_is_somebody_of_the_studio_and_once() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let foreign = world.studios[1].artists[0];
    for (body, expected) in [
        (json!({ "kind": "person" }), 422),
        (
            json!({ "kind": "studio", "ref": world.studios[0].artists[0] }),
            422,
        ),
        (json!({ "kind": "person", "ref": foreign }), 422),
        (json!({ "kind": "everything" }), 400),
        (json!({ "kind": "ledger" }), 201),
        (json!({ "kind": "ledger" }), 409),
    ] {
        let (status, told) = world.send("POST", EXPORTS, &owner, Some(body)).await;
        assert_eq!(status, expected, "{told}");
    }
}

/// Nobody has to think of a new table or column: it is in, or nothing is given out.
#[tokio::test]
async fn every_column_that_the_register_knows_is_in_it_and_one_that_it_does_not_stops_it() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    mark(&world, 0, 0, MARK).await;
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    let document = document(&world, 0, &id).await;
    let tables = document["tables"].as_object().unwrap();
    let archived: Vec<String> = raw
        .value(
            "SELECT array_agg(rel::text ORDER BY rel::text) FROM custody.archived WHERE NOT is_key AND is_given",
            &[],
        )
        .await
        .unwrap();
    let names: BTreeSet<&String> = tables.keys().collect();
    assert_eq!(names, archived.iter().collect());
    let schema = schema();
    let described = &schema["properties"]["tables"]["properties"];
    let mut rows = 0;
    for (name, given) in tables {
        let item = &described[name.as_str()]["items"];
        let may = item["properties"].as_object().unwrap();
        let must = item["required"].as_array().unwrap();
        for row in given.as_array().unwrap() {
            let row = row.as_object().unwrap();
            assert!(
                row.keys().all(|key| may.contains_key(key)),
                "{name}: {row:?}"
            );
            // What the database makes itself is in no archive.
            let made = |column: &str| ["covers", "during", "xact"].contains(&column);
            let mut absent = must
                .iter()
                .filter(|column| !row.contains_key(column.as_str().unwrap()));
            assert!(
                absent.all(|column| made(column.as_str().unwrap())),
                "{name}: {row:?}"
            );
            rows += 1;
        }
    }
    assert!(rows > 10);
    let artist = &tables["studio.artists"][0];
    for personal in ["email", "phone", "legal_name", "tax_id", "address", "bank"] {
        assert!(artist.get(personal).is_some(), "{personal}");
    }
    raw.script("ALTER TABLE studio.artists ADD COLUMN forgotten text NOT NULL DEFAULT 'x'")
        .await
        .unwrap();
    let id = ask(&world, 0, json!({ "kind": "studio" })).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    work_while(&world, 0, &id, &["queued", "running"]).await;
    assert_eq!(look(&world, 0, &id).await["state"], "failed");
    assert_eq!(file(&world, 0, &id, "").await.0, 404);
}

#[tokio::test]
async fn of_a_person_it_is_everything_about_them_and_nobody_else() {
    let world = World::new().await;
    mark(&world, 0, 0, MARK).await;
    mark(&world, 0, 1, "secondfeather").await;
    let (mine, other) = (
        world
            .pencil(0, 0, "2031-06-01T08:00:00Z", "2031-06-01T16:00:00Z")
            .await,
        world
            .pencil(0, 1, "2031-06-01T08:00:00Z", "2031-06-01T16:00:00Z")
            .await,
    );
    let person = world.studios[0].person("freelancer");
    let (artist, member) = (person.artist.unwrap(), person.member);
    assert_eq!(
        world
            .send("GET", "/v1/me", &world.token(0, "freelancer"), None)
            .await
            .0,
        200
    );
    world.app.checkpointer.round().await.unwrap();
    for about in [artist, member] {
        let id = made(&world, 0, json!({ "kind": "person", "ref": about })).await;
        let document = document(&world, 0, &id).await;
        let text = document.to_string();
        for (needle, is_in) in [
            (artist.to_string(), true),
            (member.to_string(), true),
            (mine.clone(), true),
            (format!("{MARK}@example.org"), true),
            (other.clone(), false),
            ("secondfeather".to_owned(), false),
            (world.studios[0].artists[1].to_string(), false),
        ] {
            assert_eq!(text.contains(&needle), is_in, "{needle}");
        }
        let entries = document["entries"].as_array().unwrap();
        assert!(!entries.is_empty());
        let subject = &document["tables"]["tenancy.members"][0]["subject"];
        assert!(entries.iter().all(|entry| &entry["actor"] == subject));
        let (status, page) = file(&world, 0, &id, "?format=html").await;
        assert_eq!(status, 200);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</body></html>\n"));
        assert!(page.contains(&format!("&lt;b&gt;{MARK}&lt;/b&gt;")) && !page.contains("<b>"));
    }
}

#[tokio::test]
async fn a_ledger_is_given_whole_with_what_was_hashed() {
    let world = World::new().await;
    for _ in 0..3 {
        look(&world, 0, "00000000-0000-4000-8000-000000000000").await;
    }
    world.app.checkpointer.round().await.unwrap();
    let id = made(&world, 0, json!({ "kind": "ledger" })).await;
    let document = document(&world, 0, &id).await;
    let entries = document["entries"].as_array().unwrap();
    for (seq, entry) in entries.iter().enumerate() {
        assert_eq!(entry["seq"], json!(seq));
        let leaf: Value = serde_json::from_str(entry["leaf"].as_str().unwrap()).unwrap();
        assert_eq!(leaf["entry"]["id"], entry["id"]);
    }
    assert!(entries.len() > 1);
    assert_eq!(document["tables"], json!({}));
}

#[tokio::test]
async fn it_lies_sealed_and_goes_after_its_days() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    mark(&world, 0, 0, MARK).await;
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    let there = parts(&raw).await;
    assert!(there > 0);
    let clear = format!(
        "SELECT count(*) FROM studio.export_parts WHERE position('{MARK}'::bytea IN sealed) > 0 OR position('artists'::bytea IN sealed) > 0"
    );
    assert_eq!(raw.value::<i64>(&clear, &[]).await.unwrap(), 0);
    // A part of another row, or of another's, does not open.
    let swap = "UPDATE studio.export_parts SET id = gen_random_uuid()";
    raw.script(&format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {swap}; COMMIT"
    ))
    .await
    .unwrap();
    assert_eq!(file(&world, 0, &id, "").await.0, 500);

    let again = made(&world, 0, json!({ "kind": "ledger" })).await;
    raw.script(
        "UPDATE studio.exports SET expires_at = now() - interval '1 minute' WHERE state = 'ready';
                UPDATE jobs.due SET due_at = due_at - interval '30 days' WHERE kind = 'exports'",
    )
    .await
    .unwrap();
    assert_eq!(
        file(&world, 0, &again, "").await.0,
        404,
        "it is over before the worker comes"
    );
    for id in [&id, &again] {
        work_while(&world, 0, id, &["ready"]).await;
        assert_eq!(look(&world, 0, id).await["state"], "expired");
    }
    let cleared = async {
        while parts(&raw).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    work_until(&world.app, FAST, cleared).await;
}

#[tokio::test]
async fn who_is_erased_is_in_no_export_any_more() {
    let world = World::new().await;
    mark(&world, 0, 0, MARK).await;
    let person = world.studios[0].person("freelancer");
    let (artist, member) = (person.artist.unwrap(), person.member);
    let before = made(&world, 0, json!({ "kind": "studio" })).await;
    let other = made(&world, 1, json!({ "kind": "studio" })).await;
    let owner = world.token(0, "owner");
    for path in [
        format!("/v1/members/{member}"),
        format!("/v1/artists/{artist}"),
    ] {
        assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    }
    crate::erasure::tell_of(&world, 0, "freelancer", "deleted", 0).await;
    let erase = format!("/v1/artists/{artist}/erase");
    let erased = world.send("POST", &erase, &owner, Some(json!({}))).await;
    assert_eq!(erased.0, 200, "{}", erased.1);
    assert_eq!(look(&world, 0, &before).await["state"], "expired");
    assert_eq!(file(&world, 0, &before, "").await.0, 404);
    assert_eq!(file(&world, 1, &other, "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_in_the_middle_leaves_nothing_that_the_next_one_minds() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let many = "INSERT INTO studio.holidays (tenant_id, id, name, day)
        SELECT $1, gen_random_uuid(), 'day ' || n || repeat('x', 100), date '2031-01-01' + n FROM generate_series(1, 25000) n";
    raw.run(many, &[&world.studios[0].tenant]).await.unwrap();
    let id = ask(&world, 0, json!({ "kind": "studio" })).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..2 {
        let mut worker = spawn_with(&world, &[]);
        let (started, before) = (Instant::now(), look(&world, 0, &id).await["done"].clone());
        loop {
            let now = look(&world, 0, &id).await;
            if now["state"] == "running"
                && now["done"] != before
                && now["done"].as_i64() > Some(2000)
            {
                break;
            }
            assert!(started.elapsed().as_secs() < 150, "{now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(file(&world, 0, &id, "").await.0, 404);
    }
    work_while(&world, 0, &id, &["queued", "running"]).await;
    // Larger than one answer may be.
    assert_eq!(file(&world, 0, &id, "").await.0, 400);
    let document: Value = serde_json::from_str(&joined(&world, 0, &id).await).unwrap();
    let days = document["tables"]["studio.holidays"].as_array().unwrap();
    let different: BTreeSet<&str> = days.iter().map(|day| day["id"].as_str().unwrap()).collect();
    let there: i64 = raw
        .value(
            "SELECT count(*) FROM studio.holidays WHERE tenant_id = $1",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    assert_eq!((days.len() as i64, different.len() as i64), (there, there));
}

#[tokio::test]
async fn a_frozen_studio_is_given_out_to_nobody() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let ready = made(&world, 0, json!({ "kind": "ledger" })).await;
    let id = ask(&world, 0, json!({ "kind": "studio" })).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    freeze(&world, 0).await;
    let owner = world.token(0, "owner");
    let asked = world
        .send("POST", EXPORTS, &owner, Some(json!({ "kind": "studio" })))
        .await
        .0;
    assert_eq!((asked, file(&world, 0, &ready, "").await.0), (403, 403));
    work_until(&world.app, FAST, tokio::time::sleep(Duration::from_secs(1))).await;
    let state = "SELECT state FROM studio.exports WHERE id = $1::text::uuid";
    assert_eq!(raw.value::<String>(state, &[&id]).await.unwrap(), "queued");
}

/// A snapshot that was taken while somebody is being forgotten has them still.
#[tokio::test]
async fn no_export_begins_while_somebody_is_being_forgotten() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let id = ask(&world, 0, json!({ "kind": "studio" })).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    raw.script("BEGIN").await.unwrap();
    let forget = "INSERT INTO custody.forgotten VALUES ($1, gen_random_uuid(), true)";
    let tenant = world.studios[0].tenant;
    raw.run(forget, &[&tenant]).await.unwrap();
    work_until(&world.app, FAST, tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(look(&world, 0, &id).await["state"], "queued");
    made(&world, 1, json!({ "kind": "studio" })).await;
    raw.script("COMMIT").await.unwrap();
    work_while(&world, 0, &id, &["queued", "running"]).await;
    assert_eq!(look(&world, 0, &id).await["state"], "ready");
}

#[tokio::test]
async fn whoever_acts_as_an_owner_takes_no_export_along() {
    let world = World::new().await;
    let ready = made(&world, 0, json!({ "kind": "ledger" })).await;
    crate::acting::let_act(&world, 0, "read_only").await;
    let path = format!("{EXPORTS}/{ready}");
    let acting = crate::acting::acted(&world, 0, "owner");
    assert_eq!(world.send("GET", &path, &acting, None).await.0, 200);
    let file = format!("{path}/file");
    let (status, problem) = world.send("GET", &file, &acting, None).await;
    assert_eq!(
        (status, &problem["type"]),
        (403, &json!("/problems/impersonation"))
    );
}

#[tokio::test]
async fn sql_as_the_app_role_neither_makes_an_export_nor_reads_what_another_service_may_not() {
    let world = World::new().await;
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    world
        .expect_refused(&[
            ("SELECT * FROM custody.export('x1|1')", "ZT001"),
            ("SELECT * FROM custody.export_page('x2|1')", "ZT001"),
            ("SELECT * FROM custody.export_rows(tenancy.tenant_id(), 'studio.artists', NULL, NULL, 10)", "42501"),
            ("DELETE FROM studio.export_parts", "42501"),
            ("UPDATE studio.export_parts SET n = 1", "42501"),
            ("INSERT INTO studio.export_parts SELECT * FROM studio.export_parts", "42501"),
            ("SELECT studio.keep_export_part('x3|1')", "ZT001"),
            ("SELECT studio.clear_export_parts('x4|1')", "ZT001"),
        ])
        .await;
    let app = world.as_app().await;
    for (context, sees, writes) in [
        (world.context(0, "owner"), true, false),
        (world.context(0, "manager"), false, false),
        (world.context(0, "freelancer"), false, false),
        (world.context(1, "owner"), false, false),
        (world.service_context(0, "custody"), true, true),
        (world.service_context(0, "delivery"), false, false),
    ] {
        app.script("BEGIN").await.unwrap();
        app.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let seen: i64 = app
            .value("SELECT count(*) FROM studio.exports e JOIN studio.export_parts p ON p.export_id = e.id WHERE e.id = $1::text::uuid", &[&id])
            .await
            .unwrap();
        assert_eq!(seen > 0, sees);
        let set = "UPDATE studio.exports SET version = version + 1, state = 'ready' WHERE id = $1::text::uuid";
        let changed = app.run(set, &[&id]).await;
        assert_eq!(changed.is_ok_and(|rows| rows == 1), writes);
        app.script("ROLLBACK").await.unwrap();
    }
    let (owner, none) = (
        world.context(0, "manager"),
        "INSERT INTO studio.exports (tenant_id, id, kind) VALUES (tenancy.tenant_id(), gen_random_uuid(), 'ledger')",
    );
    app.script("BEGIN").await.unwrap();
    app.run("SELECT tenancy.enter($1)", &[&owner])
        .await
        .unwrap();
    assert!(app.run(none, &[]).await.is_err());
    app.script("ROLLBACK").await.unwrap();
}

/// `docs/formats/export.schema.json` is what the register says.
#[test]
fn the_schema_of_exports_is_the_golden_one() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/formats/export.schema.json"
    );
    let text = format!("{:#}\n", schema());
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == text,
        "run `cargo x accept` and read the difference"
    );
}
