//! What is under a legal hold stays as it is, whoever asks and by whatever way.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};
use studio::jobs::{Pace, work_until};
use uuid::Uuid;
use watertight_tenancy::support::{RawConnection, state};

use crate::{erasure::tell_of, world::World};

/// Places one as that studio's owner; gives its id.
pub(crate) async fn place(world: &World, studio: usize, mut body: Value) -> String {
    body["reason"] = json!("claim 12/2031");
    let owner = world.token(studio, "owner");
    let (status, held) = world
        .send("POST", "/v1/legal-holds", &owner, Some(body))
        .await;
    assert_eq!(status, 201, "{held}");
    let member = world.studios[studio].person("owner").member;
    assert_eq!(held["placed_by"], json!(member));
    held["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn release(world: &World, studio: usize, id: &str) -> (u16, Value) {
    let path = format!("/v1/legal-holds/{id}/release");
    let owner = world.token(studio, "owner");
    world.send("POST", &path, &owner, None).await
}

/// What the owner is answered who changes that.
async fn change(world: &World, studio: usize, path: &str, body: Value) -> (u16, String) {
    let owner = world.token(studio, "owner");
    let (status, answered) = world.send("PATCH", path, &owner, Some(body)).await;
    let kind = answered["type"].as_str().unwrap_or_default();
    (status, kind.to_owned())
}

fn held() -> (u16, String) {
    (409, "/problems/legal-hold".to_owned())
}

const CHANGED: (u16, String) = (200, String::new());

/// The state of the error that a superuser's statement gives: whom neither policies nor grants bind.
async fn by_force(raw: &RawConnection, sql: &str) -> String {
    match raw.run(sql, &[]).await {
        Ok(rows) => format!("{rows} rows"),
        Err(error) => state(&error).to_owned(),
    }
}

#[tokio::test]
async fn a_held_person_project_and_window_stay_as_they_are_and_no_other_does() {
    let world = World::new().await;
    let (artist, other) = (world.studios[0].artists[0], world.studios[0].artists[1]);
    let held_artist = format!("/v1/artists/{artist}");
    let other_artist = format!("/v1/artists/{other}");
    let notes = || json!({ "notes": "n" });
    let of = async |artist: usize, day: u32| {
        let at = |hour: u32| format!("2031-05-{day:02}T{hour:02}:00:00Z");
        let id = world.pencil(0, artist, &at(8), &at(16)).await;
        format!("/v1/bookings/{id}")
    };
    let (mine, others) = (of(0, 1).await, of(1, 2).await);
    let foreign = format!("/v1/artists/{}", world.studios[1].artists[0]);

    let id = place(&world, 0, json!({ "scope": "person", "ref": artist })).await;
    assert_eq!(change(&world, 0, &held_artist, notes()).await, held());
    assert_eq!(change(&world, 0, &mine, notes()).await, held());
    assert_eq!(change(&world, 0, &other_artist, notes()).await, CHANGED);
    assert_eq!(change(&world, 0, &others, notes()).await, CHANGED);
    assert_eq!(change(&world, 1, &foreign, notes()).await, CHANGED);
    let owner = world.token(0, "owner");
    let (status, problem) = world.send("DELETE", &mine, &owner, None).await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("/problems/legal-hold"))
    );

    let (status, released) = release(&world, 0, &id).await;
    assert_eq!(status, 200, "{released}");
    assert!(released["released_at"].is_string());
    assert_eq!(change(&world, 0, &held_artist, notes()).await, CHANGED);
    assert_eq!(change(&world, 0, &mine, notes()).await, CHANGED);
    assert_eq!(release(&world, 0, &id).await.0, 409, "for good");

    let window = json!({ "scope": "window", "starts_at": "2031-05-02T12:00:00Z", "ends_at": "2031-05-03T00:00:00Z" });
    let id = place(&world, 0, window).await;
    assert_eq!(change(&world, 0, &others, notes()).await, held());
    assert_eq!(change(&world, 0, &mine, notes()).await, CHANGED);
    assert_eq!(release(&world, 0, &id).await.0, 200);

    let project = world.studios[0].projects[0];
    place(&world, 0, json!({ "scope": "project", "ref": project })).await;
    assert_eq!(change(&world, 0, &others, notes()).await, held());
    let path = format!("/v1/projects/{project}");
    assert_eq!(change(&world, 0, &path, notes()).await, held());
    assert_eq!(change(&world, 0, &other_artist, notes()).await, CHANGED);

    place(&world, 0, json!({ "scope": "studio" })).await;
    assert_eq!(change(&world, 0, &other_artist, notes()).await, held());
    assert_eq!(
        change(&world, 0, "/v1/studio", json!({ "hold_minutes": 45 })).await,
        held()
    );
    assert_eq!(
        change(&world, 1, "/v1/studio", json!({ "hold_minutes": 45 })).await,
        CHANGED
    );
}

