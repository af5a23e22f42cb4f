//! What this process counts and measures, for Prometheus: of the platform, and of no studio.
//!
//! ```text
//! GET /metrics          on `[http] metrics_listen`, a listener of its own; OpenMetrics
//! count_request()       around each request: its route, status, duration, the rule that refused it
//! keep_measuring()      each fifteen seconds: pool, queues, ledger, locks, clock, backup, certificate, key
//! ```
//!
//! Labels have values that are known while building, or of which there are few whatever anybody sends: a route as it is
//! declared, a class of statuses, a rule, a kind of work. No label is a studio, a person, an address or an id. What may
//! happen is there from the start with zero, so that a rate can be computed from its first time on.
//!
//! `deploy/prometheus` has rules about them and `deploy/grafana` a dashboard; a test holds both to what is served.

mod figures;
mod listener;
mod requests;

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use watertight_tenancy::Load;
use watertight_watch::{Failure, Kind};

use crate::{jobs, problems};

pub use figures::{keep_measuring, measure};
pub use listener::serve;
pub use requests::{Observed, count_request};

/// Names of labels and their values.
type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
/// A number at the moment; of none nothing is said.
type Numbers<const N: usize> = Family<Labels<N>, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// Seconds that answers take: what is quick, what people notice, and what was given up.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The counters of a process. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    registry: Registry,
    requests: Counters<3>,
    durations: Family<Labels<2>, Histogram, fn() -> Histogram>,
    refusals: Counters<1>,
    strangers: Counters<1>,
    alerts: Counters<1>,
    jobs_done: Counters<1>,
    jobs_failed: Counters<1>,
    jobs_due: Numbers<1>,
    jobs_oldest: Numbers<1>,
    connections: Numbers<1>,
    waits: Counter,
    waited: Counter<f64, std::sync::atomic::AtomicU64>,
    unserved: Counter,
    statements: Counter,
    busy: Counter<f64, std::sync::atomic::AtomicU64>,
    slow: Counter,
    lock_waits: Numbers<0>,
    lock_wait: Numbers<0>,
    ledger_lag: Numbers<0>,
    entries: Numbers<0>,
    oldest_entry: Numbers<0>,
    drift: Numbers<0>,
    backup: Numbers<0>,
    backups_missing: Numbers<0>,
    certificate: Numbers<0>,
    key_age: Numbers<1>,
    studios: Numbers<1>,
    processes: Numbers<0>,
    measured: Numbers<0>,
}

