//! A world: a database from the template, two studios in it, the product running on a port.

use std::{net::SocketAddr, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use studio::{
    app::App,
    commands::{first_keys, installation, serve_until, write_private},
    config::Config,
    demo::{
        ISSUER, ORIGIN, clerk_role,
        seed::{SeededStudio, seed},
    },
};
use tokio::net::TcpListener;
use watertight_cluster::{Cluster, Options};
use watertight_identity::{
    Caller, Verifier, VerifierSettings,
    double::{Double, TokenRequest},
};
use watertight_ledger::Ledger;
use watertight_tenancy::{
    KeyTable, Passwords, login_url,
    support::{RawConnection, state},
};
use watertight_terms::{Clock, KeyFile, Random, Request};

/// A world. Its database goes with it.
pub(crate) struct World {
    pub(crate) admin: SecretString,
    pub(crate) config: Config,
    pub(crate) app: App,
    pub(crate) base: String,
    pub(crate) double: Double,
    pub(crate) studios: Vec<SeededStudio>,
    pub(crate) http: reqwest::Client,
    /// What Clerk signs its deliveries with.
    pub(crate) webhook_secret: [u8; 32],
    folder: PathBuf,
    database: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// How a world differs from the usual one.
#[derive(Clone)]
pub(crate) struct Like {
    pub(crate) pool_max: usize,
    pub(crate) at_once_per_member: usize,
    /// Further lines of `[limits]`.
    pub(crate) limits: String,
    /// On a server of its own.
    pub(crate) server: Option<SecretString>,
}

impl Default for Like {
    fn default() -> Self {
        Self {
            pool_max: 8,
            at_once_per_member: 256,
            limits: String::new(),
            server: None,
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::like(Like::default()).await
    }

    pub(crate) async fn like(like: Like) -> Self {
        let random = Random::system();
        let server = like.server.clone().unwrap_or_else(server);
        let template = template(&server, &random).await;
        let database = format!("world_{}", random.uuid().simple());
        let admin = database_url(&server, &database);
        let raw = RawConnection::connect(&server).await.unwrap();
        raw.script(&format!(
            "CREATE DATABASE {database} TEMPLATE {}",
            template.name
        ))
        .await
        .unwrap();
        // Rights on a database are not copied with it.
        raw.script(&format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
             GRANT CONNECT ON DATABASE {database} TO studio_app, studio_migrate, studio_ops;
             GRANT CREATE ON DATABASE {database} TO studio_owner;
             GRANT TEMPORARY ON DATABASE {database} TO studio_custody"
        ))
        .await
        .unwrap();
        let folder = std::env::temp_dir().join(&database);
        std::fs::create_dir(&folder).unwrap();
        let webhook_secret = random.bytes();
        write_webhook_secret(&folder, &webhook_secret);
        let config = config(&folder, &admin, &template, &like);
        let double = Double::new(ISSUER, ORIGIN, Clock::system(), random.clone()).unwrap();
        let app = App::new(config.clone(), verifier(&double), Clock::system(), random).unwrap();
        let base = serve(&app).await;
        Self {
            admin,
            config,
            app,
            base,
            double,
            studios: template.studios,
            // The server closes what idles; a busy machine could otherwise be asked on such a one.
            http: reqwest::Client::builder()
                .pool_idle_timeout(Duration::from_secs(2))
                .build()
                .unwrap(),
            webhook_secret,
            folder,
            database,
        }
    }

    /// A token of the person of that part in studio 0 or 1.
    pub(crate) fn token(&self, studio: usize, part: &str) -> String {
        self.double.token(&self.token_request(studio, part))
    }

    /// A token of that part whose claims are bent.
    pub(crate) fn bent_token(&self, studio: usize, part: &str, bend: &Value) -> String {
        let mut claims = self.claims(studio, part);
        for (name, value) in bend.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.double.sign(&self.double.header(), &claims)
    }

    /// The claims of that part's token.
    pub(crate) fn claims(&self, studio: usize, part: &str) -> Value {
        self.double.claims(&self.token_request(studio, part))
    }

    fn token_request(&self, studio: usize, part: &str) -> TokenRequest {
        let studio = &self.studios[studio];
        let person = studio.person(part);
        TokenRequest {
            subject: person.subject.clone(),
            session: person.session.clone(),
            organization: studio.organization.clone(),
            slug: "demo".to_owned(),
            role: clerk_role(&person.role).to_owned(),
            version: 2,
            life_s: 60,
        }
    }

    /// The caller of that part.
    pub(crate) async fn caller(&self, studio: usize, part: &str) -> Caller {
        self.app
            .verifier
            .verify(&self.token(studio, part))
            .await
            .unwrap()
    }

    /// A request's facts.
    pub(crate) fn facts(&self) -> Request {
        Request {
            id: Random::system().uuid(),
            client_id: None,
            address: "127.0.0.1".to_owned(),
            client: None,
            at: Clock::system().now(),
        }
    }

    /// Fails unless SQL as the app role is refused, each statement by that state, to an owner of the first studio and
    /// to its service `custody` alike.
    pub(crate) async fn expect_refused(&self, attempts: &[(&str, &str)]) {
        let raw = self.as_app().await;
        for context in [self.context(0, "owner"), self.service_context(0, "custody")] {
            raw.script("BEGIN").await.unwrap();
            raw.run("SELECT tenancy.enter($1)", &[&context])
                .await
                .unwrap();
            for (sql, expected) in attempts {
                raw.script("SAVEPOINT attempt").await.unwrap();
                let refused = raw.run(sql, &[]).await.unwrap_err();
                assert_eq!(state(&refused), *expected, "{sql}");
                raw.script("ROLLBACK TO attempt").await.unwrap();
            }
            raw.script("ROLLBACK").await.unwrap();
        }
    }

    /// A raw connection as the app role: where an attacker stands who can run SQL.
    pub(crate) async fn as_app(&self) -> RawConnection {
        RawConnection::connect(&self.config.database.url)
            .await
            .unwrap()
    }

    /// A raw connection as superuser, to make a situation or to look whether it holds.
    pub(crate) async fn as_admin(&self) -> RawConnection {
        RawConnection::connect(&self.admin).await.unwrap()
    }

    /// A token for `tenancy.enter`, as the server would sign it for that person.
    pub(crate) fn context(&self, studio: usize, part: &str) -> String {
        self.context_of("m", studio, part)
    }

    /// The same for another kind of caller: `a` when somebody acts as that person.
    pub(crate) fn context_of(&self, kind: &str, studio: usize, part: &str) -> String {
        let person = self.studios[studio].person(part);
        let claims = format!(
            "{kind}|{}|{}|{}|{}",
            self.studios[studio].organization, person.subject, person.session, person.role
        );
        self.signed_context(&claims, Clock::system().now_s())
    }

    /// The same for a service of that studio.
    pub(crate) fn service_context(&self, studio: usize, name: &str) -> String {
        let tenant = self.studios[studio].tenant;
        self.signed_context(&format!("s|{tenant}|{name}||service"), 0)
    }

    /// The same for a feed, by what is stored of its address.
    pub(crate) fn feed_context(&self, digest: &[u8]) -> String {
        self.signed_context(&format!("f|{}|||", hex::encode(digest)), 0)
    }

    fn signed_context(&self, claims: &str, issued_s: i64) -> String {
        let keys = KeyFile::read(&self.config.keys.location).unwrap();
        let (id, key) = keys.ring("context").unwrap().current().unwrap();
        let expires = Clock::system().now_s() + 10;
        let nonce = hex::encode(Random::system().bytes::<16>());
        let signed = format!("v1|{id}|{claims}|{issued_s}|{expires}|{nonce}");
        format!(
            "{signed}|{}",
            hex::encode(watertight_terms::hmac_sha256(key, signed.as_bytes()))
        )
    }

    /// Sends a request as somebody; gives status and body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let answered = self.ask(method, path, token, &[], body).await;
        (answered.status, answered.body)
    }

    /// Sends a request as somebody, with headers; a body that is a text goes as lines. Whatever is answered must be as the document says.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answered {
        match body {
            Some(Value::String(lines)) => {
                self.ask_as("text/csv", method, path, token, headers, Some(lines))
                    .await
            }
            body => {
                let text = body.map(|body| body.to_string());
                self.ask_text(method, path, token, headers, text).await
            }
        }
    }

    /// The same with a body as it stands, JSON or not.
    pub(crate) async fn ask_text(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answered {
        self.ask_as("application/json", method, path, token, headers, body)
            .await
    }

    async fn ask_as(
        &self,
        media: &str,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answered {
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", media).body(body);
        }
        let mut response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = match headers.get("content-type") {
            // It would go on for minutes.
            Some(media) if media == "text/event-stream" => {
                let first = response.chunk().await.unwrap().unwrap_or_default();
                String::from_utf8(first.to_vec()).unwrap()
            }
            _ => response.text().await.unwrap(),
        };
        let answered = Answered {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        };
        crate::openapi::conforms(method, path, &answered);
        answered
    }

    /// A subcommand of `studio` with this world's configuration, answering JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
        let config = self.config.keys.location.with_file_name("studio.toml");
        command.arg("--config").arg(config);
        command.args(["--format", "json"]).args(arguments);
        command
    }

    /// The number of entries in a studio's ledger.
    pub(crate) async fn entries(&self, studio: usize) -> i64 {
        let raw = self.as_admin().await;
        raw.value(
            "SELECT count(*) FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'role' <> 'operator'",
            &[&self.studios[studio].tenant],
        )
        .await
        .unwrap()
    }

    /// A new pencil of an artist of that studio, by its owner.
    pub(crate) async fn pencil(
        &self,
        studio: usize,
        artist: usize,
        starts_at: &str,
        ends_at: &str,
    ) -> String {
        let body = serde_json::json!({
            "artist_id": self.studios[studio].artists[artist], "project_id": self.studios[studio].projects[0],
            "state": "pencil", "starts_at": starts_at, "ends_at": ends_at,
            "title": format!("{} pencil", studio::demo::seed::marker(&self.studios[studio].letter)),
        });
        let (status, booking) = self
            .send(
                "POST",
                "/v1/bookings",
                &self.token(studio, "owner"),
                Some(body),
            )
            .await;
        assert_eq!(status, 201, "{booking}");
        booking["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        let (server, database) = (server(), self.database.clone());
        // A thread, because a drop cannot await and the runtime may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                if let Ok(raw) = RawConnection::connect(&server).await {
                    let _ = raw
                        .script(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"))
                        .await;
                }
            });
        });
        let _ = dropped.join();
    }
}

