//! Erasing a person of a studio: an artist, a member, and who is both as both.
//!
//! ```text
//! POST /v1/artists/{id}/erase   {"plan": true}   says what would go
//! POST /v1/members/{id}/erase   {}               erases, and answers a receipt
//! studio erase --studio ID --person ID [--plan]
//! ```
//!
//! The keys are destroyed, what the rows say of the person goes, bookings stay without them. The artist must
//! be archived and the member removed before, at Clerk, too: who still works here is not erased by a slip, and whom
//! Clerk still names would be here again. The studio gets a
//! new key; when the worker has renewed what the old one sealed, that is destroyed, and with it what kept
//! answers and the index of addresses in older copies could tell.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use watertight::answer::{Answer, Draft};
use watertight_authority::Action;
use watertight_custody::{
    ERASURE_READY,
    erasure::{self, Erasure, Touched},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Constraint, Stored, TenantTx};
use watertight_terms::{Entry, Fault};

use super::receipt::Receipt;
use crate::app::Desk;

/// What the erasure of somebody breaks who is still at work in the studio.
pub(crate) const READY: Constraint = Constraint {
    name: ERASURE_READY,
    problem: crate::problems::STILL_HERE,
    spoken: "archive the artist and remove the member first, and wait until clerk has let go of them",
};

/// What is asked of an erasure.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ErasureAsked")]
pub(crate) struct Asked {
    /// Only say what would go.
    #[serde(default)]
    #[garde(skip)]
    plan: bool,
}

/// What an erasure did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Erasure")]
pub struct ErasureView {
    person: Uuid,
    /// Whether it is done.
    erased: bool,
    /// A legal hold stands in its way.
    held: bool,
    /// The artist is archived and the member removed, here and at Clerk, as they must be before.
    ready: bool,
    tables: Vec<TouchedView>,
    /// Of what is done: nobody else keeps it.
    receipt: Option<Receipt>,
}

/// Rows of a table.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Touched")]
struct TouchedView {
    table: String,
    /// `removed`, `anonymised`, or `destroyed`: keys.
    becomes: String,
    rows: i64,
}

impl From<Touched> for TouchedView {
    fn from(touched: Touched) -> Self {
        Self {
            table: touched.table,
            becomes: touched.becomes,
            rows: touched.rows,
        }
    }
}

/// Erases whom an owner may, or says what would go.
pub(crate) async fn asked<A: Action<R>, R: Stored>(
    mut tx: TenantTx,
    desk: &Desk,
    id: Uuid,
    asked: Asked,
) -> Result<Answer<ErasureView>, Fault> {
    let granted = tx.grant::<A, R>(id).await?;
    drop(tx.seen(granted)?);
    // What would go is asked by whoever could do it.
    tx.may_write()?;
    if asked.plan {
        let view = planned(&mut tx, id).await?;
        let entry = Entry::new("erasure.plan", R::NOUN).ids([id]);
        return Draft::ok(view)?.finish(tx, entry).await;
    }
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    let view = erase(&mut tx, desk, id).await?;
    let entry = Entry::new(A::NAME, R::NOUN).ids([id]);
    Draft::ok(view)?.commit(tx, entry).await
}

/// What the erasure of a person would do.
///
/// # Errors
/// When the database refuses.
pub async fn planned(tx: &mut TenantTx, person: Uuid) -> Result<ErasureView, Fault> {
    let erasure = erasure::plan(tx, person).await?;
    Ok(view(person, erasure, None))
}

/// Erases a person in this transaction.
///
/// # Errors
/// As [`planned`]; when a legal hold stands in its way, or the person is still at work.
pub async fn erase(tx: &mut TenantTx, desk: &Desk, person: Uuid) -> Result<ErasureView, Fault> {
    let erasure = erasure::erase(tx, person).await?;
    desk.vault.replace_studio_key(tx).await?;
    let touched = erasure.touched.iter();
    let touched =
        touched.map(|one| json!({ "table": one.table, "becomes": one.becomes, "rows": one.rows }));
    let facts = [("person", json!(person)), ("tables", touched.collect())];
    let receipt = Receipt::of(tx, desk, "erasure", facts)?;
    Ok(view(person, erasure, Some(receipt)))
}

fn view(person: Uuid, erasure: Erasure, receipt: Option<Receipt>) -> ErasureView {
    ErasureView {
        person,
        erased: receipt.is_some(),
        held: erasure.is_held,
        ready: erasure.is_ready,
        tables: erasure.touched.into_iter().map(TouchedView::from).collect(),
        receipt,
    }
}
