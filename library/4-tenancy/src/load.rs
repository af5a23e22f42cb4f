//! How much the database is asked, as this process sees it: for metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use deadpool_postgres::PoolError;

/// A request that waited for a connection at least so long has waited.
const WAITED: Duration = Duration::from_millis(1);
/// A round trip to the database that took so long is slow.
const SLOW: Duration = Duration::from_secs(1);

/// The connections that requests share, and what was asked on them since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// At most so many connections.
    pub most: usize,
    /// So many are open.
    pub open: usize,
    /// So many of them nobody uses.
    pub idle: usize,
    /// So many requests wait for one now.
    pub waiting: usize,
    /// So many have waited.
    pub waits: u64,
    /// For so long, all together.
    pub waited: Duration,
    /// So many waited in vain.
    pub refused: u64,
    /// Round trips with statements.
    pub statements: u64,
    /// They took so long, all together.
    pub busy: Duration,
    /// So many of them took a second or more.
    pub slow: u64,
}

/// The counters of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waits: AtomicU64,
    waited_us: AtomicU64,
    refused: AtomicU64,
    statements: AtomicU64,
    busy_us: AtomicU64,
    slow: AtomicU64,
}

impl Counters {
    /// Somebody has a connection now, or none.
    pub(crate) fn leased<T>(&self, took: Duration, taken: &Result<T, PoolError>) {
        if took >= WAITED {
            self.0.waits.fetch_add(1, Relaxed);
            self.0.waited_us.fetch_add(micros(took), Relaxed);
        }
        if matches!(taken, Err(PoolError::Timeout(_))) {
            self.0.refused.fetch_add(1, Relaxed);
        }
    }

    /// Statements were answered.
    pub(crate) fn answered(&self, took: Duration) {
        self.0.statements.fetch_add(1, Relaxed);
        self.0.busy_us.fetch_add(micros(took), Relaxed);
        if took >= SLOW {
            self.0.slow.fetch_add(1, Relaxed);
        }
    }

    /// What was counted, to be filled up by what the pool says.
    pub(crate) fn read(&self) -> Load {
        let Counts {
            waits,
            waited_us,
            refused,
            statements,
            busy_us,
            slow,
        } = &*self.0;
        Load {
            waits: waits.load(Relaxed),
            waited: Duration::from_micros(waited_us.load(Relaxed)),
            refused: refused.load(Relaxed),
            statements: statements.load(Relaxed),
            busy: Duration::from_micros(busy_us.load(Relaxed)),
            slow: slow.load(Relaxed),
            ..Load::default()
        }
    }
}

/// Names a statement that took long: its text, which is the product's own, and none of its parameters.
pub(crate) fn tell_slow(sql: &'static str, took: Duration) {
    if took >= SLOW {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(target: "slow", ms, sql, "a statement took long");
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
