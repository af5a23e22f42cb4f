//! What operators are told outside of this machine: that something was noticed, signed, at least once, whoever dies; and
//! nothing of a studio but its id.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use studio::{
    app::{App, AppFault},
    commands::write_private,
    config::{Config, MailSecurity},
};
use tokio::{io::AsyncReadExt, net::TcpListener};
use watertight_tenancy::Tell;
use watertight_terms::{Clock, Key, Random, TenantId, hmac_sha256};

use crate::{
    alerts::{look_by, probe},
    mails::{Sink, TAKEN},
    telling::{Listener, work_until_so},
    worker::spawn_with,
    world::{World, verifier},
};

const TO: &str = "operators@ops.example";
const SECRET: [u8; 32] = [7; 32];
const PENDING: &str = "SELECT count(*) FROM watch.tellings WHERE state = 'pending'";
const AT_ONCE: &str = "UPDATE watch.tellings SET next_at = now() WHERE state = 'pending'";

fn secret_file(world: &World) -> PathBuf {
    let file = world.config.keys.location.with_file_name("alerts.secret");
    let text = format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET));
    write_private(&file, &text).unwrap();
    file
}

/// A configuration by which operators are told there.
fn telling(world: &World, url: String) -> Config {
    let mut config = world.config.clone();
    config.alerts.webhook_url = Some(url);
    config.alerts.webhook_secret_file = Some(secret_file(world));
    config
}

fn app(world: &World, config: Config) -> App {
    let (clock, random) = (Clock::system(), Random::system());
    App::new(config, verifier(&world.double), clock, random).unwrap()
}

fn hooked(world: &World, listener: &Listener) -> App {
    let mut config = telling(world, listener.url());
    config.outbound.allow = vec![listener.host()];
    app(world, config)
}

/// Something of the platform is noticed, about so many networks.
async fn notice(world: &World, kind: &str, networks: usize) {
    let raw = world.as_admin().await;
    let sql = format!(
        "INSERT INTO watch.alerts (kind, severity, subject, opened_at, last_seen_at)
           SELECT '{kind}', 'medium', '198.51.' || n || '.0/24', now(), now() FROM generate_series(1, {networks}) n"
    );
    raw.script(&sql).await.unwrap();
}

