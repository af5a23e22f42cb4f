//! What it costs that every read has its entry: written together with others', in one round trip or step by step, as it is
//! done; and each in the transaction of its own request, as it would be done otherwise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use studio::{
    app::App,
    resources::projects::{Project, actions::View},
};
use tokio::task::JoinSet;
use uuid::Uuid;
use watertight_identity::Caller;
use watertight_terms::{Entry, Fault, Outcome, Request};

use crate::Trouble;

/// So many ask at once.
pub(crate) const CLIENTS: usize = 128;
/// Each way is measured so often, in turn: a machine that is busy for a while is so for both.
const ROUNDS: usize = 5;

/// How a row is read, and its entry written.
#[derive(Clone, Copy)]
enum Way {
    /// As the product shows one row: in one round trip, its entry with others'.
    Looked,
    /// Step by step, its entry with others'.
    Together,
    /// Step by step, its entry in the transaction.
    Alone,
}

const WAYS: [Way; 3] = [Way::Looked, Way::Together, Way::Alone];

/// Who reads what.
pub(crate) struct Reader {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    pub(crate) project: Uuid,
}

impl Reader {
    /// Reads one row; its entry is durable when this returns.
    async fn read(&self, way: Way) -> Result<(), Fault> {
        let (tenancy, id) = (&self.app.tenancy, self.project);
        let entry = Entry::new("project.view", "project").ids([id]);
        let entry = entry.ended(Outcome::Allowed, 200);
        if let Way::Looked = way {
            let looked = tenancy.look::<Project>(&self.caller, self.facts(), id);
            let looked = looked.await.map_err(|refused| refused.fault)?;
            let (_project, sight) = looked.seen::<View>()?;
            return sight.finish(entry).await.map(drop);
        }
        let begun = tenancy.begin(&self.caller, self.facts()).await;
        let mut tx = begun.map_err(|refused| refused.fault)?;
        let granted = tx.grant::<View, Project>(id).await?;
        tx.seen(granted)?;
        match way {
            Way::Looked | Way::Together => tx.finish(entry).await.map(drop),
            Way::Alone => tx.commit(entry).await.map(drop),
        }
    }

    fn facts(&self) -> Request {
        Request {
            id: self.app.random.uuid(),
            client_id: None,
            address: "127.0.0.1".to_owned(),
            client: None,
            at: self.app.clock.now(),
        }
    }
}

/// The pools that are tried: the product's own, and a connection for each client.
pub(crate) const POOLS: [usize; 2] = [16, CLIENTS];

/// Measures all ways over both pools with `reads` reads each, five times in turn. Gives how much faster a look is than an entry
/// in the request's transaction, when each client has its connection, and says all medians: another pool must not do as well.
pub(crate) async fn compare(readers: [Reader; 2], reads: usize) -> Result<(f64, String), Trouble> {
    let readers = readers.map(Arc::new);
    for reader in &readers {
        fill_pool(reader).await?;
        for way in WAYS {
            rate(reader, way, CLIENTS).await?;
        }
    }
    let mut rates: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (reader, rates) in readers.iter().zip(&mut rates) {
            for (way, rates) in WAYS.into_iter().zip(rates) {
                rates.push(rate(reader, way, reads).await?);
            }
        }
    }
    let [small, large] = rates.map(|pool| pool.map(middle));
    let said = |connections: usize, [looked, together, alone]: [f64; 3]| {
        format!(
            "{looked:.0} a second over {connections} connections, {alone:.0} with each entry in its request's transaction: {:.2} times ({together:.0} step by step: {:.2} times)",
            looked / alone,
            together / alone
        )
    };
    let [looked, _, alone] = large;
    Ok((
        looked / alone,
        format!(
            "a read of one row with its entry, {CLIENTS} clients: {}; {}",
            said(POOLS[1], large),
            said(POOLS[0], small)
        ),
    ))
}

/// How many reads a second.
async fn rate(reader: &Arc<Reader>, way: Way, reads: usize) -> Result<f64, Trouble> {
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let reader = Arc::clone(reader);
        clients.spawn(async move {
            for _ in (client..reads).step_by(CLIENTS) {
                reader.read(way).await?;
            }
            Ok::<_, Fault>(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done?.map_err(|fault| fault.to_string())?;
    }
    Ok(reads as f64 / started.elapsed().as_secs_f64())
}

/// Makes all connections: on a small machine not all of them are made in time at once.
async fn fill_pool(reader: &Arc<Reader>) -> Result<(), Trouble> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let reader = Arc::clone(reader);
        clients.spawn(async move {
            while reader.read(Way::Together).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(120), clients.join_all())
        .await
        .map_err(|_elapsed| "the connections were not made within two minutes")?;
    Ok(())
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
