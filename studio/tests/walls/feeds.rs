//! Calendar feeds: what a program without a sign-in reads is what its member may view at that moment, as
//! somebody else's reader understands it, and an address that is dead is one that never was.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};
use watertight_terms::Clock;

use crate::{
    rates,
    world::{Answered, World},
};

/// A new feed of somebody; gives its id and its path.
async fn feed(world: &World, of: (usize, &str), body: Value) -> (String, String) {
    let token = world.token(of.0, of.1);
    let (status, made) = world.send("POST", "/v1/feeds", &token, Some(body)).await;
    assert_eq!(status, 201, "{made}");
    let url = made["url"].as_str().unwrap();
    let path = url.strip_prefix(studio::demo::ORIGIN).unwrap();
    (made["id"].as_str().unwrap().to_owned(), path.to_owned())
}

/// Asks as a calendar program does: without a token.
async fn fetch(world: &World, path: &str, tag: Option<&str>) -> (Answered, String) {
    let mut request = world.http.get(format!("{}{path}", world.base));
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answered = Answered {
        status,
        headers,
        body,
    };
    (answered, text)
}

/// What is in a feed, as the Python package `icalendar` reads it.
async fn read(world: &World, path: &str) -> Value {
    let (answered, text) = fetch(world, path, None).await;
    assert_eq!(answered.status, 200, "{text}");
    assert_eq!(
        answered.header("content-type"),
        Some("text/calendar; charset=utf-8")
    );
    for line in text.split("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line:?}");
    }
    understood(&text)
}

fn understood(text: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("../.studio/python/bin/python"))
        .arg(root.join("tests/read_calendar.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("`cargo x test` brings the Python that reads calendars: {error}")
        });
    python
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn uids(calendar: &Value) -> Vec<String> {
    let events = calendar["events"].as_array().unwrap().iter();
    let mut uids: Vec<String> = events
        .map(|event| event["uid"].as_str().unwrap().to_owned())
        .collect();
    uids.sort();
    uids
}

/// Books, as the owner of that studio; gives the booking.
async fn book(world: &World, studio: usize, artist: usize, mut body: Value) -> Value {
    body["artist_id"] = json!(world.studios[studio].artists[artist]);
    if body["project_id"].is_null() {
        body["project_id"] = json!(world.studios[studio].projects[0]);
    }
    let owner = world.token(studio, "owner");
    let (status, booking) = world.send("POST", "/v1/bookings", &owner, Some(body)).await;
    assert_eq!(status, 201, "{booking}");
    booking
}

async fn admin(world: &World, sql: &str) {
    world.as_admin().await.script(sql).await.unwrap();
}

