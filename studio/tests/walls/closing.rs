//! A studio that closes: asked for, taken back, waited for; then its keys and rows are gone, and the other's are not.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use serde_json::{Value, json};
use studio::{
    custody::closing::shred,
    jobs::{Pace, work_until},
};
use uuid::Uuid;
use watertight_custody::closing;
use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::support::{RawConnection, state};
use watertight_terms::TenantId;

use crate::{
    exports::made,
    legal_holds::{place, release},
    world::World,
};

const CLOSE: &str = "/v1/studio/close";

async fn close(world: &World, studio: usize) -> (u16, Value) {
    let owner = world.token(studio, "owner");
    let body = json!({ "without_export": true });
    world.send("POST", CLOSE, &owner, Some(body)).await
}

fn tenant(world: &World, studio: usize) -> TenantId {
    TenantId(world.studios[studio].tenant)
}

/// Moves the studio's time so that it has come.
async fn time_comes(raw: &RawConnection, studio: TenantId) {
    let sql =
        "UPDATE tenancy.studios SET closes_at = now() - interval '1 minute' WHERE tenant_id = $1";
    raw.run(sql, &[&studio.0]).await.unwrap();
    let sql = "UPDATE jobs.due SET due_at = now() - interval '1 minute' WHERE tenant_id = $1 AND kind = 'closing'";
    raw.run(sql, &[&studio.0]).await.unwrap();
}

/// Every table with rows of studios.
async fn tables(raw: &RawConnection) -> BTreeSet<String> {
    let all: Vec<String> = raw
        .value(
            "SELECT array_agg(a.attrelid::regclass::text) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'public'",
            &[],
        )
        .await
        .unwrap();
    all.into_iter().collect()
}

/// How many rows a studio has, by the tables in which it has any.
async fn rows(raw: &RawConnection, studio: Uuid) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for table in tables(raw).await {
        let sql = format!("SELECT count(*) FROM {table} WHERE tenant_id = $1");
        let many: i64 = raw.value(&sql, &[&studio]).await.unwrap();
        if many > 0 {
            found.push((table, many));
        }
    }
    found
}

/// What is left of a closed studio: its row, its ledger, and what says that nothing else is.
const STAYS: [&str; 11] = [
    "tenancy.studios",
    "tenancy.services",
    "custody.receipts",
    "custody.forgotten",
    "ledger.entries",
    "ledger.waiting",
    "ledger.changes",
    "ledger.leaves",
    "ledger.nodes",
    "ledger.heads",
    "ledger.checkpoints",
];

#[tokio::test]
async fn a_closing_is_asked_for_by_an_owner_and_taken_back() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let stale = world.bent_token(0, "owner", &json!({ "fva": [9000, -1] }));
    let cancel = format!("{CLOSE}/cancel");
    for token in [
        &stale,
        &world.token(0, "manager"),
        &world.token(0, "freelancer"),
    ] {
        let answered = world.send("POST", CLOSE, token, Some(json!({}))).await;
        assert_eq!(answered.0, 403, "{}", answered.1);
    }
    let plan = Some(json!({ "plan": true }));
    let (status, planned) = world.send("POST", CLOSE, &owner, plan).await;
    assert_eq!((status, &planned["closes_at"]), (200, &Value::Null));
    let counted = |table: &str| {
        let mut all = planned["tables"].as_array().unwrap().iter();
        all.find(|one| one["table"] == table).unwrap()["rows"].clone()
    };
    assert_eq!(counted("studio.artists"), world.studios[0].artists.len());

    let id = place(&world, 0, json!({ "scope": "studio" })).await;
    let (status, refused) = close(&world, 0).await;
    assert_eq!(
        (status, &refused["type"]),
        (409, &json!("/problems/legal-hold"))
    );
    assert_eq!(release(&world, 0, &id).await.0, 200);
    let (status, asked) = close(&world, 0).await;
    assert_eq!(status, 200, "{asked}");
    assert_eq!(close(&world, 0).await.1["closes_at"], asked["closes_at"]);
    let status = async || {
        let studio = world.send("GET", "/v1/studio", &owner, None).await.1;
        studio["status"].clone()
    };
    assert_eq!(status().await, "closing");
    // Its time has not come, and it works as ever.
    assert!(!shred(&world.app, tenant(&world, 0), |_| {}).await.unwrap());
    world
        .pencil(0, 0, "2031-06-01T08:00:00Z", "2031-06-01T16:00:00Z")
        .await;
    assert_eq!(world.send("POST", &cancel, &owner, None).await.0, 200);
    assert_eq!(status().await, "active");
    time_comes(&world.as_admin().await, tenant(&world, 1)).await;
    assert!(!shred(&world.app, tenant(&world, 0), |_| {}).await.unwrap());
}

