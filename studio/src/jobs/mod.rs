//! The worker: does what the clock asks for, in each studio as that studio's service.
//!
//! ```text
//! claim()                   which studios have work, and of what kind; nobody else gets it for a while
//! find()                    as `service:expiry` of the studio: what is due
//! work(), work(), …         each in a transaction of its own, with its entry
//! done()                    forgotten, when all of it went through
//! ```
//!
//! A worker that dies loses nothing: what is due stands in the rows themselves, and doing it makes it
//! due no more. What it had claimed comes back by the passing of time. Two workers at the same work do
//! it once: the second finds another version, or another state.

pub mod renewal;

use std::{future::Future, time::Duration};

use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::{Job, Tenancy, TenantTx};
use watertight_terms::{Fault, Kind, Request};

use crate::{
    app::{App, Desk},
    resources::bookings::due::Due,
};

/// The service as which it acts.
const EXPIRY: ServiceName = ServiceName::new("expiry");
/// At most so much is claimed at once.
const CLAIM_MOST: u32 = 50;

/// So often it looks for more work of one kind in a studio before it turns to others.
const ROUNDS_MOST: usize = 100;

/// How a worker goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// It looks for work so often.
    pub poll_ms: u64,
    /// What it claims is its own for so long.
    pub lease_s: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll_ms: 1_000,
            lease_s: 30,
        }
    }
}

/// Works until `stop` resolves; what is under way is let finish.
pub async fn work_until(app: &App, pace: Pace, stop: impl Future<Output = ()>) {
    let worker = Worker {
        tenancy: app.tenancy.clone(),
        desk: app.desk.clone(),
    };
    let mut stop = std::pin::pin!(stop);
    let mut renewing = std::pin::pin!(renewal::keep_renewing(app));
    let mut rounds = tokio::time::interval(Duration::from_millis(pace.poll_ms));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = &mut renewing => return,
            _ = rounds.tick() => {}
        }
        if let Err(fault) = worker.round(pace).await {
            tracing::warn!("looking for work: {fault}");
        }
    }
}

struct Worker {
    tenancy: Tenancy,
    desk: Desk,
}

impl Worker {
    async fn round(&self, pace: Pace) -> Result<(), Fault> {
        for job in self.tenancy.claim(CLAIM_MOST, pace.lease_s).await? {
            // One studio's trouble is not another's; it comes back when the claim has run out.
            if let Err(fault) = self.work(&job).await {
                tracing::warn!(tenant = %job.tenant, kind = job.kind, "work that is due: {fault}");
            }
        }
        Ok(())
    }

    async fn work(&self, job: &Job) -> Result<(), Fault> {
        let due = Due::parse(&job.kind)
            .ok_or_else(|| Fault::bug(format!("work of an unknown kind `{}`", job.kind)))?;
        let now = self.desk.clock.now();
        // Bounded: what conflicts each time is left for when the claim has run out.
        for _ in 0..ROUNDS_MOST {
            let ids = due.find(self.begin(job).await?, now).await?;
            if ids.is_empty() {
                return self.tenancy.done(job, now).await;
            }
            for id in ids {
                let worked = due.work(self.begin(job).await?, &self.desk, id).await;
                match worked {
                    // Somebody changed it at the same moment: the next look says whether it is due.
                    Err(fault) if fault.kind() == Kind::Conflict => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    async fn begin(&self, job: &Job) -> Result<TenantTx, Fault> {
        let request = Request {
            id: self.desk.random.uuid(),
            client_id: None,
            address: "worker".to_owned(),
            client: None,
            at: self.desk.clock.now(),
        };
        let caller = Caller::service(EXPIRY, job.tenant);
        let begun = self.tenancy.begin(&caller, request).await;
        begun.map_err(|refused| refused.fault)
    }
}