/// An instant to the second, as the API and Python write it.
fn second(text: &Value) -> String {
    let instant: Timestamp = text.as_str().unwrap().parse().unwrap();
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

const TITLE: &str = "Grading; reel 7, \\ \u{1f3ac} Überblendung\nzweite Zeile: größer als fünfundsiebzig Oktette, gefaltet";

/// Bookings around each of the next two transitions of a zone, in every form; gives each as it is
/// answered.
async fn around_transitions(world: &World, zone: &TimeZone) -> Vec<Value> {
    let mut made = Vec::new();
    let states = ["hold", "pencil", "confirmed"].iter().cycle();
    let transitions: Vec<Timestamp> = zone
        .following(Clock::system().now())
        .take(2)
        .map(|transition| transition.timestamp())
        .collect();
    assert_eq!(transitions.len(), 2, "the zone knows summer");
    let mut spells = Vec::new();
    for transition in transitions {
        let at = |hours: i64| (transition + hours.hours()).to_string();
        spells.push(json!({ "starts_at": at(-2), "ends_at": at(2) }));
        spells.push(json!({ "starts_at": at(-30), "ends_at": at(-20) }));
        spells.push(json!({ "starts_at": at(20), "ends_at": at(30) }));
        spells.push(json!({ "slices": [{ "starts_at": at(40), "ends_at": at(41) }, { "starts_at": at(90), "ends_at": at(95) }] }));
        let day = |days: i64| (transition.to_zoned(zone.clone()).date() + days.days()).to_string();
        spells.push(json!({ "from": { "date": day(7) }, "to": { "date": day(7) } }));
        spells.push(json!({ "from": { "date": day(13) }, "to": { "date": day(15) } }));
        spells.push(json!({ "from": { "date": day(20), "part": "pm" }, "to": { "date": day(21), "part": "am" } }));
    }
    for (mut body, state) in spells.into_iter().zip(states) {
        body["state"] = json!(state);
        body["title"] = json!(TITLE);
        made.push(book(world, 0, 0, body).await);
    }
    made
}

/// What is expected of the events of a booking, field by field.
fn expected(booking: &Value, zone: (&str, &TimeZone), project: (&str, &str)) -> Vec<Value> {
    let is_confirmed = booking["state"] == json!("confirmed");
    let [code, name] = [project.0, project.1];
    let local = |text: &Value| {
        let instant: Timestamp = text.as_str().unwrap().parse().unwrap();
        let local = instant.to_zoned(zone.1.clone());
        json!({ "zone": zone.0, "local": local.strftime("%Y-%m-%dT%H:%M:%S").to_string(), "instant": second(text) })
    };
    let by_days = booking["from"].is_object() && booking["from"]["part"].is_null();
    let times: Vec<(Value, Value)> = if by_days {
        let last: jiff::civil::Date = booking["to"]["date"].as_str().unwrap().parse().unwrap();
        let after = last.tomorrow().unwrap().to_string();
        vec![(
            json!({ "date": booking["from"]["date"] }),
            json!({ "date": after }),
        )]
    } else {
        let slices = booking["slices"].as_array().unwrap().iter();
        slices
            .map(|slice| (local(&slice["starts_at"]), local(&slice["ends_at"])))
            .collect()
    };
    let event = |at: usize, (start, end): (Value, Value)| {
        let id = booking["id"].as_str().unwrap();
        json!({
            "uid": if at == 0 { id.to_owned() } else { format!("{id}-{}", at + 1) },
            "sequence": booking["version"], "created": second(&booking["created_at"]),
            "stamp": second(&booking["updated_at"]), "modified": second(&booking["updated_at"]),
            "status": if is_confirmed { "CONFIRMED" } else { "TENTATIVE" },
            "transparency": if is_confirmed { "OPAQUE" } else { "TRANSPARENT" },
            "summary": booking["title"], "categories": [code],
            "description": format!("reference: {}\nstate: {}\nproject: {code} {name}",
                booking["reference"].as_str().unwrap(), booking["state"].as_str().unwrap()),
            "start": start, "end": end,
            // Neither organizer nor attendee, neither rate nor notes: these names and no others.
            "names": ["CATEGORIES", "CREATED", "DESCRIPTION", "DTEND", "DTSTAMP", "DTSTART", "LAST-MODIFIED",
                "SEQUENCE", "STATUS", "SUMMARY", "TRANSP", "UID"],
        })
    };
    times
        .into_iter()
        .enumerate()
        .map(|(at, time)| event(at, time))
        .collect()
}

async fn is_read_as_it_is_meant(zone_name: &str) {
    let world = World::new().await;
    let zone = TimeZone::get(zone_name).unwrap();
    admin(
        &world,
        &format!("UPDATE tenancy.studios SET zone = '{zone_name}'"),
    )
    .await;
    let owner = world.token(0, "owner");
    let body = json!({ "code": "SUMMER", "name": "Summer; winter, and \\ both" });
    let (status, project) = world.send("POST", "/v1/projects", &owner, Some(body)).await;
    assert_eq!(status, 201, "{project}");
    let mut bookings = around_transitions(&world, &zone).await;
    for booking in &mut bookings {
        let path = format!("/v1/bookings/{}", booking["id"].as_str().unwrap());
        let body = json!({ "project_id": project["id"] });
        let (status, changed) = world.send("PATCH", &path, &owner, Some(body)).await;
        assert_eq!((status, &changed["version"]), (200, &json!(2)), "{changed}");
        *booking = changed;
    }
    let (_, path) = feed(&world, (0, "owner"), json!({ "project_id": project["id"] })).await;
    let calendar = read(&world, &path).await;
    assert_eq!(
        (&calendar["version"], &calendar["name"]),
        (&json!("2.0"), &project["name"])
    );
    assert_eq!(calendar["zones"], json!([zone_name]));
    let named = (
        project["code"].as_str().unwrap(),
        project["name"].as_str().unwrap(),
    );
    let mut expected: Vec<Value> = bookings
        .iter()
        .flat_map(|booking| expected(booking, (zone_name, &zone), named))
        .collect();
    let mut events = calendar["events"].as_array().unwrap().clone();
    let by_uid = |one: &Value| one["uid"].as_str().unwrap().to_owned();
    expected.sort_by_key(by_uid);
    events.sort_by_key(by_uid);
    assert_eq!(events.len(), 16, "{zone_name}");
    for (event, expected) in events.iter().zip(&expected) {
        assert_eq!(event, expected, "{zone_name}");
    }
}

#[tokio::test]
async fn a_feed_is_read_as_it_is_meant_in_berlin() {
    is_read_as_it_is_meant("Europe/Berlin").await;
}

#[tokio::test]
async fn a_feed_is_read_as_it_is_meant_in_new_york() {
    is_read_as_it_is_meant("America/New_York").await;
}

/// Where summer is half an hour, and south of the line.
#[tokio::test]
async fn a_feed_is_read_as_it_is_meant_on_lord_howe() {
    is_read_as_it_is_meant("Australia/Lord_Howe").await;
}

/// An hour from now on, so many days ahead.
fn ahead(days: i64) -> Value {
    let from = Clock::system().now() + (24 * days).hours();
    json!({ "starts_at": from.to_string(), "ends_at": (from + 1.hour()).to_string(), "title": "ahead" })
}

#[tokio::test]
async fn a_feed_shows_what_its_members_role_may_view_now() {
    let world = World::new().await;
    admin(
        &world,
        "UPDATE studio.bookings SET archived_at = '2020-01-01', updated_at = '2020-01-01'",
    )
    .await;
    let (own, others) = (
        book(&world, 0, 0, ahead(100)).await,
        book(&world, 0, 1, ahead(101)).await,
    );
    book(&world, 1, 0, ahead(100)).await;
    let ids = |bookings: &[&Value]| {
        let mut ids: Vec<String> = bookings
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let project = json!({ "project_id": world.studios[0].projects[0] });
    let mut paths = Vec::new();
    for (part, body, expected) in [
        ("freelancer", json!({}), ids(&[&own])),
        ("freelancer", project.clone(), ids(&[&own])),
        ("owner", json!({}), ids(&[])),
        ("owner", project.clone(), ids(&[&own, &others])),
        ("manager", project.clone(), ids(&[&own, &others])),
    ] {
        let (_, path) = feed(&world, (0, part), body.clone()).await;
        assert_eq!(uids(&read(&world, &path).await), expected, "{part} {body}");
        paths.push(path);
    }
    // The manager becomes a freelancer who is the second artist, and then a guest.
    let manager = world.studios[0].person("manager").member;
    let second = world.studios[0].artists[1];
    admin(&world, &format!("UPDATE tenancy.members SET ceiling = 'freelancer', artist_id = '{second}', valid_after = now() WHERE id = '{manager}'")).await;
    assert_eq!(uids(&read(&world, &paths[4]).await), ids(&[&others]));
    admin(
        &world,
        &format!("UPDATE tenancy.members SET ceiling = 'guest' WHERE id = '{manager}'"),
    )
    .await;
    assert_eq!(fetch(&world, &paths[4], None).await.0.status, 404);
    // A project of another studio, or one of which the freelancer has no booking, is none.
    for (part, project) in [
        ("owner", world.studios[1].projects[0]),
        ("freelancer", world.studios[0].projects[1]),
    ] {
        let body = Some(json!({ "project_id": project }));
        let (status, problem) = world
            .send("POST", "/v1/feeds", &world.token(0, part), body)
            .await;
        assert_eq!(
            (status, &problem["errors"][0]["code"]),
            (422, &json!("unknown")),
            "{part}"
        );
    }
}

/// Whatever became of it, an address that leads nowhere is answered as one that was made up.
#[tokio::test]
async fn an_address_that_is_dead_is_as_one_that_never_was() {
    let world = World::new().await;
    let (id, ended) = feed(&world, (0, "owner"), json!({})).await;
    let (_, of_removed) = feed(&world, (0, "leaver"), json!({})).await;
    let (_, of_deleted) = feed(&world, (0, "manager"), json!({})).await;
    let (_, of_frozen) = feed(&world, (1, "owner"), json!({})).await;
    for path in [&ended, &of_removed, &of_deleted, &of_frozen] {
        assert_eq!(fetch(&world, path, None).await.0.status, 200);
    }
    let owner = world.token(0, "owner");
    let path = format!("/v1/feeds/{id}");
    for (studio, part) in [(0, "leaver"), (1, "owner")] {
        assert_eq!(
            world
                .send("DELETE", &path, &world.token(studio, part), None)
                .await
                .0,
            404,
            "not theirs"
        );
    }
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 404);
    // Not only the handler knows that it has ended: no transaction is bound.
    let digest: Vec<u8> = world
        .as_admin()
        .await
        .value(
            "SELECT digest FROM tenancy.feeds WHERE id = $1::text::uuid",
            &[&id],
        )
        .await
        .unwrap();
    let app = world.as_app().await;
    let context = world.feed_context(&digest);
    let entered = app.run("SELECT tenancy.enter($1)", &[&context]).await;
    assert!(entered.is_err());
    let leaver = format!("/v1/members/{}", world.studios[0].person("leaver").member);
    assert!(world.send("DELETE", &leaver, &owner, None).await.0 < 300);
    let deleted = world.studios[0].person("manager").member;
    admin(
        &world,
        &format!("UPDATE tenancy.members SET provider_removed = true WHERE id = '{deleted}'"),
    )
    .await;
    let tenant = world.studios[1].tenant;
    admin(
        &world,
        &format!("UPDATE tenancy.studios SET status = 'frozen' WHERE tenant_id = '{tenant}'"),
    )
    .await;

    let never = format!("/feeds/{}.ics", "A".repeat(43));
    let comparable = async |path: &str| {
        let (answered, _) = fetch(&world, path, None).await;
        let mut body = answered.body.clone();
        assert!(body["request_id"].take().is_string(), "{path}");
        let names: Vec<String> = answered.headers.keys().map(ToString::to_string).collect();
        (answered.status, body, names)
    };
    let expected = comparable(&never).await;
    assert_eq!(expected.0, 404);
    for path in [
        ended.as_str(),
        &of_removed,
        &of_deleted,
        &of_frozen,
        "/feeds/x.ics",
        "/feeds/.ics",
        &ended.replace(".ics", ""),
        &ended.replace(".ics", ".txt"),
    ] {
        assert_eq!(comparable(path).await, expected, "{path}");
    }
    // Whoever comes back makes new ones; the old stay dead. A studio that is thawed has its own again.
    admin(&world, "UPDATE tenancy.members SET provider_removed = false, state = 'active'; UPDATE tenancy.studios SET status = 'active'").await;
    for (path, status) in [(&of_removed, 404), (&of_deleted, 404), (&of_frozen, 200)] {
        assert_eq!(fetch(&world, path, None).await.0.status, status);
    }
}

/// The address stands nowhere, nobody lists another's, and what it opens only reads.
#[tokio::test]
async fn an_address_is_stored_hashed_and_opens_nothing_but_reading() {
    let world = World::new().await;
    let (_, path) = feed(&world, (0, "owner"), json!({})).await;
    let secret = path
        .trim_start_matches("/feeds/")
        .trim_end_matches(".ics")
        .to_owned();
    let listed = world
        .send("GET", "/v1/feeds", &world.token(0, "owner"), None)
        .await
        .1;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(&secret));
    for (studio, part) in [(0, "manager"), (0, "freelancer"), (1, "owner")] {
        let listed = world
            .send("GET", "/v1/feeds", &world.token(studio, part), None)
            .await
            .1;
        assert_eq!(listed["items"], json!([]), "{part}");
    }
    let raw = world.as_admin().await;
    let stored: i64 = raw
        .value(
            "SELECT count(*) FROM tenancy.feeds f WHERE strpos(f::text, $1) > 0",
            &[&secret],
        )
        .await
        .unwrap();
    assert_eq!(stored, 0);
    let digest: Vec<u8> = raw
        .value("SELECT digest FROM tenancy.feeds", &[])
        .await
        .unwrap();
    let app = world.as_app().await;
    assert!(
        app.run("SELECT digest FROM tenancy.feeds", &[])
            .await
            .is_err()
    );
    // An injection within a feed's transaction: it reads as its member, and changes nothing.
    let context = world.feed_context(&digest);
    for (sql, may) in [
        ("SELECT count(*) FROM studio.bookings", true),
        (
            "UPDATE studio.bookings SET title = 'x', version = version + 1",
            false,
        ),
        (
            "INSERT INTO studio.projects (tenant_id, id, code, name) VALUES (tenancy.tenant_id(), gen_random_uuid(), 'X', 'X')",
            false,
        ),
        (
            "SELECT tenancy.open_feed(gen_random_uuid(), sha256('x'), NULL, 20)",
            false,
        ),
        (
            "SELECT tenancy.open_page_session(gen_random_uuid(), sha256('x'), '', 60, 60)",
            false,
        ),
    ] {
        app.script("BEGIN").await.unwrap();
        app.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let changed = app.run(sql, &[]).await;
        let done = changed.is_ok_and(|rows| may || rows > 0);
        app.script("ROLLBACK").await.unwrap();
        assert_eq!(done, may, "{sql}");
    }
    app.script("BEGIN").await.unwrap();
    app.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let ended: bool = app
        .value(
            "SELECT tenancy.end_feed(id) FROM tenancy.feeds_of_mine(NULL)",
            &[],
        )
        .await
        .unwrap();
    app.script("ROLLBACK").await.unwrap();
    assert!(!ended);
}

