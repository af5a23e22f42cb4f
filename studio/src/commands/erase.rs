//! Erasing a person of a studio, for whoever answers requests of people by hand.

use clap::Args;
use serde_json::json;
use uuid::Uuid;
use watertight_terms::{Entry, Fault, TenantId};

use super::{Failure, Output};
use crate::{config::Config, custody::erasure, jobs::retention};

/// Erase a person: keys, addresses, names and notes; bookings stay without them
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// The artist or member; who is both is erased as both
    #[arg(long, value_name = "ID")]
    person: Uuid,
    /// Only say what would go
    #[arg(long)]
    plan: bool,
}

impl Erase {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let app = super::app(config).await?;
        let studio = TenantId(self.studio);
        let mut tx = retention::begin_as_custody(&app, studio)
            .await
            .map_err(refused)?;
        let view = if self.plan {
            let view = erasure::planned(&mut tx, self.person).await;
            let view = view.map_err(refused)?;
            let entry = Entry::new("erasure.plan", "person").ids([self.person]);
            let finished = tx.finish(entry).await;
            finished.map(drop).map_err(refused)?;
            view
        } else {
            let view = erasure::erase(&mut tx, &app.desk, self.person).await;
            let view = view.map_err(refused)?;
            let entry = Entry::new("person.erase", "person").ids([self.person]);
            let committed = tx.commit(entry).await;
            committed.map(drop).map_err(refused)?;
            view
        };
        let json = json!(view);
        output.result(&format!("{json:#}"), &json);
        Ok(0)
    }
}

fn refused(fault: Fault) -> Failure {
    Failure::refused(fault.spoken().to_owned())
}
