//! What a studio tells others of its bookings: signed, at least once, whoever dies; to whom its owners
//! said, and to nothing inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use studio::{
    app::App,
    jobs::{Pace, work_until},
};
use tokio::net::TcpListener;
use watertight_terms::{Clock, Key, Random, hmac_sha256};

use crate::{
    worker::spawn_with,
    world::{World, verifier},
};

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) at_s: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// Somebody who is told, and answers as `answer` says.
#[derive(Clone)]
pub(crate) struct Listener {
    told: Arc<Mutex<Vec<Told>>>,
    answer: Arc<Mutex<u16>>,
    address: SocketAddr,
}

impl Listener {
    pub(crate) async fn new(answer: u16) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same, where somebody listened already.
    pub(crate) fn on(listener: TcpListener, answer: u16) -> Self {
        let this = Self {
            told: Arc::default(),
            answer: Arc::new(Mutex::new(answer)),
            address: listener.local_addr().unwrap(),
        };
        let router = Router::new()
            .route("/hook", post(hear))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    /// What a list of allowed addresses says of it.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers with another status from now on.
    pub(crate) fn answer(&self, status: u16) {
        *self.answer.lock().unwrap() = status;
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

async fn hear(
    State(listener): State<Listener>,
    headers: HeaderMap,
    body: String,
) -> axum::response::Response {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    listener.told.lock().unwrap().push(Told {
        id: header("webhook-id"),
        at_s: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
    });
    let status = *listener.answer.lock().unwrap();
    axum::response::Response::builder()
        .status(status)
        .header("location", "http://127.0.0.1:1/elsewhere")
        .body("noted".into())
        .unwrap()
}

/// A server over the same database that may reach these.
pub(crate) fn reaching(world: &World, listeners: &[&Listener]) -> App {
    let addresses = listeners.iter().map(|one| one.address.to_string());
    reaching_at(world, addresses.collect())
}

/// The same, by addresses.
pub(crate) fn reaching_at(world: &World, addresses: Vec<String>) -> App {
    let mut config = world.config.clone();
    config.outbound.allow = addresses;
    let (clock, random) = (Clock::system(), Random::system());
    App::new(config, verifier(&world.double), clock, random).unwrap()
}

/// A webhook of a studio, made where it may lead; gives its id and its secret.
async fn webhook(world: &World, app: &App, studio: usize, url: &str) -> (String, String) {
    hook(world, app, studio, json!({ "url": url })).await
}

/// The same, as its body says.
pub(crate) async fn hook(world: &World, app: &App, studio: usize, body: Value) -> (String, String) {
    let base = crate::world::serve(app).await;
    let made = world
        .http
        .post(format!("{base}/v1/webhooks"))
        .bearer_auth(world.token(studio, "owner"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = serde_json::from_str(&made.text().await.unwrap()).unwrap();
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

pub(crate) const FAST: Pace = Pace {
    poll_ms: 20,
    lease_s: 1,
};

/// Works until it is so, twenty seconds at most.
pub(crate) async fn work_until_so(app: &App, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let wait = async {
        while !is_so().await {
            assert!(started.elapsed().as_secs() < 20, "it did not come about");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    work_until(app, FAST, wait).await;
}

pub(crate) async fn deliveries(world: &World, studio: usize) -> Vec<Value> {
    let owner = world.token(studio, "owner");
    let list = world.send("GET", "/v1/deliveries?limit=100", &owner, None);
    list.await.1["items"].as_array().unwrap().clone()
}

async fn states(world: &World, studio: usize) -> Vec<String> {
    let all = deliveries(world, studio).await;
    let state = |one: &Value| one["state"].as_str().unwrap().to_owned();
    all.iter().map(state).collect()
}

async fn confirm(world: &World, studio: usize, id: &str) {
    let owner = world.token(studio, "owner");
    let path = format!("/v1/bookings/{id}/confirm");
    assert_eq!(world.send("POST", &path, &owner, None).await.0, 200);
}

const FROM: &str = "2031-04-01T08:00:00Z";
const TO: &str = "2031-04-01T16:00:00Z";

#[tokio::test]
async fn each_version_is_told_once_signed_and_of_the_own_studio_only() {
    let world = World::new().await;
    let (own, foreign) = (Listener::new(204).await, Listener::new(204).await);
    let app = reaching(&world, &[&own, &foreign]);
    let (_, secret) = webhook(&world, &app, 0, &own.url()).await;
    let (_, other_secret) = webhook(&world, &app, 1, &foreign.url()).await;
    assert_ne!(secret, other_secret);

    let id = world.pencil(0, 0, FROM, TO).await;
    confirm(&world, 0, &id).await;
    work_until_so(&app, async || own.told().len() >= 2).await;
    assert_eq!(states(&world, 0).await, ["delivered", "delivered"]);
    let key: [u8; 32] = BASE64_STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let mut kinds = BTreeSet::new();
    for told in own.told() {
        let signed = format!("{}.{}.{}", told.id, told.at_s, told.body);
        let mac = hmac_sha256(&Key::new(key), signed.as_bytes());
        assert_eq!(
            told.signature,
            format!("v1,{}", BASE64_STANDARD.encode(mac))
        );
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body["data"]["booking_id"], json!(id));
        // Neither names nor notes leave by themselves: not even the marker in the title.
        assert!(!told.body.contains("ALDERWOOD"), "{}", told.body);
        kinds.insert(body["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        kinds,
        ["booking.confirm", "booking.create"]
            .map(str::to_owned)
            .into()
    );
    assert!(foreign.told().is_empty(), "{:?}", foreign.told());
    assert!(deliveries(&world, 1).await.is_empty());
}

#[tokio::test]
async fn whoever_does_not_answer_is_told_again_by_the_same_id_and_the_dead_are_replayed() {
    let world = World::new().await;
    let listener = Listener::new(500).await;
    let app = reaching(&world, &[&listener]);
    webhook(&world, &app, 0, &listener.url()).await;
    world.pencil(0, 0, FROM, TO).await;
    work_until_so(&app, async || {
        deliveries(&world, 0).await[0]["status"] == json!(500)
    })
    .await;
    let pending = &deliveries(&world, 0).await[0];
    assert_eq!(
        (&pending["state"], &pending["attempts"]),
        (&json!("pending"), &json!(1))
    );
    assert!(pending["next_at"].is_string());

    // As if two days had passed: the last attempt.
    let raw = world.as_admin().await;
    raw.script("UPDATE studio.deliveries SET attempts = 7, next_at = now() - interval '1 second'")
        .await
        .unwrap();
    work_until_so(&app, async || states(&world, 0).await == ["dead"]).await;
    let told = listener.told();
    assert_eq!((told.len(), told[0].id == told[1].id), (2, true));

    listener.answer(200);
    let id = pending["id"].as_str().unwrap();
    let path = format!("/v1/deliveries/{id}/replay");
    for (part, expected) in [("manager", 403), ("freelancer", 403)] {
        let (status, problem) = world.send("POST", &path, &world.token(0, part), None).await;
        assert!([expected, 404].contains(&status), "{part}: {problem}");
    }
    let foreign = world
        .send("POST", &path, &world.token(1, "owner"), None)
        .await;
    assert_eq!(foreign.0, 404);
    let (status, replayed) = world
        .send("POST", &path, &world.token(0, "owner"), None)
        .await;
    assert_eq!((status, &replayed["attempts"]), (200, &json!(0)));
    work_until_so(&app, async || states(&world, 0).await == ["delivered"]).await;
    assert_eq!(listener.told().len(), 3);
}

/// Whatever a webhook says, no connection is made to the inside: not by an address, not by a name, not
/// by a redirect.
#[tokio::test]
async fn a_webhook_reaches_nothing_inside() {
    let world = World::new().await;
    let (outside, inside) = (Listener::new(302).await, Listener::new(200).await);
    let owner = world.token(0, "owner");
    let port = inside.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/hook"),
        format!("https://127.0.0.1:{port}/hook"),
        format!("https://[::1]:{port}/hook"),
        format!("https://[::ffff:127.0.0.1]:{port}/hook"),
        format!("https://2130706433:{port}/hook"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://user:pass@hooks.example.com/".to_owned(),
        "ftp://hooks.example.com/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
    ] {
        let body = Some(json!({ "url": url }));
        let (status, problem) = world.send("POST", "/v1/webhooks", &owner, body).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/url")),
            "{url}: {problem}"
        );
    }
    // A name is looked up when it is used; this one points inside.
    let by_name = format!("https://localhost:{port}/hook");
    let body = Some(json!({ "url": by_name }));
    assert_eq!(
        world.send("POST", "/v1/webhooks", &owner, body).await.0,
        201
    );
    // And this one redirects there.
    let app = reaching(&world, &[&outside]);
    webhook(&world, &app, 0, &outside.url()).await;
    world.pencil(0, 0, FROM, TO).await;
    work_until_so(&app, async || {
        let all = deliveries(&world, 0).await;
        outside.told().len() == 1 && all.iter().all(|one| one["attempts"] == json!(1))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(inside.told().is_empty(), "{:?}", inside.told());
    assert_eq!(states(&world, 0).await, ["pending", "pending"]);
}

const KILLS: usize = 4;

/// A worker that is killed while it tells has lost nothing: everything arrives, each under one id.
#[tokio::test]
async fn a_worker_that_is_killed_while_it_tells_loses_nothing() {
    let world = World::new().await;
    let listener = Listener::new(200).await;
    let app = reaching(&world, &[&listener]);
    webhook(&world, &app, 0, &listener.url()).await;
    for day in 1..=9 {
        for artist in 0..2 {
            let (from, to) = (
                format!("2031-05-0{day}T08:00:00Z"),
                format!("2031-05-0{day}T16:00:00Z"),
            );
            world.pencil(0, artist, &from, &to).await;
        }
    }
    let raw = world.as_admin().await;
    let allow = [(
        "STUDIO_OUTBOUND_ALLOW",
        format!("[\"{}\"]", listener.address),
    )];
    // What was in hand is tried again after a pause; here at once.
    let at_once = "UPDATE studio.deliveries SET next_at = now() WHERE state = 'pending'";
    for _ in 0..KILLS {
        let before = listener.told().len();
        let mut worker = spawn_with(&world, &allow);
        let started = Instant::now();
        while listener.told().len() < before + 3 && started.elapsed().as_secs() < 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        raw.script(at_once).await.unwrap();
    }
    work_until_so(&app, async || {
        // The killed worker's last statement may end after it.
        raw.script(at_once).await.unwrap();
        states(&world, 0)
            .await
            .iter()
            .all(|state| state == "delivered")
    })
    .await;
    let mut arrived: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let told = listener.told();
    for one in &told {
        arrived
            .entry(one.id.clone())
            .or_default()
            .insert(one.body.clone());
    }
    assert_eq!(arrived.len(), 18, "each version has arrived");
    assert!(
        arrived.values().all(|bodies| bodies.len() == 1),
        "one id, one thing told"
    );
    println!("{KILLS} kills, 18 to tell, {} requests", told.len());
}

/// Managers book, but what leaves the studio is not theirs to see; nor is the secret anybody's.
#[tokio::test]
async fn webhooks_are_an_owners_and_the_secret_is_shown_once() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let body = || Some(json!({ "url": "https://hooks.example.com/a" }));
    let (status, made) = world.send("POST", "/v1/webhooks", &owner, body()).await;
    assert_eq!(status, 201);
    let secret = made["secret"].as_str().unwrap();
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    for (method, path) in [("GET", "/v1/webhooks"), ("GET", &path), ("PATCH", &path)] {
        let body = (method == "PATCH").then(|| json!({ "is_paused": false }));
        let (status, shown) = world.send(method, path, &owner, body).await;
        assert!(
            status == 200 && !shown.to_string().contains(secret),
            "{shown}"
        );
    }
    assert_eq!(
        world
            .send("GET", "/v1/webhooks", &world.token(0, "manager"), None)
            .await
            .0,
        403
    );
    let raw = world.as_app().await;
    for (part, sees) in [("owner", 1_i64), ("manager", 0), ("freelancer", 0)] {
        raw.script("BEGIN").await.unwrap();
        let context = world.context(0, part);
        raw.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let seen: i64 = raw
            .value("SELECT count(*) FROM studio.webhooks", &[])
            .await
            .unwrap();
        let paused = "UPDATE studio.webhooks SET version = version + 1, is_paused = true";
        let may = raw.run(paused, &[]).await.is_ok_and(|rows| rows > 0);
        raw.script("ROLLBACK").await.unwrap();
        assert_eq!((seen, may), (sees, part == "owner"), "{part}");
    }
    for _ in 1..10 {
        assert_eq!(
            world.send("POST", "/v1/webhooks", &owner, body()).await.0,
            201
        );
    }
    assert_eq!(
        world.send("POST", "/v1/webhooks", &owner, body()).await.0,
        409
    );
}