/// A verifier that trusts the double's key.
pub(crate) fn verifier(double: &Double) -> Verifier {
    let settings = VerifierSettings {
        impersonation: watertight_identity::Impersonation::ReadOnly,
        ..VerifierSettings::new(ISSUER, [ORIGIN])
    };
    Verifier::new(settings, double.keys(), Clock::system()).unwrap()
}

/// Another process's worth of server over the same database.
pub(crate) async fn serve(app: &App) -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = app.clone();
    tokio::spawn(async move { serve_until(listener, &app, std::future::pending()).await });
    base
}

fn write_webhook_secret(folder: &std::path::Path, secret: &[u8]) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = format!("whsec_{}", BASE64_STANDARD.encode(secret));
    write_private(&folder.join("webhook"), &text).unwrap();
}

fn config(
    folder: &std::path::Path,
    admin: &SecretString,
    template: &Template,
    like: &Like,
) -> Config {
    let keys = folder.join("keys.toml");
    write_private(&keys, &template.keys).unwrap();
    let url = |login: &str, password: &SecretString| {
        login_url(admin, login, password)
            .unwrap()
            .expose_secret()
            .to_owned()
    };
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\npublic_origin = \"{ORIGIN}\"\n[limits]\nrequests_at_once_per_member = {}\n{}\n[database]\nwait_ms = 30000\npool_max = {}\n\
         url = \"{}\"\nowner_url = \"{}\"\nops_url = \"{}\"\n[clerk]\nissuer = \"{ISSUER}\"\n\
         jwks_url = \"https://clerk.watertight.test/jwks\"\nauthorized_parties = [\"{ORIGIN}\"]\n\
         webhook_secret_file = \"{}\"\n[keys]\nlocation = \"{}\"\n[ledger]\ncheckpoint_dir = \"{}\"\n",
        like.at_once_per_member,
        like.limits,
        like.pool_max,
        url("studio_app", &template.passwords.app),
        url("studio_migrate", &template.passwords.migrate),
        url("studio_operator", &template.passwords.operator),
        folder.join("webhook").display(),
        keys.display(),
        folder.join("checkpoints").display()
    );
    let path = folder.join("studio.toml");
    write_private(&path, &text).unwrap();
    Config::read(&path, std::iter::empty()).unwrap()
}

