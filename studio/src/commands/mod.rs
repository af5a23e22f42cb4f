//! The operators' command line.

mod audit;
mod backup;
mod close;
mod columns;
mod complete;
mod config_check;
mod create;
mod doctor;
mod drill;
mod erase;
mod incident;
mod install;
mod keys;
mod legal_hold;
mod meter;
mod output;
mod reconcile;
mod restore;
mod retain;
mod serve;
mod watch;
mod work;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use audit::{Verdict, Verification};
pub use complete::{Gap, gaps, last_ticket, reader};
pub use install::{first_keys, installation, migrations, write_private};
pub(crate) use install::{key_tables, owner_url};
pub use output::{Failure, Format, Output};
pub use serve::{serve_until, verifier};

use watertight_terms::{Clock, Random};
use watertight_watch::Thresholds;

use crate::{app::App, config::Config};

/// Production Tool 2.0: bookings of creative studios, many in one database, none able to see another.
#[derive(Debug, Parser)]
#[command(name = "studio", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration; without it STUDIO_CONFIG, ./studio.toml, or that of a demo that runs here
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How results are written; progress goes to standard error and never mixes with them
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Nothing but results and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// No progress on standard error
    #[arg(long, global = true)]
    no_progress: bool,
    /// Do not ask
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make roles, schema and keys in a database; may be run again at any time
    Install(install::Install),
    /// Apply the migrations that are missing
    Migrate,
    /// Make a new studio with its first owner
    Create(create::Create),
    /// Compare the members with those that Clerk has, and mend what differs
    Reconcile(reconcile::Reconcile),
    /// Serve the API, and do what is due
    Serve(serve::Serve),
    /// Do what is due: holds and challenges that ran out
    Work(work::Work),
    /// Examine the database and name what is not as it must be
    Doctor,
    /// Look at the ledger
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Rotate and retire keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Every column: what it holds, and how long its rows are kept
    Columns,
    /// Keep something as it is, in an incident
    #[command(subcommand)]
    LegalHold(legal_hold::LegalHold),
    /// What operators do when something went wrong in a studio
    #[command(subcommand)]
    Incident(incident::Incident),
    Erase(erase::Erase),
    /// Write a studio's archives, or look at those that are there
    Backup(backup::Backup),
    /// Bring a studio back to what an archive says
    Restore(restore::Restore),
    /// Bring every studio's archives back into a cluster of its own, and compare
    Drill(drill::Drill),
    Close(close::Close),
    /// Let go of what was kept for long enough
    #[command(subcommand)]
    Retain(retain::Retain),
    /// Look for what looks wrong
    #[command(subcommand)]
    Watch(watch::Watch),
    /// Two studios to try things with
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration and say whether it can be used
    Check,
}

impl Cli {
    /// Runs the command. The exit code is 0 when all is well, 1 when something was found, and 2
    /// when the command could not be used as it was called or set up.
    pub async fn run(self) -> u8 {
        let output = Output::new(
            self.global.format,
            self.global.quiet,
            self.global.no_progress,
        );
        match self.dispatch(&output).await {
            Ok(code) => code,
            Err(failure) => {
                output.error(&failure);
                failure.code()
            }
        }
    }

    async fn dispatch(self, output: &Output) -> Result<u8, Failure> {
        let global = self.global;
        match self.command {
            Command::Install(install) => install.run(&global.path(), output).await,
            Command::Migrate => install::migrate(&global.read()?, output).await,
            Command::Create(create) => create.run(&global.read()?, output).await,
            Command::Reconcile(reconcile) => reconcile.run(global.read()?, output).await,
            Command::Serve(serve) => serve.run(global.read()?, output).await,
            Command::Work(work) => work.run(global.read()?, output).await,
            Command::Doctor => doctor::run(&global.read()?, output).await,
            Command::Config(ConfigCommand::Check) => config_check::run(&global.read()?, output),
            Command::Audit(audit) => audit.run(&global.read()?, output).await,
            Command::Columns => Ok(columns::run(output)),
            Command::Backup(backup) => backup.run(global.read()?, output).await,
            Command::Restore(restore) => restore.run(global.read()?, output).await,
            Command::Drill(drill) => drill.run(global.read()?, output).await,
            Command::Retain(retain) => retain.run(global.read()?, output).await,
            Command::Close(close) => close.run(global.read()?, output).await,
            Command::Erase(erase) => erase.run(global.read()?, output).await,
            Command::Incident(command) => command.run(&global.read()?, output).await,
            Command::LegalHold(command) => command.run(&global.read()?, output).await,
            Command::Watch(watch) => watch.run(&global, output).await,
            Command::Keys(keys) => keys.run(global.read()?, output).await,
            #[cfg(feature = "demo")]
            Command::Demo(demo) => demo.run(output).await,
        }
    }
}

/// The product without a listener, over a database that is as it must be.
async fn app(config: Config) -> Result<App, Failure> {
    let clock = Clock::system();
    let verifier = serve::verifier(&config, clock.clone())?;
    let app = App::new(config, verifier, clock, Random::system())
        .map_err(|error| Failure::setup(error.to_string()))?;
    app.examine()
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    Ok(app)
}

impl Global {
    fn path(&self) -> PathBuf {
        let named = self
            .config
            .clone()
            .or_else(|| std::env::var_os("STUDIO_CONFIG").map(PathBuf::from));
        let here = PathBuf::from("studio.toml");
        let demo = PathBuf::from(".studio/demo/studio.toml");
        match named {
            Some(path) => path,
            None if !here.exists() && demo.exists() => demo,
            None => here,
        }
    }

    /// The thresholds of the configuration; the usual ones where there is none, and none was named.
    fn thresholds(&self) -> Result<Thresholds, Failure> {
        let is_named = self.config.is_some() || std::env::var_os("STUDIO_CONFIG").is_some();
        if !is_named && !self.path().exists() {
            return Ok(Thresholds::default());
        }
        Ok(self.read()?.watch)
    }

    fn read(&self) -> Result<Config, Failure> {
        Config::read(&self.path(), std::env::vars())
            .map_err(|error| Failure::setup(error.to_string()))
    }
}
