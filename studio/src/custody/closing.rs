//! Closing a studio.
//!
//! ```text
//! POST /v1/studio/close          {"plan": true} says what would go; {} closes it in thirty days, once an export of it is
//!                                ready; {"without_export": true} without one
//! POST /v1/studio/close/cancel   until then
//! studio close --studio ID [--without-export | --plan | --cancel | --receipt]
//! ```
//!
//! Until its time has come it works as ever, and says that it is `closing`. Then nobody enters it any more,
//! its keys are destroyed and its rows go, in steps; the worker does it. A studio whose organization was deleted
//! at Clerk goes the same way after thirty days. While a legal hold stands nothing of it goes.

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use watertight_custody::closing::{self, Rows};
use watertight_tenancy::{Read, TenantTx};
use watertight_terms::{Entry, Fault, TenantId};

use super::receipt::Receipt;
use crate::{app::App, jobs::retention::begin_as_custody, problems};

/// What is asked of a closing.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClosingAsked")]
pub(crate) struct Asked {
    /// Only say what would go.
    #[serde(default)]
    #[garde(skip)]
    pub(crate) plan: bool,
    /// Close it although there is no export of it that is ready.
    #[serde(default)]
    #[garde(skip)]
    pub(crate) without_export: bool,
}

/// An export of the studio whose file is there.
const TAKEN_ALONG: Read = Read::new(
    "SELECT id FROM studio.exports WHERE tenant_id = $1 AND kind = 'studio' AND state = 'ready' AND expires_at > $2 LIMIT 1",
);

/// Asks that the studio be closed, once it was taken along.
///
/// # Errors
/// Where no export of it is ready and one is wanted; when a legal hold stands, or the database refuses.
pub async fn ask(tx: &mut TenantTx, now: Timestamp, without_export: bool) -> Result<(), Fault> {
    let is_asked = closing::asked(tx).await?.is_some();
    if !is_asked && !without_export && tx.read(TAKEN_ALONG, &[&now]).await?.is_empty() {
        let spoken = "make an export of the studio first and fetch it, or say `without_export`";
        return Err(Fault::new(problems::EXPORT_FIRST, spoken));
    }
    closing::ask(tx).await.map(drop)
}

/// Where a closing stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Closing")]
pub struct ClosingView {
    /// None: it does not close.
    pub closes_at: Option<Timestamp>,
    /// A legal hold stands in its way.
    pub held: bool,
    /// What goes, in this order.
    pub tables: Vec<RowsView>,
}

/// Rows of a table.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rows")]
pub struct RowsView {
    table: String,
    rows: i64,
}

impl From<Rows> for RowsView {
    fn from(rows: Rows) -> Self {
        Self {
            table: rows.table,
            rows: rows.rows,
        }
    }
}

/// Where it stands, and what would go.
///
/// # Errors
/// When the database refuses.
pub async fn stands(tx: &mut TenantTx) -> Result<ClosingView, Fault> {
    let closes_at = closing::asked(tx).await?;
    let (tables, held) = closing::rows_of(tx).await?;
    Ok(ClosingView {
        closes_at,
        held,
        tables: tables.into_iter().map(RowsView::from).collect(),
    })
}

/// Closes a studio whose time has come, from where it stands. Gives whether it is closed and nothing is left.
/// `tell` hears of each step.
///
/// # Errors
/// When the database cannot be reached. What went stays gone; the next time goes on from there.
pub async fn shred(
    app: &App,
    studio: TenantId,
    mut tell: impl FnMut(&Rows),
) -> Result<bool, Fault> {
    if !closing::begin(&app.tenancy, studio).await? {
        return Ok(false);
    }
    loop {
        let mut tx = begin_as_custody(app, studio).await?;
        let gone = closing::shred(&mut tx).await?;
        let entry = Entry::new("studio.shred", "studio").ids([studio.0]);
        let Some(gone) = gone else {
            let nothing_left = [("left", json!(0))];
            let receipt = Receipt::of(&tx, &app.desk, "closing", nothing_left)?;
            closing::keep_receipt(&mut tx, &receipt.note).await?;
            tx.commit(entry.rule("done")).await.map(drop)?;
            return Ok(true);
        };
        tx.commit(entry.rule(gone.table.clone())).await.map(drop)?;
        tell(&gone);
    }
}
