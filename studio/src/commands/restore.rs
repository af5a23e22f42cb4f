use std::{path::PathBuf, pin::pin, sync::Arc};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_custody::archive::{Became, Identities, Kind, Recipients};
use watertight_terms::TenantId;

use super::{
    Failure, Output, backup::identities, drill::Place, keys::new_context_key, serve::stop,
};
use crate::{
    app::App,
    config::Config,
    jobs::{
        archive::{self, RestoreFault, Restored, Wanted},
        past::write_as_of,
    },
};

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The archive: the one of data, or that of wrapped keys, which come back where they were lost
    #[arg(
        required_unless_present = "at",
        conflicts_with = "at",
        requires = "identity"
    )]
    archive: Option<PathBuf>,
    /// A file with the secret of one of its recipients, as `age-keygen` writes it
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Not an archive, but how the studio was at that instant by the backups of the cluster
    #[arg(
        long,
        value_name = "TIME",
        requires = "studio",
        conflicts_with = "identity"
    )]
    at: Option<Timestamp>,
    /// With `--at`: which studio
    #[arg(long, value_name = "ID", requires = "at")]
    studio: Option<Uuid>,
    /// With `--at`: where the cluster of then is meanwhile, where PostgreSQL's user can enter, too; otherwise below the temporary
    /// directory
    #[arg(long, value_name = "FOLDER", requires = "at")]
    folder: Option<PathBuf>,
    /// Say what it would do, by table, and change nothing
    #[arg(long)]
    plan: bool,
    /// Into this studio, which is new, without what is sealed; otherwise into its own
    #[arg(long, value_name = "ID")]
    into_new: Option<Uuid>,
    /// Go on where sealed values need keys that are destroyed, as after a rotation or an erasure: what is there now stays in
    /// their place
    #[arg(long)]
    without_unreadable: bool,
}

impl Restore {
    /// What it waits for is boxed: every command would have that much on its stack.
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let app = super::app(config).await?;
        let into = self.into_new.map(TenantId);
        let (Some(at), Some(studio)) = (self.at, self.studio) else {
            let wanted = Wanted {
                archive: self.archive.unwrap_or_default(),
                identities: Arc::new(identities(&self.identity.unwrap_or_default())?),
                into,
                without_unreadable: self.without_unreadable,
            };
            return Box::pin(bring_back(&app, &wanted, self.plan, output)).await;
        };
        let mut stop = pin!(stop());
        let place = Place::make(self.folder.as_deref(), &app.random.uuid())?;
        let identities = Identities::generate();
        let recipients = Recipients::parse(&identities.recipients());
        let recipients = recipients.map_err(|fault| failed(fault.into()))?;
        let (studio, tell) = (TenantId(studio), |what: &str| output.progress(what));
        let writing = write_as_of(&app, studio, at, &recipients, &place.0, stop.as_mut(), tell);
        let written = Box::pin(writing).await;
        let written = written.map_err(|error| Failure::refused(error.to_string()))?;
        let wanted = Wanted {
            archive: written.data.0,
            identities: Arc::new(identities),
            into,
            without_unreadable: self.without_unreadable,
        };
        tokio::select! {
            done = Box::pin(bring_back(&app, &wanted, self.plan, output)) => done,
            () = stop => Err(Failure::refused("it was interrupted: the studio is as it was, unless it was just done")),
        }
    }
}

/// Brings an archive back, or says what that would do.
async fn bring_back(
    app: &App,
    wanted: &Wanted,
    is_plan: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let ring = (app.desk.checkpoint_keys)();
    let manifest = archive::inspect(&wanted.archive, &wanted.identities, &ring);
    let manifest = manifest.map_err(|fault| failed(fault.into()))?;
    if manifest.head.kind == Kind::Keys && !is_plan {
        let put = archive::restore_keys(app, wanted).await.map_err(failed)?;
        output.result(
            &keys_text(put),
            &json!({ "added": put.0, "forgotten": put.1 }),
        );
        return Ok(0);
    }
    if is_plan {
        let planned = archive::plan(app, wanted).await.map_err(failed)?;
        output.result(&text(&planned, "would be"), &value(&planned, None));
        return Ok(0);
    }
    let mut meter = output.meter();
    let restored = archive::restore(app, wanted, |table, rows| {
        let sum = manifest.sums.iter().find(|sum| sum.table == table);
        meter.is_at(table, rows, sum.map(|sum| sum.rows));
    });
    let restored = restored.await.map_err(failed)?;
    drop(meter);
    // What was signed before is worth nothing after.
    let context_key = match app.config.database.owner_url {
        Some(_) => Some(new_context_key(&app.config).await.map_err(not_rotated)?),
        None => None,
    };
    let mut said = text(&restored, "are");
    if context_key.is_none() {
        said += "\nrun `studio keys rotate context` where `[database] owner_url` is";
    }
    output.result(&said, &value(&restored, context_key));
    Ok(0)
}

/// The studio is back, and whoever ran it must not do it again for this.
fn not_rotated(failure: Failure) -> Failure {
    Failure::refused(format!(
        "the studio is restored, but the context key is the old one: {failure}; run `studio keys rotate context`"
    ))
}

fn keys_text((added, forgotten): (i64, i64)) -> String {
    format!("{added} keys are back; {forgotten} of people who were forgotten stay away")
}

fn text(restored: &Restored, are: &str) -> String {
    let head = &restored.manifest.head;
    let mut text = format!("studio {} as of {}", restored.studio, head.made_at);
    for table in &restored.tables {
        text += &line(table, are);
    }
    text
}

fn line(table: &Became, are: &str) -> String {
    let mut line = format!(
        "\n  {}: of {} rows {} {are} brought back and {} changed back; {} {are} removed",
        table.table, table.came, table.added, table.changed, table.removed
    );
    if table.forgotten > 0 {
        line += &format!(
            "; {} are about somebody who was forgotten and stay away",
            table.forgotten
        );
    }
    if table.unreadable > 0 {
        line += &format!(
            "; {} sealed values need keys that are destroyed: what is there now stays in their place",
            table.unreadable
        );
    }
    line
}

fn value(restored: &Restored, context_key: Option<i16>) -> Value {
    let tables = restored.tables.iter().map(|table| {
        json!({
            "table": table.table, "rows": table.came, "forgotten": table.forgotten, "removed": table.removed,
            "changed": table.changed, "added": table.added, "unreadable": table.unreadable,
        })
    });
    json!({
        "studio": restored.studio, "made_at": restored.manifest.head.made_at, "pair": restored.manifest.head.pair,
        "tables": tables.collect::<Vec<_>>(), "ended": restored.ended,
        "context_key": context_key,
    })
}

fn failed(fault: RestoreFault) -> Failure {
    Failure::refused(fault.to_string())
}
