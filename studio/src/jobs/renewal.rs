//! Renewing keys: after a rotation every studio's values are sealed anew, while it works.

use std::time::Duration;

use watertight_identity::ServiceName;
use watertight_terms::{Entry, Fault, Kind, TenantId};

use super::begin;
use crate::app::App;

/// The service as which it acts.
const VAULT: ServiceName = ServiceName::new("vault");

/// So often it looks whether keys were rotated.
const EVERY: Duration = Duration::from_secs(10);

/// A step that met others at the same rows is tried so often.
const TRIES: usize = 5;

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The studio.
    pub studio: TenantId,
    /// Studios after this one.
    pub studios_left: usize,
    /// People of this one that are left.
    pub people_left: i64,
}

/// Renews every studio whose keys are outdated, and gives in how many that is not possible now: those
/// that are frozen or suspended. `tell` hears of each step.
///
/// # Errors
/// When the database or whoever holds the key-encryption keys cannot be reached, or a value of a studio does not open:
/// after all others, and it says which. What was renewed stays so; the next time goes on from there.
pub async fn renew(app: &App, mut tell: impl FnMut(Progress)) -> Result<usize, Fault> {
    let studios = app.desk.vault.outdated(&app.tenancy).await?;
    let (mut kept_out, mut failed) = (0, Vec::new());
    for (at, studio) in studios.iter().enumerate() {
        let studios_left = studios.len() - at - 1;
        let worked = renew_studio(app, *studio, |people_left| {
            tell(Progress {
                studio: *studio,
                studios_left,
                people_left,
            });
        });
        match worked.await {
            Err(fault) if fault.kind() == Kind::Unavailable => {
                tracing::warn!(%studio, "its keys are not renewed now: {fault}");
                kept_out += 1;
            }
            Err(fault) => failed.push(format!("studio {studio}: {fault}")),
            Ok(()) => {}
        }
    }
    if !failed.is_empty() {
        return Err(Fault::bug(failed.join("; ")));
    }
    Ok(kept_out)
}

/// Looks every ten seconds, for as long as it is let.
pub(super) async fn keep_renewing(app: &App) {
    loop {
        if let Err(fault) = renew(app, |_| {}).await {
            tracing::warn!("renewing keys: {fault}");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn renew_studio(app: &App, studio: TenantId, mut tell: impl FnMut(i64)) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        match step(app, studio).await {
            Ok(None) => return Ok(()),
            Ok(Some(people_left)) => {
                tries = 0;
                tell(people_left);
            }
            // Somebody changed one of them at the same moment.
            Err(fault) if fault.slug() == "busy" && tries < TRIES => tries += 1,
            Err(fault) => return Err(fault),
        }
    }
}

/// One transaction. Gives how many people are left, nothing when it is done.
async fn step(app: &App, studio: TenantId) -> Result<Option<i64>, Fault> {
    let mut tx = begin(&app.tenancy, &app.desk, VAULT, studio, "vault").await?;
    let renewed = app.desk.vault.renew(&mut tx).await?;
    let entry = Entry::new("key.renew", "key").ids(renewed.rows);
    let committed = tx.commit(entry).await;
    committed.map(|_receipt| (!renewed.is_done).then_some(renewed.people_left))
}
