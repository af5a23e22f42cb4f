//! A private PostgreSQL for demonstrations and tests.
//!
//! [`Cluster::start`] makes a database cluster in a folder where there is none, starts it, and
//! stops it when the value is dropped. Nobody else can reach it: it listens on a Unix socket in a
//! folder of its own, never on TCP, and asks every connection for a password (SCRAM-SHA-256) that
//! was drawn when the cluster was made. It does not outlive the process that started it, even
//! when that process is killed.
//!
//! ```no_run
//! use watertight_cluster::{Cluster, Options};
//!
//! let mut options = Options::new(".studio/pg");
//! options.settings.push(("max_connections".into(), "50".into()));
//! let cluster = Cluster::start(&options)?;
//! println!("psql '{}'", cluster.admin_url());
//! drop(cluster); // a fast shutdown; the data stays
//! # Ok::<(), watertight_cluster::ClusterError>(())
//! ```
//!
//! [`Cluster::start_brought`] starts one whose data a program brings, as pgBackRest does.
//!
//! What is in the folder:
//!
//! | name | what |
//! | --- | --- |
//! | `data/` | the data directory; `data.new/` while it is being made |
//! | `password` | the superuser's, mode 0600 |
//! | `socket/` | the socket, while it runs |
//! | `log` | what PostgreSQL said since the last start |
//! | `lock` | held while it runs, with the pid of the process that holds it |
//! | `elsewhere` | the folder under the temporary directory that has `data/` and `password` instead |
//! | `socket-elsewhere` | the same for the socket, while it runs |
//!
//! PostgreSQL refuses to run as root: there it runs as `postgres`, or else as `nobody`, and where
//! that user cannot reach the folder (a checkout below a home directory that only root may
//! enter), the data goes to the temporary directory. It is found there again until the machine
//! clears that directory; nothing precious belongs in such a cluster.
//!
//! Linux only: that PostgreSQL dies with its parent is asked of the kernel by `PR_SET_PDEATHSIG`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

mod account;
mod binaries;
mod error;
mod files;
mod place;
mod server;

pub use binaries::{Binaries, INSTALL, OLDEST_MAJOR, find_binaries};
pub use error::ClusterError;

use files::Lock;
use place::Place;
use server::Server;

/// Where a cluster is, and how it is set.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the cluster; made when there is none.
    pub folder: PathBuf,
    /// Settings of PostgreSQL, as in `postgresql.conf`. They cannot loosen what keeps the cluster
    /// private: those settings are said last.
    pub settings: Vec<(String, String)>,
    /// For how long it may get ready: after a crash, and for a point in time, it replays its log first.
    pub ready_within: Duration,
    /// Everything of it is in the folder, or there is none. Otherwise it goes below the temporary directory where PostgreSQL's
    /// user cannot enter the folder.
    pub only_here: bool,
    /// Said by another thread, it stops getting ready, and there is none.
    pub given_up: Arc<AtomicBool>,
}

impl Options {
    /// A cluster in `folder` with PostgreSQL's own settings.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            settings: Vec::new(),
            ready_within: server::READY_WITHIN,
            only_here: false,
            given_up: Arc::default(),
        }
    }
}

/// A running PostgreSQL. Dropping it stops it: open transactions are rolled back.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    password: String,
    version: (u32, u32),
    /// Dropped to say "stop". The thread is the one that forked PostgreSQL: the kernel takes the
    /// end of that thread for the death of the parent, so it lives as long as the cluster.
    keeper_stops: Option<mpsc::Sender<()>>,
    keeper: Option<thread::JoinHandle<()>>,
    lock: Lock,
}

impl Cluster {
    /// Makes the cluster where there is none, starts it, and waits until it accepts connections.
    ///
    /// # Errors
    /// When there is no PostgreSQL, when the folder is in use or cannot be used, or when
    /// PostgreSQL does not start; the message says what to do or carries the end of its log.
    pub fn start(options: &Options) -> Result<Self, ClusterError> {
        Self::start_in(options, false)
    }

