//! Rows as tables: all or nothing, twice is once, and every line that is wrong says where and why.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    bookings::{book, send},
    world::{Like, World},
};

const PROJECTS: &str =
    "code,name,budget_minor,budget_currency\nAURORA,Aurora,100,EUR\nBOREAS,Boreas,,\n";
const ARTISTS: &str = "reference,name,skills\nADA,Ada,rigging look-dev\nBEA,Bea,\n";
const BOOKINGS: &str = "reference,artist,project,title,state,starts_at,ends_at,from,from_part,to,to_part,rate_unit,rate_minor,rate_currency\n\
    B1,ADA,AURORA,First,confirmed,2031-03-03T09:00:00Z,2031-03-03T17:00:00Z,,,,,day,45000,EUR\n\
    B2,ADA,AURORA,Second,pencil,,,2031-03-04,am,2031-03-05,,,,\n\
    B3,BEA,BOREAS,Third,,2031-03-03T09:00:00Z,2031-03-03T17:00:00Z,,,,,,,\n";

async fn import(world: &World, part: &str, path: &str, lines: &str) -> (u16, Value) {
    send(world, part, "POST", path, Some(json!(lines))).await
}

/// Created, changed, unchanged, faults.
fn counts(view: &Value) -> [u64; 4] {
    ["created", "changed", "unchanged", "faults"].map(|name| view[name].as_u64().unwrap())
}

/// Brings the artists and projects that the tables of bookings name.
async fn bring(world: &World) {
    for (path, lines) in [
        ("/v1/projects/import", PROJECTS),
        ("/v1/artists/import", ARTISTS),
    ] {
        let (status, view) = import(world, "manager", path, lines).await;
        assert_eq!((status, counts(&view)), (200, [2, 0, 0, 0]), "{view}");
    }
}

async fn exported(world: &World, studio: usize, part: &str, noun: &str) -> String {
    let request = world
        .http
        .get(format!("{}/v1/{noun}/export", world.base))
        .bearer_auth(world.token(studio, part));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/csv; charset=utf-8"
    );
    response.text().await.unwrap()
}

#[tokio::test]
async fn a_table_that_is_brought_twice_changes_nothing_the_second_time() {
    let world = World::new().await;
    bring(&world).await;
    let path = "/v1/bookings/import";
    let plan = import(&world, "manager", "/v1/bookings/import?plan=true", BOOKINGS).await;
    assert_eq!((plan.0, counts(&plan.1)), (200, [3, 0, 0, 0]), "{}", plan.1);
    let before = world.entries(0).await;
    let first = import(&world, "manager", path, BOOKINGS).await;
    assert_eq!(
        (first.0, counts(&first.1)),
        (200, [3, 0, 0, 0]),
        "{}",
        first.1
    );
    assert_eq!(world.entries(0).await, before + 1, "one entry a request");
    let again = import(&world, "owner", path, BOOKINGS).await;
    assert_eq!(counts(&again.1), [0, 0, 3, 0], "{}", again.1);
    // What an export says is what an import takes, and says nothing new.
    for noun in ["artists", "projects", "bookings"] {
        let table = exported(&world, 0, "owner", noun).await;
        let lines = table.lines().count() as u64 - 1;
        let path = format!("/v1/{noun}/import");
        let (status, view) = import(&world, "owner", &path, &table).await;
        assert_eq!((status, counts(&view)), (200, [0, 0, lines, 0]), "{table}");
    }
    // What is said anew is changed, by the statements of PATCH: a version more, and history says so.
    let later = BOOKINGS
        .replace("Second", "Later")
        .replace("2031-03-05", "2031-03-06");
    let (_, view) = import(&world, "manager", path, &later).await;
    assert_eq!(counts(&view), [0, 1, 2, 0], "{view}");
    let (_, list) = send(&world, "owner", "GET", "/v1/bookings?q=B2", None).await;
    let second = &list["items"][0];
    assert_eq!(
        (&second["title"], &second["version"], &second["to"]["date"]),
        (&json!("Later"), &json!(2), &json!("2031-03-06"))
    );
    // What the table has no column for stays.
    let narrow = "reference,name\nADA,Ada Lovelace\n";
    let (_, view) = import(&world, "manager", "/v1/artists/import", narrow).await;
    assert_eq!(counts(&view), [0, 1, 0, 0]);
    let (_, list) = send(&world, "owner", "GET", "/v1/artists?q=Lovelace", None).await;
    assert_eq!(list["items"][0]["skills"], json!(["rigging", "look-dev"]));
}

