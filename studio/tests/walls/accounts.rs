//! Every access has its entry: those of reads are written together, a change's is part of the change, and
//! what has none is found.

use std::{
    pin::pin,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use studio::commands::{Gap, gaps, last_ticket, reader, write_private};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;
use watertight_identity::{Caller, ServiceName};
use watertight_tenancy::support::{RawConnection, state};
use watertight_terms::{Entry, Outcome, Random, TenantId};

use crate::{
    on_duty::{self, Operators},
    process::Process,
    world::{Like, World},
};

fn any(below: u64) -> u64 {
    u64::from_be_bytes(Random::system().bytes()) % below
}

/// So many, or as the environment says.
fn as_told(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// The leaf of the newest entry with an action.
async fn leaf(world: &World, action: &str) -> Value {
    let text: String = world
        .as_admin()
        .await
        .value(
            "SELECT leaf FROM ledger.entries WHERE body ->> 'action' = $1 ORDER BY at DESC LIMIT 1",
            &[&action],
        )
        .await
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with the tickets, once nothing is under way any more.
pub(crate) async fn wrong(world: &World) -> Vec<Gap> {
    let reader = reader(&world.config).await.unwrap();
    let mut found = Vec::new();
    for _ in 0..100 {
        found = gaps(&reader, last_ticket(&reader).await.unwrap())
            .await
            .unwrap();
        if found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    found
}

#[tokio::test]
async fn an_entry_has_the_rows_and_columns_that_were_changed_and_no_value() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let body = json!({ "name": "Ada Changed", "email": "ada@example.org" });
    let (status, artist) = world.send("POST", "/v1/artists", &token, Some(body)).await;
    assert_eq!(status, 201);
    let made = leaf(&world, "artist.create").await;
    let change = &made["changes"][0];
    assert_eq!(
        (&change["table"], &change["id"]),
        (&json!("studio.artists"), &artist["id"])
    );
    let columns = change["columns"].as_array().unwrap();
    assert!(columns.contains(&json!("name")) && columns.contains(&json!("email")));
    assert!(
        !columns.contains(&json!("phone")),
        "a column that stayed empty: {columns:?}"
    );
    assert!(!made.to_string().contains("Ada"), "{made}");
    let path = format!("/v1/artists/{}", artist["id"].as_str().unwrap());
    let rename = json!({ "notes": "n" });
    assert_eq!(
        world.send("PATCH", &path, &token, Some(rename)).await.0,
        200
    );
    let changed = leaf(&world, "artist.change").await;
    let columns = &changed["changes"][0]["columns"];
    assert_eq!(*columns, json!(["notes", "updated_at", "version"]));
    // A read, and a change that was refused, have none.
    assert_eq!(world.send("GET", &path, &token, None).await.0, 200);
    assert_eq!(leaf(&world, "artist.view").await["changes"], json!([]));
}

#[tokio::test]
async fn a_change_of_the_app_role_without_an_entry_is_an_entry() {
    let world = World::new().await;
    let raw = world.as_app().await;
    let (mine, artist) = (world.studios[0].tenant, world.studios[0].artists[0]);
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "manager")])
        .await
        .unwrap();
    raw.run(
        "UPDATE studio.artists SET notes = 'x' WHERE tenant_id = $1 AND id = $2",
        &[&mine, &artist],
    )
    .await
    .unwrap();
    raw.script("COMMIT").await.unwrap();
    let found = leaf(&world, "database.change").await;
    assert_eq!(found["entry"]["rule"], "unaccounted");
    assert_eq!(found["entry"]["role"], "manager");
    assert_eq!(found["entry"]["tenant"], json!(mine));
    assert_eq!(
        found["changes"],
        json!([{ "table": "studio.artists", "id": artist, "columns": ["notes"] }])
    );
    // Rolled back, nothing happened and nothing is written; shed of its context, it is refused.
    let count = "SELECT count(*) FROM ledger.entries WHERE body ->> 'rule' = 'unaccounted'";
    for (sql, expected) in [
        ("UPDATE studio.artists SET notes = 'y'", None),
        (
            "UPDATE studio.artists SET notes = 'y' RETURNING set_config('tenancy.sealed', '', true)",
            Some("ZT023"),
        ),
    ] {
        raw.script("BEGIN").await.unwrap();
        raw.run("SELECT tenancy.enter($1)", &[&world.context(0, "manager")])
            .await
            .unwrap();
        let refused = raw.run(sql, &[]).await.err();
        assert_eq!(refused.as_ref().map(state), expected, "{sql}");
        raw.script("ROLLBACK").await.unwrap();
    }
    assert_eq!(
        world
            .as_admin()
            .await
            .value::<i64>(count, &[])
            .await
            .unwrap(),
        1
    );
    // Every request of the product accounts for what it changes.
    assert_eq!(
        world
            .send(
                "POST",
                "/v1/artists",
                &world.token(0, "owner"),
                Some(json!({ "name": "A" }))
            )
            .await
            .0,
        201
    );
    assert_eq!(
        world
            .as_admin()
            .await
            .value::<i64>(count, &[])
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn what_a_migration_changes_is_an_entry_in_every_studio_it_touched() {
    let world = World::new().await;
    let url = world.config.database.owner_url.clone().unwrap();
    let raw = RawConnection::connect(&url).await.unwrap();
    raw.script(
        "BEGIN; SET LOCAL ROLE studio_owner; SELECT tenancy.open_backfill('studio.artists', ARRAY['notes']);
         SET LOCAL ROLE studio_backfill; SET LOCAL row_security = on; UPDATE studio.artists SET notes = 'm';
         SET LOCAL ROLE studio_owner; SELECT tenancy.close_backfill('studio.artists'); COMMIT",
    )
    .await
    .unwrap();
    let entries: Vec<String> = world
        .as_admin()
        .await
        .value(
            "SELECT array_agg(body ->> 'actor' || ' ' || jsonb_array_length(leaf::jsonb -> 'changes') ORDER BY tenant_id)
             FROM ledger.entries WHERE body ->> 'action' = 'database.migrate'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        entries,
        ["operator:studio_migrate 3", "operator:studio_migrate 3"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_reads_share_a_commit_and_a_changes_entry_is_in_its_own() {
    let world = Arc::new(
        World::like(Like {
            pool_max: 8,
            ..Like::default()
        })
        .await,
    );
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_usize {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let token = world.token(number % 2, "owner");
            world.send("GET", "/v1/bookings", &token, None).await
        });
    }
    while let Some(answer) = tasks.join_next().await {
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    let admin = world.as_admin().await;
    let commits: i64 = admin
        .value(
            "SELECT count(DISTINCT xmin::text) FROM ledger.entries WHERE body ->> 'action' = 'booking.view'",
            &[],
        )
        .await
        .unwrap();
    assert!(commits < 150, "200 reads took {commits} commits");
    let token = world.token(0, "owner");
    let (_, made) = world
        .send("POST", "/v1/artists", &token, Some(json!({ "name": "A" })))
        .await;
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let together: bool = admin
        .value(
            "SELECT a.xmin::text = e.xmin::text FROM studio.artists a, ledger.entries e
             WHERE a.id = $1 AND e.body -> 'ids' ->> 0 = $1::text AND e.body ->> 'action' = 'artist.create'",
            &[&id],
        )
        .await
        .unwrap();
    assert!(together);
    assert_eq!(wrong(&world).await, []);
}

/// A read gives its connection back before its entry is durable; its answer waits, and whoever freezes the studio waits for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_that_has_returned_finds_the_entry_of_whatever_was_answered() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let process = Process::serve(&world).await;
    let admin = world.as_admin().await;
    admin
        .script(&nap_before_entries_of("artist.view"))
        .await
        .unwrap();
    let holder = world.as_admin().await;
    holder
        .script(&format!("SELECT pg_advisory_lock({NAP})"))
        .await
        .unwrap();
    let id = operators.open(&["--emergency"]).await;
    let is_answered = AtomicBool::new(false);
    let reading = async {
        let answered = on_duty::ask(&world, &process.base, 0, "owner").await;
        is_answered.store(true, Ordering::Release);
        answered.0
    };
    let freezing = async {
        naps(&admin).await;
        let freeze = ["freeze", "--incident", &id];
        let mut frozen = pin!(operators.run(0, &freeze));
        let early = tokio::time::timeout(Duration::from_millis(900), &mut frozen).await;
        assert!(early.is_err(), "an answer waits for its entry: {early:?}");
        assert!(!is_answered.load(Ordering::Acquire), "without its entry");
        let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'studio_app' AND state = 'idle in transaction'
            AND datname = current_database()";
        assert_eq!(admin.value::<i64>(held, &[]).await.unwrap(), 0);
        holder
            .script(&format!("SELECT pg_advisory_unlock({NAP})"))
            .await
            .unwrap();
        let said = frozen.await;
        assert_eq!(said.code, 0, "{said:?}");
        admin.value::<i64>(VIEWS, &[]).await.unwrap()
    };
    let (status, seen) = tokio::join!(reading, freezing);
    // Its answer may have been cut off, which no client takes for one.
    assert_eq!((status, seen), (200, 1));
}

/// Commands are no processes that confirm a freeze: what a service reads is waited for by its lock.
#[tokio::test]
async fn a_service_holds_the_studios_lock_until_its_entry_is_durable() {
    let world = World::new().await;
    let (admin, holder) = (world.as_admin().await, world.as_admin().await);
    admin
        .script(&nap_before_entries_of("artist.view"))
        .await
        .unwrap();
    holder
        .script(&format!("SELECT pg_advisory_lock({NAP})"))
        .await
        .unwrap();
    let tenant = TenantId(world.studios[0].tenant);
    let caller = Caller::service(ServiceName::new("custody"), tenant);
    let begun = world.app.tenancy.begin(&caller, world.facts()).await;
    let tx = begun.map_err(|refused| refused.fault).unwrap();
    let entry = Entry::new("artist.view", "artist").ended(Outcome::Allowed, 200);
    let looking = async {
        naps(&admin).await;
        let held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.granted";
        let held = admin.value::<i64>(held, &[]).await.unwrap();
        holder
            .script(&format!("SELECT pg_advisory_unlock({NAP})"))
            .await
            .unwrap();
        held
    };
    let (read, held) = tokio::join!(tx.finish(entry), looking);
    let _receipt = read.unwrap();
    assert_eq!(held, 1);
    assert_eq!(admin.value::<i64>(VIEWS, &[]).await.unwrap(), 1);
}

pub(crate) const NAP: u32 = 4_711;
const VIEWS: &str = "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' = 'artist.view' AND body ->> 'outcome' = 'allowed'";

/// What makes whoever writes an entry of an action wait while somebody has the lock.
pub(crate) fn nap_before_entries_of(action: &str) -> String {
    format!(
        "CREATE FUNCTION ledger.nap() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN PERFORM pg_advisory_xact_lock_shared({NAP}); RETURN NEW; END $$;
         CREATE TRIGGER nap BEFORE INSERT ON ledger.entries FOR EACH ROW WHEN (NEW.leaf LIKE '%\"{action}\"%')
         EXECUTE FUNCTION ledger.nap()"
    )
}

/// Returns when an entry waits for that lock.
pub(crate) async fn naps(admin: &RawConnection) {
    let waiting = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = {NAP} AND locktype = 'advisory'"
    );
    for _ in 0..200 {
        if admin.value::<i64>(&waiting, &[]).await.unwrap() > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no entry is being written");
}

#[tokio::test]
async fn a_context_that_was_entered_and_never_written_of_is_found_by_its_number() {
    let world = World::new().await;
    for studio in [0, 1] {
        world
            .send("GET", "/v1/artists", &world.token(studio, "owner"), None)
            .await;
    }
    assert_eq!(wrong(&world).await, []);
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    let number: i64 = raw
        .value(
            "SELECT number FROM tenancy.enter($1)",
            &[&world.context(0, "owner")],
        )
        .await
        .unwrap();
    raw.script("ROLLBACK").await.unwrap();
    world
        .send("GET", "/v1/artists", &world.token(0, "owner"), None)
        .await;
    let found = wrong(&world).await;
    let [gap] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((gap.what, gap.count), ("missing", 1));
    assert_eq!(gap.first, (number >> 40, number & ((1 << 40) - 1)));
    assert!(gap.after.is_some());
    // The last number of all is found too, and one that stands in two entries.
    let admin = world.as_admin().await;
    admin
        .script("UPDATE ledger.entries SET tickets = '{}' WHERE tickets = (SELECT max(tickets) FROM ledger.entries)")
        .await
        .unwrap();
    let missing = wrong(&world).await.iter().map(|gap| gap.count).sum::<i64>();
    assert_eq!(missing, 2);
    admin
        .script("UPDATE ledger.entries SET tickets = (SELECT min(tickets) FROM ledger.entries WHERE tickets <> '{}') WHERE tickets <> '{}'")
        .await
        .unwrap();
    assert!(wrong(&world).await.iter().any(|gap| gap.what == "twice"));
}

/// Requests of every kind, some of whose clients vanish and some of whose backends are ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_mixed_requests_every_ticket_has_its_entry() {
    let requests = as_told("WATERTIGHT_REQUESTS", 400);
    let world = Arc::new(World::new().await);
    let answered: Arc<Mutex<Vec<Uuid>>> = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..requests {
        if number % 40 == 20 {
            end_a_backend(&world).await;
        }
        let (world, answered) = (Arc::clone(&world), Arc::clone(&answered));
        tasks.spawn(async move { mixed(&world, &answered, number).await });
        if tasks.len() >= 16 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    // A backend that is ended between drawing a number and telling it leaves one that nobody knows of:
    // nothing was read with it. None other is missing, and none is there twice.
    let ended = requests.div_ceil(40);
    let found = wrong(&world).await;
    let missing: i64 = found.iter().map(|gap| gap.count).sum();
    assert!(found.iter().all(|gap| gap.what == "missing"), "{found:?}");
    assert!(missing <= i64::try_from(ended).unwrap(), "{found:?}");
    let answered = answered.lock().unwrap().clone();
    assert!(answered.len() > requests / 2);
    let without: i64 = world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM unnest($1::uuid[]) id WHERE (SELECT count(*) FROM ledger.entries e WHERE e.entry_id = id) <> 1",
            &[&answered],
        )
        .await
        .unwrap();
    assert_eq!(without, 0, "answered requests without exactly one entry");
    println!(
        "{requests} requests, {} answered, {ended} backends ended, {missing} numbers drawn by them",
        answered.len()
    );
}

async fn mixed(world: &World, answered: &Mutex<Vec<Uuid>>, number: usize) {
    let studio = number % 2;
    let token = world.token(
        studio,
        ["owner", "manager", "freelancer", "guest"][number % 4],
    );
    let foreign = format!("/v1/artists/{}", world.studios[1 - studio].artists[0]);
    let (method, path, body) = match number % 7 {
        0 => (
            "POST",
            "/v1/artists",
            Some(json!({ "name": format!("M {number}") })),
        ),
        1 => ("GET", foreign.as_str(), None),
        2 => ("POST", "/v1/artists", Some(json!({ "nome": 1 }))),
        3 => ("GET", "/v1/bookings?limit=1000", None),
        4 => return vanish(world, &token).await,
        _ => ("GET", "/v1/artists", None),
    };
    let url = format!("{}{path}", world.base);
    let mut request = world
        .http
        .request(method.parse().unwrap(), url)
        .bearer_auth(&token);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let limit = match number % 10 {
        9 => Duration::from_micros(any(20_000)),
        _ => Duration::from_secs(60),
    };
    let Ok(Ok(response)) = tokio::time::timeout(limit, request.send()).await else {
        return;
    };
    // One that could not even enter is answered that it may come again: nobody knows whose it was.
    if response.status() != 503 {
        let id = response.headers()["x-request-id"].to_str().unwrap();
        answered.lock().unwrap().push(id.parse().unwrap());
    }
}

/// A client that sends a request and is gone.
async fn vanish(world: &World, token: &str) {
    let address = world.base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/artists HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_micros(any(5_000))).await;
}

async fn end_a_backend(world: &World) {
    let end = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
               WHERE datname = current_database() AND usename = 'studio_app' ORDER BY random() LIMIT 1) one";
    world.as_admin().await.value::<i64>(end, &[]).await.unwrap();
}

