use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Binaries, ClusterError,
    account::{Account, die_with_parent},
    files,
    place::{PORT, Place},
};

/// PostgreSQL is given so long to be ready, unless its options say otherwise.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(120);
/// It is given so long for a fast shutdown, and then so long for an immediate one.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const QUITS_WITHIN: Duration = Duration::from_secs(10);
/// The PostgreSQL of a parent that died is given so long to notice.
const ORPHAN_ENDS_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What keeps the cluster private. Said last, so that it wins.
const PRIVATE: [(&str, &str); 8] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    // Parameters of statements are other people's data, and a log is read by more than may read
    // them.
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    // The log is the file that `launch` opened, emptied at each start.
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("external_pid_file", ""),
];

/// A PostgreSQL that can be started.
pub(crate) struct Server {
    pub(crate) binaries: Binaries,
    pub(crate) account: Account,
    pub(crate) place: Place,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) ready_within: Duration,
    pub(crate) given_up: Arc<AtomicBool>,
}

impl Server {
    /// Makes the cluster where there is none, starts PostgreSQL and waits until it is ready.
    ///
    /// The calling thread must live as long as PostgreSQL shall.
    pub(crate) fn launch(&self) -> Result<Child, ClusterError> {
        if self.place.has_data() {
            end_orphan(&self.place.data)?;
        } else {
            self.make_data()?;
        }
        self.place.make_socket_folder(&self.account)?;
        let log_file = self.place.log_file();
        let log = files::open_private(&log_file)?;
        let also = log
            .try_clone()
            .map_err(|source| ClusterError::io("open", &log_file, source))?;
        let program = self.binaries.folder.join("postgres");
        let mut command = self.account.command(&program);
        command
            .arg("-D")
            .arg(&self.place.data)
            .args(self.arguments())
            .stdout(Stdio::from(also))
            .stderr(Stdio::from(log));
        // A fast shutdown: the next start need not recover.
        die_with_parent(&mut command, Signal::SIGINT);
        let child = command
            .spawn()
            .map_err(|source| ClusterError::io("run", &program, source))?;
        self.wait_until_ready(child)
    }

    /// Stops PostgreSQL, ever less politely.
    pub(crate) fn stop(&self, mut child: Child) {
        let pid = Pid::from_raw(child.id().cast_signed());
        for (signal, within) in [
            (Signal::SIGINT, STOPS_WITHIN),
            (Signal::SIGQUIT, QUITS_WITHIN),
        ] {
            // The child is not yet reaped, so the pid is still its own.
            let _ = kill(pid, signal);
            if wait_for(within, || !matches!(child.try_wait(), Ok(None))) {
                return;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Runs `initdb` beside the place of the data, then renames: an interrupted one leaves nothing
    /// that looks like a cluster.
    fn make_data(&self) -> Result<(), ClusterError> {
        let new = self.place.data.with_extension("new");
        files::make_private(&new, &self.account)?;
        let program = self.binaries.folder.join("initdb");
        let mut command = self.account.command(&program);
        command
            .args(["--username=postgres", "--auth=scram-sha-256"])
            .args(["--locale=C", "--encoding=UTF8"])
            .args(["--no-sync", "--no-instructions"])
            .arg(joined("--pwfile=", self.place.password_file()))
            .arg(joined("--pgdata=", &new));
        die_with_parent(&mut command, Signal::SIGTERM);
        let output = command
            .output()
            .map_err(|source| ClusterError::io("run", &program, source))?;
        if !output.status.success() {
            return Err(ClusterError::Initdb {
                said: end_of(&output.stderr),
            });
        }
        fs::rename(&new, &self.place.data)
            .map_err(|source| ClusterError::io("move to its place", &new, source))
    }

    fn arguments(&self) -> Vec<OsString> {
        let socket = socket_setting(&self.place.socket);
        let port = PORT.to_string();
        let chosen = self
            .settings
            .iter()
            .map(|(name, value)| (&**name, &**value));
        let always = PRIVATE.into_iter().chain([("port", &*port)]);
        chosen
            .chain(always)
            .map(|(name, value)| OsString::from(format!("{name}={value}")))
            .chain([socket])
            .flat_map(|setting| [OsString::from("-c"), setting])
            .collect()
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn wait_until_ready(&self, mut child: Child) -> Result<Child, ClusterError> {
        let mut ended = false;
        let ready = wait_for(self.ready_within, || {
            ended = !matches!(child.try_wait(), Ok(None));
            ended || self.is_given_up() || is_ready(&self.place.data, child.id())
        });
        if self.is_given_up() {
            self.stop(child);
            return Err(ClusterError::GivenUp);
        }
        if ready && !ended {
            return Ok(child);
        }
        let said = end_of(&fs::read(self.place.log_file()).unwrap_or_default());
        if ended {
            return Err(ClusterError::Ended { said });
        }
        self.stop(child);
        Err(ClusterError::Slow {
            seconds: self.ready_within.as_secs(),
            said,
        })
    }
}

/// Runs the program that brings the data, and has the cluster that it makes listen to nobody else: what stood in its files
/// of settings was for another place.
pub(crate) fn bring(
    data: &Path,
    account: &Account,
    command: &[OsString],
    given_up: &AtomicBool,
) -> Result<(), ClusterError> {
    let (program, arguments) = command.split_first().ok_or(ClusterError::NoProgram)?;
    files::make_private(data, account)?;
    let failed = |source| ClusterError::io("run", Path::new(program), source);
    let mut bringing = account.command(program);
    bringing.args(arguments);
    bringing.stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_parent(&mut bringing, Signal::SIGTERM);
    let mut child = bringing.spawn().map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (status, said) = thread::scope(|scope| {
        let saying = [scope.spawn(|| all_of(out)), scope.spawn(|| all_of(err))];
        let status = ended(&mut child, given_up);
        let said = saying.map(|one| one.join().unwrap_or_default());
        (status, said.concat())
    });
    let status = status.map_err(failed)?;
    if given_up.load(Ordering::Acquire) {
        return Err(ClusterError::GivenUp);
    }
    if !status.success() {
        let said = end_of(&said);
        return Err(ClusterError::NotBrought { said });
    }
    for (name, text) in [
        ("postgresql.conf", ""),
        ("pg_hba.conf", "local all all scram-sha-256\n"),
        ("pg_ident.conf", ""),
    ] {
        let file = data.join(name);
        files::write_private(&file, text.as_bytes())?;
        files::give(&file, account)?;
    }
    Ok(())
}

/// Waits until a child has ended, and tells it to in order, once, when it is given up: it has processes of its own.
fn ended(child: &mut Child, given_up: &AtomicBool) -> io::Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if given_up.load(Ordering::Acquire) && !is_told {
            is_told = true;
            // Not yet reaped, so the pid is still its own.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        }
        thread::sleep(POLL);
    }
}

/// What a pipe says until its end.
fn all_of(pipe: Option<impl Read>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut said);
    }
    said
}

/// Whether the postmaster of that pid says that it accepts connections. It says so in its pid
/// file, where `pg_ctl` looks as well.
fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(&*pid.to_string()) && lines.nth(6).is_some_and(|l| l.trim() == "ready")
}

