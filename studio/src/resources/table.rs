//! Rows as tables: what spreadsheets take from here and bring here.
//!
//! ```text
//! GET  /v1/artists/export          the rows that the caller may see, as RFC 4180
//! POST /v1/artists/import          text/csv; makes what is not there, changes what is, all or nothing
//! POST /v1/artists/import?plan=true  says what that would do, and does nothing
//! ```
//!
//! A line is found again by its first column, the key: so the same table, brought twice, changes nothing the second
//! time. It is read by the type that reads the body of a `POST`, and written by the statements of `POST` and `PATCH`. A
//! column that is not there stays as it is; a cell that is empty is emptied. While rows are written, whoever imports is told
//! on their event stream how many are.

use std::collections::{HashMap, HashSet};

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Csv, Draft},
    argument::{Column, Line, Lines, LinesFault, TableLine},
};
use watertight_authority::{Action, Granted, Principal, SpentNew};
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, problems};

use crate::app::Desk;

/// A table may have so many bytes.
pub(crate) const BODY_BYTES: usize = 10_000_000;
/// Each statement of an import may take so long, and its commit.
const STATEMENT_S: u32 = 60;
/// So many rows are exported at once.
const ROWS_MOST: i64 = 50_000;
/// So many faults are told.
const FAULTS_TOLD: usize = 100;
/// After so many lines others have their turn.
const LINES_A_TURN: usize = 500;

/// Rows that come and go as tables.
pub(crate) trait Table: Stored {
    /// What a line says: the body of a `POST`.
    type New: DeserializeOwned + Validate<Context = ()>;
    /// The columns, that of the key first.
    const COLUMNS: &'static [Column];
    /// The rows that have the keys `$2`.
    const BY_KEY: Read;
    /// The rows that the caller may see, by their keys: `$2` the artist whose rows alone those are, `$3` the first key,
    /// `$4` how many.
    const BY_ORDER: Read;

    /// What names the row.
    fn key(&self) -> &str;
    /// Since when it is archived.
    fn archived_at(&self) -> Option<Timestamp>;
}

/// Whether only to say what would be done.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default)]
    #[garde(skip)]
    pub(crate) plan: bool,
}

/// What is exported.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedRows {
    /// The first key.
    #[garde(dive)]
    from: Option<Line<32>>,
}

/// What an import did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Import")]
pub(crate) struct ImportView {
    /// Nothing was written.
    plan: bool,
    lines: usize,
    created: usize,
    changed: usize,
    unchanged: usize,
    /// How many faults there are; an import with any writes nothing.
    faults: usize,
    /// The first of them.
    errors: Vec<ErrorView>,
}

/// What is wrong with a line of a plan.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LineError")]
struct ErrorView {
    line: u64,
    column: Option<String>,
    code: &'static str,
    detail: String,
}

/// A line with what it says, and the row that it is about, if that is there already.
pub(crate) struct Item<'a, E, R: Table> {
    pub(crate) line: TableLine<'a>,
    pub(crate) new: R::New,
    pub(crate) row: Option<Granted<E, R>>,
}

/// What is to be done, `C` being what a row shall say.
pub(crate) struct Work<E, R, C> {
    pub(crate) made: Vec<(Uuid, C)>,
    pub(crate) changed: Vec<(Granted<E, R>, C)>,
    pub(crate) unchanged: usize,
    pub(crate) faults: Vec<LinesFault>,
}

impl<E, R, C> Default for Work<E, R, C> {
    fn default() -> Self {
        Self {
            made: Vec::new(),
            changed: Vec::new(),
            unchanged: 0,
            faults: Vec::new(),
        }
    }
}

/// A column whose cells name other rows, and which rows the names stand for.
pub(crate) struct Reference {
    pub(crate) column: &'static str,
    pub(crate) known: HashMap<String, Uuid>,
}