/// A server of its own process, under load, killed at whatever instant: nothing that it answered is
/// missing in the ledger, and no change that it acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_server_that_is_killed_nothing_that_was_answered_is_missing() {
    let world = Arc::new(World::new().await);
    let answers = Arc::new(AtomicUsize::new(0));
    for _ in 0..as_told("WATERTIGHT_KILLS", 2) {
        let (mut child, base) = serve(&world).await;
        let ids: Arc<Mutex<Vec<Uuid>>> = Arc::default();
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8_usize {
            let (world, ids, base) = (Arc::clone(&world), Arc::clone(&ids), base.clone());
            clients.spawn(async move { while ask(&world, &base, client, &ids).await {} });
        }
        while ids.lock().unwrap().len() < 30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(any(200))).await;
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        let ids = ids.lock().unwrap().clone();
        answers.fetch_add(ids.len(), Ordering::Relaxed);
        let without: i64 = world
            .as_admin()
            .await
            .value(
                "SELECT count(*) FROM unnest($1::uuid[]) id WHERE NOT EXISTS (SELECT FROM ledger.entries e WHERE e.entry_id = id)",
                &[&ids],
            )
            .await
            .unwrap();
        assert_eq!(without, 0);
    }
    println!(
        "{} answers before the kills, each with its entry",
        answers.load(Ordering::Relaxed)
    );
}

