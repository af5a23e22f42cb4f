//! The rooms, put together.

use std::{path::Path, sync::Arc, time::Duration};

use secrecy::SecretString;
use watertight::{
    argument::{Argument, Input},
    cursor::Cursors,
    describe::Description,
};
use watertight_authority::Authority;
use watertight_edge::rate::Limiter;
use watertight_identity::{Verifier, backend::Backend, webhook::Signer};
use watertight_ledger::{Checkpointer, Ledger};
use watertight_outbound::{Outbound, OutboundError, mail::Relay};
use watertight_tenancy::{Expectation, Finding, Settings, Severity, Tenancy, examine};
use watertight_terms::{Clock, Fault, KeyFile, KeyRing, Random};
use watertight_vault::{RemoteWrapping, Ring, RingWrapping, Vault, WrapFault, Wrapping};
use zeroize::Zeroizing;

use crate::{
    config::{Config, Provider},
    jobs::Operators,
    metrics::Metrics,
    people::People,
    platform::Platform,
    resources::{
        self,
        events::{Imports, Streams},
    },
    webhooks::Receiver,
};

/// Everything that serves requests.
#[derive(Clone)]
pub struct App {
    /// How it was set up.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Who is calling.
    pub verifier: Verifier,
    /// Counts requests.
    pub limiter: Limiter,
    /// In whose rooms.
    pub tenancy: Tenancy,
    /// Who numbers the ledger's entries and signs for them.
    pub checkpointer: Checkpointer,
    /// What handlers work with.
    pub desk: Desk,
    /// What is counted and measured here.
    pub metrics: Metrics,
    /// What looks wrong beside the studios.
    pub platform: Platform,
    /// Where operators are told of what looks wrong.
    pub operators: Operators,
    /// Who takes Clerk's deliveries, where there is a secret to believe them by.
    pub receiver: Option<Receiver>,
}

/// What handlers work with beside their transaction.
#[derive(Clone)]
pub struct Desk {
    /// Seals and opens personal fields.
    pub vault: Arc<Vault>,
    /// Makes and reads cursors.
    pub cursors: Arc<Cursors>,
    /// The time.
    pub clock: Clock,
    /// Randomness, for ids.
    pub random: Random,
    /// People here and at Clerk.
    pub people: People,
    /// Connections outward.
    pub outbound: Outbound,
    /// Who takes mails, where there is one.
    pub relay: Option<Relay>,
    /// The streams that are open.
    pub streams: Streams,
    /// The imports that write.
    pub imports: Imports,
    /// The origin under which people know the product.
    pub origin: Arc<str>,
    /// What checkpoints are signed with, for its public halves.
    pub checkpoint_keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
}

impl Argument for Desk {
    /// It is ours, not the caller's.
    fn describe(_: &mut Description<'_>) {}

    fn take(input: &Input) -> Result<Self, Fault> {
        input
            .state
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Fault::bug("the door was built without the handlers' desk"))
    }
}

