//! How exports are made: one after the other, without minding slow pages or gigabytes, and of one person alone.

use std::time::Duration;

use serde_json::{Value, json};
use studio::jobs::work_until;
use uuid::Uuid;
use watertight_tenancy::support::RawConnection;

use crate::{
    acting::{acted, let_act},
    archive::{Archives, opened},
    exports::{EXPORTS, FAST, ask, document, file, look, made, mark, parts, work_while},
    world::World,
};

/// Parts by force, as an export of gigabytes has them.
async fn many_parts(raw: &RawConnection, export: &str, parts: u32) {
    raw.script(&format!(
        "SET session_replication_role = replica;
         ALTER TABLE studio.export_parts DISABLE TRIGGER USER;
         INSERT INTO studio.export_parts (tenant_id, id, export_id, attempt, file, n, sealed)
           SELECT e.tenant_id, gen_random_uuid(), e.id, e.attempt, 'json', 100 + n, decode('020001' || repeat('00', 40), 'hex')
           FROM studio.exports e, generate_series(1, {parts}) n WHERE e.id = '{export}';
         RESET session_replication_role"
    ))
    .await
    .unwrap();
}

/// A worker, until nothing lies there that belongs to no export.
async fn work_until_cleared(world: &World, raw: &RawConnection) {
    let cleared = async {
        while parts(raw).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let cleared = tokio::time::timeout(Duration::from_secs(60), cleared);
    work_until(&world.app, FAST, async { cleared.await.unwrap() }).await;
}

async fn entries_of(raw: &RawConnection, action: &str) -> i64 {
    let sql = "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' = $1";
    raw.value(sql, &[&action]).await.unwrap()
}

/// Who forgets somebody, or closes the studio, does not wait until gigabytes are removed; nobody reads them meanwhile.
#[tokio::test]
async fn what_is_over_is_unreadable_at_once_and_goes_in_steps() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    many_parts(&raw, &id, 240).await;
    let there = parts(&raw).await;
    let app = world.as_app().await;
    let seen = async || {
        app.script("BEGIN").await.unwrap();
        let owner = world.context(0, "owner");
        app.run("SELECT tenancy.enter($1)", &[&owner])
            .await
            .unwrap();
        let seen = parts(&app).await;
        app.script("ROLLBACK").await.unwrap();
        seen
    };
    assert_eq!(seen().await, there);
    let person = world.studios[0].person("freelancer");
    let owner = world.token(0, "owner");
    let artist = format!("/v1/artists/{}", person.artist.unwrap());
    for path in [format!("/v1/members/{}", person.member), artist.clone()] {
        assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    }
    crate::erasure::tell_of(&world, 0, "freelancer", "deleted", 0).await;
    let erase = format!("{artist}/erase");
    let erased = world.send("POST", &erase, &owner, Some(json!({}))).await;
    assert_eq!(erased.0, 200, "{}", erased.1);
    assert_eq!(parts(&raw).await, there, "removing them is the worker's");
    assert_eq!((seen().await, file(&world, 0, &id, "").await.0), (0, 404));
    // Whoever stopped in between is gone on from.
    work_until_cleared(&world, &raw).await;
    assert!(entries_of(&raw, "export.clear").await >= 5);
    let captured = "SELECT count(*) FROM ledger.entries WHERE leaf LIKE '%export_parts%'";
    assert_eq!(raw.value::<i64>(captured, &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_studio_has_twenty_exports_at_a_time() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let fill = |state: &str, many: u32| {
        format!(
            "ALTER TABLE studio.exports DISABLE TRIGGER begin_export;
             INSERT INTO studio.exports (tenant_id, id, kind, state, expires_at)
               SELECT '{}', gen_random_uuid(), 'ledger', '{state}', now() + interval '1 day' FROM generate_series(1, {many});
             ALTER TABLE studio.exports ENABLE ALWAYS TRIGGER begin_export",
            world.studios[0].tenant
        )
    };
    raw.script(&fill("ready", 18)).await.unwrap();
    raw.script(&fill("expired", 5)).await.unwrap();
    let (owner, other) = (world.token(0, "owner"), world.token(1, "owner"));
    let body = |kind: &str| Some(json!({ "kind": kind }));
    for kind in ["studio", "ledger"] {
        let asked = world.send("POST", EXPORTS, &owner, body(kind)).await;
        assert_eq!(asked.0, 201, "{}", asked.1);
    }
    let artist = json!({ "kind": "person", "ref": world.studios[0].artists[0] });
    let (status, refused) = world
        .send("POST", EXPORTS, &owner, Some(artist.clone()))
        .await;
    let slug = &refused["type"];
    assert_eq!((status, slug), (409, &json!("/problems/too-many-exports")));
    assert_eq!(
        world.send("POST", EXPORTS, &other, body("studio")).await.0,
        201
    );
    raw.script("UPDATE studio.exports SET expires_at = now() WHERE state = 'ready'")
        .await
        .unwrap();
    assert_eq!(
        world.send("POST", EXPORTS, &owner, Some(artist)).await.0,
        201
    );
}

/// Two who share an artist are two: what is given out of one has nothing of the other.
#[tokio::test]
async fn of_two_members_of_an_artist_each_is_somebody() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let (first, second) = (
        world.studios[0].person("freelancer"),
        world.studios[0].person("manager"),
    );
    let artist = first.artist.unwrap();
    mark(&world, 0, 0, "quillfeather").await;
    let text = async |about: Uuid| {
        let id = made(&world, 0, json!({ "kind": "person", "ref": about })).await;
        document(&world, 0, &id).await["tables"].to_string()
    };
    let has = |text: &str, ids: [Uuid; 3]| ids.map(|id| text.contains(&format!("\"id\":\"{id}\"")));
    let all = [first.member, second.member, artist];
    assert_eq!(has(&text(first.member).await, all), [true, false, true]);
    raw.run(
        "UPDATE tenancy.members SET artist_id = $2 WHERE id = $1",
        &[&second.member, &artist],
    )
    .await
    .unwrap();
    for (about, expected) in [
        (first.member, [true, false, false]),
        (second.member, [false, true, false]),
        (artist, [false, false, true]),
    ] {
        let text = text(about).await;
        assert_eq!(has(&text, all), expected);
        assert_eq!(text.contains("quillfeather"), about == artist);
    }
    // Once retention has anonymised one of them, the other's rows are still nobody else's.
    let gone = "UPDATE tenancy.members SET subject = NULL, invitation = NULL, name = NULL, email = NULL, email_index = NULL,
        state = 'removed' WHERE id = $1";
    raw.run(gone, &[&second.member]).await.unwrap();
    for (about, expected) in [
        (second.member, [false, true, false]),
        (first.member, [true, false, true]),
    ] {
        assert_eq!(has(&text(about).await, all), expected, "{about}");
    }
}

#[tokio::test]
async fn what_others_did_as_a_person_is_not_theirs() {
    let world = World::new().await;
    let member = world.studios[0].person("freelancer").member;
    let_act(&world, 0, "read_only").await;
    for token in [acted(&world, 0, "freelancer"), world.token(0, "freelancer")] {
        assert_eq!(world.send("GET", "/v1/me", &token, None).await.0, 200);
    }
    world.app.checkpointer.round().await.unwrap();
    let id = made(&world, 0, json!({ "kind": "person", "ref": member })).await;
    let document = document(&world, 0, &id).await;
    let subject = &document["tables"]["tenancy.members"][0]["subject"];
    let entries = document["entries"].as_array().unwrap();
    let own = |entry: &Value| &entry["actor"] == subject && entry["acted_by"].is_null();
    assert!(
        !entries.is_empty() && entries.iter().all(own),
        "{entries:?}"
    );
}

/// Counting a studio's holidays takes so long, and so does reading them.
async fn slow_page(raw: &RawConnection, seconds: u32) {
    raw.script(&format!(
        "INSERT INTO studio.holidays (tenant_id, id, name, day)
           SELECT tenant_id, gen_random_uuid(), 'slow', date '2031-01-01' FROM tenancy.studios;
         GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO studio_custody;
         CREATE POLICY slow ON studio.holidays AS RESTRICTIVE TO studio_custody USING ((SELECT pg_sleep({seconds})) IS NOT NULL)"
    ))
    .await
    .unwrap();
}

/// Whoever waits for a page is at work: nobody else begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_page_ends_no_try() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    slow_page(&raw, 23).await;
    let asked = ask(&world, 0, json!({ "kind": "studio" })).await;
    let id = asked["id"].as_str().unwrap();
    let states = ["queued", "running"];
    tokio::join!(
        work_while(&world, 0, id, &states),
        work_while(&world, 0, id, &states)
    );
    let attempts: Value = raw
        .value(
            "SELECT jsonb_build_array(state, attempt) FROM studio.exports WHERE id = $1::text::uuid",
            &[&id],
        )
        .await
        .unwrap();
    assert_eq!(attempts, json!(["ready", 1]));
}

