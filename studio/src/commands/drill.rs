use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use uuid::Uuid;
use watertight_terms::TenantId;

use super::{Failure, Output};
use crate::{
    config::Config,
    jobs::{
        drill::{Drilled, drill},
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
    /// Exit code 0 when all came back as it was, 1 when something did not.
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let app = super::app(config).await?;
        let only = self.studio.map(TenantId);
        let failed = |error: &dyn std::fmt::Display| Failure::setup(error.to_string());
        let studios = studios(&app.tenancy, only).await;
        let (mut lines, mut all, mut worst) = (Vec::new(), Vec::new(), 0);
        for studio in studios.map_err(|fault| failed(&fault))? {
            let folder = Place::make(self.folder.as_deref(), &app.random.uuid())?;
            let drilled = drill(&app, studio, &folder.0, |what| {
                output.progress(&format!("studio {studio}: {what}"));
            });
            let drilled = drilled.await.map_err(|error| failed(&error))?;
            worst |= u8::from(!drilled.differing.is_empty());
            lines.push(line(studio, &drilled));
            all.push(json!({
                "studio": studio, "rows": drilled.data.rows(), "keys": drilled.keys.rows(),
                "made_at": drilled.data.head.made_at, "differing": drilled.differing,
            }));
        }
        output.result(&lines.join("\n"), &json!({ "drills": all }));
        Ok(worst)
    }
}

fn line(studio: TenantId, drilled: &Drilled) -> String {
    let (rows, keys) = (drilled.data.rows(), drilled.keys.rows());
    match drilled.differing.as_slice() {
        [] => format!("studio {studio}: {rows} rows and {keys} keys, brought back as they were"),
        tables => format!(
            "studio {studio}: came back as something else: {}",
            tables.join(", ")
        ),
    }
}

/// A folder that goes with whoever needed it.
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    pub(super) fn make(below: Option<&Path>, id: &Uuid) -> Result<Self, Failure> {
        let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = below.join(format!("studio-{}", id.simple()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::setup(format!("`{}`: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
