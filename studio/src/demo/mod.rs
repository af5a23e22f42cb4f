//! Two studios to try things with: a private PostgreSQL, people a role, a stand-in for Clerk, and a
//! description of it all for attackers. Only with the feature `demo`.

mod context;
pub mod seed;
pub mod target;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use watertight_cluster::{Cluster, Options};
use watertight_edge::rate::Limiter;
use watertight_identity::{
    double::{Double, Person, TokenRequest},
    webhook::Signer,
};
use watertight_ledger::Ledger;
use watertight_tenancy::{KeyTable, Passwords, login_url, support::RawConnection};
use watertight_terms::{Clock, KeyFile, Random};

use crate::{
    app::App,
    commands::{Failure, Output, first_keys, installation, serve_until, verifier, write_private},
    config::{Config, Limits},
    resources,
};
use seed::SeededStudio;

/// The issuer and the page's origin of the demonstration: names that nobody can own.
pub const ISSUER: &str = "https://clerk.watertight.test";
/// The origin that asks for tokens.
pub const ORIGIN: &str = "https://app.watertight.test";

/// The file with the stand-in's secret key.
const SECRET_KEY: &str = "secret-key";

/// Two studios to try things with.
#[derive(Debug, Args)]
pub struct Demo {
    /// The API's port; the next two are its twin with small limits and the stand-in for Clerk
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_533))]
    port: u16,
    /// Check itself and stop
    #[arg(long)]
    once: bool,
    /// Where it keeps its files
    #[arg(long, default_value = ".studio", hide = true)]
    folder: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Print the SQL that enters a studio of the running demo, for attacks as the app role
    Context(context::Context),
}

impl Demo {
    /// Runs the demonstration.
    ///
    /// # Errors
    /// When something cannot be set up.
    pub async fn run(self, output: &Output) -> Result<u8, Failure> {
        match &self.part {
            Some(Part::Context(context)) => context.print(&self.folder, output),
            None => self.serve(output).await,
        }
    }

    async fn serve(self, output: &Output) -> Result<u8, Failure> {
        let folder = self.folder.join("demo");
        std::fs::create_dir_all(&folder).map_err(|error| {
            Failure::setup(format!("`{}` cannot be made: {error}", folder.display()))
        })?;
        output.progress("starting a private PostgreSQL");
        let cluster = start_cluster(&self.folder)?;
        let (clock, random) = (Clock::system(), Random::system());
        let double = Double::new(ISSUER, ORIGIN, clock.clone(), random.clone())
            .map_err(|error| Failure::setup(error.to_string()))?;
        output.progress("two studios");
        let world = World::make(&cluster, &folder, self.port, &random).await?;
        let listeners = listen(self.port).await?;
        write_private(
            &folder.join(SECRET_KEY),
            double.secret_key().expose_secret(),
        )?;
        let app = world.app(clock).await?;
        target::write(&world, &folder, &double)?;
        write_private(&folder.join("openapi.json"), &resources::document_text())?;
        let done = run_servers(listeners, &app, &world, &double);
        say(&world, output);
        if self.once {
            return smoke(&world, &double, output).await;
        }
        tokio::signal::ctrl_c()
            .await
            .map_err(|error| Failure::setup(error.to_string()))?;
        drop(done);
        Ok(0)
    }
}

/// What the demonstration consists of.
#[derive(Debug)]
pub struct World {
    /// How its server is set up.
    pub config: Config,
    port: u16,
    /// The superuser's URL of its database.
    pub admin: SecretString,
    /// Its studios.
    pub studios: Vec<SeededStudio>,
    random: Random,
}

impl World {
    /// Makes a database with two studios in a cluster, and the server's files in a folder.
    ///
    /// # Errors
    /// When something cannot be set up.
    pub async fn make(
        cluster: &Cluster,
        folder: &Path,
        port: u16,
        random: &Random,
    ) -> Result<Self, Failure> {
        let server = SecretString::from(cluster.admin_url());
        let database = fresh_database(&server, "demo").await?;
        let (config, passwords) = write_config(folder, &database, port, random)?;
        let installation = installation("studio")?;
        let setup = |error: watertight_tenancy::InstallFault| Failure::setup(error.to_string());
        installation
            .roles(&database, &passwords)
            .await
            .map_err(setup)?;
        let keys = KeyFile::read(&config.keys.location)
            .map_err(|error| Failure::setup(error.to_string()))?;
        let ring = |purpose| {
            keys.ring(purpose)
                .cloned()
                .map_err(|error| Failure::setup(error.to_string()))
        };
        let tables = [
            KeyTable::context(ring("context")?),
            Ledger::key_table(ring("ledger")?),
        ];
        let owner = config
            .database
            .owner_url
            .as_ref()
            .ok_or_else(|| Failure::setup("no owner_url"))?;
        installation.migrate(owner, &tables).await.map_err(setup)?;
        let ops = config
            .database
            .ops_url
            .as_ref()
            .ok_or_else(|| Failure::setup("no ops_url"))?;
        let studios = seed::seed(&database, ops, random)
            .await
            .map_err(Failure::setup)?;
        seed::add_bookings(&database, &studios, random)
            .await
            .map_err(Failure::setup)?;
        Ok(Self {
            config,
            port,
            admin: database,
            studios,
            random: random.clone(),
        })
    }

