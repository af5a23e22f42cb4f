//! The log as files (C2SP tlog-tiles), for verifiers that exist.
//!
//! ```text
//! /v1/audit/checkpoint                    the newest checkpoint
//! /v1/audit/tile/0/005                    hashes 1280 to 1535 of the leaves
//! /v1/audit/tile/0/006.p/17               the 17 that there are of a tile that is not whole yet
//! /v1/audit/tile/1/000                    the roots of the first 256 tiles
//! /v1/audit/tile/entries/x001/234         the leaves of the 1,235th tile, each after its length
//! ```
//!
//! A tile never changes, but for one that retention removes with all before it.

use serde_json::json;
use watertight::{
    answer::{Answer, Draft, Octets, Text},
    argument::{Argument, Input},
    describe::Description,
};
use watertight_tenancy::{Read, Row, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{Audit, actions::View, proof::CHECKPOINTS};

/// A tile has so many hashes, a bundle so many leaves.
const TILE: i64 = 256;
/// A log has not so many thousand tiles.
const MOST: i64 = 1_000_000_000;

const HASHES: Read = Read::new(
    "SELECT hash AS bytes FROM ledger.leaves WHERE tenant_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
);
const NODES: Read = Read::new(
    "SELECT hash AS bytes FROM ledger.nodes WHERE tenant_id = $1 AND position >= $2 AND position < $3 AND level = $4 ORDER BY position",
);
const LEAVES: Read = Read::new(
    "SELECT e.leaf FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
     WHERE l.tenant_id = $1 AND l.seq >= $2 AND l.seq < $3 ORDER BY l.seq",
);

/// What a tile is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Leaves,
    Hashes,
    /// Roots of tiles: of this level.
    Nodes(i16),
}

/// Which tile: the rest of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    level: Level,
    n: i64,
    /// How many it has of what a whole one has 256 of.
    width: i64,
}

impl Argument for Tile {
    fn describe(description: &mut Description<'_>) {
        let pattern = r"^([0-7]|entries)/(x[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?$";
        description.takes_path(
            "tile",
            json!({ "type": "string", "maxLength": 32, "pattern": pattern }),
        );
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let rest = input.path.first().map(|(_, rest)| rest.as_str());
        rest.and_then(Self::read).ok_or_else(Fault::unseen)
    }
}

impl Tile {
    fn read(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => Level::Leaves,
            "0" => Level::Hashes,
            level => {
                let level = digits(level, 1).filter(|level| *level <= 7)?;
                Level::Nodes(level.try_into().ok()?)
            }
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, part)) => {
                let width = digits(part, part.len()).filter(|width| (1..TILE).contains(width))?;
                // One spelling each.
                (number, (width.to_string() == part).then_some(width)?)
            }
            None => (rest, TILE),
        };
        let n = Self::number(number)?;
        Some(Self { level, n, width })
    }

    /// `067`, `x234/067`, `x001/x234/067`: three digits each, the highest first.
    fn number(text: &str) -> Option<i64> {
        let (thousands, last) = match text.rsplit_once('/') {
            Some((thousands, last)) => (Some(thousands), last),
            None => (None, text),
        };
        let last = digits(last, 3)?;
        let Some(thousands) = thousands else {
            return Some(last);
        };
        let mut number = 0;
        for part in thousands.split('/') {
            // Nothing begins with zeros, and nobody has so many that they overflow.
            let part = digits(part.strip_prefix('x')?, 3)?;
            number = (number > 0 || part > 0).then_some(number * 1_000 + part)?;
            (number < MOST).then_some(())?;
        }
        Some(number * 1_000 + last)
    }
}

/// A number of exactly so many digits.
fn digits(text: &str, many: usize) -> Option<i64> {
    let are_digits = text.len() == many && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| text.parse().ok()).flatten()
}

pub(super) async fn tile(mut tx: TenantTx, tile: Tile) -> Result<Answer<Octets>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let from = tile.n * TILE;
    let until = from + tile.width;
    let rows = match tile.level {
        Level::Leaves => tx.read(LEAVES, &[&from, &until]).await?,
        Level::Hashes => tx.read(HASHES, &[&from, &until]).await?,
        Level::Nodes(level) => tx.read(NODES, &[&from, &until, &level]).await?,
    };
    if i64::try_from(rows.len()).ok() != Some(tile.width) {
        return Err(Fault::unseen());
    }
    let mut bytes = Vec::new();
    for row in &rows {
        match tile.level {
            Level::Leaves => put(&mut bytes, row)?,
            Level::Hashes | Level::Nodes(_) => bytes.extend(row.field::<Vec<u8>>("bytes")?),
        }
    }
    Draft::octets(bytes)
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}

/// A leaf after its length.
fn put(bytes: &mut Vec<u8>, row: &Row) -> Result<(), Fault> {
    let leaf: String = row.field("leaf")?;
    let length = u16::try_from(leaf.len())
        .map_err(|_| Fault::bug("a leaf of the ledger is longer than a bundle takes"))?;
    bytes.extend(length.to_be_bytes());
    bytes.extend(leaf.as_bytes());
    Ok(())
}

pub(super) async fn checkpoint(mut tx: TenantTx) -> Result<Answer<Text>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let newest = tx.read(CHECKPOINTS, &[]).await?;
    let newest = newest.first().ok_or_else(Fault::unseen)?;
    Draft::text(newest.field("note")?)
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_one_path() {
        let read = |path: &str| {
            let tile = Tile::read(path)?;
            Some((tile.level, tile.n, tile.width))
        };
        assert_eq!(read("0/005"), Some((Level::Hashes, 5, 256)));
        assert_eq!(read("0/000.p/17"), Some((Level::Hashes, 0, 17)));
        assert_eq!(read("2/x001/234"), Some((Level::Nodes(2), 1_234, 256)));
        let last = (Level::Leaves, 1_234_067, 255);
        assert_eq!(read("entries/x001/x234/067.p/255"), Some(last));
        for wrong in [
            "0",
            "0/5",
            "0/0005",
            "0/-05",
            "0/+05",
            "0/x05",
            "8/000",
            "00/000",
            "-1/000",
            "data/000",
            "0/000.p",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/017",
            "0/000/17",
            "0/x000/001",
            "0/001/234",
            "0/x001/x234",
            "0/x000/x001/000",
            "0/x999/x999/x999/x999/x999/x999/x999/000",
            "0/x001/2.p/1/2",
            "0/000.p/",
            "0//",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