#[tokio::test]
async fn the_entry_of_an_import_names_the_member_the_rows_and_their_columns() {
    let world = World::new().await;
    let (_, _) = import(&world, "manager", "/v1/artists/import", ARTISTS).await;
    let raw = world.as_admin().await;
    let leaf: String = raw
        .value(
            "SELECT leaf FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'action' = 'artist.import'",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    let leaf: Value = serde_json::from_str(&leaf).unwrap();
    let entry = &leaf["entry"];
    assert_eq!(entry["actor"], json!("user_a_manager"), "{leaf}");
    assert_eq!(
        (&entry["ids_count"], &entry["outcome"]),
        (&json!(2), &json!("allowed"))
    );
    let changes = leaf["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{leaf}");
    assert!(
        changes[0]["columns"]
            .as_array()
            .unwrap()
            .contains(&json!("reference"))
    );
}

#[tokio::test]
async fn nothing_is_written_when_a_line_is_wrong_and_each_says_where_and_why() {
    let world = World::new().await;
    bring(&world).await;
    book(&world, 0, json!({ "state": "confirmed" })).await;
    let path = format!("/v1/artists/{}", world.studios[0].artists[0]);
    let (_, artist) = send(&world, "owner", "GET", &path, None).await;
    let artist = artist["reference"].as_str().unwrap();
    let table = format!(
        "reference,artist,project,state,starts_at,ends_at,rate_unit,rate_minor,rate_currency,from_part\n\
         G1,ADA,AURORA,confirmed,2031-05-01T09:00:00Z,2031-05-01T17:00:00Z,,,,\n\
         ,ADA,AURORA,,2031-05-02T09:00:00Z,2031-05-02T17:00:00Z,,,,\n\
         G1,ADA,AURORA,,2031-05-02T09:00:00Z,2031-05-02T17:00:00Z,,,,\n\
         G3,NOBODY,AURORA,,2031-05-02T09:00:00Z,2031-05-02T17:00:00Z,,,,\n\
         G4,ADA,AURORA,,2031-05-02T17:00:00Z,2031-05-02T09:00:00Z,,,,\n\
         G5,ADA,AURORA,,tomorrow,2031-05-02T09:00:00Z,,,,\n\
         G6,ADA,AURORA,,2031-05-02T09:00:00Z,2031-05-02T17:00:00Z,day,many,EUR,\n\
         G7,ADA,AURORA,confirmed,2031-05-01T12:00:00Z,2031-05-01T18:00:00Z,,,,\n\
         G8,{artist},AURORA,confirmed,2031-03-03T12:00:00Z,2031-03-03T18:00:00Z,,,,\n"
    );
    let (status, plan) = import(&world, "manager", "/v1/bookings/import?plan=true", &table).await;
    assert_eq!((status, counts(&plan)[3]), (200, 8), "{plan}");
    let told = |plan: &Value| -> Vec<(u64, Value, String)> {
        let errors = plan["errors"].as_array().unwrap().iter();
        errors
            .map(|error| {
                let code = error["code"].as_str().unwrap().to_owned();
                (
                    error["line"].as_u64().unwrap(),
                    error["column"].clone(),
                    code,
                )
            })
            .collect()
    };
    let expected = [
        (3, json!("reference"), "missing-field"),
        (4, json!("reference"), "duplicate"),
        (5, json!("artist"), "unknown-reference"),
        (6, json!("ends_at"), "window"),
        (7, json!("starts_at"), "wrong-type"),
        (8, json!("rate_minor"), "wrong-type"),
        (9, Value::Null, "double-booking"),
        (10, Value::Null, "double-booking"),
    ]
    .map(|(line, column, code)| (line, column, code.to_owned()));
    assert_eq!(told(&plan), expected, "{plan}");
    assert!(
        plan["errors"][6]["detail"]
            .as_str()
            .unwrap()
            .contains("line 2"),
        "{plan}"
    );
    let (status, problem) = import(&world, "manager", "/v1/bookings/import", &table).await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &json!("/problems/invalid"))
    );
    assert_eq!(problem["errors"][0]["pointer"], "/lines/3/reference");
    // Conflicts alone refuse too.
    let conflict = table
        .lines()
        .take(2)
        .chain(table.lines().skip(8))
        .collect::<Vec<_>>()
        .join("\n");
    let (status, problem) = import(&world, "manager", "/v1/bookings/import", &conflict).await;
    assert_eq!(
        (status, problem["errors"].as_array().unwrap().len()),
        (422, 2),
        "{problem}"
    );
    let (_, list) = send(&world, "owner", "GET", "/v1/bookings?q=G1", None).await;
    assert_eq!(list["items"], json!([]), "the good line too");
}

