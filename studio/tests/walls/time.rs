//! An artist's time: taken once, by whoever was first.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::world::World;

const FROM: &str = "2031-03-03T09:00:00Z";
const TO: &str = "2031-03-03T17:00:00Z";

/// Sends many requests at once; gives the answers in the order of the requests.
async fn at_once(world: &Arc<World>, requests: Vec<(String, Option<Value>)>) -> Vec<(u16, Value)> {
    let mut tasks = tokio::task::JoinSet::new();
    for (at, (path, body)) in requests.into_iter().enumerate() {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            let token = world.token(0, "manager");
            (at, world.send("POST", &path, &token, body).await)
        });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn count(answers: &[(u16, Value)], wanted: u16) -> usize {
    let of = answers.iter().filter(|(status, _)| *status == wanted);
    of.count()
}

async fn blocking(world: &World) -> i64 {
    world
        .as_admin()
        .await
        .value("SELECT count(*) FROM studio.occupancy WHERE blocks", &[])
        .await
        .unwrap()
}

/// Options have an order: only the first of them can win.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_pencils_that_are_confirmed_at_once_the_first_in_rank_wins() {
    let world = Arc::new(World::new().await);
    let mut paths = Vec::new();
    for _ in 0..200 {
        let id = world.pencil(0, 0, FROM, TO).await;
        paths.push((format!("/v1/bookings/{id}/confirm"), None));
    }
    let started = std::time::Instant::now();
    let answers = at_once(&world, paths).await;
    let took = started.elapsed();
    assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 199));
    assert_eq!(answers[0].0, 200, "the first option is the one that wins");
    for (_, told) in &answers[1..] {
        let slug = told["type"].as_str().unwrap();
        assert!(
            ["/problems/double-booking", "/problems/earlier-option"].contains(&slug),
            "{told}"
        );
        assert!(!told["conflicts"].as_array().unwrap().is_empty());
    }
    assert_eq!(blocking(&world).await, 1);
    // Seconds on an idle machine; the bound is for what waits for a lock that never comes.
    assert!(took.as_secs() < 60, "{took:?}");
    println!("200 confirmations of pencils: 1 won, 199 told, {took:?}");
}

/// Holds have none: whoever comes first wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_holds_that_are_confirmed_at_once_one_wins_and_the_rest_are_told() {
    let world = Arc::new(World::new().await);
    let hold = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "starts_at": FROM, "ends_at": TO });
    let made = vec![("/v1/bookings".to_owned(), Some(hold)); 200];
    let holds = at_once(&world, made).await;
    assert_eq!(count(&holds, 201), 200);
    let paths = holds.iter().map(|(_, hold)| {
        let id = hold["id"].as_str().unwrap();
        (format!("/v1/bookings/{id}/confirm"), None)
    });
    let started = std::time::Instant::now();
    let answers = at_once(&world, paths.collect()).await;
    let took = started.elapsed();
    assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 199));
    let told = answers.iter().find(|(status, _)| *status == 409).unwrap();
    assert_eq!(told.1["type"], "/problems/double-booking");
    assert_eq!(told.1["conflicts"].as_array().unwrap().len(), 1);
    assert_eq!(blocking(&world).await, 1);
    // Seconds on an idle machine; the bound is for what waits for a lock that never comes.
    assert!(took.as_secs() < 60, "{took:?}");
    println!("200 confirmations of holds: 1 won, 199 told, {took:?}");
}

// asvs: V2.3.4 V15.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_bookings_that_are_made_confirmed_at_once_one_wins() {
    let world = Arc::new(World::new().await);
    let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "state": "confirmed", "starts_at": FROM, "ends_at": TO });
    let answers = at_once(&world, vec![("/v1/bookings".to_owned(), Some(body)); 200]).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 199));
    assert_eq!(blocking(&world).await, 1);
}