/// Whoever was given up, and is at it still, adds nothing to the next try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_try_adds_nothing_to_the_next_one() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let asked = ask(&world, 0, json!({ "kind": "studio" })).await;
    let id = asked["id"].as_str().unwrap();
    let given_up = async {
        let give_up = "UPDATE studio.exports SET attempt = attempt + 1, version = version + 1
            WHERE id = $1::text::uuid AND attempt = 1 AND state = 'running'";
        while raw.run(give_up, &[&id]).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // So long that the first would have been ready.
        tokio::time::sleep(Duration::from_secs(12)).await;
    };
    work_until(&world.app, FAST, given_up).await;
    assert_eq!(look(&world, 0, id).await["state"], "running");
    work_while(&world, 0, id, &["queued", "running"]).await;
    let tables = document(&world, 0, id).await["tables"].clone();
    let artists = tables["studio.artists"].as_array().unwrap();
    assert_eq!(artists.len(), world.studios[0].artists.len());
    let attempt = "SELECT attempt FROM studio.exports WHERE id = $1::text::uuid";
    assert_eq!(raw.value::<i32>(attempt, &[&id]).await.unwrap(), 3);
}

/// Of a large table or ledger not each thousand is kept by itself.
#[tokio::test]
async fn an_export_has_few_entries_of_its_own() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let many = "INSERT INTO studio.holidays (tenant_id, id, name, day)
        SELECT $1, gen_random_uuid(), 'day ' || n, date '2031-01-01' + n FROM generate_series(1, 9000) n";
    raw.run(many, &[&world.studios[0].tenant]).await.unwrap();
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    let parts = look(&world, 0, &id).await["parts"].as_i64().unwrap();
    let written = entries_of(&raw, "export.make").await;
    // Each full part, the seconds, and beginning, reading, ending.
    assert!(written <= parts + 10, "{written} of {parts} parts");
}

