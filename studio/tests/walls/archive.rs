//! A studio's archive: for the studio's own recipients and nobody else. Its way back is in `restoring`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use serde_json::{Value, json};
use studio::{commands::write_private, demo::seed::marker, jobs::archive::write};
use watertight_custody::archive::{Folder, Identities, Recipients};
use watertight_tenancy::support::state;
use watertight_terms::{Clock, TenantId};

use crate::{freeze::freeze, world::World};

/// A folder of archives beside the world's configuration, and an identity a studio.
pub(crate) struct Archives<'a> {
    pub(crate) world: &'a World,
    pub(crate) folder: PathBuf,
    config: PathBuf,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) value: Value,
    pub(crate) said: String,
}

impl<'a> Archives<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        let usual = world.config.keys.location.with_file_name("studio.toml");
        let folder = world.config.keys.location.with_file_name("archives");
        let config = usual.with_file_name("archives.toml");
        let recipients = usual.with_file_name("{studio}.recipients");
        let text = fs::read_to_string(&usual).unwrap();
        let text = format!(
            "{text}[backup]\nfolder = \"{}\"\nrecipients_file = \"{}\"\n",
            folder.display(),
            recipients.display()
        );
        write_private(&config, &text).unwrap();
        let archives = Self {
            world,
            folder,
            config,
        };
        for studio in 0..2 {
            let identities = Identities::generate();
            write_private(&archives.identity(studio), &identities.secrets()).unwrap();
            fs::write(archives.recipients(studio), identities.recipients()).unwrap();
        }
        archives
    }

    fn beside(&self, studio: usize, what: &str) -> PathBuf {
        let name = format!("{}.{what}", self.world.studios[studio].tenant);
        self.config.with_file_name(name)
    }

    pub(crate) fn identity(&self, studio: usize) -> PathBuf {
        self.beside(studio, "identity")
    }

    pub(crate) fn recipients(&self, studio: usize) -> PathBuf {
        self.beside(studio, "recipients")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
        command.arg("--config").arg(&self.config);
        command.args(["--format", "json"]).args(arguments);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        let mut command = self.command(arguments);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap());
        let done = done.await.unwrap();
        Done {
            code: done.status.code().unwrap_or(-1),
            value: serde_json::from_slice(&done.stdout).unwrap_or_default(),
            said: String::from_utf8(done.stderr).unwrap(),
        }
    }

    pub(crate) async fn backup(&self, studio: usize) -> Done {
        let id = self.world.studios[studio].tenant.to_string();
        self.run(&["backup", "--studio", &id]).await
    }

    /// Writes the archives of a studio; gives the one of data.
    pub(crate) async fn written(&self, studio: usize) -> String {
        let done = self.backup(studio).await;
        assert_eq!(done.code, 0, "{}", done.said);
        done.value["data"]["path"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn restore(&self, archive: &str, studio: usize, more: &[&str]) -> Done {
        let identity = self.identity(studio).display().to_string();
        let arguments = [&["restore", archive, "--identity", &identity], more].concat();
        self.run(&arguments).await
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let Ok(read) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        read.map(|entry| entry.unwrap().path()).collect()
    }
}

pub(crate) async fn booking_of_before(world: &World, studio: usize) -> String {
    world
        .pencil(studio, 0, "2031-03-01T08:00:00Z", "2031-03-01T16:00:00Z")
        .await
}

#[tokio::test]
async fn an_archive_shows_nothing_and_is_its_owners_alone() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    booking_of_before(&world, 0).await;
    let body = json!({ "name": "Mia Moss", "email": "mia@example.org" });
    let owner = world.token(0, "owner");
    let (status, _) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    assert_eq!(status, 201);
    let archive = archives.written(0).await;
    let files = archives.files();
    assert_eq!(files.len(), 2, "data and keys, and nothing beside them");
    let word = marker(&world.studios[0].letter);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{file:?}");
        for word in [
            word,
            "mia@example.org",
            "tenant_id",
            "studio.artists",
            "manifest",
        ] {
            let found = bytes
                .windows(word.len())
                .any(|some| some.eq_ignore_ascii_case(word.as_bytes()));
            assert!(!found, "`{word}` stands in {file:?}");
        }
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let mode = fs::metadata(&archives.folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    // It is there for who holds the secret, and says the studio's rows and no others.
    let identity = archives.identity(0).display().to_string();
    let seen = archives
        .run(&["backup", "inspect", &archive, "--identity", &identity])
        .await;
    assert_eq!(seen.code, 0, "{}", seen.said);
    let text = opened(&archives, 0, &archive);
    assert!(text.contains(word));
    assert!(!text.contains(marker(&world.studios[1].letter)));
    assert!(!text.contains(&world.studios[1].tenant.to_string()));
    let keys = files
        .iter()
        .find(|file| file.to_string_lossy().contains(".keys."));
    assert!(!text.contains("wrapped"), "keys are apart");
    assert!(!text.contains("mia@example.org") && text.contains("Mia Moss"));
    assert!(opened(&archives, 0, keys.unwrap().to_str().unwrap()).contains("wrapped"));
    let listed = archives.run(&["backup", "list"]).await;
    assert_eq!(listed.value["archives"].as_array().unwrap().len(), 2);
}

/// All rows of an archive.
pub(crate) fn opened(archives: &Archives<'_>, studio: usize, archive: &str) -> String {
    use watertight_custody::archive::{Seen, read};
    let secrets = fs::read_to_string(archives.identity(studio)).unwrap();
    let ring = (archives.world.app.desk.checkpoint_keys)();
    let mut text = String::new();
    let file = fs::File::open(archive).unwrap();
    read(file, &Identities::parse(&secrets).unwrap(), &ring, |seen| {
        if let Seen::Row { row, .. } = seen {
            text += row;
        }
        Ok(())
    })
    .unwrap();
    text
}

#[tokio::test]
async fn without_recipients_nothing_is_written_and_nobody_else_reads() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    for text in ["", "# nobody yet\n", "age1nonsense\n"] {
        fs::write(archives.recipients(0), text).unwrap();
        let done = archives.backup(0).await;
        assert_eq!(done.code, 2, "{}", done.said);
        assert!(done.said.contains("recipients"), "{}", done.said);
    }
    fs::remove_file(archives.recipients(0)).unwrap();
    assert_eq!(archives.backup(0).await.code, 2);
    assert_eq!(archives.files(), Vec::<PathBuf>::new());

    let archive = archives.written(1).await;
    for more in [&["--plan"][..], &[]] {
        let done = archives.restore(&archive, 0, more).await;
        assert_eq!(done.code, 1);
        assert!(done.said.contains("no identity"), "{}", done.said);
    }
    assert_eq!(archives.restore(&archive, 1, &["--plan"]).await.code, 0);
}

