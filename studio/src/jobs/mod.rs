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

pub mod archive;
pub mod drill;
mod evidence;
mod operators;
pub mod past;
pub mod renewal;
pub mod retention;

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use uuid::Uuid;
use watertight_custody::keeper;
use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::{Job, Tell, Tenancy, TenantTx};
use watertight_terms::{Entry, Fault, Kind, Outcome, Request, TenantId};

pub use operators::Operators;

use crate::{
    app::{App, Desk},
    custody::closing,
    resources::{alerts::learn, bookings::due::Due, exports::make, webhooks::tell},
};

/// As whom it acts, and how the ledger calls what came to nothing.
#[derive(Clone, Copy)]
struct Service {
    name: ServiceName,
    action: &'static str,
    noun: &'static str,
}

const EXPIRY: Service = Service {
    name: ServiceName::new("expiry"),
    action: "booking.work",
    noun: "booking",
};
const DELIVERY: Service = Service {
    name: ServiceName::new("delivery"),
    action: "delivery.work",
    noun: "delivery",
};
const WATCH: Service = Service {
    name: ServiceName::new("watch"),
    action: "watch.learn",
    noun: "alert",
};
/// The kind of work that is due when a studio's time has come.
const CLOSING: &str = "closing";
/// That a day has passed since an operator froze something in an emergency.
const INCIDENT: &str = "incident";
const LIFT: Tell = Tell::new("i4", "SELECT incident.lift_unconfirmed($1)");

/// At most so much is claimed at once.
const CLAIM_MOST: u32 = 50;

/// The kind of work that the triggers of bookings schedule where something is to be told.
const DELIVERIES: &str = "deliveries";
/// And that of the ledger, where entries are.
const ENTRIES: &str = "entries";
/// That of looking at new entries for what looks wrong.
const WATCHING: &str = "watch";
/// Every kind of work there is.
pub(crate) const KINDS: [&str; 10] = [
    DELIVERIES,
    ENTRIES,
    WATCHING,
    CLOSING,
    INCIDENT,
    retention::KIND,
    make::KIND,
    evidence::KIND,
    Due::Holds.name(),
    Due::Challenges.name(),
];
/// So many studios are told at once, and so much is told each.
const TELLING_MOST: usize = 8;
const AT_ONCE: usize = 4;

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
    let worker = Worker { app: app.clone() };
    let mut telling = JoinSet::new();
    // One at a time, which waits for nobody that studios tell.
    let mut warning = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut renewing = std::pin::pin!(renewal::keep_renewing(app));
    let mut rounds = tokio::time::interval(Duration::from_millis(pace.poll_ms));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = &mut renewing => break,
            _ = rounds.tick() => {}
        }
        if let Err(fault) = worker.round(pace, &mut telling).await {
            tracing::warn!("looking for work: {fault}");
        }
        while warning.try_join_next().is_some() {}
        if warning.is_empty() {
            let worker = worker.clone();
            warning.spawn(async move { worker.warn().await });
        }
    }
    while warning.join_next().await.is_some() {}
    while telling.join_next().await.is_some() {}
}

#[derive(Clone)]
struct Worker {
    app: App,
}

impl Worker {
    async fn round(&self, pace: Pace, telling: &mut JoinSet<()>) -> Result<(), Fault> {
        while telling.try_join_next().is_some() {}
        for job in self.app.tenancy.claim(CLAIM_MOST, pace.lease_s).await? {
            match (job.kind.as_str(), Due::parse(&job.kind)) {
                // Others' servers may be slow: nothing that is due here waits for them.
                (DELIVERIES | retention::KIND | CLOSING | make::KIND | evidence::KIND, _)
                    if telling.len() >= TELLING_MOST => {}
                (DELIVERIES, _) => {
                    let worker = self.clone();
                    telling.spawn(async move { worker.tell(&job).await });
                }
                (ENTRIES, _) => self.noted(&job, self.prepare(&job).await),
                (WATCHING, _) => self.noted(&job, self.watch(&job).await),
                (retention::KIND, _) => {
                    let worker = self.clone();
                    telling.spawn(async move { worker.noted(&job, worker.retain(&job).await) });
                }
                (CLOSING, _) => {
                    let worker = self.clone();
                    telling.spawn(async move { worker.noted(&job, worker.close(&job).await) });
                }
                (make::KIND, _) => {
                    let worker = self.clone();
                    let lease_s = pace.lease_s;
                    telling.spawn(
                        async move { worker.noted(&job, worker.export(&job, lease_s).await) },
                    );
                }
                (evidence::KIND, _) => {
                    let worker = self.clone();
                    telling.spawn(async move { worker.noted(&job, worker.show(&job).await) });
                }
                (INCIDENT, _) => self.noted(&job, self.lift(&job).await),
                (_, Some(due)) => self.noted(&job, self.expire(&job, due).await),
                (_, None) => self.noted(&job, Err(Fault::bug("work of an unknown kind"))),
            }
        }
        Ok(())
    }

    /// Tells operators what was noticed.
    async fn warn(&self) {
        if let Err(fault) = operators::tell(&self.app).await {
            tracing::warn!("telling operators: {fault}");
        }
    }

