use jiff::Timestamp;
use watertight_terms::{Fault, TenantId};

use crate::Tenancy;

/// Work that is due in one studio: which studio and what kind, and nothing of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The studio.
    pub tenant: TenantId,
    /// What kind of work, a word that the product's tables schedule.
    pub kind: String,
}

const CLAIM: &str = "SELECT tenant, kind FROM jobs.claim($1)";
const DONE: &str = "SELECT jobs.done($1)";

impl Tenancy {
    /// Claims work that is due, of any studio that is active: for `lease_s` seconds nobody else gets
    /// it. Whoever dies meanwhile gives it back by that. `most` bounds what is looked at.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn claim(&self, most: u32, lease_s: u32) -> Result<Vec<Job>, Fault> {
        let fields = [most.to_string(), lease_s.to_string()];
        let rows = self
            .call_gate(CLAIM, "j1", &fields.each_ref().map(String::as_str))
            .await?;
        let job = |row: &crate::Row| {
            Ok(Job {
                tenant: TenantId(row.field("tenant")?),
                kind: row.field("kind")?,
            })
        };
        rows.iter().map(job).collect()
    }

    /// Forgets a job: whatever was due until `up_to` is done.
    ///
    /// # Errors
    /// When the database cannot be reached; the job then comes again.
    pub async fn done(&self, job: &Job, up_to: Timestamp) -> Result<(), Fault> {
        let fields = [
            job.tenant.to_string(),
            job.kind.clone(),
            up_to.as_microsecond().to_string(),
        ];
        self.call_gate(DONE, "j2", &fields.each_ref().map(String::as_str))
            .await
            .map(drop)
    }
}