#[tokio::test]
async fn a_table_that_is_none_is_refused() {
    let world = World::new().await;
    for (lines, status, pointer) in [
        ("name\nAda\n", 400, "/lines/1/reference"),
        (
            "reference,name,email\nA,Ada,a@b.example\n",
            400,
            "/lines/1/email",
        ),
        ("reference,name\nA\n", 400, "/lines/2"),
        ("reference,name\nA,\"Ada\n", 422, "/lines/2/name"),
        ("reference,name\nA,a\u{1}b\n", 422, "/lines/2/name"),
        ("reference,name,kind\nA,Ada,robot\n", 422, "/lines/2/kind"),
        (
            "reference,name,skills\nA,Ada,rigging UPPER\n",
            422,
            "/lines/2/skills",
        ),
    ] {
        let (told, problem) = import(&world, "owner", "/v1/artists/import", lines).await;
        assert_eq!(
            (told, &problem["errors"][0]["pointer"]),
            (status, &json!(pointer)),
            "{lines:?} {problem}"
        );
    }
    let token = world.token(0, "owner");
    let as_json = Some("\"reference\\n\"".to_owned());
    let path = "/v1/artists/import";
    let answered = world.ask_text("POST", path, &token, &[], as_json).await;
    assert_eq!(answered.status, 415);
    // A table may be large; other bodies may not, and this one has an end too.
    let large = format!("reference,name\n{}", "X,y\n".repeat(100_000));
    let (status, problem) = import(&world, "owner", path, &large).await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &json!("/problems/invalid"))
    );
    let answered = world
        .ask_text(
            "POST",
            "/v1/artists",
            &token,
            &[],
            Some(" ".repeat(300_000)),
        )
        .await;
    assert_eq!(answered.status, 413);
}