#[tokio::test]
async fn the_constraint_refuses_a_double_booking_that_the_code_let_through() {
    let world = World::new().await;
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let confirm = "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at,
           slice_starts, slice_ends, deed)
         SELECT tenancy.tenant_id(), gen_random_uuid(), $3, $1, $2, 'confirmed', s, e, ARRAY[s], ARRAY[e], 'create'
         FROM (SELECT timestamptz '2031-01-01' AS s, timestamptz '2031-01-02' AS e) t";
    let (artist, project) = (world.studios[0].artists[0], world.studios[0].projects[0]);
    raw.run(confirm, &[&artist, &project, &"one"])
        .await
        .unwrap();
    let second = raw.run(confirm, &[&artist, &project, &"two"]).await;
    let second = second.unwrap_err();
    assert_eq!(watertight_tenancy::support::state(&second), "23P01");
}

/// What an artist has is kept by triggers alone: the app role itself writes neither it nor a history.
#[tokio::test]
async fn sql_as_the_app_role_takes_no_time_and_writes_no_history() {
    let world = World::new().await;
    world.pencil(0, 0, FROM, TO).await;
    for sql in [
        "INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, blocks, state, since)
         SELECT tenant_id, gen_random_uuid(), artist_id, slice, kind, source_id, true, 'confirmed', since FROM studio.occupancy",
        "UPDATE studio.occupancy SET blocks = true",
        "DELETE FROM studio.occupancy",
        "INSERT INTO studio.booking_versions SELECT * FROM studio.booking_versions",
        "UPDATE studio.booking_versions SET actor = 'somebody else'",
        "DELETE FROM studio.booking_versions",
        "SELECT jobs.schedule(tenancy.tenant_id(), 'holds', now())",
        "SELECT studio.occupy(tenancy.tenant_id(), NULL, 'booking', NULL, now(), 'hold', false, '{}', '{}')",
        "SELECT * FROM jobs.due",
    ] {
        let raw = world.as_app().await;
        raw.script("BEGIN").await.unwrap();
        raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
            .await
            .unwrap();
        let refused = raw.run(sql, &[]).await.unwrap_err();
        assert_eq!(
            watertight_tenancy::support::state(&refused),
            "42501",
            "{sql}"
        );
    }
    // Nor may a statement shed its context before the triggers run, to be nobody's in the history.
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let shed =
        "UPDATE studio.bookings SET title = 'x' RETURNING set_config('tenancy.sealed', '', true)";
    let refused = raw.run(shed, &[]).await.unwrap_err();
    assert_eq!(watertight_tenancy::support::state(&refused), "ZT002");
    // Work is claimed with the server's signature only.
    let raw = world.as_app().await;
    for sql in [
        "SELECT jobs.claim('j1|1|50|30|9999999999|00|00')",
        "SELECT jobs.done('j2|1|00000000-0000-0000-0000-000000000000|holds|0|9999999999|00|00')",
    ] {
        let refused = raw.run(sql, &[]).await.unwrap_err();
        assert_eq!(
            watertight_tenancy::support::state(&refused),
            "ZT002",
            "{sql}"
        );
    }
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
    let slice = |from: &str, to: &str| json!({ "starts_at": from, "ends_at": to });
    let days = |from: &str, to: &str| json!({ "from": { "date": from }, "to": { "date": to } });
    let many: Vec<Value> = (0..101)
        .map(|day| {
            let at = jiff::Timestamp::from_second(1_900_000_000 + day * 86_400).unwrap();
            let to = jiff::Timestamp::from_second(1_900_003_600 + day * 86_400).unwrap();
            slice(&at.to_string(), &to.to_string())
        })
        .collect();
    let half = |part: &str| json!({ "date": "2031-03-03", "part": part });
    for (window, status, pointer) in [
        (slice(FROM, FROM), 422, "/ends_at"),
        (slice(TO, FROM), 422, "/ends_at"),
        (
            slice("2031-01-01T00:00:00Z", "2033-01-03T00:00:01Z"),
            422,
            "/ends_at",
        ),
        (
            slice("9999-01-01T00:00:00Z", "9999-01-02T00:00:00Z"),
            422,
            "/starts_at",
        ),
        (
            slice("2031-02-30T00:00:00Z", "2031-03-01T00:00:00Z"),
            400,
            "/starts_at",
        ),
        (slice("2031-03-30T02:30:00", TO), 400, "/starts_at"),
        (slice("tomorrow", TO), 400, "/starts_at"),
        (json!({}), 422, "/starts_at"),
        (json!({ "starts_at": FROM }), 422, "/ends_at"),
        (json!({ "from": { "date": "2031-03-03" } }), 422, "/to"),
        (
            json!({ "starts_at": FROM, "ends_at": TO, "slices": [slice(FROM, TO)] }),
            422,
            "/starts_at",
        ),
        (days("2031-03-04", "2031-03-03"), 422, "/to"),
        (days("2031-01-01", "2034-01-01"), 422, "/to"),
        (days("9999-01-01", "9999-01-01"), 422, "/from/date"),
        (days("2031-02-29", "2031-03-01"), 400, "/from/date"),
        (json!({ "from": half("pm"), "to": half("am") }), 422, "/to"),
        (
            json!({ "from": half("noon"), "to": half("pm") }),
            400,
            "/from/part",
        ),
        (json!({ "slices": [] }), 422, "/slices"),
        (json!({ "slices": many }), 422, "/slices"),
        (
            json!({ "slices": [slice(FROM, TO), slice(FROM, TO)] }),
            422,
            "/slices/1",
        ),
        (json!({ "slices": [slice(TO, FROM)] }), 422, "/slices/0"),
    ] {
        let mut body = window.clone();
        body["artist_id"] = json!(world.studios[0].artists[0]);
        body["project_id"] = json!(world.studios[0].projects[0]);
        let (answered, problem) = world.send("POST", "/v1/bookings", &owner, Some(body)).await;
        assert_eq!(answered, status, "{window}: {problem}");
        assert_eq!(
            problem["errors"][0]["pointer"], pointer,
            "{window}: {problem}"
        );
    }
}

