//! Bookings as people meet them: what they see of them, what was, and what can be undone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use studio::resources::{
    bookings::{Booking, actions},
    policies, schema,
};
use uuid::Uuid;
use watertight_authority::{Authority, Principal, Resource};
use watertight_tenancy::{Read, Stored};
use watertight_terms::{Clock, Entry};

use crate::world::World;

pub(crate) const FROM: &str = "2031-03-03T09:00:00Z";
pub(crate) const TO: &str = "2031-03-03T17:00:00Z";

/// Sends as the person of that part of the first studio.
pub(crate) async fn send(
    world: &World,
    part: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    world.send(method, path, &world.token(0, part), body).await
}

pub(crate) async fn book(world: &World, artist: usize, more: Value) -> Value {
    let mut body = json!({ "artist_id": world.studios[0].artists[artist], "project_id": world.studios[0].projects[0],
        "starts_at": FROM, "ends_at": TO });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, booking) = send(world, "owner", "POST", "/v1/bookings", Some(body)).await;
    assert_eq!(status, 201, "{booking}");
    booking
}

pub(crate) fn path_of(booking: &Value) -> String {
    format!("/v1/bookings/{}", booking["id"].as_str().unwrap())
}

fn minutes_left(booking: &Value) -> f64 {
    let at = |field: &str| {
        booking[field]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    at("expires_at")
        .duration_since(at("updated_at"))
        .as_secs_f64()
        / 60.0
}

#[tokio::test]
async fn a_hold_lives_half_an_hour_or_as_the_studio_says_and_longer_when_it_is_worked_on() {
    let world = World::new().await;
    let hold = book(&world, 0, json!({})).await;
    assert_eq!(
        (&hold["state"], minutes_left(&hold)),
        (&json!("hold"), 30.0)
    );
    world
        .as_admin()
        .await
        .run(
            "UPDATE studio.settings SET hold_minutes = 45 WHERE tenant_id = $1",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    let (_, hold) = send(
        &world,
        "owner",
        "PATCH",
        &path_of(&hold),
        Some(json!({ "notes": "still wanted" })),
    )
    .await;
    assert_eq!(minutes_left(&hold), 45.0);
    let extend = format!("{}/extend", path_of(&hold));
    let in_a_week = jiff::Timestamp::from_second(Clock::system().now_s() + 7 * 86_400).unwrap();
    let (status, longer) = send(
        &world,
        "owner",
        "POST",
        &extend,
        Some(json!({ "expires_at": in_a_week.to_string() })),
    )
    .await;
    assert_eq!(
        (status, &longer["expires_at"]),
        (200, &json!(in_a_week.to_string()))
    );
    for wrong in ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let (status, problem) = send(
            &world,
            "owner",
            "POST",
            &extend,
            Some(json!({ "expires_at": wrong })),
        )
        .await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/expires_at")),
            "{problem}"
        );
    }
    // It excludes nobody.
    assert_eq!(
        book(&world, 0, json!({ "state": "confirmed" })).await["state"],
        "confirmed"
    );
}

#[tokio::test]
async fn a_rate_is_fixed_when_it_is_confirmed_and_its_artist_sees_it_from_then_on() {
    let world = World::new().await;
    let rate =
        |minor: i64| json!({ "unit": "day", "amount": { "minor": minor, "currency": "EUR" } });
    let pencil = book(
        &world,
        0,
        json!({ "state": "pencil", "rate": rate(45_000) }),
    )
    .await;
    let path = path_of(&pencil);
    assert_eq!(pencil["rate"], rate(45_000));
    let rate_for = async |part: &str| {
        send(&world, part, "GET", &path, None)
            .await
            .1
            .get("rate")
            .cloned()
    };
    assert_eq!(rate_for("freelancer").await, None, "it is not agreed yet");
    assert_eq!(rate_for("manager").await, Some(rate(45_000)));
    let (_, changed) = send(
        &world,
        "owner",
        "PATCH",
        &path,
        Some(json!({ "rate": rate(50_000) })),
    )
    .await;
    assert_eq!(changed["rate"], rate(50_000));
    assert_eq!(
        send(&world, "owner", "POST", &format!("{path}/confirm"), None)
            .await
            .0,
        200
    );
    for other in [rate(1), Value::Null] {
        let (status, _) = send(
            &world,
            "owner",
            "PATCH",
            &path,
            Some(json!({ "rate": other })),
        )
        .await;
        assert_eq!(status, 409);
    }
    assert_eq!(rate_for("freelancer").await, Some(rate(50_000)));
    let (_, list) = send(&world, "freelancer", "GET", "/v1/bookings", None).await;
    assert_eq!(list["items"][0]["rate"], rate(50_000));
    assert_eq!(list["items"][0].get("ended_by"), None);
    for wrong in [
        json!({ "unit": "week", "amount": { "minor": 1, "currency": "EUR" } }),
        json!({ "unit": "day", "amount": { "minor": -1, "currency": "EUR" } }),
        json!({ "unit": "day", "amount": { "minor": 1, "currency": "euro" } }),
        json!({ "unit": "day", "amount": { "minor": 1_000_000_000_001_i64, "currency": "EUR" } }),
    ] {
        let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
            "starts_at": FROM, "ends_at": TO, "rate": wrong });
        let (status, _) = send(&world, "owner", "POST", "/v1/bookings", Some(body)).await;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }
}