#[tokio::test]
async fn each_reading_is_an_entry_and_what_is_known_is_not_sent_again() {
    let world = World::new().await;
    let booking = book(&world, 0, 0, ahead(50)).await;
    let (id, path) = feed(&world, (0, "freelancer"), json!({})).await;
    let before = world.entries(0).await;
    let (first, _) = fetch(&world, &path, None).await;
    let tag = first.header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let (again, text) = fetch(&world, &path, Some(&known)).await;
        assert_eq!(
            (again.status, text.as_str(), again.header("etag")),
            (304, "", Some(tag.as_str())),
            "{known}"
        );
    }
    assert_eq!(fetch(&world, &path, Some("\"other\"")).await.0.status, 200);
    assert_eq!(world.entries(0).await, before + 5);
    let entry: Value = world
        .as_admin()
        .await
        .value(
            "SELECT body FROM ledger.entries WHERE body ->> 'action' = 'feed.read' ORDER BY at DESC LIMIT 1",
            &[],
        )
        .await
        .unwrap();
    let person = world.studios[0].person("freelancer");
    assert_eq!(
        (&entry["actor"], &entry["role"]),
        (&json!(person.subject), &json!("freelancer"))
    );
    let ids = entry["ids"].as_array().unwrap();
    assert!(
        ids.contains(&json!(id)) && ids.contains(&booking["id"]),
        "{entry}"
    );
    // A change is another text.
    let path_of = format!("/v1/bookings/{}", booking["id"].as_str().unwrap());
    let body = Some(json!({ "title": "moved" }));
    assert_eq!(
        world
            .send("PATCH", &path_of, &world.token(0, "owner"), body)
            .await
            .0,
        200
    );
    assert_eq!(fetch(&world, &path, Some(&tag)).await.0.status, 200);
    // Nobody who is unknown writes anything.
    let before = world.entries(0).await + world.entries(1).await;
    fetch(&world, &format!("/feeds/{}.ics", "B".repeat(43)), None).await;
    assert_eq!(world.entries(0).await + world.entries(1).await, before);
}

