//! What keeps a brake from being pulled, and what it leaves: a process that was killed or hangs, somebody who holds the
//! studio's row, cookies of before.

use std::time::Duration;

use crate::{
    on_duty::Operators, process::Process, world::World,
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
