//! The way back from an archive: whole or not at all, and never past what was forgotten, what is held, or another studio.

use std::{fs, path::Path};

use serde_json::{Value, json};
use watertight_tenancy::support::{RawConnection, state};
use watertight_terms::KeyFile;

use crate::{
    archive::{Archives, Done, booking_of_before, opened},
    freeze::freeze,
    ledger::settle,
    world::World,
};

/// Between two looks.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(200);

/// Tables that a restore brings back, and those that it leaves.
const WORK: [&str; 9] = [
    "settings",
    "artists",
    "projects",
    "phases",
    "holidays",
    "bookings",
    "booking_versions",
    "occupancy",
    "time_off",
];

/// Every row of a studio in the tables of its work, as text. When versions were placed in the stream of events is not
/// theirs to keep.
pub(crate) async fn work(raw: &RawConnection, world: &World, studio: usize) -> Vec<String> {
    let mut all = Vec::new();
    for table in WORK {
        let sql = format!(
            "SELECT coalesce(string_agg((to_jsonb(t) - 'xact')::text, E'\\n' ORDER BY to_jsonb(t) ->> 'id'), '')
             FROM studio.{table} t WHERE tenant_id = '{}'",
            world.studios[studio].tenant
        );
        let rows: String = raw.value(&sql, &[]).await.unwrap();
        all.push(format!("{table}\n{rows}"));
    }
    all
}

/// Everything of a studio but what its own people write meanwhile.
async fn whole(raw: &RawConnection, world: &World, studio: usize) -> String {
    let tables: String = raw
        .value(
            "SELECT string_agg(c.oid::regclass::text, ',' ORDER BY c.oid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relkind = 'r' AND a.attname = 'tenant_id' AND c.relnamespace <> 'pg_catalog'::regnamespace
               AND c.oid::regclass::text NOT IN ('jobs.due')",
            &[],
        )
        .await
        .unwrap();
    let mut all = String::new();
    for table in tables.split(',') {
        let sql = format!(
            "SELECT md5(coalesce(string_agg(to_jsonb(t)::text, E'\\n' ORDER BY to_jsonb(t)::text), '')) FROM {table} t WHERE tenant_id = '{}'",
            world.studios[studio].tenant
        );
        let digest: String = raw.value(&sql, &[]).await.unwrap();
        all += &format!("{table} {digest}\n");
    }
    all
}

/// Changes a bit of everything in a studio.
pub(crate) async fn go_on(world: &World, studio: usize) {
    let owner = world.token(studio, "owner");
    world
        .pencil(studio, 0, "2031-07-01T08:00:00Z", "2031-07-01T16:00:00Z")
        .await;
    let (status, listed) = world.send("GET", "/v1/bookings", &owner, None).await;
    assert_eq!(status, 200);
    let old = listed["items"][0]["id"].as_str().unwrap();
    let version = listed["items"][0]["version"].to_string();
    let path = format!("/v1/bookings/{old}");
    let tag = format!("\"v{version}\"");
    let answered = world
        .ask(
            "PATCH",
            &path,
            &owner,
            &[("if-match", &tag)],
            Some(json!({ "title": "changed since" })),
        )
        .await;
    assert_eq!(answered.status, 200, "{:?}", answered.body);
    let body = json!({ "name": "Came Later", "email": "later@example.org" });
    let (status, made) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    assert_eq!(status, 201, "{made}");
    let body = json!({ "day": "2031-12-06", "name": "Feast" });
    let (status, made) = world.send("POST", "/v1/holidays", &owner, Some(body)).await;
    assert_eq!(status, 201, "{made}");
}