#[tokio::test]
async fn who_may_not_bring_tables_brings_none_and_takes_the_own_rows_along() {
    let world = World::new().await;
    bring(&world).await;
    let (status, _) = import(&world, "freelancer", "/v1/artists/import", ARTISTS).await;
    assert_eq!(status, 403);
    let own = book(&world, 0, json!({ "state": "pencil", "rate": { "unit": "day", "amount": { "minor": 7, "currency": "EUR" } } })).await;
    book(&world, 1, json!({})).await;
    let table = exported(&world, 0, "freelancer", "bookings").await;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(own["reference"].as_str().unwrap()));
    assert!(!table.contains("EUR"), "a rate that is not agreed: {table}");
    assert_eq!(
        exported(&world, 0, "freelancer", "artists")
            .await
            .lines()
            .count(),
        2
    );
    let projects = exported(&world, 0, "freelancer", "projects").await;
    assert_eq!(projects.lines().count(), 2);
    assert!(!projects.contains("EUR"), "{projects}");
    // The other studio has its own keys, and its own rows.
    let there = world.token(1, "owner");
    let (status, view) = world
        .send("POST", "/v1/artists/import", &there, Some(json!(ARTISTS)))
        .await;
    assert_eq!((status, counts(&view)), (200, [2, 0, 0, 0]));
    let named = "reference,artist,project,starts_at,ends_at\nX1,ADA,AURORA,2031-03-03T09:00:00Z,2031-03-03T17:00:00Z\n";
    let (status, problem) = world
        .send("POST", "/v1/bookings/import", &there, Some(json!(named)))
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &json!("/lines/2/project"))
    );
    assert!(
        !exported(&world, 1, "owner", "bookings")
            .await
            .contains(own["reference"].as_str().unwrap())
    );
}

#[tokio::test]
async fn what_a_spreadsheet_would_run_is_guarded_on_the_way_out_and_as_it_was_on_the_way_in() {
    let world = World::new().await;
    let table = "reference,name\nF1,=1+1\nF2,@SUM(A1)\n";
    let (status, _) = import(&world, "owner", "/v1/artists/import", table).await;
    assert_eq!(status, 200);
    let table = exported(&world, 0, "owner", "artists").await;
    assert!(
        table.contains("\"'=1+1\"") && table.contains("\"'@SUM(A1)\""),
        "{table}"
    );
    let (_, view) = import(&world, "owner", "/v1/artists/import", &table).await;
    assert_eq!(counts(&view)[1], 0);
    let (_, list) = send(&world, "owner", "GET", "/v1/artists?q=%3D1", None).await;
    assert_eq!(list["items"][0]["name"], "=1+1");
}

/// `cargo x long --only tables` asks for 50,000.
#[tokio::test]
async fn a_large_table_is_written_whole() {
    let lines: usize =
        std::env::var("WATERTIGHT_LINES").map_or(300, |lines| lines.parse().unwrap());
    let world = World::like(Like::default()).await;
    bring(&world).await;
    let artists = lines.div_ceil(500);
    let table: String = (0..artists)
        .map(|at| format!("L{at},Artist {at}\n"))
        .collect();
    let (status, view) = import(
        &world,
        "owner",
        "/v1/artists/import",
        &format!("reference,name\n{table}"),
    )
    .await;
    assert_eq!(status, 200, "{view}");
    let day: jiff::civil::Date = "2031-01-01".parse().unwrap();
    let table: String = (0..lines)
        .map(|at| {
            let day = day
                .checked_add(jiff::Span::new().days((at / artists) as i64))
                .unwrap();
            format!(
                "L-{at},L{},AURORA,confirmed,{day}T09:00:00Z,{day}T17:00:00Z\n",
                at % artists
            )
        })
        .collect();
    let table = format!("reference,artist,project,state,starts_at,ends_at\n{table}");
    let mut figures = Vec::new();
    for (path, expected) in [
        ("/v1/bookings/import?plan=true", [lines as u64, 0, 0, 0]),
        ("/v1/bookings/import", [lines as u64, 0, 0, 0]),
        ("/v1/bookings/import", [0, 0, lines as u64, 0]),
    ] {
        let started = Instant::now();
        let (status, view) = import(&world, "owner", path, &table).await;
        assert_eq!(status, 200, "{view}");
        assert_eq!(counts(&view), expected, "{view}");
        figures.push(format!("{:.1} s", started.elapsed().as_secs_f64()));
    }
    println!(
        "{lines} bookings: plan {}, import {}, again {}",
        figures[0], figures[1], figures[2]
    );
}
