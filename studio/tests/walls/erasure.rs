//! Who is erased is gone: keys, addresses, names and notes, and no older copy of the rows brings them back.

use std::process::Stdio;

use serde_json::{Value, json};
use studio::jobs::renewal::renew;
use uuid::Uuid;
use watertight_custody::erasure;
use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::support::RawConnection;
use watertight_terms::{Clock, TenantId};

use crate::{
    legal_holds::{place, release},
    webhooks::{deliver, membership},
    world::World,
};

/// What the rows say of the person and of nobody else.
const MARK: &str = "quillfeather";

/// Somebody of a studio who is artist and member, with a booking and time off that speak of them.
struct Person {
    artist: Uuid,
    member: Uuid,
    booking: String,
    path: String,
}

impl Person {
    async fn of(world: &World, studio: usize) -> Self {
        let person = world.studios[studio].person("freelancer");
        let (artist, member) = (person.artist.unwrap(), person.member);
        let path = format!("/v1/artists/{artist}");
        let owner = world.token(studio, "owner");
        let says = json!({ "name": MARK, "notes": MARK, "email": format!("{MARK}@example.org"), "bank": MARK,
            "working_hours": { "mon": [{ "from": "08:30", "to": "12:00" }] } });
        done(world, "PATCH", &path, &owner, Some(says)).await;
        let body = json!({ "artist_id": artist, "project_id": world.studios[studio].projects[0], "notes": MARK,
            "starts_at": "2031-03-03T08:00:00Z", "ends_at": "2031-03-03T16:00:00Z", "title": "Comp" });
        let made = done(world, "POST", "/v1/bookings", &owner, Some(body)).await;
        let off = json!({ "artist_id": artist, "starts_at": "2031-03-04T08:00:00Z", "ends_at": "2031-03-04T16:00:00Z", "notes": MARK });
        done(world, "POST", "/v1/time-off", &owner, Some(off)).await;
        let booking = made["id"].as_str().unwrap().to_owned();
        Self {
            artist,
            member,
            booking,
            path,
        }
    }

    /// The person leaves the studio, at Clerk, too.
    async fn leave(&self, world: &World, studio: usize) {
        self.leave_here(world, studio).await;
        tell_of(world, studio, "freelancer", "deleted", 0).await;
    }

    async fn leave_here(&self, world: &World, studio: usize) {
        let owner = world.token(studio, "owner");
        let member = format!("/v1/members/{}", self.member);
        for path in [&member, &self.path] {
            assert_eq!(world.send("DELETE", path, &owner, None).await.0, 204);
        }
    }

    async fn erase(&self, world: &World, studio: usize) -> (u16, Value) {
        let owner = world.token(studio, "owner");
        let path = format!("{}/erase", self.path);
        world.send("POST", &path, &owner, Some(json!({}))).await
    }
}

/// Clerk tells of somebody's membership, as of so many milliseconds from now.
pub(crate) async fn tell_of(
    world: &World,
    studio: usize,
    part: &str,
    what: &str,
    from_now_ms: i64,
) {
    let of = &world.studios[studio];
    let at_ms = Clock::system().now().as_millisecond() + from_now_ms;
    let subject = &of.person(part).subject;
    let event = membership(what, &of.organization, subject, "org:freelancer", at_ms);
    let id = format!("msg_{studio}_{part}_{what}_{at_ms}");
    let told = deliver(world, "svix", &id, &event, &world.webhook_secret).await;
    assert_eq!(told, 204, "{what}");
}

async fn done(world: &World, method: &str, path: &str, token: &str, body: Option<Value>) -> Value {
    let (status, answered) = world.send(method, path, token, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {answered}");
    answered
}

/// The tables of a studio in which the mark is found.
async fn marked(raw: &RawConnection, tenant: Uuid) -> Vec<String> {
    let tables: Vec<String> = raw
        .value(
            "SELECT array_agg(a.attrelid::regclass::text ORDER BY 1) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('public', 'yesterday')",
            &[],
        )
        .await
        .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE tenant_id = $1 AND t::text LIKE '%{MARK}%'"
        );
        if raw.value::<i64>(&sql, &[&tenant]).await.unwrap() > 0 {
            found.push(table);
        }
    }
    found
}

async fn count(raw: &RawConnection, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    raw.value(&sql, &[]).await.unwrap()
}

