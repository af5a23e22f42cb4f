//! Ranks: derived, whole, and moved up by whatever leaves the line.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;
use watertight_terms::Random;

use crate::{
    model::{Line, ranks},
    world::World,
};

fn at(hour: u32) -> String {
    format!("2031-03-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24)
}

async fn rank(world: &World, id: &str) -> Value {
    let owner = world.token(0, "owner");
    let (status, booking) = world
        .send("GET", &format!("/v1/bookings/{id}"), &owner, None)
        .await;
    assert_eq!(status, 200);
    booking["rank"].clone()
}

async fn act(world: &World, id: &str, action: &str, body: Option<Value>) -> (u16, Value) {
    let path = format!("/v1/bookings/{id}/{action}");
    world
        .send("POST", &path, &world.token(0, "manager"), body)
        .await
}

/// The drawing of `docs/bookings.md`.
#[tokio::test]
async fn options_that_are_joined_by_overlap_are_one_line_and_each_has_its_place() {
    let world = World::new().await;
    let first = world.pencil(0, 0, &at(0), &at(8)).await;
    let apart = world.pencil(0, 0, &at(40), &at(44)).await;
    let far = world.pencil(0, 0, &at(14), &at(20)).await;
    assert_eq!(rank(&world, &far).await, 1, "nothing joins it yet");
    let bridge = world.pencil(0, 0, &at(6), &at(16)).await;
    let next_door = world.pencil(0, 0, &at(20), &at(24)).await;
    let other_artist = world.pencil(0, 1, &at(0), &at(8)).await;
    let other_studio = world.pencil(1, 0, &at(0), &at(8)).await;
    for (id, expected) in [
        (&first, 1),
        (&far, 2),
        (&bridge, 3),
        (&apart, 1),
        (&next_door, 1),
        (&other_artist, 1),
    ] {
        assert_eq!(rank(&world, id).await, expected);
    }
    let (_, list) = world
        .send(
            "GET",
            "/v1/bookings?sort=created_at",
            &world.token(0, "owner"),
            None,
        )
        .await;
    let listed: Vec<i64> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["rank"].as_i64().unwrap())
        .collect();
    assert_eq!(listed, [1, 1, 2, 3, 1, 1], "the list says the same");
    assert!(!list.to_string().contains(&other_studio));
    // Without the bridge they are two lines again.
    assert_eq!(act(&world, &bridge, "release", None).await.0, 200);
    assert_eq!(
        (rank(&world, &first).await, rank(&world, &far).await),
        (json!(1), json!(1))
    );
    assert_eq!(rank(&world, &bridge).await, Value::Null);
}

#[tokio::test]
async fn whatever_leaves_the_line_moves_the_later_ones_up_and_a_hold_keeps_its_place() {
    let world = World::new().await;
    let hold = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "starts_at": at(0), "ends_at": at(8) });
    let (status, hold) = world
        .send("POST", "/v1/bookings", &world.token(0, "owner"), Some(hold))
        .await;
    assert_eq!(
        (status, &hold["state"], &hold["rank"]),
        (201, &json!("hold"), &Value::Null)
    );
    let hold = hold["id"].as_str().unwrap().to_owned();
    let mut line = Vec::new();
    for _ in 0..4 {
        line.push(world.pencil(0, 0, &at(0), &at(8)).await);
    }
    assert_eq!(
        rank(&world, &line[0]).await,
        1,
        "a hold has no rank and takes none"
    );
    // Released, cancelled, archived, moved away: each time the last moves up by one.
    for (expected, leaves) in [(3, 0), (2, 1), (1, 2)] {
        let path = format!("/v1/bookings/{}", line[leaves]);
        let owner = world.token(0, "owner");
        let status = match leaves {
            0 => act(&world, &line[0], "release", None).await.0,
            1 => {
                act(
                    &world,
                    &line[1],
                    "cancel",
                    Some(json!({ "reason": "moved", "payable": false })),
                )
                .await
                .0
            }
            _ => world.send("DELETE", &path, &owner, None).await.0,
        };
        assert!(status < 300);
        assert_eq!(rank(&world, &line[3]).await, expected);
    }
    // As a pencil the hold is first: it was there before.
    let (status, pencilled) = act(&world, &hold, "pencil", None).await;
    assert_eq!((status, &pencilled["rank"]), (200, &json!(1)));
    assert_eq!(rank(&world, &line[3]).await, 2);
}

