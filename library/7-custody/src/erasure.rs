//! Erasing a person: to be called in a transaction of an owner, or of the studio's service `custody`; the
//! database refuses anybody else's.
//!
//! A person is the ids of all the rows that are them: whoever is an artist and a member is erased as both.

use uuid::Uuid;
use watertight_tenancy::{Row, Tell, TenantTx};
use watertight_terms::Fault;

use crate::LEGAL_HOLD;

const ERASE: Tell = Tell::new(
    "e1",
    "SELECT place, becomes, is_person, many, kept_by FROM custody.erase($1)",
);

/// What an erasure does, or would do.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// By table, in the order in which it goes; the keys last.
    pub touched: Vec<Touched>,
    /// Whether a legal hold is on the person, or on something that is about them.
    pub is_held: bool,
    /// Whether the person is archived and removed, with the identity provider, too, which must be first.
    pub is_ready: bool,
}

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Touched {
    /// `schema.table`.
    pub table: String,
    /// `removed`, `anonymised` or `destroyed`.
    pub becomes: String,
    /// Whether they are the person, and not only about them.
    pub is_person: bool,
    /// How many.
    pub rows: i64,
}

/// Says what the erasure of a person would do. Nothing is changed.
///
/// # Errors
/// When the database refuses: neither an owner nor the service.
pub async fn plan(tx: &mut TenantTx, person: Uuid) -> Result<Erasure, Fault> {
    ask(tx, person, "plan").await
}

/// Erases a person, in this transaction: all of it or nothing. Erased once more, there is nothing left
/// to do.
///
/// # Errors
/// As [`plan`]; and what is told for the constraints [`LEGAL_HOLD`] and [`crate::ERASURE_READY`].
pub async fn erase(tx: &mut TenantTx, person: Uuid) -> Result<Erasure, Fault> {
    ask(tx, person, "erase").await
}

async fn ask(tx: &mut TenantTx, person: Uuid, what: &str) -> Result<Erasure, Fault> {
    let (tenant, person) = (tx.tenant().to_string(), person.to_string());
    let rows = tx.tell(ERASE, &[&tenant, &person, what]).await?;
    let mut kept_by = None;
    for row in &rows {
        kept_by = kept_by.or(row.field::<Option<String>>("kept_by")?);
    }
    Ok(Erasure {
        touched: rows.iter().map(touched).collect::<Result<_, _>>()?,
        is_held: kept_by.as_deref() == Some(LEGAL_HOLD),
        is_ready: kept_by.is_none_or(|why| why == LEGAL_HOLD),
    })
}

fn touched(row: &Row) -> Result<Touched, Fault> {
    Ok(Touched {
        table: row.field("place")?,
        becomes: row.field("becomes")?,
        is_person: row.field("is_person")?,
        rows: row.field("many")?,
    })
}
