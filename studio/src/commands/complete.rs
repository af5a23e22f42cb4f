use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use watertight_tenancy::{Call, Operator};
use watertight_terms::Fault;

use super::{
    Failure, Output,
    install::{installation, owner_url},
};
use crate::config::Config;

/// Compare the tickets that were drawn with those that stand in entries: a missing number is an access
/// that was never written.
#[derive(Debug, Args)]
pub(super) struct Complete {
    /// Let what is under way come to its end for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    grace_s: u64,
}

/// A ticket is an epoch and a number in it: a crash of the database begins a new epoch.
const EPOCH_BITS: u32 = 40;

const LAST: Call =
    Call::new("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM tenancy.ticket");
/// Ranges without an entry, up to `$1`, and when the access before each was.
const MISSING: Call = Call::new(
    "WITH entered AS (
       SELECT DISTINCT ON (t) t, at FROM (
         SELECT t, e.at FROM ledger.entries e, unnest(e.tickets) t
         -- Of entries that retention has removed.
         UNION ALL SELECT t, NULL FROM ledger.removals r, unnest(r.tickets) drawn, generate_series(lower(drawn), upper(drawn) - 1) t
       ) drawn WHERE t <= $1 ORDER BY t, at
     ), marks AS (
       SELECT t, at FROM entered
       UNION ALL SELECT DISTINCT t >> 40 << 40, NULL::timestamptz FROM entered
       UNION SELECT $1::bigint >> 40 << 40, NULL
       UNION ALL SELECT $1::bigint + 1, NULL
     ), gaps AS (SELECT lag(t) OVER w AS before, lag(at) OVER w AS at, t FROM marks WINDOW w AS (ORDER BY t))
     SELECT before + 1 AS first, t - 1 AS last, at::text AS after FROM gaps
     WHERE t > before + 1 AND (t >> 40 = before >> 40) AND $1 > 0 ORDER BY t LIMIT 1000",
);
/// Numbers that two entries say are theirs.
const TWICE: Call = Call::new(
    "SELECT t AS first, t AS last, min(e.at)::text AS after FROM ledger.entries e, unnest(e.tickets) t
     GROUP BY t HAVING count(*) > 1 ORDER BY t LIMIT 1000",
);
const ENTRIES: Call =
    Call::new("SELECT count(*) AS entries FROM ledger.entries WHERE tickets <> '{}'");

/// Numbers that have not exactly one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What is wrong with them: `missing` or `twice`.
    pub what: &'static str,
    /// The first, as epoch and number.
    pub first: (i64, i64),
    /// How many.
    pub count: i64,
    /// When the access before them was.
    pub after: Option<String>,
}

impl Complete {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<u8, Failure> {
        let setup = |fault: Fault| Failure::setup(fault.to_string());
        let database = reader(config).await?;
        let last = last_ticket(&database).await.map_err(setup)?;
        output.progress(&format!("waiting {} s for what is under way", self.grace_s));
        tokio::time::sleep(Duration::from_secs(self.grace_s)).await;
        let gaps = gaps(&database, last).await.map_err(setup)?;
        let entries = database.rows(ENTRIES, &[]).await.map_err(setup)?;
        let entries = entries.first().map(|row| row.field::<i64>("entries"));
        let entries = entries.transpose().map_err(setup)?.unwrap_or_default();
        output.result(&text(entries, &gaps), &value(entries, &gaps));
        Ok(u8::from(!gaps.is_empty()))
    }
}

/// A connection that reads the ledger.
///
/// # Errors
/// When the configuration lacks something or the database cannot be reached.
pub async fn reader(config: &Config) -> Result<Operator, Failure> {
    installation(&config.database.prefix)?
        .ledger_reader(owner_url(config)?)
        .await
        .map_err(|error| Failure::setup(error.to_string()))
}

/// The newest ticket that was drawn.
///
/// # Errors
/// When the database refuses.
pub async fn last_ticket(database: &Operator) -> Result<i64, Fault> {
    let rows = database.rows(LAST, &[]).await?;
    let row = rows.first().ok_or_else(|| Fault::bug("no tickets"))?;
    row.field("last")
}

/// What is wrong with the tickets up to `last`.
///
/// # Errors
/// When the database refuses.
pub async fn gaps(database: &Operator, last: i64) -> Result<Vec<Gap>, Fault> {
    let mut gaps = Vec::new();
    let missing = database.rows(MISSING, &[&last]).await?;
    let twice = database.rows(TWICE, &[]).await?;
    for (what, rows) in [("missing", missing), ("twice", twice)] {
        for row in rows {
            let (first, last): (i64, i64) = (row.field("first")?, row.field("last")?);
            gaps.push(Gap {
                what,
                first: (first >> EPOCH_BITS, first & ((1 << EPOCH_BITS) - 1)),
                count: last - first + 1,
                after: row.field("after")?,
            });
        }
    }
    Ok(gaps)
}

fn text(entries: i64, gaps: &[Gap]) -> String {
    if gaps.is_empty() {
        return format!("complete: {entries} entries, none missing");
    }
    let line = |gap: &Gap| {
        let (epoch, number) = gap.first;
        let after = gap.after.as_deref().unwrap_or("the start");
        let Gap { what, count, .. } = gap;
        format!("{what}: {count} from ticket {epoch}.{number} on, after {after}")
    };
    gaps.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn value(entries: i64, gaps: &[Gap]) -> Value {
    let listed = gaps.iter().map(|gap| {
        json!({
            "what": gap.what, "epoch": gap.first.0, "number": gap.first.1, "count": gap.count, "after": gap.after,
        })
    });
    json!({
        "verdict": if gaps.is_empty() { "complete" } else { "found" },
        "entries": entries,
        "gaps": listed.collect::<Vec<_>>(),
    })
}
