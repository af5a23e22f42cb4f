//! What was kept for long enough goes: what is over and nothing else, in steps, never past a legal hold.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use studio::jobs::{Pace, retention::rules, work_until};
use watertight_tenancy::support::RawConnection;

use crate::{erasure::tell_of, world::World};

fn command(world: &World, arguments: &[&str]) -> Command {
    world.command(&[&["retain"], arguments].concat())
}

/// Runs it; gives what it answers.
pub(crate) async fn retain(world: &World, arguments: &[&str]) -> Value {
    let mut command = command(world, arguments);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let done = done.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

async fn count(raw: &RawConnection, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    raw.value(&sql, &[]).await.unwrap()
}

/// Released bookings of a studio, in spring 2031; gives their ids.
async fn released(world: &World, studio: usize, most: u32) -> Vec<String> {
    let owner = world.token(studio, "owner");
    let mut ids = Vec::new();
    for day in 1..=most {
        let at = |hour: u32| {
            format!(
                "2031-{:02}-{:02}T{hour:02}:00:00Z",
                3 + day / 28,
                1 + day % 28
            )
        };
        let id = world.pencil(studio, 0, &at(8), &at(16)).await;
        let path = format!("/v1/bookings/{id}/release");
        let (status, answered) = world.send("POST", &path, &owner, Some(json!({}))).await;
        assert_eq!(status, 200, "{answered}");
        ids.push(id);
    }
    ids
}

/// Moves everything of both studios into the past, as if so many years had gone by.
async fn years_pass(raw: &RawConnection, years: u32) {
    raw.script(&format!(
        "SET session_replication_role = replica;
         UPDATE studio.bookings SET starts_at = starts_at - interval '{years} years', ends_at = ends_at - interval '{years} years',
           slice_starts = ARRAY[starts_at - interval '{years} years'], slice_ends = ARRAY[ends_at - interval '{years} years'],
           updated_at = updated_at - interval '{years} years', version = version + 1;
         UPDATE studio.artists SET archived_at = archived_at - interval '{years} years';
         UPDATE tenancy.members SET updated_at = updated_at - interval '{years} years';
         RESET session_replication_role"
    ))
    .await
    .unwrap();
}

fn of<'a>(plan: &'a Value, rule: &str, studio: &str) -> Option<&'a Value> {
    let all = plan["plan"].as_array().unwrap();
    all.iter()
        .find(|one| one["rule"] == json!(rule) && one["studio"] == json!(studio))
}

#[tokio::test]
async fn what_is_over_is_planned_and_goes_and_nothing_else_does() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let (here, there) = (released(&world, 0, 3).await, released(&world, 1, 2).await);
    let lives = world
        .pencil(0, 0, "2031-06-01T08:00:00Z", "2031-06-01T16:00:00Z")
        .await;
    let studio = world.studios[0].tenant.to_string();
    let bookings = "studio.bookings WHERE state = 'released'";
    assert_eq!(retain(&world, &["plan"]).await["plan"], json!([]));
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(0));
    years_pass(&raw, 12).await;

    let plan = retain(&world, &["plan"]).await;
    let planned = of(&plan, "bookings", &studio).unwrap();
    assert_eq!(
        (
            &planned["rows"],
            &planned["held"],
            &planned["days"],
            &planned["table"]
        ),
        (
            &json!(3),
            &json!(0),
            &json!(1825),
            &json!("studio.bookings")
        )
    );
    assert_eq!(count(&raw, bookings).await, 5, "a plan changes nothing");

    // One studio alone: the other keeps what it has.
    let gone = retain(&world, &["run", "--studio", &studio]).await;
    assert_eq!(gone["rows"], json!(3));
    let owner = world.token(0, "owner");
    for id in &here {
        let path = format!("/v1/bookings/{id}");
        assert_eq!(world.send("GET", &path, &owner, None).await.0, 404);
    }
    let path = format!("/v1/bookings/{lives}");
    assert_eq!(world.send("GET", &path, &owner, None).await.0, 200);
    assert_eq!(count(&raw, bookings).await, there.len() as i64);
    for table in ["booking_versions", "occupancy"] {
        let left =
            format!("studio.{table} v WHERE v.tenant_id = '{studio}' AND v.source_id <> '{lives}'");
        assert_eq!(count(&raw, &left).await, 0, "{table} goes with them");
    }
    let noted: Value = raw
        .value(
            "SELECT body FROM ledger.entries WHERE body ->> 'action' = 'retention.remove'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (&noted["actor"], &noted["ids_count"], &noted["rule"]),
        (&json!("service:custody"), &json!(3), &json!("bookings"))
    );
    assert_eq!(
        retain(&world, &["plan", "--studio", &studio]).await["plan"],
        json!([])
    );
}