    async fn app(&self, clock: Clock) -> Result<App, Failure> {
        let verifier = verifier(&self.config, clock.clone())?;
        let app = App::new(self.config.clone(), verifier, clock, self.random.clone())
            .map_err(|error| Failure::setup(error.to_string()))?;
        app.examine()
            .await
            .map_err(|error| Failure::setup(error.to_string()))?;
        Ok(app)
    }

    fn people(&self) -> Vec<Person> {
        let people = self.studios.iter().flat_map(|studio| {
            studio.people.iter().map(|person| Person {
                name: match person.part.as_str() {
                    "dual" => "an owner of both studios".to_owned(),
                    part => format!("{part} of {}", studio.name),
                },
                studio: studio.name.clone(),
                role: clerk_role(&person.role).to_owned(),
                subject: person.subject.clone(),
                session: person.session.clone(),
                organization: studio.organization.clone(),
                slug: studio.organization.trim_start_matches("org_").to_owned(),
            })
        });
        people.collect()
    }
}

/// The Clerk role that stands for a role of ours.
pub fn clerk_role(role: &str) -> &'static str {
    match role {
        "owner" => "org:studio_owner",
        "manager" => "org:studio_manager",
        "freelancer" => "org:freelancer",
        _ => "org:guest",
    }
}

fn start_cluster(folder: &Path) -> Result<Cluster, Failure> {
    let mut options = Options::new(folder.join("pg"));
    options
        .settings
        .push(("max_connections".to_owned(), "200".to_owned()));
    Cluster::start(&options).map_err(|error| Failure::setup(error.to_string()))
}

/// An empty database of that name: each demonstration begins anew.
async fn fresh_database(server: &SecretString, name: &str) -> Result<SecretString, Failure> {
    let setup = |error: String| Failure::setup(error);
    let raw = RawConnection::connect(server)
        .await
        .map_err(|error| setup(error.to_string()))?;
    for sql in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name}"),
    ] {
        raw.script(&sql)
            .await
            .map_err(|error| setup(error.to_string()))?;
    }
    let url = server
        .expose_secret()
        .replacen("@/postgres?", &format!("@/{name}?"), 1);
    Ok(url.into())
}

fn write_config(
    folder: &Path,
    database: &SecretString,
    port: u16,
    random: &Random,
) -> Result<(Config, Passwords), Failure> {
    let folder = folder
        .canonicalize()
        .map_err(|error| Failure::setup(format!("`{}`: {error}", folder.display())))?;
    let checkpoints = folder.join("checkpoints");
    // The studios of the demonstration before this one are gone, and their logs with them.
    let _ = std::fs::remove_dir_all(&checkpoints);
    let keys = folder.join("keys.toml");
    write_private(&keys, &first_keys(random).to_text())?;
    let webhook = folder.join("webhook");
    write_private(&webhook, &Signer::new_secret(random))?;
    let secret = folder.join(SECRET_KEY);
    let password = || SecretString::from(hex::encode(random.bytes::<24>()));
    let passwords = Passwords {
        app: password(),
        migrate: password(),
        operator: password(),
    };
    let url = |login: &str, password: &SecretString| {
        login_url(database, login, password)
            .map(|url| url.expose_secret().to_owned())
            .map_err(|error| Failure::setup(error.to_string()))
    };
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:{port}\"\npublic_origin = \"{ORIGIN}\"\n\
         further_origins = [\"http://127.0.0.1:{port}\"]\n\n\
         [database]\nurl = \"{}\"\nowner_url = \"{}\"\nops_url = \"{}\"\n\n\
         [clerk]\nissuer = \"{ISSUER}\"\njwks_url = \"http://127.0.0.1:{double}/.well-known/jwks.json\"\n\
         authorized_parties = [\"{ORIGIN}\"]\nfrontend_url = \"http://127.0.0.1:{double}\"\n\
         publishable_key = \"pk_test_stand-in\"\nwebhook_secret_file = {}\n\
         secret_key_file = {}\nbackend_url = \"http://127.0.0.1:{double}\"\n\n[keys]\nlocation = {}\n\n\
         [outbound]\nallow = [\"127.0.0.1:{double}\"]\n\n\
         [ledger]\ncheckpoint_dir = {}\n",
        url("studio_app", &passwords.app)?,
        url("studio_migrate", &passwords.migrate)?,
        url("studio_operator", &passwords.operator)?,
        toml::Value::String(webhook.display().to_string()),
        toml::Value::String(secret.display().to_string()),
        toml::Value::String(keys.display().to_string()),
        toml::Value::String(checkpoints.display().to_string()),
        double = port + 2,
    );
    let path = folder.join("studio.toml");
    write_private(&path, &text)?;
    let config = Config::read(&path, std::iter::empty())
        .map_err(|error| Failure::setup(error.to_string()))?;
    Ok((config, passwords))
}