#[tokio::test]
async fn who_is_erased_is_gone_and_the_bookings_stay_without_them() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let (person, other) = (Person::of(&world, 0).await, Person::of(&world, 1).await);
    let tenant = world.studios[0].tenant;
    let before = marked(&raw, tenant).await;
    for table in [
        "studio.artists",
        "studio.bookings",
        "studio.booking_versions",
        "studio.time_off",
    ] {
        assert!(before.contains(&table.to_owned()), "{table}: {before:?}");
    }
    let (status, refused) = person.erase(&world, 0).await;
    assert_eq!(
        (status, &refused["type"]),
        (409, &json!("/problems/still-here"))
    );
    let owner = world.token(0, "owner");
    let erase = format!("{}/erase", person.path);
    let plan = async || {
        done(
            &world,
            "POST",
            &erase,
            &owner,
            Some(json!({ "plan": true })),
        )
        .await
    };
    assert_eq!(plan().await["ready"], false);
    person.leave(&world, 0).await;
    let planned = plan().await;
    assert_eq!(
        (&planned["ready"], &planned["erased"], &planned["receipt"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    assert_eq!(marked(&raw, tenant).await, before, "a plan changes nothing");

    let keys = format!(
        "vault.person_keys WHERE person IN ('{}', '{}')",
        person.artist, person.member
    );
    let of_them = count(&raw, &keys).await;
    assert!(of_them > 0);
    let (status, erased) = person.erase(&world, 0).await;
    assert_eq!(status, 200, "{erased}");
    assert_eq!(
        erased["tables"], planned["tables"],
        "what was planned, no more and no less"
    );
    let rows = |table: &str| {
        let mut all = erased["tables"].as_array().unwrap().iter();
        all.find(|one| one["table"] == table).unwrap()["rows"].clone()
    };
    assert_eq!(rows("studio.time_off"), 1);
    assert_eq!(rows("studio.bookings"), 1);
    assert_eq!(rows("vault.person_keys"), of_them);
    let note = erased["receipt"]["note"].as_str().unwrap();
    assert!(note.starts_with(&format!("studio.watertight/receipt/{tenant}\n{{")));
    assert_eq!(count(&raw, &keys).await, 0);
    assert_eq!(marked(&raw, tenant).await, Vec::<String>::new());
    let artist = done(&world, "GET", &person.path, &owner, None).await;
    assert_eq!(
        (&artist["name"], &artist["email"], &artist["notes"]),
        (&json!("(removed)"), &Value::Null, &json!(""))
    );
    let booking = format!("/v1/bookings/{}", person.booking);
    let booking = done(&world, "GET", &booking, &owner, None).await;
    assert_eq!(
        (&booking["artist_id"], &booking["title"], &booking["notes"]),
        (&json!(person.artist), &json!("Comp"), &json!(""))
    );
    // Once more there is nothing left to do; another's person is who they were.
    assert_eq!(person.erase(&world, 0).await.0, 200);
    let there = world.token(1, "owner");
    let them = done(&world, "GET", &other.path, &there, None).await;
    assert_eq!((&them["name"], &them["bank"]), (&json!(MARK), &json!(MARK)));
    let said: Value = raw
        .value(
            "SELECT body FROM ledger.entries WHERE body ->> 'action' = 'artist.erase' AND body ->> 'outcome' = 'allowed'
               AND body ->> 'rule' IS NULL LIMIT 1",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(said["ids"], json!([person.artist]));
}

#[tokio::test]
async fn only_an_owner_erases_who_proved_lately_who_they_are() {
    let world = World::new().await;
    let person = Person::of(&world, 0).await;
    person.leave(&world, 0).await;
    let path = format!("{}/erase", person.path);
    let member = format!("/v1/members/{}/erase", person.member);
    let stale = world.bent_token(0, "owner", &json!({ "fva": [9000, -1] }));
    for (token, path, expected) in [
        (stale, &path, 403),
        (world.token(0, "manager"), &path, 403),
        (world.token(0, "manager"), &member, 403),
        (world.token(1, "owner"), &path, 404),
        (world.token(1, "owner"), &member, 404),
    ] {
        let answered = world.send("POST", path, &token, Some(json!({}))).await;
        assert_eq!(answered.0, expected, "{}", answered.1);
    }
    let owner = world.token(0, "owner");
    let left = done(&world, "GET", &person.path, &owner, None).await;
    assert_eq!(left["name"], MARK);
    // As a member, with the artist.
    done(&world, "POST", &member, &owner, Some(json!({}))).await;
    let left = done(&world, "GET", &person.path, &owner, None).await;
    assert_eq!(left["name"], "(removed)");
}

/// On the person, or on what is about them.
#[tokio::test]
async fn nobody_is_erased_past_a_legal_hold() {
    let world = World::new().await;
    let person = Person::of(&world, 0).await;
    person.leave(&world, 0).await;
    let studio = world.studios[0].tenant.to_string();
    let artist = person.artist.to_string();
    let arguments = ["erase", "--studio", &studio, "--person", &artist];
    for body in [
        json!({ "scope": "person", "ref": person.member }),
        json!({ "scope": "project", "ref": world.studios[0].projects[0] }),
        json!({ "scope": "window", "starts_at": "2031-03-04T00:00:00Z", "ends_at": "2031-03-04T09:00:00Z" }),
        json!({ "scope": "studio" }),
    ] {
        let id = place(&world, 0, body.clone()).await;
        let (status, refused) = person.erase(&world, 0).await;
        assert_eq!(
            (status, &refused["type"]),
            (409, &json!("/problems/legal-hold")),
            "{body}"
        );
        let mut command = world.command(&arguments);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
        let said = String::from_utf8(done.unwrap().stderr).unwrap();
        assert!(said.contains("legal hold"), "{body}: {said}");
        assert_eq!(release(&world, 0, &id).await.0, 200);
    }
    assert_eq!(person.erase(&world, 0).await.0, 200);
    // A booking that would stay as it is: whoever was booked stays with it.
    let owner = world.token(0, "owner");
    let quiet = Some(json!({ "name": "Quiet" }));
    let quiet = done(&world, "POST", "/v1/artists", &owner, quiet).await["id"].clone();
    let path = format!("/v1/artists/{}", quiet.as_str().unwrap());
    let body = json!({ "artist_id": quiet, "project_id": world.studios[0].projects[0],
        "starts_at": "2031-07-01T08:00:00Z", "ends_at": "2031-07-01T16:00:00Z" });
    done(&world, "POST", "/v1/bookings", &owner, Some(body)).await;
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    place(&world, 0, json!({ "scope": "window", "starts_at": "2031-07-01T00:00:00Z", "ends_at": "2031-07-02T00:00:00Z" })).await;
    let path = format!("{path}/erase");
    let refused = world.send("POST", &path, &owner, Some(json!({}))).await;
    assert_eq!(refused.0, 409, "{}", refused.1);
}

/// Copies of the rows from before, put back by force, whatever triggers a restore turns off.
#[tokio::test]
async fn no_older_copy_of_the_rows_brings_who_was_erased_back() {
    const TABLES: [&str; 6] = [
        "studio.artists",
        "studio.bookings",
        "studio.booking_versions",
        "studio.time_off",
        "tenancy.members",
        "tenancy.answers",
    ];
    let world = World::new().await;
    let raw = world.as_admin().await;
    let person = Person::of(&world, 0).await;
    // An answer that has the person in it is kept for a day.
    let owner = world.token(0, "owner");
    let key = [("Idempotency-Key", "a-key-of-sixteen-characters")];
    let body = Some(json!({ "scope": "person", "ref": person.artist, "reason": MARK }));
    let kept = world
        .ask("POST", "/v1/legal-holds", &owner, &key, body)
        .await;
    assert_eq!(kept.status, 201);
    let id = kept.body["id"].as_str().unwrap();
    assert_eq!(release(&world, 0, id).await.0, 200);
    person.leave(&world, 0).await;
    raw.script("CREATE SCHEMA yesterday").await.unwrap();
    for table in TABLES {
        let name = table.replace('.', "_");
        raw.script(&format!(
            "CREATE TABLE yesterday.{name} AS SELECT * FROM {table}"
        ))
        .await
        .unwrap();
    }
    assert_eq!(person.erase(&world, 0).await.0, 200);
    assert_eq!(renew(&world.app, |_| {}).await.unwrap(), 0);
    let tenant = world.studios[0].tenant;
    let answers = format!("tenancy.answers WHERE tenant_id = '{tenant}'");
    assert_eq!(count(&raw, &answers).await, 0);

    // What is made of others is restored as it was, too.
    raw.script("ALTER TABLE studio.bookings DISABLE TRIGGER keep; ALTER TABLE studio.time_off DISABLE TRIGGER keep")
        .await
        .unwrap();
    let put_back = async || {
        for table in TABLES {
            let name = table.replace('.', "_");
            let columns: String = raw
                .value(
                    "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                     WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
                    &[&table],
                )
                .await
                .unwrap();
            let of = format!("tenant_id = '{tenant}'");
            raw.script(&format!(
                "SET session_replication_role = replica; DELETE FROM {table} WHERE {of};
                 INSERT INTO {table} ({columns}) SELECT {columns} FROM yesterday.{name} WHERE {of};
                 RESET session_replication_role"
            ))
            .await
            .unwrap();
        }
    };
    put_back().await;
    let readable: Vec<String> = marked(&raw, tenant).await;
    assert_eq!(
        readable,
        ["custody.legal_holds"],
        "its reason is the owner's"
    );
    let back = done(&world, "GET", &person.path, &owner, None).await;
    assert_eq!(
        (&back["name"], &back["email"], &back["bank"]),
        (&json!("(removed)"), &Value::Null, &Value::Null)
    );
    // And where the triggers were dropped the keys are still gone: those of the person and the studio's old one.
    raw.script("ALTER TABLE studio.artists DISABLE TRIGGER keep_erased")
        .await
        .unwrap();
    put_back().await;
    // The document knows no answer for what does not open: it is not held against it.
    let asked = world.http.get(format!("{}{}", world.base, person.path));
    let back = asked.bearer_auth(&owner).send().await.unwrap();
    let back = back.text().await.unwrap();
    assert!(!back.contains("@example.org"), "{back}");
    let old = format!(
        "tenancy.answers a WHERE a.tenant_id = '{tenant}' AND EXISTS (SELECT FROM vault.studio_keys k
           WHERE k.tenant_id = a.tenant_id AND k.number = vault.number_of(a.sealed))"
    );
    assert_eq!(count(&raw, &answers).await, 1);
    assert_eq!(count(&raw, &old).await, 0, "nothing opens it");
}

#[tokio::test]
async fn an_erasure_that_was_killed_did_nothing_and_the_next_one_does_it() {
    let world = World::new().await;
    let (raw, other) = (world.as_admin().await, world.as_admin().await);
    let person = Person::of(&world, 0).await;
    person.leave(&world, 0).await;
    let tenant = world.studios[0].tenant;
    let before = marked(&raw, tenant).await;
    let (studio, artist) = (tenant.to_string(), person.artist.to_string());
    let arguments = ["erase", "--studio", &studio, "--person", &artist];
    // It waits for the person's row, after everything else is gone.
    raw.script("BEGIN").await.unwrap();
    let lock = "SELECT FROM studio.artists WHERE id = $1 FOR UPDATE";
    raw.run(lock, &[&person.artist]).await.unwrap();
    let mut command = world.command(&arguments);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let waits =
        "pg_stat_activity WHERE wait_event = 'transactionid' AND datname = current_database()";
    while count(&other, waits).await == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    raw.script("ROLLBACK").await.unwrap();
    let busy = "pg_stat_activity WHERE datname = current_database() AND query LIKE '%custody.erase%' AND state = 'active'
        AND pid <> pg_backend_pid()";
    while count(&other, busy).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(marked(&raw, tenant).await, before);
    let mut command = world.command(&arguments);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(said["receipt"]["note"].is_string());
    assert_eq!(marked(&raw, tenant).await, Vec::<String>::new());
}

/// Whom Clerk still has it would name again: nobody is erased before it let go, and no word of before makes whoever was
/// erased a member anew.
#[tokio::test]
async fn nobody_who_was_erased_becomes_a_member_by_a_word_of_before() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    raw.script("UPDATE tenancy.studios SET admission = 'clerk'")
        .await
        .unwrap();
    let person = Person::of(&world, 0).await;
    let members = |studio: usize| {
        let of = &world.studios[studio];
        let subject = &of.person("freelancer").subject;
        let tenant = of.tenant;
        format!("tenancy.members WHERE tenant_id = '{tenant}' AND subject = '{subject}'")
    };
    person.leave_here(&world, 0).await;
    let (status, refused) = person.erase(&world, 0).await;
    assert_eq!(
        (status, &refused["type"]),
        (409, &json!("/problems/still-here"))
    );
    let why = refused["detail"].as_str().unwrap();
    assert!(why.contains("clerk has let go"), "{why}");
    tell_of(&world, 0, "freelancer", "deleted", 0).await;
    assert_eq!(person.erase(&world, 0).await.0, 200);
    for what in ["deleted", "updated", "created"] {
        tell_of(&world, 0, "freelancer", what, -500).await;
        assert_eq!(count(&raw, &members(0)).await, 0, "{what}");
    }
    // What is kept of them is of this studio alone.
    let here = format!(
        "custody.forgotten WHERE subject_digest IS NOT NULL AND tenant_id = '{}'",
        world.studios[0].tenant
    );
    assert_eq!(count(&raw, &here).await, 1);
    raw.script(&format!("DELETE FROM {}", members(1)))
        .await
        .unwrap();
    tell_of(&world, 1, "freelancer", "created", -500).await;
    assert_eq!(count(&raw, &members(1)).await, 1, "the other studio's");
    // Whoever comes back comes as anybody.
    tell_of(&world, 0, "freelancer", "created", 1_000).await;
    assert_eq!(count(&raw, &members(0)).await, 1);
}

/// Only what the server signed, in an owner's or the service's context.
#[tokio::test]
async fn sql_as_the_app_role_and_other_callers_erase_nobody() {
    let world = World::new().await;
    let person = Person::of(&world, 0).await;
    person.leave(&world, 0).await;
    world
        .expect_refused(&[
            ("SELECT custody.erase('e1|1|x|y|erase|9|n|00')", "ZT002"),
            (
                "SELECT custody.erase_rows(tenancy.tenant_id(), gen_random_uuid(), false)",
                "42501",
            ),
            (
                "INSERT INTO custody.forgotten VALUES (tenancy.tenant_id(), gen_random_uuid(), true)",
                "42501",
            ),
            ("SELECT person FROM custody.forgotten", "42501"),
        ])
        .await;
    let tenant = |studio: usize| TenantId(world.studios[studio].tenant);
    let service = |name, studio| Caller::service(ServiceName::new(name), tenant(studio));
    for (caller, is_fine) in [
        (world.caller(0, "manager").await, false),
        (service("expiry", 0), false),
        // Of another studio: there is nobody of that id.
        (service("custody", 1), false),
        (world.caller(0, "owner").await, true),
        (service("custody", 0), true),
    ] {
        let begun = world.app.tenancy.begin(&caller, world.facts()).await;
        let mut tx = begun.unwrap();
        let erased = erasure::erase(&mut tx, person.artist).await;
        assert_eq!(erased.is_ok(), is_fine, "{caller:?}: {erased:?}");
    }
}

/// Alerts, and what was isolated, name somebody as Clerk does: no more once they are erased, and nobody else's go.
#[tokio::test]
async fn whoever_is_erased_has_no_name_of_clerks_in_alerts() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let person = Person::of(&world, 0).await;
    let subject = |studio: usize, part: &str| world.studios[studio].person(part).subject.clone();
    let gone = subject(0, "freelancer");
    for (studio, about) in [(0, &gone), (0, &subject(0, "manager")), (1, &gone)] {
        let tenant = world.studios[studio].tenant;
        for sql in [
            "INSERT INTO studio.alerts (tenant_id, id, kind, severity, subject, opened_at, last_seen_at, evidence)
             VALUES ($1, gen_random_uuid(), 'probing', 'low', $2, now(), now(), '{1}')",
            "INSERT INTO tenancy.isolations (tenant_id, id, cause, subject, session, ended_at)
             VALUES ($1, gen_random_uuid(), gen_random_uuid(), $2, 'sess_1', now())",
        ] {
            raw.run(sql, &[&tenant, about]).await.unwrap();
        }
    }
    person.leave(&world, 0).await;
    assert_eq!(person.erase(&world, 0).await.0, 200);
    for table in ["studio.alerts", "tenancy.isolations"] {
        let named = format!("{table} WHERE subject = '{gone}'");
        assert_eq!(count(&raw, &named).await, 1, "{table}: the other studio's");
        let tenant = world.studios[0].tenant;
        let all = format!(
            "{table} WHERE tenant_id = '{tenant}' AND subject = '{}'",
            subject(0, "manager")
        );
        assert_eq!(count(&raw, &all).await, 1, "{table}: somebody else's");
        // An isolation of nobody would be one of the whole studio.
        let instead = format!("{table} WHERE subject = 'erased:{}'", person.member);
        assert_eq!(count(&raw, &instead).await, 1, "{table}");
    }
}
