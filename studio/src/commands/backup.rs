use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;
use watertight_custody::archive::{ArchiveFault, Folder, Identities, Kept, Manifest, Recipients};
use watertight_terms::{KeyFile, TenantId};

use super::{Failure, Output};
use crate::{
    config::Config,
    jobs::archive::{self, Written},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Backup {
    #[command(subcommand)]
    look: Option<Look>,
    /// Whose archives to write: its rows, and its wrapped keys apart from them
    #[arg(long, value_name = "ID", required = true)]
    studio: Option<Uuid>,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// The archives that are there
    List {
        /// Of this studio alone
        #[arg(long, value_name = "ID")]
        studio: Option<Uuid>,
    },
    /// Verify an archive from its first byte to its last, and say what is in it
    Inspect {
        /// The archive
        archive: PathBuf,
        /// A file with the secret of one of its recipients, as `age-keygen` writes it
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
    },
}

impl Backup {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        match (self.look, self.studio) {
            (Some(Look::List { studio }), _) => list(&config, studio.map(TenantId), output),
            (Some(Look::Inspect { archive, identity }), _) => {
                inspect(&config, &archive, &identity, output)
            }
            (None, Some(studio)) => write(config, TenantId(studio), output).await,
            (None, None) => Err(Failure::setup("say `--studio ID`")),
        }
    }
}

async fn write(config: Config, studio: TenantId, output: &Output) -> Result<u8, Failure> {
    // Before anything is read: without recipients there is nothing to be done.
    let recipients = recipients(&config, studio)?;
    let folder = folder(&config)?;
    let app = super::app(config).await?;
    let mut meter = output.meter();
    let written = archive::write(&app, studio, &folder, &recipients, |table, rows| {
        meter.is_at(table, rows, None);
    });
    let Written { data, keys } = written.await.map_err(failed)?;
    let text = format!(
        "{} rows of studio {studio} to {} recipients\n{}\n{}",
        data.1.rows(),
        recipients.count(),
        data.0.display(),
        keys.0.display()
    );
    let value = json!({
        "studio": studio, "recipients": recipients.count(),
        "data": { "path": data.0, "manifest": data.1 }, "keys": { "path": keys.0, "manifest": keys.1 },
    });
    output.result(&text, &value);
    Ok(0)
}

fn list(config: &Config, studio: Option<TenantId>, output: &Output) -> Result<u8, Failure> {
    let kept = folder(config)?.list(studio).map_err(failed)?;
    let line = |one: &Kept| format!("{} {} bytes, {}", one.finished_at, one.bytes, one.name);
    let lines: Vec<String> = kept.iter().map(line).collect();
    let all = kept.iter().map(|one| {
        json!({ "name": one.name, "path": one.path, "bytes": one.bytes, "finished_at": one.finished_at })
    });
    let value = json!({ "archives": all.collect::<Vec<_>>() });
    let text = if lines.is_empty() {
        "there is no archive".to_owned()
    } else {
        lines.join("\n")
    };
    output.result(&text, &value);
    Ok(0)
}

fn inspect(
    config: &Config,
    archive: &Path,
    identity: &Path,
    output: &Output,
) -> Result<u8, Failure> {
    let setup = |error: watertight_terms::KeyError| Failure::setup(error.to_string());
    let keys = KeyFile::read(&config.keys.location).map_err(setup)?;
    let ring = keys.ring("checkpoint").map_err(setup)?;
    let manifest = archive::inspect(archive, &identities(identity)?, ring).map_err(failed)?;
    output.result(&told(&manifest), &json!(manifest));
    Ok(0)
}

fn told(manifest: &Manifest) -> String {
    let head = &manifest.head;
    let mut text = format!(
        "{} of studio {} at {}, {} rows, whole and signed here",
        head.kind.as_str(),
        head.studio,
        head.made_at,
        manifest.rows()
    );
    for sum in &manifest.sums {
        text += &format!("\n  {} {} {}", sum.table, sum.rows, sum.sha256);
    }
    text
}

/// The folder of the archives.
pub(super) fn folder(config: &Config) -> Result<Folder, Failure> {
    archive::folder(config).map_err(failed)
}

/// To whom that studio's archives are encrypted.
pub(super) fn recipients(config: &Config, studio: TenantId) -> Result<Recipients, Failure> {
    archive::recipients(config, studio).map_err(failed)
}

/// What opens archives.
pub(super) fn identities(path: &Path) -> Result<Identities, Failure> {
    let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    let text = text
        .map_err(|error| Failure::setup(format!("the identity `{}`: {error}", path.display())))?;
    Identities::parse(&text).map_err(failed)
}

pub(super) fn failed(fault: ArchiveFault) -> Failure {
    Failure::setup(fault.to_string())
}