/// Only what the server signed, only in the service's own context, and a snapshot for nobody else.
#[tokio::test]
async fn sql_as_the_app_role_takes_nothing_out_and_brings_nothing_in() {
    let world = World::new().await;
    let raw = world.as_app().await;
    world
        .expect_refused(&[
            (
                "SELECT custody.page(tenancy.tenant_id(), 'studio.artists', NULL, 9)",
                "42501",
            ),
            (
                "SELECT custody.settle(tenancy.tenant_id(), true, '{}')",
                "42501",
            ),
            (
                "SELECT custody.bring_back(tenancy.tenant_id(), '{}')",
                "42501",
            ),
            (
                "SELECT custody.forgotten_there(tenancy.tenant_id(), gen_random_uuid())",
                "42501",
            ),
            ("SELECT custody.make_room('{}')", "42501"),
            ("SELECT custody.archive('a1|1|x|9|n|00')", "ZT002"),
            ("SELECT custody.archive_page('a2|1|x|y||9|9|n|00')", "ZT002"),
            ("SELECT custody.restore_alone('a7|1|x|9|n|00')", "ZT002"),
            ("SELECT custody.restore_end('a6|1|x|y|9|n|00')", "ZT002"),
            ("SELECT * FROM custody.forgotten", "42501"),
        ])
        .await;
    for context in [
        world.context(0, "owner"),
        world.service_context(0, "expiry"),
    ] {
        raw.script("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await
            .unwrap();
        let refused = raw
            .run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap_err();
        assert_eq!(state(&refused), "ZT005");
        raw.script("ROLLBACK").await.unwrap();
    }
}

/// The server itself, in another service's context.
#[tokio::test]
async fn another_service_takes_nothing_out() {
    use watertight_custody::archive::Snapshot;
    use watertight_identity::{Caller, ServiceName};
    use watertight_terms::TenantId;
    let world = World::new().await;
    let tenant = TenantId(world.studios[0].tenant);
    for (service, is_fine) in [("custody", true), ("expiry", false)] {
        let caller = Caller::service(ServiceName::new(service), tenant);
        let mut tx = world
            .app
            .tenancy
            .begin(&caller, world.facts())
            .await
            .unwrap();
        assert_eq!(Snapshot::of(&mut tx).await.is_ok(), is_fine, "{service}");
    }
}

/// A table that nobody thought of would be missing on the day that it is needed.
#[tokio::test]
async fn every_table_of_the_product_is_in_an_archive() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let missing: Vec<String> = raw
        .value(
            "SELECT coalesce(array_agg(c.oid::regclass::text), '{}') FROM pg_class c
             WHERE c.relkind = 'r' AND c.relnamespace IN ('studio'::regnamespace, 'vault'::regnamespace)
               AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
               AND NOT EXISTS (SELECT FROM custody.archived a WHERE a.rel = c.oid)",
            &[],
        )
        .await
        .unwrap();
    // Copies of the others.
    assert_eq!(missing, ["studio.export_parts"]);
    // What refers to restored rows is restored, or known to follow.
    let loose: Vec<String> = raw
        .value(
            "SELECT coalesce(array_agg(k.conname::text), '{}') FROM pg_constraint k JOIN custody.archived a ON a.rel = k.confrelid
             WHERE k.contype = 'f' AND a.is_restored
               AND (NOT k.condeferrable OR NOT EXISTS (SELECT FROM custody.archived r WHERE r.rel = k.conrelid AND r.is_restored)
                 AND NOT EXISTS (SELECT FROM custody.follows f WHERE f.rel = k.conrelid AND f.reference = k.conname))",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(loose, Vec::<String>::new());
}

/// The schema `vault` is left out of a copy, or lost: then the archive of keys is all that opens the rows again.
#[tokio::test]
async fn keys_that_a_cluster_lost_come_back_and_nobodys_who_was_forgotten() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    // Anew each time: what is run between takes longer than a token lives.
    let owner = || world.token(0, "owner");
    let path = |artist: usize| format!("/v1/artists/{}", world.studios[0].artists[artist]);
    let email = |artist: usize| format!("lost{artist}@example.org");
    let write = async |artist: usize| {
        let says = json!({ "email": email(artist) });
        let (status, told) = world
            .send("PATCH", &path(artist), &owner(), Some(says))
            .await;
        assert_eq!(status, 200, "{told}");
    };
    write(0).await;
    write(1).await;
    let data = archives.written(0).await;
    let keys = data.replace(".data.age", ".keys.age");
    let there = archives.restore(&keys, 0, &[]).await;
    assert_eq!(
        (there.code, &there.value["added"]),
        (0, &json!(0)),
        "{}",
        there.said
    );
    for more in [
        &["--plan"][..],
        &["--into-new", &world.studios[1].tenant.to_string()],
    ] {
        assert_eq!(archives.restore(&keys, 0, more).await.code, 1, "{more:?}");
    }
    let lose = "TRUNCATE vault.person_keys, vault.studio_keys";
    raw.script(lose).await.unwrap();
    let forget = "INSERT INTO custody.forgotten VALUES ($1, $2, true)";
    let (tenant, gone) = (world.studios[0].tenant, world.studios[0].artists[1]);
    raw.run(forget, &[&tenant, &gone]).await.unwrap();
    let back = archives.restore(&keys, 0, &[]).await;
    assert_eq!(
        (back.code, &back.value["forgotten"]),
        (0, &json!(1)),
        "{}",
        back.said
    );
    let (_, artist) = world.send("GET", &path(0), &owner(), None).await;
    assert_eq!(artist["email"], json!(email(0)));
    let count = async |of: &str| {
        let sql = format!("SELECT count(*) FROM vault.person_keys WHERE {of}");
        raw.value::<i64>(&sql, &[]).await.unwrap()
    };
    assert_eq!(count(&format!("person = '{gone}'")).await, 0);
    assert_eq!(count(&format!("tenant_id <> '{tenant}'")).await, 0);
    // Where a new key has taken the lost one's number, the old ones under it would open nothing.
    raw.script(lose).await.unwrap();
    write(0).await;
    let refused = archives.restore(&keys, 0, &[]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.said.contains("others now"), "{}", refused.said);
    assert_eq!(count("true").await, 1);
}

