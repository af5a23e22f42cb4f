//! What this process notices of the platform, and tells operators: who is not let in, how long answers take, what fails.
//!
//! ```text
//! hear()           in the request: somebody who was not let in
//! answered()       in the request: how long it took, whether it failed or was refused
//! examine()        each minute: what was counted in it, and what is too old or wrong
//! keep_telling()   each second: what was noticed, to the log and to the table that operators list
//! begin(), keep()   what was learned, from the database and back: a restart forgets nothing
//! ```
//!
//! Each process learns by itself; alerts of all of them meet in the table. Nothing here is of a studio but its id, where one takes
//! the server's time.

mod delay;
mod kept;
mod strangers;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use watertight_tenancy::{Tell, Tenancy};
use watertight_terms::{Fault, TenantId};
use watertight_watch::{
    Alert, Facts, Health, Minute, Performance, PlatformWatch, Thresholds, Timing,
};

use crate::metrics::{Metrics, Observed};

pub use delay::hold_back;
pub use strangers::note_foreign_pages;

const NOTE: Tell = Tell::new("y1", "SELECT watch.note_alert($1)");

/// So many wait to be told; of more, the oldest are told by the log alone.
const UNTOLD_MOST: usize = 1_000;

/// What a process notices. Cheap to clone: all clones notice together.
#[derive(Clone, Debug)]
pub struct Platform(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    thresholds: Thresholds,
    metrics: Metrics,
    /// Whose memory it is, once it has begun.
    process: OnceLock<String>,
    learned: Mutex<Learned>,
    counted: Mutex<Counted>,
    untold: Mutex<VecDeque<Alert>>,
    delays: delay::Delays,
}

/// What is remembered over a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Learned {
    strangers: PlatformWatch,
    performance: Performance,
    health: Health,
}

/// What was counted since the last minute.
#[derive(Debug, Default)]
struct Counted {
    answers: u32,
    failures: u32,
    refusals: std::collections::BTreeMap<String, u32>,
    failed_jobs: u32,
}

impl Platform {
    /// Nothing was noticed yet.
    pub fn new(thresholds: Thresholds, metrics: Metrics) -> Self {
        Self(Arc::new(Inside {
            thresholds,
            metrics,
            process: OnceLock::new(),
            learned: Mutex::default(),
            counted: Mutex::default(),
            untold: Mutex::default(),
            delays: delay::Delays::default(),
        }))
    }

    /// Goes on from what this process had learned before it was started again, and counts the start. `process` is a name
    /// that it has each time, and no other beside it.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn begin(
        &self,
        tenancy: &Tenancy,
        process: &str,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let process = self.0.process.get_or_init(|| process.to_owned());
        self.recall(tenancy, process).await?;
        let started = Facts {
            has_started: true,
            ..Facts::default()
        };
        self.examine(Some(&started), now);
        self.keep(tenancy).await
    }

    /// Tells and keeps what was noticed until the end.
    pub async fn end(&self, tenancy: &Tenancy) {
        for ended in [self.tell(tenancy).await, self.keep(tenancy).await] {
            if let Err(fault) = ended {
                tracing::warn!("what was noticed until the end: {fault}");
            }
        }
    }

    /// Counts a request that was answered at that time.
    pub fn answered(&self, observed: &Observed, at: Timestamp) {
        self.0.metrics.request(observed);
        self.hear_of_foreign_page(observed, at);
        {
            let mut counted = lock(&self.0.counted);
            counted.answers = counted.answers.saturating_add(1);
            if observed.status >= 500 {
                counted.failures = counted.failures.saturating_add(1);
            } else if let Some(rule) = observed.rule {
                let refusals = counted.refusals.entry(rule.to_owned()).or_default();
                *refusals = refusals.saturating_add(1);
            }
        }
        if !observed.is_timed() {
            return;
        }
        let timing = Timing {
            at,
            route: route(observed.method, &observed.route),
            studio: observed.studio.map(|studio| studio.to_string()),
            ms: (observed.seconds * 1_000.0) as u32,
        };
        let found = {
            let mut learned = lock(&self.0.learned);
            learned.performance.observe(&timing, &self.0.thresholds)
        };
        self.notice(found);
    }

    /// Counts work that was due.
    pub fn worked(&self, kind: &str, went_through: bool) {
        self.0.metrics.job(kind, went_through);
        if !went_through {
            let mut counted = lock(&self.0.counted);
            counted.failed_jobs = counted.failed_jobs.saturating_add(1);
        }
    }

    /// Looks at what was counted since the last time, and at what is known now.
    pub fn examine(&self, facts: Option<&Facts>, now: Timestamp) {
        let counted = std::mem::take(&mut *lock(&self.0.counted));
        let minute = Minute {
            at: now,
            answers: counted.answers,
            failures: counted.failures,
            refusals: counted.refusals,
            failed_jobs: counted.failed_jobs,
        };
        let thresholds = &self.0.thresholds;
        let found = {
            let health = &mut lock(&self.0.learned).health;
            let mut found = health.observe(&minute, thresholds);
            found.extend(
                facts
                    .iter()
                    .flat_map(|facts| health.examine(facts, now, thresholds)),
            );
            found
        };
        self.notice(found);
    }

    /// What the middle answer of a route took in the current hour, and those of which a twentieth and a hundredth were
    /// slower, in milliseconds: of a studio, or of those that no studio was bound for.
    pub fn quantiles(
        &self,
        method: &str,
        path: &str,
        studio: Option<TenantId>,
    ) -> Option<[u32; 3]> {
        let studio = studio.map(|studio| studio.to_string());
        let learned = lock(&self.0.learned);
        learned
            .performance
            .quantiles(&route(method, path), studio.as_deref())
    }

    /// Tells what was noticed, each second, for as long as it is let.
    pub async fn keep_telling(&self, tenancy: &Tenancy) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(fault) = self.tell(tenancy).await {
                tracing::warn!("telling operators: {fault}");
            }
        }
    }

    /// Tells what was noticed until now.
    ///
    /// # Errors
    /// When the database cannot be reached; the next time goes on from there.
    pub async fn tell(&self, tenancy: &Tenancy) -> Result<(), Fault> {
        while let Some(alert) = self.next() {
            let at = alert.at.as_microsecond().to_string();
            let subject = alert.subject.as_deref().unwrap_or_default();
            let fields = [alert.kind.as_str(), alert.severity.as_str(), subject, &at];
            if let Err(fault) = tenancy.tell(NOTE, &fields).await {
                lock(&self.0.untold).push_front(alert);
                return Err(fault);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Alert> {
        lock(&self.0.untold).pop_front()
    }

    fn notice(&self, found: Vec<Alert>) {
        for alert in found {
            tracing::warn!(target: "alert", kind = alert.kind.as_str(), subject = alert.subject, "{}", alert.kind.advice());
            self.0.metrics.alert(alert.kind);
            let mut untold = lock(&self.0.untold);
            if untold.len() == UNTOLD_MOST {
                untold.pop_front();
            }
            untold.push_back(alert);
        }
    }
}

fn route(method: &str, path: &str) -> String {
    format!("{method} {path}")
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
