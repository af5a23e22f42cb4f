//! What owners do in an incident: open one, and say what was done.
//!
//! ```text
//! POST /v1/incidents {"kind": "stolen-session", "reason": "somebody signed in as Ada"}
//! POST /v1/incidents/{id}/steps/assess {"note": "three artists were looked at"}
//! ```
//!
//! Nobody is frozen by it: an operator confirms it, as one that another operator opened, and may freeze then.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft},
    argument::{Line, Path, Slug, Valid},
    door::{Routes, post},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Tell, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{
    Incident, IncidentView,
    actions::{Report, Step},
    expect_seen, one,
};
use crate::app::Desk;

const REPORT: Tell = Tell::new("i7", "SELECT incident.report_mine($1)::text");
const STEP: Tell = Tell::new("i8", "SELECT incident.note_step_mine($1)::text");

/// A new incident.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// What it is, such as `stolen-session`.
    #[garde(dive)]
    kind: Slug<40>,
    /// Why; operators read it, so nobody's data.
    #[garde(dive)]
    reason: Line<1000>,
}

pub(super) async fn report(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<IncidentView>>, Fault> {
    let _granted = tx.grant_new::<Report, Incident>()?;
    tx.may_write()?;
    let id = desk.random.uuid();
    let (tenant, row, reason) = (
        tx.tenant().to_string(),
        id.to_string(),
        hex::encode(&*new.reason),
    );
    tx.tell(REPORT, &[&tenant, &row, &new.kind, &reason])
        .await?;
    let view = one(&mut tx, id).await?;
    let entry = Entry::new("incident.report", "incident").ids([id]);
    let draft = Draft::created(view, &format!("/v1/incidents/{id}"))?;
    draft.commit(tx, entry).await
}

/// What was done.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    #[garde(dive)]
    note: Line<1000>,
}

/// Adds a route a step: each is done once, by whoever did it.
pub(super) fn steps(routes: Routes) -> Routes {
    /// The handler of one step.
    macro_rules! step {
        ($routes:expr, $($name:literal),*) => {
            $routes$(.route(
                concat!("/v1/incidents/{id}/steps/", $name),
                post(async |tx: TenantTx, desk: Desk, id: Path<Uuid>, done: Valid<Done>| step(tx, desk, [$name, concat!("incident.", $name)], id, done).await)
                    .says("notes that this step was done, once; asks for a fresh proof of who you are")
                    .sample(r#"{"note": "done"}"#)
                    .needs::<Step, Incident>(),
            ))*
        };
    }
    step!(
        routes, "assess", "notify", "keys", "sessions", "role", "policy", "check", "replay"
    )
}

async fn step(
    mut tx: TenantTx,
    desk: Desk,
    [name, action]: [&'static str; 2],
    Path(id): Path<Uuid>,
    Valid(done): Valid<Done>,
) -> Result<Answer<IncidentView>, Fault> {
    expect_seen(&mut tx)?;
    // Of another studio, or of nobody: one answer.
    one(&mut tx, id).await?;
    let _granted = tx.grant_new::<Step, Incident>()?;
    // The list lets a studio be thawed: whoever has stolen a session must not be who says that all is mended.
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    tx.may_write()?;
    let (tenant, row, note) = (
        tx.tenant().to_string(),
        id.to_string(),
        hex::encode(&*done.note),
    );
    tx.tell(STEP, &[&tenant, &row, name, &note]).await?;
    let view = one(&mut tx, id).await?;
    let entry = Entry::new(action, "incident").ids([id]);
    Draft::ok(view)?.commit(tx, entry).await
}
