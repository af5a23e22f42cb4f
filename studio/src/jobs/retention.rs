//! Retention: what is over goes, in each studio as that studio's service, a hundred rows a transaction.
//!
//! What is left to do stands in the rows themselves: whoever is killed has done some steps whole and the
//! others not at all, and the next run goes on from there.

use watertight_custody::{Over, Retention, Rule, keeper};
use watertight_identity::ServiceName;
use watertight_tenancy::{Read, Tenancy, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, TenantId};

use super::begin;
use crate::{app::Desk, resources};

/// The service as which it acts.
const CUSTODY: ServiceName = ServiceName::new("custody");

/// The kind of work that every studio has once a day.
pub(super) const KIND: &str = "retention";

/// So many rows go in one transaction.
const BATCH: u32 = 100;

/// A step that met others at the same rows is tried so often.
const TRIES: usize = 5;

const DECIDED: Read = Read::new("SELECT retention FROM studio.settings WHERE tenant_id = $1");

/// What is over in a studio by one rule.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The rule.
    pub rule: Rule,
    /// For how many days its rows are kept there.
    pub days: u32,
    /// How much it is.
    pub over: Over,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The studio.
    pub studio: TenantId,
    /// The rule.
    pub rule: &'static str,
    /// So many rows went or were anonymised in this step.
    pub rows: usize,
    /// And so many with them.
    pub along: i64,
}

/// The rules of the product's tables, in the order in which they are gone by: what refers to others goes
/// before them.
pub fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = resources::tables()
        .filter_map(|table| match table.retention {
            Retention::By(rule) => Some(rule),
            Retention::Studio | Retention::With { .. } => None,
        })
        .collect();
    rules.sort_by_key(|rule| rule.step);
    rules
}

/// What would go from a studio now.
///
/// # Errors
/// When the database cannot be reached; unavailable where the studio is frozen or suspended.
pub async fn plan(tenancy: &Tenancy, desk: &Desk, studio: TenantId) -> Result<Vec<Planned>, Fault> {
    let mut tx = begin(tenancy, desk, CUSTODY, studio, KIND).await?;
    let decided = decided(&mut tx).await?;
    let mut planned = Vec::new();
    for rule in rules() {
        let days = days(&decided, &rule);
        let until = rule.until(desk.clock.now(), days)?;
        let over = keeper::over(&mut tx, &rule, until).await?;
        planned.push(Planned { rule, days, over });
    }
    let entry = Entry::new("retention.plan", "retention");
    tx.finish(entry).await.map(drop)?;
    Ok(planned)
}

/// Lets go of what is over in a studio. `tell` hears of each step. Gives how many rows it was.
///
/// # Errors
/// As [`plan`]; what went stays gone.
pub async fn run(
    tenancy: &Tenancy,
    desk: &Desk,
    studio: TenantId,
    mut tell: impl FnMut(Progress),
) -> Result<u64, Fault> {
    let mut gone = 0;
    for planned in plan(tenancy, desk, studio).await? {
        let mut left = planned.over.rows > planned.over.held;
        let mut tries = 0;
        while left {
            match step(tenancy, desk, studio, &planned).await {
                Ok(progress) => {
                    tries = 0;
                    gone += progress.rows as u64;
                    left = progress.rows == BATCH as usize;
                    tell(progress);
                }
                // Somebody changed one of them at the same moment.
                Err(fault) if fault.slug() == "busy" && tries < TRIES => tries += 1,
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(gone)
}

/// The studios that are asked for: that one, or every one.
///
/// # Errors
/// When the database cannot be reached.
pub async fn studios(tenancy: &Tenancy, only: Option<TenantId>) -> Result<Vec<TenantId>, Fault> {
    match only {
        Some(studio) => Ok(vec![studio]),
        None => keeper::studios(tenancy).await,
    }
}

/// Whether a studio cannot be worked in now: it is frozen or suspended.
pub fn is_kept_out(fault: &Fault) -> bool {
    fault.kind() == Kind::Unavailable
}

async fn step(
    tenancy: &Tenancy,
    desk: &Desk,
    studio: TenantId,
    planned: &Planned,
) -> Result<Progress, Fault> {
    let rule = planned.rule;
    let mut tx = begin(tenancy, desk, CUSTODY, studio, KIND).await?;
    let until = rule.until(desk.clock.now(), planned.days)?;
    let gone = keeper::let_go(&mut tx, &rule, until, BATCH).await?;
    let rows = gone.ids.len();
    let entry = Entry::new(rule.action(), "retention").ids(gone.ids);
    tx.commit(entry.rule(rule.name)).await.map(drop)?;
    Ok(Progress {
        studio,
        rule: rule.name,
        rows,
        along: gone.along,
    })
}

/// What the studio decided, by the rules' names.
async fn decided(tx: &mut TenantTx) -> Result<serde_json::Value, Fault> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = tx.read(DECIDED, &none).await?;
    let decided = rows.first().map(|row| row.field("retention")).transpose()?;
    Ok(decided.flatten().unwrap_or_default())
}

/// For how many days a studio keeps what is over by a rule: within the bounds, whatever its row says.
fn days(decided: &serde_json::Value, rule: &Rule) -> u32 {
    let days = decided.get(rule.name).and_then(serde_json::Value::as_u64);
    let days = days.and_then(|days| u32::try_from(days).ok());
    days.map_or(rule.days.usual, |days| {
        days.clamp(rule.days.least, rule.days.most)
    })
}
