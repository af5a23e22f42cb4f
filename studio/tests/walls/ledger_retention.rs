//! Retention removes what is old from the ledger, in whole tiles, and the rest is verified as before.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use studio::commands::{Verdict, gaps, last_ticket, reader};
use watertight_tenancy::support::state;
use watertight_terms::{Clock, TenantId};

use crate::{
    ledger::{another, logged, settle, tenant, verdict},
    retention::retain,
    world::World,
};

/// A world whose first studio has a long log, of which the first 600 entries are two years old.
async fn aged() -> World {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let more = "SELECT ledger.note($1, 'a.b', 'a', ARRAY[gen_random_uuid()]) FROM generate_series(1, 1100)";
    admin.run(more, &[&studio.0]).await.unwrap();
    settle(&world.app).await;
    admin
        .run(
            "UPDATE ledger.entries e SET at = at - interval '2 years' FROM ledger.leaves l
             WHERE e.tenant_id = $1 AND l.tenant_id = $1 AND e.entry_id = l.entry_id AND l.seq < 600",
            &[&studio.0],
        )
        .await
        .unwrap();
    world
}

fn a_year_ago() -> Timestamp {
    Clock::system().now() - SignedDuration::from_hours(365 * 24)
}

async fn removed(world: &World, studio: TenantId) -> u64 {
    let checkpointer = &world.app.checkpointer;
    checkpointer
        .remove_before(studio, a_year_ago())
        .await
        .unwrap()
}

async fn kept(world: &World, studio: TenantId) -> (i64, i64) {
    let admin = world.as_admin().await;
    let studio = studio.0;
    let count = async |sql| admin.value::<i64>(sql, &[&studio]).await.unwrap();
    let leaves = "SELECT min(seq) FROM ledger.leaves WHERE tenant_id = $1";
    let entries = "SELECT count(*) FROM ledger.entries WHERE tenant_id = $1";
    (count(leaves).await, count(entries).await)
}

#[tokio::test]
async fn what_is_old_is_removed_in_whole_tiles_and_the_rest_is_verified() {
    let world = aged().await;
    let (studio, other) = (tenant(&world, 0), tenant(&world, 1));
    let (before, of_other) = (kept(&world, studio).await.1, kept(&world, other).await);
    assert_eq!(removed(&world, studio).await, 512);
    assert_eq!(kept(&world, studio).await, (512, before - 512 + 1));
    assert_eq!(
        (removed(&world, other).await, kept(&world, other).await),
        (0, of_other)
    );
    settle(&world.app).await;
    sound(&world, 512).await;
    // A process that knew nothing of it goes on, and nothing more is to be removed.
    let app = another(&world);
    app.checkpointer.catch_up().await.unwrap();
    let (status, _) = world
        .send("GET", "/v1/artists", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 200);
    settle(&app).await;
    sound(&world, 512).await;
    assert_eq!(removed(&world, studio).await, 512);
    // Nothing of it is missed, and the owner is told.
    let database = reader(&world.config).await.unwrap();
    let last = last_ticket(&database).await.unwrap();
    assert_eq!(gaps(&database, last).await.unwrap(), []);
    let owner = world.token(0, "owner");
    let read = async |path: &str| world.send("GET", path, &owner, None).await;
    let said = read("/v1/audit?action=audit.remove").await.1;
    assert_eq!(said["items"][0]["actor"], "service:retention");
    let note = read("/v1/audit/checkpoints").await.1["removed"].clone();
    assert!(note.as_str().unwrap().contains("\nremoved 20"), "{note}");
    assert_eq!(read("/v1/audit/tile/0/001").await.0, 404);
    assert_eq!(read("/v1/audit/tile/0/002").await.0, 200);
    assert_eq!(read("/v1/audit/verify").await.1["ok"], true);
    let owner = world.token(1, "owner");
    let other = world
        .send("GET", "/v1/audit/checkpoints", &owner, None)
        .await;
    assert_eq!(other.1["removed"], Value::Null);
}