/// Triggers do what policies and grants cannot: they bind a superuser too, and one who turns them off by
/// the setting for restores.
#[tokio::test]
async fn nobody_changes_or_removes_a_held_row_or_its_keys() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let body = Some(json!({ "name": "Mia", "email": "mia@example.org" }));
    let owner = world.token(0, "owner");
    let (_, made) = world.send("POST", "/v1/artists", &owner, body).await;
    let artist = made["id"].as_str().unwrap();
    let tenant = world.studios[0].tenant;
    let change = format!("UPDATE studio.artists SET name = 'x' WHERE id = '{artist}'");
    let remove = format!("DELETE FROM studio.artists WHERE id = '{artist}'");
    let shred = format!("DELETE FROM vault.person_keys WHERE person = '{artist}'");
    let shred_all = format!("DELETE FROM vault.studio_keys WHERE tenant_id = '{tenant}'");
    // Nothing else would stop them: this is the positive case.
    raw.script("BEGIN").await.unwrap();
    for sql in [&change, &shred, &remove] {
        assert_eq!(by_force(&raw, sql).await, "1 rows", "{sql}");
    }
    raw.script("ROLLBACK").await.unwrap();

    place(&world, 0, json!({ "scope": "person", "ref": artist })).await;
    for role in ["", "SET session_replication_role = replica"] {
        raw.script(role).await.unwrap();
        for sql in [&change, &shred, &shred_all, &remove] {
            assert_eq!(by_force(&raw, sql).await, "ZT050", "{role} {sql}");
        }
    }
    raw.script("RESET session_replication_role").await.unwrap();
    // Nor the legal hold itself, nor what it says.
    for (sql, expected) in [
        ("DELETE FROM custody.legal_holds", "ZT050"),
        ("UPDATE custody.legal_holds SET reason = 'x'", "23514"),
    ] {
        assert_eq!(by_force(&raw, sql).await, expected, "{sql}");
    }
    assert_eq!(
        by_force(
            &raw,
            "UPDATE vault.person_keys SET made_at = made_at WHERE false"
        )
        .await,
        "0 rows"
    );
}

/// A day is held as long as it is one anywhere, and what has no end has not ended.
#[tokio::test]
async fn a_window_holds_days_to_their_end_and_what_is_open() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let project = async |code: &str, days: Value| {
        let mut body = json!({ "code": code, "name": code, "client": "somebody" });
        for (name, day) in days.as_object().unwrap() {
            body[name] = day.clone();
        }
        let (status, made) = world.send("POST", "/v1/projects", &owner, Some(body)).await;
        assert_eq!(status, 201, "{made}");
        format!("/v1/projects/{}", made["id"].as_str().unwrap())
    };
    let closed = project(
        "SHUT",
        json!({ "starts_on": "2031-05-02", "ends_on": "2031-05-06" }),
    )
    .await;
    let begun = project("BEGUN", json!({ "starts_on": "2031-05-02" })).await;
    let ended = project("ENDED", json!({ "ends_on": "2031-05-06" })).await;
    let undated = project("EVER", json!({})).await;
    for (from, until, expected) in [
        // Of the last day its evening, and as late as it is nowhere over.
        (
            "2031-05-06T20:00:00Z",
            "2031-05-06T21:00:00Z",
            [true, true, true, true],
        ),
        (
            "2031-05-07T11:00:00Z",
            "2031-05-07T12:00:00Z",
            [true, true, true, true],
        ),
        (
            "2031-05-07T13:00:00Z",
            "2031-06-07T12:00:00Z",
            [false, true, false, true],
        ),
        (
            "2031-04-01T00:00:00Z",
            "2031-05-01T11:00:00Z",
            [true, true, true, true],
        ),
        (
            "2031-04-01T00:00:00Z",
            "2031-05-01T09:00:00Z",
            [false, false, true, true],
        ),
        // What was made after it is none of it.
        (
            "2020-01-01T00:00:00Z",
            "2020-01-02T00:00:00Z",
            [false, false, false, false],
        ),
    ] {
        let window = json!({ "scope": "window", "starts_at": from, "ends_at": until });
        let id = place(&world, 0, window).await;
        let all = [&closed, &begun, &ended, &undated];
        for (path, is_held) in all.into_iter().zip(expected) {
            let answered = change(&world, 0, path, json!({ "notes": from })).await;
            let expected = if is_held { held() } else { CHANGED };
            assert_eq!(answered, expected, "{path} from {from} until {until}");
        }
        // No time is an artist's, and another studio's is held by its own.
        let artist = format!("/v1/artists/{}", world.studios[0].artists[0]);
        let notes = json!({ "notes": from });
        assert_eq!(change(&world, 0, &artist, notes.clone()).await, CHANGED);
        let foreign = format!("/v1/projects/{}", world.studios[1].projects[0]);
        assert_eq!(change(&world, 1, &foreign, notes).await, CHANGED);
        assert_eq!(release(&world, 0, &id).await.0, 200);
    }
}

