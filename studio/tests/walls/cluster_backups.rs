//! Backups of the whole cluster, as `deploy/pgbackrest` sets them up: really made, encrypted, and brought back to a point
//! in time in a cluster of its own.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use studio::commands::write_private;
use watertight_cluster::{Cluster, Options};
use watertight_tenancy::support::RawConnection;
use watertight_terms::Random;

use crate::world::{Like, World};

const MARKER: &str = "Quokka7f3aOfTheCluster";

/// pgBackRest over the files of `deploy/`, with the places of a test in them.
struct Backups {
    folder: PathBuf,
    owner: (u32, u32),
    password: String,
}

impl Backups {
    fn folder(owner: (u32, u32)) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("cluster-{}", Random::system().uuid().simple()));
        for part in ["", "repo", "log", "lock", "conf.d"] {
            let path = folder.join(part);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(owner.0), Some(owner.1)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    /// A cluster with the settings that are shipped, and where its backups will be.
    fn begin(owner: (u32, u32)) -> (Cluster, Options, Self) {
        let folder = Self::folder(owner);
        let mut options = Options::new(
            std::env::temp_dir().join(format!("backed-up-{}", Random::system().uuid().simple())),
        );
        options.settings = settings(&folder);
        let cluster = Cluster::start(&options).unwrap();
        let url = cluster.admin_url();
        let password = url.split(['@', ':']).nth(2).unwrap().to_owned();
        let backups = Self {
            folder,
            owner,
            password,
        };
        backups.configure(&cluster);
        (cluster, options, backups)
    }

    fn write_first(&self) {
        self.run(&["stanza-create"]);
        self.run(&["check"]);
        self.run(&["--type=full", "backup"]);
    }

    /// Writes the configuration that is shipped, for a cluster of a test.
    fn configure(&self, cluster: &Cluster) {
        let shipped = shipped("pgbackrest.conf");
        let here = |part: &str| self.folder.join(part).display().to_string();
        let places = [
            ("repo1-path=", here("repo")),
            ("log-path=", here("log")),
            ("lock-path=", here("lock")),
            ("pg1-path=", cluster.data_dir().display().to_string()),
            (
                "pg1-socket-path=",
                cluster.socket_dir().display().to_string(),
            ),
        ];
        let lines = shipped.lines().map(|line| {
            let place = places.iter().find(|(key, _)| line.starts_with(key));
            place.map_or_else(|| line.to_owned(), |(key, place)| format!("{key}{place}"))
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        for (_, place) in &places {
            assert!(text.contains(place), "{place}");
        }
        fs::write(self.folder.join("pgbackrest.conf"), text).unwrap();
    }

    /// With the pass phrase, where the shipped file says that it is.
    fn confide(&self) {
        let pass = hex::encode(Random::system().bytes::<32>());
        let path = self.folder.join("conf.d/cipher.conf");
        fs::write(path, format!("[global]\nrepo1-cipher-pass={pass}\n")).unwrap();
    }

    fn options(folder: &Path) -> String {
        format!(
            "--config={} --config-include-path={} --stanza=studio",
            folder.join("pgbackrest.conf").display(),
            folder.join("conf.d").display()
        )
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        Command::new("pgbackrest")
            .args(Self::options(&self.folder).split(' '))
            .args(arguments)
            .uid(self.owner.0)
            .gid(self.owner.1)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PGPASSWORD", &self.password)
            .current_dir("/")
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) {
        let done = self.try_run(arguments);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    fn repository(&self) -> Vec<PathBuf> {
        files(&self.folder.join("repo"))
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pgbackrest");
    fs::read_to_string(path.join(name)).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all.extend(files(&entry.path())),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

fn holds_marker(file: &Path) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    bytes
        .windows(MARKER.len())
        .any(|some| some == MARKER.as_bytes())
}

/// The settings that are shipped, which find the test's configuration.
fn settings(folder: &Path) -> Vec<(String, String)> {
    let shipped = shipped("postgresql.conf");
    let said = shipped.lines().filter(|line| !line.starts_with('#'));
    let pairs = said.map(|line| line.split_once(" = ").unwrap());
    pairs
        .map(|(name, value)| {
            let value = value.trim_matches('\'');
            (
                name.to_owned(),
                value.replace("--stanza=studio", &Backups::options(folder)),
            )
        })
        .collect()
}

/// Whose data a cluster here is, and where a first start puts it.
fn placed(scratch: &Options) -> (PathBuf, (u32, u32)) {
    let first = Cluster::start(scratch).unwrap();
    let data = first.data_dir().to_owned();
    let owner = fs::metadata(&data).unwrap();
    (data, (owner.uid(), owner.gid()))
}

#[tokio::test]
async fn the_cluster_comes_back_to_a_point_in_time_and_its_backups_show_nothing() {
    let scratch = Options::new(
        std::env::temp_dir().join(format!("scratch-{}", Random::system().uuid().simple())),
    );
    let (data, owner) = placed(&scratch);
    let (cluster, options, backups) = Backups::begin(owner);
    let (url, password) = (cluster.admin_url(), backups.password.clone());
    let raw = RawConnection::connect(&url.clone().into()).await.unwrap();
    raw.script(&format!(
        "CREATE TABLE said (what text); INSERT INTO said VALUES ('{MARKER} of before'); CHECKPOINT"
    ))
    .await
    .unwrap();
    assert!(
        files(cluster.data_dir())
            .iter()
            .any(|file| holds_marker(file)),
        "it would be found"
    );

    // Without the pass phrase nothing is written, rather than in the clear.
    for arguments in [&["stanza-create"][..], &["--type=full", "backup"]] {
        let refused = backups.try_run(arguments);
        assert!(!refused.status.success());
        let said = [refused.stdout, refused.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains("repo1-cipher-pass"));
    }
    assert_eq!(backups.repository(), Vec::<PathBuf>::new());

    backups.confide();
    backups.write_first();
    raw.script(&format!(
        "INSERT INTO said VALUES ('{MARKER} of after the backup')"
    ))
    .await
    .unwrap();
    // pgBackRest knows the end of a backup to the second, and takes one that ended in a second before the target's.
    raw.script("SELECT pg_sleep(1.1)").await.unwrap();
    let target: String = raw
        .value("SELECT clock_timestamp()::text", &[])
        .await
        .unwrap();
    raw.script("SELECT pg_sleep(0.1)").await.unwrap();
    raw.script(&format!(
        "INSERT INTO said VALUES ('{MARKER} of after the mistake')"
    ))
    .await
    .unwrap();
    // Has the log archived up to here.
    backups.run(&["check"]);
    backups.run(&["--type=diff", "backup"]);
    drop(raw);
    drop(cluster);

    let kept = backups.repository();
    assert!(
        kept.iter()
            .any(|file| file.to_string_lossy().contains("/archive/")),
        "the log"
    );
    for file in &kept {
        assert!(
            fs::read(file).unwrap().starts_with(b"Salted__"),
            "{file:?} is not encrypted"
        );
        assert!(!holds_marker(file), "{file:?}");
    }

    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    chown(&data, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let place = format!("--pg1-path={}", data.display());
    let at = format!("--target={target}");
    backups.run(&[
        &place,
        "--type=time",
        &at,
        "--target-action=promote",
        "restore",
    ]);
    let scratch = Cluster::start(&scratch).unwrap();
    let url = scratch.admin_url();
    let other = url.split(['@', ':']).nth(2).unwrap().to_owned();
    let raw = RawConnection::connect(&url.replace(&other, &password).into())
        .await
        .unwrap();
    let rows: Vec<String> = raw
        .value("SELECT array_agg(what ORDER BY ctid) FROM said", &[])
        .await
        .unwrap();
    let expected = ["before", "after the backup"].map(|when| format!("{MARKER} of {when}"));
    assert_eq!(rows, expected);
    drop(raw);
    scratch.discard().unwrap();
    Cluster::start(&Options::new(options.folder))
        .unwrap()
        .discard()
        .unwrap();
}

/// One studio's yesterday, while the other has today.
#[tokio::test]
async fn one_studio_comes_back_to_a_point_in_time_and_the_other_stays() {
    let scratch = Options::new(
        std::env::temp_dir().join(format!("whose-{}", Random::system().uuid().simple())),
    );
    let (_, owner) = placed(&scratch);
    Cluster::start(&scratch).unwrap().discard().unwrap();
    let (cluster, _, backups) = Backups::begin(owner);
    let world = World::like(Like {
        server: Some(cluster.admin_url().into()),
        ..Like::default()
    })
    .await;
    backups.confide();
    world.app.examine().await.unwrap();
    backups.write_first();
    let raw = world.as_admin().await;
    let name = async |studio: usize, name: &str| {
        let owner = world.token(studio, "owner");
        let path = format!("/v1/artists/{}", world.studios[studio].artists[0]);
        let says = json!({ "name": name });
        let (status, told) = world.send("PATCH", &path, &owner, Some(says)).await;
        assert_eq!(status, 200, "{told}");
    };
    let names = async || {
        let sql = "SELECT jsonb_agg(name ORDER BY name) FROM studio.artists WHERE id = ANY ($1)";
        let ids = [0, 1].map(|studio: usize| world.studios[studio].artists[0]);
        raw.value::<Value>(sql, &[&ids.as_slice()]).await.unwrap()
    };
    name(0, "A of yesterday").await;
    name(1, "B of yesterday").await;
    raw.script("SELECT pg_sleep(1.1)").await.unwrap();
    let now =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let then: String = raw.value(now, &[]).await.unwrap();
    raw.script("SELECT pg_sleep(0.1)").await.unwrap();
    name(0, "A of today").await;
    name(1, "B of today").await;
    // The key-encryption key of then is no more: rows come back as they were sealed.
    for keys in [
        &["keys", "rotate", "vault"][..],
        &["keys", "reseal"],
        &["keys", "retire", "vault", "--id", "1"],
    ] {
        let mut command = world.command(keys);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap());
        let done = done.await.unwrap();
        assert!(done.status.success(), "{keys:?}: {done:?}");
    }
    // Has the log archived up to here.
    backups.run(&["check"]);

    let usual = world.config.keys.location.with_file_name("studio.toml");
    let config = usual.with_file_name("past.toml");
    let command = format!("pgbackrest {}", Backups::options(&backups.folder));
    let command: Vec<&str> = command.split(' ').collect();
    let text = fs::read_to_string(&usual).unwrap();
    let text = format!("{text}[backup]\npgbackrest = {}\n", json!(command));
    write_private(&config, &text).unwrap();
    let folder = usual.with_file_name("past");
    fs::create_dir(&folder).unwrap();
    let studio = world.studios[0].tenant.to_string();
    let restore = async |at: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
        command
            .arg("--config")
            .arg(&config)
            .args(["restore", "--studio", &studio]);
        command
            .args(["--at", at, "--folder"])
            .arg(&folder)
            .args(more);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap());
        let done = done.await.unwrap();
        let said = [done.stdout, done.stderr].concat();
        (
            done.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    // Before the first backup there is nothing.
    let (code, said) = restore("2026-01-01T00:00:00Z", &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not be brought"), "{said}");
    let (code, said) = restore(&then, &["--plan"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(names().await, json!(["A of today", "B of today"]));
    let (code, said) = restore(&then, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(names().await, json!(["A of yesterday", "B of today"]));
    // Of the instant that was asked for, and the entry says so.
    let then: jiff::Timestamp = then.parse().unwrap();
    assert!(said.contains(&format!("as of {then}")), "{said}");
    let rule =
        "SELECT body ->> 'rule' FROM ledger.entries WHERE body ->> 'action' = 'studio.restore'";
    assert_eq!(
        raw.value::<String>(rule, &[]).await.unwrap(),
        then.to_string()
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    drop((raw, world));
    cluster.discard().unwrap();
}

/// Whoever is interrupted leaves nothing of all studios' rows behind; what a killed one left, the next one removes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_being_brought_goes_with_whoever_brought_it() {
    let world = World::new().await;
    let usual = world.config.keys.location.with_file_name("studio.toml");
    let (config, folder) = (
        usual.with_file_name("slow.toml"),
        usual.with_file_name("slow"),
    );
    fs::create_dir(&folder).unwrap();
    // It brings something, and would take an hour for the rest.
    let script = "for place; do case $place in --pg1-path=*) echo $$ > ${place#*=}/pid;; esac; done; exec sleep 3600";
    let text = fs::read_to_string(&usual).unwrap();
    let text = format!(
        "{text}[backup]\npgbackrest = {}\n",
        json!(["sh", "-c", script, "sh"])
    );
    write_private(&config, &text).unwrap();
    let studio = world.studios[0].tenant.to_string();
    let begin = async |left: &[PathBuf]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_studio"))
            .arg("--config")
            .arg(&config)
            .args([
                "restore",
                "--at",
                "2026-11-01T00:00:00Z",
                "--studio",
                &studio,
                "--folder",
            ])
            .arg(&folder)
            .spawn()
            .unwrap();
        for _ in 0..1_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let is_new = |file: &PathBuf| file.ends_with("data/pid") && !left.contains(file);
            let brought = files(&folder).into_iter().find(is_new);
            let pid = brought
                .and_then(|file| fs::read_to_string(file).unwrap().trim().parse::<u32>().ok());
            if let Some(pid) = pid {
                return (child, pid);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("nothing was brought");
    };
    let is_gone = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    let tell = |pid: u32, signal: &str| {
        let told = Command::new("kill")
            .args(["-s", signal, &pid.to_string()])
            .status();
        assert!(told.unwrap().success());
    };
    for signal in ["INT", "TERM"] {
        let (mut child, bringing) = begin(&[]).await;
        tell(child.id(), signal);
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ended).await;
        assert_eq!(
            ended.expect("it goes on").unwrap().code(),
            Some(1),
            "{signal}"
        );
        assert!(is_gone(bringing), "{signal}");
        assert_eq!(files(&folder), Vec::<PathBuf>::new(), "{signal}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    let (mut child, _) = begin(&[]).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let left = files(&folder);
    assert!(
        left.iter().any(|file| file.ends_with("data/pid")),
        "{left:?}"
    );
    let (mut child, _) = begin(&left).await;
    assert!(left.iter().all(|file| !file.exists()), "{left:?}");
    tell(child.id(), "TERM");
    child.wait().unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