#[tokio::test]
async fn an_earlier_option_stands_before_a_later_one_which_may_challenge_it() {
    let world = World::new().await;
    let (first, second) = (
        world.pencil(0, 0, &at(0), &at(8)).await,
        world.pencil(0, 0, &at(4), &at(12)).await,
    );
    let (status, told) = act(&world, &second, "confirm", None).await;
    assert_eq!(
        (status, told["type"].as_str()),
        (409, Some("/problems/earlier-option")),
        "{told}"
    );
    assert_eq!(
        told["conflicts"],
        json!([{ "booking_id": first, "state": "pencil", "starts_at": at(0), "ends_at": at(8) }])
    );
    assert_eq!(
        told["challenge"],
        json!(format!("/v1/bookings/{second}/challenge"))
    );
    // Nor can one be made over them that is confirmed at once.
    let at_once = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "state": "confirmed", "starts_at": at(2), "ends_at": at(3) });
    let (status, told) = world
        .send(
            "POST",
            "/v1/bookings",
            &world.token(0, "owner"),
            Some(at_once),
        )
        .await;
    assert_eq!(
        (status, told["type"].as_str()),
        (409, Some("/problems/earlier-option")),
        "{told}"
    );
    assert_eq!(told.get("challenge"), None);
    // The first has nobody to challenge; the second challenges the first, once.
    assert_eq!(act(&world, &first, "challenge", None).await.0, 409);
    for (answer_by, status) in [("2020-01-01T00:00:00Z", 422), ("2031-01-01T00:00:00Z", 422)] {
        let body = Some(json!({ "answer_by": answer_by }));
        assert_eq!(
            act(&world, &second, "challenge", body).await.0,
            status,
            "{answer_by}"
        );
    }
    assert_eq!(act(&world, &second, "challenge", None).await.0, 200);
    let (_, challenged) = world
        .send(
            "GET",
            &format!("/v1/bookings/{first}"),
            &world.token(0, "freelancer"),
            None,
        )
        .await;
    assert_eq!(challenged["challenge"]["by_booking_id"], json!(second));
    let answer_by: jiff::Timestamp = challenged["challenge"]["answer_by"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let updated_at: jiff::Timestamp = challenged["updated_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(answer_by.duration_since(updated_at).as_hours(), 24);
    assert_eq!(act(&world, &second, "challenge", None).await.0, 409);
    // It answers by confirming: the challenge is over, and so is the second's chance.
    let (status, confirmed) = act(&world, &first, "confirm", None).await;
    assert_eq!((status, &confirmed["challenge"]), (200, &Value::Null));
    let (status, told) = act(&world, &second, "confirm", None).await;
    assert_eq!(
        (status, told["type"].as_str()),
        (409, Some("/problems/double-booking"))
    );
}

#[tokio::test]
async fn a_challenge_whose_challenger_is_gone_stands_in_nobodys_way() {
    let world = World::new().await;
    let mut line = Vec::new();
    for _ in 0..3 {
        line.push(world.pencil(0, 0, &at(0), &at(8)).await);
    }
    assert_eq!(act(&world, &line[1], "challenge", None).await.0, 200);
    assert_eq!(act(&world, &line[2], "challenge", None).await.0, 409);
    assert_eq!(act(&world, &line[1], "release", None).await.0, 200);
    assert_eq!(act(&world, &line[2], "challenge", None).await.0, 200);
}

/// 300 random lines of one artist, some in slices: what the database derives is what a second, other
/// reckoning gives, and in each line every place is taken once.
#[tokio::test]
async fn the_ranks_of_random_options_are_those_of_another_reckoning() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    let raw = world.as_app().await;
    let random = Random::system();
    let (tenant, artist) = (world.studios[0].tenant, world.studios[0].artists[0]);
    let mut compared = 0;
    for round in 0..300 {
        let seed: [u8; 256] = random.bytes();
        let mut drawn = seed.iter().map(|byte| i64::from(*byte));
        let mut draw = |below: i64| drawn.next().unwrap_or_default() % below;
        let mut lines = BTreeMap::new();
        admin
            .script("UPDATE studio.bookings SET version = version + 1, archived_at = now() WHERE archived_at IS NULL")
            .await
            .unwrap();
        for since in 0..2 + draw(9) {
            let (mut starts, mut ends, mut hour) = (Vec::new(), Vec::new(), draw(30));
            for _ in 0..1 + draw(3) {
                let length = 1 + draw(6);
                starts.push(hour);
                ends.push(hour + length);
                hour += length + draw(12);
            }
            let id = random.uuid();
            // Two of the same age now and then: then the id decides.
            let since = since - since % (1 + draw(2));
            insert_pencil(
                &admin,
                tenant,
                artist,
                world.studios[0].projects[0],
                id,
                since,
                &starts,
                &ends,
            )
            .await;
            let slices = starts.into_iter().zip(ends).collect();
            lines.insert(id, Line { since, slices });
        }
        let expected = ranks(&lines);
        raw.script("BEGIN").await.unwrap();
        raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "manager")])
            .await
            .unwrap();
        for (id, rank) in &expected {
            let derived: Option<i32> = raw
                .value(
                    "SELECT rank FROM studio.ranks_of($1, ARRAY[$2::uuid])",
                    &[&tenant, id],
                )
                .await
                .unwrap();
            assert_eq!(derived, Some(*rank), "round {round}: {lines:?}");
            compared += 1;
        }
        raw.script("ROLLBACK").await.unwrap();
    }
    println!("{compared} ranks in 300 lines");
}

#[expect(clippy::too_many_arguments, reason = "a row has many columns")]
async fn insert_pencil(
    admin: &watertight_tenancy::support::RawConnection,
    tenant: Uuid,
    artist: Uuid,
    project: Uuid,
    id: Uuid,
    since: i64,
    starts: &[i64],
    ends: &[i64],
) {
    admin
        .run(
            "INSERT INTO studio.bookings (tenant_id, id, created_at, reference, artist_id, project_id, state, starts_at, ends_at,
               slice_starts, slice_ends, deed)
             SELECT $1, $2::uuid, timestamptz '2030-01-01' + $5::bigint * interval '1 second', 'X' || left(replace($2::uuid::text, '-', ''), 30), $3, $4,
               'pencil', s[1], e[cardinality(e)], s, e, 'create'
             FROM (SELECT ARRAY(SELECT timestamptz '2031-01-01' + h * interval '1 hour' FROM unnest($6::bigint[]) h) AS s,
               ARRAY(SELECT timestamptz '2031-01-01' + h * interval '1 hour' FROM unnest($7::bigint[]) h) AS e) w",
            &[&tenant, &id, &artist, &project, &since, &starts, &ends],
        )
        .await
        .unwrap();
}