#[tokio::test]
async fn what_is_called_off_is_shown_so_for_a_month() {
    let world = World::new().await;
    let (_, path) = feed(&world, (0, "freelancer"), json!({})).await;
    let owner = world.token(0, "owner");
    let mut ids = Vec::new();
    for (day, end) in [(60, "release"), (61, "archive")] {
        let booking = book(&world, 0, 0, ahead(day)).await;
        let id = booking["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/bookings/{id}");
        let (method, path) = match end {
            "archive" => ("DELETE", path),
            end => ("POST", format!("{path}/{end}")),
        };
        assert!(world.send(method, &path, &owner, None).await.0 < 300);
        ids.push(id);
    }
    let off = async || {
        let calendar = read(&world, &path).await;
        let events = calendar["events"].as_array().unwrap().clone();
        let off = events
            .into_iter()
            .filter(|event| ids.iter().any(|id| event["uid"] == json!(id)));
        off.collect::<Vec<Value>>()
    };
    let shown = off().await;
    assert_eq!(shown.len(), 2);
    for event in shown {
        let state = (&event["status"], &event["transparency"], &event["sequence"]);
        assert_eq!(
            state,
            (&json!("CANCELLED"), &json!("TRANSPARENT"), &json!(2))
        );
    }
    admin(
        &world,
        "UPDATE studio.bookings SET version = 3, updated_at = now() - interval '32 days' WHERE version = 2",
    )
    .await;
    assert_eq!(off().await.len(), 0);
}

#[tokio::test]
async fn a_member_has_twenty_feeds_and_a_guest_none() {
    let world = World::new().await;
    let token = world.token(0, "freelancer");
    for _ in 0..20 {
        feed(&world, (0, "freelancer"), json!({})).await;
    }
    let make = async |token: &str| {
        world
            .send("POST", "/v1/feeds", token, Some(json!({})))
            .await
            .0
    };
    assert_eq!(make(&token).await, 409);
    assert_eq!(make(&world.token(0, "guest")).await, 403);
    assert_eq!(make(&world.token(0, "manager")).await, 201);
}

/// Whoever guesses is stopped by the address's limit long before a guess could hit.
#[tokio::test]
async fn guesses_cost_as_failed_tokens_do() {
    let world = rates::world("per_address_s = 1").await;
    let mut statuses = Vec::new();
    for guess in 0..40 {
        let path = format!("/feeds/{guess:0>42}A.ics");
        statuses.push(fetch(&world, &path, None).await.0.status);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 25, "{statuses:?}");
}
