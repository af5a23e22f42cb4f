//! Rows out of the database and back into it, in transactions of the studio's service `custody`.

use std::io::Write;

use watertight_tenancy::{Tell, TenantTx};
use watertight_terms::{Fault, TenantId};

use super::{ArchiveFault, Kind, TableHead, Writer};

const ARCHIVE: Tell = Tell::new(
    "a1",
    "SELECT rel, columns, is_restored, is_key, checkpoint FROM custody.archive($1)",
);
const PAGE: Tell = Tell::new("a2", "SELECT line, place FROM custody.archive_page($1)");
const BEGIN: Tell = Tell::new("a3", "SELECT custody.restore_begin($1)");
const ALONE: Tell = Tell::new("a7", "SELECT custody.restore_alone($1) AS ended");
const ROWS: Tell = Tell::new("a4", "SELECT custody.restore_rows($1) AS taken");
const SETTLE: Tell = Tell::new(
    "a5",
    "SELECT rel, came, forgotten, removed, changed, added, unreadable FROM custody.restore_settle($1)",
);
const KEYS: Tell = Tell::new(
    "b1",
    "SELECT forgotten, added, others FROM custody.restore_keys($1)",
);
const MISSING: Tell = Tell::new("b2", "SELECT custody.keys_missing($1) AS missing");
const END: Tell = Tell::new("a6", "SELECT rel, present FROM custody.restore_end($1)");

/// So many rows are read at once.
const PAGE_ROWS: usize = 1_000;

/// What goes into an archive of a studio, at one instant.
#[derive(Debug)]
pub struct Snapshot {
    tables: Vec<(Kind, TableHead)>,
    /// The newest checkpoint of its ledger.
    pub checkpoint: Option<String>,
}

impl Snapshot {
    /// Asks in a transaction that was begun with `begin_snapshot`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn of(tx: &mut TenantTx) -> Result<Self, Fault> {
        let tenant = tx.tenant().to_string();
        let mut tables = Vec::new();
        let mut checkpoint = None;
        for row in tx.tell(ARCHIVE, &[&tenant]).await? {
            let kind = if row.field("is_key")? {
                Kind::Keys
            } else {
                Kind::Data
            };
            let head = TableHead {
                table: row.field("rel")?,
                columns: row.field("columns")?,
                is_restored: row.field("is_restored")?,
            };
            checkpoint = row.field("checkpoint")?;
            tables.push((kind, head));
        }
        Ok(Self { tables, checkpoint })
    }

    /// The tables of an archive of that kind, in their order.
    pub fn tables(&self, kind: Kind) -> Vec<TableHead> {
        let all = self.tables.iter().filter(|(of, _)| *of == kind);
        all.map(|(_, head)| head.clone()).collect()
    }

    /// Writes all their rows. `each` hears after every page of which table it was and how many rows it has so far.
    ///
    /// # Errors
    /// When the database refuses or the archive cannot be written.
    pub async fn write<W: Write>(
        &self,
        tx: &mut TenantTx,
        kind: Kind,
        writer: &mut Writer<W>,
        mut each: impl FnMut(&str, u64),
    ) -> Result<(), ArchiveFault> {
        let (tenant, most) = (tx.tenant().to_string(), PAGE_ROWS.to_string());
        for TableHead { table, .. } in self.tables(kind) {
            writer.table(&table)?;
            let (mut place, mut rows) = (String::new(), 0);
            loop {
                let page = tx.tell(PAGE, &[&tenant, &table, &place, &most]).await?;
                for row in &page {
                    writer.row(&row.field::<String>("line")?)?;
                }
                rows += page.len() as u64;
                each(&table, rows);
                match page.last() {
                    Some(last) if page.len() == PAGE_ROWS => place = last.field("place")?,
                    _ => break,
                }
            }
        }
        Ok(())
    }
}

/// What becomes of a table by a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Became {
    /// `schema.table`.
    pub table: String,
    /// Rows of the archive.
    pub came: i64,
    /// Of those, what is about somebody who was forgotten since: it does not come back.
    pub forgotten: i64,
    /// Rows that go, because the archive does not have them.
    pub removed: i64,
    /// Rows that become what they were.
    pub changed: i64,
    /// Rows that come back.
    pub added: i64,
    /// Sealed values that came and whose key is no more: what is there now stays in their place.
    pub unreadable: i64,
}

/// A restore that is under way, in one transaction: dropped, it leaves nothing.
#[derive(Debug)]
pub struct Restoring {
    tenant: String,
    /// The studio of the archive.
    source: String,
    is_run: bool,
}

