//! Configuration: one file, each key also as `STUDIO_SECTION_KEY`, unknown keys fatal.
//!
//! ```toml
//! [http]
//! listen = "127.0.0.1:8080"
//! public_origin = "https://app.example.test"
//!
//! [database]
//! url = "postgresql://studio_app:…@/studio?host=/run/postgresql"
//!
//! [clerk]
//! issuer = "https://clerk.example.test"
//! jwks_url = "https://clerk.example.test/.well-known/jwks.json"
//! authorized_parties = ["https://app.example.test"]
//!
//! [keys]
//! location = "/etc/studio/keys.toml"
//! ```

mod alerts;
mod limits;
mod mail;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use garde::Validate;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use watertight_edge::Proxies;
use watertight_identity::RoleMap;
use watertight_outbound::{OutboundError, OutboundRules};
use watertight_tenancy::Admission;
use watertight_watch::{OutOfBounds, Thresholds};

pub use alerts::Alerts;
pub use limits::{Limits, Override};
pub use mail::{Mail, MailSecurity};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    pub http: Http,
    /// The database.
    pub database: Database,
    /// The identity provider.
    pub clerk: Clerk,
    /// The keys.
    pub keys: Keys,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Outward connections.
    #[serde(default)]
    pub outbound: Outbound,
    /// Checkpoints of the ledger.
    #[serde(default)]
    pub ledger: Ledger,
    /// Attacks on a copy.
    #[serde(default)]
    pub pentest: Pentest,
    /// How members are told.
    #[serde(default)]
    pub mail: Mail,
    /// How operators are told.
    #[serde(default)]
    pub alerts: Alerts,
    /// Archives of studios.
    #[serde(default)]
    pub backup: Backup,
    /// From when on something looks wrong.
    #[serde(default)]
    pub watch: Thresholds,
    /// SHA-256 over all of it but what has secrets in it, for evidence.
    #[serde(skip)]
    pub digest: String,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port. Without a certificate it is plain HTTP: on loopback, or for `trusted_proxies`
    /// and nobody else.
    pub listen: SocketAddr,
    /// The listener's certificate and those between it and its authority, PEM. Read again at SIGHUP.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Where metrics are served, to whoever connects: an address of this machine that only the monitoring reaches. Without
    /// one they are not served.
    pub metrics_listen: Option<SocketAddr>,
    /// The origin under which browsers know the product.
    pub public_origin: String,
    /// Other origins under which the same pages are opened.
    #[serde(default)]
    pub further_origins: Vec<String>,
    /// Addresses and networks of proxies whose `X-Forwarded-For` counts.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// URL of the app role.
    pub url: SecretString,
    /// URL of the migrating login.
    pub owner_url: Option<SecretString>,
    /// URL of an operator's login.
    pub ops_url: Option<SecretString>,
    /// Prefix of the roles.
    #[serde(default = "studio")]
    pub prefix: String,
    /// At most so many connections.
    #[serde(default = "pool_max")]
    pub pool_max: usize,
    /// A request waits at most so long for a connection.
    #[serde(default = "wait_ms")]
    pub wait_ms: u64,
}

/// `[clerk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clerk {
    /// The issuer whose tokens count.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_url: Option<String>,
    /// Or a file with its public key (PEM).
    pub jwt_key_file: Option<PathBuf>,
    /// Further instances whose tokens count, for the move from one to another. All of them must be
    /// yours: whoever has an instance names any user and any organization.
    #[serde(default)]
    pub further_instances: Vec<Instance>,
    /// The origins that may ask for tokens, and call the API from a browser.
    pub authorized_parties: Vec<String>,
    /// Origin of Clerk's Frontend API, whose script the sign-in page loads; the issuer, unless said.
    pub frontend_url: Option<String>,
    /// `pk_live_…`; without one nobody can sign in by browser.
    pub publishable_key: Option<String>,
    /// A file with the secret of the webhook endpoint, `whsec_…`; two lines while it is replaced.
    /// Without one no delivery is taken.
    pub webhook_secret_file: Option<PathBuf>,
    /// A file with the instance's secret key, `sk_live_…`: by it memberships are compared with Clerk's,
    /// and what owners do is told there. Without one only webhooks tell, and only what Clerk does.
    pub secret_key_file: Option<PathBuf>,
    /// Origin of Clerk's Backend API, for a stand-in.
    pub backend_url: Option<String>,
    /// Whether an organization of Clerk's becomes a studio when it has an owner: `any` does, while by
    /// `invite` only `studio create` makes one.
    #[serde(default)]
    pub new_studios: NewStudios,
    /// Who admits whom nobody here invited, in a studio that is made from now on; an owner may decide
    /// otherwise. By `clerk` whoever holds Clerk's dashboard lets people in, as far as managers.
    #[serde(default)]
    pub admission: AdmissionBy,
    /// Further Clerk roles and what they are here, such as `admin = "owner"`.
    #[serde(default)]
    pub role_map: BTreeMap<String, watertight_terms::Role>,
    /// How far clocks may differ.
    #[serde(default = "clock_skew_s")]
    pub clock_skew_s: i64,
}