#[tokio::test]
async fn an_export_comes_first_or_it_is_said_that_none_is_wanted() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    // Neither the other's counts, nor one of something else, nor one that is over.
    made(&world, 1, json!({ "kind": "studio" })).await;
    made(&world, 0, json!({ "kind": "ledger" })).await;
    made(&world, 0, json!({ "kind": "studio" })).await;
    let raw = world.as_admin().await;
    let over = async |days: &str| {
        let sql = format!(
            "UPDATE studio.exports SET expires_at = now() + interval '{days} days' WHERE tenant_id = $1 AND kind = 'studio'"
        );
        raw.run(&sql, &[&world.studios[0].tenant]).await.unwrap();
    };
    over("-1").await;
    let (status, refused) = world.send("POST", CLOSE, &owner, Some(json!({}))).await;
    let slug = &refused["type"];
    assert_eq!((status, slug), (409, &json!("/problems/export-first")));
    over("1").await;
    let asked = world.send("POST", CLOSE, &owner, Some(json!({}))).await;
    assert_eq!(asked.0, 200, "{}", asked.1);
    let studio = world.studios[1].tenant.to_string();
    for (more, code) in [(None, 0), (Some("--without-export"), 0)] {
        let mut arguments = vec!["close", "--studio", &studio];
        arguments.extend(more);
        let mut command = world.command(&arguments);
        let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
        assert_eq!(said.unwrap().status.code(), Some(code), "{more:?}");
    }
}

#[tokio::test]
async fn the_worker_closes_a_studio_whose_time_has_come_and_no_other() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    world
        .pencil(0, 0, "2031-06-01T08:00:00Z", "2031-06-01T16:00:00Z")
        .await;
    let (here, there) = (tenant(&world, 0), tenant(&world, 1));
    let others = rows(&raw, there.0).await;
    assert_eq!(close(&world, 0).await.0, 200);
    raw.script("CREATE TABLE public.yesterday AS SELECT * FROM studio.artists")
        .await
        .unwrap();
    time_comes(&raw, here).await;
    let pace = Pace {
        poll_ms: 20,
        lease_s: 5,
    };
    // A legal hold keeps it, whenever it was placed.
    let id = place(&world, 0, json!({ "scope": "window", "starts_at": "2001-01-01T00:00:00Z", "ends_at": "2001-01-02T00:00:00Z" })).await;
    work_until(&world.app, pace, tokio::time::sleep(Duration::from_secs(1))).await;
    let owner = world.token(0, "owner");
    assert_eq!(world.send("GET", "/v1/studio", &owner, None).await.0, 200);
    assert_eq!(release(&world, 0, &id).await.0, 200);

    time_comes(&raw, here).await;
    work_until(&world.app, pace, tokio::time::sleep(Duration::from_secs(4))).await;
    let left: Vec<String> = rows(&raw, here.0)
        .await
        .into_iter()
        .map(|(t, _)| t)
        .collect();
    let stays = |table: &&String| !STAYS.contains(&table.as_str());
    assert_eq!(left.iter().filter(stays).count(), 0, "{left:?}");
    let gone = world.send("GET", "/v1/me", &owner, None).await.0;
    assert!((400..500).contains(&gone), "{gone}");
    let named = "SELECT name || organization FROM tenancy.studios WHERE tenant_id = $1";
    let named: String = raw.value(named, &[&here.0]).await.unwrap();
    assert_eq!(named, format!("(closed)closed-{here}"));
    let mut now: Vec<(String, i64)> = rows(&raw, there.0).await;
    now.retain(|(table, _)| !table.starts_with("ledger."));
    let mut before = others;
    before.retain(|(table, _)| !table.starts_with("ledger."));
    assert_eq!(now, before, "the other studio has what it had");

    // The receipt is for operators; nothing comes back, by whatever force.
    let studio = here.to_string();
    let mut command = world.command(&["close", "--studio", &studio, "--receipt"]);
    let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let said: Value = serde_json::from_slice(&said.unwrap().stdout).unwrap();
    let note = said["note"].as_str().unwrap();
    assert!(note.starts_with(&format!("studio.watertight/receipt/{studio}\n")));
    assert!(note.contains("\"kind\":\"closing\""), "{note}");
    raw.script("SET session_replication_role = replica")
        .await
        .unwrap();
    let back = "INSERT INTO studio.artists SELECT * FROM public.yesterday WHERE tenant_id = $1";
    let refused = raw.run(back, &[&here.0]).await.unwrap_err();
    assert_eq!(state(&refused), "ZT052");
}

