use std::{
    future::Future,
    net::SocketAddr,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as SocketName, UnixListener},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use watertight_edge::{Listening, ServeLimits, Tls};
use watertight_identity::{Impersonation, Keys, Verifier, VerifierSettings};
use watertight_terms::{Clock, Random};

use super::{Failure, Output};
use crate::{
    app::App,
    config::{Config, Instance},
    jobs::{Pace, work_until},
    metrics, path,
};

/// Serve the API until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Leave what is due to other processes, started with `studio work`
    #[arg(long)]
    no_work: bool,
}

impl Serve {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let clock = Clock::system();
        let verifier = verifier(&config, clock.clone())?;
        let listen = config.http.listen;
        let tls = tls(&config)?;
        let app = App::new(config, verifier, clock, Random::system())
            .map_err(|error| Failure::setup(error.to_string()))?;
        examine(&app, output).await?;
        let refused =
            |error: std::io::Error| Failure::setup(format!("[http] listen {listen}: {error}"));
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        // Not what was asked for: port 0 is any that is free.
        let listen = listener.local_addr().map_err(refused)?;
        output.result(
            &format!("listening on {}://{listen}", scheme(&tls)),
            &json!({ "listen": listen }),
        );
        let work = async {
            if !self.no_work {
                work_until(&app, Pace::default(), stop()).await;
            }
        };
        let mut listening = Listening::from(listener);
        if let Some(tls) = &tls {
            listening = listening.encrypted(tls.clone());
        } else if !listen.ip().is_loopback() {
            // Who is no proxy would be answered in the clear.
            listening = listening.only_from(app.config.proxies().unwrap_or_default());
        }
        let checkpoints = tokio::spawn(app.keep_checkpoints());
        let measuring =
            measuring(&app, "serve", app.config.http.metrics_listen, tls.clone()).await?;
        let rotations = tokio::spawn(renew_when_told(app.verifier.clone(), tls));
        let reconciling = tokio::spawn(app.desk.people.clone().keep_reconciled());
        let platform = app.platform.clone();
        let tenancy = app.tenancy.clone();
        let telling = tokio::spawn(async move { platform.keep_telling(&tenancy).await });
        let answering = async {
            tokio::join!(serve_until(listening, &app, stop()), work);
        };
        let heeded = app.tenancy.heed_until(measuring.proof(), answering).await;
        telling.abort();
        measuring.abort();
        app.platform.end(&app.tenancy).await;
        checkpoints.abort();
        reconciling.abort();
        rotations.abort();
        heeded.map_err(|fault| Failure::setup(fault.to_string()))?;
        Ok(0)
    }
}

/// What measures, under a name of its own.
pub(super) struct Measuring {
    task: JoinHandle<()>,
    place: Option<Place>,
}

/// What this process has and no other beside it.
struct Place {
    /// A digest of what is had, and where.
    proof: Option<String>,
    _socket: UnixListener,
}

impl Measuring {
    /// By what this process is known to be the only one that has its name: whoever had it before has ended.
    pub(super) fn proof(&self) -> Option<&str> {
        self.place.as_ref()?.proof.as_deref()
    }

    /// Measures no more. The name is kept until this is dropped.
    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

/// Measures, and serves what is measured where somebody is to ask for it. `command` is what this process does.
///
/// # Errors
/// When that address cannot be listened on.
pub(super) async fn measuring(
    app: &App,
    command: &str,
    listen: Option<SocketAddr>,
    tls: Option<Tls>,
) -> Result<Measuring, Failure> {
    let refused = |error: std::io::Error| {
        Failure::setup(format!(
            "the address of metrics cannot be listened on: {error}"
        ))
    };
    let listener = match listen {
        Some(listen) => Some(TcpListener::bind(listen).await.map_err(refused)?),
        None => None,
    };
    let (name, place) = process(command, &app.config);
    let begun = app.platform.begin(&app.tenancy, &name, app.clock.now());
    let begun = begun.await;
    begun.map_err(|fault| Failure::setup(fault.to_string()))?;
    let app = app.clone();
    let task = tokio::spawn(async move {
        let serving = async {
            if let Some(listener) = listener {
                metrics::serve(listener, app.metrics.clone(), std::future::pending()).await;
            }
        };
        tokio::join!(metrics::keep_measuring(&app, tls.as_ref()), serving);
    });
    Ok(Measuring { task, place })
}

/// Of one command with one configuration, so many processes on a machine remember apart; further ones remember with the last.
const PLACES: u32 = 64;

/// A name that this process has after a restart too, and nobody beside it: what it does, on which machine, where the server
/// listens, and which place is free there. It has the place for as long as it has the socket, which nobody connects to: a process that is
/// killed leaves it at once.
fn process(command: &str, config: &Config) -> (String, Option<Place>) {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("{command} {} {}", machine.trim(), config.http.listen);
    let database = config.database.url.expose_secret();
    // Without who signs in and by which password.
    let database = database
        .rsplit_once('@')
        .map_or("", |(_, database)| database);
    let digest = digest(&SHA256, format!("{name} {database}").as_bytes());
    let digest = hex::encode(digest);
    let named = |place| match place {
        1 => name.clone(),
        _ => format!("{name} {place}"),
    };
    for place in 1..=PLACES {
        let socket = format!("studio {digest} {place}");
        let address = SocketName::from_abstract_name(&socket);
        if let Ok(listener) = address.and_then(|address| UnixListener::bind_addr(&address)) {
            let held = Place {
                proof: proof(&socket),
                _socket: listener,
            };
            return (named(place), Some(held));
        }
    }
    (named(PLACES), None)
}

/// The name of a socket says who has it only where it is: in one network of one machine, since that was started.
fn proof(socket: &str) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    let held = format!("{socket} {} {}", boot.trim(), network.display());
    Some(hex::encode(digest(&SHA256, held.as_bytes())))
}

