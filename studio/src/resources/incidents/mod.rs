//! What operators did when something went wrong in a studio, for its owners.
//!
//! ```text
//! GET /v1/incidents/{id}/impact   which records were touched, by whom and from where
//! GET /v1/incidents               {"items": [{"kind": "stolen-session", "state": "closed", "steps": […], …}], "next_cursor": null}
//! ```
//!
//! An owner opens one and says which steps are done. Operators act by `studio incident`, as logins of the database that read no row of any studio; see
//! `docs/decisions/incidents.md`. While all of the studio is frozen nobody reads this either.

mod impact;
mod notice;
mod report;

pub(crate) use impact::{Asked as AskedOfImpact, impact};
pub(crate) use notice::{Notice, told};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::Path,
    door::{Routes, get, post},
};
use watertight_tenancy::{Constraint, Read, Row, TenantTx};
use watertight_terms::{Entry, Fault, TenantId, problems};

use super::{Registered, page::List};

/// Incidents, for policies and the ledger.
#[derive(Debug)]
pub struct Incident(TenantId);

super::of_studio!(Incident, "incident");

/// What may be done with them.
pub mod actions {
    crate::resources::actions! { super::Incident: View "incident.view", Report "incident.report", Step "incident.step", Send "incident.send" }
}

/// Incidents, for the register. Their tables are listed with the library's: no statement of the server reads them.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[
        super::migration!("0031_incidents"),
        super::migration!("0032_impact"),
        super::migration!("0035_evidence"),
        super::migration!("0036_touched"),
        super::migration!("0039_notices"),
    ],
    tables: &[],
    rows: &[],
    constraints: &[
        conflict("incidents_closed", "the incident is over; open another"),
        conflict(
            "incidents_most",
            "fifty incidents are open; close some first",
        ),
        conflict("steps_pkey", "the step is done already"),
        conflict(
            "notices_nobody",
            "nobody of them has an address here; tell them in another way",
        ),
        conflict("notices_most", "twenty notices were written of it"),
        invalid("notices_window", "a window ends after it begins"),
        invalid("notices_body", "say something"),
        invalid("notices_gaps", "fill the gaps that stand in `[`"),
    ],
    routes,
};

const fn conflict(name: &'static str, spoken: &'static str) -> Constraint {
    Constraint {
        name,
        problem: problems::CONFLICT,
        spoken,
    }
}

const fn invalid(name: &'static str, spoken: &'static str) -> Constraint {
    Constraint {
        name,
        problem: problems::INVALID,
        spoken,
    }
}

fn routes(routes: Routes) -> Routes {
    let routes = routes
        .route(
            "/v1/incidents",
            get(list)
                .says("what was done when something went wrong, by whom and why; the newest hundred")
                .needs::<actions::View, Incident>()
                .and(
                    post(report::report)
                        .says("opens one, for an operator to confirm; nobody is frozen by it")
                        .sample(r#"{"kind": "stolen-session", "reason": "somebody signed in as Ada"}"#)
                        .needs::<actions::Report, Incident>(),
                ),
        )
        .route(
            "/v1/incidents/{id}",
            get(show)
                .says("an incident, and how far it has come")
                .needs::<actions::View, Incident>(),
        )
        .route(
            "/v1/incidents/{id}/impact",
            get(impact)
                .says("which records and personal fields were touched, by whom, from where and when, and what cannot be said")
                .expensive()
                .needs::<actions::View, Incident>(),
        )
        .route(
            "/v1/incidents/{id}/notices",
            post(notice::send)
                .says("tells the studio's owners, or those whose records were touched, by mail; asks for a fresh proof of who you are")
                .sample(r#"{"whom": "owner", "subject": "An incident", "text": "Somebody signed in as Ada."}"#)
                .needs::<actions::Send, Incident>(),
        );
    report::steps(routes)
}

/// An incident as answered.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "Incident")]
pub(crate) struct IncidentView {
    id: Uuid,
    kind: String,
    reason: String,
    state: State,
    /// Whether its opener froze before another operator confirmed it.
    is_emergency: bool,
    opened_at: Timestamp,
    /// A login of an operator, as all that follow; or `member:ID` of an owner.
    opened_by: String,
    confirmed_at: Option<Timestamp>,
    confirmed_by: Option<String>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
    /// Why it was closed although a step was missing.
    r#override: Option<String>,
    frozen: Frozen,
    steps: Vec<Step>,
    evidence: Vec<Evidence>,
    notices: Vec<notice::NoticeView>,
    /// Those about whoever is isolated, the newest fifty.
    alerts: Vec<Uuid>,
}

/// How far it has come.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum State {
    Open,
    Contained,
    Assessed,
    Notified,
    Remediated,
    Closed,
}

/// Who is not let in because of it.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
struct Frozen {
    studio: bool,
    members: Vec<Uuid>,
    sessions: Vec<String>,
    addresses: Vec<String>,
}

/// One of the steps that are to be done.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
struct Step {
    name: String,
    /// `open` or `done`.
    state: String,
    by: Option<String>,
    at: Option<Timestamp>,
    note: Option<String>,
}

/// A bundle of evidence: a file that the studio's recipients open, see `docs/formats/evidence.md`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
struct Evidence {
    id: Uuid,
    from: Timestamp,
    to: Timestamp,
    asked_at: Timestamp,
    asked_by: String,
    made_at: Option<Timestamp>,
    name: Option<String>,
    bytes: Option<u64>,
    /// Of the file, in hexadecimal: whoever has it compares.
    sha256: Option<String>,
    /// Why it was not made.
    failed: Option<String>,
    /// Each time that it was given on.
    handed_over: Vec<HandOver>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
struct HandOver {
    at: Timestamp,
    by: String,
    to: String,
}

const LIST: Read = Read::new("SELECT it FROM incident.of_mine() WHERE tenant_id = $1");
const ONE: Read = Read::new("SELECT it FROM incident.of_mine($2) WHERE tenant_id = $1");

pub(crate) async fn list(mut tx: TenantTx) -> Result<Answer<List<IncidentView>>, Fault> {
    let _granted = tx.grant_new::<actions::View, Incident>()?;
    let rows = tx.read(LIST, &[]).await?;
    let items = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Uuid> = items.iter().map(|incident| incident.id).collect();
    let entry = Entry::new("incident.view", "incident").ids(ids);
    Draft::ok(List::whole(items))?.finish(tx, entry).await
}

async fn show(mut tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer<IncidentView>, Fault> {
    expect_seen(&mut tx)?;
    let view = one(&mut tx, id).await?;
    let entry = Entry::new("incident.view", "incident").ids([id]);
    Draft::ok(view)?.finish(tx, entry).await
}

/// Whoever may see no incident of the studio is told of one as of none.
fn expect_seen(tx: &mut TenantTx) -> Result<(), Fault> {
    let granted = tx.grant_new::<actions::View, Incident>();
    granted.map(drop).map_err(|_| Fault::unseen())
}

/// One of the studio's incidents, as its owner sees it.
async fn one(tx: &mut TenantTx, id: Uuid) -> Result<IncidentView, Fault> {
    let rows = tx.read(ONE, &[&id]).await?;
    rows.first().map_or_else(|| Err(Fault::unseen()), view)
}

fn view(row: &Row) -> Result<IncidentView, Fault> {
    let incident: Value = row.field("it")?;
    serde_json::from_value(incident).map_err(|error| Fault::bug(format!("an incident: {error}")))
}