/// What Clerk says of who may come in counts for whoever is held; their name stays what it was.
#[tokio::test]
async fn a_held_persons_name_is_not_changed_through_clerk() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let person = |studio: usize| world.studios[studio].person("freelancer").member;
    let said = async |studio: usize| {
        let sql =
            "SELECT coalesce(name, '') || ' ' || name_at_ms FROM tenancy.members WHERE id = $1";
        raw.value::<String>(sql, &[&person(studio)]).await.unwrap()
    };
    let before = said(0).await;
    assert!(!before.contains("Ines Roth"), "{before}");
    let id = place(&world, 0, json!({ "scope": "person", "ref": person(0) })).await;
    for studio in [0, 1] {
        tell_of(&world, studio, "freelancer", "updated", 0).await;
    }
    assert_eq!(said(0).await, before);
    assert!(said(1).await.contains("Ines Roth"), "{}", said(1).await);
    tell_of(&world, 0, "freelancer", "deleted", 1).await;
    let token = world.token(0, "freelancer");
    assert_eq!(world.send("GET", "/v1/me", &token, None).await.0, 403);
    assert_eq!(release(&world, 0, &id).await.0, 200);
    tell_of(&world, 0, "freelancer", "updated", 2).await;
    assert!(said(0).await.contains("Ines Roth"), "{}", said(0).await);
}

/// Who is a member and an artist is one person; a member who is held may still be shown the door.
#[tokio::test]
async fn a_held_member_keeps_no_access_and_is_held_as_an_artist_too() {
    let world = World::new().await;
    let person = world.studios[0].person("freelancer");
    let artist = person.artist.unwrap();
    place(
        &world,
        0,
        json!({ "scope": "person", "ref": person.member }),
    )
    .await;
    let path = format!("/v1/artists/{artist}");
    assert_eq!(
        change(&world, 0, &path, json!({ "notes": "n" })).await,
        held()
    );
    let raw = world.as_admin().await;
    let rename = format!(
        "UPDATE tenancy.members SET name = 'x' WHERE id = '{}'",
        person.member
    );
    assert_eq!(by_force(&raw, &rename).await, "ZT050");
    let owner = world.token(0, "owner");
    let path = format!("/v1/members/{}", person.member);
    let (status, removed) = world.send("DELETE", &path, &owner, None).await;
    assert!((200..300).contains(&status), "{removed}");
    let token = world.token(0, "freelancer");
    assert!(world.send("GET", "/v1/me", &token, None).await.0 >= 400);
}

