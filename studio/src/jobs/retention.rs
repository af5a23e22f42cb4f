//! Retention: what is over goes, in each studio as that studio's service, a hundred rows a transaction.
//!
//! What is left to do stands in the rows themselves: whoever is killed has done some steps whole and the
//! others not at all, and the next run goes on from there.

use serde_json::{Map, Value};
use watertight_custody::{Over, Retention, Rule, keeper};
use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::{Read, Tenancy, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, TenantId};

use super::{begin, request};
use crate::{app::App, resources};

/// The service as which it acts.
const CUSTODY: ServiceName = ServiceName::new("custody");

/// The kind of work that every studio has once a day.
pub(crate) const KIND: &str = "retention";

/// The table of the ledger, which is let go of in another way.
const LEDGER: &str = "ledger.entries";

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
            _ => None,
        })
        .collect();
    rules.sort_by_key(|rule| rule.step);
    rules
}

/// The rules about whose days a studio decides: those, and that of its ledger.
pub fn decidable() -> Vec<Rule> {
    resources::tables()
        .filter_map(|table| table.retention.rule())
        .collect()
}

/// The rule of the ledger.
fn of_ledger() -> Result<Rule, Fault> {
    let mut logs = resources::tables().filter_map(|table| match table.retention {
        Retention::Log(rule) => Some(rule),
        _ => None,
    });
    logs.next()
        .ok_or_else(|| Fault::bug("the ledger has no retention"))
}

/// What would go from a studio now.
///
/// # Errors
/// When the database cannot be reached; unavailable where the studio is frozen or suspended.
pub async fn plan(app: &App, studio: TenantId) -> Result<Vec<Planned>, Fault> {
    let mut tx = begin(&app.tenancy, &app.desk, CUSTODY, studio, KIND).await?;
    let now = app.desk.clock.now();
    let decided = decided(&mut tx).await?;
    let mut planned = Vec::new();
    for rule in rules() {
        let days = days(&decided, &rule);
        let over = keeper::over(&mut tx, &rule, rule.until(now, days)?).await?;
        planned.push(Planned { rule, days, over });
    }
    let rule = of_ledger()?;
    let days = days(&decided, &rule);
    let until = rule.until(now, days)?;
    let (free_until, rows) = keeper::log_until(&mut tx, &rule, until).await?;
    let entry = Entry::new("retention.plan", "retention");
    tx.finish(entry).await.map(drop)?;
    let goes = match free_until {
        Some(until) => app.checkpointer.removable(studio, until).await?,
        None => 0,
    };
    planned.push(Planned {
        rule,
        days,
        over: Over {
            table: LEDGER.to_owned(),
            rows,
            held: rows - i64::try_from(goes).unwrap_or(rows).min(rows),
        },
    });
    Ok(planned)
}

/// Lets go of what is over in a studio. `tell` hears of each step. Gives how many rows it was.
///
/// # Errors
/// As [`plan`]; what went stays gone.
pub async fn run(
    app: &App,
    studio: TenantId,
    mut tell: impl FnMut(Progress),
) -> Result<u64, Fault> {
    let mut gone = 0;
    for planned in plan(app, studio).await? {
        let mut left = planned.over.rows > planned.over.held;
        let mut tries = 0;
        while left {
            let step = match planned.over.table.as_str() {
                LEDGER => cut(app, studio, &planned).await,
                _ => step(app, studio, &planned).await,
            };
            match step {
                Ok(progress) => {
                    tries = 0;
                    gone += progress.rows as u64;
                    left = planned.over.table != LEDGER && progress.rows == BATCH as usize;
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

/// Takes what is over of the ledger away, from its beginning. Its entry is the ledger's own.
async fn cut(app: &App, studio: TenantId, planned: &Planned) -> Result<Progress, Fault> {
    let rule = planned.rule;
    let mut tx = begin(&app.tenancy, &app.desk, CUSTODY, studio, KIND).await?;
    let until = rule.until(app.desk.clock.now(), planned.days)?;
    // Once more: a legal hold may have been placed since it was planned.
    let (until, _) = keeper::log_until(&mut tx, &rule, until).await?;
    let entry = Entry::new("retention.plan", "retention").rule(rule.name);
    tx.finish(entry).await.map(drop)?;
    let mut rows = 0;
    if let Some(until) = until {
        rows = app.checkpointer.removable(studio, until).await?;
        app.checkpointer.remove_before(studio, until).await?;
    }
    Ok(Progress {
        studio,
        rule: rule.name,
        rows: usize::try_from(rows).unwrap_or(usize::MAX),
        along: 0,
    })
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

/// A transaction of the studio's service that keeps and lets go.
///
/// # Errors
/// When the database cannot be reached; unavailable where the studio is frozen or suspended.
pub async fn begin_as_custody(app: &App, studio: TenantId) -> Result<TenantTx, Fault> {
    begin(&app.tenancy, &app.desk, CUSTODY, studio, "custody").await
}

/// One of the same service that sees everything as it is at this instant, and may take so long for each statement.
///
/// # Errors
/// As [`begin_as_custody`].
pub(crate) async fn snapshot_as_custody(
    app: &App,
    studio: TenantId,
    from: &str,
    statement_s: u32,
) -> Result<TenantTx, Fault> {
    let caller = Caller::service(CUSTODY, studio);
    let begun = app
        .tenancy
        .begin_snapshot(&caller, request(&app.desk, from));
    let mut tx = begun.await.map_err(|refused| refused.fault)?;
    tx.take_longer(statement_s).await?;
    Ok(tx)
}

/// Whether a studio cannot be worked in now: it is frozen or suspended.
pub fn is_kept_out(fault: &Fault) -> bool {
    fault.kind() == Kind::Unavailable
}

async fn step(app: &App, studio: TenantId, planned: &Planned) -> Result<Progress, Fault> {
    let rule = planned.rule;
    let mut tx = begin(&app.tenancy, &app.desk, CUSTODY, studio, KIND).await?;
    let until = rule.until(app.desk.clock.now(), planned.days)?;
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
async fn decided(tx: &mut TenantTx) -> Result<Map<String, Value>, Fault> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = tx.read(DECIDED, &none).await?;
    let decided = rows.first().map(|row| row.field("retention")).transpose()?;
    match decided.flatten() {
        Some(Value::Object(decided)) => Ok(decided),
        _ => Ok(Map::new()),
    }
}

/// For how many days a studio keeps what is over by a rule: within the bounds, whatever its row says.
pub(crate) fn days(decided: &Map<String, Value>, rule: &Rule) -> u32 {
    let days = decided.get(rule.name).and_then(Value::as_u64);
    let days = days.and_then(|days| u32::try_from(days).ok());
    days.map_or(rule.days.usual, |days| {
        days.clamp(rule.days.least, rule.days.most)
    })
}
