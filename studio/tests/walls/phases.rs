//! Phases and costs of projects: dates that warn, an order without rings, and sums for whom rates are.

use serde_json::{Value, json};

use crate::{
    bookings::{book, path_of, send},
    world::World,
};

fn project(world: &World) -> String {
    world.studios[0].projects[0].to_string()
}

async fn phase(world: &World, name: &str, more: Value) -> (u16, Value) {
    let mut body = json!({ "project_id": project(world), "name": name });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    send(world, "manager", "POST", "/v1/phases", Some(body)).await
}

fn codes(booking: &Value) -> Vec<&str> {
    let warnings = booking["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning["code"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_booking_outside_of_dates_is_made_and_says_so() {
    let world = World::new().await;
    let booking = book(&world, 0, json!({})).await;
    assert_eq!(codes(&booking), Vec::<&str>::new());
    let path = format!("/v1/projects/{}", project(&world));
    let dates = json!({ "starts_on": "2031-03-03", "ends_on": "2031-03-31" });
    assert_eq!(
        send(&world, "manager", "PATCH", &path, Some(dates)).await.0,
        200
    );
    let (status, _) = phase(&world, "Shoot", json!({ "ends_on": "2031-03-05" })).await;
    assert_eq!(status, 201);
    let window = |day: &str| json!({ "starts_at": format!("{day}T09:00:00Z"), "ends_at": format!("{day}T17:00:00Z") });
    assert_eq!(
        codes(&book(&world, 0, window("2031-03-03")).await),
        Vec::<&str>::new()
    );
    assert_eq!(
        codes(&book(&world, 0, window("2031-03-10")).await),
        ["outside-phases"]
    );
    let outside = book(&world, 0, window("2031-04-01")).await;
    assert_eq!(codes(&outside), ["outside-project", "outside-phases"]);
    // By the studio's days: an hour before its midnight is within, an hour after it is not.
    let last = json!({ "starts_at": "2031-03-31T20:00:00Z", "ends_at": "2031-03-31T22:00:00Z" });
    assert_eq!(codes(&book(&world, 0, last).await), ["outside-phases"]);
    let over = json!({ "starts_at": "2031-03-31T20:00:00Z", "ends_at": "2031-03-31T22:00:01Z" });
    assert_eq!(
        codes(&book(&world, 0, over).await),
        ["outside-project", "outside-phases"]
    );
    // Whoever changes it is told; whoever looks is not.
    let (_, moved) = send(
        &world,
        "owner",
        "POST",
        &format!("{}/move", path_of(&outside)),
        Some(json!({ "from": "2031-03-03" })),
    )
    .await;
    assert_eq!(codes(&moved), Vec::<&str>::new());
    let (_, seen) = send(&world, "owner", "GET", &path_of(&outside), None).await;
    assert_eq!(seen.get("warnings"), None);
}

#[tokio::test]
async fn no_phase_comes_after_itself_or_after_one_of_another_project() {
    let world = World::new().await;
    let (_, roto) = phase(&world, "Roto", json!({})).await;
    let (_, comp) = phase(&world, "Comp", json!({ "after": [roto["id"]] })).await;
    let (status, grade) = phase(
        &world,
        "Grade",
        json!({ "after": [comp["id"], comp["id"]] }),
    )
    .await;
    assert_eq!((status, &grade["after"]), (201, &json!([comp["id"]])));
    let path = |phase: &Value| format!("/v1/phases/{}", phase["id"].as_str().unwrap());
    for (of, after, ring) in [
        (&roto, &grade, "Roto after Grade after Comp after Roto"),
        (&roto, &roto, "Roto after Roto"),
        (&comp, &grade, "Comp after Grade after Comp"),
    ] {
        let body = json!({ "after": [after["id"]] });
        let (status, problem) = send(&world, "owner", "PATCH", &path(of), Some(body)).await;
        let told = &problem["errors"][0];
        assert_eq!((status, &told["code"]), (422, &json!("cycle")), "{problem}");
        assert!(told["detail"].as_str().unwrap().contains(ring), "{problem}");
    }
    // Of another project, of another studio, of none: one answer.
    let elsewhere = json!({ "project_id": world.studios[0].projects[1] });
    let (_, other) = phase(&world, "Other", elsewhere).await;
    let token = world.token(1, "owner");
    let theirs = json!({ "project_id": world.studios[1].projects[0], "name": "Theirs" });
    let (_, theirs) = world.send("POST", "/v1/phases", &token, Some(theirs)).await;
    for id in [
        &other["id"],
        &theirs["id"],
        &json!("3f0e8a44-0000-4000-8000-000000000000"),
    ] {
        let (status, problem) = phase(&world, "Late", json!({ "after": [id] })).await;
        assert_eq!(
            (status, &problem["errors"][0]["code"]),
            (422, &json!("unknown-reference"))
        );
    }
    let foreign = json!({ "project_id": world.studios[1].projects[0] });
    let (status, problem) = phase(&world, "Late", foreign).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &json!("/project_id"))
    );
    let backwards = json!({ "starts_on": "2031-03-02", "ends_on": "2031-03-01" });
    assert_eq!(phase(&world, "Late", backwards).await.0, 422);
    // Two changes that are fine alone would be a ring together: one of them waits, and is refused.
    let (_, one) = phase(&world, "One", json!({})).await;
    let (_, two) = phase(&world, "Two", json!({})).await;
    for _ in 0..5 {
        let (one_path, two_path) = (path(&one), path(&two));
        let after = |phase: &Value| Some(json!({ "after": [phase["id"]] }));
        let (a, b) = tokio::join!(
            send(&world, "owner", "PATCH", &one_path, after(&two)),
            send(&world, "manager", "PATCH", &two_path, after(&one))
        );
        assert!(
            [(200, 422), (422, 200)].contains(&(a.0, b.0)),
            "{a:?} {b:?}"
        );
        for path in [&one_path, &two_path] {
            let none = Some(json!({ "after": [] }));
            assert_eq!(send(&world, "owner", "PATCH", path, none).await.0, 200);
        }
    }
}

