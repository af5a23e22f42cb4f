//! Time as studios count it: holidays, own hours, series, moves and cuts, by the studio's clocks.

use serde_json::{Value, json};

use crate::{
    bookings::{book, path_of, send},
    world::World,
};

async fn post(world: &World, path: &str, body: Value) -> (u16, Value) {
    send(world, "manager", "POST", path, Some(body)).await
}

/// The starts of the stretches that are free next.
async fn free(world: &World, artist: usize, from: &str, to: &str) -> Vec<String> {
    let body = json!({ "artist_ids": [world.studios[0].artists[artist]], "min_minutes": 60,
        "window": { "starts_at": from, "ends_at": to } });
    let (status, answer) = post(world, "/v1/bookings/check-availability", body).await;
    assert_eq!(status, 200, "{answer}");
    let stretches = answer["items"][0]["next_free"].as_array().unwrap().iter();
    stretches
        .map(|stretch| stretch["starts_at"].as_str().unwrap().to_owned())
        .collect()
}

fn series(world: &World, more: Value) -> Value {
    let mut body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "state": "confirmed", "weekdays": ["tue", "thu"], "from": "2031-03-24", "until": "2031-04-04" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn nothing_is_free_on_a_holiday_or_outside_an_artists_own_hours() {
    let world = World::new().await;
    let (from, to) = ("2031-05-01T00:00:00Z", "2031-05-05T00:00:00Z");
    assert_eq!(free(&world, 0, from, to).await, [from], "around the clock");
    let holiday = json!({ "day": "2031-05-01", "name": "Labour Day" });
    let (status, made) = post(&world, "/v1/holidays", holiday.clone()).await;
    assert_eq!((status, &made["day"]), (201, &json!("2031-05-01")));
    // The studio's days: its clocks are two hours ahead.
    assert_eq!(free(&world, 0, from, to).await[0], "2031-05-01T22:00:00Z");
    // Another studio's holiday is none here.
    let there = json!({ "day": "2031-05-02", "name": "Elsewhere" });
    let token = world.token(1, "owner");
    let (status, _) = world
        .send("POST", "/v1/holidays", &token, Some(there))
        .await;
    assert_eq!(status, 201);
    assert_eq!(free(&world, 0, from, to).await[0], "2031-05-01T22:00:00Z");
    // One artist works on Saturdays alone, and by other clocks; the others as before.
    let artist = format!("/v1/artists/{}", world.studios[0].artists[0]);
    let hours = json!({ "working_hours": { "sat": [{ "from": "10:00", "to": "12:00" }] }, "zone": "America/New_York" });
    let (status, changed) = send(&world, "owner", "PATCH", &artist, Some(hours)).await;
    assert_eq!(
        (status, &changed["working_hours"]["sat"][0]["from"]),
        (200, &json!("10:00"))
    );
    assert_eq!(free(&world, 0, from, to).await[0], "2031-05-03T14:00:00Z");
    assert_eq!(free(&world, 1, from, to).await[0], "2031-05-01T22:00:00Z");
    // Never is an answer too.
    let never = json!({ "working_hours": {} });
    assert_eq!(
        send(&world, "owner", "PATCH", &artist, Some(never)).await.0,
        200
    );
    assert_eq!(free(&world, 0, from, to).await, Vec::<String>::new());
    let as_the_studio = json!({ "working_hours": null });
    assert_eq!(
        send(&world, "owner", "PATCH", &artist, Some(as_the_studio))
            .await
            .0,
        200
    );
    assert_eq!(free(&world, 0, from, to).await[0], "2031-05-01T22:00:00Z");
    // An archived holiday is none.
    let path = format!("/v1/holidays/{}", made["id"].as_str().unwrap());
    assert_eq!(send(&world, "manager", "DELETE", &path, None).await.0, 204);
    assert_eq!(free(&world, 0, from, to).await, [from]);
}

#[tokio::test]
async fn a_deadline_that_nobody_named_falls_in_working_hours() {
    let world = World::new().await;
    let pencil = json!({ "state": "pencil" });
    book(&world, 0, pencil.clone()).await;
    let later = book(&world, 0, pencil).await;
    // Work is done in one hour, in four days.
    let zoned = world
        .app
        .clock
        .now()
        .to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap());
    let day = zoned.date().checked_add(jiff::Span::new().days(4)).unwrap();
    let weekday = day.strftime("%a").to_string().to_lowercase();
    let hours = json!({ "working_hours": { weekday: [{ "from": "10:00", "to": "11:00" }] } });
    let artist = format!("/v1/artists/{}", world.studios[0].artists[0]);
    assert_eq!(
        send(&world, "owner", "PATCH", &artist, Some(hours)).await.0,
        200
    );
    let path = format!("{}/challenge", path_of(&later));
    assert_eq!(send(&world, "owner", "POST", &path, None).await.0, 200);
    let (_, list) = send(&world, "owner", "GET", "/v1/bookings?state=pencil", None).await;
    let items = list["items"].as_array().unwrap();
    let asked = items
        .iter()
        .find(|item| !item["challenge"].is_null())
        .unwrap();
    let by: jiff::Timestamp = asked["challenge"]["answer_by"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let closes = day
        .at(11, 0, 0, 0)
        .in_tz("Europe/Berlin")
        .unwrap()
        .timestamp();
    assert_eq!(by, closes);
}

#[tokio::test]
async fn a_series_is_booked_by_the_studios_clocks_and_leaves_holidays_out() {
    let world = World::new().await;
    let holiday = json!({ "day": "2031-04-03", "name": "a fair" });
    assert_eq!(post(&world, "/v1/holidays", holiday).await.0, 201);
    let body = series(
        &world,
        json!({ "hours": { "from": "09:00", "to": "17:00" } }),
    );
    let (status, made) = post(&world, "/v1/bookings/series", body.clone()).await;
    assert_eq!(status, 200, "{made}");
    let starts = |made: &Value| -> Vec<String> {
        let items = made["items"].as_array().unwrap().iter();
        items
            .map(|item| item["starts_at"].as_str().unwrap().to_owned())
            .collect()
    };
    // The clocks of Berlin go forward on 30 March: nine o'clock stays nine o'clock.
    let expected = [
        "2031-03-25T08:00:00Z",
        "2031-03-27T08:00:00Z",
        "2031-04-01T07:00:00Z",
    ];
    assert_eq!(starts(&made), expected);
    assert_eq!(
        made["skipped"],
        json!([{ "day": "2031-04-03", "name": "a fair" }])
    );
    // Again, it is over itself: all of it is told, and nothing was made.
    let more = series(&world, json!({ "until": "2031-05-30" }));
    let (status, problem) = post(&world, "/v1/bookings/series", more).await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("/problems/double-booking"))
    );
    assert_eq!(
        problem["conflicts"].as_array().unwrap().len(),
        3,
        "{problem}"
    );
    let (_, list) = send(
        &world,
        "owner",
        "GET",
        "/v1/bookings?from=2031-03-01T00:00:00Z",
        None,
    )
    .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    // Options have their ranks, and halves of days are the studio's.
    let body = series(
        &world,
        json!({ "state": "pencil", "part": "pm", "holidays": true }),
    );
    let (status, made) = post(&world, "/v1/bookings/series", body).await;
    assert_eq!((status, starts(&made).len()), (200, 4), "{made}");
    assert_eq!(
        (&made["items"][0]["rank"], &made["items"][0]["from"]["part"]),
        (&json!(1), &json!("pm"))
    );
}

