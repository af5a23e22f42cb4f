//! Closing a studio for its owners, and what proves that one is gone.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use watertight_custody::closing;
use watertight_tenancy::{Call, Operator, TenantTx};
use watertight_terms::{Entry, Fault, TenantId};

use super::{Failure, Output};
use crate::{
    config::Config,
    custody::closing::{ask, stands},
    jobs::retention::begin_as_custody,
};

/// Close a studio in thirty days: its keys are destroyed and its rows go
#[derive(Debug, Args)]
pub(super) struct Close {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// Although no export of it is ready
    #[arg(long, group = "what")]
    without_export: bool,
    /// Only say what would go
    #[arg(long, group = "what")]
    plan: bool,
    /// Take it back
    #[arg(long, group = "what")]
    cancel: bool,
    /// The receipt of one that is closed
    #[arg(long, group = "what")]
    receipt: bool,
}

const RECEIPT: Call = Call::new("SELECT custody.receipt($1) AS note");

impl Close {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        if self.receipt {
            return self.tell_receipt(&config, output).await;
        }
        let app = super::app(config).await?;
        let begun = begin_as_custody(&app, TenantId(self.studio)).await;
        let mut tx = begun.map_err(refused)?;
        let action = self.act(&mut tx, app.clock.now()).await.map_err(refused)?;
        let view = stands(&mut tx).await.map_err(refused)?;
        let entry = Entry::new(action, "studio").ids([self.studio]);
        tx.commit(entry).await.map(drop).map_err(refused)?;
        let json = json!(view);
        output.result(&format!("{json:#}"), &json);
        Ok(0)
    }

    /// Does what is asked; gives what its entry says.
    async fn act(&self, tx: &mut TenantTx, now: Timestamp) -> Result<&'static str, Fault> {
        if self.plan {
            return Ok("closing.plan");
        }
        if self.cancel {
            closing::take_back(tx).await?;
            return Ok("closing.cancel");
        }
        ask(tx, now, self.without_export).await?;
        Ok("studio.close")
    }

    async fn tell_receipt(&self, config: &Config, output: &Output) -> Result<u8, Failure> {
        let url = config.database.ops_url.as_ref();
        let url =
            url.ok_or_else(|| Failure::setup("set [database] ops_url to an operator's login"))?;
        let operator = Operator::connect(url).await;
        let operator = operator.map_err(|error| Failure::setup(error.to_string()))?;
        let rows = operator.rows(RECEIPT, &[&self.studio]).await;
        let rows = rows.map_err(refused)?;
        let note = rows.first().map(|row| row.field::<Option<String>>("note"));
        match note.transpose().map_err(refused)?.flatten() {
            Some(note) => {
                output.result(note.trim_end(), &json!({ "note": note }));
                Ok(0)
            }
            None => Err(Failure::refused("no studio of that id is closed")),
        }
    }
}

fn refused(fault: Fault) -> Failure {
    Failure::refused(fault.spoken().to_owned())
}
