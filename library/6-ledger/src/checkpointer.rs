//! Numbers what was written and signs it, a few times a second.
//!
//! ```text
//! gather        which studios have entries without a number; their heads are locked
//! grow          the tree goes on from the edge that the database gave, after that edge was found to
//!               be the one of the newest checkpoint outside
//! seal, COMMIT  leaves, edge and signed checkpoint at once, or nothing
//! write         the checkpoint goes outside the database
//! ```
//!
//! Killed at whatever instant it loses nothing: before the commit nothing happened, after it the
//! checkpoint that is missing outside is written when the next process starts. Several processes
//! share the studios among them. A log that does not go on from its checkpoint outside is signed no
//! more: somebody rewrote it, and a new signature would say that all is well.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;
use uuid::Uuid;
use watertight_tenancy::{GateCall, Row, Tenancy};
use watertight_terms::{Clock, Fault, KeyRing, TenantId};

use crate::{
    lag::Lag,
    note,
    outside::Outside,
    tree::{CHAIN_BEGIN, Edge, Hash, chain_hash},
};

const GATHER: GateCall = GateCall::new(
    "SELECT tenant, size, edge, chain, entries, hashes, lag_ms FROM ledger.gather($1)",
    "l1",
);
const SEAL: GateCall = GateCall::new("SELECT ledger.seal($1, $2)", "l2");
const HEADS: GateCall = GateCall::new(
    "SELECT tenant, size, edge, note, removed FROM ledger.heads_known($1)",
    "l3",
);
const HASHES: GateCall = GateCall::new("SELECT ledger.hashes($1) AS hashes", "l4");

/// At most so many studios are taken at once; the others are another process's, or the next turn's.
const STUDIOS_AT_ONCE: &str = "50";
/// The hashes of so many leaves are read at once.
const HASHES_AT_ONCE: u64 = 10_000;

/// Makes the checkpoints.
#[derive(Clone)]
pub struct Checkpointer {
    pub(crate) tenancy: Tenancy,
    pub(crate) keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
    pub(crate) outside: Option<Outside>,
    clock: Clock,
    known: Arc<Mutex<Known>>,
    lag: Lag,
}

/// What this process knows of the logs.
#[derive(Default)]
struct Known {
    /// Edges that were found to go on from the newest checkpoint outside.
    edges: HashMap<TenantId, Edge>,
    /// Logs that do not.
    broken: HashSet<TenantId>,
}

/// What one turn did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Round {
    /// So many entries got their numbers.
    pub numbered: usize,
    /// Logs that another process took further than is known here: they are looked at before the
    /// next turn.
    pub behind: Vec<TenantId>,
    /// The longest that one of them had waited for it, in milliseconds.
    pub lag_ms: u64,
}

/// How far a log has come, as the database says.
pub(crate) struct Head {
    pub(crate) tenant: TenantId,
    pub(crate) edge: Edge,
}

/// How far one has come who follows a log by its hashes.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) edge: Edge,
    pub(crate) chain: Hash,
}

/// What is to be kept of a log that grew.
#[derive(Serialize)]
struct Grown {
    tenant: TenantId,
    before: u64,
    size: u64,
    edge: String,
    entries: Vec<Uuid>,
    chains: Vec<String>,
    nodes: Vec<Node>,
    day: Date,
    note: String,
    #[serde(skip)]
    grown: Edge,
}

/// What a turn did, and the logs of which it did it.
type Turn = (Round, Vec<Grown>);

#[derive(Serialize)]
struct Node {
    level: u32,
    position: u64,
    hash: String,
}

impl Checkpointer {
    /// A checkpointer that signs with the current key of the ring `checkpoint`, which `keys` gives
    /// each time. `folder` is where checkpoints go outside the database.
    pub fn new(
        tenancy: Tenancy,
        keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
        folder: Option<PathBuf>,
        clock: Clock,
    ) -> Self {
        Self {
            tenancy,
            keys,
            outside: folder.map(Outside::new),
            clock,
            known: Arc::default(),
            lag: Lag::default(),
        }
    }

    /// How long entries wait, as this process measures it: for metrics.
    pub fn lag(&self) -> &Lag {
        &self.lag
    }

