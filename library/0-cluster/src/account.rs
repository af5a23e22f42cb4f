use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    sys::{prctl, signal::Signal},
    unistd::{self, User},
};

use crate::{Binaries, ClusterError};

/// The user that PostgreSQL runs as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether it is another user than this process: then this process is root.
    pub(crate) other: bool,
}

impl Account {
    /// The users that may run it, the preferred one first.
    pub(crate) fn candidates() -> Result<Vec<Self>, ClusterError> {
        let uid = unistd::geteuid();
        if !uid.is_root() {
            let user = User::from_uid(uid)
                .ok()
                .flatten()
                .ok_or(ClusterError::NoAccount { uid: uid.as_raw() })?;
            return Ok(vec![Self::of(user, false)]);
        }
        let users: Vec<Self> = ["postgres", "nobody"]
            .into_iter()
            .filter_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(|user| Self::of(user, true))
            .collect();
        if users.is_empty() {
            return Err(ClusterError::NoUser);
        }
        Ok(users)
    }

    fn of(user: User, other: bool) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            other,
        }
    }

    /// A command that runs as this user, with nothing of this process but `PATH`.
    ///
    /// The environment is emptied because PostgreSQL reads much of it: a locale that the machine
    /// does not have, `PGDATA`, `PGPORT`. The folder is `/` because the user may not be able to
    /// enter the present one. It is a process group of its own, or Ctrl-C in a terminal would
    /// stop PostgreSQL before the program that still needs it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null());
        for kept in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(kept) {
                command.env(kept, value);
            }
        }
        if self.other {
            // Also drops root's supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can enter `folder`. The kernel is asked, by a process of that user: the
    /// mode bits of the folders on the way are not the whole answer.
    pub(crate) fn can_enter(&self, folder: &Path) -> bool {
        let mut test = self.command("test");
        test.arg("-d").arg(folder).arg("-a").arg("-x").arg(folder);
        test.stderr(Stdio::null());
        test.status().is_ok_and(|status| status.success())
    }

    /// Checks that this user can run `binaries`.
    pub(crate) fn check_runs(&self, binaries: &Binaries) -> Result<(), ClusterError> {
        let runs = self
            .command(binaries.folder.join("initdb"))
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if runs {
            return Ok(());
        }
        Err(ClusterError::NotRunnable {
            folder: binaries.folder.clone(),
            user: self.name.clone(),
        })
    }
}

/// Has the kernel send `signal` to the command when the thread that spawns it ends.
#[expect(
    unsafe_code,
    reason = "a hook between fork and exec: it makes two system calls and allocates nothing"
)]
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = unistd::getpid();
    let hook = move || {
        // The standard library has changed the user by now; changing it afterwards would
        // silently clear this again.
        prctl::set_pdeathsig(signal)?;
        // The parent may have died before the line above.
        if unistd::getppid() != parent {
            return Err(Errno::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: `prctl` and `getppid` are async-signal-safe, and an `io::Error` made from an error
    // number owns nothing.
    unsafe {
        command.pre_exec(hook);
    }
}