impl Reference {
    /// The rows that the cells of a column name: `read` gives `id` and `name` of those that have the names `$2`.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn of(
        tx: &mut TenantTx,
        lines: &Lines,
        column: &'static str,
        read: Read,
    ) -> Result<Self, Fault> {
        let named: HashSet<&str> = lines.each().filter_map(|line| line.cell(column)).collect();
        let named: Vec<&str> = named.into_iter().collect();
        let rows = tx.read(read, &[&named]).await?;
        let known = rows
            .iter()
            .map(|row| Ok((row.field("name")?, row.field("id")?)))
            .collect::<Result<_, Fault>>()?;
        Ok(Self { column, known })
    }

    /// What stands in place of a line's cell, if there is one.
    fn given(&self, line: &TableLine<'_>) -> Result<Option<(&'static str, String)>, LinesFault> {
        let Some(name) = line.cell(self.column) else {
            return Ok(None);
        };
        match self.known.get(name) {
            Some(id) => Ok(Some((self.column, id.to_string()))),
            None => {
                let detail = format!("names no {} that you may book", self.column);
                Err(fault(line, self.column, "unknown-reference", &detail))
            }
        }
    }
}

/// Reads the lines and finds their rows. What is wrong is put with `faults`, and its line is left out.
///
/// # Errors
/// Malformed, when the columns are not those of the table; what refuses a change of one of the rows.
pub(crate) async fn read<'a, E: Action<R>, R: Table>(
    tx: &mut TenantTx,
    lines: &'a Lines,
    references: &[Reference],
    faults: &mut Vec<LinesFault>,
) -> Result<Vec<Item<'a, E, R>>, Fault> {
    lines.expect(R::COLUMNS)?;
    tx.take_longer(STATEMENT_S).await?;
    let key = R::COLUMNS.first().map_or("", |column| column.name);
    let keys: Vec<&str> = lines.each().filter_map(|line| line.cell(key)).collect();
    let granted = tx.grants::<E, R>(R::BY_KEY, &[&keys]).await?;
    let mut rows: HashMap<String, Granted<E, R>> = granted
        .into_iter()
        .map(|granted| (granted.row().key().to_owned(), granted))
        .collect();
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(lines.len());
    for (place, line) in lines.each().enumerate() {
        if place % LINES_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
        let Some(name) = line.cell(key) else {
            faults.push(fault(
                &line,
                key,
                "missing-field",
                "it names the row, and is empty",
            ));
            continue;
        };
        if !seen.insert(name) {
            faults.push(fault(&line, key, "duplicate", "a line before has that key"));
            continue;
        }
        let row = rows.remove(name);
        if row
            .as_ref()
            .is_some_and(|row| row.row().archived_at().is_some())
        {
            faults.push(fault(
                &line,
                key,
                "conflict",
                "what has that key is archived",
            ));
            continue;
        }
        let given = references
            .iter()
            .filter_map(|one| one.given(&line).transpose());
        let given = given
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| vec![fault]);
        match given.and_then(|given| line.read(R::COLUMNS, &given)) {
            Ok(new) => items.push(Item { line, new, row }),
            Err(wrong) => faults.extend(wrong),
        }
    }
    Ok(items)
}

/// What is wrong with a cell.
pub(crate) fn fault(
    line: &TableLine<'_>,
    column: &str,
    code: &'static str,
    detail: &str,
) -> LinesFault {
    LinesFault {
        line: line.number(),
        column: Some(column.to_owned()),
        code,
        detail: detail.to_owned(),
    }
}

impl<E: Action<R>, R: Table, C: PartialEq> Work<E, R, C> {
    /// Takes what a line's row shall say: it is made, changed, or is so already.
    pub(crate) fn take(&mut self, row: Option<Granted<E, R>>, id: Uuid, now: Option<&C>, then: C) {
        match row {
            None => self.made.push((id, then)),
            Some(_) if now == Some(&then) => self.unchanged += 1,
            Some(granted) => self.changed.push((granted, then)),
        }
    }
}

impl<E: Action<R>, R: Table, C> Work<E, R, C> {
    /// What is to be done, in numbers.
    pub(crate) fn view(&mut self, plan: bool, lines: &Lines) -> ImportView {
        self.faults.sort_by_key(|fault| fault.line);
        let told = self.faults.iter().take(FAULTS_TOLD);
        ImportView {
            plan,
            lines: lines.len(),
            created: self.made.len(),
            changed: self.changed.len(),
            unchanged: self.unchanged,
            faults: self.faults.len(),
            errors: told
                .map(|fault| ErrorView {
                    line: fault.line,
                    column: fault.column.clone(),
                    code: fault.code,
                    detail: fault.detail.clone(),
                })
                .collect(),
        }
    }