/// Somebody is noted of whom everything was forgotten once, and is forgotten again.
#[tokio::test]
async fn whoever_is_forgotten_twice_is_in_no_export_of_between() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let made_and_destroyed = "WITH k AS (SELECT tenant_id, max(number) AS number FROM vault.studio_keys WHERE tenant_id = $1 GROUP BY 1)
        INSERT INTO vault.person_keys (tenant_id, person, number, studio_key, wrapped)
          SELECT tenant_id, $2, 1, number, decode(repeat('00', 60), 'hex') FROM k";
    mark(&world, 0, 0, "quillfeather").await;
    let (tenant, person) = (world.studios[0].tenant, Uuid::from_u128(7));
    let other = made(&world, 1, json!({ "kind": "studio" })).await;
    for _ in 0..2 {
        let id = made(&world, 0, json!({ "kind": "studio" })).await;
        let parameters: [&(dyn watertight_tenancy::ToSql + Sync); 2] = [&tenant, &person];
        raw.run(made_and_destroyed, &parameters).await.unwrap();
        raw.run(
            "DELETE FROM vault.person_keys WHERE person = $1",
            &[&person],
        )
        .await
        .unwrap();
        assert_eq!(look(&world, 0, &id).await["state"], "expired");
    }
    assert_eq!(look(&world, 1, &other).await["state"], "ready");
}

/// Which key a value of half a mebibyte needs is in its first bytes.
#[tokio::test]
async fn the_number_of_a_key_is_read_without_the_value() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let id = made(&world, 0, json!({ "kind": "ledger" })).await;
    many_parts(&raw, &id, 1).await;
    raw.script(
        "SET session_replication_role = replica;
         UPDATE studio.export_parts SET sealed = decode('020001', 'hex') || convert_to(repeat('x', 500000), 'UTF8');
         RESET session_replication_role",
    )
    .await
    .unwrap();
    let read = async |what: &str| {
        let sql = format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*) FROM studio.export_parts WHERE {what}"
        );
        let plan: Value = raw.value(&sql, &[]).await.unwrap();
        let plan = &plan[0]["Plan"];
        plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
    };
    let whole = "length(sealed::text) > 0";
    let number = "vault.number_of(sealed) = 1";
    read(whole).await;
    read(number).await;
    let (whole, number) = (read(whole).await, read(number).await);
    assert!(whole > 60 && number < 30, "{whole} {number}");
}

/// How a studio's people are looked at is given out to nobody; it is in the archive, which comes back to the studio alone.
#[tokio::test]
async fn what_the_detectors_learned_is_in_the_archive_and_in_no_export() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    raw.script("UPDATE studio.watching SET learned = 'quillfeather'")
        .await
        .unwrap();
    let id = made(&world, 0, json!({ "kind": "studio" })).await;
    let document = document(&world, 0, &id).await;
    assert!(!document.to_string().contains("quillfeather"));
    assert!(document["tables"].get("studio.watching").is_none());
    let archives = Archives::of(&world);
    let archive = archives.written(0).await;
    assert!(opened(&archives, 0, &archive).contains("quillfeather"));
}