/// A day is as long as it is in the studio's zone, and what its clocks skip is refused by name.
#[tokio::test]
async fn days_and_halves_of_days_follow_the_clocks_of_berlin_new_york_and_lord_howe() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    let owner = world.token(0, "owner");
    admin
        .script(&format!(
            "UPDATE studio.settings SET am_from = '01:45', am_to = '02:15', pm_from = '14:00', pm_to = '18:00'
             WHERE tenant_id = '{}'",
            world.studios[0].tenant
        ))
        .await
        .unwrap();
    let book = async |from: Value, to: Value| {
        let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
            "from": from, "to": to });
        world.send("POST", "/v1/bookings", &owner, Some(body)).await
    };
    let minutes = |booking: &Value| {
        let at = |field: &str| {
            booking[field]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap()
        };
        at("ends_at").duration_since(at("starts_at")).as_mins()
    };
    // The day on which they go forward, its length; the day on which they go back, its length, and how
    // long its morning is from 01:45 to 02:15.
    for (zone, forward, short, back, long, morning) in [
        (
            "Europe/Berlin",
            "2031-03-30",
            23 * 60,
            "2031-10-26",
            25 * 60,
            90,
        ),
        (
            "America/New_York",
            "2031-03-09",
            23 * 60,
            "2031-11-02",
            25 * 60,
            90,
        ),
        (
            "Australia/Lord_Howe",
            "2031-10-05",
            23 * 60 + 30,
            "2031-04-06",
            24 * 60 + 30,
            60,
        ),
    ] {
        admin
            .run("UPDATE tenancy.studios SET zone = $1", &[&zone])
            .await
            .unwrap();
        let day = |date: &str| json!({ "date": date });
        let half = |date: &str, part: &str| json!({ "date": date, "part": part });
        for (date, length) in [(forward, short), (back, long), ("2031-06-10", 24 * 60)] {
            let (status, booking) = book(day(date), day(date)).await;
            assert_eq!((status, minutes(&booking)), (201, length), "{zone} {date}");
            assert_eq!((&booking["from"], &booking["to"]), (&day(date), &day(date)));
        }
        let (status, problem) = book(half(forward, "pm"), half(forward, "pm")).await;
        assert_eq!((status, minutes(&problem)), (201, 240), "{zone}: {problem}");
        let (status, problem) = book(half(forward, "am"), half(forward, "am")).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/to")),
            "{zone}: {problem}"
        );
        let said = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(
            said.contains("02:15") && said.contains(zone) && said.contains(forward),
            "{said}"
        );
        let (status, booking) = book(half(back, "am"), half(back, "am")).await;
        assert_eq!((status, minutes(&booking)), (201, morning), "{zone} {back}");
        // A move by days keeps days.
        let path = format!("/v1/bookings/{}", booking["id"].as_str().unwrap());
        let to = json!({ "to": half(back, "pm") });
        let (status, moved) = world.send("PATCH", &path, &owner, Some(to)).await;
        assert_eq!(
            (status, &moved["from"], &moved["to"]),
            (200, &half(back, "am"), &half(back, "pm"))
        );
    }
}