impl Restoring {
    /// Makes room for an archive's rows. Of another studio's archive sealed values are left out, they open nowhere
    /// else, and who was forgotten there stays away here, too.
    ///
    /// # Errors
    /// When the archive is of another schema, or of a studio that was closed.
    pub async fn begin(
        tx: &mut TenantTx,
        tables: &[TableHead],
        source: TenantId,
    ) -> Result<Self, Fault> {
        let (tenant, source) = (tx.tenant().to_string(), source.to_string());
        let named = tables.iter().filter(|table| table.is_restored);
        let named = named.map(|table| (table.table.clone(), serde_json::json!(table.columns)));
        let named = serde_json::Value::Object(named.collect());
        let named = hex::encode(named.to_string());
        tx.tell(BEGIN, &[&tenant, &source, &named]).await?;
        Ok(Self {
            tenant,
            source,
            is_run: false,
        })
    }

    /// From here on the studio is this transaction's alone, and what is settled is done. Gives how many others were
    /// ended because they held on to it.
    ///
    /// # Errors
    /// When the studio cannot be had.
    pub async fn alone(&mut self, tx: &mut TenantTx) -> Result<i32, Fault> {
        let rows = tx.tell(ALONE, &[&self.tenant]).await?;
        self.is_run = true;
        one(&rows)?.field("ended")
    }

    /// Takes rows of a table that is restored.
    ///
    /// # Errors
    /// When one is no row of it.
    pub async fn rows(&self, tx: &mut TenantTx, table: &str, rows: &[String]) -> Result<(), Fault> {
        let lines = hex::encode(rows.join("\n"));
        let is_own = self.source == self.tenant;
        let whose = if is_own { "own" } else { "foreign" };
        let answer = tx.tell(ROWS, &[&self.tenant, table, &lines, whose]).await?;
        let taken: i64 = one(&answer)?.field("taken")?;
        if taken == rows.len() as i64 {
            Ok(())
        } else {
            Err(Fault::bug(format!(
                "{taken} of {} rows were taken",
                rows.len()
            )))
        }
    }

    /// What becomes of each table. After [`Restoring::alone`] what is to go is removed here.
    ///
    /// # Errors
    /// Under a legal hold, when something that is held would go or change.
    pub async fn settle(&self, tx: &mut TenantTx) -> Result<Vec<Became>, Fault> {
        let word = if self.is_run { "run" } else { "plan" };
        let rows = tx.tell(SETTLE, &[&self.tenant, &self.source, word]).await?;
        let became = rows.iter().map(|row| {
            Ok(Became {
                table: row.field("rel")?,
                came: row.field("came")?,
                forgotten: row.field("forgotten")?,
                removed: row.field("removed")?,
                changed: row.field("changed")?,
                added: row.field("added")?,
                unreadable: row.field("unreadable")?,
            })
        });
        became.collect()
    }

    /// Brings back what came, and gives how many rows each table has then.
    ///
    /// # Errors
    /// When what is brought back refers to what is not there.
    pub async fn end(self, tx: &mut TenantTx) -> Result<Vec<(String, i64)>, Fault> {
        let rows = tx.tell(END, &[&self.tenant, &self.source]).await?;
        let present = rows.iter();
        present
            .map(|row| Ok((row.field("rel")?, row.field("present")?)))
            .collect()
    }
}

/// What became of some wrapped keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysBecame {
    /// Somebody's who was forgotten: they do not come back.
    pub forgotten: i64,
    /// Put back.
    pub added: i64,
    /// The studio has others under their numbers now, or nothing unwraps them: then nothing may be kept of it.
    pub others: i64,
}

/// Puts wrapped keys back where there are none: those of a studio first, then those of people, as their archive has them.
///
/// # Errors
/// When the database refuses: another service, or no table of keys.
pub async fn put_keys(
    tx: &mut TenantTx,
    table: &str,
    rows: &[String],
) -> Result<KeysBecame, Fault> {
    let (tenant, lines) = (tx.tenant().to_string(), hex::encode(rows.join("\n")));
    let answer = tx.tell(KEYS, &[&tenant, table, &lines]).await?;
    let row = one(&answer)?;
    Ok(KeysBecame {
        forgotten: row.field("forgotten")?,
        added: row.field("added")?,
        others: row.field("others")?,
    })
}

/// How many keys the sealed values of a studio need that are not there, but for those of people who were forgotten.
///
/// # Errors
/// When the database refuses: another service.
pub async fn keys_missing(tx: &mut TenantTx) -> Result<i64, Fault> {
    let tenant = tx.tenant().to_string();
    one(&tx.tell(MISSING, &[&tenant]).await?)?.field("missing")
}

fn one(rows: &[watertight_tenancy::Row]) -> Result<&watertight_tenancy::Row, Fault> {
    rows.first()
        .ok_or_else(|| Fault::bug("a function of the database without an answer"))
}
