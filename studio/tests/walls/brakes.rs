//! What keeps a brake from being pulled, and what it leaves: a process that was killed or hangs, somebody who holds the
//! studio's row, cookies of before.

use std::time::{Duration, Instant};

use uuid::Uuid;
use watertight_tenancy::Call;

use crate::{
    freeze::{freeze, operator, report, thaw},
    on_duty::{Operators, member_id},
    pages::Page,
    process::Process,
    world::World,
};

/// The processes that the database knows.
async fn processes(world: &World) -> Vec<String> {
    let sql = "SELECT coalesce(array_agg(id::text), '{}') FROM tenancy.processes";
    world.as_admin().await.value(sql, &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_process_that_was_killed_and_came_back() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let killed = Process::serve(&world).await;
    while processes(&world).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = processes(&world).await;
    drop(killed);
    let _again = Process::serve(&world).await;
    while processes(&world).await == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = operators.open(&["--emergency"]).await;
    let said = operators.done(0, &["freeze", "--incident", &id]).await;
    assert!(said["took_ms"].as_u64().unwrap() < 5_000, "{said}");
    assert_eq!(said["silent"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hangs_is_named_whoever_begins_beside_it() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let hanging = Process::serve(&world).await;
    while processes(&world).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let silent = processes(&world).await;
    hanging.signal("STOP");
    let _beside = Process::serve(&world).await;
    while processes(&world).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = operators.open(&["--emergency"]).await;
    let said = operators.run(0, &["freeze", "--incident", &id]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let named = said.value["silent"].as_array().unwrap();
    let named: Vec<&str> = named
        .iter()
        .map(|one| one["process"].as_str().unwrap())
        .collect();
    assert_eq!(named, silent);
}

/// An owner's transaction that has changed the studio's row, and never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_the_studios_row_does_not_keep_the_brake_from_being_pulled() {
    let world = World::new().await;
    let [holder, other] = [world.as_app().await, world.as_app().await];
    for (studio, raw) in [(0, &holder), (1, &other)] {
        raw.script("BEGIN").await.unwrap();
        raw.run(
            "SELECT tenancy.enter($1)",
            &[&world.context(studio, "owner")],
        )
        .await
        .unwrap();
        raw.script(
            "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0;
             SELECT tenancy.choose('another name', NULL, NULL)",
        )
        .await
        .unwrap();
    }
    let began = Instant::now();
    let frozen = tokio::time::timeout(Duration::from_secs(10), freeze(&world, 0));
    frozen
        .await
        .expect("the brake waits for whoever holds the row");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(holder.script("SELECT 1").await.is_err());
    other.script("COMMIT").await.unwrap();
    let status = "SELECT status FROM tenancy.studios WHERE tenant_id = $1";
    let raw = world.as_admin().await;
    let status: String = raw
        .value(status, &[&world.studios[0].tenant])
        .await
        .unwrap();
    assert_eq!(status, "frozen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_of_before_a_freeze_are_dead_after_it_and_others_are_not() {
    let world = World::new().await;
    let pages = [
        Page::of(&world, 0, "owner").await,
        Page::of(&world, 1, "owner").await,
    ];
    let status = async |page: &Page<'_>| page.get("/ui/bookings").await.status;
    for page in &pages {
        assert_eq!(status(page).await, 200);
    }
    let (incident, _) = freeze(&world, 0).await;
    thaw(&world, 0, incident).await;
    assert_eq!(
        status(&pages[0]).await,
        303,
        "the cookie of before the freeze"
    );
    assert_eq!(status(&pages[1]).await, 200, "of another studio");
    let again = Page::of(&world, 0, "owner").await;
    assert_eq!(status(&again).await, 200, "a new one");

    // Of one member alone.
    let manager = Page::of(&world, 0, "manager").await;
    assert_eq!(status(&manager).await, 200);
    let operators = Operators::of(&world).await;
    let id = operators.open(&["--emergency"]).await;
    let member = member_id(&world, "manager").await;
    operators
        .done(0, &["freeze", "--incident", &id, "--member", &member])
        .await;
    operators
        .done(0, &["thaw", "--incident", &id, "--override", "a drill"])
        .await;
    assert_eq!(
        status(&manager).await,
        303,
        "the cookie of before the isolation"
    );
    assert_eq!(status(&again).await, 200, "of another member");
}

/// Whoever isolates and is cut off before the second call has left an entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolation_of_a_part_is_an_entry_before_it_is_drained() {
    const ISOLATE: Call =
        Call::new("SELECT incident.isolate($1, $2, NULL, NULL, '192.0.2.9') AS isolation");
    let world = World::new().await;
    let incident: Uuid = report(&world, 0).await;
    let tenant = world.studios[0].tenant;
    let isolated = operator(&world).await;
    isolated
        .call(ISOLATE, &[&tenant, &incident], |_| None)
        .await
        .unwrap();
    let sql = "SELECT count(*) FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'action' = 'incident.isolate'";
    let raw = world.as_admin().await;
    for (studio, expected) in [(0, 1), (1, 0)] {
        let tenant = world.studios[studio].tenant;
        let entries: i64 = raw.value(sql, &[&tenant]).await.unwrap();
        assert_eq!(entries, expected, "{studio}");
    }
}
