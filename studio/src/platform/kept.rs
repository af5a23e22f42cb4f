use base64::{Engine, prelude::BASE64_STANDARD};
use watertight_tenancy::{Tell, Tenancy};
use watertight_terms::Fault;
use watertight_watch::Performance;

use super::{Learned, Platform, lock};

const KEEP: Tell = Tell::new("y3", "SELECT watch.keep($1)");
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
        let read = BASE64_STANDARD.decode(text).ok();
        match read.and_then(|json| serde_json::from_slice(&json).ok()) {
            Some(learned) => *lock(&self.0.learned) = learned,
            None => tracing::warn!("what was learned cannot be read; it is learned anew"),
        }
        Ok(())
    }

    fn written(&self) -> Result<Vec<u8>, Fault> {
        let unwritten = |error: serde_json::Error| Fault::bug(format!("what was learned: {error}"));
        let mut learned = lock(&self.0.learned);
        let text = serde_json::to_vec(&*learned).map_err(unwritten)?;
        if text.len() <= BYTES_MOST {
            return Ok(text);
        }
        tracing::warn!(
            bytes = text.len(),
            "what was learned is too much to keep: routes are learned anew"
        );
        learned.performance = Performance::default();
        serde_json::to_vec::<Learned>(&learned).map_err(unwritten)
    }
}
