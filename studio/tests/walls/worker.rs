//! What the clock does: whole or not at all, once, as the studio's own service, whoever dies.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use studio::jobs::{Pace, work_until};

use crate::world::World;

const FAST: Pace = Pace {
    poll_ms: 20,
    lease_s: 1,
};

/// A worker in a process of its own, from the binary that operators run.
fn spawn(world: &World) -> Child {
    spawn_with(world, &[])
}

/// The same, with these in its environment.
pub(crate) fn spawn_with(world: &World, environment: &[(&str, String)]) -> Child {
    let config = world.config.keys.location.with_file_name("studio.toml");
    Command::new(env!("CARGO_BIN_EXE_studio"))
        .arg("--config")
        .arg(config)
        .args(["work", "--poll-ms", "20", "--lease-s", "1"])
        .env("STUDIO_LOG", "warn")
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A worker in this process, until `sql` counts nothing any more.
async fn work_until_none(world: &World, sql: &str) {
    let raw = world.as_admin().await;
    let none_left = async {
        let started = Instant::now();
        while raw.value::<i64>(sql, &[]).await.unwrap() > 0 {
            assert!(started.elapsed().as_secs() < 20, "{sql}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    work_until(&world.app, FAST, none_left).await;
}

async fn book(world: &World, studio: usize, state: &str, day: usize) -> String {
    let body = json!({
        "artist_id": world.studios[studio].artists[0], "project_id": world.studios[studio].projects[0], "state": state,
        "starts_at": format!("2031-{:02}-{:02}T08:00:00Z", 1 + day / 28, 1 + day % 28),
        "ends_at": format!("2031-{:02}-{:02}T16:00:00Z", 1 + day / 28, 1 + day % 28),
    });
    let (status, booking) = world
        .send(
            "POST",
            "/v1/bookings",
            &world.token(studio, "owner"),
            Some(body),
        )
        .await;
    assert_eq!(status, 201, "{booking}");
    booking["id"].as_str().unwrap().to_owned()
}

async fn get(world: &World, studio: usize, id: &str) -> Value {
    let path = format!("/v1/bookings/{id}");
    world
        .send("GET", &path, &world.token(studio, "owner"), None)
        .await
        .1
}

/// Lets the time of every hold and challenge come, as if a day had passed.
async fn time_passes(world: &World) {
    world
        .as_admin()
        .await
        .script(
            "UPDATE studio.bookings SET version = version + 1, deed = 'wait', expires_at = now() - interval '1 second' WHERE state = 'hold';
             UPDATE studio.bookings SET version = version + 1, deed = 'wait', answer_by = now() - interval '1 second' WHERE answer_by IS NOT NULL",
        )
        .await
        .unwrap();
}

const UNDONE: &str =
    "SELECT count(*) FROM studio.bookings WHERE state = 'hold' OR answer_by IS NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    let world = World::new().await;
    let mut challengers = Vec::new();
    for studio in 0..2 {
        for day in 0..40 {
            book(&world, studio, "hold", day).await;
        }
        for day in 40..60 {
            book(&world, studio, "pencil", day).await;
            let second = book(&world, studio, "pencil", day).await;
            let path = format!("/v1/bookings/{second}/challenge");
            let (status, told) = world
                .send("POST", &path, &world.token(studio, "owner"), None)
                .await;
            assert_eq!(status, 200, "{told}");
            challengers.push((studio, second));
        }
    }
    time_passes(&world).await;
    let raw = world.as_admin().await;
    let undone = async || raw.value::<i64>(UNDONE, &[]).await.unwrap();
    assert_eq!(undone().await, 120);
    let (mut left, mut kills) = (120, 0);
    while left > 0 {
        let mut worker = spawn(&world);
        let started = Instant::now();
        // Killed in the middle: as soon as some more of it is done.
        loop {
            let now = undone().await;
            if now == 0 || now <= left - 13 {
                left = now;
                break;
            }
            assert!(started.elapsed().as_secs() < 30, "{now} of {left} are left");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 3, "it was killed while it worked: {kills}");
    // Each once: in the state, in the history, in its own studio's ledger, under the service's name.
    for (what, expected, sql) in [
        ("holds released", 80, "SELECT count(*) FROM studio.bookings WHERE state = 'released' AND reason = 'the hold ran out' AND ended_by = 'service:expiry'"),
        ("expiries in the history", 80, "SELECT count(*) FROM studio.booking_versions WHERE deed = 'expire' AND actor = 'service:expiry' AND actor_role = 'service'"),
        ("expiries of different holds", 80, "SELECT count(DISTINCT source_id) FROM studio.booking_versions WHERE deed = 'expire'"),
        ("challenges that lapsed", 40, "SELECT count(*) FROM studio.booking_versions WHERE deed = 'lapse' AND state = 'released'"),
        ("different ones", 40, "SELECT count(DISTINCT source_id) FROM studio.booking_versions WHERE deed = 'lapse'"),
        ("entries", 120, "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' IN ('booking.expire', 'booking.lapse') AND body ->> 'actor' = 'service:expiry'"),
        ("entries in the right studio", 120, "SELECT count(*) FROM ledger.entries e JOIN studio.bookings b ON b.tenant_id = e.tenant_id AND b.id::text = e.body -> 'ids' ->> 0
           WHERE e.body ->> 'action' IN ('booking.expire', 'booking.lapse')"),
        ("time of what was released", 0, "SELECT count(*) FROM studio.occupancy o JOIN studio.bookings b ON b.id = o.source_id WHERE b.state = 'released'"),
    ] {
        assert_eq!(raw.value::<i64>(sql, &[]).await.unwrap(), expected, "{what}");
    }
    // Those who asked have moved up, and may confirm.
    for (studio, second) in challengers.iter().step_by(7) {
        assert_eq!(get(&world, *studio, second).await["rank"], 1);
        let path = format!("/v1/bookings/{second}/confirm");
        assert_eq!(
            world
                .send("POST", &path, &world.token(*studio, "owner"), None)
                .await
                .0,
            200
        );
    }
    println!("120 bookings were ended over {kills} kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_at_the_same_work_do_it_once_and_what_was_done_is_forgotten() {
    let world = World::new().await;
    for day in 0..20 {
        book(&world, day % 2, "hold", day).await;
    }
    time_passes(&world).await;
    tokio::join!(
        work_until_none(&world, UNDONE),
        work_until_none(&world, UNDONE),
        work_until_none(&world, UNDONE)
    );
    work_until_none(
        &world,
        "SELECT count(*) FROM jobs.due WHERE due_at <= now()",
    )
    .await;
    let raw = world.as_admin().await;
    let done: i64 = raw
        .value(
            "SELECT count(*) FROM studio.booking_versions WHERE deed = 'expire'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(done, 20);
    // What is not due yet stays scheduled: the first half hour of each.
    let waiting: i64 = raw
        .value(
            "SELECT count(*) FROM jobs.due WHERE kind <> 'retention'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(waiting, 20);
}

#[tokio::test]
async fn a_frozen_studios_work_waits_and_the_others_is_done() {
    let world = World::new().await;
    let (frozen, other) = (
        book(&world, 0, "hold", 1).await,
        book(&world, 1, "hold", 1).await,
    );
    let admin = world.as_admin().await;
    let status = async |status: &str| {
        admin
            .run(
                "UPDATE tenancy.studios SET status = $1 WHERE tenant_id = $2",
                &[&status, &world.studios[0].tenant],
            )
            .await
            .unwrap();
    };
    status("frozen").await;
    time_passes(&world).await;
    let of_the_other =
        format!("SELECT count(*) FROM studio.bookings WHERE id = '{other}' AND state = 'hold'");
    work_until_none(&world, &of_the_other).await;
    let claimed: i64 = admin
        .value(
            "SELECT count(*) FROM jobs.due WHERE tenant_id = $1 AND claimed_until IS NOT NULL",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    assert_eq!(claimed, 0, "it is not even claimed");
    status("active").await;
    assert_eq!(get(&world, 0, &frozen).await["state"], "hold");
    work_until_none(&world, UNDONE).await;
    assert_eq!(get(&world, 0, &frozen).await["state"], "released");
}

#[tokio::test]
async fn a_hold_that_was_extended_and_a_challenge_whose_challenger_left_end_nothing() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let act = async |id: &str, action: &str| {
        let path = format!("/v1/bookings/{id}/{action}");
        assert_eq!(
            world.send("POST", &path, &owner, None).await.0,
            200,
            "{action}"
        );
    };
    let (first, second) = (
        book(&world, 0, "pencil", 5).await,
        book(&world, 0, "pencil", 5).await,
    );
    act(&second, "challenge").await;
    act(&second, "release").await;
    let hold = book(&world, 0, "hold", 6).await;
    time_passes(&world).await;
    // Work on it came before the worker did.
    act(&hold, "extend").await;
    work_until_none(
        &world,
        "SELECT count(*) FROM jobs.due WHERE due_at <= now()",
    )
    .await;
    assert_eq!(get(&world, 0, &hold).await["state"], "hold");
    let first = get(&world, 0, &first).await;
    assert_eq!(
        (&first["state"], &first["challenge"], &first["rank"]),
        (&json!("pencil"), &Value::Null, &json!(1))
    );
}

#[tokio::test]
async fn a_service_that_the_studio_switched_off_does_nothing() {
    let world = World::new().await;
    let (off, on) = (
        book(&world, 0, "hold", 1).await,
        book(&world, 1, "hold", 1).await,
    );
    let admin = world.as_admin().await;
    admin
        .run(
            "UPDATE tenancy.services SET enabled = false WHERE tenant_id = $1",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    time_passes(&world).await;
    let of_the_other =
        format!("SELECT count(*) FROM studio.bookings WHERE id = '{on}' AND state = 'hold'");
    work_until_none(&world, &of_the_other).await;
    assert_eq!(get(&world, 0, &off).await["state"], "hold");
}
