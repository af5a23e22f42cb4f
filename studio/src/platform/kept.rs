use base64::{Engine, prelude::BASE64_STANDARD};
use uuid::Uuid;
use watertight_tenancy::{Tell, Tenancy};
use watertight_terms::Fault;
use watertight_watch::Performance;

use super::{Learned, Platform, lock};

const KEEP: Tell = Tell::new("y3", "SELECT watch.keep($1)");
const GONE: Tell = Tell::new("y5", "SELECT studio FROM watch.gone($1) AS studio");
const KEPT: Tell = Tell::new("y4", "SELECT watch.kept($1) AS learned");

/// More than so many bytes are not kept: then the habits of routes, which are most of it, are learned anew.
const BYTES_MOST: usize = 8_000_000;

impl Platform {
    /// Writes what was learned to the database, under the name with which this process has begun.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is lost but what was learned since.
    pub async fn keep(&self, tenancy: &Tenancy) -> Result<(), Fault> {
        let Some(process) = self.0.process.get() else {
            return Ok(());
        };
        self.forget_closed(tenancy).await?;
        let text = self.written()?;
        // Fields are parted by a sign that a route or a name might have.
        let fields = [
            BASE64_STANDARD.encode(process),
            BASE64_STANDARD.encode(text),
        ];
        let fields = fields.each_ref().map(String::as_str);
        tenancy.tell(KEEP, &fields).await.map(drop)
    }

    /// Goes on from what this process had learned when it was last kept. What cannot be read any more is learned anew.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(super) async fn recall(&self, tenancy: &Tenancy, process: &str) -> Result<(), Fault> {
        let process = BASE64_STANDARD.encode(process);
        let rows = tenancy.tell(KEPT, &[&process]).await?;
        let Some(row) = rows.first() else {
            return Ok(());
        };
        let Some(text) = row.field::<Option<String>>("learned")? else {
            return Ok(());
        };
        match serde_json::from_str(&text) {
            Ok(learned) => *lock(&self.0.learned) = learned,
            Err(_) => tracing::warn!("what was learned cannot be read; it is learned anew"),
        }
        Ok(())
    }

    /// Nothing is kept of a studio that is closed.
    async fn forget_closed(&self, tenancy: &Tenancy) -> Result<(), Fault> {
        let known: Vec<String> = lock(&self.0.learned)
            .performance
            .studios()
            .into_iter()
            .filter(|studio| Uuid::try_parse(studio).is_ok())
            .collect();
        for row in tenancy.tell(GONE, &[&known.join(",")]).await? {
            let studio: Uuid = row.field("studio")?;
            lock(&self.0.learned)
                .performance
                .forget(&studio.to_string());
        }
        Ok(())
    }

    /// Requests note what they see meanwhile: they wait for a copy, and not for all of it to be written.
    fn written(&self) -> Result<Vec<u8>, Fault> {
        let unwritten = |error: serde_json::Error| Fault::bug(format!("what was learned: {error}"));
        let mut learned = lock(&self.0.learned).clone();
        let text = serde_json::to_vec(&learned).map_err(unwritten)?;
        if text.len() <= BYTES_MOST {
            return Ok(text);
        }
        tracing::warn!(
            bytes = text.len(),
            "what was learned is too much to keep: routes are learned anew"
        );
        lock(&self.0.learned).performance = Performance::default();
        learned.performance = Performance::default();
        serde_json::to_vec::<Learned>(&learned).map_err(unwritten)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread, time::Instant};

    use jiff::Timestamp;
    use serde_json::{Value, json};
    use watertight_watch::Thresholds;

    use super::*;
    use crate::metrics::Metrics;

    /// As much as is kept at most, nearly.
    fn much() -> Learned {
        let past: BTreeMap<String, Value> = (0..168)
            .map(|hour| (hour.to_string(), json!([1_000, 2_000, 3_000, 4_000])))
            .collect();
        let route = json!({ "hour": 1, "answers": 1, "buckets": vec![100; 80], "past": past });
        let routes: BTreeMap<String, Value> = (0..1_500)
            .map(|number| (format!("GET /v1/route-{number} none"), route.clone()))
            .collect();
        let mut text = serde_json::to_value(Learned::default()).unwrap();
        text["performance"]["routes"] = json!(routes);
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn requests_do_not_wait_until_what_was_learned_is_written() {
        let platform = Platform::new(Thresholds::default(), Metrics::new(Timestamp::UNIX_EPOCH));
        *lock(&platform.0.learned) = much();
        // On a busy machine anybody may wait now and then: the best of some rounds is what the lock makes of it.
        let shares = (0..5).map(|_| {
            let writer = platform.clone();
            let writing = thread::spawn(move || {
                let began = Instant::now();
                assert!(writer.written().unwrap().len() > 5_000_000);
                began.elapsed()
            });
            let mut longest = 0.0_f64;
            while !writing.is_finished() {
                let began = Instant::now();
                drop(lock(&platform.0.learned));
                longest = longest.max(began.elapsed().as_secs_f64());
                thread::yield_now();
            }
            longest / writing.join().unwrap().as_secs_f64()
        });
        let least = shares.fold(f64::MAX, f64::min);
        assert!(least < 0.25, "waited for {least} of the time");
    }
}