async fn sound(world: &World, gone: u64) {
    match verdict(world, 0).await {
        Verdict::Sound(summary) => assert_eq!(
            (summary.removed, summary.covered),
            (gone, summary.entries),
            "{summary:?}"
        ),
        Verdict::Found(what) => panic!("{what}"),
    }
}

async fn found(world: &World) -> String {
    match verdict(world, 0).await {
        Verdict::Found(what) => what,
        Verdict::Sound(summary) => panic!("nothing was found: {summary:?}"),
    }
}

/// What is removed by hand has no stub, and a stub that is bent is none.
#[tokio::test]
async fn nobody_else_removes_anything_unseen() {
    let world = aged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    removed(&world, studio).await;
    settle(&world.app).await;
    let folder = world.config.ledger.checkpoint_dir.clone().unwrap();
    let path = folder.join(studio.to_string()).join("removed");
    let stub = std::fs::read_to_string(&path).unwrap();
    let bent = stub.replacen("\n512\n", "\n256\n", 1);
    assert_ne!(bent, stub);
    std::fs::write(&path, bent).unwrap();
    assert!(found(&world).await.contains("is not to be believed"));
    std::fs::write(&path, stub).unwrap();
    sound(&world, 512).await;
    let tile = "WITH gone AS (DELETE FROM ledger.leaves WHERE tenant_id = $1 AND seq < 768 RETURNING entry_id)
        DELETE FROM ledger.entries WHERE tenant_id = $1 AND entry_id IN (SELECT entry_id FROM gone)";
    admin.run(tile, &[&studio.0]).await.unwrap();
    assert_eq!(found(&world).await, "entry 512 is missing");
}

/// What is wrong with a log would be gone with its beginning.
#[tokio::test]
async fn of_a_log_that_was_bent_nothing_is_removed() {
    let world = aged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    admin
        .run(
            "UPDATE ledger.leaves SET hash = sha256(hash) WHERE tenant_id = $1 AND seq = 7",
            &[&studio.0],
        )
        .await
        .unwrap();
    let before = kept(&world, studio).await;
    let refused = world
        .app
        .checkpointer
        .remove_before(studio, a_year_ago())
        .await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not what was signed")
    );
    assert_eq!(kept(&world, studio).await, before);
}

/// Whoever runs SQL as the app role removes nothing, of whichever studio.
#[tokio::test]
async fn the_app_role_removes_nothing() {
    let world = aged().await;
    let app = world.as_app().await;
    for sql in [
        "DELETE FROM ledger.entries",
        "DELETE FROM ledger.leaves",
        "INSERT INTO ledger.removals (tenant_id, size, note, tickets) VALUES (gen_random_uuid(), 256, '', '{}')",
        "SELECT ledger.remove('l6|1|x|9999999999|n|00', '{}')",
        "SELECT ledger.removable('l5|1|x|1|9999999999|n|00')",
        "SELECT tickets FROM ledger.removals",
    ] {
        assert!(app.script(sql).await.is_err(), "{sql}");
    }
}

async fn decide(world: &World, days: u32) {
    let owner = world.token(0, "owner");
    let body = json!({ "retention": { "ledger": days } });
    let answered = world.send("PATCH", "/v1/studio", &owner, Some(body)).await;
    assert_eq!(answered.0, 200, "{}", answered.1);
}

async fn hold(world: &World, mut body: Value) -> String {
    body["reason"] = json!("claim");
    let owner = world.token(0, "owner");
    let (status, placed) = world
        .send("POST", "/v1/legal-holds", &owner, Some(body))
        .await;
    assert_eq!(status, 201, "{placed}");
    placed["id"].as_str().unwrap().to_owned()
}

async fn release(world: &World, id: &str) {
    let path = format!("/v1/legal-holds/{id}/release");
    let owner = world.token(0, "owner");
    assert_eq!(world.send("POST", &path, &owner, None).await.0, 200);
}