/// Sees to it that no PostgreSQL of an earlier start is left, and that its pid file does not stop
/// the next one. The folder is locked, so whatever is left has lost its parent.
pub(crate) fn end_orphan(data: &Path) -> Result<(), ClusterError> {
    let file = data.join("postmaster.pid");
    if !file.exists() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&files::read_private(&file)?).into_owned();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(pid) = first.trim().parse::<i32>() {
        let is_gone = || !is_postmaster(pid, data);
        if !wait_for(ORPHAN_ENDS_WITHIN, is_gone) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
            if !wait_for(QUITS_WITHIN, is_gone) {
                return Err(ClusterError::Orphan { pid });
            }
        }
    }
    if !file.exists() {
        return Ok(());
    }
    // A killed PostgreSQL leaves the file, and its pid may since be another's, or a zombie's that
    // nobody reaps: then the next one would refuse to start. It takes the pid of its own parent
    // for stale, and still looks at the rest of the file for a backend that lives.
    let text = format!("{}\n{rest}", std::process::id());
    files::write_private(&file, text.as_bytes())
}

/// Whether the process of that pid is a PostgreSQL of that data directory.
fn is_postmaster(pid: i32, data: &Path) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = command_line.split(|byte| *byte == 0);
    arguments.any(|argument| argument == data.as_os_str().as_bytes())
}

/// Asks until the answer is yes, or for so long; returns the last answer.
fn wait_for(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if started.elapsed() > within {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// The setting that names the socket's folder. It is a list, in which a quoted item may have any
/// character, a quote doubled.
fn socket_setting(folder: &Path) -> OsString {
    let mut value = b"unix_socket_directories=\"".to_vec();
    for &byte in folder.as_os_str().as_bytes() {
        value.extend(std::iter::repeat_n(byte, if byte == b'"' { 2 } else { 1 }));
    }
    value.push(b'"');
    OsString::from_vec(value)
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// The last lines of a log, in one.
fn end_of(log: &[u8]) -> String {
    const LINES_MOST: usize = 12;
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(LINES_MOST);
    lines
        .into_iter()
        .skip(skipped)
        .collect::<Vec<_>>()
        .join("; ")
}