#[tokio::test]
async fn a_series_has_bounds() {
    let world = World::new().await;
    for (more, pointer) in [
        (json!({ "until": "2031-03-24" }), "/until"),
        (json!({ "until": "2031-03-01" }), "/until"),
        (json!({ "until": "2040-03-01" }), "/until"),
        (
            json!({ "part": "am", "hours": { "from": "09:00", "to": "17:00" } }),
            "/hours",
        ),
        (json!({ "weekdays": [] }), "/weekdays"),
        (
            json!({ "hours": { "from": "17:00", "to": "09:00" } }),
            "/hours/to",
        ),
        (
            json!({ "weekdays": ["sun"], "from": "2031-03-30", "until": "2031-03-30", "hours": { "from": "02:30", "to": "09:00" } }),
            "/hours",
        ),
        (
            json!({ "artist_id": world.studios[1].artists[0] }),
            "/artist_id",
        ),
    ] {
        let (status, problem) = post(&world, "/v1/bookings/series", series(&world, more)).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{problem}"
        );
    }
    let every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let most = json!({ "state": "hold", "weekdays": every_day, "from": "2031-01-01", "until": "2031-07-19" });
    let (status, made) = post(&world, "/v1/bookings/series", series(&world, most)).await;
    assert_eq!(
        (status, made["items"].as_array().map(Vec::len)),
        (200, Some(200))
    );
}