/// After `organization.deleted` nobody is there to ask for it.
#[tokio::test]
async fn a_studio_whose_organization_was_deleted_goes_after_the_grace() {
    let world = World::new().await;
    let (raw, here) = (world.as_admin().await, tenant(&world, 0));
    let suspend = "UPDATE tenancy.studios SET status = 'suspended', suspended_at = now() - $2 * interval '1 day' WHERE tenant_id = $1";
    raw.run(suspend, &[&here.0, &29.0]).await.unwrap();
    let due = "SELECT count(*) FROM jobs.due WHERE tenant_id = $1 AND kind = 'closing'";
    assert_eq!(raw.value::<i64>(due, &[&here.0]).await.unwrap(), 1);
    assert!(!shred(&world.app, here, |_| {}).await.unwrap());
    raw.run(suspend, &[&here.0, &31.0]).await.unwrap();
    assert!(shred(&world.app, here, |_| {}).await.unwrap());
    let keys = "SELECT count(*) FROM vault.studio_keys WHERE tenant_id = $1";
    assert_eq!(raw.value::<i64>(keys, &[&here.0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_closing_that_was_killed_goes_on_where_it_was() {
    let world = World::new().await;
    let (raw, here) = (world.as_admin().await, tenant(&world, 0));
    assert_eq!(close(&world, 0).await.0, 200);
    time_comes(&raw, here).await;
    // It waits for a row that is gone only after the keys.
    raw.script("BEGIN").await.unwrap();
    let lock = "SELECT FROM studio.artists WHERE tenant_id = $1 FOR UPDATE";
    raw.run(lock, &[&here.0]).await.unwrap();
    let mut command = world.command(&["work"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let other = world.as_admin().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while other.value::<i64>(waits, &[]).await.unwrap() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let keys = "SELECT count(*) FROM vault.studio_keys WHERE tenant_id = $1";
    assert_eq!(other.value::<i64>(keys, &[&here.0]).await.unwrap(), 0);
    raw.script("ROLLBACK").await.unwrap();
    assert!(shred(&world.app, here, |_| {}).await.unwrap());
    let left = rows(&raw, here.0).await;
    let stays = |(table, _): &&(String, i64)| !STAYS.contains(&table.as_str());
    assert_eq!(left.iter().filter(stays).count(), 0, "{left:?}");
}

/// A table that is in no order of going would keep its rows.
#[tokio::test]
async fn every_table_with_rows_of_a_studio_goes_or_is_said_to_stay() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let sql = "SELECT array_agg(rel::text) FROM custody.shredded";
    let shredded: Vec<String> = raw.value(sql, &[]).await.unwrap();
    let mut all = tables(&raw).await;
    for table in &shredded {
        assert!(all.remove(table), "{table} is there");
    }
    for table in STAYS {
        assert!(all.remove(table), "{table} is there, and goes not");
    }
    // Not needed for a studio that is gone, and removed with the receipt.
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        ["jobs.due", "ledger.removals"]
    );
}

#[tokio::test]
async fn sql_as_the_app_role_and_other_callers_close_nothing() {
    let world = World::new().await;
    world
        .expect_refused(&[
            ("SELECT custody.close('g1|1|x|close|9|n|00')", "ZT002"),
            ("SELECT custody.begin_shred('g3|1|x|9|n|00')", "ZT002"),
            ("SELECT custody.shred('g5|1|x|9|9|n|00')", "ZT002"),
            ("SELECT custody.shred_rows(tenancy.tenant_id(), 9)", "42501"),
            ("SELECT note FROM custody.receipts", "42501"),
        ])
        .await;
    // The server itself removes nothing of a studio that is not closed.
    let caller = Caller::service(ServiceName::new("custody"), tenant(&world, 0));
    let begun = world.app.tenancy.begin(&caller, world.facts()).await;
    let mut tx = begun.unwrap();
    assert!(closing::shred(&mut tx).await.is_err());
    let manager = world.caller(0, "manager").await;
    let begun = world.app.tenancy.begin(&manager, world.facts()).await;
    let mut tx = begun.unwrap();
    assert!(closing::ask(&mut tx).await.is_err());
}
