//! Closing a tenant: asked for by an owner, done when its time has come, its receipt kept for operators.
//!
//! ```text
//! ask, take_back, asked    in a transaction of an owner, or of the service `custody`
//! begin                    when the time has come, of nobody: closed for good, and nobody is left in it
//! shred, shred, …          in transactions of the service `custody`: the keys first, then row by row
//! keep_receipt             in the last of them
//! ```
//!
//! Killed at whatever instant, it is asked for or not, closed or not; what is left to remove stands in the rows.

use jiff::Timestamp;
use watertight_tenancy::{Tell, Tenancy, TenantTx};
use watertight_terms::{Fault, TenantId};

const CLOSE: Tell = Tell::new("g1", "SELECT custody.close($1) AS closes_at");
const ROWS: Tell = Tell::new("g2", "SELECT place, many, is_held FROM custody.rows_of($1)");
const BEGIN: Tell = Tell::new("g3", "SELECT custody.begin_shred($1) AS stands");
const DRAIN: Tell = Tell::new("g4", "SELECT custody.drain($1)");
const SHRED: Tell = Tell::new("g5", "SELECT place, many FROM custody.shred($1)");
const RECEIPT: Tell = Tell::new("g6", "SELECT custody.keep_receipt($1)");

/// So many rows go in one transaction.
const BATCH: &str = "500";

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Rows {
    /// `schema.table`.
    pub table: String,
    /// How many.
    pub rows: i64,
}

/// Asks that the tenant be closed. Gives when: once asked, asking again changes nothing.
///
/// # Errors
/// When a legal hold stands, or the database refuses: neither an owner nor the service.
pub async fn ask(tx: &mut TenantTx) -> Result<Option<Timestamp>, Fault> {
    close(tx, "close").await
}

/// Takes it back.
///
/// # Errors
/// When the database refuses.
pub async fn take_back(tx: &mut TenantTx) -> Result<(), Fault> {
    close(tx, "stay").await.map(drop)
}

/// When it closes, if it does.
///
/// # Errors
/// When the database refuses.
pub async fn asked(tx: &mut TenantTx) -> Result<Option<Timestamp>, Fault> {
    close(tx, "plan").await
}

async fn close(tx: &mut TenantTx, what: &str) -> Result<Option<Timestamp>, Fault> {
    let tenant = tx.tenant().to_string();
    let rows = tx.tell(CLOSE, &[&tenant, what]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("nothing was said of a closing"))?;
    row.field("closes_at")
}

/// What there is to go, by table, and whether a legal hold stands in the way.
///
/// # Errors
/// When the database refuses.
pub async fn rows_of(tx: &mut TenantTx) -> Result<(Vec<Rows>, bool), Fault> {
    let tenant = tx.tenant().to_string();
    let rows = tx.tell(ROWS, &[&tenant]).await?;
    let (mut tables, mut is_held) = (Vec::new(), false);
    for row in &rows {
        is_held |= row.field::<bool>("is_held")?;
        tables.push(Rows {
            table: row.field("place")?,
            rows: row.field("many")?,
        });
    }
    Ok((tables, is_held))
}

/// Closes a tenant whose time has come, and waits until nobody is in it any more. Gives whether it is closed:
/// not before its time, and not while it is frozen or under a legal hold.
///
/// # Errors
/// When the database cannot be reached, or somebody holds on.
pub async fn begin(tenancy: &Tenancy, tenant: TenantId) -> Result<bool, Fault> {
    let tenant = tenant.to_string();
    let rows = tenancy.tell(BEGIN, &[&tenant]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("nothing was said of a closing"))?;
    if row.field::<String>("stands")? != "closed" {
        return Ok(false);
    }
    tenancy.tell(DRAIN, &[&tenant]).await?;
    Ok(true)
}

/// Removes some rows of a closed tenant, of one table. None when none is left.
///
/// # Errors
/// When the database refuses: it is not closed, or another service.
pub async fn shred(tx: &mut TenantTx) -> Result<Option<Rows>, Fault> {
    let tenant = tx.tenant().to_string();
    let rows = tx.tell(SHRED, &[&tenant, BATCH]).await?;
    let some = rows.first().map(|row| {
        Ok(Rows {
            table: row.field("place")?,
            rows: row.field("many")?,
        })
    });
    some.transpose()
}

/// Keeps the receipt of a closed tenant.
///
/// # Errors
/// When the database refuses.
pub async fn keep_receipt(tx: &mut TenantTx, note: &str) -> Result<(), Fault> {
    let tenant = tx.tenant().to_string();
    tx.tell(RECEIPT, &[&tenant, note]).await.map(drop)
}