/// What was sealed since the archive was written needs newer keys; and who has some keys may need others.
#[tokio::test]
async fn keys_of_before_a_rotation_are_refused_and_those_that_are_missing_come_back() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let owner = || world.token(0, "owner");
    let artist = world.studios[0].artists[0];
    let path = format!("/v1/artists/{artist}");
    let says = json!({ "email": "kept@example.org" });
    assert_eq!(
        world.send("PATCH", &path, &owner(), Some(says)).await.0,
        200
    );
    let keys = async || archives.written(0).await.replace(".data.age", ".keys.age");
    let older = keys().await;
    for step in [&["keys", "rotate", "vault"][..], &["keys", "reseal"]] {
        let done = archives.run(step).await;
        assert_eq!(done.code, 0, "{}", done.said);
    }
    // Archives have names by the millisecond, and each is one.
    let newer = keys().await;
    assert_ne!(older, newer);
    let count = async || {
        let sql = "SELECT count(*) FROM vault.person_keys WHERE tenant_id = $1";
        let tenant = world.studios[0].tenant;
        raw.value::<i64>(sql, &[&tenant]).await.unwrap()
    };
    let there = count().await;
    raw.script("TRUNCATE vault.person_keys, vault.studio_keys")
        .await
        .unwrap();
    let refused = archives.restore(&older, 0, &[]).await;
    assert_eq!((refused.code, count().await), (1, 0), "{}", refused.said);
    assert!(refused.said.contains("last rotation"), "{}", refused.said);

    // Nobody is forgotten while they come back.
    let tenant = world.studios[0].tenant;
    raw.script("BEGIN").await.unwrap();
    let hold = "SELECT pg_advisory_xact_lock_shared(custody.lock_key($1))";
    raw.run(hold, &[&tenant]).await.unwrap();
    assert_eq!(archives.restore(&newer, 0, &[]).await.code, 1);
    raw.script("ROLLBACK").await.unwrap();
    let back = archives.restore(&newer, 0, &[]).await;
    assert_eq!((back.code, count().await), (0, there), "{}", back.said);

    raw.script(&format!(
        "UPDATE vault.person_keys SET number = 77 WHERE person = '{artist}'"
    ))
    .await
    .unwrap();
    let back = archives.restore(&newer, 0, &[]).await;
    assert_eq!(
        (back.code, &back.value["added"]),
        (0, &json!(1)),
        "{}",
        back.said
    );
    // The one that was made up opens nothing, and is in the way.
    raw.script("UPDATE vault.person_keys SET person = gen_random_uuid() WHERE number = 77")
        .await
        .unwrap();
    let (_, shown) = world.send("GET", &path, &owner(), None).await;
    assert_eq!(shown["email"], "kept@example.org");
    // Another key under the number of the lost one.
    raw.script(
        "UPDATE vault.person_keys SET wrapped = decode(repeat('00', 60), 'hex') WHERE number <> 77",
    )
    .await
    .unwrap();
    let refused = archives.restore(&newer, 0, &[]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.said.contains("others now"), "{}", refused.said);
}