#[tokio::test]
async fn a_studio_comes_back_and_the_other_is_as_it_was() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let owner = world.token(0, "owner");
    let booking = booking_of_before(&world, 0).await;
    let body = json!({ "name": "Mia Moss", "email": "mia@example.org" });
    let (_, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    let hook = json!({ "url": "https://hooks.example.test/bookings" });
    let (status, made) = world.send("POST", "/v1/webhooks", &owner, Some(hook)).await;
    assert_eq!(status, 201, "{made}");
    let before = work(&raw, &world, 0).await;
    let archive = archives.written(0).await;
    go_on(&world, 0).await;
    let told: i64 = raw
        .value("SELECT count(*) FROM studio.deliveries", &[])
        .await
        .unwrap();
    assert!(told > 0, "the new version is told");
    let artist = format!("/v1/artists/{}", artist["id"].as_str().unwrap());
    assert_eq!(world.send("DELETE", &artist, &owner, None).await.0, 204);
    assert_ne!(work(&raw, &world, 0).await, before);

    let seen = work(&raw, &world, 0).await;
    let plan = archives.restore(&archive, 0, &["--plan"]).await;
    assert_eq!(plan.code, 0, "{}", plan.said);
    assert_eq!(work(&raw, &world, 0).await, seen, "a plan changes nothing");
    let of = |done: &Done, table: &str| {
        let all = done.value["tables"].as_array().unwrap().clone();
        let found = all
            .iter()
            .find(|one| one["table"] == json!(format!("studio.{table}")));
        let found = found.unwrap();
        ["removed", "changed", "added"].map(|what| found[what].as_i64().unwrap())
    };
    assert_eq!(of(&plan, "artists"), [1, 1, 0]);
    assert_eq!(of(&plan, "holidays"), [1, 0, 0]);
    assert_eq!(of(&plan, "bookings")[0], 1);

    // Entries get their numbers by whoever looks next: the restore must not be the one.
    settle(&world.app).await;
    let key = context_key(&world);
    let (other, entries) = (whole(&raw, &world, 1).await, world.entries(0).await);
    let since: String = raw
        .value("SELECT clock_timestamp()::text", &[])
        .await
        .unwrap();
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(work(&raw, &world, 0).await, before);
    assert_eq!(whole(&raw, &world, 1).await, other);
    assert_eq!(
        done.value["tables"], plan.value["tables"],
        "as it was planned"
    );
    let told = format!("SELECT count(*) FROM studio.deliveries WHERE created_at > '{since}'");
    let told: i64 = raw.value(&told, &[]).await.unwrap();
    assert_eq!(told, 0, "nobody is told");

    // What was signed before is worth nothing after.
    assert_ne!(context_key(&world), key);
    assert_eq!(done.value["context_key"], json!(context_key(&world)));

    // The ledger goes on, and says it.
    assert_eq!(world.entries(0).await, entries + 1);
    let noted: Value = raw
        .value(
            "SELECT body FROM ledger.entries WHERE body ->> 'action' = 'studio.restore'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(noted["actor"], json!("service:custody"));
    assert_eq!(noted["ids"], json!([done.value["pair"]]));

    // And the studio works: what came back opens, and changes.
    let owner = world.token(0, "owner");
    let (status, read) = world.send("GET", &artist, &owner, None).await;
    assert_eq!((status, &read["email"]), (200, &json!("mia@example.org")));
    let path = format!("/v1/bookings/{booking}/release");
    let (status, released) = world.send("POST", &path, &owner, Some(json!({}))).await;
    assert_eq!(status, 200, "{released}");
    let again = archives.restore(&archive, 0, &["--plan"]).await;
    assert_eq!(of(&again, "artists"), [0, 0, 0]);
    assert_eq!(of(&again, "bookings"), [0, 1, 0]);
}

/// The number of the key that contexts are signed with.
pub(crate) fn context_key(world: &World) -> i16 {
    let file = KeyFile::read(&world.config.keys.location).unwrap();
    file.ring("context").unwrap().current().unwrap().0
}

#[tokio::test]
async fn an_archive_that_was_touched_brings_nothing_back() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let archive = archives.written(0).await;
    go_on(&world, 0).await;
    let before = work(&raw, &world, 0).await;
    let bytes = fs::read(&archive).unwrap();
    let touched = Path::new(&archive).with_file_name("touched.data.age");
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, why) in [
        (flipped, "flipped"),
        (bytes[..bytes.len() - 40].to_vec(), "cut off"),
        ([bytes.as_slice(), b"x"].concat(), "longer"),
        (forged(&archives), "not signed here"),
    ] {
        fs::write(&touched, bytes).unwrap();
        let done = archives.restore(touched.to_str().unwrap(), 0, &[]).await;
        assert_eq!(done.code, 1, "{why}: {}", done.said);
        assert_eq!(work(&raw, &world, 0).await, before, "{why}");
    }
    // Whole, but of keys, which are all there: nothing comes back.
    let keys = archive.replace(".data.", ".keys.");
    assert_eq!(archives.restore(&keys, 0, &[]).await.code, 0);
    assert_eq!(work(&raw, &world, 0).await, before);
    assert_eq!(archives.restore(&archive, 0, &[]).await.code, 0);
}