    /// Refuses when anything is wrong with any line.
    ///
    /// # Errors
    /// Invalid: says which lines and columns, and why.
    pub(crate) fn expect_faultless(&self) -> Result<(), Fault> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let spoken = format!(
            "{} things are wrong with the lines, and nothing was written; see `errors`",
            self.faults.len()
        );
        let told = self.faults.iter().take(FAULTS_TOLD);
        let fields = told.map(LinesFault::field).collect();
        Err(Fault::new(problems::INVALID, spoken).fields(fields))
    }

    /// The rows that are to be made and changed. From now on whoever imports is told how many of them are
    /// written.
    pub(crate) fn begin(&self, tx: &mut TenantTx, desk: &Desk) -> Vec<Uuid> {
        let made = self.made.iter().map(|(id, _)| *id);
        let changed = self.changed.iter().map(|(granted, _)| granted.id());
        let ids: Vec<Uuid> = made.chain(changed).collect();
        if let Principal::Member { id: member, .. } = tx.standing().principal {
            let running = desk.imports.begin(tx.tenant(), member, R::NOUN, ids.len());
            tx.count_written(move |written| running.count(written));
        }
        ids
    }
}

/// Answers a plan.
///
/// # Errors
/// When its entry cannot be written.
pub(crate) async fn planned(
    tx: TenantTx,
    view: ImportView,
    entry: Entry,
) -> Result<Answer<ImportView>, Fault> {
    Draft::ok(view)?.finish(tx, entry).await
}

/// Answers what was done.
///
/// # Errors
/// When it cannot be kept.
pub(crate) async fn done<A: Action<R>, R: Table>(
    tx: TenantTx,
    view: ImportView,
    spent: &SpentNew<A, R>,
    ids: Vec<Uuid>,
) -> Result<Answer<ImportView>, Fault> {
    let entry = Entry::new(spent.action(), spent.noun()).ids(ids);
    Draft::ok(view)?.commit(tx, entry).await
}

/// Reads the rows that the caller may `A`, by their keys.
///
/// # Errors
/// When the caller may see none.
pub(crate) async fn rows<A: Action<R>, R: Table>(
    tx: &mut TenantTx,
    asked: &AskedRows,
) -> Result<Vec<R>, Fault> {
    tx.take_longer(STATEMENT_S).await?;
    let from = asked.from.as_deref();
    let parameters: [&(dyn ToSql + Sync); 2] = [&from, &ROWS_MOST];
    tx.page::<A, R>(R::BY_ORDER, &parameters).await
}

/// Answers rows as a table: `cells` has a row's cells by the order of its columns.
///
/// # Errors
/// When its entry cannot be written.
pub(crate) async fn answer<A: Action<R>, R: Table>(
    tx: TenantTx,
    rows: &[R],
    cells: impl Fn(&R, &TenantTx) -> Vec<String>,
) -> Result<Answer<Csv>, Fault> {
    let names: Vec<&str> = R::COLUMNS.iter().map(|column| column.name).collect();
    let mut text = names.join(",");
    text.push('\n');
    for row in rows {
        text.push_str(&line(&cells(row, &tx)));
        text.push('\n');
    }
    let entry = Entry::new(A::NAME, R::NOUN).ids(rows.iter().map(R::id));
    Draft::csv(text).finish(tx, entry).await
}

/// A line as RFC 4180 has it. What a spreadsheet would take for a formula begins with an apostrophe (CWE-1236).
pub(crate) fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    cells.join(",")
}

fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// The names of rows: `read` gives `id` and `name` of those with the ids `$2`.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn names(
    tx: &mut TenantTx,
    read: Read,
    ids: &HashSet<Uuid>,
) -> Result<HashMap<Uuid, String>, Fault> {
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let rows = tx.read(read, &[&ids]).await?;
    rows.iter()
        .map(|row| Ok((row.field("id")?, row.field("name")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("curl/8", "\"curl/8\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a\"b,c", "\"a\"\"b,c\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
