//! What is given out of a tenant, or of what it has about one person: in a transaction of its service `custody`, best in one
//! that sees everything at one instant.

use uuid::Uuid;
use watertight_tenancy::{Tell, TenantTx};
use watertight_terms::Fault;

const TABLES: Tell = Tell::new("x1", "SELECT rel, opened, many FROM custody.export($1)");
const PAGE: Tell = Tell::new("x2", "SELECT line, place FROM custody.export_page($1)");

/// So many rows are read at once.
const PAGE_ROWS: usize = 1_000;

/// A table that is given out.
#[derive(Debug, Clone)]
pub struct Exported {
    /// `schema.table`.
    pub table: String,
    /// Its columns that hold what was sealed with the key of the person that the row is.
    pub sealed: Vec<String>,
    /// How many rows of it.
    pub rows: i64,
}

/// Some rows of a table.
#[derive(Debug)]
pub struct Page {
    /// Each a JSON object, as archives have it.
    pub lines: Vec<String>,
    /// After which row the next page begins; none: there is no other.
    pub next: Option<String>,
}

/// What is given out, in its order: of a person, or of everything.
///
/// # Errors
/// When the database refuses: another service.
pub async fn tables(tx: &mut TenantTx, person: Option<Uuid>) -> Result<Vec<Exported>, Fault> {
    let (tenant, person) = (tx.tenant().to_string(), named(person));
    let rows = tx.tell(TABLES, &[&tenant, &person]).await?;
    let tables = rows.iter().map(|row| {
        Ok(Exported {
            table: row.field("rel")?,
            sealed: row.field("opened")?,
            rows: row.field("many")?,
        })
    });
    tables.collect()
}

/// Some rows of a table, after that one.
///
/// # Errors
/// As [`tables`].
pub async fn page(
    tx: &mut TenantTx,
    table: &str,
    person: Option<Uuid>,
    after: Option<&str>,
) -> Result<Page, Fault> {
    let (tenant, person) = (tx.tenant().to_string(), named(person));
    let most = PAGE_ROWS.to_string();
    let fields = [&tenant, table, &person, after.unwrap_or_default(), &most];
    let rows = tx.tell(PAGE, &fields).await?;
    let next = match rows.last() {
        Some(last) if rows.len() == PAGE_ROWS => Some(last.field("place")?),
        _ => None,
    };
    let lines = rows.iter().map(|row| row.field("line"));
    Ok(Page {
        lines: lines.collect::<Result<_, _>>()?,
        next,
    })
}

fn named(person: Option<Uuid>) -> String {
    person.map_or_else(String::new, |id| id.to_string())
}