async fn count(world: &World, sql: &str) -> i64 {
    world.as_admin().await.value(sql, &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_of_the_platform_and_of_each_studio_that_something_is_wrong_and_not_what()
 {
    let world = World::new().await;
    let (listener, sink) = (Listener::new(204).await, Sink::new(TAKEN).await);
    let mut config = telling(&world, listener.url());
    config.outbound.allow = vec![listener.host()];
    config.alerts.mail = Some(TO.to_owned());
    config.mail.host = Some(sink.address().ip().to_string());
    config.mail.port = Some(sink.address().port());
    config.mail.security = MailSecurity::None;
    config.mail.from = "Bookings <bookings@studio.example>".to_owned();
    let app = app(&world, config);
    let mut asked = probe(&world, 0, "manager", 25).await;
    asked.extend(probe(&world, 1, "manager", 25).await);
    look_by(&world, &app).await;
    notice(&world, "token-burst", 1).await;
    work_until_so(&app, async || {
        listener.told().len() >= 3 && count(&world, PENDING).await == 0
    })
    .await;
    assert_eq!(
        count(
            &world,
            "SELECT count(*) FROM watch.tellings WHERE state = 'delivered'"
        )
        .await,
        6
    );

    let mut about = BTreeMap::new();
    for told in listener.told() {
        let signed = format!("{}.{}.{}", told.id, told.at_s, told.body);
        let mac = hmac_sha256(&Key::new(SECRET), signed.as_bytes());
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac));
        assert_eq!(told.signature, signature);
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body["type"], "alert.noticed");
        let data = body["data"].as_object().unwrap();
        assert!(
            data.keys()
                .all(|key| ["kind", "severity", "studio"].contains(&key.as_str()))
        );
        about.insert(body["data"]["studio"].to_string(), data["kind"].clone());
    }
    let studio = |at: usize| json!(TenantId(world.studios[at].tenant)).to_string();
    let expected = [
        (studio(0), json!("probing")),
        (studio(1), json!("probing")),
        ("null".to_owned(), json!("token-burst")),
    ];
    assert_eq!(about, expected.into());
    let mails: Vec<_> = sink
        .came()
        .into_iter()
        .filter(|came| came.to.contains(TO))
        .collect();
    assert_eq!(mails.len(), 3);

    // What shows it stays: whom it is about, what they asked for, from where, and how anything is called.
    let raw = world.as_admin().await;
    let names = "SELECT string_agg(name, '|') FROM tenancy.studios";
    let names: String = raw.value(names, &[]).await.unwrap();
    let mut stays: BTreeSet<String> = names.split('|').map(str::to_owned).collect();
    stays.extend(asked);
    stays.extend(["198.51.".to_owned(), "127.0.0.".to_owned()]);
    for studio in &world.studios {
        stays.insert(studio.organization.clone());
        stays.insert(studio.person("manager").subject.clone());
    }
    let told = listener.told().into_iter().map(|told| told.body);
    for text in told.chain(mails.into_iter().map(|mail| mail.text)) {
        let found = stays.iter().find(|word| text.contains(word.as_str()));
        assert_eq!(found, None, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_who_do_not_answer_are_told_again_by_the_same_id_and_not_for_ever() {
    let world = World::new().await;
    let listener = Listener::new(500).await;
    let app = hooked(&world, &listener);
    notice(&world, "token-burst", 1).await;
    let failed = "SELECT count(*) FROM watch.tellings WHERE status = 500 AND attempts = 1 AND state = 'pending' AND next_at > now()";
    work_until_so(&app, async || count(&world, failed).await == 1).await;
    let raw = world.as_admin().await;
    raw.script(AT_ONCE).await.unwrap();
    listener.answer(204);
    work_until_so(&app, async || count(&world, PENDING).await == 0).await;
    let told = listener.told();
    assert_eq!((told.len(), told[0].id == told[1].id), (2, true));
    assert_eq!(told[0].body, told[1].body);

    // Somebody who never answers is told no more, some day.
    listener.answer(500);
    notice(&world, "token-spray", 1).await;
    raw.script("UPDATE watch.tellings SET attempts = 7 WHERE state = 'pending'")
        .await
        .unwrap();
    let last = "SELECT count(*) FROM watch.tellings WHERE kind = 'token-spray' AND attempts = 8 AND status = 500";
    work_until_so(&app, async || count(&world, last).await == 1).await;
    raw.script(AT_ONCE).await.unwrap();
    work_until_so(&app, async || count(&world, PENDING).await == 0).await;
    assert_eq!(listener.told().len(), 3);
}

/// The worker is killed after it has told and before it can note that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_had_in_hand_is_told_to_operators_again() {
    let world = World::new().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let url = format!("http://{address}/hook");
    notice(&world, "token-burst", 1).await;
    let allow = [
        ("STUDIO_OUTBOUND_ALLOW", format!("[\"{address}\"]")),
        ("STUDIO_ALERTS_WEBHOOK_URL", url),
        (
            "STUDIO_ALERTS_WEBHOOK_SECRET_FILE",
            secret_file(&world).display().to_string(),
        ),
    ];
    let mut worker = spawn_with(&world, &allow);
    let (mut stream, _) = socket.accept().await.unwrap();
    let mut came = Vec::new();
    while !String::from_utf8_lossy(&came).contains("token-burst") {
        assert!(stream.read_buf(&mut came).await.unwrap() > 0);
    }
    worker.kill().unwrap();
    worker.wait().unwrap();
    let came = String::from_utf8(came).unwrap().to_lowercase();
    let id = came
        .lines()
        .find_map(|line| line.strip_prefix("webhook-id: "));

    let listener = Listener::on(socket, 204);
    let raw = world.as_admin().await;
    // The other way, which nobody named, waits no more.
    assert_eq!(count(&world, PENDING).await, 1);
    raw.script(AT_ONCE).await.unwrap();
    let app = hooked(&world, &listener);
    work_until_so(&app, async || count(&world, PENDING).await == 0).await;
    let told = listener.told();
    assert_eq!((told.len(), Some(told[0].id.as_str())), (1, id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_networks_are_one_telling_and_without_a_way_nothing_waits_for_one() {
    let world = World::new().await;
    let listener = Listener::new(204).await;
    notice(&world, "token-burst", 250).await;
    assert_eq!(count(&world, PENDING).await, 2);
    work_until_so(&world.app, async || count(&world, PENDING).await == 0).await;
    let dead = "SELECT count(*) FROM watch.tellings WHERE state = 'dead' AND attempts = 0";
    assert_eq!(count(&world, dead).await, 2);
    // Whoever names one later is told of what is noticed from then on.
    let app = hooked(&world, &listener);
    notice(&world, "token-spray", 250).await;
    work_until_so(&app, async || count(&world, PENDING).await == 0).await;
    assert_eq!(listener.told().len(), 1);
    assert!(listener.told()[0].body.contains("token-spray"));
}

/// As a process notes it, so many minutes after the first time.
async fn note(world: &World, kind: &str, severity: &str, subject: &str, minute: i64) {
    const NOTE: Tell = Tell::new("y1", "SELECT watch.note_alert($1)");
    let at = Clock::system().now() - SignedDuration::from_hours(72);
    let at = at + SignedDuration::from_mins(minute);
    let at = at.as_microsecond().to_string();
    let fields = [kind, severity, subject, &at];
    world.app.tenancy.tell(NOTE, &fields).await.unwrap();
}

/// The first is one row of the list for a week: what comes after it is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_at_the_platform_is_told_again_and_not_each_time() {
    let world = World::new().await;
    let told = async |kind: &str| {
        let sql = format!(
            "SELECT count(*) FROM watch.tellings WHERE way = 'mail' AND studio IS NULL AND kind = '{kind}'"
        );
        count(&world, &sql).await
    };
    for (minute, expected) in [(0, 1), (20, 1), (59, 1), (70, 2), (100, 2), (140, 3)] {
        note(&world, "unknown-keys", "high", "", minute).await;
        assert_eq!(told("unknown-keys").await, expected, "{minute}");
    }
    for (minute, expected) in [(0, 1), (70, 1), (1_439, 1), (1_450, 2), (2_000, 2)] {
        note(&world, "key-age", "medium", "context", minute).await;
        assert_eq!(told("key-age").await, expected, "{minute}");
    }
    assert_eq!(told("unknown-keys").await, 3);
    let listed = "SELECT count(*) FROM watch.alerts";
    assert_eq!(
        count(&world, listed).await,
        2,
        "each is one row of the list"
    );
    // What a studio's owners handle is told to operators when it is opened, and that it goes on is not.
    let raw = world.as_admin().await;
    let sql = "INSERT INTO studio.alerts (tenant_id, id, kind, severity, opened_at, last_seen_at, evidence)
                 SELECT tenant_id, gen_random_uuid(), 'probing', 'high', now() - interval '3 days', now() - interval '3 days', '{1}' FROM tenancy.studios;
               UPDATE studio.alerts SET last_seen_at = now()";
    raw.script(sql).await.unwrap();
    let of_studios =
        "SELECT count(*) FROM watch.tellings WHERE way = 'mail' AND studio IS NOT NULL";
    assert_eq!(count(&world, of_studios).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_at_no_address_of_the_inside_and_by_nobody_but_the_server() {
    let world = World::new().await;
    let listener = Listener::new(204).await;
    notice(&world, "token-burst", 1).await;
    let inside = app(&world, telling(&world, listener.url()));
    let tried = "SELECT count(*) FROM watch.tellings WHERE way = 'webhook' AND attempts = 1 AND status IS NULL AND state = 'pending'";
    work_until_so(&inside, async || count(&world, tried).await == 1).await;
    assert_eq!(listener.told().len(), 0);

    let mut config = telling(&world, listener.url());
    write_private(
        &world.config.keys.location.with_file_name("bad.secret"),
        "whsec_c2hvcnQ=",
    )
    .unwrap();
    config.alerts.webhook_secret_file =
        Some(world.config.keys.location.with_file_name("bad.secret"));
    let refused = App::new(
        config,
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    );
    assert!(
        matches!(refused.map(drop), Err(AppFault::Alerts(why)) if why.contains("32 bytes") && !why.contains("c2hvcnQ"))
    );

    let mut raw = world.as_app().await;
    for sql in [
        "SELECT kind FROM watch.tellings",
        "UPDATE watch.tellings SET state = 'dead'",
        "SELECT kind FROM watch.take_tellings('y7|1|webhook|9999999999|n|00')",
        "SELECT watch.settle_telling('y8|1|x|dead||1|9999999999|n|00')::text",
    ] {
        assert!(raw.client().query(sql, &[]).await.is_err(), "{sql}");
    }
}