/// An archive for the studio's recipients that somebody else made: those are no secret.
fn forged(archives: &Archives<'_>) -> Vec<u8> {
    use watertight_custody::archive::{FORMAT, Head, Kind, Recipients, Writer};
    use watertight_terms::{Key, KeyRing, TenantId};
    let recipients = fs::read_to_string(archives.recipients(0)).unwrap();
    let head = Head {
        format: FORMAT.to_owned(),
        kind: Kind::Data,
        studio: TenantId(archives.world.studios[0].tenant),
        made_at: "2026-11-27T00:00:00Z".parse().unwrap(),
        pair: archives.world.studios[0].tenant,
        schema: String::new(),
        tables: Vec::new(),
    };
    let to = Recipients::parse(&recipients).unwrap();
    let writer = Writer::new(Vec::new(), &to, head).unwrap();
    let ring = KeyRing::single(1, Key::new([7; 32]));
    writer.finish(None, &ring).unwrap().0
}

/// What is gone for good does not come back with an older archive: neither the keys nor what stands in the clear.
#[tokio::test]
async fn nobody_who_was_forgotten_comes_back() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let owner = world.token(0, "owner");
    let mut ids = Vec::new();
    for (name, email) in [
        ("Mia Moss", Some("mia@example.org")),
        ("Nils Nobody", None),
        ("Ola Oak", None),
    ] {
        let body = json!({ "name": name, "notes": "left-handed", "email": email });
        let (status, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
        assert_eq!(status, 201, "{artist}");
        ids.push(artist["id"].as_str().unwrap().to_owned());
    }
    let archive = archives.written(0).await;
    assert!(opened(&archives, 0, &archive).contains("Mia Moss"));
    for id in &ids {
        let path = format!("/v1/artists/{id}");
        let owner = world.token(0, "owner");
        assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    }
    raw.script(
        "SET session_replication_role = replica;
         UPDATE studio.artists SET archived_at = archived_at - interval '9 years' WHERE archived_at IS NOT NULL;
         RESET session_replication_role",
    )
    .await
    .unwrap();
    let gone = archives.run(&["retain", "run"]).await;
    assert_eq!(gone.value["rows"], json!(3), "{}", gone.said);
    // And one is erased, whom no key would tell of.
    let body = json!({ "name": "Pia Pine", "notes": "left-handed" });
    let owner = world.token(0, "owner");
    let (_, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    let erased = artist["id"].as_str().unwrap().to_owned();
    let archive_of_all = archives.written(0).await;
    let path = format!("/v1/artists/{erased}");
    let owner = world.token(0, "owner");
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    let studio = world.studios[0].tenant.to_string();
    let done = archives
        .run(&["erase", "--studio", &studio, "--person", &erased])
        .await;
    assert_eq!(done.code, 0, "{}", done.said);
    let done = archives.restore(&archive_of_all, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    ids.push(erased);

    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    for id in &ids {
        let row: Value = raw
            .value(
                &format!("SELECT to_jsonb(a) FROM studio.artists a WHERE id = '{id}'"),
                &[],
            )
            .await
            .unwrap();
        assert_eq!(
            (&row["name"], &row["notes"], &row["email"]),
            (&json!("(removed)"), &json!(""), &Value::Null)
        );
    }
    let keys: i64 = raw
        .value(
            &format!(
                "SELECT count(*) FROM vault.person_keys WHERE person = '{}'",
                ids[0]
            ),
            &[],
        )
        .await
        .unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn what_is_held_stays_as_it_is() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let archive = archives.written(0).await;
    go_on(&world, 0).await;
    let owner = world.token(0, "owner");
    let hold = json!({ "scope": "studio", "reason": "r" });
    let (status, placed) = world
        .send("POST", "/v1/legal-holds", &owner, Some(hold))
        .await;
    assert_eq!(status, 201, "{placed}");
    let before = work(&raw, &world, 0).await;
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 1);
    assert!(done.said.contains("legal hold"), "{}", done.said);
    assert_eq!(work(&raw, &world, 0).await, before);
    let path = format!("/v1/legal-holds/{}/release", placed["id"].as_str().unwrap());
    let released = async {
        // Until the backend of the command that was refused has noticed its end.
        while world
            .send("POST", &path, &world.token(0, "owner"), None)
            .await
            .0
            == 503
        {
            tokio::time::sleep(MOMENT).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), released)
        .await
        .unwrap();
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
}

#[tokio::test]
async fn a_new_studio_takes_an_archive_without_what_is_sealed() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    booking_of_before(&world, 0).await;
    let archive = archives.written(0).await;
    let other = world.studios[1].tenant.to_string();
    let taken = archives.restore(&archive, 0, &["--into-new", &other]).await;
    assert_eq!(taken.code, 1, "{}", taken.said);
    assert!(taken.said.contains("work of its own"), "{}", taken.said);
    let made: String = raw
        .value("SELECT studio.create_studio('New', 'Europe/Berlin', 'org_new', 'user_new', 'owner')::text", &[])
        .await
        .unwrap();
    settle(&world.app).await;
    let before = (whole(&raw, &world, 0).await, whole(&raw, &world, 1).await);
    let done = archives.restore(&archive, 0, &["--into-new", &made]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(
        (whole(&raw, &world, 0).await, whole(&raw, &world, 1).await),
        before
    );
    let count = |tenant: String| {
        let sql = format!(
            "SELECT jsonb_build_array((SELECT count(*) FROM studio.bookings WHERE tenant_id = '{tenant}'),
               (SELECT count(*) FROM studio.artists WHERE tenant_id = '{tenant}'))"
        );
        let raw = &raw;
        async move { raw.value::<Value>(&sql, &[]).await.unwrap() }
    };
    assert_eq!(
        count(made.clone()).await,
        count(world.studios[0].tenant.to_string()).await
    );
    let sealed: i64 = raw
        .value(&format!("SELECT count(*) FROM studio.artists WHERE tenant_id = '{made}' AND email IS NOT NULL"), &[])
        .await
        .unwrap();
    assert_eq!(sealed, 0);
}

