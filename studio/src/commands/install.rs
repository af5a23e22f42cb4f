use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use watertight_ledger::Ledger;
use watertight_tenancy::{Installation, KeyTable, Migration, Passwords, login_url, password_of};
use watertight_terms::{Key, KeyFile, KeyRing, Random};

use super::{Failure, Output};
use crate::config::Config;

/// Make roles, schema and keys. Writes the configuration and the key file where there are none.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// URL of an administrator in the database to be used: a superuser, or CREATEROLE and its owner
    #[arg(long, env = "STUDIO_ADMIN_URL", hide_env_values = true)]
    admin_url: String,
    /// Prefix of the roles
    #[arg(long, default_value = "studio")]
    prefix: String,
}

impl Install {
    pub(super) async fn run(&self, path: &Path, output: &Output) -> Result<u8, Failure> {
        let admin = SecretString::from(self.admin_url.clone());
        let random = Random::system();
        if !path.exists() {
            write_first(path, &admin, &self.prefix, &random)?;
            output.progress(&format!(
                "wrote {} and its key file; set [clerk] there",
                path.display()
            ));
        }
        let config = Config::read(path, std::env::vars())
            .map_err(|error| Failure::setup(error.to_string()))?;
        output.progress("roles");
        let installation = installation(&self.prefix)?;
        let setup = |error: watertight_tenancy::InstallFault| Failure::setup(error.to_string());
        installation
            .roles(&admin, &passwords(&config)?)
            .await
            .map_err(setup)?;
        output.progress("schema and keys");
        let applied = installation
            .migrate(owner_url(&config)?, &key_tables(&config)?)
            .await
            .map_err(setup)?;
        output.result(
            &format!("installed: {} migrations applied", applied.len()),
            &json!({ "applied": applied, "config": path }),
        );
        Ok(0)
    }
}

/// Applies the migrations that are missing.
pub(super) async fn migrate(config: &Config, output: &Output) -> Result<u8, Failure> {
    let applied = installation(&config.database.prefix)?
        .migrate(owner_url(config)?, &key_tables(config)?)
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    let text = match applied.len() {
        0 => "up to date".to_owned(),
        _ => format!("applied {}", applied.join(", ")),
    };
    output.result(&text, &json!({ "applied": applied }));
    Ok(0)
}

/// Every room's migrations, then the product's.
pub fn migrations() -> Vec<Migration> {
    [
        watertight_tenancy::MIGRATIONS,
        watertight_vault::MIGRATIONS,
        watertight_ledger::MIGRATIONS,
        watertight_custody::MIGRATIONS,
        &crate::resources::migrations(),
    ]
    .concat()
}

/// Everything that is applied.
pub fn installation(prefix: &str) -> Result<Installation, Failure> {
    Installation::new(prefix, migrations()).map_err(|error| Failure::setup(error.to_string()))
}

/// A key file with a first key of each ring.
pub fn first_keys(random: &Random) -> KeyFile {
    let ring = || KeyRing::single(1, Key::new(random.bytes()));
    KeyFile::of([
        ("context", ring()),
        ("ledger", ring()),
        ("checkpoint", ring()),
        ("vault", ring()),
        ("cursor", ring()),
    ])
}

/// Writes a file that only its owner may read, at once: a temporary one is renamed over it.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        Failure::setup(format!("`{}` cannot be written: {error}", path.display()))
    };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // One that a crash left behind is of no use; its mode must not be inherited either.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

pub(crate) fn key_tables(config: &Config) -> Result<Vec<KeyTable>, Failure> {
    let setup = |error: watertight_terms::KeyError| Failure::setup(error.to_string());
    let keys = KeyFile::read(&config.keys.location).map_err(setup)?;
    Ok(vec![
        KeyTable::context(keys.ring("context").map_err(setup)?.clone()),
        Ledger::key_table(keys.ring("ledger").map_err(setup)?.clone()),
    ])
}

pub(crate) fn owner_url(config: &Config) -> Result<&SecretString, Failure> {
    config
        .database
        .owner_url
        .as_ref()
        .ok_or_else(|| Failure::setup("set [database] owner_url to the migrating login"))
}

fn passwords(config: &Config) -> Result<Passwords, Failure> {
    let of =
        |url: &SecretString| password_of(url).map_err(|error| Failure::setup(error.to_string()));
    let ops =
        config.database.ops_url.as_ref().ok_or_else(|| {
            Failure::setup("set [database] ops_url to the first operator's login")
        })?;
    Ok(Passwords {
        app: of(&config.database.url)?,
        migrate: of(owner_url(config)?)?,
        operator: of(ops)?,
    })
}

fn write_first(
    path: &Path,
    admin: &SecretString,
    prefix: &str,
    random: &Random,
) -> Result<(), Failure> {
    let keys = path.with_file_name("keys.toml");
    if !keys.exists() {
        write_private(&keys, &first_keys(random).to_text())?;
    }
    let url = |role: &str| {
        let password = SecretString::from(hex::encode(random.bytes::<24>()));
        login_url(admin, &format!("{prefix}_{role}"), &password)
            .map(|url| url.expose_secret().to_owned())
            .map_err(|error| Failure::setup(error.to_string()))
    };
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:8080\"\npublic_origin = \"https://app.example.test\"\n\n\
         [database]\nprefix = \"{prefix}\"\nurl = \"{}\"\nowner_url = \"{}\"\nops_url = \"{}\"\n\n\
         [clerk]\nissuer = \"https://clerk.example.test\"\n\
         jwks_url = \"https://clerk.example.test/.well-known/jwks.json\"\n\
         authorized_parties = [\"https://app.example.test\"]\n\n\
         [keys]\nlocation = {}\n",
        url("app")?,
        url("migrate")?,
        url("operator")?,
        toml::Value::String(keys.display().to_string()),
    );
    write_private(path, &text)
}
