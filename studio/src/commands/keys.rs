mod vault;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use watertight_tenancy::KeyTable;
use watertight_terms::{Key, KeyError, KeyFile, KeyRing, Random};

use super::{
    Failure, Output,
    install::{installation, owner_url, write_private},
};
use crate::config::Config;

/// Rotate and retire keys.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a new key and use it; what the old one made stays good until it is retired
    Rotate {
        /// Which ring
        ring: Ring,
    },
    /// Seal anew what an old key of the vault sealed; goes on where it was cut off
    Reseal,
    /// Take an old key out of use, once nothing needs it
    Retire {
        /// Which ring; checkpoints of old keys stay what they are
        ring: Retired,
        /// The key's number
        #[arg(long)]
        id: i16,
    },
}

/// Rings that can be rotated.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Ring {
    /// The server signs contexts with it, the database checks them
    Context,
    /// The server signs checkpoints of the ledger with it, whoever has the public half checks them
    Checkpoint,
    /// The key-encryption keys of personal fields
    Vault,
}

/// Rings of which a key can be taken out of use.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Retired {
    /// The server signs contexts with it, the database checks them
    Context,
    /// The key-encryption keys of personal fields
    Vault,
}

impl Keys {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        match self {
            Self::Rotate {
                ring: Ring::Context,
            } => rotate_context(&config, output).await,
            Self::Rotate {
                ring: Ring::Checkpoint,
            } => rotate_checkpoint(&config, output),
            Self::Rotate { ring: Ring::Vault } => vault::rotate(config, output).await,
            Self::Reseal => vault::reseal(config, output).await,
            Self::Retire {
                ring: Retired::Context,
                id,
            } => retire(&config, output, id).await,
            Self::Retire {
                ring: Retired::Vault,
                id,
            } => vault::retire(config, output, id).await,
        }
    }
}

async fn rotate_context(config: &Config, output: &Output) -> Result<u8, Failure> {
    let id = new_context_key(config).await?;
    output.result(
        &format!("context key {id} is current; retire the old one when no server signs with it"),
        &json!({ "ring": "context", "current": id }),
    );
    Ok(0)
}

/// First the database learns the new key, then the key file names it: at no instant is a context
/// signed that the database does not know.
pub(super) async fn new_context_key(config: &Config) -> Result<i16, Failure> {
    let setup = |error: KeyError| Failure::setup(error.to_string());
    let file = KeyFile::read(&config.keys.location).map_err(setup)?;
    let ring = file.ring("context").map_err(setup)?.clone();
    let installation = installation(&config.database.prefix)?;
    let owner = owner_url(config)?;
    let id = installation
        .next_context_key(owner)
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    let ring = ring.rotated(id, Key::new(Random::system().bytes()));
    installation
        .write_keys(owner, &[KeyTable::context(ring.clone())])
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    write_private(&config.keys.location, &file.with("context", ring).to_text())?;
    Ok(id)
}

/// The old keys stay in the ring: what they signed is verified with their public halves. Where there is
/// no ring yet, it begins.
fn rotate_checkpoint(config: &Config, output: &Output) -> Result<u8, Failure> {
    let setup = |error: KeyError| Failure::setup(error.to_string());
    let file = KeyFile::read(&config.keys.location).map_err(setup)?;
    let key = Key::new(Random::system().bytes());
    let (id, ring) = match file.ring("checkpoint") {
        Ok(ring) => {
            let last = ring.iter().map(|(id, _)| id).max().unwrap_or_default();
            (last + 1, ring.clone().rotated(last + 1, key))
        }
        Err(KeyError::NoRing(_)) => (1, KeyRing::single(1, key)),
        Err(error) => return Err(setup(error)),
    };
    write_private(
        &config.keys.location,
        &file.with("checkpoint", ring).to_text(),
    )?;
    output.result(
        &format!("checkpoint key {id} is current; give its public half to whoever verifies"),
        &json!({ "ring": "checkpoint", "current": id }),
    );
    Ok(0)
}

async fn retire(config: &Config, output: &Output, id: i16) -> Result<u8, Failure> {
    let setup = |error: KeyError| Failure::setup(error.to_string());
    let file = KeyFile::read(&config.keys.location).map_err(setup)?;
    let current = file
        .ring("context")
        .map_err(setup)?
        .current()
        .map(|(id, _)| id);
    if current == Some(id) {
        return Err(Failure::refused(format!(
            "key {id} is the current one; rotate first"
        )));
    }
    let known = installation(&config.database.prefix)?
        .retire_context_key(owner_url(config)?, id)
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    if !known {
        return Err(Failure::refused(format!(
            "there is no context key {id} that is in use"
        )));
    }
    output.result(
        &format!("context key {id} is retired"),
        &json!({ "ring": "context", "retired": id }),
    );
    Ok(0)
}
