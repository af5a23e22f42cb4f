//! A stretch of a studio's log that can be verified on its own: from a whole tile on to the newest checkpoint, with the
//! edge of what was before it. `docs/formats/evidence.md` says how.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::Fault;

use crate::tree::{Edge, Hash};

/// Entries that no checkpoint covers are in none: `size` ends what there is. Those of the window that are still without one are
/// `waiting`.
const BOUNDS: Read = Read::new(
    "SELECT n.size, (SELECT note FROM ledger.removals WHERE tenant_id = $1) AS removed,
       (SELECT size FROM ledger.removals WHERE tenant_id = $1) AS gone,
       (SELECT min(l.seq) FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
          WHERE l.tenant_id = $1 AND l.seq < n.size AND e.at >= $2) AS first,
       (SELECT max(l.seq) + 1 FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
          WHERE l.tenant_id = $1 AND l.seq < n.size AND e.at <= $3) AS until,
       (SELECT count(*) FROM ledger.entries e WHERE e.tenant_id = $1 AND e.at BETWEEN $2 AND $3
          AND NOT EXISTS (SELECT FROM ledger.leaves l WHERE l.tenant_id = $1 AND l.entry_id = e.entry_id AND l.seq < n.size)) AS waiting
     FROM (SELECT coalesce(max(size), 0) AS size FROM ledger.checkpoints WHERE tenant_id = $1) n",
);
const TILES: Read = Read::new(
    "SELECT hash FROM ledger.nodes WHERE tenant_id = $1 AND level = 1 AND position < $2 ORDER BY position",
);
const CHECKPOINTS: Read = Read::new(
    "SELECT day::text AS day, note FROM ledger.checkpoints WHERE tenant_id = $1 AND size >= $2 ORDER BY size",
);
const LEAVES: Read = Read::new(
    "SELECT l.seq, l.hash, CASE WHEN l.seq BETWEEN $3 AND $4 THEN e.leaf END AS leaf
     FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id) WHERE l.tenant_id = $1 AND l.seq >= $2 AND l.seq < $5 ORDER BY l.seq LIMIT $6",
);

/// So many leaves are read at once.
const PAGE: i64 = 1_000;

/// Which entries are in it, by their numbers, in one snapshot.
#[derive(Debug)]
pub struct Stretch {
    window: (Timestamp, Timestamp),
    /// It begins with this one: a whole tile's first.
    begin: i64,
    /// The first of the window, and the number after its last. Their leaves are in it, and those of the two beside them, whose
    /// times say that there are no others; of the rest it has the hashes.
    first: i64,
    end: i64,
    /// The number after the last of all: the newest checkpoint covers them.
    size: i64,
    /// What stands for the entries that retention has removed.
    removed: Option<String>,
    waiting: i64,
}

impl Stretch {
    /// The entries of a window. To be asked in a transaction that sees one instant, of a caller who may read the log.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn of(tx: &mut TenantTx, from: Timestamp, to: Timestamp) -> Result<Self, Fault> {
        let rows = tx.read(BOUNDS, &[&from, &to]).await?;
        let row = one(&rows)?;
        let size: i64 = row.field("size")?;
        let gone = row.field::<Option<i64>>("gone")?.unwrap_or(0);
        let first = row.field::<Option<i64>>("first")?.unwrap_or(size);
        let end = row.field::<Option<i64>>("until")?.unwrap_or(gone);
        // From the tile of the one before it on, unless retention has taken that: it took whole tiles, too.
        let begin = ((first - 1).max(0) / TILE * TILE).max(gone);
        Ok(Self {
            window: (from, to),
            begin,
            first,
            end,
            size,
            removed: row.field("removed")?,
            waiting: row.field("waiting")?,
        })
    }

    /// Whether all that is known of the window stands under a checkpoint: what does not is within a second, as long as a
    /// server works.
    pub fn is_covered(&self) -> bool {
        self.waiting == 0
    }

    /// Which entries of the window are in it, for whoever verifies that none is left out.
    pub fn range(&self) -> Value {
        let (from, to) = self.window;
        json!({ "from": from, "to": to, "begin": self.begin, "first": self.first, "end": self.end, "size": self.size,
            "removed": self.removed })
    }

    /// The edge of the tree where it begins: what was before it, in some hashes.
    ///
    /// # Errors
    /// As [`Stretch::of`]; a defect of ours when tiles are missing.
    pub async fn edge(&self, tx: &mut TenantTx) -> Result<Value, Fault> {
        let rows = tx.read(TILES, &[&(self.begin / TILE)]).await?;
        let roots = rows.iter().map(|row| hash(row, "hash"));
        let edge = Edge::of_tiles(roots.collect::<Result<Vec<_>, _>>()?);
        if i64::try_from(edge.size()) != Ok(self.begin) {
            return Err(Fault::bug("tiles of the log are missing"));
        }
        let peaks = BASE64_STANDARD.encode(edge.to_bytes());
        Ok(json!({ "size": self.begin, "edge": peaks }))
    }

    /// What was signed of it since.
    ///
    /// # Errors
    /// As [`Stretch::of`].
    pub async fn checkpoints(&self, tx: &mut TenantTx) -> Result<Vec<Value>, Fault> {
        let rows = tx.read(CHECKPOINTS, &[&self.begin]).await?;
        let value = |row: &Row| {
            let (day, note): (String, String) = (row.field("day")?, row.field("note")?);
            Ok(json!({ "day": day, "note": note }))
        };
        rows.iter().map(value).collect()
    }

    /// Some of its entries from a number on, and the number after them; none: there are no more.
    ///
    /// # Errors
    /// As [`Stretch::of`].
    pub async fn page(
        &self,
        tx: &mut TenantTx,
        from: Option<i64>,
    ) -> Result<(Vec<Value>, Option<i64>), Fault> {
        let from = from.unwrap_or(self.begin);
        let (before, after) = (self.first - 1, self.end);
        let parameters: [&(dyn ToSql + Sync); 5] = [&from, &before, &after, &self.size, &PAGE];
        let rows = tx.read(LEAVES, &parameters).await?;
        let value = |row: &Row| {
            let seq: i64 = row.field("seq")?;
            let hash = hex::encode(hash(row, "hash")?);
            Ok(match row.field::<Option<String>>("leaf")? {
                Some(leaf) => json!({ "seq": seq, "hash": hash, "leaf": leaf }),
                None => json!({ "seq": seq, "hash": hash }),
            })
        };
        let lines = rows.iter().map(value).collect::<Result<Vec<_>, Fault>>()?;
        let next = match rows.last() {
            Some(last) => Some(last.field::<i64>("seq")? + 1),
            None => None,
        };
        Ok((lines, next))
    }
}

/// A tile has so many leaves.
const TILE: i64 = 256;

fn one(rows: &[Row]) -> Result<&Row, Fault> {
    rows.first()
        .ok_or_else(|| Fault::bug("nothing was said of a log"))
}

fn hash(row: &Row, name: &str) -> Result<Hash, Fault> {
    let bytes: Vec<u8> = row.field(name)?;
    Hash::try_from(bytes).map_err(|_| Fault::bug("a hash of another length"))
}
