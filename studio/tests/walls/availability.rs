//! Who is free: for whom it is to see, in one statement that uses its index.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    bookings::{FROM, TO, book, send},
    world::World,
};

#[tokio::test]
async fn availability_says_who_is_free_contended_or_busy_and_what_is_free_next() {
    let world = World::new().await;
    let artists: Vec<Uuid> = world.studios[0].artists.clone();
    book(&world, 0, json!({ "state": "confirmed" })).await;
    let first = book(&world, 1, json!({ "state": "pencil", "starts_at": "2031-03-03T08:00:00Z", "ends_at": "2031-03-03T10:00:00Z" })).await;
    let hold = book(
        &world,
        1,
        json!({ "starts_at": "2031-03-03T12:00:00Z", "ends_at": "2031-03-03T13:00:00Z" }),
    )
    .await;
    // Touching is not overlapping.
    book(
        &world,
        2,
        json!({ "state": "confirmed", "starts_at": TO, "ends_at": "2031-03-03T18:00:00Z" }),
    )
    .await;
    let check = async |part: &str, more: Value| {
        let mut body = json!({ "window": { "starts_at": FROM, "ends_at": TO } });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        send(
            &world,
            part,
            "POST",
            "/v1/bookings/check-availability",
            Some(body),
        )
        .await
    };
    let (status, found) = check("manager", json!({ "artist_ids": artists })).await;
    assert_eq!(status, 200, "{found}");
    let statuses: Vec<&str> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        ["busy", "contended", "free"],
        "in the order in which they were named"
    );
    let item = |at: usize| found["items"][at].clone();
    assert_eq!(item(0)["next_free"][0]["starts_at"], TO);
    assert_eq!(item(0)["contended_by"], json!([]));
    assert_eq!(
        item(1)["contended_by"],
        json!([{ "booking_id": first["id"], "state": "pencil", "rank": 1 }, { "booking_id": hold["id"], "state": "hold", "rank": null }])
    );
    assert_eq!(
        item(2)["next_free"][0],
        json!({ "starts_at": FROM, "ends_at": TO })
    );
    assert_eq!(item(2)["next_free"][1]["starts_at"], "2031-03-03T18:00:00Z");
    // An hour is found where eight are not.
    let late = json!({ "artist_ids": [artists[0]], "window": { "starts_at": FROM, "ends_at": "2031-03-03T18:00:00Z" }, "min_minutes": 60 });
    assert_eq!(check("manager", late).await.1["items"][0]["status"], "free");
    // By skill; by days; and of the own time only for whom that is all there is to see.
    let skilled = json!({ "skills": ["rigging"] });
    send(
        &world,
        "owner",
        "PATCH",
        &format!("/v1/artists/{}", artists[2]),
        Some(skilled.clone()),
    )
    .await;
    let (_, by_skill) = check("manager", skilled).await;
    assert_eq!(by_skill["items"].as_array().unwrap().len(), 1);
    assert_eq!(by_skill["items"][0]["artist_id"], json!(artists[2]));
    let days = json!({ "artist_ids": [artists[2]], "window": { "from": { "date": "2031-03-03" }, "to": { "date": "2031-03-03" } } });
    assert_eq!(check("manager", days).await.1["items"][0]["status"], "busy");
    assert_eq!(
        check("freelancer", json!({ "artist_ids": [artists[0]] }))
            .await
            .1["items"][0]["status"],
        "busy"
    );
    let foreign = check(
        "owner",
        json!({ "artist_ids": [world.studios[1].artists[0]] }),
    )
    .await;
    let absent = check(
        "owner",
        json!({ "artist_ids": ["3f0e8a44-0000-4000-8000-000000000000"] }),
    )
    .await;
    let others = check("freelancer", json!({ "artist_ids": [artists[1]] })).await;
    for (status, problem) in [&foreign, &absent, &others] {
        assert_eq!(
            (*status, &problem["errors"][0]["code"]),
            (422, &json!("unknown-reference"))
        );
    }
    for wrong in [
        json!({}),
        json!({ "artist_ids": [] }),
        json!({ "artist_ids": artists, "skills": ["x"] }),
        json!({ "artist_ids": artists, "min_minutes": 0 }),
        json!({ "artist_ids": vec![artists[0]; 201] }),
    ] {
        assert_eq!(check("owner", wrong).await.0, 422);
    }
    // Within working hours, where the studio has said which.
    world.as_admin().await.run(
        "UPDATE studio.settings SET working_hours = '{\"tue\": [{\"from\": \"10:00\", \"to\": \"18:00\"}]}' WHERE tenant_id = $1",
        &[&world.studios[0].tenant]).await.unwrap();
    let (_, found) = check("manager", json!({ "artist_ids": [artists[0]] })).await;
    assert_eq!(
        found["items"][0]["next_free"][0],
        json!({ "starts_at": "2031-03-04T09:00:00Z", "ends_at": "2031-03-04T17:00:00Z" })
    );
}

