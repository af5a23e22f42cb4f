use std::{
    io,
    path::{Path, PathBuf},
};

use crate::binaries::{INSTALL, OLDEST_MAJOR};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The machine has no PostgreSQL that is new enough.
    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or newer was found; run `{INSTALL}` as root, or set \
         STUDIO_PG_BIN to the folder that has `initdb` and `postgres`"
    )]
    Missing,
    /// `STUDIO_PG_BIN` names something else.
    #[error(
        "STUDIO_PG_BIN is `{}`, which has no `initdb` and `postgres` of version {OLDEST_MAJOR} \
         or newer; correct it, or unset it to use the system's",
        folder.display()
    )]
    NotBinaries {
        /// What the variable names.
        folder: PathBuf,
    },
    /// The data was made by a major version that is not installed.
    #[error(
        "the data in `{}` was made by PostgreSQL {made_by}, which is not installed; run `apt-get \
         install --yes postgresql-{made_by}` as root, or remove the folder to start afresh",
        folder.display()
    )]
    OtherVersion {
        /// The data directory.
        folder: PathBuf,
        /// The major version that made it.
        made_by: u32,
    },
    /// PostgreSQL's user cannot run the binaries.
    #[error(
        "the user `{user}` cannot run PostgreSQL in `{}`; install it where every user can, with \
         `{INSTALL}`",
        folder.display()
    )]
    NotRunnable {
        /// The folder of the binaries.
        folder: PathBuf,
        /// The user that PostgreSQL would run as.
        user: String,
    },
    /// Another process has the cluster.
    #[error(
        "a cluster already runs in `{}`, pid {pid}; stop that process, or use another folder",
        folder.display()
    )]
    AlreadyRunning {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, or `unknown` in the moment before it has said so.
        pid: String,
    },
    /// A PostgreSQL whose parent died does not end.
    #[error(
        "a PostgreSQL of an earlier start still runs, pid {pid}; end it with `kill -QUIT {pid}`"
    )]
    Orphan {
        /// Its postmaster.
        pid: i32,
    },
    /// The data belongs to somebody else.
    #[error(
        "`{}` belongs to another user (uid {uid}); use another folder, or remove it as that user",
        folder.display()
    )]
    Foreign {
        /// The data directory.
        folder: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The uid has no name.
    #[error(
        "uid {uid} has no entry in /etc/passwd, and PostgreSQL cannot make a cluster without \
         one; run as a user that has, or add one"
    )]
    NoAccount {
        /// The uid.
        uid: u32,
    },
    /// Root, and nobody to become.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor a user \
         `nobody` to run it as; add one with `adduser --system postgres`"
    )]
    NoUser,
    /// No temporary directory can be used.
    #[error(
        "the user `{user}` can reach neither `{}` nor a temporary directory; set TMPDIR to a \
         folder with a short path that every user can enter",
        folder.display()
    )]
    NoTemporary {
        /// The folder that was asked for.
        folder: PathBuf,
        /// The user that PostgreSQL would run as.
        user: String,
    },
    /// `initdb` failed.
    #[error("initdb could not make a cluster: {said}")]
    Initdb {
        /// The end of what it said.
        said: String,
    },
    /// Data is to be brought where there is some.
    #[error("`{}` has a cluster already; use another folder", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// It is to be in a folder that PostgreSQL's user cannot enter.
    #[error(
        "the user `{user}` cannot enter `{}`; use a folder that every user can, such as one below `/var/tmp`",
        folder.display()
    )]
    NotEnterable {
        /// The folder.
        folder: PathBuf,
        /// The user that PostgreSQL would run as.
        user: String,
    },
    /// Somebody said that it is wanted no more.
    #[error("it was given up before it was ready")]
    GivenUp,
    /// No program was named that brings the data.
    #[error("no program is named that brings the data")]
    NoProgram,
    /// The program that brings the data failed.
    #[error("the data could not be brought: {said}")]
    NotBrought {
        /// The end of what it said.
        said: String,
    },
    /// PostgreSQL ended before it was ready.
    #[error("PostgreSQL did not start: {said}")]
    Ended {
        /// The end of its log.
        said: String,
    },
    /// PostgreSQL was not ready in time.
    #[error("PostgreSQL was not ready after {seconds} s: {said}")]
    Slow {
        /// How long it was given.
        seconds: u64,
        /// The end of its log.
        said: String,
    },
    /// The thread that keeps PostgreSQL ended without a word.
    #[error("the thread that keeps PostgreSQL ended; start again")]
    KeeperEnded,
    /// The operating system refused something.
    #[error("cannot {what} `{name}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ClusterError {
    pub(crate) fn io(
        what: &'static str,
        name: &(impl AsRef<Path> + ?Sized),
        source: io::Error,
    ) -> Self {
        Self::Io {
            what,
            name: name.as_ref().display().to_string(),
            source,
        }
    }
}