#[tokio::test]
async fn only_owners_place_see_and_release_and_only_on_what_is_theirs() {
    let world = World::new().await;
    let body = || Some(json!({ "scope": "studio", "reason": "r" }));
    for part in ["manager", "freelancer"] {
        let token = world.token(0, part);
        for (method, body) in [("POST", body()), ("GET", None)] {
            let answered = world.send(method, "/v1/legal-holds", &token, body).await;
            assert_eq!(answered.0, 403, "{part} {method} {}", answered.1);
        }
    }
    // What is another studio's, and what is nothing: one answer.
    let owner = world.token(0, "owner");
    let mut answers = BTreeSet::new();
    for about in [world.studios[1].artists[0], Uuid::from_u128(7)] {
        let body = json!({ "scope": "person", "ref": about, "reason": "r" });
        let (status, mut problem) = world
            .send("POST", "/v1/legal-holds", &owner, Some(body))
            .await;
        problem["request_id"] = Value::Null;
        problem["instance"] = Value::Null;
        answers.insert(format!("{status} {problem}"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.first().unwrap().starts_with("422"), "{answers:?}");
    for (body, pointer) in [
        (json!({ "scope": "person" }), "/ref"),
        (
            json!({ "scope": "studio", "ref": Uuid::from_u128(7) }),
            "/ref",
        ),
        (
            json!({ "scope": "window", "starts_at": "2031-05-02T12:00:00Z" }),
            "/ends_at",
        ),
    ] {
        let mut body = body;
        body["reason"] = json!("r");
        let (status, problem) = world
            .send("POST", "/v1/legal-holds", &owner, Some(body))
            .await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{problem}"
        );
    }
}

/// SQL as the app role, in an owner's context: the database says who placed it and about whom it is, and what
/// it answers is of the bound studio.
#[tokio::test]
async fn sql_as_the_app_role_neither_forges_nor_bends_a_legal_hold() {
    let world = World::new().await;
    let there = place(&world, 1, json!({ "scope": "studio" })).await;
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    let context = world.context(0, "owner");
    raw.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let (here, theirs) = (world.studios[0].tenant, world.studios[1].tenant);
    let forged = format!(
        "INSERT INTO custody.legal_holds (tenant_id, id, scope, reason, placed_by) VALUES ('{here}', gen_random_uuid(), 'studio', 'r', 'operator:x')"
    );
    let foreign = format!(
        "INSERT INTO custody.legal_holds (tenant_id, id, scope, reason) VALUES ('{theirs}', gen_random_uuid(), 'studio', 'r')"
    );
    let delete = format!("DELETE FROM custody.legal_holds WHERE id = '{there}'");
    let release =
        format!("UPDATE custody.legal_holds SET released_at = now() WHERE id = '{there}'");
    for (sql, expected) in [
        (forged.as_str(), "42501"),
        (foreign.as_str(), "ZT002"),
        (delete.as_str(), "42501"),
        (release.as_str(), "0 rows"),
        ("SELECT custody.is_held('studio.artists', '{}')", "42501"),
        (
            "SELECT custody.place_legal_hold(gen_random_uuid(), 'studio', NULL, NULL, NULL, 'r')",
            "42501",
        ),
    ] {
        raw.script("SAVEPOINT attempt").await.unwrap();
        assert_eq!(by_force(&raw, sql).await, expected, "{sql}");
        raw.script("ROLLBACK TO attempt").await.unwrap();
    }
    // Whether something of another studio is held is not told: the row asked about becomes one of this one.
    let row = format!(r#"{{"tenant_id": "{theirs}"}}"#);
    let is_held: bool = raw
        .value(
            "SELECT custody.held('studio.artists', $1::text::jsonb)",
            &[&row],
        )
        .await
        .unwrap();
    assert!(!is_held);
}

/// A change that began before waits, and then sees what was placed.
#[tokio::test]
async fn a_change_and_a_placing_do_not_pass_each_other() {
    let world = World::new().await;
    let artist = world.studios[0].artists[0];
    let path = format!("/v1/artists/{artist}");
    let mut raw = world.as_admin().await;
    let tenant = world.studios[0].tenant;
    let transaction = raw.client().transaction().await.unwrap();
    transaction
        .execute(
            "INSERT INTO custody.legal_holds (tenant_id, id, scope, ref, reason, covers, placed_by)
             VALUES ($1, gen_random_uuid(), 'person', $2, 'r', '{}', '')",
            &[&tenant, &artist],
        )
        .await
        .unwrap();
    let watching = world.as_admin().await;
    let placing = async {
        // Until it waits; without the lock it does not.
        for _ in 0..150 {
            let waiting = "pg_locks WHERE locktype = 'advisory' AND NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            let sql = format!("SELECT count(*) FROM {waiting}");
            if watching.value::<i64>(&sql, &[]).await.unwrap() > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        transaction.commit().await.unwrap();
    };
    let edit = json!({ "notes": "n" });
    let (changed, ()) = tokio::join!(change(&world, 0, &path, edit), placing);
    assert_eq!(changed, held());
}

fn operator(world: &World, arguments: &[&str]) -> (i32, String) {
    let config = world.config.keys.location.with_file_name("studio.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
    let done = command
        .arg("--config")
        .arg(config)
        .arg("legal-hold")
        .args(arguments);
    let done = done.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[tokio::test]
async fn an_operator_places_one_that_no_owner_releases() {
    let world = World::new().await;
    let studio = world.studios[0].tenant.to_string();
    let owners = place(
        &world,
        0,
        json!({ "scope": "project", "ref": world.studios[0].projects[0] }),
    )
    .await;
    let nobody = Uuid::from_u128(7).to_string();
    for (studio, artist, expected) in [
        (studio.as_str(), nobody.as_str(), "no such person"),
        (nobody.as_str(), nobody.as_str(), "no such person"),
    ] {
        let (code, said) = operator(
            &world,
            &[
                "place", "--studio", studio, "--scope", "person", "--ref", artist, "--reason", "r",
            ],
        );
        assert!(code == 1 && said.contains(expected), "{code} {said}");
    }
    let artist = world.studios[0].artists[1].to_string();
    let (code, said) = operator(
        &world,
        &[
            "place",
            "--studio",
            &studio,
            "--scope",
            "person",
            "--ref",
            &artist,
            "--reason",
            "incident 4",
        ],
    );
    assert_eq!(code, 0, "{said}");
    let id = said.split(' ').nth(2).unwrap().to_owned();
    let path = format!("/v1/artists/{artist}");
    assert_eq!(
        change(&world, 0, &path, json!({ "notes": "n" })).await,
        held()
    );

    let owner = world.token(0, "owner");
    let shown = format!("/v1/legal-holds/{id}");
    let (_, shown) = world.send("GET", &shown, &owner, None).await;
    assert_eq!(shown["placed_by"], json!("operator:studio_operator"));
    assert_eq!(release(&world, 0, &id).await.0, 403);
    // And operators neither see nor release what is the owners'.
    let (_, said) = operator(&world, &["list", "--studio", &studio]);
    assert!(said.contains(&id) && !said.contains(&owners), "{said}");
    let (code, _) = operator(&world, &["release", "--studio", &studio, "--id", &owners]);
    assert_eq!(code, 1);
    let (code, said) = operator(&world, &["release", "--studio", &studio, "--id", &id]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        change(&world, 0, &path, json!({ "notes": "n" })).await,
        CHANGED
    );
    let raw = world.as_admin().await;
    let noted: Vec<String> = raw
        .value(
            "SELECT array_agg(body ->> 'action' ORDER BY at) FROM ledger.entries
             WHERE body ->> 'resource' = 'legal_hold' AND body ->> 'actor' = 'operator:studio_operator'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(noted, ["legal_hold.place", "legal_hold.release"]);
}

/// What the clock asks for waits without being tried, and is done when nothing keeps it any more.
#[tokio::test]
async fn the_worker_lets_held_bookings_be_and_goes_on_after_the_release() {
    let world = World::new().await;
    let body = json!({
        "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0], "state": "hold",
        "starts_at": "2031-05-01T08:00:00Z", "ends_at": "2031-05-01T16:00:00Z",
    });
    let owner = world.token(0, "owner");
    let (_, booking) = world.send("POST", "/v1/bookings", &owner, Some(body)).await;
    let path = format!("/v1/bookings/{}", booking["id"].as_str().unwrap());
    let raw = world.as_admin().await;
    raw.script("UPDATE studio.bookings SET expires_at = now() - interval '1 minute', version = version + 1")
        .await
        .unwrap();
    let id = place(
        &world,
        0,
        json!({ "scope": "person", "ref": world.studios[0].artists[0] }),
    )
    .await;
    let pace = Pace {
        poll_ms: 20,
        lease_s: 1,
    };
    let a_while = || tokio::time::sleep(std::time::Duration::from_millis(1500));
    work_until(&world.app, pace, a_while()).await;
    let (_, waiting) = world.send("GET", &path, &owner, None).await;
    assert_eq!(waiting["state"], json!("hold"));
    let failed: i64 = raw
        .value(
            "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' = 'booking.work'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(failed, 0, "it was not tried");
    assert_eq!(release(&world, 0, &id).await.0, 200);
    work_until(&world.app, pace, a_while()).await;
    let (_, expired) = world.send("GET", &path, &owner, None).await;
    assert_eq!(expired["state"], json!("released"));
}

/// A table behind the wall can be held, or it is said here why not.
#[tokio::test]
async fn every_table_of_a_studio_can_be_held() {
    let world = World::new().await;
    let tables: Vec<String> = world
        .as_admin()
        .await
        .value(
            "SELECT array_agg(c.oid::regclass::text ORDER BY 1) FROM pg_class c
             WHERE c.relnamespace = 'studio'::regnamespace AND c.relkind = 'r'
               AND NOT EXISTS (SELECT FROM custody.kept k JOIN pg_trigger t ON t.tgrelid = k.rel
                 AND t.tgname LIKE 'keep_held%' AND t.tgenabled = 'A' WHERE k.rel = c.oid HAVING count(*) = 2)",
            &[],
        )
        .await
        .unwrap();
    // Copies that go after days; made of bookings and time off, and follows them.
    assert_eq!(tables, ["studio.occupancy", "studio.export_parts"]);
}