    /// The same, but what an earlier start left behind is removed first: for tests.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub fn start_fresh(options: &Options) -> Result<Self, ClusterError> {
        Self::start_in(options, true)
    }

    /// Starts a cluster whose data a program brings into a folder that has none yet. The program is run as PostgreSQL's user, with
    /// nothing of this process's environment but `PATH`; `command` says it with its arguments, by where the data directory is.
    /// Of the settings that come with the data those alone count that `ALTER SYSTEM` and recovery wrote. Logins have the passwords
    /// that they had there, the superuser's included: [`Cluster::admin_url`] does not know it.
    ///
    /// # Errors
    /// As for [`Cluster::start`], when there is data already, or when the program fails: the message has the end of what it said.
    pub fn start_brought(
        options: &Options,
        command: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Self, ClusterError> {
        let folder = files::make_folder(&options.folder)?;
        let lock = Lock::take(&folder)?;
        let (place, account) = place::settle(&folder, options.only_here)?;
        if place.has_data() {
            return Err(ClusterError::Taken { folder });
        }
        place.draw_password(&account)?;
        let command = command(&place.data);
        let brought = server::bring(&place.data, &account, &command, &options.given_up);
        let started = brought.and_then(|()| {
            lock.release();
            Self::start(options)
        });
        if started.is_err() {
            // What was brought is everybody's, and nobody comes back for it. The reason counts.
            let _ = place.remove();
        }
        started
    }

    /// Removes what a process that was killed has left of a cluster in a folder, its PostgreSQL too. There may be nothing.
    ///
    /// # Errors
    /// When another process has the cluster, or something of it cannot be removed.
    pub fn discard_left(folder: &Path) -> Result<(), ClusterError> {
        let folder = files::make_folder(folder)?;
        let _lock = Lock::take(&folder)?;
        let (place, _) = place::settle(&folder, false)?;
        if place.has_data() {
            server::end_orphan(&place.data)?;
        }
        place.remove()?;
        place.clear_socket();
        Ok(())
    }

    fn start_in(options: &Options, fresh: bool) -> Result<Self, ClusterError> {
        let folder = files::make_folder(&options.folder)?;
        let lock = Lock::take(&folder)?;
        let (place, account) = place::settle(&folder, options.only_here)?;
        let place = place.with_plain_socket(&account)?;
        if fresh && place.has_data() {
            server::end_orphan(&place.data)?;
            files::remove_folder(&place.data)?;
        }
        let binaries = binaries::find_for(place.made_by()?)?;
        account.check_runs(&binaries)?;
        let password = if place.has_data() {
            place.password()?
        } else {
            place.draw_password(&account)?
        };
        let version = binaries.version;
        let server = Server {
            binaries,
            account,
            place: place.clone(),
            settings: options.settings.clone(),
            ready_within: options.ready_within,
            given_up: Arc::clone(&options.given_up),
        };
        let (stop, keeper) = keep(server)?;
        Ok(Self {
            place,
            password,
            version,
            keeper_stops: Some(stop),
            keeper: Some(keeper),
            lock,
        })
    }

    /// The superuser's URL, in the form that libpq, psycopg and tokio-postgres all read.
    ///
    /// It carries the password: it is for the environment of a child, not for a log.
    pub fn admin_url(&self) -> String {
        format!(
            "postgresql://postgres:{}@/postgres?host={}&port={}",
            self.password,
            place::percent_encoded(self.socket_dir()),
            place::PORT,
        )
    }

    /// The folder of the socket, as `host` names it.
    pub fn socket_dir(&self) -> &Path {
        &self.place.socket
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.place.data
    }

    /// Major and minor version of the server, `(15, 13)`.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Stops PostgreSQL and removes its data.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn discard(mut self) -> Result<(), ClusterError> {
        self.stop();
        self.place.remove()
    }

    fn stop(&mut self) {
        drop(self.keeper_stops.take());
        if let Some(keeper) = self.keeper.take() {
            // It returns nothing and panics nowhere; PostgreSQL is down either way.
            let _ = keeper.join();
        }
        self.place.clear_socket();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        self.lock.release();
    }
}

/// Starts the server on a thread of its own, which then keeps it until the sender is dropped.
fn keep(server: Server) -> Result<(mpsc::Sender<()>, thread::JoinHandle<()>), ClusterError> {
    let (stop, stopped) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::sync_channel(1);
    let keeper = thread::Builder::new()
        .name("private-postgres".into())
        .spawn(move || match server.launch() {
            Ok(child) => {
                if ready.send(Ok(())).is_ok() {
                    // Only ever ends by the sender's end.
                    let _ = stopped.recv();
                }
                server.stop(child);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })
        .map_err(|source| ClusterError::io("start a thread for", &"PostgreSQL", source))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok((stop, keeper)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ClusterError::KeeperEnded),
    }
}