/// The server of the test run, or one of this process's own.
pub(crate) fn server() -> SecretString {
    static OWN: OnceLock<(Cluster, String)> = OnceLock::new();
    if let Ok(url) = std::env::var("WATERTIGHT_TEST_ADMIN_URL") {
        return url.into();
    }
    let (_, url) = OWN.get_or_init(|| {
        let folder =
            std::env::temp_dir().join(format!("walls-{}", Random::system().uuid().simple()));
        let mut options = Options::new(folder);
        options
            .settings
            .push(("fsync".to_owned(), "off".to_owned()));
        options
            .settings
            .push(("max_connections".to_owned(), "300".to_owned()));
        let cluster = Cluster::start(&options).unwrap();
        let url = cluster.admin_url();
        (cluster, url)
    });
    url.clone().into()
}

pub(crate) fn database_url(server: &SecretString, database: &str) -> SecretString {
    server
        .expose_secret()
        .replacen("@/postgres?", &format!("@/{database}?"), 1)
        .into()
}

/// A migrated database with two studios, made once a server.
struct Template {
    name: String,
    passwords: Passwords,
    keys: String,
    studios: Vec<SeededStudio>,
}

/// Finds the template or makes it. What a test process must know of it (passwords, keys, ids) stands
/// in the server itself, in a table of the database `postgres` that no role of ours can reach.
async fn template(server: &SecretString, random: &Random) -> Template {
    let raw = RawConnection::connect(server).await.unwrap();
    let name = format!("template_{}", fingerprint());
    raw.script("SELECT pg_advisory_lock(4711)").await.unwrap();
    raw.script(
        "CREATE TABLE IF NOT EXISTS public.templates (name text PRIMARY KEY, known text NOT NULL)",
    )
    .await
    .unwrap();
    // One server has one set of roles, hence one set of passwords, whatever the template.
    let passwords = known_or(&raw, "passwords", async || {
        let password = |role: &str| format!("{role}-{}", hex::encode(random.bytes::<16>()));
        serde_json::json!({ "app": password("app"), "migrate": password("migrate"), "operator": password("operator") })
    })
    .await;
    let passwords = Passwords {
        app: text(&passwords, "app").into(),
        migrate: text(&passwords, "migrate").into(),
        operator: text(&passwords, "operator").into(),
    };
    let known = known_or(&raw, &name, async || {
        make_template(server, &raw, &name, &passwords, random).await
    })
    .await;
    raw.script("SELECT pg_advisory_unlock(4711)").await.unwrap();
    Template {
        name,
        passwords,
        keys: text(&known, "keys"),
        studios: serde_json::from_value(known["studios"].clone()).unwrap(),
    }
}

