use std::{
    fs::{DirBuilder, File},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    pin::pin,
};

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_cluster::Cluster;
use watertight_terms::TenantId;

use super::{Failure, Output, serve::stop};
use crate::{
    config::Config,
    jobs::{
        drill::{DrillFault, Drilled, drill},
        retention::studios,
    },
};

#[derive(Debug, Args)]
pub(super) struct Drill {
    /// With this studio alone; otherwise with every one, one after the other
    #[arg(long, value_name = "ID")]
    studio: Option<Uuid>,
    /// Where the cluster of the drill is until it ends; otherwise below the temporary directory
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Drill {
    /// Exit code 0 when all came back as it was, 1 when something did not, or could not be tried: the others are.
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let app = super::app(config).await?;
        let only = self.studio.map(TenantId);
        let failed = |error: &dyn std::fmt::Display| Failure::setup(error.to_string());
        let studios = studios(&app.tenancy, only).await;
        let mut stop = pin!(stop());
        let (mut lines, mut all, mut worst) = (Vec::new(), Vec::new(), 0);
        for studio in studios.map_err(|fault| failed(&fault))? {
            let folder = Place::make(self.folder.as_deref(), &app.random.uuid())?;
            let drilled = drill(&app, studio, &folder.0, |what| {
                output.progress(&format!("studio {studio}: {what}"));
            });
            let drilled = tokio::select! {
                drilled = drilled => drilled,
                () = &mut stop => Err(DrillFault::Stopped),
            };
            if let Err(error @ DrillFault::Stopped) = &drilled {
                return Err(failed(error));
            }
            let is_fine = drilled.as_ref().is_ok_and(|it| it.differing.is_empty());
            worst |= u8::from(!is_fine);
            lines.push(line(studio, drilled.as_ref()));
            all.push(value(studio, drilled.as_ref()));
        }
        output.result(&lines.join("\n"), &json!({ "drills": all }));
        Ok(worst)
    }
}

fn value(studio: TenantId, drilled: Result<&Drilled, &DrillFault>) -> Value {
    match drilled {
        Ok(drilled) => json!({
            "studio": studio, "rows": drilled.data.rows(), "keys": drilled.keys.rows(),
            "made_at": drilled.data.head.made_at, "differing": drilled.differing,
        }),
        Err(error) => json!({ "studio": studio, "failed": error.to_string() }),
    }
}

fn line(studio: TenantId, drilled: Result<&Drilled, &DrillFault>) -> String {
    let drilled = match drilled {
        Ok(drilled) => drilled,
        Err(error) => return format!("studio {studio}: not drilled: {error}"),
    };
    let (rows, keys) = (drilled.data.rows(), drilled.keys.rows());
    match drilled.differing.as_slice() {
        [] => format!("studio {studio}: {rows} rows and {keys} keys, brought back as they were"),
        tables => format!(
            "studio {studio}: came back as something else: {}",
            tables.join(", ")
        ),
    }
}

/// A folder that goes with whoever needed it. Locked, so that what a killed one left is known, and swept by the next.
pub(super) struct Place(
    pub(super) PathBuf,
    #[expect(dead_code, reason = "what it is for is that it is open")] File,
);

/// What its name begins with; an id follows.
const NAMED: &str = "studio-";
const LOCK: &str = "lock";

impl Place {
    /// PostgreSQL's user passes through, and sees what is its own.
    pub(super) fn make(below: Option<&Path>, id: &Uuid) -> Result<Self, Failure> {
        let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = below.join(format!("{NAMED}{}", id.simple()));
        let failed = |error| Failure::setup(format!("`{}`: {error}", path.display()));
        let made = DirBuilder::new().mode(0o711).create(&path);
        made.map_err(failed)?;
        let lock = File::create_new(path.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let owner = lock.metadata().map_err(failed)?.uid();
        sweep(&below, owner);
        Ok(Self(path, lock))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes what others of this user have left here that were killed. What cannot be removed is there the next time.
fn sweep(below: &Path, owner: u32) {
    let entries = std::fs::read_dir(below).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.strip_prefix(NAMED));
        let is_named = id.is_some_and(|id| id.len() == 32 && Uuid::try_parse(id).is_ok());
        let is_left = || {
            let data = std::fs::symlink_metadata(&path).ok()?;
            let is_own = data.is_dir() && data.uid() == owner;
            let lock = is_own.then(|| File::open(path.join(LOCK)).ok()).flatten()?;
            lock.try_lock().is_ok().then_some(lock)
        };
        if is_named && let Some(_lock) = is_left() {
            // Of a cluster its PostgreSQL may still run, and its data be elsewhere.
            let cluster = path.join("pg");
            if !cluster.exists() || Cluster::discard_left(&cluster).is_ok() {
                let _ = std::fs::remove_dir_all(&path);
            }
        }
    }
}
