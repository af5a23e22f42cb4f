//! Letting go of what is over. To be called in a transaction of the studio's service `custody`; the database
//! refuses anybody else's.

use jiff::Timestamp;
use uuid::Uuid;
use watertight_tenancy::{Tell, Tenancy, TenantTx};
use watertight_terms::{Fault, TenantId};

use crate::{Rule, Then};

const RETAIN: Tell = Tell::new("c1", "SELECT ids, along FROM custody.retain($1)");
const PLAN: Tell = Tell::new("c2", "SELECT rel, over, held FROM custody.plan($1)");
const LOG_UNTIL: Tell = Tell::new("c5", "SELECT until, over FROM custody.log_until($1)");
const STUDIOS: Tell = Tell::new("c3", "SELECT tenant FROM custody.studios($1)");
const AGAIN: Tell = Tell::new("c4", "SELECT custody.again($1)");

/// What one step let go.
#[derive(Debug, Clone)]
pub struct Gone {
    /// The rows.
    pub ids: Vec<Uuid>,
    /// How many others went with them: what belongs to them, and keys.
    pub along: i64,
}

/// What is over by a rule.
#[derive(Debug, Clone)]
pub struct Over {
    /// `schema.table`.
    pub table: String,
    /// How many rows.
    pub rows: i64,
    /// How many of them stay, because they or what belongs to them is under a legal hold.
    pub held: i64,
}

impl Rule {
    /// Until when a row must be over to go, where it is kept for so many days.
    ///
    /// # Errors
    /// When that lies beyond the calendar: a defect of ours.
    pub fn until(&self, now: Timestamp, days: u32) -> Result<Timestamp, Fault> {
        let kept = jiff::SignedDuration::from_hours(24 * i64::from(days));
        now.checked_sub(kept)
            .map_err(|error| Fault::bug(format!("how long `{}` are kept: {error}", self.name)))
    }

    /// The action of an entry about what went by this rule.
    pub fn action(&self) -> &'static str {
        match self.then {
            Then::Remove => "retention.remove",
            Then::Anonymise => "retention.anonymise",
        }
    }
}

/// Lets go of some rows that were over by `until`: at most `most`, the oldest first, none that is held.
///
/// # Errors
/// When the database refuses: another service, or days below what the rule allows.
pub async fn let_go(
    tx: &mut TenantTx,
    rule: &Rule,
    until: Timestamp,
    most: u32,
) -> Result<Gone, Fault> {
    let (tenant, until) = (tx.tenant().to_string(), until.as_microsecond().to_string());
    let fields = [&tenant, rule.name, &until, &most.to_string()];
    let rows = tx.tell(RETAIN, &fields).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a step of a retention without an answer"))?;
    Ok(Gone {
        ids: row.field("ids")?,
        along: row.field("along")?,
    })
}

/// How much is over by a rule. Nothing is changed.
///
/// # Errors
/// As [`let_go`].
pub async fn over(tx: &mut TenantTx, rule: &Rule, until: Timestamp) -> Result<Over, Fault> {
    let (tenant, until) = (tx.tenant().to_string(), until.as_microsecond().to_string());
    let rows = tx.tell(PLAN, &[&tenant, rule.name, &until]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a plan of a retention without an answer"))?;
    Ok(Over {
        table: row.field("rel")?,
        rows: row.field("over")?,
        held: row.field("held")?,
    })
}

/// Until when a log may go that is over by `until`, and how many of its entries are over, held ones too:
/// earlier where a legal hold is on a time before, and not at all where one is on the studio, on somebody
/// or on a project, of whom every entry may tell.
///
/// # Errors
/// As [`let_go`].
pub async fn log_until(
    tx: &mut TenantTx,
    rule: &Rule,
    until: Timestamp,
) -> Result<(Option<Timestamp>, i64), Fault> {
    let (tenant, until) = (tx.tenant().to_string(), until.as_microsecond().to_string());
    let rows = tx.tell(LOG_UNTIL, &[&tenant, rule.name, &until]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("nothing was said of a log"))?;
    Ok((row.field("until")?, row.field("over")?))
}

/// Every studio.
///
/// # Errors
/// When the database cannot be reached.
pub async fn studios(tenancy: &Tenancy) -> Result<Vec<TenantId>, Fault> {
    let rows = tenancy.tell(STUDIOS, &[]).await?;
    rows.iter()
        .map(|row| row.field("tenant").map(TenantId))
        .collect()
}

/// Notes that a studio is done with for a day.
///
/// # Errors
/// When the database cannot be reached.
pub async fn again(tenancy: &Tenancy, studio: TenantId) -> Result<(), Fault> {
    let rows = tenancy.tell(AGAIN, &[&studio.to_string()]).await;
    rows.map(drop)
}