fn text(known: &Value, key: &str) -> String {
    known[key].as_str().unwrap().to_owned()
}

/// What the server knows under that name, or what is made now and known from then on.
async fn known_or(raw: &RawConnection, name: &str, make: impl AsyncFnOnce() -> Value) -> Value {
    let known: Option<String> = raw
        .value(
            "SELECT max(known) FROM public.templates WHERE name = $1",
            &[&name],
        )
        .await
        .unwrap();
    if let Some(known) = known {
        return serde_json::from_str(&known).unwrap();
    }
    let made = make().await;
    raw.run(
        "INSERT INTO public.templates VALUES ($1, $2)",
        &[&name, &made.to_string()],
    )
    .await
    .unwrap();
    made
}

async fn make_template(
    server: &SecretString,
    raw: &RawConnection,
    name: &str,
    passwords: &Passwords,
    random: &Random,
) -> Value {
    let making = format!("{name}_making");
    raw.script(&format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"))
        .await
        .unwrap();
    raw.script(&format!("CREATE DATABASE {making}"))
        .await
        .unwrap();
    let admin = database_url(server, &making);
    let keys = first_keys(random);
    let installation = installation("studio").unwrap();
    installation.roles(&admin, passwords).await.unwrap();
    let url = |login: &str, password: &SecretString| login_url(&admin, login, password).unwrap();
    let tables = [
        KeyTable::context(keys.ring("context").unwrap().clone()),
        Ledger::key_table(keys.ring("ledger").unwrap().clone()),
    ];
    installation
        .migrate(&url("studio_migrate", &passwords.migrate), &tables)
        .await
        .unwrap();
    let studios = seed(&admin, &url("studio_operator", &passwords.operator), random)
        .await
        .unwrap();
    let keys = keys.to_text().to_string();
    // Connections close a moment after their client is dropped; until then it cannot be renamed.
    let rename = format!("ALTER DATABASE {making} RENAME TO {name}");
    for attempt in 0.. {
        match raw.script(&rename).await {
            Ok(()) => break,
            Err(error) if attempt == 100 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    serde_json::json!({ "keys": keys, "studios": studios })
}

/// Changes when any migration does.
fn fingerprint() -> String {
    let all: String = studio::commands::migrations()
        .iter()
        .map(|migration| migration.sql)
        .collect();
    let key = watertight_terms::Key::new([0; 32]);
    hex::encode(&watertight_terms::hmac_sha256(&key, all.as_bytes())[..8])
}
