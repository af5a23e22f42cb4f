//! A studio as it was at an instant, out of the backups of the cluster.
//!
//! ```text
//! pgBackRest   brings the cluster of before that instant into a folder, and its log up to it
//! Cluster      private, and archives nothing; migrated to this release, with the keys of today
//! write        the studio's archives from there, under its own context and to an identity that is drawn for it
//! ```
//!
//! From there on they are archives as any other: `archive::restore` brings them back, and nothing of other studios with them.

use std::{
    ffi::OsString,
    path::Path,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use watertight_cluster::{Cluster, Options};
use watertight_custody::archive::{Folder, Recipients};
use watertight_tenancy::url_at;
use watertight_terms::TenantId;

use super::{
    archive::{Written, write_dated},
    drill::DrillFault,
};
use crate::{
    app::App,
    commands::{Failure, installation, key_tables, owner_url},
    config::Config,
};

/// The log of days may have to be replayed.
const READY_WITHIN: Duration = Duration::from_hours(12);

/// Writes the archives of a studio as it was at an instant, which they say is when they were made. `folder` is where everything
/// of it is, and has room for the whole cluster; whoever calls removes it. `stop` resolves when it is wanted no more: nothing of the
/// cluster is left then. `tell` hears what is done.
///
/// # Errors
/// When the backups do not reach that instant, the studio was not there or not available then, or it was stopped.
pub async fn write_as_of(
    app: &App,
    studio: TenantId,
    at: Timestamp,
    recipients: &Recipients,
    folder: &Path,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    mut tell: impl FnMut(&str),
) -> Result<Written, DrillFault> {
    let wrong = |error: &dyn std::fmt::Display| DrillFault::Scratch(error.to_string());
    tell("bringing the cluster of then");
    let mut options = Options::new(folder.join("pg"));
    options.ready_within = READY_WITHIN;
    // It is as large as all studios: not where nobody said.
    options.only_here = true;
    let given_up = Arc::clone(&options.given_up);
    options.settings = [("archive_mode", "off"), ("hot_standby", "off")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let command = app.config.backup.pgbackrest.clone();
    let mut bringing = tokio::task::spawn_blocking(move || {
        let started = Cluster::start_brought(&options, |data| restoring(&command, at, data));
        started.map(|cluster| Discarded(Some(cluster)))
    });
    let brought = tokio::select! {
        brought = &mut bringing => brought,
        () = &mut stop => {
            given_up.store(true, Ordering::Release);
            bringing.await
        }
    };
    let brought = brought.map_err(|error| wrong(&error))?;
    let cluster = brought.map_err(|error| wrong(&error))?;
    let socket = cluster.0.as_ref().map(Cluster::socket_dir);
    let writing = async {
        let then = migrated(app, socket.unwrap_or(folder)).await;
        let then = then.map_err(|error| wrong(&error))?;
        tell("writing the studio's archives from there");
        let archives = Folder::new(folder.join("archives"));
        Ok(write_dated(&then, studio, at, &archives, recipients, |_, _| {}).await?)
    };
    tokio::select! {
        written = writing => written,
        () = &mut stop => Err(DrillFault::Stopped),
    }
}

/// A cluster of which nothing stays: its data is all studios'.
struct Discarded(Option<Cluster>);

impl Drop for Discarded {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.take() {
            let _ = cluster.discard();
        }
    }
}

/// pgBackRest, asked for the cluster of an instant.
fn restoring(command: &[String], at: Timestamp, data: &Path) -> Vec<OsString> {
    let mut place = OsString::from("--pg1-path=");
    place.push(data);
    let target = at.strftime("--target=%Y-%m-%d %H:%M:%S%.6f+00").to_string();
    let asked = ["--type=time", &target, "--target-action=promote", "restore"].map(OsString::from);
    let command = command.iter().map(OsString::from);
    command.chain([place]).chain(asked).collect()
}

/// Who works in the cluster of then, once it is as this release needs it.
async fn migrated(app: &App, socket: &Path) -> Result<App, Failure> {
    let setup = |error: &dyn std::fmt::Display| Failure::setup(error.to_string());
    let mut config = Config::clone(&app.config);
    let owner = url_at(owner_url(&config)?, socket).map_err(|error| setup(&error))?;
    config.database.url = url_at(&config.database.url, socket).map_err(|error| setup(&error))?;
    // The studio's log is elsewhere.
    config.ledger.checkpoint_dir = None;
    let tables = key_tables(&config)?;
    let installation = installation(&config.database.prefix)?;
    let migrated = installation.migrate(&owner, &tables).await;
    migrated.map_err(|error| setup(&error))?;
    config.database.owner_url = Some(owner);
    let then = App::new(
        config,
        app.verifier.clone(),
        app.clock.clone(),
        app.random.clone(),
    );
    let then = then.map_err(|error| setup(&error))?;
    // Rows are copied as they are sealed: a key-encryption key of then that was retired since is not needed.
    let examined = then.examine_database().await;
    examined.map_err(|error| setup(&error))?;
    Ok(then)
}