/// Refuses a database that is not as it must be, and names the gaps that are accepted.
pub(super) async fn examine(app: &App, output: &Output) -> Result<(), Failure> {
    let gaps = app.examine().await;
    for gap in gaps.map_err(|error| Failure::setup(error.to_string()))? {
        output.progress(&format!("accepted gap: {}: {}", gap.check, gap.what));
    }
    Ok(())
}

/// Serves on a listener until `stop` resolves; requests under way are let finish.
pub async fn serve_until(
    listening: impl Into<Listening>,
    app: &App,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let limits = ServeLimits::default();
    let streams = app.desk.streams.clone();
    // Answers that go on would keep their connections until they are cut off.
    let stop = async move {
        stop.await;
        streams.end();
    };
    if let Err(error) = watertight_edge::serve(listening, path::router(app), limits, stop).await {
        tracing::error!(%error, "the listener ended");
    }
}

/// The listener's certificate and key, where there are any.
fn tls(config: &Config) -> Result<Option<Tls>, Failure> {
    let (Some(certificates), Some(key)) = (&config.http.tls_cert, &config.http.tls_key) else {
        return Ok(None);
    };
    let tls = Tls::read(certificates, key);
    tls.map(Some)
        .map_err(|error| Failure::setup(format!("[http] {error}")))
}

fn scheme(tls: &Option<Tls>) -> &'static str {
    match tls {
        Some(_) => "https",
        None => "http",
    }
}

/// Who verifies callers, as the configuration says.
///
/// # Errors
/// When the settings cannot be used.
pub fn verifier(config: &Config, clock: Clock) -> Result<Verifier, Failure> {
    let mut instances = Vec::new();
    for instance in config.clerk.instances() {
        let keys = keys(config, &instance)?;
        let settings = VerifierSettings {
            issuer: instance.issuer,
            authorized_parties: config.clerk.authorized_parties.clone(),
            audiences: Vec::new(),
            role_map: config.clerk.roles(),
            clock_skew_s: config.clerk.clock_skew_s,
            longest_life_s: 120,
            // Whether somebody may is each studio's choice; the database asks it.
            impersonation: Impersonation::ReadOnly,
        };
        instances.push((settings, keys));
    }
    Verifier::of(instances, clock).map_err(|error| Failure::setup(format!("[clerk] {error}")))
}

fn keys(config: &Config, instance: &Instance) -> Result<Keys, Failure> {
    let unusable = |why: String| Failure::setup(format!("[clerk] jwt_key_file: {why}"));
    match (&instance.jwks_url, &instance.jwt_key_file) {
        (Some(url), _) => {
            let outbound = config
                .outbound()
                .map_err(|error| Failure::setup(format!("[outbound] {error}")))?;
            Ok(Keys::jwks(outbound, url))
        }
        (None, Some(file)) => {
            let pem = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
            Keys::pem(None, &pem).map_err(|error| unusable(error.to_string()))
        }
        (None, None) => Err(Failure::setup("[clerk] give jwks_url or jwt_key_file")),
    }
}

/// At SIGHUP every key of Clerk's that was fetched is forgotten, and every token that was verified:
/// for an operator who rotated keys there. What was revoked is not used for another hour. The
/// listener's certificate is read again, for whoever renewed it.
async fn renew_when_told(verifier: Verifier, tls: Option<Tls>) {
    let kind = tokio::signal::unix::SignalKind::hangup();
    let mut told = match tokio::signal::unix::signal(kind) {
        Ok(told) => told,
        Err(error) => return tracing::warn!(%error, "SIGHUP cannot be listened for"),
    };
    while told.recv().await.is_some() {
        verifier.rotated();
        tracing::info!(target: "security", "told of a rotation: clerk's keys are forgotten");
        match tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => tracing::info!(target: "security", "the certificate was read again"),
            Some(Err(error)) => {
                tracing::error!(target: "alert", %error, "the certificate cannot be read again; the old one stays");
            }
        }
    }
}

/// Resolves at SIGINT or SIGTERM.
pub(super) async fn stop() {
    let mut terminated =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened for");
                return drop(tokio::signal::ctrl_c().await);
            }
        };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