/// After an incident a studio is mended before anybody is let in.
#[tokio::test]
async fn a_frozen_studio_comes_back_and_stays_frozen() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let archive = archives.written(0).await;
    let before = work(&raw, &world, 0).await;
    go_on(&world, 0).await;
    freeze(&world, 0).await;
    let since = work(&raw, &world, 0).await;
    let planned = archives.restore(&archive, 0, &["--plan"]).await;
    assert_eq!(planned.code, 0, "{}", planned.said);
    assert_eq!(work(&raw, &world, 0).await, since);
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(work(&raw, &world, 0).await, before);
    let owner = world.token(0, "owner");
    assert_eq!(world.send("GET", "/v1/artists", &owner, None).await.0, 403);
    // Nobody else enters it, and whoever does enters no other; nothing else is done so.
    let app = world.as_app().await;
    for (studio, service, expected) in [
        (0, "restore", None),
        (0, "custody", Some("ZT020")),
        (1, "custody", None),
        (1, "restore", Some("ZT010")),
    ] {
        app.script("BEGIN").await.unwrap();
        let context = world.service_context(studio, service);
        let entered = app.run("SELECT tenancy.enter($1)", &[&context]).await;
        let refused = entered.err().map(|error| state(&error).to_owned());
        assert_eq!(refused.as_deref(), expected, "{service} of {studio}");
        app.script("ROLLBACK").await.unwrap();
    }
    let id = world.studios[0].tenant.to_string();
    assert_ne!(archives.run(&["backup", "--studio", &id]).await.code, 0);
}

/// Rows by force, so that there is time to be killed in: artists that nobody refers to.
async fn many(raw: &RawConnection, world: &World, studio: usize, rows: u32) {
    raw.script(&format!(
        "SET session_replication_role = replica;
         INSERT INTO studio.holidays (tenant_id, id, day, name)
           SELECT '{}', gen_random_uuid(), date '2040-01-01' + n, 'Feast ' || n FROM generate_series(1, {rows}) n;
         RESET session_replication_role",
        world.studios[studio].tenant
    ))
    .await
    .unwrap();
}