/// The days that a studio decided hold there and nowhere else.
#[tokio::test]
async fn a_studio_decides_the_days_and_the_other_keeps_its_own() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    released(&world, 0, 2).await;
    released(&world, 1, 2).await;
    years_pass(&raw, 8).await;
    let body = json!({ "retention": { "bookings": 400 } });
    let owner = world.token(0, "owner");
    let (status, decided) = world.send("PATCH", "/v1/studio", &owner, Some(body)).await;
    assert_eq!(status, 200, "{decided}");
    let studio = world.studios[0].tenant.to_string();
    let plan = retain(&world, &["plan"]).await;
    let planned = of(&plan, "bookings", &studio).unwrap();
    assert_eq!(
        (&planned["rows"], &planned["days"]),
        (&json!(2), &json!(400))
    );
    let other = of(&plan, "bookings", &world.studios[1].tenant.to_string());
    assert_eq!(other, None, "{plan}");
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(2));
}

#[tokio::test]
async fn nothing_that_is_held_goes_nor_what_belongs_to_it() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    released(&world, 0, 3).await;
    years_pass(&raw, 12).await;
    // Their versions are of spring 2031, and one of those days is held.
    let owner = world.token(0, "owner");
    let window = json!({ "scope": "window", "reason": "r",
        "starts_at": "2031-03-02T00:00:00Z", "ends_at": "2031-03-02T23:00:00Z" });
    let (status, placed) = world
        .send("POST", "/v1/legal-holds", &owner, Some(window))
        .await;
    assert_eq!(status, 201, "{placed}");
    let studio = world.studios[0].tenant.to_string();
    let plan = retain(&world, &["plan"]).await;
    let planned = of(&plan, "bookings", &studio).unwrap();
    assert_eq!((&planned["rows"], &planned["held"]), (&json!(2), &json!(1)));
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(2));
    let bookings = "studio.bookings WHERE state = 'released'";
    assert_eq!(count(&raw, bookings).await, 1);
    let path = format!("/v1/legal-holds/{}/release", placed["id"].as_str().unwrap());
    assert_eq!(world.send("POST", &path, &owner, None).await.0, 200);
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(1));
    assert_eq!(count(&raw, bookings).await, 0);
}

/// Whom Clerk still has it would name again: only where it let go of them too they are over.
#[tokio::test]
async fn a_member_is_over_once_clerk_has_let_go_of_them() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let person = world.studios[0].person("leaver");
    let path = format!("/v1/members/{}", person.member);
    let owner = world.token(0, "owner");
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    let named = format!(
        "tenancy.members WHERE id = '{}' AND subject IS NOT NULL",
        person.member
    );
    let nine_years_later = async || {
        let old = "SET session_replication_role = replica;
            UPDATE tenancy.members SET updated_at = updated_at - interval '9 years' WHERE id = ";
        raw.script(&format!(
            "{old} '{}'; RESET session_replication_role",
            person.member
        ))
        .await
        .unwrap();
        retain(&world, &["run"]).await;
    };
    nine_years_later().await;
    assert_eq!(count(&raw, &named).await, 1, "clerk has them");
    tell_of(&world, 0, "leaver", "deleted", 0).await;
    nine_years_later().await;
    assert_eq!(count(&raw, &named).await, 0);
    // And no word of before brings them back.
    tell_of(&world, 0, "leaver", "updated", -500).await;
    let again = format!(
        "tenancy.members WHERE tenant_id = '{}' AND subject = '{}'",
        world.studios[0].tenant, person.subject
    );
    assert_eq!(count(&raw, &again).await, 0);
}

/// Bookings refer to people: those stay, without what they say of a person and without the keys.
#[tokio::test]
async fn people_who_are_long_gone_are_anonymised_and_their_keys_destroyed() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let owner = world.token(0, "owner");
    let body = json!({ "name": "Mia Moss", "email": "mia@example.org", "notes": "left-handed" });
    let (_, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    let id = artist["id"].as_str().unwrap();
    let path = format!("/v1/artists/{id}");
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    let key = format!("vault.person_keys WHERE person = '{id}'");
    assert_eq!(count(&raw, &key).await, 1);
    years_pass(&raw, 1).await;
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(0), "not yet");
    years_pass(&raw, 3).await;
    retain(&world, &["run"]).await;
    assert_eq!(count(&raw, &key).await, 0);
    let left: Value = raw
        .value(
            &format!("SELECT to_jsonb(a) FROM studio.artists a WHERE id = '{id}'"),
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (&left["name"], &left["email"], &left["notes"]),
        (&json!("(removed)"), &Value::Null, &json!(""))
    );
    assert_eq!(retain(&world, &["plan"]).await["plan"], json!([]), "once");
}

/// Only what the server signed, only in the service's own context, and never before the least of days.
#[tokio::test]
async fn sql_as_the_app_role_lets_nothing_go() {
    let world = World::new().await;
    world
        .expect_refused(&[
            ("DELETE FROM studio.bookings", "42501"),
            (
                "SELECT custody.let_go(tenancy.tenant_id(), 'bookings', now(), 9)",
                "42501",
            ),
            (
                "SELECT custody.count_over(tenancy.tenant_id(), 'bookings', now())",
                "42501",
            ),
            (
                "SELECT custody.retain('c1|1|x|bookings|0|9|9|n|00')",
                "ZT002",
            ),
            ("SELECT custody.studios('c3|1|9|n|00')", "ZT002"),
        ])
        .await;
}

