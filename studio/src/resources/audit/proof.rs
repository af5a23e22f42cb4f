//! What was signed, and whether the ledger is what was signed for.

use schemars::JsonSchema;
use serde::Serialize;
use watertight::answer::{Answer, Draft};
use watertight_ledger::{origin, verifier_keys};
use watertight_prover_core::{Checkpoint, Hash, Tree, VerifierKey, chain_hash, leaf_hash};
use watertight_tenancy::{Read, Row, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{Audit, actions::View};
use crate::app::Desk;

/// Checkpoints are listed for so many days.
pub(super) const CHECKPOINTS: Read = Read::new(
    "SELECT day::text AS day, size, note FROM ledger.checkpoints WHERE tenant_id = $1 ORDER BY size DESC LIMIT 1000",
);
const STUB: Read = Read::new("SELECT note FROM ledger.removals WHERE tenant_id = $1");
const NODES: Read = Read::new(
    "SELECT hash FROM ledger.nodes WHERE tenant_id = $1 AND level = $2 AND position >= $3 AND position < $4 ORDER BY position",
);
/// The newest entries, and the chain before them.
const LEAVES: Read = Read::new(
    "SELECT l.seq, l.hash, l.chain, e.leaf FROM ledger.leaves l LEFT JOIN ledger.entries e USING (tenant_id, entry_id)
     WHERE l.tenant_id = $1 AND l.seq >= $2 AND l.seq < $3 ORDER BY l.seq",
);

/// A tile has so many hashes, as a power of two.
const TILE_HEIGHT: u32 = 8;

/// A day's last checkpoint, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Checkpoint")]
pub(super) struct CheckpointView {
    day: String,
    size: i64,
    /// A C2SP signed note.
    note: String,
}

/// Checkpoints and keys, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Checkpoints")]
pub(super) struct CheckpointsView {
    items: Vec<CheckpointView>,
    next_cursor: Option<String>,
    /// The log's name in its checkpoints.
    origin: String,
    /// Public keys, as C2SP signed-note writes them.
    keys: Vec<String>,
    /// What stands for entries that retention has removed: a C2SP signed note.
    removed: Option<String>,
}

pub(super) async fn checkpoints(
    mut tx: TenantTx,
    desk: Desk,
) -> Result<Answer<CheckpointsView>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let rows = tx.read(CHECKPOINTS, &[]).await?;
    let view = |row: &Row| {
        Ok(CheckpointView {
            day: row.field("day")?,
            size: row.field("size")?,
            note: row.field("note")?,
        })
    };
    let stub = tx.read(STUB, &[]).await?;
    let view = CheckpointsView {
        items: rows.iter().map(view).collect::<Result<_, Fault>>()?,
        next_cursor: None,
        origin: origin(tx.tenant()),
        keys: verifier_keys(&(desk.checkpoint_keys)(), tx.tenant())?,
        removed: stub.first().map(|row| row.field("note")).transpose()?,
    };
    Draft::ok(view)?
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}

/// What was found, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditVerdict")]
pub(super) struct VerdictView {
    ok: bool,
    /// So many entries does the newest checkpoint cover.
    entries: u64,
    /// So many of them, the newest, were read and hashed. All of them: `studio audit verify`, or a
    /// verifier of one's own.
    checked: u64,
    found: Option<String>,
}

pub(super) async fn verify(mut tx: TenantTx, desk: Desk) -> Result<Answer<VerdictView>, Fault> {
    let _granted = tx.grant_new::<View, Audit>()?;
    let newest = tx.read(CHECKPOINTS, &[]).await?;
    let note: Option<String> = newest.first().map(|row| row.field("note")).transpose()?;
    let verdict = match note {
        None => VerdictView {
            ok: true,
            entries: 0,
            checked: 0,
            found: None,
        },
        Some(note) => judge(&mut tx, &desk, &note).await?,
    };
    Draft::ok(verdict)?
        .finish(tx, Entry::new("audit.view", "audit"))
        .await
}

async fn judge(tx: &mut TenantTx, desk: &Desk, note: &str) -> Result<VerdictView, Fault> {
    let keys = verifier_keys(&(desk.checkpoint_keys)(), tx.tenant())?;
    let keys = keys.iter().filter_map(|key| VerifierKey::parse(key).ok());
    let keys: Vec<VerifierKey> = keys.collect();
    let said = match Checkpoint::open(note, &origin(tx.tenant()), &keys, "the checkpoint") {
        Ok(said) => said,
        Err(fault) => return Ok(found(0, 0, format!("the newest checkpoint: {fault}"))),
    };
    let mut tree = whole_tiles(tx, said.size).await?;
    // The tile that is not whole yet, with what its entries say and the link of the one before.
    let from = said.size >> TILE_HEIGHT << TILE_HEIGHT;
    let before = from.saturating_sub(1);
    let rows = tx
        .read(LEAVES, &[&signed(before), &signed(said.size)])
        .await?;
    let (mut chain, mut checked) = ([0; 32], 0);
    for row in rows {
        let seq = row.field::<i64>("seq")?.unsigned_abs();
        let (listed, link) = (hash(&row, "hash")?, hash(&row, "chain")?);
        let leaf: Option<String> = row.field("leaf")?;
        if leaf.is_none_or(|leaf| leaf_hash(leaf.as_bytes()) != listed) {
            return Ok(found(
                said.size,
                checked,
                format!("entry {seq} was changed"),
            ));
        }
        let follows = seq < from || from == 0 && seq == 0 || chain_hash(&chain, &listed) == link;
        if !follows {
            return Ok(found(
                said.size,
                checked,
                format!("entry {seq} was reordered"),
            ));
        }
        if seq >= from {
            tree.push(listed);
        }
        (chain, checked) = (link, checked + 1);
    }
    if tree.size() == said.size && tree.root() == said.root {
        return Ok(VerdictView {
            ok: true,
            entries: said.size,
            checked,
            found: None,
        });
    }
    let what = "the ledger is not what its newest checkpoint was signed for";
    Ok(found(said.size, checked, what.to_owned()))
}

/// The tree as far as its tiles are whole, from their roots.
async fn whole_tiles(tx: &mut TenantTx, size: u64) -> Result<Tree, Fault> {
    let mut tree = Tree::default();
    let highest = (64 - size.leading_zeros()).saturating_sub(1) / TILE_HEIGHT;
    for level in (1..=highest).rev() {
        let until = size >> (TILE_HEIGHT * level);
        let from = until >> TILE_HEIGHT << TILE_HEIGHT;
        let parameter = i16::try_from(level).unwrap_or(i16::MAX);
        let rows = tx
            .read(NODES, &[&parameter, &signed(from), &signed(until)])
            .await?;
        for row in rows {
            tree.push_whole(TILE_HEIGHT * level, hash(&row, "hash")?);
        }
    }
    Ok(tree)
}

fn found(entries: u64, checked: u64, what: String) -> VerdictView {
    VerdictView {
        ok: false,
        entries,
        checked,
        found: Some(what),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn hash(row: &Row, column: &str) -> Result<Hash, Fault> {
    let bytes: Vec<u8> = row.field(column)?;
    Hash::try_from(bytes).map_err(|_| Fault::bug("a hash of the ledger is malformed"))
}