#[tokio::test]
async fn costs_are_summed_by_currency_for_whom_rates_are() {
    let world = World::new().await;
    let path = format!("/v1/projects/{}/costs", project(&world));
    let costs = async |part: &str| send(&world, part, "GET", &path, None).await;
    let rate = |unit: &str, minor: i64, currency: &str| json!({ "unit": unit, "amount": { "minor": minor, "currency": currency } });
    let days = |from: &str, to: &str| json!({ "starts_at": null, "ends_at": null, "from": { "date": from }, "to": { "date": to, "part": "am" } });
    let with = |mut body: Value, more: Value| {
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    // Eight hours at 10, two days and a half at 100, one day at 7 which is travel, and one that nobody priced.
    book(
        &world,
        0,
        json!({ "state": "confirmed", "rate": rate("hour", 10, "EUR") }),
    )
    .await;
    book(
        &world,
        1,
        with(
            days("2031-05-05", "2031-05-07"),
            json!({ "state": "confirmed", "rate": rate("day", 100, "EUR") }),
        ),
    )
    .await;
    book(
        &world,
        0,
        with(
            days("2031-05-05", "2031-05-05"),
            json!({ "state": "pencil", "kind": "travel", "rate": rate("half_day", 7, "EUR") }),
        ),
    )
    .await;
    book(
        &world,
        1,
        json!({ "state": "pencil", "rate": rate("day", 5, "USD") }),
    )
    .await;
    book(&world, 1, json!({})).await;
    let released = book(
        &world,
        0,
        json!({ "state": "pencil", "rate": rate("day", 999, "EUR") }),
    )
    .await;
    assert_eq!(
        send(
            &world,
            "owner",
            "POST",
            &format!("{}/release", path_of(&released)),
            None
        )
        .await
        .0,
        200
    );
    let (status, seen) = costs("manager").await;
    assert_eq!(status, 200);
    assert_eq!(
        seen["items"],
        json!([
            { "currency": "EUR", "committed_minor": 330, "expected_minor": 7, "travel_minor": 7 },
            { "currency": "USD", "committed_minor": 0, "expected_minor": 5, "travel_minor": 0 },
        ]),
        "{seen}"
    );
    assert_eq!(seen["unrated"], 1);
    let budget = json!({ "budget": { "minor": 300, "currency": "EUR" } });
    let (status, _) = send(
        &world,
        "owner",
        "PATCH",
        &path.replace("/costs", ""),
        Some(budget),
    )
    .await;
    assert_eq!(status, 200);
    let (_, seen) = costs("owner").await;
    assert_eq!(
        (&seen["left_minor"], &seen["budget"]["minor"]),
        (&json!(-30), &json!(300))
    );
    // A freelancer of the project sees that there is one, and not what it costs.
    assert_eq!(costs("freelancer").await.0, 403);
    let (status, _) = world
        .send("GET", &path, &world.token(1, "owner"), None)
        .await;
    assert_eq!(status, 404);
    // What is too much for a number of JSON ends there.
    let most = rate("hour", 1_000_000_000_000, "JPY");
    for year in [2040, 2043, 2046] {
        let long = json!({ "starts_at": format!("{year}-01-01T00:00:00Z"), "ends_at": format!("{}-12-31T00:00:00Z", year + 1), "rate": most });
        book(&world, 1, long).await;
    }
    let (_, seen) = costs("owner").await;
    assert_eq!(
        seen["items"][1]["expected_minor"],
        9_007_199_254_740_991_i64
    );
}