/// An instance of Clerk's: `[[clerk.further_instances]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The issuer whose tokens count.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_url: Option<String>,
    /// Or a file with its public key (PEM).
    pub jwt_key_file: Option<PathBuf>,
}

/// Which organizations become studios.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewStudios {
    /// Those that an operator names.
    #[default]
    Invite,
    /// Any that has an owner.
    Any,
}

/// Who admits whom nobody invited.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Admission", inline)]
pub enum AdmissionBy {
    /// An owner of the studio.
    #[default]
    Owner,
    /// Clerk.
    Clerk,
}

impl From<AdmissionBy> for Admission {
    fn from(by: AdmissionBy) -> Self {
        match by {
            AdmissionBy::Owner => Self::Owner,
            AdmissionBy::Clerk => Self::Clerk,
        }
    }
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key file.
    pub location: PathBuf,
    /// Who holds the key-encryption keys of personal fields.
    #[serde(default)]
    pub provider: Provider,
    /// With `env`: the variable that holds them, in the form of a ring of the key file.
    #[serde(default)]
    pub variable: String,
    /// With `command`: the program and its arguments; how it is asked stands in docs/decisions/vault.md.
    #[serde(default)]
    pub command: Vec<String>,
    /// With `http`: where they are asked for by POST.
    #[serde(default)]
    pub url: String,
    /// With `http`: a file with a bearer token.
    pub token_file: Option<PathBuf>,
}

/// Who holds the key-encryption keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The ring `vault` of the key file.
    #[default]
    File,
    /// A variable of the environment.
    Env,
    /// A program that is asked.
    Command,
    /// A service that is asked.
    Http,
}

impl Keys {
    /// Whether the provider has the setting that it needs, and no other's.
    fn is_complete(&self) -> bool {
        let given = [
            !self.variable.is_empty(),
            !self.command.is_empty(),
            !self.url.is_empty(),
        ];
        let needed =
            [Provider::Env, Provider::Command, Provider::Http].map(|one| one == self.provider);
        given == needed && (self.token_file.is_none() || self.provider == Provider::Http)
    }
}

/// `[outbound]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// `host:port` that may be reached although private.
    pub allow: Vec<String>,
}

/// `[ledger]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// A folder where checkpoints go outside the database, best on another machine. Without one
    /// nothing betrays somebody who rewrites the whole database.
    pub checkpoint_dir: Option<PathBuf>,
    /// So long an entry waits for its number and its checkpoint, at most, while the server keeps up.
    pub seal_lag_ms: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            checkpoint_dir: None,
            seal_lag_ms: 200,
        }
    }
}

/// `[pentest]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pentest {
    /// The folder of the reports of `cargo x pentest`, a file a day: `2026-11-27.md`. `studio doctor`
    /// warns when the last is old.
    pub reports: Option<PathBuf>,
}

/// `[backup]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// The folder of the studios' archives, mode 0700; best a mount of another machine's disk.
    pub folder: Option<PathBuf>,
    /// To whom a studio's archives and evidence are encrypted: a file of age's recipients, `age1…`, one a line. `{studio}` in it is
    /// the studio's id and must be there: each has its own. Without recipients no archive is written.
    pub recipients_file: Option<String>,
    /// pgBackRest with its arguments, by which the cluster's backups are read: `studio restore --at`.
    pub pgbackrest: Vec<String>,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            folder: None,
            recipients_file: None,
            pgbackrest: ["pgbackrest", "--stanza=studio"].map(str::to_owned).into(),
        }
    }
}