#[tokio::test]
async fn a_booking_is_moved_whole_and_keeps_its_hours() {
    let world = World::new().await;
    let slices = json!([
        { "starts_at": "2031-03-24T08:00:00Z", "ends_at": "2031-03-24T16:00:00Z" },
        { "starts_at": "2031-03-26T08:00:00Z", "ends_at": "2031-03-26T16:00:00Z" },
    ]);
    let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "state": "confirmed", "slices": slices });
    let (status, booking) = post(&world, "/v1/bookings", body).await;
    assert_eq!(status, 201, "{booking}");
    let path = format!("{}/move", path_of(&booking));
    let (status, moved) = post(
        &world,
        &path,
        json!({ "from": "2031-03-31", "reason": "later" }),
    )
    .await;
    assert_eq!(status, 200, "{moved}");
    // An hour earlier in the world, since the clocks went forward in between.
    assert_eq!(
        (
            &moved["starts_at"],
            &moved["slices"][1]["ends_at"],
            &moved["reason"]
        ),
        (
            &json!("2031-03-31T07:00:00Z"),
            &json!("2031-04-02T15:00:00Z"),
            &json!("later")
        )
    );
    let other = book(&world, 1, json!({ "state": "confirmed", "starts_at": "2031-04-02T09:00:00Z", "ends_at": "2031-04-02T10:00:00Z" })).await;
    let to = json!({ "artist_id": other["artist_id"] });
    let (status, problem) = post(&world, &path, to).await;
    assert_eq!(
        (status, &problem["conflicts"][0]["booking_id"]),
        (409, &other["id"])
    );
    let (status, moved) = post(
        &world,
        &path,
        json!({ "starts_at": "2031-06-02T10:00:00Z", "artist_id": other["artist_id"] }),
    )
    .await;
    assert_eq!(
        (status, &moved["slices"][1]["starts_at"]),
        (200, &json!("2031-06-04T10:00:00Z"))
    );
    // By days it stays by days.
    let by_days = book(&world, 0, json!({ "starts_at": null, "ends_at": null, "from": { "date": "2031-07-01", "part": "pm" }, "to": { "date": "2031-07-03" } })).await;
    let path = format!("{}/move", path_of(&by_days));
    let (status, moved) = post(&world, &path, json!({ "from": "2031-07-08" })).await;
    assert_eq!(
        (status, &moved["from"], &moved["to"]["date"]),
        (
            200,
            &json!({ "date": "2031-07-08", "part": "pm" }),
            &json!("2031-07-10")
        ),
        "{moved}"
    );
    let (status, _) = post(
        &world,
        &path,
        json!({ "starts_at": "2031-07-08T00:00:00Z" }),
    )
    .await;
    assert_eq!(status, 422);
    assert_eq!(
        send(&world, "freelancer", "POST", &path, Some(json!({})))
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn a_booking_is_cut_in_two_and_both_keep_their_place() {
    let world = World::new().await;
    let first = book(&world, 0, json!({ "state": "pencil" })).await;
    let second = book(&world, 0, json!({ "state": "pencil" })).await;
    let path = format!("{}/split", path_of(&first));
    let (status, rest) = post(
        &world,
        &path,
        json!({ "at": "2031-03-03T12:00:00Z", "reason": "half" }),
    )
    .await;
    assert_eq!(status, 201, "{rest}");
    assert_eq!(
        (&rest["starts_at"], &rest["ends_at"]),
        (&json!("2031-03-03T12:00:00Z"), &first["ends_at"])
    );
    assert_eq!(
        (&rest["created_at"], &rest["state"]),
        (&first["created_at"], &json!("pencil"))
    );
    let rank = async |booking: &Value| {
        let (_, seen) = send(&world, "owner", "GET", &path_of(booking), None).await;
        (seen["rank"].as_u64().unwrap(), seen["ends_at"].clone())
    };
    // As old as it was: the one that came second is third now, behind both.
    assert_eq!(rank(&second).await.0, 3);
    assert_eq!(rank(&first).await.1, json!("2031-03-03T12:00:00Z"));
    for at in [
        "2031-03-03T09:00:00Z",
        "2031-03-03T12:00:00Z",
        "2032-01-01T00:00:00Z",
    ] {
        let (status, problem) = post(&world, &path, json!({ "at": at })).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/at")),
            "{problem}"
        );
    }
    // What takes its time takes it all the while: nobody gets in between.
    let days = json!({ "state": "confirmed", "starts_at": null, "ends_at": null, "from": { "date": "2031-07-01" }, "to": { "date": "2031-07-03" } });
    let taken = book(&world, 1, days).await;
    let path = format!("{}/split", path_of(&taken));
    let (status, rest) = post(
        &world,
        &path,
        json!({ "on": { "date": "2031-07-02", "part": "pm" } }),
    )
    .await;
    assert_eq!(
        (status, &rest["from"], &rest["to"]["date"]),
        (
            201,
            &json!({ "date": "2031-07-02", "part": "pm" }),
            &json!("2031-07-03")
        ),
        "{rest}"
    );
    let (_, before) = send(&world, "owner", "GET", &path_of(&taken), None).await;
    assert_eq!(
        (&before["state"], &before["to"]),
        (
            &json!("confirmed"),
            &json!({ "date": "2031-07-02", "part": "am" })
        )
    );
    let (_, history) = send(
        &world,
        "owner",
        "GET",
        &format!("{}/history", path_of(&taken)),
        None,
    )
    .await;
    assert_eq!(history["items"][0]["action"], "split");
    assert_eq!(
        send(
            &world,
            "freelancer",
            "POST",
            &path,
            Some(json!({ "on": { "date": "2031-07-02" } }))
        )
        .await
        .0,
        404
    );
}

#[tokio::test]
async fn travel_is_booked_as_work_is_and_says_that_it_is_none() {
    let world = World::new().await;
    let booking = book(&world, 0, json!({ "kind": "travel", "state": "confirmed" })).await;
    assert_eq!(booking["kind"], "travel");
    let (status, _) = post(
        &world,
        "/v1/bookings",
        json!({ "artist_id": booking["artist_id"], "project_id": booking["project_id"],
        "starts_at": booking["starts_at"], "ends_at": booking["ends_at"], "state": "confirmed" }),
    )
    .await;
    assert_eq!(status, 409);
    let (status, changed) = send(
        &world,
        "owner",
        "PATCH",
        &path_of(&booking),
        Some(json!({ "kind": "work" })),
    )
    .await;
    assert_eq!((status, &changed["kind"]), (200, &json!("work")));
}