impl Metrics {
    /// Nothing was counted yet. `now` is when the process started.
    pub fn new(now: Timestamp) -> Self {
        let mut registry = Registry::with_prefix("studio");
        let r = &mut registry;
        let metrics = Inside {
            requests: metric(r, "requests", "Requests that were answered"),
            durations: durations(r),
            refusals: metric(
                r,
                "refusals",
                "Requests that were refused, by the problem they were told of",
            ),
            strangers: metric(
                r,
                "strangers",
                "Requests of somebody who could not say who they are, by what was wrong",
            ),
            alerts: metric(
                r,
                "alerts",
                "What looked wrong to this process, of the platform and not of a studio",
            ),
            jobs_done: metric(r, "jobs_done", "Work that was due and went through"),
            jobs_failed: metric(
                r,
                "jobs_failed",
                "Work that was due and came to nothing; it comes again",
            ),
            jobs_due: metric(r, "jobs_due", "Work that is due in the database"),
            jobs_oldest: metric(
                r,
                "jobs_oldest_due_seconds",
                "For how long the first of it has been due",
            ),
            connections: metric(
                r,
                "pool_connections",
                "Connections that requests share: at most, open, idle; and how many requests wait",
            ),
            waits: metric(r, "pool_waits", "Requests that waited for a connection"),
            waited: metric(
                r,
                "pool_wait_seconds",
                "For how long they waited, all together",
            ),
            unserved: metric(
                r,
                "pool_refused",
                "Requests that waited for a connection in vain",
            ),
            statements: metric(r, "statements", "Round trips to the database"),
            busy: metric(r, "statement_seconds", "How long they took, all together"),
            slow: metric(
                r,
                "slow_statements",
                "Round trips that took a second or more; the log names the statement",
            ),
            lock_waits: metric(r, "lock_waits", "Who waits for a lock in the database"),
            lock_wait: metric(
                r,
                "lock_wait_seconds",
                "For how long the first of them has waited",
            ),
            ledger_lag: metric(
                r,
                "ledger_lag_seconds",
                "How long an entry waited for its checkpoint, as this process measured it",
            ),
            entries: metric(
                r,
                "ledger_waiting_entries",
                "Entries without a number and a checkpoint, a hundred thousand at most",
            ),
            oldest_entry: metric(
                r,
                "ledger_oldest_waiting_seconds",
                "For how long the first of them has waited",
            ),
            drift: metric(
                r,
                "clock_drift_seconds",
                "How far this machine's clock is from the database's",
            ),
            backup: metric(
                r,
                "backup_age_seconds",
                "How old the newest archive is of the studio whose is the oldest",
            ),
            backups_missing: metric(
                r,
                "backups_missing",
                "Active studios without an archive that is young enough",
            ),
            certificate: metric(
                r,
                "certificate_expires_seconds",
                "Until when the listener's certificate is good, since 1970",
            ),
            key_age: metric(r, "key_age_seconds", "For how long a key is used"),
            studios: metric(r, "studios", "Studios by their status"),
            processes: metric(
                r,
                "processes",
                "Processes that answer or work, as the database knows them",
            ),
            measured: metric(
                r,
                "measured_seconds",
                "When the database was asked for figures and gave them, since 1970",
            ),
            registry: Registry::default(),
        };
        let started: Numbers<0> = metric(
            r,
            "started_seconds",
            "When this process started, since 1970",
        );
        started.get_or_create(&[]).set(seconds(now));
        let build: Numbers<1> = metric(r, "build", "Which version runs");
        build
            .get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())])
            .set(1.0);
        metrics.begin();
        Self(Arc::new(Inside {
            registry,
            ..metrics
        }))
    }

    /// All of it, as OpenMetrics has it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A text takes whatever is written.
        let _always = encode(&mut text, &self.0.registry);
        text
    }

    /// Counts somebody who was not let in.
    pub fn stranger(&self, failure: Failure) {
        add(&self.0.strangers, "failure", failure.as_str());
    }

    /// Counts what looked wrong.
    pub fn alert(&self, kind: Kind) {
        add(&self.0.alerts, "kind", kind.as_str());
    }

    /// Counts work that was due.
    pub fn job(&self, kind: &str, went_through: bool) {
        let counters = match went_through {
            true => &self.0.jobs_done,
            false => &self.0.jobs_failed,
        };
        add(counters, "kind", kind);
    }

    /// How much the database is asked.
    fn load(&self, load: &Load) {
        let inside = &*self.0;
        let parts = [
            ("most", load.most),
            ("open", load.open),
            ("idle", load.idle),
            ("waiting", load.waiting),
        ];
        for (part, many) in parts {
            set(
                &inside.connections,
                [("part", part.to_owned())],
                many as f64,
            );
        }
        let counts = [
            (&inside.waits, load.waits),
            (&inside.unserved, load.refused),
            (&inside.statements, load.statements),
            (&inside.slow, load.slow),
        ];
        for (counter, many) in counts {
            counter.inner().store(many, Ordering::Relaxed);
        }
        let sums = [(&inside.waited, load.waited), (&inside.busy, load.busy)];
        for (counter, sum) in sums {
            let bits = sum.as_secs_f64().to_bits();
            counter.inner().store(bits, Ordering::Relaxed);
        }
    }
}

impl Inside {
    /// Zero of everything that may happen.
    fn begin(&self) {
        for problem in problems::all() {
            touch(&self.refusals, "rule", problem.slug());
        }
        for failure in Failure::ALL {
            touch(&self.strangers, "failure", failure.as_str());
        }
        for kind in Kind::ALL {
            touch(&self.alerts, "kind", kind.as_str());
        }
        for kind in jobs::KINDS {
            touch(&self.jobs_done, "kind", kind);
            touch(&self.jobs_failed, "kind", kind);
        }
    }
}

fn touch(counters: &Counters<1>, name: &'static str, value: &str) {
    drop(counters.get_or_create(&[(name, value.to_owned())]));
}

fn add(counters: &Counters<1>, name: &'static str, value: &str) {
    counters.get_or_create(&[(name, value.to_owned())]).inc();
}

fn set<const N: usize>(numbers: &Numbers<N>, labels: Labels<N>, number: f64) {
    numbers.get_or_create(&labels).set(number);
}

/// A number that is known, or none.
fn tell(numbers: &Numbers<0>, number: Option<f64>) {
    match number {
        Some(number) => set(numbers, [], number),
        None => numbers.clear(),
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

fn metric<M>(registry: &mut Registry, name: &'static str, help: &'static str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn durations(registry: &mut Registry) -> Family<Labels<2>, Histogram, fn() -> Histogram> {
    let make: fn() -> Histogram = || Histogram::new(SECONDS);
    let durations = Family::new_with_constructor(make);
    let help = "How long answers took, until their first byte";
    registry.register("request_duration_seconds", help, durations.clone());
    durations
}