#[tokio::test]
async fn every_version_is_kept_with_who_and_why_and_the_last_change_can_be_undone() {
    let world = World::new().await;
    let pencil = book(
        &world,
        0,
        json!({ "state": "pencil", "title": "first title" }),
    )
    .await;
    let path = path_of(&pencil);
    let act = async |part: &str, action: &str, body: Option<Value>| {
        send(&world, part, "POST", &format!("{path}/{action}"), body).await
    };
    assert_eq!(
        act("owner", "undo", None).await.0,
        409,
        "nothing was changed yet"
    );
    send(
        &world,
        "manager",
        "PATCH",
        &path,
        Some(json!({ "title": "second title" })),
    )
    .await;
    let why = json!({ "reason": "the client moved", "payable": true });
    let (status, cancelled) = act("owner", "cancel", Some(why)).await;
    assert_eq!(
        (status, &cancelled["payable"], &cancelled["reason"]),
        (200, &json!(true), &json!("the client moved"))
    );
    let owner = world.studios[0].person("owner").member.to_string();
    let manager = world.studios[0].person("manager").member.to_string();
    assert_eq!(cancelled["ended_by"], json!(owner));
    let (status, back) = act("manager", "undo", Some(json!({ "reason": "by mistake" }))).await;
    assert_eq!(
        (status, &back["state"], &back["title"], &back["rank"]),
        (200, &json!("pencil"), &json!("second title"), &json!(1))
    );
    assert_eq!(
        (&back["ended_at"], &back["ended_by"], &back["payable"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let (_, history) = send(&world, "owner", "GET", &format!("{path}/history"), None).await;
    let line = |version: &Value| {
        (
            version["version"].as_i64().unwrap(),
            version["action"].clone(),
            version["by"].clone(),
            version["reason"].clone(),
            version["booking"]["title"].clone(),
        )
    };
    let lines: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(line)
        .collect();
    assert_eq!(
        lines,
        [
            (
                4,
                json!("undo"),
                json!(manager),
                json!("by mistake"),
                json!("second title")
            ),
            (
                3,
                json!("cancel"),
                json!(owner),
                json!("the client moved"),
                json!("second title")
            ),
            (
                2,
                json!("change"),
                json!(manager),
                Value::Null,
                json!("second title")
            ),
            (
                1,
                json!("create"),
                json!(owner),
                Value::Null,
                json!("first title")
            ),
        ]
    );
    // By pages, and for nobody but those who run the studio.
    let (_, page) = send(
        &world,
        "owner",
        "GET",
        &format!("{path}/history?limit=3"),
        None,
    )
    .await;
    let next = format!(
        "{path}/history?limit=3&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let (_, rest) = send(&world, "owner", "GET", &next, None).await;
    assert_eq!(
        (
            rest["items"].as_array().unwrap().len(),
            &rest["next_cursor"]
        ),
        (1, &Value::Null)
    );
    assert_eq!(
        send(
            &world,
            "freelancer",
            "GET",
            &format!("{path}/history"),
            None
        )
        .await
        .0,
        403
    );
    let foreign = world
        .send(
            "GET",
            &format!("{path}/history"),
            &world.token(1, "owner"),
            None,
        )
        .await;
    assert_eq!(foreign.0, 404);
    // The time that was given back may be somebody else's by now.
    act("owner", "confirm", None).await;
    act("owner", "cancel", None).await;
    book(&world, 0, json!({ "state": "confirmed" })).await;
    let (status, told) = act("owner", "undo", None).await;
    assert_eq!(
        (status, told["type"].as_str()),
        (409, Some("/problems/double-booking"))
    );
    // What was archived comes back the same way.
    let other = book(&world, 1, json!({ "state": "pencil" })).await;
    assert_eq!(
        send(&world, "owner", "DELETE", &path_of(&other), None)
            .await
            .0,
        204
    );
    let (status, back) = send(
        &world,
        "owner",
        "POST",
        &format!("{}/undo", path_of(&other)),
        None,
    )
    .await;
    assert_eq!(
        (status, &back["archived_at"], &back["rank"]),
        (200, &Value::Null, &json!(1))
    );
}

#[tokio::test]
async fn a_hold_that_ran_out_is_not_undone_into_one_that_has_run_out() {
    let world = World::new().await;
    let hold = book(&world, 0, json!({})).await;
    let path = path_of(&hold);
    send(&world, "owner", "POST", &format!("{path}/release"), None).await;
    world
        .as_admin()
        .await
        .script("UPDATE studio.booking_versions SET expires_at = now() - interval '1 second'")
        .await
        .unwrap();
    assert_eq!(
        send(&world, "owner", "POST", &format!("{path}/undo"), None)
            .await
            .0,
        409
    );
}

const EVERY: Read =
    Read::new("SELECT b.*, NULL::integer AS rank FROM studio.bookings b WHERE tenant_id = $1");
const FILTERED: Read = Read::new(
    "SELECT b.*, NULL::integer AS rank FROM studio.bookings b WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2)",
);
const UNFILTERED: Read = Read::new(
    "SELECT b.*, NULL::integer AS rank FROM studio.bookings b WHERE tenant_id = $1 AND ($2::uuid IS NULL OR $2 IS NOT NULL)",
);

/// The comparison of the three walls in `invariants.rs` would not see one of them missing while another
/// holds. So each is asked alone, row security taken away, and its twin that lacks one word is seen to
/// show more.
#[tokio::test]
async fn each_of_the_three_walls_holds_alone_and_a_broken_twin_of_each_is_noticed() {
    let world = World::new().await;
    crate::invariants::generate(&world).await;
    let own = crate::invariants::ids_by_raw_sql(&world, 0, "freelancer").await;
    let admin = world.as_admin().await;
    admin
        .script("ALTER TABLE studio.bookings DISABLE ROW LEVEL SECURITY")
        .await
        .unwrap();
    let unwalled = crate::invariants::ids_by_raw_sql(&world, 0, "freelancer").await;
    assert_eq!(
        unwalled.len(),
        1_000,
        "without the policies SQL sees everything"
    );

    let caller = world.caller(0, "freelancer").await;
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let rows = tx.read(EVERY, &[]).await.unwrap();
    let bookings: Vec<Booking> = rows
        .iter()
        .map(|row| Booking::from_row(row).unwrap())
        .collect();
    assert!(bookings.len() > own.len());
    let standing = tx.standing().clone();
    assert!(matches!(standing.principal, Principal::Member { .. }));
    let mut page = async |list: Read| -> BTreeSet<Uuid> {
        let rows = tx.page::<actions::View, Booking>(list, &[]).await.unwrap();
        rows.iter().map(Resource::id).collect()
    };
    assert_eq!(page(FILTERED).await, own, "the filter alone");
    assert_ne!(page(UNFILTERED).await, own, "a broken twin of the filter");
    tx.finish(Entry::new("booking.view", "booking"))
        .await
        .map(drop)
        .unwrap();

    // Without a transaction: deciding a thousand times outlasts the time that one may idle.
    let allowed = |authority: &Authority| -> BTreeSet<Uuid> {
        let seen = bookings
            .iter()
            .filter(|booking| authority.allows::<actions::View, Booking>(&standing, booking));
        seen.map(Resource::id).collect()
    };
    let twin: Vec<(&str, String)> = policies()
        .into_iter()
        .map(|(name, text)| {
            (
                name,
                text.replace(
                    " &&
    resource.artist == principal.artist",
                    "",
                ),
            )
        })
        .collect();
    let twin: Vec<(&str, &str)> = twin
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    assert_eq!(
        allowed(&studio::app::authority().unwrap()),
        own,
        "Cedar alone"
    );
    assert_ne!(
        allowed(&Authority::new(&schema(), &twin).unwrap()),
        own,
        "a broken twin of Cedar's policy"
    );
}