#[tokio::test]
async fn time_off_excludes_as_a_confirmed_booking_does_and_freelancers_enter_none() {
    let world = World::new().await;
    let (owner, freelancer) = (world.token(0, "owner"), world.token(0, "freelancer"));
    let artist = world.studios[0].artists[0];
    let away = json!({ "artist_id": artist, "from": { "date": "2031-03-03" }, "to": { "date": "2031-03-05" }, "notes": "holiday" });
    let path = "/v1/time-off";
    assert_eq!(
        world
            .send("POST", path, &freelancer, Some(away.clone()))
            .await
            .0,
        403
    );
    let id = world.pencil(0, 0, FROM, TO).await;
    let (status, off) = world.send("POST", path, &owner, Some(away.clone())).await;
    assert_eq!(
        (status, off["starts_at"].as_str()),
        (201, Some("2031-03-02T23:00:00Z")),
        "{off}"
    );
    // It lies over the option, which cannot be confirmed now, and over no second absence.
    let confirm = format!("/v1/bookings/{id}/confirm");
    let (status, told) = world.send("POST", &confirm, &owner, None).await;
    assert_eq!(
        (status, told["type"].as_str()),
        (409, Some("/problems/double-booking"))
    );
    assert_eq!(told["conflicts"][0]["state"], "time_off");
    assert_eq!(told["conflicts"][0].get("booking_id"), None);
    assert_eq!(world.send("POST", path, &owner, Some(away)).await.0, 409);
    // Its artist sees it, the other studio and a guest do not; archived it gives the time back.
    let one = format!("{path}/{}", off["id"].as_str().unwrap());
    assert_eq!(world.send("GET", &one, &freelancer, None).await.0, 200);
    assert_eq!(
        world
            .send("GET", &one, &world.token(1, "owner"), None)
            .await
            .0,
        404
    );
    assert_eq!(
        world
            .send("GET", &one, &world.token(0, "guest"), None)
            .await
            .0,
        403
    );
    let shorter = json!({ "to": { "date": "2031-03-04" } });
    assert_eq!(
        world.send("PATCH", &one, &owner, Some(shorter)).await.0,
        200
    );
    assert_eq!(world.send("DELETE", &one, &owner, None).await.0, 204);
    assert_eq!(
        world
            .send("PATCH", &one, &owner, Some(json!({ "notes": "x" })))
            .await
            .0,
        409
    );
    assert_eq!(world.send("POST", &confirm, &owner, None).await.0, 200);
}

#[tokio::test]
async fn a_booking_in_slices_takes_its_slices_and_nothing_between_them() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let slice = |day: u32| json!({ "starts_at": format!("2031-06-{day:02}T08:00:00Z"), "ends_at": format!("2031-06-{day:02}T16:00:00Z") });
    let book = async |state: &str, slices: Vec<Value>| {
        let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
            "state": state, "slices": slices });
        world.send("POST", "/v1/bookings", &owner, Some(body)).await
    };
    let (status, mondays) = book("confirmed", vec![slice(2), slice(9), slice(16)]).await;
    assert_eq!(
        (status, mondays["slices"].as_array().unwrap().len()),
        (201, 3)
    );
    assert_eq!(
        (&mondays["starts_at"], &mondays["ends_at"]),
        (&slice(2)["starts_at"], &slice(16)["ends_at"])
    );
    assert_eq!(book("confirmed", vec![slice(3), slice(10)]).await.0, 201);
    assert_eq!(book("confirmed", vec![slice(4), slice(9)]).await.0, 409);
    assert_eq!(blocking(&world).await, 5);
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
