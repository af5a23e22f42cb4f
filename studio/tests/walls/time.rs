//! An artist's time: taken once, by whoever was first.

use std::sync::Arc;

use serde_json::json;

use crate::world::World;

const FROM: &str = "2031-03-03T09:00:00Z";
const TO: &str = "2031-03-03T17:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_parallel_confirmations_one_wins_and_the_rest_are_told() {
    let world = Arc::new(World::new().await);
    let mut pencils = Vec::new();
    for _ in 0..200 {
        pencils.push(world.pencil(0, 0, FROM, TO).await);
    }
    let started = std::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for id in pencils {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let path = format!("/v1/bookings/{id}/confirm");
            world
                .send("POST", &path, &world.token(0, "manager"), None)
                .await
        });
    }
    let answers = tasks.join_all().await;
    let of = |wanted: u16| {
        answers
            .iter()
            .filter(|(status, _)| *status == wanted)
            .count()
    };
    assert_eq!(
        (of(200), of(409)),
        (1, 199),
        "{:?}",
        answers.iter().map(|(s, _)| s).collect::<Vec<_>>()
    );
    let told = answers.iter().find(|(status, _)| *status == 409).unwrap();
    assert_eq!(told.1["type"], "/problems/double-booking");
    assert_eq!(told.1["conflicts"].as_array().unwrap().len(), 1);
    let blocking: i64 = world
        .as_admin()
        .await
        .value("SELECT count(*) FROM studio.occupancy WHERE blocks", &[])
        .await
        .unwrap();
    assert_eq!(blocking, 1);
    println!(
        "200 confirmations: 1 won, 199 told, {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn the_constraint_refuses_a_double_booking_that_the_code_let_through() {
    let world = World::new().await;
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let take = "INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, blocks)
                VALUES (tenancy.tenant_id(), gen_random_uuid(), $1, '[2031-01-01, 2031-01-02)', 'booking', gen_random_uuid(), true)";
    let artist = world.studios[0].artists[0];
    raw.run(take, &[&artist]).await.unwrap();
    let second = raw.run(take, &[&artist]).await.unwrap_err();
    assert_eq!(watertight_tenancy::support::state(&second), "23P01");
}

#[tokio::test]
async fn a_booking_goes_from_pencil_to_confirmed_to_cancelled_and_gives_its_time_back() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let (first, second) = (
        world.pencil(0, 0, FROM, TO).await,
        world.pencil(0, 0, FROM, TO).await,
    );
    let act = async |id: &str, action: &str| {
        world
            .send("POST", &format!("/v1/bookings/{id}/{action}"), &owner, None)
            .await
            .0
    };
    assert_eq!(act(&first, "confirm").await, 200);
    assert_eq!(act(&first, "confirm").await, 409);
    assert_eq!(act(&second, "confirm").await, 409);
    let body = json!({ "reason": "the client moved", "payable": true });
    let (status, booking) = world
        .send(
            "POST",
            &format!("/v1/bookings/{first}/cancel"),
            &owner,
            Some(body),
        )
        .await;
    assert_eq!((status, &booking["state"]), (200, &json!("cancelled")));
    assert_eq!(act(&first, "cancel").await, 409);
    assert_eq!(act(&second, "confirm").await, 200);
    // The same window is free in the other studio: its artists are its own.
    let other = world.pencil(1, 0, FROM, TO).await;
    let path = format!("/v1/bookings/{other}/confirm");
    assert_eq!(
        world
            .send("POST", &path, &world.token(1, "owner"), None)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn moving_a_confirmed_booking_takes_the_new_time_and_gives_back_the_old() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let (moved, later) = (
        world.pencil(0, 0, FROM, TO).await,
        world
            .pencil(0, 0, "2031-03-04T09:00:00Z", "2031-03-04T17:00:00Z")
            .await,
    );
    for id in [&moved, &later] {
        assert_eq!(
            world
                .send("POST", &format!("/v1/bookings/{id}/confirm"), &owner, None)
                .await
                .0,
            200
        );
    }
    let to = |from: &str, to: &str| Some(json!({ "starts_at": from, "ends_at": to }));
    let path = format!("/v1/bookings/{moved}");
    assert_eq!(
        world
            .send(
                "PATCH",
                &path,
                &owner,
                to("2031-03-04T10:00:00Z", "2031-03-04T11:00:00Z")
            )
            .await
            .0,
        409
    );
    assert_eq!(
        world
            .send(
                "PATCH",
                &path,
                &owner,
                to("2031-03-05T09:00:00Z", "2031-03-05T17:00:00Z")
            )
            .await
            .0,
        200
    );
    // And back again over its own former time.
    assert_eq!(
        world.send("PATCH", &path, &owner, to(FROM, TO)).await.0,
        200
    );
    // Half-open: one may begin when the other ends.
    let next = world.pencil(0, 0, TO, "2031-03-03T18:00:00Z").await;
    assert_eq!(
        world
            .send(
                "POST",
                &format!("/v1/bookings/{next}/confirm"),
                &owner,
                None
            )
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn windows_that_cannot_be_are_refused_with_the_reason() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let artist = world.studios[0].artists[0];
    for (from, to, status) in [
        (FROM, FROM, 422),
        (TO, FROM, 422),
        ("2031-01-01T00:00:00Z", "2035-01-01T00:00:00Z", 422),
        ("9999-01-01T00:00:00Z", "9999-01-02T00:00:00Z", 422),
        ("2031-02-30T00:00:00Z", "2031-03-01T00:00:00Z", 400),
        ("tomorrow", TO, 400),
    ] {
        let body = json!({ "artist_id": artist, "starts_at": from, "ends_at": to });
        let (answered, problem) = world.send("POST", "/v1/bookings", &owner, Some(body)).await;
        assert_eq!(answered, status, "{from} to {to}: {problem}");
        assert!(!problem["errors"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_archived_booking_stays_out_of_time_and_one_of_an_archived_artist_can_be_moved_away() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let id = world.pencil(0, 0, FROM, TO).await;
    let path = format!("/v1/bookings/{id}");
    assert_eq!(
        world
            .send("POST", &format!("{path}/confirm"), &owner, None)
            .await
            .0,
        200
    );
    // Its artist leaves; the booking goes to another.
    let artist = |at: usize| world.studios[0].artists[at];
    let leaves = format!("/v1/artists/{}", artist(0));
    assert_eq!(world.send("DELETE", &leaves, &owner, None).await.0, 204);
    let to = |at: usize| Some(json!({ "artist_id": artist(at) }));
    assert_eq!(world.send("PATCH", &path, &owner, to(1)).await.0, 200);
    assert_eq!(world.send("PATCH", &path, &owner, to(0)).await.0, 422);
    // Archived, it gives its time back and takes none again.
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    assert_eq!(
        world
            .send("PATCH", &path, &owner, Some(json!({ "title": "x" })))
            .await
            .0,
        409
    );
    let next = world.pencil(0, 1, FROM, TO).await;
    assert_eq!(
        world
            .send(
                "POST",
                &format!("/v1/bookings/{next}/confirm"),
                &owner,
                None
            )
            .await
            .0,
        200
    );
}