/// Why the product cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppFault {
    /// A key is missing or malformed.
    #[error(transparent)]
    Keys(#[from] watertight_terms::KeyError),
    /// A policy does not say what the schema allows.
    #[error("policies: {0}")]
    Policies(String),
    /// The database's settings cannot be used.
    #[error(transparent)]
    Settings(#[from] watertight_tenancy::SettingsFault),
    /// The store of rate limits cannot be used.
    #[error("[limits] rate_url: {0}")]
    Limits(#[from] watertight_edge::rate::StoreFault),
    /// The key-encryption keys are not the ones that this database was sealed with.
    #[error("refusing to start: {0}")]
    Vault(WrapFault),
    /// `[keys]` cannot be used.
    #[error("[keys] {0}")]
    Provider(String),
    /// The identity provider's settings cannot be used.
    #[error("[clerk] {0}")]
    Identity(String),
    /// The relay of mails cannot be used.
    #[error("[mail] {0}")]
    Mail(String),
    /// Operators cannot be told as the configuration says.
    #[error("[alerts] {0}")]
    Alerts(String),
    /// A connection outward cannot be allowed as the configuration says.
    #[error("[outbound] {0}")]
    Outbound(#[from] OutboundError),
    /// The database cannot be examined.
    #[error(transparent)]
    Database(#[from] watertight_tenancy::InstallFault),
    /// The database is not as it must be.
    #[error("refusing to start: {}", .0.iter().map(|f| format!("{}: {} ({})", f.check, f.what, f.fix)).collect::<Vec<_>>().join("; "))]
    Unsafe(Vec<Finding>),
}

impl App {
    /// Puts the rooms together. Nothing is connected yet.
    ///
    /// # Errors
    /// When keys, policies or settings cannot be used.
    pub fn new(
        config: Config,
        verifier: Verifier,
        clock: Clock,
        random: Random,
    ) -> Result<Self, AppFault> {
        let keys = KeyFile::read(&config.keys.location)?;
        let settings = Settings {
            url: config.database.url.clone(),
            pool_max: config.database.pool_max,
            wait_ms: config.database.wait_ms,
            constraint: resources::constraint,
            rows: resources::rows(),
        };
        let tenancy = Tenancy::new(
            &settings,
            ring(&config.keys.location, &keys, "context")?,
            Arc::new(authority()?),
            Arc::new(Ledger::new(keys.ring("ledger")?.clone())),
            clock.clone(),
            random.clone(),
        )?;
        let checkpoint_keys = ring(&config.keys.location, &keys, "checkpoint")?;
        let checkpointer = Checkpointer::new(
            tenancy.clone(),
            Arc::clone(&checkpoint_keys),
            config.ledger.checkpoint_dir.clone(),
            clock.clone(),
        );
        let wrapping = wrapping(&config, &keys, &random)?;
        let vault = Arc::new(Vault::new(wrapping, random.clone()));
        let people = People {
            tenancy: tenancy.clone(),
            vault: Arc::clone(&vault),
            roles: config.clerk.roles(),
            backend: backend(&config, &clock)?,
            new_studios: config.clerk.new_studios,
            admission: config.clerk.admission.into(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let receiver = receiver(&config, &people, &clock)?;
        let metrics = Metrics::new(clock.now());
        let desk = Desk {
            vault,
            cursors: Arc::new(Cursors::new(keys.ring("cursor")?.clone())),
            clock: clock.clone(),
            random: random.clone(),
            people,
            outbound: config.outbound()?,
            relay: config.mail.relay().map_err(AppFault::Mail)?,
            streams: Streams::default(),
            imports: Imports::default(),
            origin: config.http.public_origin.as_str().into(),
            checkpoint_keys,
        };
        Ok(Self {
            receiver,
            limiter: config.limits.limiter(&clock)?,
            platform: Platform::new(config.watch.clone(), metrics.clone()),
            metrics,
            operators: Operators::new(&config.alerts).map_err(AppFault::Alerts)?,
            config: Arc::new(config),
            clock,
            random,
            verifier,
            tenancy,
            checkpointer,
            desk,
        })
    }

    /// Numbers the ledger's entries and signs for them, for as long as it runs.
    pub fn keep_checkpoints(&self) -> impl Future<Output = ()> + Send + use<> {
        let pause = Duration::from_millis(self.config.ledger.seal_lag_ms);
        self.checkpointer.clone().keep(pause)
    }

    /// Examines the database and refuses one that is not as it must be. Gives the accepted gaps.
    ///
    /// # Errors
    /// When something that refuses was found.
    pub async fn examine(&self) -> Result<Vec<Finding>, AppFault> {
        let gaps = self.examine_database().await?;
        let checked = self.desk.vault.check(&self.tenancy).await;
        checked.map_err(AppFault::Vault)?;
        Ok(gaps)
    }

    /// The same without the key-encryption keys: whoever opens nothing needs none of them.
    ///
    /// # Errors
    /// As [`App::examine`].
    pub async fn examine_database(&self) -> Result<Vec<Finding>, AppFault> {
        let findings = findings(&self.config, &self.clock, &self.random).await?;
        let (refusing, gaps): (Vec<_>, Vec<_>) = findings
            .into_iter()
            .partition(|finding| finding.severity == Severity::Refuses);
        if !refusing.is_empty() {
            return Err(AppFault::Unsafe(refusing));
        }
        Ok(gaps)
    }
}

/// Where Clerk is asked and told.
fn backend(config: &Config, clock: &Clock) -> Result<Option<Backend>, AppFault> {
    let clerk = &config.clerk;
    let Some(file) = &clerk.secret_key_file else {
        return Ok(None);
    };
    let wrong = |why: String| AppFault::Identity(format!("secret_key_file: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let secret = SecretString::from(text.trim());
    let outbound = config
        .outbound()
        .map_err(|error| AppFault::Identity(error.to_string()))?;
    let backend = match &clerk.backend_url {
        Some(url) => Backend::at(url, outbound, secret, clock.clone()),
        None => Backend::new(outbound, secret, clock.clone()),
    };
    backend.map(Some).map_err(|error| wrong(error.to_string()))
}

/// Who takes Clerk's deliveries.
fn receiver(config: &Config, people: &People, clock: &Clock) -> Result<Option<Receiver>, AppFault> {
    let Some(file) = &config.clerk.webhook_secret_file else {
        return Ok(None);
    };
    let wrong = |why: String| AppFault::Identity(format!("webhook_secret_file: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let secrets: Vec<SecretString> = text.split_whitespace().map(SecretString::from).collect();
    let signer = Signer::new(&secrets).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(Receiver {
        signer: Arc::new(signer),
        people: people.clone(),
        clock: clock.clone(),
    }))
}

/// What `doctor` finds in the database of a configuration.
///
/// # Errors
/// When it cannot be reached.
pub async fn findings(
    config: &Config,
    clock: &Clock,
    random: &Random,
) -> Result<Vec<Finding>, AppFault> {
    let expected = Expectation {
        prefix: config.database.prefix.clone(),
        personal: resources::personal_columns(),
        context: KeyFile::read(&config.keys.location)?
            .ring("context")?
            .clone(),
        clock: clock.clone(),
        random: random.clone(),
    };
    Ok(examine(&config.database.url, &expected).await?)
}

/// The policies of every resource.
///
/// # Errors
/// When they do not fit their schema.
pub fn authority() -> Result<Authority, AppFault> {
    Authority::new(&resources::schema(), &resources::policies())
        .map_err(|error| AppFault::Policies(error.to_string()))
}

/// Who wraps the data keys, as the configuration says.
///
/// # Errors
/// When the provider's settings cannot be used.
pub(crate) fn wrapping(
    config: &Config,
    keys: &KeyFile,
    random: &Random,
) -> Result<Arc<dyn Wrapping>, AppFault> {
    let settings = &config.keys;
    Ok(match settings.provider {
        Provider::File => {
            let ring = ring(&settings.location, keys, "vault")?;
            Arc::new(RingWrapping::new(ring, random.clone()))
        }
        Provider::Env => {
            let wrong = |error| AppFault::Provider(format!("`{}`: {error}", settings.variable));
            let text = std::env::var(&settings.variable).map(Zeroizing::new);
            let text = text.map_err(|error| wrong(error.to_string()))?;
            let file = KeyFile::parse(&format!("[vault]\n{}", *text))?;
            let ring = file.ring("vault")?.clone();
            Arc::new(RingWrapping::new(
                Arc::new(move || ring.clone()),
                random.clone(),
            ))
        }
        Provider::Command => Arc::new(RemoteWrapping::command(settings.command.clone())),
        Provider::Http => {
            let wrong = |why: String| AppFault::Provider(why);
            let outbound = config
                .outbound()
                .map_err(|error| wrong(error.to_string()))?;
            let token = settings.token_file.as_ref().map(|file| {
                let text = std::fs::read_to_string(file).map(Zeroizing::new);
                text.map(|text| SecretString::from(text.trim()))
                    .map_err(|error| wrong(format!("token_file: {error}")))
            });
            let url = settings.url.clone();
            Arc::new(RemoteWrapping::http(outbound, url, token.transpose()?))
        }
    })
}

/// A ring, read again when the key file has changed: a rotation needs no restart. A file that cannot
/// be read meanwhile leaves the ring that was read last.
fn ring(location: &Path, first: &KeyFile, purpose: &'static str) -> Result<Ring, AppFault> {
    use std::sync::{Mutex, PoisonError};
    let changed_at = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    let location = location.to_owned();
    let held = Mutex::new((changed_at(&location), first.ring(purpose)?.clone()));
    Ok(Arc::new(move || {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed_at(&location);
        if now != held.0
            && let Ok(file) = KeyFile::read(&location)
            && let Ok(ring) = file.ring(purpose)
        {
            *held = (now, ring.clone());
        }
        held.1.clone()
    }))
}