/// One request; false when the server is gone.
async fn ask(world: &World, base: &str, client: usize, ids: &Mutex<Vec<Uuid>>) -> bool {
    let token = world.token(client % 2, "owner");
    let request = match client % 3 {
        0 => world
            .http
            .post(format!("{base}/v1/artists"))
            .header("content-type", "application/json")
            .body(json!({ "name": format!("K {client}") }).to_string()),
        _ => world.http.get(format!("{base}/v1/bookings")),
    };
    match request.bearer_auth(token).send().await {
        Ok(response) => {
            let id = response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            // The whole answer, or it was none.
            if response.bytes().await.is_ok() {
                ids.lock().unwrap().push(id);
            }
            true
        }
        Err(_) => false,
    }
}

/// The product's own program, serving the world's database.
async fn serve(world: &World) -> (Child, String) {
    let folder = world.config.keys.location.parent().unwrap();
    let text = std::fs::read_to_string(folder.join("studio.toml")).unwrap();
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let key = folder.join("clerk.pem");
    write_private(&key, &public_pem(&world.double.private_key_pem())).unwrap();
    let text = text.replace("127.0.0.1:0", &address.to_string()).replace(
        "jwks_url = \"https://clerk.watertight.test/jwks\"",
        &format!("jwt_key_file = \"{}\"", key.display()),
    );
    let config = folder.join("child.toml");
    write_private(&config, &text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_studio"))
        .args(["--config", &config.display().to_string(), "serve"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let base = format!("http://{address}");
    for _ in 0..200 {
        if world
            .http
            .get(format!("{base}/openapi.json"))
            .send()
            .await
            .is_ok()
        {
            return (child, base);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the child does not serve");
}

fn public_pem(private: &str) -> String {
    use aws_lc_rs::{encoding::AsDer, rsa::KeyPair, signature::KeyPair as _};
    use base64::{Engine, prelude::BASE64_STANDARD};
    let lines = private.lines().filter(|line| !line.starts_with("-----"));
    let der = BASE64_STANDARD.decode(lines.collect::<String>()).unwrap();
    let pair = KeyPair::from_pkcs8(&der).unwrap();
    let public =
        AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        BASE64_STANDARD.encode(public.as_ref())
    )
}
