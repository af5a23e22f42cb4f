//! The pool of connections between two studios: whatever is cut off, nothing crosses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use studio::{
    demo::seed::marker,
    resources::artists::{Artist, actions},
};
use watertight_authority::Resource;
use watertight_tenancy::{Read, Stored};
use watertight_terms::{Entry, Random};

use crate::world::{Like, World};

const SLOW: Read = Read::new(
    "SELECT count(*) FROM studio.artists a, generate_series(1, 20000) WHERE a.tenant_id = $1 AND a.name <> $2",
);

/// A number below `below`; tests may be random where they assert what always holds.
fn any(below: u64) -> u64 {
    u64::from_be_bytes(Random::system().bytes()) % below
}

async fn open_transactions(world: &World) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND usename = 'studio_app' AND state LIKE 'idle in transaction%'";
    world.as_admin().await.value(sql, &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_dropped_at_any_instant_never_reaches_the_next_studio() {
    let world = Arc::new(
        World::like(Like {
            pool_max: 4,
            ..Like::default()
        })
        .await,
    );
    let wrong = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..800_usize {
        let (world, wrong) = (Arc::clone(&world), Arc::clone(&wrong));
        tasks.spawn(async move {
            let studio = round % 2;
            let caller = world.caller(studio, "owner").await;
            let work = async {
                let Ok(mut tx) = world.app.tenancy.begin(&caller, world.facts()).await else {
                    return;
                };
                let foreign = tx
                    .read(Artist::LOAD, &[&world.studios[1 - studio].artists[0]])
                    .await
                    .is_ok_and(|rows| !rows.is_empty());
                if foreign || tx.tenant().0 != world.studios[studio].tenant {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                let _ = tx.read(SLOW, &[&"x"]).await;
                let _ = tx.finish(Entry::new("artist.view", "artist")).await;
            };
            // Cut off anywhere from the first poll to the end.
            let _ = tokio::time::timeout(Duration::from_micros(any(20_000)), work).await;
        });
        if tasks.len() >= 16 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
    settle(&world).await;
    // The positive case: the pool still serves both studios, each its own.
    for studio in 0..2 {
        let (status, list) = world
            .send("GET", "/v1/artists", &world.token(studio, "owner"), None)
            .await;
        assert_eq!(status, 200);
        assert_eq!(list["items"].as_array().unwrap().len(), 3);
    }
}

/// Waits until what was cut off is rolled back, and fails when something stays open.
async fn settle(world: &World) {
    for _ in 0..100 {
        if open_transactions(world).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} transactions stay open", open_transactions(world).await);
}

#[tokio::test]
async fn a_transaction_dropped_between_statements_is_rolled_back_before_its_connection_is_used() {
    let world = World::like(Like {
        pool_max: 1,
        ..Like::default()
    })
    .await;
    for studio in [0, 1, 0, 1] {
        let caller = world.caller(studio, "owner").await;
        let tx = world
            .app
            .tenancy
            .begin(&caller, world.facts())
            .await
            .unwrap();
        assert_eq!(tx.tenant().0, world.studios[studio].tenant);
        drop(tx);
    }
    // And while a statement is under way: the connection itself is not used again.
    let caller = world.caller(0, "owner").await;
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let cut = tokio::time::timeout(Duration::from_millis(5), tx.read(SLOW, &[&"x"])).await;
    assert!(cut.is_err(), "the statement was over too soon to be cut");
    drop(tx);
    let other = world.caller(1, "owner").await;
    let mut tx = world
        .app
        .tenancy
        .begin(&other, world.facts())
        .await
        .unwrap();
    assert!(
        tx.read(Artist::LOAD, &[&world.studios[0].artists[0]])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        tx.read(Artist::LOAD, &[&world.studios[1].artists[0]])
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_setting_that_one_studio_left_in_the_session_is_not_the_next_ones() {
    let world = World::like(Like {
        pool_max: 1,
        ..Like::default()
    })
    .await;
    // What an injected set_config(…, false) would do, in a transaction that is then committed.
    const POISON: Read = Read::new(
        "SELECT set_config(s, v, false) FROM studio.artists,
           (VALUES ('tenancy.sealed', 'x'), ('row_security', 'off')) poison(s, v) WHERE tenant_id = $1",
    );
    let caller = world.caller(0, "owner").await;
    let entry = || Entry::new("artist.view", "artist");
    // The first sees the session first, and commits that; a read after it is rolled back; a change is committed.
    for changes in [false, false, true] {
        let begun = world.app.tenancy.begin(&caller, world.facts()).await;
        let mut tx = begun.unwrap();
        assert!(!tx.read(POISON, &[]).await.unwrap().is_empty());
        let ended = match changes {
            true => tx.commit(entry()).await,
            false => tx.finish(entry()).await,
        };
        ended.map(drop).unwrap();
        for _ in 0..2 {
            let (status, list) = world
                .send("GET", "/v1/artists", &world.token(1, "owner"), None)
                .await;
            let items = list["items"].as_array().map(Vec::len);
            assert_eq!((status, items), (200, Some(3)), "changes: {changes}");
        }
    }
}

/// Whatever a statement that reads should do besides: it is not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_reads_keeps_nothing_that_it_wrote() {
    let world = World::new().await;
    const WRITING: Read = Read::new(
        "SELECT tenancy.choose('Another name', NULL, NULL) FROM studio.artists WHERE tenant_id = $1 LIMIT 1",
    );
    let caller = world.caller(0, "owner").await;
    let name = async || {
        let sql = "SELECT name FROM tenancy.studios WHERE tenant_id = $1";
        let tenant = &world.studios[0].tenant;
        let name: String = world.as_admin().await.value(sql, &[tenant]).await.unwrap();
        name
    };
    let before = name().await;
    world
        .send("GET", "/v1/artists", &world.token(0, "owner"), None)
        .await;
    for (changes, expected) in [(false, before.as_str()), (true, "Another name")] {
        let begun = world.app.tenancy.begin(&caller, world.facts()).await;
        let mut tx = begun.unwrap();
        assert_eq!(tx.read(WRITING, &[]).await.unwrap().len(), 1);
        let entry = Entry::new("artist.view", "artist");
        let ended = match changes {
            true => tx.commit(entry).await,
            false => tx.finish(entry).await,
        };
        ended.map(drop).unwrap();
        assert_eq!(name().await, expected, "changes: {changes}");
    }
}

#[tokio::test]
async fn one_member_cannot_have_more_requests_under_way_than_allowed() {
    let world = Arc::new(
        World::like(Like {
            at_once_per_member: 2,
            ..Like::default()
        })
        .await,
    );
    // Two requests wait for a lock that somebody holds; their client goes away, their work does not.
    let holder = world.as_admin().await;
    let artist = world.studios[0].artists[0];
    holder
        .script(&format!(
            "BEGIN; SELECT 1 FROM studio.artists WHERE id = '{artist}' FOR UPDATE"
        ))
        .await
        .unwrap();
    let body = json!({ "artist_id": artist, "project_id": world.studios[0].projects[0], "starts_at": "2031-01-01T08:00:00Z", "ends_at": "2031-01-01T09:00:00Z" });
    for _ in 0..2 {
        let sent = world
            .send(
                "POST",
                "/v1/bookings",
                &world.token(0, "owner"),
                Some(body.clone()),
            )
            .await_for(200)
            .await;
        assert!(sent.is_none());
    }
    let (status, problem) = world
        .send("GET", "/v1/me", &world.token(0, "owner"), None)
        .await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (429, Some("/problems/too-many-requests"))
    );
    // Others have their own places, and the places come back.
    assert_eq!(
        world
            .send("GET", "/v1/me", &world.token(0, "manager"), None)
            .await
            .0,
        200
    );
    assert_eq!(
        world
            .send("GET", "/v1/me", &world.token(1, "owner"), None)
            .await
            .0,
        200
    );
    holder.script("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world
            .send("GET", "/v1/me", &world.token(0, "owner"), None)
            .await
            .0,
        200
    );
}

trait AwaitFor: Future + Sized {
    /// Waits at most so long, then goes away.
    async fn await_for(self, ms: u64) -> Option<Self::Output> {
        tokio::time::timeout(Duration::from_millis(ms), self)
            .await
            .ok()
    }
}

impl<F: Future> AwaitFor for F {}

#[tokio::test]
async fn an_error_in_the_middle_leaves_no_change_and_no_way_to_commit() {
    let world = World::new().await;
    let caller = world.caller(0, "owner").await;
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let id = world.studios[0].artists[0];
    let granted = tx.grant::<actions::Archive, Artist>(id).await.unwrap();
    assert_eq!(granted.id(), id);
    const ARCHIVE: watertight_tenancy::Change = watertight_tenancy::Change::new(
        "UPDATE studio.artists SET version = version + 1, archived_at = now()
         WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
    );
    const WRONG: Read = Read::new("SELECT 1 / 0 FROM studio.artists WHERE tenant_id = $1");
    let (spent, _row) = tx.change(granted, ARCHIVE, &[]).await.unwrap();
    assert_eq!(spent.noun(), Artist::NOUN);
    tx.read(WRONG, &[]).await.unwrap_err();
    tx.commit(Entry::new(spent.action(), spent.noun()))
        .await
        .unwrap_err();
    let archived: bool = world
        .as_admin()
        .await
        .value(
            "SELECT archived_at IS NOT NULL FROM studio.artists WHERE id = $1",
            &[&id],
        )
        .await
        .unwrap();
    assert!(!archived);
    assert_eq!(world.entries(0).await, 0);
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_pipeline_stops_what_follows_and_the_commit() {
    let world = World::new().await;
    let caller = world.caller(0, "owner").await;
    const WRONG: Read = Read::new("SELECT 1 / 0 FROM studio.artists WHERE tenant_id = $1");
    let artist = world.studios[0].artists[0];
    let good: [&(dyn watertight_tenancy::ToSql + Sync); 1] = [&artist];
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let answers = tx
        .reads(&[(Artist::LOAD, &good), (Artist::LOAD, &good)])
        .await
        .unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    tx.reads(&[(Artist::LOAD, &good), (WRONG, &[]), (Artist::LOAD, &good)])
        .await
        .unwrap_err();
    tx.finish(Entry::new("artist.view", "artist"))
        .await
        .unwrap_err();
    assert_eq!(world.entries(0).await, 0);
    // The connection is rolled back, not lost in the error.
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    assert_eq!(tx.read(Artist::LOAD, &[&artist]).await.unwrap().len(), 1);
}

/// 10,000 requests of both studios through a pool of 4, a tenth of them cut off midway.
// asvs: V15.4.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_interleaved_requests_leak_lose_and_break_nothing() {
    let world = Arc::new(
        World::like(Like {
            pool_max: 4,
            ..Like::default()
        })
        .await,
    );
    let tally = Arc::new(Tally::default());
    // The first ticket of a database begins its epoch.
    one(&world, &tally, 2).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000_usize {
        let (world, tally) = (Arc::clone(&world), Arc::clone(&tally));
        tasks.spawn(async move { one(&world, &tally, number).await });
        if tasks.len() >= 24 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    settle(&world).await;
    assert_eq!(tally.foreign.load(Ordering::Relaxed), 0, "foreign rows");
    assert_eq!(tally.broken.load(Ordering::Relaxed), 0, "5xx");
    assert!(tally.answered.load(Ordering::Relaxed) > 8_500);
    assert_no_acknowledged_write_lost(&world, &tally).await;
    // What was cut off before the server had read it never was a request. Every request that was
    // drew one ticket when it entered, and has exactly one entry with it, whoever still listened.
    let entries = accounted(&world).await;
    let answered = i64::try_from(tally.answered.load(Ordering::Relaxed)).unwrap();
    let cut = tally.cut.load(Ordering::Relaxed);
    assert!(entries >= answered);
    let without: i64 = missing(&world, &tally).await;
    assert_eq!(without, 0, "answered requests without an entry");
    println!(
        "10000 requests: {answered} answered, {cut} cut off, {entries} entries, 0 foreign, 0 lost, 0 broken"
    );
}

/// The number of entries, once every ticket that was drawn has one; those of requests whose client
/// went away may still be under way.
async fn accounted(world: &World) -> i64 {
    for _ in 0..200 {
        let entries = world.entries(0).await + world.entries(1).await;
        if (entries, entries) == tickets(world).await {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = world.entries(0).await + world.entries(1).await;
    panic!(
        "{entries} entries, but (drawn, entered) tickets are {:?}",
        tickets(world).await
    );
}

/// How many tickets were drawn, and how many different ones stand in entries.
async fn tickets(world: &World) -> (i64, i64) {
    let admin = world.as_admin().await;
    let drawn = "SELECT last_value & ((1::bigint << 40) - 1) FROM tenancy.ticket";
    let entered = "SELECT count(DISTINCT t) FROM ledger.entries, unnest(tickets) t";
    (
        admin.value(drawn, &[]).await.unwrap(),
        admin.value(entered, &[]).await.unwrap(),
    )
}

#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    cut: AtomicUsize,
    foreign: AtomicUsize,
    broken: AtomicUsize,
    written: std::sync::Mutex<Vec<uuid::Uuid>>,
    ids: std::sync::Mutex<Vec<uuid::Uuid>>,
}

async fn one(world: &World, tally: &Tally, number: usize) {
    let studio = number % 2;
    let token = world.token(studio, "owner");
    let mine = &world.studios[studio];
    let request = match number % 5 {
        0 => world
            .http
            .post(format!("{}/v1/artists", world.base))
            .json_body(json!({ "name": format!("{} {number}", marker(&mine.letter)) })),
        1 => world.http.get(format!(
            "{}/v1/artists/{}",
            world.base,
            world.studios[1 - studio].artists[0]
        )),
        2 => world.http.get(format!("{}/v1/bookings", world.base)),
        _ => world
            .http
            .get(format!("{}/v1/artists?limit=20", world.base)),
    };
    let sent = request.bearer_auth(token).send();
    let cut_after = (number % 10 == 7).then(|| Duration::from_micros(any(15_000)));
    let answer = async {
        let response = sent.await.unwrap();
        let status = response.status().as_u16();
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        (status, id, response.text().await.unwrap())
    };
    let answer = match cut_after {
        None => Some(answer.await),
        Some(limit) => tokio::time::timeout(limit, answer).await.ok(),
    };
    let Some((status, id, text)) = answer else {
        tally.cut.fetch_add(1, Ordering::Relaxed);
        return;
    };
    tally.answered.fetch_add(1, Ordering::Relaxed);
    tally.ids.lock().unwrap().push(id);
    if text.contains(marker(&world.studios[1 - studio].letter))
        || (number % 5 == 1 && status != 404)
    {
        tally.foreign.fetch_add(1, Ordering::Relaxed);
    }
    if status >= 500 {
        tally.broken.fetch_add(1, Ordering::Relaxed);
    }
    if status == 201 {
        let created: serde_json::Value = serde_json::from_str(&text).unwrap();
        tally
            .written
            .lock()
            .unwrap()
            .push(created["id"].as_str().unwrap().parse().unwrap());
    }
}

trait JsonBody {
    fn json_body(self, body: serde_json::Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: serde_json::Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }
}

async fn assert_no_acknowledged_write_lost(world: &World, tally: &Tally) {
    let written = tally.written.lock().unwrap().clone();
    assert!(written.len() > 1_500);
    let kept: i64 = world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM studio.artists WHERE id = ANY ($1)",
            &[&written],
        )
        .await
        .unwrap();
    assert_eq!(
        usize::try_from(kept).unwrap(),
        written.len(),
        "acknowledged writes"
    );
}

async fn missing(world: &World, tally: &Tally) -> i64 {
    let ids = tally.ids.lock().unwrap().clone();
    world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM unnest($1::uuid[]) id WHERE NOT EXISTS (SELECT FROM ledger.entries e WHERE e.entry_id = id)",
            &[&ids],
        )
        .await
        .unwrap()
}