#[tokio::test]
async fn a_drill_brings_a_studio_back_elsewhere_and_leaves_nothing() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    booking_of_before(&world, 0).await;
    let body = json!({ "name": "Mia Moss", "email": "mia@example.org" });
    let owner = world.token(0, "owner");
    let (status, _) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    assert_eq!(status, 201);
    let folder = archives.identity(0).with_extension("drills");
    fs::create_dir(&folder).unwrap();
    let studio = world.studios[0].tenant.to_string();
    let place = folder.display().to_string();
    let done = archives
        .run(&["drill", "--studio", &studio, "--folder", &place])
        .await;
    assert_eq!(done.code, 0, "{}", done.said);
    let drill = &done.value["drills"][0];
    assert_eq!(drill["differing"], json!([]));
    assert!(drill["rows"].as_u64().unwrap() > 10 && drill["keys"].as_u64().unwrap() > 1);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(archives.files(), Vec::<PathBuf>::new());
    // One that nobody may enter keeps no other from its drill.
    freeze(&world, 0).await;
    let done = archives.run(&["drill", "--folder", &place]).await;
    assert_eq!(done.code, 1, "{}", done.said);
    let drills = done.value["drills"].as_array().unwrap();
    let of = |studio: usize| {
        let id = json!(world.studios[studio].tenant);
        drills.iter().find(|one| one["studio"] == id).unwrap()
    };
    assert_eq!(of(1)["differing"], json!([]));
    assert!(of(0)["failed"].is_string(), "{}", of(0));
}