/// SHA-256 over the values of a configuration, in the order of their names, without URLs: those may have a password in them.
fn digest_of(table: &toml::Table) -> String {
    let mut digest = Context::new(&SHA256);
    let mut sections: Vec<_> = table.iter().collect();
    sections.sort_by_key(|(name, _)| *name);
    for (section, values) in sections {
        let mut values: Vec<_> = values.as_table().into_iter().flatten().collect();
        values.sort_by_key(|(name, _)| *name);
        for (key, value) in values {
            if !key.ends_with("url") {
                digest.update(format!("{section}.{key} = {value}\n").as_bytes());
            }
        }
    }
    hex::encode(digest.finish())
}

fn studio() -> String {
    "studio".to_owned()
}

fn pool_max() -> usize {
    16
}

fn wait_ms() -> u64 {
    5_000
}

fn clock_skew_s() -> i64 {
    5
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("the configuration `{0}` cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// It is malformed, or a key is unknown or missing.
    #[error("the configuration `{0}`: {1}")]
    Malformed(PathBuf, String),
    /// Others than its owner may read it, and it holds passwords.
    #[error("the configuration `{0}` has mode {1:o} and holds passwords; give it mode 600")]
    Open(PathBuf, u32),
    /// A value is out of its bounds.
    #[error("[{section}] {key}: {why}")]
    Value {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl Clerk {
    /// The instances whose tokens count, the usual one first.
    pub fn instances(&self) -> Vec<Instance> {
        let usual = Instance {
            issuer: self.issuer.clone(),
            jwks_url: self.jwks_url.clone(),
            jwt_key_file: self.jwt_key_file.clone(),
        };
        let further = self.further_instances.iter().cloned();
        std::iter::once(usual).chain(further).collect()
    }

    /// What Clerk's roles are here.
    pub fn roles(&self) -> RoleMap {
        let named = self.role_map.iter();
        named.fold(RoleMap::default(), |map, (name, role)| {
            map.with(name, *role)
        })
    }
}

impl Config {
    /// Connections outward, within the rules of `[outbound]`.
    ///
    /// # Errors
    /// When an item of the list is not `host:port`.
    pub fn outbound(&self) -> Result<watertight_outbound::Outbound, OutboundError> {
        watertight_outbound::Outbound::new(OutboundRules {
            allow: self.outbound.allow.clone(),
            deny_private: true,
        })
    }

    /// The proxies of ours.
    ///
    /// # Errors
    /// When one is neither an address nor a network.
    pub fn proxies(&self) -> Result<Proxies, watertight_edge::ProxiesFault> {
        self.http.trusted_proxies.join(",").parse()
    }

    /// The origins of our own pages.
    pub fn page_origins(&self) -> Vec<String> {
        let further = self.http.further_origins.iter();
        std::iter::once(&self.http.public_origin)
            .chain(further)
            .cloned()
            .collect()
    }

    /// Reads a file and lays `STUDIO_SECTION_KEY` variables of `environment` over it.
    ///
    /// # Errors
    /// When it cannot be read, has a key that is not known, or a value out of its bounds.
    pub fn read(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigFault> {
        let unreadable =
            |error: std::io::Error| ConfigFault::Unreadable(path.to_owned(), error.to_string());
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        expect_private(
            path,
            std::fs::metadata(path)
                .map_err(unreadable)?
                .permissions()
                .mode(),
        )?;
        let malformed = |why: String| ConfigFault::Malformed(path.to_owned(), without_values(&why));
        let mut table: toml::Table =
            toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
        for (name, value) in environment {
            lay_over(&mut table, &name, &value);
        }
        let digest = digest_of(&table);
        let mut config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| malformed(error.message().to_owned()))?;
        config.digest = digest;
        config.check()?;
        Ok(config)
    }

    fn check_alerts(&self) -> Result<(), ConfigFault> {
        let Ok(outbound) = self.outbound() else {
            return Err(ConfigFault::Value {
                section: "outbound",
                key: "allow",
                why: "give items such as hooks.example.com:443",
            });
        };
        self.alerts.check(&outbound, self.mail.host.is_some())
    }

    fn check(&self) -> Result<(), ConfigFault> {
        let fault = |section, key, why| Err(ConfigFault::Value { section, key, why });
        let has_tls = self.http.tls_cert.is_some();
        if has_tls != self.http.tls_key.is_some() {
            return fault("http", "tls_cert", "give both tls_cert and tls_key");
        }
        let recipients = self.backup.recipients_file.as_ref();
        if recipients.is_some_and(|file| !file.contains("{studio}")) {
            return fault(
                "backup",
                "recipients_file",
                "write `{studio}` in it, as in `/etc/studio/recipients/{studio}`: one file would open every studio's archives to the same",
            );
        }
        let is_apart = self.http.listen.ip().is_loopback() || !self.http.trusted_proxies.is_empty();
        if !has_tls && !is_apart {
            return fault(
                "http",
                "listen",
                "plain HTTP is for loopback and trusted_proxies only; give tls_cert and tls_key",
            );
        }
        if !self.page_origins().iter().all(|origin| is_origin(origin)) {
            return fault(
                "http",
                "public_origin",
                "give origins such as https://app.example.com, without a path",
            );
        }
        if !self
            .clerk
            .backend_url
            .iter()
            .all(|origin| is_origin(origin))
        {
            return fault(
                "clerk",
                "backend_url",
                "give an origin such as https://api.clerk.com, without a path",
            );
        }
        if !self
            .clerk
            .frontend_url
            .iter()
            .all(|origin| is_origin(origin))
        {
            return fault(
                "clerk",
                "frontend_url",
                "give an origin such as https://clerk.example.com, without a path",
            );
        }
        if !(1..=1_000).contains(&self.database.pool_max) {
            return fault("database", "pool_max", "give 1 to 1000 connections");
        }
        if !(1..=60_000).contains(&self.database.wait_ms) {
            return fault("database", "wait_ms", "give 1 to 60000 milliseconds");
        }
        if self.proxies().is_err() {
            return fault(
                "http",
                "trusted_proxies",
                "give addresses or networks such as 10.0.0.0/8",
            );
        }
        self.limits.check()?;
        self.mail.check()?;
        self.check_alerts()?;
        if let Err(OutOfBounds { key, why }) = self.watch.check() {
            return fault("watch", key, why);
        }
        if !(0..=60).contains(&self.clerk.clock_skew_s) {
            return fault("clerk", "clock_skew_s", "give 0 to 60 seconds");
        }
        if !(10..=1_000).contains(&self.ledger.seal_lag_ms) {
            return fault("ledger", "seal_lag_ms", "give 10 to 1000 milliseconds");
        }
        if self.clerk.authorized_parties.is_empty() {
            return fault(
                "clerk",
                "authorized_parties",
                "name the origins that may ask for tokens",
            );
        }
        if !self.keys.is_complete() {
            return fault(
                "keys",
                "provider",
                "give `variable` with env, `command` with command, `url` with http, none with file",
            );
        }
        let has_one_source = |one: &Instance| one.jwks_url.is_some() != one.jwt_key_file.is_some();
        if !self.clerk.instances().iter().all(has_one_source) {
            return fault("clerk", "jwks_url", "give either jwks_url or jwt_key_file");
        }
        Ok(())
    }
}

/// A scheme, a host, perhaps a port, nothing after it: it stands in headers as it is.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or_default();
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

fn expect_private(path: &Path, mode: u32) -> Result<(), ConfigFault> {
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(ConfigFault::Open(path.to_owned(), mode & 0o777)),
    }
}

/// What a parser says, without the texts in quotes: one of them may be a password in a wrong place.
fn without_values(said: &str) -> String {
    let parts = said.split('"').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 0 { part } else { "…" })
        .collect()
}

/// `STUDIO_HTTP_LISTEN=…` becomes `[http] listen`. A value that reads as TOML counts as that, any
/// other as text.
fn lay_over(table: &mut toml::Table, name: &str, value: &str) {
    const SECTIONS: [&str; 10] = [
        "http", "database", "clerk", "keys", "limits", "outbound", "ledger", "mail", "watch",
        "alerts",
    ];
    let Some(rest) = name.strip_prefix("STUDIO_") else {
        return;
    };
    let Some((section, key)) = rest.split_once('_') else {
        return;
    };
    let section = section.to_ascii_lowercase();
    if !SECTIONS.contains(&section.as_str()) {
        return;
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut one| one.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let entry = table
        .entry(section)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let toml::Value::Table(section) = entry {
        section.insert(key.to_ascii_lowercase(), parsed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