/// The server itself, in another service's context or with fewer days than the rule allows.
#[tokio::test]
async fn the_database_refuses_another_service_and_too_few_days() {
    use watertight_custody::keeper;
    use watertight_identity::{Caller, ServiceName};
    use watertight_terms::{Clock, TenantId};
    let world = World::new().await;
    let rule = rules()
        .into_iter()
        .find(|rule| rule.name == "bookings")
        .unwrap();
    let tenant = TenantId(world.studios[0].tenant);
    for (service, days, is_fine) in [
        ("custody", rule.days.least, true),
        ("custody", rule.days.least - 1, false),
        ("expiry", rule.days.usual, false),
    ] {
        let caller = Caller::service(ServiceName::new(service), tenant);
        let mut tx = world
            .app
            .tenancy
            .begin(&caller, world.facts())
            .await
            .unwrap();
        let until = rule.until(Clock::system().now(), days).unwrap();
        let gone = keeper::let_go(&mut tx, &rule, until, 10).await;
        assert_eq!(gone.is_ok(), is_fine, "{service} {days}");
    }
}

/// The rules of the register are those of the database, both ways.
#[tokio::test]
async fn the_register_and_the_database_have_the_same_rules() {
    let world = World::new().await;
    let stored: Value = world
        .as_admin()
        .await
        .value(
            "SELECT jsonb_agg(jsonb_build_array(name, step, rel::text, least_days, blanks IS NULL) ORDER BY step) FROM custody.rules",
            &[],
        )
        .await
        .unwrap();
    let table = |name: &str| {
        let mut tables = studio::resources::tables();
        let found = tables.find(|table| json!(table.retention)["name"] == json!(name));
        found.unwrap().table
    };
    let register: Vec<Value> = rules()
        .iter()
        .map(|rule| {
            let is_removed = rule.then == watertight_custody::Then::Remove;
            json!([
                rule.name,
                rule.step,
                table(rule.name),
                rule.days.least,
                is_removed
            ])
        })
        .collect();
    assert_eq!(stored, json!(register));
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_where_it_was() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let artist = world.studios[0].artists[0];
    // More than a person would enter: by force, with versions as the trigger makes them.
    raw.script(&format!(
        "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at, slice_starts, slice_ends,
           deed, updated_at)
         SELECT '{}', gen_random_uuid(), 'OLD' || n, '{artist}', '{}', 'released', s, s + interval '1 hour', ARRAY[s], ARRAY[s + interval '1 hour'],
           'release', s FROM generate_series(1, 1500) n, LATERAL (SELECT timestamptz '2010-01-01' + n * interval '1 day') t(s)",
        world.studios[0].tenant, world.studios[0].projects[0]
    ))
    .await
    .unwrap();
    let old = "studio.bookings WHERE reference LIKE 'OLD%'";
    let versions = "studio.booking_versions WHERE reference LIKE 'OLD%'";
    let mut child = command(&world, &["run"]).spawn().unwrap();
    while count(&raw, old).await == 1500 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
    }
    // SIGKILL.
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let left = count(&raw, old).await;
    assert!(
        left > 0 && left < 1500 && left % 100 == 0,
        "{left}: whole steps"
    );
    assert_eq!(count(&raw, versions).await, left);
    assert_eq!(retain(&world, &["run"]).await["rows"], json!(left));
    assert_eq!(count(&raw, old).await + count(&raw, versions).await, 0);
    let noted: i64 = raw
        .value(
            "SELECT sum((body ->> 'ids_count')::integer) FROM ledger.entries WHERE body ->> 'action' = 'retention.remove'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(noted, 1500, "each row is in an entry once");
}

// asvs: V14.2.7
#[tokio::test]
async fn the_worker_does_it_once_a_day() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    released(&world, 0, 2).await;
    years_pass(&raw, 12).await;
    let due = "jobs.due WHERE kind = 'retention' AND due_at > now()";
    assert_eq!(count(&raw, due).await, 2, "each studio from its making on");
    raw.script("UPDATE jobs.due SET due_at = now() - interval '1 minute' WHERE kind = 'retention'")
        .await
        .unwrap();
    let pace = Pace {
        poll_ms: 20,
        lease_s: 5,
    };
    work_until(&world.app, pace, tokio::time::sleep(Duration::from_secs(2))).await;
    assert_eq!(
        count(&raw, "studio.bookings WHERE state = 'released'").await,
        0
    );
    assert_eq!(count(&raw, due).await, 2);
    assert_eq!(count(&raw, "jobs.due WHERE kind = 'retention'").await, 2);
}