fn of_ledger(plan: &Value) -> Option<&Value> {
    let mut all = plan["plan"].as_array().unwrap().iter();
    all.find(|one| one["rule"] == "ledger")
}

#[tokio::test]
async fn the_daily_retention_takes_what_is_old_of_the_ledger_away() {
    let world = aged().await;
    let studio = tenant(&world, 0);
    assert_eq!(of_ledger(&retain(&world, &["plan"]).await), None, "7 years");
    decide(&world, 400).await;
    let plan = retain(&world, &["plan"]).await;
    let planned = of_ledger(&plan).unwrap();
    assert_eq!(
        (&planned["rows"], &planned["days"], &planned["table"]),
        (&json!(512), &json!(400), &json!("ledger.entries"))
    );
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(512));
    assert_eq!(kept(&world, studio).await.0, 512);
    settle(&world.app).await;
    sound(&world, 512).await;
    assert_eq!(of_ledger(&retain(&world, &["plan"]).await), None, "once");
}

/// A window that lies in it keeps it from its beginning on, whatever else is held all of it.
#[tokio::test]
async fn a_held_ledger_stays_whoever_asks() {
    let world = aged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let by_force = async || {
        let sql = "DELETE FROM ledger.entries WHERE tenant_id = $1";
        admin.script("BEGIN").await.unwrap();
        let done = admin.run(sql, &[&studio.0]).await;
        admin.script("ROLLBACK").await.unwrap();
        done.map_err(|error| state(&error).to_owned())
    };
    assert!(by_force().await.is_ok(), "nothing else stops a superuser");
    decide(&world, 400).await;
    let artist = world.studios[0].artists[0];
    let window = json!({ "scope": "window", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2040-01-01T00:00:00Z" });
    for body in [
        json!({ "scope": "studio" }),
        json!({ "scope": "person", "ref": artist }),
        window,
    ] {
        let id = hold(&world, body.clone()).await;
        let plan = retain(&world, &["plan"]).await;
        let planned = of_ledger(&plan).unwrap();
        assert_eq!(
            (&planned["rows"], &planned["held"]),
            (&json!(0), &json!(512))
        );
        assert_eq!(retain(&world, &["run"]).await["rows"], json!(0), "{body}");
        let checkpointer = &world.app.checkpointer;
        let gone = checkpointer.remove_before(studio, a_year_ago()).await;
        assert_eq!(gone.unwrap(), 0, "{body}");
        assert_eq!(by_force().await.unwrap_err(), "ZT050", "{body}");
        release(&world, &id).await;
    }
    let later = json!({ "scope": "window", "starts_at": "2040-01-01T00:00:00Z", "ends_at": "2040-01-02T00:00:00Z" });
    hold(&world, later).await;
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(512));
}

/// Whatever the server signs: what is younger than a studio may decide stays.
#[tokio::test]
async fn the_ledger_is_kept_for_the_least_of_its_days() {
    let world = aged().await;
    let studio = tenant(&world, 0);
    let rules = studio::jobs::retention::decidable();
    let rule = rules.iter().find(|rule| rule.name == "ledger").unwrap();
    let checkpointer = &world.app.checkpointer;
    let before = kept(&world, studio).await;
    let now = Clock::system().now();
    let young = rule.until(now, rule.days.least - 1).unwrap();
    let admin = world.as_admin().await;
    let shift = "UPDATE ledger.entries SET at = now() - interval '1 year' + interval '6 hours' WHERE tenant_id = $1 AND at < now() - interval '1 year'";
    admin.run(shift, &[&studio.0]).await.unwrap();
    assert_eq!(checkpointer.remove_before(studio, young).await.unwrap(), 0);
    assert_eq!(kept(&world, studio).await, before);
    let shift = "UPDATE ledger.entries SET at = at - interval '3 days' WHERE tenant_id = $1 AND at < now() - interval '300 days'";
    admin.run(shift, &[&studio.0]).await.unwrap();
    assert_eq!(
        checkpointer.remove_before(studio, young).await.unwrap(),
        512
    );
}