/// 200 artists and 90 days are one statement, whose rows come by the index on both ends of the time.
#[tokio::test]
async fn availability_of_200_artists_reads_by_the_index_and_answers_at_once() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    admin
        .run(
            "INSERT INTO studio.artists (tenant_id, id, name, skills)
             SELECT $1, gen_random_uuid(), 'artist ' || n, '{fx}' FROM generate_series(1, 200) n",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    admin
        .run(
            "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at, slice_starts, slice_ends, deed)
             SELECT $1, gen_random_uuid(), 'M-' || row_number() OVER (), a.id, $2, CASE WHEN d % 3 = 0 THEN 'pencil' ELSE 'confirmed' END, s, e, ARRAY[s], ARRAY[e], 'create'
             FROM studio.artists a, generate_series(1, 60) d, LATERAL (SELECT timestamptz '2031-01-01 08:00Z' + d * interval '1 day' AS s,
               timestamptz '2031-01-01 16:00Z' + d * interval '1 day' AS e) t WHERE a.skills = '{fx}'",
            &[&world.studios[0].tenant, &world.studios[0].projects[0]],
        )
        .await
        .unwrap();
    admin
        .script("ANALYZE studio.occupancy, studio.bookings")
        .await
        .unwrap();
    let body = json!({ "skills": ["fx"], "window": { "starts_at": "2031-01-02T00:00:00Z", "ends_at": "2031-03-30T00:00:00Z" }, "min_minutes": 480 });
    let started = std::time::Instant::now();
    let (status, found) = send(
        &world,
        "manager",
        "POST",
        "/v1/bookings/check-availability",
        Some(body),
    )
    .await;
    let took = started.elapsed();
    assert_eq!(
        (status, found["items"].as_array().unwrap().len()),
        (200, 200)
    );
    assert!(
        found["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["next_free"].as_array().unwrap().len() == 3)
    );
    println!("200 artists, 12,000 bookings: {took:?}");
    // Seconds on an idle machine; the bound is for what waits for a lock that never comes.
    assert!(took.as_secs() < 60, "{took:?}");
    // As the app role, behind row security, an artist's rows are found by tenant, artist and both ends.
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "manager")])
        .await
        .unwrap();
    let artist: Uuid = raw
        .value(
            "SELECT id FROM studio.artists WHERE skills = '{fx}' LIMIT 1",
            &[],
        )
        .await
        .unwrap();
    let mut raw = raw;
    let mut plan = String::new();
    let rows = raw
            .client()
            .query(
                &format!(
                    "EXPLAIN SELECT slice FROM studio.occupancy o WHERE o.tenant_id = '{}' AND o.artist_id = '{artist}'
                       AND o.starts_at < '2031-03-30' AND o.starts_at > timestamptz '2031-01-02' - interval '732 days' AND o.ends_at > '2031-01-02'",
                    world.studios[0].tenant
                ),
                &[],
            )
            .await
            .unwrap();
    for row in rows {
        plan.push_str(row.get::<_, &str>(0));
        plan.push('\n');
    }
    assert!(plan.contains("occupancy_by_artist"), "{plan}");
    let condition = plan
        .lines()
        .find(|line| line.contains("Index Cond"))
        .unwrap();
    for part in [
        "tenant_id =",
        "artist_id =",
        "starts_at <",
        "starts_at >",
        "ends_at >",
    ] {
        assert!(condition.contains(part), "{part}: {plan}");
    }
}
