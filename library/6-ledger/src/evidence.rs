//! A stretch of a studio's log that can be verified on its own: from a whole tile on to the newest checkpoint, with the
//! edge of what was before it. `docs/formats/evidence.md` says how.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::Fault;

use crate::tree::{Edge, Hash};

const BOUNDS: Read = Read::new(
    "SELECT count(*) AS many, coalesce(max(l.seq) + 1, 0) AS size, min(l.seq) FILTER (WHERE e.at >= $2) AS first,
       max(l.seq) FILTER (WHERE e.at <= $3) AS last
     FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id) WHERE l.tenant_id = $1",
);
const TILES: Read = Read::new(
    "SELECT hash FROM ledger.nodes WHERE tenant_id = $1 AND level = 1 AND position < $2 ORDER BY position",
);
const CHECKPOINTS: Read = Read::new(
    "SELECT day::text AS day, note FROM ledger.checkpoints WHERE tenant_id = $1 AND size >= $2 ORDER BY size",
);
const LEAVES: Read = Read::new(
    "SELECT l.seq, l.hash, CASE WHEN l.seq BETWEEN $3 AND $4 THEN e.leaf END AS leaf
     FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id) WHERE l.tenant_id = $1 AND l.seq >= $2 ORDER BY l.seq LIMIT $5",
);

/// So many leaves are read at once.
const PAGE: i64 = 1_000;

/// Which entries are in it, by their numbers, in one snapshot.
#[derive(Debug)]
pub struct Stretch {
    /// It begins with this one: a whole tile's first.
    begin: i64,
    /// The first and the last whose leaves are in it; of the others it has the hashes.
    first: i64,
    last: i64,
}

impl Stretch {
    /// The entries of a window. To be asked in a transaction that sees one instant, of a caller who may read the log.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn of(tx: &mut TenantTx, from: Timestamp, to: Timestamp) -> Result<Self, Fault> {
        let rows = tx.read(BOUNDS, &[&from, &to]).await?;
        let row = one(&rows)?;
        let (size, many): (i64, i64) = (row.field("size")?, row.field("many")?);
        let first = row.field::<Option<i64>>("first")?.unwrap_or(size);
        let last = row.field::<Option<i64>>("last")?.unwrap_or(-1);
        // What retention has removed is gone: it took whole tiles, too.
        let begin = (first / TILE * TILE).max(size - many);
        Ok(Self { begin, first, last })
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
        let parameters: [&(dyn ToSql + Sync); 4] = [&from, &self.first, &self.last, &PAGE];
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