    /// Makes checkpoints for as long as the process lives, `pause` after each turn that found
    /// nothing more to do.
    pub async fn keep(self, pause: Duration) {
        let (mut started, mut is_first) = (false, true);
        loop {
            if !started {
                started = self.told("writing what is missing outside", self.catch_up().await);
            }
            let round = self.round().await;
            let again = match &round {
                Ok(round) => round.numbered > 0 || !round.behind.is_empty(),
                Err(_) => false,
            };
            // What waited while nobody was there to number it is no lag of ours.
            if !std::mem::take(&mut is_first) {
                self.measure(round.as_ref().ok());
            }
            self.told("making checkpoints", round);
            if !again {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Measures the lag, and tells of one that is too long: what is not under a checkpoint could be
    /// removed unseen.
    fn measure(&self, round: Option<&Round>) {
        let now = self.clock.now();
        let is_told = match round {
            Some(round) => self.lag.measured(now, Duration::from_millis(round.lag_ms)),
            None => self.lag.stalled(now),
        };
        if is_told {
            let lag_ms = u64::try_from(self.lag.at(now).as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(target: "alert", kind = "checkpoint-lag", lag_ms, "entries wait too long for their checkpoint");
        }
    }

    fn told<T>(&self, what: &str, done: Result<T, Fault>) -> bool {
        if let Err(fault) = &done {
            tracing::warn!("{what}: {fault}");
        }
        done.is_ok()
    }

    /// One turn: numbers what waits, signs, writes outside.
    ///
    /// # Errors
    /// When the database or the folder cannot be written. Nothing is lost: the next turn does it.
    pub async fn round(&self) -> Result<Round, Fault> {
        let make = |rows: Vec<Row>| self.grow_all(rows);
        let ask = (GATHER, &[STUDIOS_AT_ONCE][..]);
        let (round, grown) = self.tenancy.ask_and_tell(ask, SEAL, make).await?;
        for log in grown {
            self.write_outside(log.tenant, log.day, &log.note)?;
            self.known().edges.insert(log.tenant, log.grown);
        }
        for tenant in &round.behind {
            self.follow(*tenant).await?;
        }
        Ok(round)
    }

    /// Writes outside what a process that was killed did not come to.
    ///
    /// # Errors
    /// As [`Checkpointer::round`].
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let Some(outside) = &self.outside else {
            return Ok(());
        };
        for row in self.tenancy.ask_gate(HEADS, &[]).await? {
            let Head { tenant, edge } = head(&row)?;
            let newest = outside.newest(tenant).map_err(unwritable)?;
            if newest.is_some_and(|(size, root)| size == edge.size() && root == edge.root()) {
                continue;
            }
            if self.follow(tenant).await? {
                self.write_outside(tenant, self.today(), &row.field::<String>("note")?)?;
            }
        }
        Ok(())
    }

    /// Every log that grows, and what is told of it.
    fn grow_all(&self, rows: Vec<Row>) -> Result<(Option<String>, Turn), Fault> {
        let mut round = Round::default();
        let mut grown = Vec::new();
        for row in rows {
            let head = head(&row)?;
            let lag_ms = row.field::<i64>("lag_ms")?.unsigned_abs();
            round.lag_ms = round.lag_ms.max(lag_ms);
            if self.known().broken.contains(&head.tenant) {
                continue;
            }
            if !self.goes_on_from(&head)? {
                round.behind.push(head.tenant);
                continue;
            }
            let log = self.grow(head, &row)?;
            round.numbered += log.entries.len();
            grown.push(log);
        }
        let text = match grown.as_slice() {
            [] => None,
            logs => Some(serde_json::to_string(logs).map_err(unwritten)?),
        };
        Ok((text, (round, grown)))
    }

    /// Whether the edge that the database gave is the one that is known here. Of a log that nothing
    /// is known of, nor outside, there is nothing that could be contradicted.
    fn goes_on_from(&self, head: &Head) -> Result<bool, Fault> {
        if let Some(known) = self.known().edges.get(&head.tenant) {
            return Ok(*known == head.edge);
        }
        let newest = match &self.outside {
            Some(outside) => outside.newest(head.tenant).map_err(unwritable)?,
            None => None,
        };
        Ok(newest.is_none_or(|(size, root)| size == head.edge.size() && root == head.edge.root()))
    }

    fn grow(&self, head: Head, row: &Row) -> Result<Grown, Fault> {
        let Head { tenant, mut edge } = head;
        let before = edge.size();
        let entries: Vec<Uuid> = row.field("entries")?;
        let mut chain = hash(&row.field::<Vec<u8>>("chain")?)?;
        let (mut chains, mut nodes) = (Vec::new(), Vec::new());
        for leaf in hashes(&row.field::<Vec<u8>>("hashes")?)? {
            chain = chain_hash(&chain, &leaf);
            chains.push(hex::encode(chain));
            let whole = edge.push(leaf).into_iter();
            nodes.extend(whole.map(|tile| Node {
                level: tile.level,
                position: tile.position,
                hash: hex::encode(tile.hash),
            }));
        }
        Ok(Grown {
            tenant,
            before,
            size: edge.size(),
            edge: hex::encode(edge.to_bytes()),
            entries,
            chains,
            nodes,
            day: self.today(),
            note: note::sign(&(self.keys)(), tenant, edge.size(), &edge.root())?,
            grown: edge,
        })
    }

    /// Follows a log from what is known of it to where the database says that it is, by the hashes of
    /// its leaves. Says whether it goes on from the newest checkpoint outside; one that does not is
    /// signed no more.
    pub(crate) async fn follow(&self, tenant: TenantId) -> Result<bool, Fault> {
        let Some((head, first)) = self.known_head(tenant).await? else {
            return Ok(self.breaks(tenant, "the database has no log any more"));
        };
        let said = match &self.outside {
            Some(outside) => outside.newest(tenant).map_err(unwritable)?,
            None => None,
        };
        if said.is_some_and(|(size, _)| size > head.edge.size()) {
            return Ok(self.breaks(tenant, "the log is shorter than its checkpoint outside"));
        }
        let mut place = match self.known().edges.get(&tenant).cloned() {
            // Nobody asks for its chain here.
            Some(edge) => Place { edge, ..first },
            None => first,
        };
        if let Some(why) = self
            .walk(tenant, &mut place, head.edge.size(), said)
            .await?
        {
            return Ok(self.breaks(tenant, why));
        }
        let edge = place.edge;
        if edge != head.edge {
            return Ok(self.breaks(tenant, "the log's leaves are not those of its edge"));
        }
        self.known().edges.insert(tenant, edge);
        Ok(true)
    }

    /// How far a log has come, and where its first entry is that was not removed.
    pub(crate) async fn known_head(
        &self,
        tenant: TenantId,
    ) -> Result<Option<(Head, Place)>, Fault> {
        for row in self.tenancy.ask_gate(HEADS, &[]).await? {
            let head = head(&row)?;
            if head.tenant == tenant {
                let first = self.first(tenant, row.field("removed")?)?;
                return Ok(Some((head, first)));
            }
        }
        Ok(None)
    }

    /// Where a log begins: after what was removed. Outside counts more than what the database says.
    fn first(&self, tenant: TenantId, stub: Option<String>) -> Result<Place, Fault> {
        let outside = match &self.outside {
            Some(outside) => outside.removed(tenant).map_err(unwritable)?,
            None => None,
        };
        let Some(stub) = outside.or(stub) else {
            let edge = Edge::default();
            return Ok(Place {
                edge,
                chain: CHAIN_BEGIN,
            });
        };
        let (edge, chain) = note::read_stub(&stub, tenant)
            .ok_or_else(|| Fault::bug("the stub of removed entries is malformed"))?;
        Ok(Place { edge, chain })
    }

    /// Follows a log by its hashes until it has that many. Says what is wrong with it; `said` is what a
    /// checkpoint says of it.
    pub(crate) async fn walk(
        &self,
        tenant: TenantId,
        place: &mut Place,
        until: u64,
        said: Option<(u64, Hash)>,
    ) -> Result<Option<&'static str>, Fault> {
        while place.edge.size() < until {
            let from = place.edge.size();
            let many = (until - from).min(HASHES_AT_ONCE);
            let fields = [tenant.to_string(), from.to_string(), many.to_string()];
            let fields = fields.each_ref().map(String::as_str);
            let rows = self.tenancy.ask_gate(HASHES, &fields).await?;
            let row = rows.first().ok_or_else(|| Fault::bug("no hashes"))?;
            let leaves = hashes(&row.field::<Vec<u8>>("hashes")?)?;
            if leaves.is_empty() {
                return Ok(Some("leaves of the log are missing"));
            }
            for leaf in leaves {
                place.chain = chain_hash(&place.chain, &leaf);
                place.edge.push(leaf);
                let is_other =
                    |(size, root)| size == place.edge.size() && root != place.edge.root();
                if said.is_some_and(is_other) {
                    return Ok(Some("the log is another than its checkpoint outside"));
                }
            }
        }
        Ok(None)
    }

    fn breaks(&self, tenant: TenantId, why: &str) -> bool {
        tracing::error!(target: "security", %tenant, "{why}: it is not signed any more; run `studio audit verify`");
        self.known().broken.insert(tenant);
        false
    }

    fn write_outside(&self, tenant: TenantId, day: Date, note: &str) -> Result<(), Fault> {
        match &self.outside {
            Some(outside) => outside.write(tenant, day, note).map_err(unwritable),
            None => Ok(()),
        }
    }

    fn today(&self) -> Date {
        self.clock.now().to_zoned(TimeZone::UTC).date()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checkpointer")
    }
}

fn head(row: &Row) -> Result<Head, Fault> {
    let size = row.field::<i64>("size")?.unsigned_abs();
    let edge = Edge::read(size, &row.field::<Vec<u8>>("edge")?)
        .ok_or_else(|| Fault::bug("the head of a log is malformed"))?;
    let tenant = TenantId(row.field("tenant")?);
    Ok(Head { tenant, edge })
}

fn hash(bytes: &[u8]) -> Result<Hash, Fault> {
    Hash::try_from(bytes).map_err(|_| Fault::bug("a hash of a log is malformed"))
}

fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, Fault> {
    bytes.chunks(CHAIN_BEGIN.len()).map(hash).collect()
}

pub(crate) fn unwritable(error: std::io::Error) -> Fault {
    Fault::unavailable("checkpoints cannot be written right now", 1)
        .log(format!("[ledger] checkpoint_dir: {error}"))
}

pub(crate) fn unwritten(error: serde_json::Error) -> Fault {
    Fault::bug(format!("writing checkpoints: {error}"))
}