struct Listeners {
    api: TcpListener,
    small: TcpListener,
    double: TcpListener,
}

async fn listen(port: u16) -> Result<Listeners, Failure> {
    let bind = async |port: u16| {
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))
            .await
            .map_err(|error| {
                Failure::setup(format!("port {port}: {error}; choose another with --port"))
            })
    };
    Ok(Listeners {
        api: bind(port).await?,
        small: bind(port + 1).await?,
        double: bind(port + 2).await?,
    })
}

/// The same server with limits that are soon met: `rate_limit` of the target says which.
fn with_small_limits(app: &App) -> App {
    let mut config = Config::clone(&app.config);
    config.limits = Limits {
        per_address_s: 40,
        per_member_s: 10,
        per_studio_s: 100,
        burst_s: 4,
        ..config.limits
    };
    App {
        limiter: Limiter::local(app.clock.clone()),
        config: Arc::new(config),
        ..app.clone()
    }
}

/// Serves the API, its twin and the stand-in for Clerk; dropping what it gives stops them.
fn run_servers(
    listeners: Listeners,
    app: &App,
    world: &World,
    double: &Double,
) -> tokio::task::JoinSet<()> {
    let mut servers = tokio::task::JoinSet::new();
    let small = with_small_limits(app);
    for (listener, app) in [(listeners.api, app.clone()), (listeners.small, small)] {
        servers.spawn(async move {
            serve_until(listener, &app, std::future::pending()).await;
        });
    }
    servers.spawn(app.keep_checkpoints());
    let tenancy = app.tenancy.clone();
    servers.spawn(async move {
        if let Err(fault) = tenancy.heed_until(None, std::future::pending()).await {
            tracing::error!(%fault, "isolations are not heeded");
        }
    });
    servers.spawn(app.desk.people.clone().keep_reconciled());
    let example = format!("http://127.0.0.1:{}/v1/bookings", world.port);
    let router = double.router_with_example(world.people(), &example);
    servers.spawn(async move {
        if let Err(error) = axum::serve(listeners.double, router).await {
            tracing::error!(%error, "the stand-in for clerk ended");
        }
    });
    servers
}

/// The five lines.
fn say(world: &World, output: &Output) {
    let (api, double) = (world.port, world.port + 2);
    let as_person = |studio: usize, part: &str, path: &str, what: &str| {
        let person = world.studios.get(studio)?.person(part);
        Some(format!(
            "{part:<10} curl -H \"Authorization: Bearer $(curl -s '127.0.0.1:{double}/token?subject={}')\" 127.0.0.1:{api}{path:<13} {what}",
            person.subject
        ))
    };
    let lines = [
        Some(format!(
            "pages      http://127.0.0.1:{api}/ui/bookings   api  http://127.0.0.1:{api}   tokens  http://127.0.0.1:{double}/sign-in   for attackers  .studio/demo/target.json"
        )),
        as_person(0, "owner", "/v1/bookings", "all bookings of one studio"),
        as_person(1, "manager", "/v1/artists", "the artists of the other"),
        as_person(0, "freelancer", "/v1/bookings", "the own bookings only"),
        as_person(0, "guest", "/v1/bookings", "403"),
    ];
    let text = lines.into_iter().flatten().collect::<Vec<_>>().join("\n");
    output.result(&text, &serde_json::json!({ "api": api, "double": double }));
}

/// Asks the running demonstration what a visitor would, and says whether the answers are right.
async fn smoke(world: &World, double: &Double, output: &Output) -> Result<u8, Failure> {
    let mut wrong = 0_u8;
    for (letter, part, path, expected) in [
        (0, "owner", "/v1/artists", "200"),
        (0, "manager", "/v1/bookings", "200"),
        (1, "freelancer", "/v1/bookings", "200"),
        (1, "guest", "/v1/me", "200"),
        (1, "guest", "/v1/artists", "403"),
    ] {
        let Some(studio) = world.studios.get(letter) else {
            continue;
        };
        let person = studio.person(part);
        let token = double.token(&TokenRequest {
            subject: person.subject.clone(),
            session: person.session.clone(),
            organization: studio.organization.clone(),
            slug: String::from("demo"),
            role: clerk_role(&person.role).to_owned(),
            version: 2,
            life_s: 60,
        });
        let status = ask(world.port, path, &token).await?;
        let good = status == expected;
        wrong += u8::from(!good);
        output.progress(&format!(
            "{} {part} of {} {path}: {status}",
            if good { "ok " } else { "BAD" },
            studio.name
        ));
    }
    Ok(u8::from(wrong > 0))
}

/// One request by hand: the product has no HTTP client for itself.
async fn ask(port: u16, path: &str, token: &str) -> Result<String, Failure> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let failed = |error: std::io::Error| Failure::refused(format!("{path}: {error}"));
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
        .await
        .map_err(|_| Failure::refused(format!("{path}: no answer in 10 s")))?
        .map_err(failed)?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}