    /// Ends what ran out.
    async fn expire(&self, job: &Job, due: Due) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        // Bounded: what conflicts each time is left for when the claim has run out.
        for _ in 0..ROUNDS_MOST {
            let found = self.act(EXPIRY, job, None, async |tx| due.find(tx, now).await);
            let ids = found.await?;
            if ids.is_empty() {
                return self.app.tenancy.done(job, now).await;
            }
            for id in ids {
                let ended = async |tx| due.work(tx, &self.app.desk, id).await;
                unless_changed(self.act(EXPIRY, job, Some(id), ended).await)?;
            }
        }
        Ok(())
    }

    /// Makes deliveries of new entries of the ledger.
    async fn prepare(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        for _ in 0..ROUNDS_MOST {
            if !self.act(DELIVERY, job, None, tell::prepare).await? {
                return self.app.tenancy.done(job, now).await;
            }
        }
        Ok(())
    }

    /// Looks at new entries of the ledger.
    async fn watch(&self, job: &Job) -> Result<(), Fault> {
        let App { desk, config, .. } = &self.app;
        let now = desk.clock.now();
        for _ in 0..ROUNDS_MOST {
            let look = async |tx| learn::look(tx, desk, &config.watch).await;
            if !self.act(WATCH, job, None, look).await? {
                return self.app.tenancy.done(job, now).await;
            }
        }
        Ok(())
    }

    /// Lets go of what was kept for long enough.
    async fn retain(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        retention::run(&self.app, job.tenant, |_| {}).await?;
        keeper::again(&self.app.tenancy, job.tenant).await?;
        self.app.tenancy.done(job, now).await
    }

    /// Closes what is to be closed, if its time has come.
    async fn close(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        closing::shred(&self.app, job.tenant, |_| {}).await?;
        self.app.tenancy.done(job, now).await
    }

    /// Makes what was asked to be given out, and ends what is over. What another worker makes comes again.
    async fn export(&self, job: &Job, lease_s: u32) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        if make::work(&self.app, job.tenant, lease_s).await? {
            self.app.tenancy.done(job, now).await?;
        }
        Ok(())
    }

    /// Makes the evidence that operators asked for. What another worker makes comes again.
    async fn show(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        if evidence::work(&self.app, job.tenant).await? {
            self.app.tenancy.done(job, now).await?;
        }
        Ok(())
    }

    /// Lifts what no second operator has confirmed.
    async fn lift(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        let tenant = job.tenant.to_string();
        self.app.tenancy.tell(LIFT, &[&tenant]).await?;
        self.app.tenancy.done(job, now).await
    }

    /// Tells what is to be told, some of it at once.
    async fn tell(&self, job: &Job) {
        self.noted(job, self.deliver(job).await);
    }

    async fn deliver(&self, job: &Job) -> Result<(), Fault> {
        let now = self.app.desk.clock.now();
        for _ in 0..ROUNDS_MOST {
            let due = async |tx| tell::due(tx, now).await;
            let ids = self.act(DELIVERY, job, None, due).await?;
            if ids.is_empty() {
                return self.app.tenancy.done(job, now).await;
            }
            let told = ids.into_iter().map(|id| self.deliver_one(job, id));
            let mut told = stream::iter(told).buffer_unordered(AT_ONCE);
            while let Some(one) = told.next().await {
                unless_changed(one)?;
            }
        }
        Ok(())
    }

    async fn deliver_one(&self, job: &Job, id: Uuid) -> Result<(), Fault> {
        // Under way until it is told or cut off: what was read goes to nobody once the studio is frozen.
        let flight = self.app.tenancy.flight(job.tenant, "service:delivery");
        let take = async |tx| tell::take(tx, &self.app.desk, id).await;
        let Some(letter) = self.act(DELIVERY, job, Some(id), take).await? else {
            return Ok(());
        };
        let outcome = tokio::select! {
            outcome = tell::send(&self.app.desk, &letter) => outcome?,
            () = flight.cut() => return Err(Fault::unavailable("the studio was frozen", 5)),
        };
        let settle = async |tx| tell::settle(tx, &self.app.desk, &letter, outcome).await;
        self.act(DELIVERY, job, Some(id), settle).await
    }

    /// One studio's trouble is not another's; what failed comes back when the claim has run out.
    fn noted(&self, job: &Job, worked: Result<(), Fault>) {
        self.app.platform.worked(&job.kind, worked.is_ok());
        if let Err(fault) = worked {
            tracing::warn!(tenant = %job.tenant, kind = job.kind, "work that is due: {fault}");
        }
    }

    /// Works in a transaction of that service. What came to nothing has its entry too, as a request has.
    async fn act<T>(
        &self,
        service: Service,
        job: &Job,
        row: Option<Uuid>,
        work: impl AsyncFnOnce(TenantTx) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let tx = begin(
            &self.app.tenancy,
            &self.app.desk,
            service.name,
            job.tenant,
            "worker",
        )
        .await?;
        let account = tx.account().clone();
        let worked = work(tx).await;
        if let Err(fault) = &worked
            && !account.is_settled()
        {
            let entry = Entry::new(service.action, service.noun)
                .ids(row)
                .rule(fault.slug())
                .ended(Outcome::Failed, 500);
            self.app.tenancy.record(&account, &entry).await.map(drop)?;
        }
        worked
    }
}

/// A transaction of a service of that studio. `from` is what the ledger calls where it asks from.
async fn begin(
    tenancy: &Tenancy,
    desk: &Desk,
    service: ServiceName,
    studio: TenantId,
    from: &str,
) -> Result<TenantTx, Fault> {
    let caller = Caller::service(service, studio);
    let begun = tenancy.begin(&caller, request(desk, from)).await;
    begun.map_err(|refused| refused.fault)
}

/// A request of our own.
fn request(desk: &Desk, from: &str) -> Request {
    Request {
        id: desk.random.uuid(),
        client_id: None,
        address: from.to_owned(),
        client: None,
        at: desk.clock.now(),
    }
}

/// Somebody changed it at the same moment: the next look says whether it is due.
fn unless_changed(worked: Result<(), Fault>) -> Result<(), Fault> {
    match worked {
        Err(fault) if fault.kind() == Kind::Conflict => Ok(()),
        other => other,
    }
}
