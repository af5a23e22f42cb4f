use std::time::Duration;

use jiff::Timestamp;
use watertight_custody::archive::Folder;
use watertight_edge::Tls;
use watertight_tenancy::{Row, Tell};
use watertight_terms::Fault;
use watertight_watch::Facts;

use super::{Metrics, seconds, set, tell};
use crate::{
    app::App,
    jobs::{archive, retention},
};

const FIGURES: Tell = Tell::new(
    "y2",
    "SELECT what, name, many, since FROM watch.figures($1)",
);

/// The ring whose age the database knows.
const CONTEXT: &str = "context";

/// Measured so often.
const EVERY: Duration = Duration::from_secs(15);
/// What was counted is looked at, and what was learned is kept, so many times less often.
const ROUNDS_A_MINUTE: u64 = 4;

/// Measures for as long as it is let. `tls` is what the listener shows.
pub async fn keep_measuring(app: &App, tls: Option<&Tls>) {
    for round in 0_u64.. {
        let measured = measure(app, tls).await;
        if round % ROUNDS_A_MINUTE == 0 {
            app.platform
                .examine(measured.as_ref().ok(), app.clock.now());
        }
        if let Err(fault) = measured {
            tracing::warn!("measuring: {fault}");
        } else if round % ROUNDS_A_MINUTE == 0
            && let Err(fault) = app.platform.keep(&app.tenancy).await
        {
            tracing::warn!("keeping what was learned: {fault}");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Measures once, and gives what is known by it.
///
/// # Errors
/// When the database gives no figures; what this process knows by itself is measured all the same.
pub async fn measure(app: &App, tls: Option<&Tls>) -> Result<Facts, Fault> {
    let metrics = &app.metrics;
    let inside = &*metrics.0;
    let asked_at = app.clock.now();
    metrics.load(&app.tenancy.load());
    let lag = app.checkpointer.lag().at(asked_at);
    tell(&inside.ledger_lag, Some(lag.as_secs_f64()));
    let until = tls.and_then(Tls::good_until);
    tell(&inside.certificate, until.map(seconds));
    let archived = archived(app).await?;
    let rows = app.tenancy.tell(FIGURES, &[]).await?;
    let now = app.clock.now();
    inside.jobs_due.clear();
    inside.jobs_oldest.clear();
    inside.studios.clear();
    let figures: Result<Vec<_>, _> = rows.iter().map(Figure::read).collect();
    // What the database says was so between the two readings of this clock.
    let middle = (seconds(asked_at) + seconds(now)) / 2.0;
    let there = figures?;
    let clock = there.iter().find(|figure| figure.what == "clock");
    let there_now = clock.and_then(|figure| figure.since).map(seconds);
    let there_now = there_now.unwrap_or(middle);
    tell(&inside.drift, Some(middle - there_now));
    for figure in &there {
        metrics.figure(figure, there_now);
    }
    tell(&inside.measured, Some(seconds(now)));
    let since = |what: &str, name: &str| {
        let mut all = there.iter();
        let found = all.find(|figure| figure.what == what && figure.name == name);
        found.and_then(|figure| figure.since)
    };
    let key = since("key", CONTEXT).map(|since| (CONTEXT.to_owned(), since));
    Ok(Facts {
        has_started: false,
        clock_drift_ms: Some(((middle - there_now) * 1_000.0) as i64),
        certificate_until: until,
        keys_since: key.into_iter().collect(),
        backup_at: archived,
        retention_since: since("jobs", retention::KIND),
    })
}

/// When the newest archive was made of the studio whose is the oldest, where there is to be one.
async fn archived(app: &App) -> Result<Option<Timestamp>, Fault> {
    let inside = &*app.metrics.0;
    let Some(folder) = app.config.backup.folder.as_deref() else {
        return Ok(None);
    };
    let hours = app.config.watch.backup_hours;
    // What cannot be read has nothing in it.
    let newest = Folder::new(folder).newest().unwrap_or_default();
    let ages = archive::ages(&app.tenancy, newest, hours).await?;
    let now = seconds(app.clock.now());
    tell(&inside.backup, ages.oldest.map(|at| now - seconds(at)));
    tell(&inside.backups_missing, Some(ages.missing as f64));
    Ok(ages.oldest)
}

/// What the database said of something.
struct Figure {
    what: String,
    name: String,
    many: f64,
    since: Option<Timestamp>,
}

impl Figure {
    fn read(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            what: row.field("what")?,
            name: row.field("name")?,
            many: row.field::<i64>("many")? as f64,
            since: row.field("since")?,
        })
    }
}

impl Metrics {
    /// `now` is the database's, as are its times.
    fn figure(&self, figure: &Figure, now: f64) {
        let inside = &*self.0;
        let lasts = figure.since.map(|since| (now - seconds(since)).max(0.0));
        let lasts = lasts.unwrap_or_default();
        let name = || figure.name.clone();
        match figure.what.as_str() {
            "jobs" => {
                set(&inside.jobs_due, [("kind", name())], figure.many);
                set(&inside.jobs_oldest, [("kind", name())], lasts);
            }
            "studios" => set(&inside.studios, [("status", name())], figure.many),
            "key" => set(&inside.key_age, [("ring", name())], lasts),
            "entries" => {
                tell(&inside.entries, Some(figure.many));
                tell(&inside.oldest_entry, Some(lasts));
            }
            "locks" => {
                tell(&inside.lock_waits, Some(figure.many));
                tell(&inside.lock_wait, Some(lasts));
            }
            "processes" => tell(&inside.processes, Some(figure.many)),
            _ => {}
        }
    }
}