/// Starts it, waits until the database says that it is in the middle, and kills it.
async fn killed(archives: &Archives<'_>, raw: &RawConnection, arguments: &[&str], middle: &str) {
    let mut child = archives
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%{middle}%' AND pid <> pg_backend_pid()"
    );
    loop {
        let found: i64 = raw.value(&sql, &[]).await.unwrap();
        if found > 0 {
            break;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before `{middle}`"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn who_is_killed_leaves_what_was_and_the_next_run_finishes() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    many(&raw, &world, 0, 6_000).await;
    let id = world.studios[0].tenant.to_string();
    let before = work(&raw, &world, 0).await;
    killed(
        &archives,
        &raw,
        &["backup", "--studio", &id],
        "archive_page",
    )
    .await;
    let left = archives.files();
    assert!(
        left.iter()
            .all(|file| file.to_string_lossy().ends_with(".part")),
        "{left:?}"
    );
    for file in left {
        let bytes = fs::read(file).unwrap();
        let begin = b"age-encryption.org/v1\n";
        assert!(
            bytes.is_empty() || bytes.starts_with(begin),
            "encrypted from its first byte on"
        );
    }
    let archive = archives.written(0).await;
    assert_eq!(archives.files().len(), 2, "what was left is gone");

    raw.script(&format!(
        "DELETE FROM studio.holidays WHERE tenant_id = '{id}'"
    ))
    .await
    .unwrap();
    go_on(&world, 0).await;
    let since = work(&raw, &world, 0).await;
    let identity = archives.identity(0).display().to_string();
    let restore = ["restore", &archive, "--identity", &identity];
    for middle in ["restore_rows", "restore_settle", "restore_end"] {
        killed(&archives, &raw, &restore, middle).await;
        // Its backend notices with its next answer.
        let alone = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{middle}%' AND pid <> pg_backend_pid()"
        );
        raw.run(&alone, &[]).await.unwrap();
        assert_eq!(work(&raw, &world, 0).await, since, "{middle}");
        let let_in = async {
            while world
                .send("GET", "/v1/artists", &world.token(0, "owner"), None)
                .await
                .0
                != 200
            {
                tokio::time::sleep(MOMENT).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), let_in)
            .await
            .unwrap();
    }
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(work(&raw, &world, 0).await, before);
}

#[tokio::test]
async fn others_write_throughout_and_lose_nothing() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    many(&raw, &world, 0, 5_000).await;
    let archive = archives.written(0).await;
    let id = world.studios[0].tenant.to_string();
    raw.script(&format!(
        "DELETE FROM studio.holidays WHERE tenant_id = '{id}'"
    ))
    .await
    .unwrap();
    let writing = async {
        let mut made = Vec::new();
        for day in 1..=200 {
            let owner = world.token(1, "owner");
            let body = json!({ "day": format!("2035-{:02}-{:02}", 1 + day / 28, 1 + day % 28), "name": "Feast" });
            let (status, holiday) = world.send("POST", "/v1/holidays", &owner, Some(body)).await;
            assert_eq!(status, 201, "{holiday}");
            made.push(holiday["id"].as_str().unwrap().to_owned());
        }
        made
    };
    let (done, made) = tokio::join!(archives.restore(&archive, 0, &[]), writing);
    assert_eq!(done.code, 0, "{}", done.said);
    let there: i64 = raw
        .value(
            "SELECT count(*) FROM studio.holidays WHERE tenant_id = $1 AND id::text = ANY ($2)",
            &[&world.studios[1].tenant, &made],
        )
        .await
        .unwrap();
    assert_eq!(there, 200);
    let back: i64 = raw
        .value(&format!("SELECT count(*) FROM studio.holidays WHERE tenant_id = '{id}' AND name LIKE 'Feast %'"), &[])
        .await
        .unwrap();
    assert_eq!(back, 5_000);
}

/// Who is in the studio when it is brought back is not in it any more.
#[tokio::test]
async fn whoever_holds_on_to_the_studio_is_ended() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let archive = archives.written(0).await;
    let (here, there) = (world.as_app().await, world.as_app().await);
    for (raw, studio) in [(&here, 0), (&there, 1)] {
        raw.script("BEGIN").await.unwrap();
        raw.run(
            "SELECT tenancy.enter($1)",
            &[&world.context(studio, "owner")],
        )
        .await
        .unwrap();
        raw.script(
            "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0",
        )
        .await
        .unwrap();
    }
    let done = archives.restore(&archive, 0, &[]).await;
    assert_eq!(
        (done.code, &done.value["ended"]),
        (0, &json!(1)),
        "{}",
        done.said
    );
    assert!(here.script("SELECT 1").await.is_err());
    assert!(there.script("SELECT 1").await.is_ok());
}
