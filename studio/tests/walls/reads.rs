//! What it costs that every read has its entry: written together with others', as it is, and each in a
//! commit of its own, as it would be written otherwise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use studio::resources::artists::{Artist, actions::View};
use watertight_identity::Caller;
use watertight_terms::{Entry, Outcome};

use crate::{
    accounts::as_told,
    world::{Like, World},
};

/// So many ask at once.
const CLIENTS: usize = 128;
/// Each way is measured so often, in turn: a machine that is busy for a while is so for both.
const ROUNDS: usize = 5;
/// By how much the one way must be faster than the other.
const LEAST: f64 = 1.5;

#[derive(Clone, Copy)]
enum Way {
    Together,
    Alone,
}

/// Reads one row; its entry is durable when this returns.
async fn read(world: &World, caller: &Caller, way: Way) {
    let begun = world.app.tenancy.begin(caller, world.facts()).await;
    let mut tx = begun.unwrap_or_else(|refused| panic!("{}", refused.fault));
    let id = world.studios[0].artists[0];
    let granted = tx.grant::<View, Artist>(id).await.unwrap();
    tx.seen(granted).unwrap();
    let entry = Entry::new("artist.view", "artist").ids([id]);
    let entry = entry.ended(Outcome::Allowed, 200);
    match way {
        Way::Together => tx.finish(entry).await.map(drop),
        Way::Alone => tx.commit(entry).await.map(drop),
    }
    .unwrap();
}

/// How many reads a second.
async fn rate(world: &Arc<World>, caller: &Caller, way: Way, reads: usize) -> f64 {
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (world, caller) = (Arc::clone(world), caller.clone());
        clients.spawn(async move {
            for _ in (client..reads).step_by(CLIENTS) {
                read(&world, &caller, way).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    reads as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// With `WATERTIGHT_READS` it is measured, on a database whose commits are durable; else both ways are
/// only gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audited_read_costs_less_than_an_insert_of_its_own() {
    let reads = as_told("WATERTIGHT_READS", 0);
    let world = Arc::new(
        World::like(Like {
            pool_max: CLIENTS,
            ..Like::default()
        })
        .await,
    );
    let caller = world.caller(0, "owner").await;
    for way in [Way::Together, Way::Alone] {
        rate(&world, &caller, way, CLIENTS).await;
    }
    let admin = world.as_admin().await;
    let written = "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' = 'artist.view'";
    let written: i64 = admin.value(written, &[]).await.unwrap();
    assert_eq!(written, 2 * CLIENTS as i64);
    if reads == 0 {
        return;
    }
    let durable: String = admin.value("SHOW fsync", &[]).await.unwrap();
    assert_eq!(
        durable, "on",
        "commits cost nothing here: nothing would be measured"
    );
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        together.push(rate(&world, &caller, Way::Together, reads).await);
        alone.push(rate(&world, &caller, Way::Alone, reads).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (together, alone) = (median(together), median(alone));
    let ratio = together / alone;
    println!(
        "{together:.0} reads a second with their entries together, {alone:.0} with each alone: {ratio:.2}x"
    );
    assert!(ratio >= LEAST, "{ratio:.2}x of at least {LEAST}x");
}