/// Keys without the rows that they are of would be taken for an archive.
#[tokio::test]
async fn an_archive_of_keys_does_not_stay_without_its_rows() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let at = world.app.clock.now();
    let mut app = world.app.clone();
    app.desk.clock = Clock::fixed(at);
    let studio = TenantId(world.studios[0].tenant);
    let folder = Folder::new(&archives.folder);
    let recipients = fs::read_to_string(archives.recipients(0)).unwrap();
    let recipients = Recipients::parse(&recipients).unwrap();
    // In the place of the rows something stands already.
    let name = format!("{studio}_{}.data.age", at.strftime("%Y%m%dT%H%M%S.%3fZ"));
    let taken = archives.folder.join(name);
    fs::create_dir_all(&taken).unwrap();
    let written = write(&app, studio, &folder, &recipients, |_, _| {}).await;
    assert!(written.is_err(), "{written:?}");
    assert_eq!(archives.files(), [taken.as_path()]);
    fs::remove_dir(&taken).unwrap();
    let written = write(&app, studio, &folder, &recipients, |_, _| {}).await;
    assert_eq!(written.unwrap().data.0, taken);
    assert_eq!(archives.files().len(), 2);
}

/// A snapshot that is older than a freeze shows nothing of the frozen studio.
#[tokio::test]
async fn a_snapshot_of_before_a_freeze_is_refused() {
    let world = World::new().await;
    let (raw, admin) = (world.as_app().await, world.as_admin().await);
    let tenant = world.studios[0].tenant;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    raw.script(begin).await.unwrap();
    raw.run(
        "SELECT tenancy.enter($1)",
        &[&world.service_context(0, "custody")],
    )
    .await
    .unwrap();
    // And it does not hold up whoever freezes.
    admin.script("SET lock_timeout = '1s'").await.unwrap();
    admin
        .run("SELECT tenancy.freeze_mark($1)", &[&tenant])
        .await
        .unwrap();
    admin
        .run("SELECT tenancy.thaw($1)", &[&tenant])
        .await
        .unwrap();
    raw.script("ROLLBACK").await.unwrap();

    raw.script(begin).await.unwrap();
    admin
        .run("SELECT tenancy.freeze_mark($1)", &[&tenant])
        .await
        .unwrap();
    admin
        .run("SELECT tenancy.freeze_drain($1)", &[&tenant])
        .await
        .unwrap();
    let context = world.service_context(0, "custody");
    let refused = raw
        .run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap_err();
    assert_eq!(state(&refused), "40001");
}
