//! Mails to members: of what happens to their time and nothing else, at least once by one id, to the
//! relay that the operator named and to no other, whoever dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use studio::{
    app::App,
    commands::write_private,
    config::{Config, MailSecurity},
    jobs::{Pace, work_until},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use watertight_terms::{Clock, Random};

use crate::{
    worker::spawn_with,
    world::{World, verifier},
};

/// A mail as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut lines = self.text.lines();
        lines.find_map(|line| line.strip_prefix(&prefix)).unwrap()
    }
}

/// A relay on this machine that knows no TLS and answers mails as `answer` says.
#[derive(Clone)]
pub(crate) struct Sink {
    came: Arc<Mutex<Vec<Came>>>,
    /// Every line that it was told.
    lines: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<&'static str>>,
    address: SocketAddr,
}

pub(crate) const TAKEN: &str = "250 taken";

impl Sink {
    pub(crate) async fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self {
            came: Arc::default(),
            lines: Arc::default(),
            answer: Arc::new(Mutex::new(answer)),
            address: listener.local_addr().unwrap(),
        };
        let this = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.talk(stream).await });
            }
        });
        sink
    }

    /// RFC 5321, as far as one mail needs it.
    async fn talk(&self, stream: TcpStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 sink\r\n").await?;
        let mut to = String::new();
        while let Some(line) = lines.next_line().await? {
            self.lines.lock().unwrap().push(line.clone());
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_uppercase();
            let said = match verb.as_str() {
                "EHLO" => "250 sink".to_owned(),
                "RCPT" => {
                    line.clone_into(&mut to);
                    "250 known".to_owned()
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await?;
                    let mut text = String::new();
                    loop {
                        // Who leaves before the dot has sent no mail.
                        let Some(line) = lines.next_line().await? else {
                            return Ok(());
                        };
                        if line == "." {
                            break;
                        }
                        text += &format!("{line}\n");
                    }
                    self.came.lock().unwrap().push(Came {
                        to: to.clone(),
                        text,
                    });
                    self.answer.lock().unwrap().to_string()
                }
                "QUIT" => "221 bye".to_owned(),
                _ => "250 well".to_owned(),
            };
            writer.write_all(format!("{said}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

/// A server over the same database whose mails go there.
pub(crate) fn mailing(world: &World, sink: &Sink) -> App {
    mailing_by(world, sink, MailSecurity::None)
}

fn mailing_by(world: &World, sink: &Sink, security: MailSecurity) -> App {
    let mut config = world.config.clone();
    config.mail.host = Some(sink.address.ip().to_string());
    config.mail.port = Some(sink.address.port());
    config.mail.security = security;
    config.mail.from = "Bookings <bookings@studio.example>".to_owned();
    App::new(
        config,
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    )
    .unwrap()
}

/// The freelancer of a studio gets an address, as the identity provider tells of one.
async fn give_address(world: &World, studio: usize) -> String {
    let member = world.studios[studio].person("freelancer").member;
    let address = format!("freelancer-{studio}@example.org");
    let tenant = watertight_terms::TenantId(world.studios[studio].tenant);
    world
        .app
        .desk
        .people
        .keep_address(tenant, member, &address)
        .await
        .unwrap();
    address
}

const FAST: Pace = Pace {
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
    let list = world.send(
        "GET",
        "/v1/deliveries?limit=100&sort=created_at",
        &owner,
        None,
    );
    list.await.1["items"].as_array().unwrap().clone()
}

pub(crate) async fn settled(world: &World, studio: usize) -> bool {
    let all = deliveries(world, studio).await;
    !all.is_empty() && all.iter().all(|one| one["state"] != json!("pending"))
}

async fn act(world: &World, studio: usize, id: &str, action: &str) {
    let path = format!("/v1/bookings/{id}/{action}");
    let owner = world.token(studio, "owner");
    let (status, problem) = world.send("POST", &path, &owner, None).await;
    assert_eq!(status, 200, "{problem}");
}

const FROM: &str = "2031-04-01T08:00:00Z";
const TO: &str = "2031-04-01T16:00:00Z";

#[tokio::test]
async fn a_member_is_told_what_happens_to_their_time_and_nobody_else_is() {
    let world = World::new().await;
    let sink = Sink::new(TAKEN).await;
    let app = mailing(&world, &sink);
    let (own, foreign) = (give_address(&world, 0).await, give_address(&world, 1).await);
    assert_ne!(own, foreign);
    let id = world.pencil(0, 0, FROM, TO).await;
    act(&world, 0, &id, "confirm").await;
    let others = world.pencil(0, 1, FROM, TO).await;
    act(&world, 0, &others, "confirm").await;
    work_until_so(&app, async || settled(&world, 0).await).await;
    act(&world, 0, &id, "cancel").await;
    work_until_so(&app, async || {
        sink.came().len() >= 2 && settled(&world, 0).await
    })
    .await;
    let came = sink.came();
    assert_eq!(came.len(), 2, "a pencil is none of it: {came:?}");
    for (mail, happened) in came.iter().zip(["is confirmed", "was called off"]) {
        assert_eq!(mail.to, format!("RCPT TO:<{own}>"));
        assert!(mail.header("Subject").ends_with(happened), "{mail:?}");
        assert_eq!(mail.header("From"), "Bookings <bookings@studio.example>");
        assert!(
            mail.text.contains(&format!("/ui/bookings/{id}")),
            "{mail:?}"
        );
        assert!(
            mail.text.contains("2031-04-01 10:00 CEST"),
            "in the studio's zone: {mail:?}"
        );
        // What it is called stays here: not even the marker in the title leaves.
        assert!(!mail.text.contains("ALDERWOOD"), "{mail:?}");
    }
    let told = deliveries(&world, 0).await;
    let member = world.studios[0].person("freelancer").member;
    for (delivery, mail) in told.iter().zip(&came) {
        let said = (
            &delivery["state"],
            &delivery["status"],
            &delivery["member_id"],
            &delivery["webhook_id"],
        );
        assert_eq!(
            said,
            (
                &json!("delivered"),
                &json!(250),
                &json!(member),
                &Value::Null
            )
        );
        let message_id = format!("<{}@", delivery["id"].as_str().unwrap());
        assert!(
            mail.header("Message-ID").starts_with(&message_id),
            "{mail:?}"
        );
        assert!(
            !delivery.to_string().contains(&own),
            "owners see whom, not where"
        );
    }
    assert!(deliveries(&world, 1).await.is_empty());
    // Each opening of the address is in the ledger, by the service that does nothing else.
    let opened: i64 = world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM ledger.entries WHERE body ->> 'actor' = 'service:delivery'
               AND body -> 'opened' ? 'email'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(opened, 2);
}

#[tokio::test]
async fn whoever_wants_none_or_is_gone_is_told_nothing() {
    let world = World::new().await;
    let sink = Sink::new(TAKEN).await;
    let app = mailing(&world, &sink);
    give_address(&world, 0).await;
    let token = world.token(0, "freelancer");
    let choose = async |token: &str, wanted: Value| {
        let body = Some(json!({ "wanted": wanted }));
        world.send("PATCH", "/v1/me/mails", token, body).await
    };
    assert_eq!(
        world.send("GET", "/v1/me/mails", &token, None).await.1,
        json!({ "wanted": true })
    );
    // What was written and not yet sent is not sent either.
    let first = world.pencil(0, 0, FROM, TO).await;
    act(&world, 0, &first, "confirm").await;
    assert_eq!(
        choose(&token, json!(false)).await,
        (200, json!({ "wanted": false }))
    );
    assert_eq!(
        choose(&token, Value::Null).await.0,
        422,
        "null is no choice"
    );
    assert_eq!(
        choose(&world.token(0, "owner"), json!(true)).await.0,
        200,
        "an owner's own"
    );
    assert_eq!(choose(&world.token(0, "guest"), json!(true)).await.0, 403);
    act(&world, 0, &first, "cancel").await;
    work_until_so(&app, async || settled(&world, 0).await).await;
    let told = deliveries(&world, 0).await;
    assert_eq!(
        (told.len(), &told[0]["state"]),
        (1, &json!("dead")),
        "{told:?}"
    );
    // Wanted again, but no more a member.
    assert_eq!(choose(&token, json!(true)).await.0, 200);
    let second = world.pencil(0, 0, FROM, TO).await;
    act(&world, 0, &second, "confirm").await;
    let member = world.studios[0].person("freelancer").member;
    let removed = format!("UPDATE tenancy.members SET state = 'removed' WHERE id = '{member}'");
    world.as_admin().await.script(&removed).await.unwrap();
    work_until_so(&app, async || settled(&world, 0).await).await;
    assert!(sink.came().is_empty(), "{:?}", sink.came());
}

#[tokio::test]
async fn what_is_not_taken_comes_again_by_its_id_and_what_never_will_be_is_dead() {
    let world = World::new().await;
    let sink = Sink::new("451 later").await;
    let app = mailing(&world, &sink);
    give_address(&world, 0).await;
    let id = world.pencil(0, 0, FROM, TO).await;
    act(&world, 0, &id, "confirm").await;
    work_until_so(&app, async || {
        deliveries(&world, 0).await[0]["status"] == json!(451)
    })
    .await;
    let pending = &deliveries(&world, 0).await[0];
    assert_eq!(
        (&pending["state"], &pending["attempts"]),
        (&json!("pending"), &json!(1))
    );
    *sink.answer.lock().unwrap() = TAKEN;
    let raw = world.as_admin().await;
    raw.script("UPDATE studio.deliveries SET next_at = now() - interval '1 second'")
        .await
        .unwrap();
    work_until_so(&app, async || settled(&world, 0).await).await;
    let came = sink.came();
    let ids: BTreeSet<&str> = came.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!((came.len(), ids.len()), (2, 1), "{came:?}");
    assert_eq!(came[0].text, came[1].text, "to the letter");

    *sink.answer.lock().unwrap() = "550 nobody";
    act(&world, 0, &id, "cancel").await;
    work_until_so(&app, async || settled(&world, 0).await).await;
    let dead = &deliveries(&world, 0).await[1];
    let said = (&dead["state"], &dead["status"], &dead["attempts"]);
    assert_eq!(said, (&json!("dead"), &json!(550), &json!(1)));
    *sink.answer.lock().unwrap() = TAKEN;
    let path = format!("/v1/deliveries/{}/replay", dead["id"].as_str().unwrap());
    assert_eq!(
        world
            .send("POST", &path, &world.token(0, "owner"), None)
            .await
            .0,
        200
    );
    work_until_so(&app, async || settled(&world, 0).await).await;
    assert_eq!(deliveries(&world, 0).await[1]["state"], json!("delivered"));
}

/// A relay that offers no TLS is told nothing where TLS is asked for.
#[tokio::test]
async fn nothing_is_said_in_the_clear_where_tls_is_asked_for() {
    let world = World::new().await;
    let sink = Sink::new(TAKEN).await;
    give_address(&world, 0).await;
    let id = world.pencil(0, 0, FROM, TO).await;
    act(&world, 0, &id, "confirm").await;
    let app = mailing_by(&world, &sink, MailSecurity::StartTls);
    work_until_so(&app, async || {
        deliveries(&world, 0).await[0]["attempts"] == json!(1)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lines = sink.lines.lock().unwrap().clone();
    assert!(!lines.is_empty(), "it was asked");
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with("MAIL") && !line.starts_with("RCPT")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_relay_that_cannot_be_meant_is_refused_by_its_key() {
    let world = World::new().await;
    let first = world.config.keys.location.with_file_name("studio.toml");
    let second = first.with_file_name("mail.toml");
    let whole = std::fs::read_to_string(&first).unwrap();
    for (mail, key) in [
        ("from = \"a@example.com\"", "[mail] host"),
        ("host = \"127.0.0.1\"\nsecurity = \"none\"", "[mail] from"),
        (
            "host = \"mail.example.com\"\nfrom = \"a@example.com\"\nsecurity = \"none\"",
            "[mail] security",
        ),
        (
            "host = \"mail.example.com\"\nfrom = \"a@example.com\"\nuser = \"a\"",
            "[mail] password_file",
        ),
        (
            "host = \"mail.example.com\"\nfrom = \"a@example.com\"\nsecurity = \"ssl\"",
            "unknown variant `ssl`",
        ),
        ("smtp_url = \"smtp://mail.example.com\"", "smtp_url"),
    ] {
        write_private(&second, &format!("{whole}[mail]\n{mail}\n")).unwrap();
        let fault = Config::read(&second, std::iter::empty())
            .unwrap_err()
            .to_string();
        assert!(fault.contains(key), "{mail}: {fault}");
    }
    let good = "host = \"mail.example.com\"\nfrom = \"Bookings <a@example.com>\"\nuser = \"a\"\npassword_file = \"/nowhere\"";
    write_private(&second, &format!("{whole}[mail]\n{good}\n")).unwrap();
    let config = Config::read(&second, std::iter::empty()).unwrap();
    let refused = App::new(
        config,
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    );
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("[mail] `/nowhere`"), "{refused}");
}

const KILLS: usize = 4;

/// A worker that is killed while it hands mails over has lost nothing: each arrives, under one id, and
/// says the same each time.
#[tokio::test]
async fn a_worker_that_is_killed_while_it_mails_loses_nothing() {
    let world = World::new().await;
    let sink = Sink::new(TAKEN).await;
    give_address(&world, 0).await;
    for day in 1..=9 {
        let time = |hour: usize| format!("2031-05-0{day}T{hour:02}:00:00Z");
        let id = world.pencil(0, 0, &time(8), &time(16)).await;
        act(&world, 0, &id, "confirm").await;
        act(&world, 0, &id, "cancel").await;
    }
    let raw = world.as_admin().await;
    let environment = [
        ("STUDIO_MAIL_HOST", format!("\"{}\"", sink.address.ip())),
        ("STUDIO_MAIL_PORT", sink.address.port().to_string()),
        ("STUDIO_MAIL_SECURITY", "none".to_owned()),
        (
            "STUDIO_MAIL_FROM",
            "Bookings <bookings@studio.example>".to_owned(),
        ),
    ];
    // What was in hand is tried again after a pause; here at once.
    let at_once = "UPDATE studio.deliveries SET next_at = now() WHERE state = 'pending'";
    for _ in 0..KILLS {
        let before = sink.came().len();
        let mut worker = spawn_with(&world, &environment);
        let started = Instant::now();
        while sink.came().len() < before + 3 && started.elapsed().as_secs() < 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        raw.script(at_once).await.unwrap();
    }
    let app = mailing(&world, &sink);
    work_until_so(&app, async || {
        // The killed worker's last statement may end after it.
        raw.script(at_once).await.unwrap();
        settled(&world, 0).await
    })
    .await;
    assert!(
        deliveries(&world, 0)
            .await
            .iter()
            .all(|one| one["state"] == json!("delivered"))
    );
    let mut arrived: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let came = sink.came();
    for mail in &came {
        let texts = arrived
            .entry(mail.header("Message-ID").to_owned())
            .or_default();
        texts.insert(mail.text.clone());
    }
    assert_eq!(arrived.len(), 18, "each has arrived");
    assert!(
        arrived.values().all(|texts| texts.len() == 1),
        "one id, one mail"
    );
    println!("{KILLS} kills, 18 to mail, {} mails", came.len());
}
