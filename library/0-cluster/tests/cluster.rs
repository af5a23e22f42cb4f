//! A private cluster under every condition that was seen to break one. Each test first proves the
//! positive case: a query is answered.
//!
//! Run as root they cover both users; run as anybody else, what only root can try is said to be
//! left out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the test"
)]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use watertight_cluster::{Cluster, ClusterError, Options, find_binaries};

/// A folder that every user may enter and that goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wt-cluster-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn options(&self) -> Options {
        fast(Options::new(self.0.join("pg")))
    }

    /// The helper, where every user can run it.
    fn helper(&self) -> PathBuf {
        let helper = self.0.join("private-postgres");
        if !helper.exists() {
            // By a process of its own: a file that this one has open for writing is inherited by
            // whatever another thread forks just then, and cannot be run until that has ended.
            let mut copy = Command::new("cp");
            copy.arg(env!("CARGO_BIN_EXE_private-postgres"))
                .arg(&helper);
            assert!(copy.status().unwrap().success());
            fs::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
        }
        helper
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fast(mut options: Options) -> Options {
    options.settings = vec![
        ("fsync".into(), "off".into()),
        ("shared_buffers".into(), "16MB".into()),
        ("max_connections".into(), "10".into()),
    ];
    options
}

/// The answer to a query, through libpq.
fn ask(url: &str, query: &str) -> String {
    let psql = find_binaries().unwrap().folder.join("psql");
    let output = Command::new(psql)
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            url,
            "-c",
            query,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn postmaster_pid(data: &Path) -> i32 {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(10), "never {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process that is gone, or a zombie that nobody reaps, has no command line.
fn is_gone(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
        || !Path::new(&format!("/proc/{pid}")).exists()
}

/// The helper in a process of its own.
struct Helper {
    child: Child,
    stdin: Option<ChildStdin>,
    url: String,
}

impl Helper {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .args(["fsync=off", "shared_buffers=16MB", "max_connections=10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut url).unwrap();
        if url.is_empty() {
            let mut said = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut said).unwrap();
            child.wait().unwrap();
            panic!("{said}");
        }
        Self {
            stdin: child.stdin.take(),
            child,
            url: url.trim().to_owned(),
        }
    }

    fn stop(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn as_root(test: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        println!("left out, it needs root: {test}");
    }
    is_root
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().unwrap()
}

#[test]
fn it_answers_keeps_its_data_and_stops() {
    let temporary = Temporary::new();
    let cluster = Cluster::start(&temporary.options()).unwrap();
    assert!(cluster.version() >= (15, 0));
    assert_eq!(ask(&cluster.admin_url(), "SELECT 6 * 7"), "42");
    ask(&cluster.admin_url(), "CREATE TABLE kept AS SELECT 1 AS n");

    let pid = postmaster_pid(cluster.data_dir());
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_ne!(owner, 0, "PostgreSQL does not run as root");
    drop(cluster);
    assert!(is_gone(pid));

    let cluster = Cluster::start(&temporary.options()).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT n FROM kept"), "1");
}

#[test]
fn a_fresh_one_is_empty_and_a_discarded_one_is_gone() {
    let temporary = Temporary::new();
    // As root the second folder is one whose data goes elsewhere.
    let closed = temporary.0.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    for folder in [temporary.0.join("pg"), closed.join("pg")] {
        let options = fast(Options::new(folder));
        let cluster = Cluster::start(&options).unwrap();
        ask(&cluster.admin_url(), "CREATE TABLE kept AS SELECT 1 AS n");
        drop(cluster);
        let cluster = Cluster::start_fresh(&options).unwrap();
        let found = ask(&cluster.admin_url(), "SELECT to_regclass('kept') IS NULL");
        assert_eq!(found, "t");
        let data = cluster.data_dir().to_owned();
        cluster.discard().unwrap();
        assert!(!data.exists());
        assert!(data.starts_with(&temporary.0) || !data.parent().unwrap().exists());
        let cluster = Cluster::start(&options).unwrap();
        assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
        cluster.discard().unwrap();
    }
}

#[test]
fn it_is_private() {
    let temporary = Temporary::new();
    let mut options = temporary.options();
    options
        .settings
        .push(("listen_addresses".into(), "*".into()));
    let cluster = Cluster::start(&options).unwrap();
    let url = cluster.admin_url();
    for (setting, value) in [
        ("listen_addresses", ""),
        ("password_encryption", "scram-sha-256"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("max_connections", "10"),
        ("server_encoding", "UTF8"),
    ] {
        assert_eq!(ask(&url, &format!("SHOW {setting}")), value, "{setting}");
    }
    let collation = "SELECT datcollate FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(ask(&url, collation), "C");
    let other_ways = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'";
    assert_eq!(ask(&url, other_ways), "0");

    for (path, mode) in [
        (cluster.data_dir(), 0o700),
        (cluster.socket_dir(), 0o700),
        (&*options.folder.join("password"), 0o600),
    ] {
        let found = fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }

    let wrong = url.replacen("postgres:", "postgres:x", 1);
    let psql = find_binaries().unwrap().folder.join("psql");
    let refused = Command::new(psql).args([&wrong, "-c", "SELECT 1"]).output();
    assert!(!refused.unwrap().status.success());
}

#[test]
fn a_second_one_is_refused_while_the_first_runs() {
    let temporary = Temporary::new();
    let options = temporary.options();
    let first = Cluster::start(&options).unwrap();
    assert_eq!(ask(&first.admin_url(), "SELECT 1"), "1");
    let error = Cluster::start(&options).unwrap_err();
    let pid = std::process::id();
    assert!(error.to_string().contains(&format!("pid {pid}")), "{error}");
    drop(first);
    let again = Cluster::start(&options).unwrap();
    assert_eq!(ask(&again.admin_url(), "SELECT 1"), "1");
}

#[test]
fn it_dies_with_its_parent_and_starts_again() {
    let temporary = Temporary::new();
    let folder = temporary.0.join("pg");
    let kill_the_parent = || {
        let mut helper = Helper::start(Command::new(temporary.helper()).arg(&folder));
        assert_eq!(ask(&helper.url, "SELECT 1"), "1");
        let pid = postmaster_pid(&folder.join("data"));
        assert!(!is_gone(pid));
        helper.child.kill().unwrap();
        helper.child.wait().unwrap();
        pid
    };
    let pid = kill_the_parent();
    wait_until("gone", || is_gone(pid));
    // And at once, while the old one may still be on its way down.
    kill_the_parent();
    let again = Cluster::start(&temporary.options()).unwrap();
    assert_eq!(ask(&again.admin_url(), "SELECT 1"), "1");
}

#[test]
fn a_stale_pid_file_does_not_stop_it() {
    let temporary = Temporary::new();
    let folder = temporary.0.join("pg");
    let data = folder.join("data");
    let mut helper = Helper::start(Command::new(temporary.helper()).arg(&folder));
    assert_eq!(ask(&helper.url, "SELECT 1"), "1");
    let pid = postmaster_pid(&data);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("gone", || is_gone(pid));
    helper.child.kill().unwrap();
    helper.child.wait().unwrap();

    // The pid has since become that of a process which has nothing to do with it, of the same
    // user: the worst case, in which PostgreSQL itself refuses to start.
    let owner = fs::metadata(&data).unwrap();
    let mut stranger = Command::new("sleep");
    stranger.arg("60").current_dir("/");
    if geteuid().is_root() {
        stranger.uid(owner.uid()).gid(owner.gid());
    }
    let mut stranger = stranger.spawn().unwrap();
    let file = data.join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replacen(&pid.to_string(), &stranger.id().to_string(), 1),
    )
    .unwrap();

    let again = Cluster::start(&temporary.options()).unwrap();
    assert_eq!(ask(&again.admin_url(), "SELECT 1"), "1");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_long_path_has_its_socket_elsewhere() {
    let temporary = Temporary::new();
    let folder = temporary.0.join("x".repeat(60)).join("y".repeat(60));
    let options = fast(Options::new(&folder));
    let cluster = Cluster::start(&options).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
    let socket = cluster.socket_dir().to_owned();
    let above = socket.parent().unwrap().to_owned();
    assert!(!socket.starts_with(&folder) && socket.as_os_str().len() < 90);
    assert!(cluster.data_dir().starts_with(&folder));
    assert_eq!(fs::metadata(&above).unwrap().mode() & 0o777, 0o700);
    drop(cluster);
    assert!(!above.exists(), "it is cleared away");
}

#[test]
fn a_path_with_odd_characters_works() {
    let temporary = Temporary::new();
    let options = fast(Options::new(temporary.0.join("a, \"b\" & ü%41")));
    let cluster = Cluster::start(&options).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
}

#[test]
fn a_bad_environment_does_not_matter() {
    let temporary = Temporary::new();
    let folder = temporary.0.join("pg");
    let mut command = Command::new(temporary.helper());
    command.arg(&folder).envs([
        ("LC_ALL", "xx_YY"),
        ("LANG", "xx_YY.UTF-8"),
        ("TZ", "Asia/Tokyo"),
        ("PGDATA", "/nonexistent"),
        ("PGPORT", "1"),
        ("PGHOST", "nowhere.invalid"),
    ]);
    let helper = Helper::start(&mut command);
    assert_eq!(ask(&helper.url, "SHOW lc_messages"), "C");
    assert!(ask(&helper.url, "SHOW timezone").ends_with("UTC"));
    let pid = postmaster_pid(&folder.join("data"));
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(
        environment.contains("LC_ALL=C\0") && !environment.contains("PGHOST"),
        "{environment}"
    );
    helper.stop();
}

#[test]
fn an_interrupted_initdb_leaves_nothing_in_the_way() {
    let temporary = Temporary::new();
    let options = temporary.options();
    fs::create_dir_all(options.folder.join("data.new/base")).unwrap();
    let cluster = Cluster::start(&options).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
    assert!(!options.folder.join("data.new").exists());
}

#[test]
fn a_setting_that_does_not_exist_is_explained() {
    let temporary = Temporary::new();
    let mut options = temporary.options();
    drop(Cluster::start(&options).unwrap());
    options.settings.push(("no_such_thing".into(), "1".into()));
    let error = Cluster::start(&options).unwrap_err();
    assert!(matches!(error, ClusterError::Ended { .. }));
    assert!(error.to_string().contains("no_such_thing"), "{error}");
}

#[test]
fn a_folder_that_the_user_cannot_reach_sends_the_data_elsewhere() {
    if !as_root("a folder that only root may enter") {
        return;
    }
    let temporary = Temporary::new();
    let closed = temporary.0.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let options = fast(Options::new(closed.join("pg")));

    let cluster = Cluster::start(&options).unwrap();
    ask(&cluster.admin_url(), "CREATE TABLE kept AS SELECT 1 AS n");
    let elsewhere = Temporary(cluster.data_dir().parent().unwrap().to_owned());
    assert!(!elsewhere.0.starts_with(&closed));
    let found = fs::metadata(&elsewhere.0).unwrap();
    assert_eq!(found.mode() & 0o777, 0o700);
    assert_ne!(found.uid(), 0);
    assert!(matches!(
        Cluster::start(&options),
        Err(ClusterError::AlreadyRunning { .. })
    ));
    drop(cluster);

    let cluster = Cluster::start(&options).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT n FROM kept"), "1");
    assert!(cluster.data_dir().starts_with(&elsewhere.0));
    drop(cluster);

    // The machine clears its temporary directory: a new one, without complaint.
    fs::remove_dir_all(&elsewhere.0).unwrap();
    let cluster = Cluster::start(&options).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
    let again = Temporary(cluster.data_dir().parent().unwrap().to_owned());
    assert_ne!(again.0, elsewhere.0);
    drop(cluster);
}

#[test]
fn an_unprivileged_user_runs_it_as_itself() {
    if !as_root("becoming another user") {
        return;
    }
    let temporary = Temporary::new();
    let user = nobody();
    let folder = temporary.0.join("theirs");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    let mut command = Command::new(temporary.helper());
    command
        .arg(folder.join("pg"))
        .current_dir("/")
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw());
    let helper = Helper::start(&mut command);
    assert_eq!(ask(&helper.url, "SELECT 1"), "1");
    let pid = postmaster_pid(&folder.join("pg/data"));
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_eq!(owner, user.uid.as_raw());
    helper.stop();
    assert!(is_gone(pid));

    // Root goes on with it as the user that made it.
    let cluster = Cluster::start(&fast(Options::new(folder.join("pg")))).unwrap();
    assert_eq!(ask(&cluster.admin_url(), "SELECT 1"), "1");
    let pid = postmaster_pid(cluster.data_dir());
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_eq!(owner, user.uid.as_raw());
}

#[test]
fn a_uid_without_a_name_is_told() {
    if !as_root("becoming a uid without a name") {
        return;
    }
    let temporary = Temporary::new();
    let folder = temporary.0.join("theirs");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(54_321), Some(54_321)).unwrap();
    let output = Command::new(temporary.helper())
        .arg(folder.join("pg"))
        .current_dir("/")
        .uid(54_321)
        .gid(54_321)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("uid 54321 has no entry in /etc/passwd"),
        "{said}"
    );
}

#[test]
fn binaries_that_are_not_there_are_told_with_the_line_that_installs_them() {
    let temporary = Temporary::new();
    let output = Command::new(temporary.helper())
        .arg(temporary.0.join("pg"))
        .env("STUDIO_PG_BIN", &temporary.0)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("STUDIO_PG_BIN is `"), "{said}");
    let missing = ClusterError::Missing.to_string();
    assert!(missing.contains("`apt-get install --yes"), "{missing}");
}
