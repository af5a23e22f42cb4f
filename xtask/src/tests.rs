use std::process::Command;

use watertight_cluster::{Cluster, ClusterError, Options};

use crate::{
    client, python,
    setup::{Tool, provide},
    shop::{Shop, Trouble, run as run_command, say},
};

/// Where the tests find the superuser of their PostgreSQL.
const ADMIN_URL: &str = "WATERTIGHT_TEST_ADMIN_URL";
/// So many runs of the tests may go on in one checkout at a time.
const RUNS_MOST: u32 = 8;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to `cargo nextest run` (or `cargo test`): `-p PACKAGE`, names, `-E FILTER`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filters: Vec<String>,
}

pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    provide(
        shop,
        &[
            Tool::PostgreSql,
            Tool::Redis,
            Tool::Npm,
            Tool::PgBackRest,
            Tool::Prometheus,
        ],
    )?;
    client::provide(shop)?;
    python::provide(shop)?;
    let mut command = command(shop);
    let narrowed = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    if !arguments.filters.iter().any(narrowed) {
        command.arg("--workspace");
    }
    command.args(&arguments.filters);
    with_database(shop, &mut command)
}

/// All tests, for `check`.
pub(crate) fn run_all(shop: &Shop) -> Result<(), Trouble> {
    with_database(shop, command(shop).arg("--workspace"))
}

/// nextest, or `cargo test` where a stranger lacks it.
pub(crate) fn command(shop: &Shop) -> Command {
    let mut command = if has_nextest(shop) {
        let mut command = shop.cargo("nextest");
        command.args(["run", "--no-tests=pass"]);
        command
    } else {
        say("cargo-nextest is not installed: using `cargo test`");
        let mut command = shop.cargo("test");
        command.args(["--tests", "--no-fail-fast"]);
        command
    };
    // A golden file that differs is a failure to read, not a file to write.
    command.arg("--all-features").env("INSTA_UPDATE", "no");
    command
}

pub(crate) fn has_nextest(shop: &Shop) -> bool {
    shop.has(&mut shop.cargo("nextest"))
}

/// Runs a command with a PostgreSQL that is empty before and gone afterwards.
pub(crate) fn with_database(shop: &Shop, command: &mut Command) -> Result<(), Trouble> {
    if std::env::var_os(ADMIN_URL).is_some() {
        say(format_args!(
            "tests use the PostgreSQL that {ADMIN_URL} names"
        ));
        return run_command(command);
    }
    let cluster = start(shop)?;
    let (major, minor) = cluster.version();
    say(format_args!(
        "tests use a private PostgreSQL {major}.{minor}"
    ));
    let done = run_command(command.env(ADMIN_URL, cluster.admin_url()));
    let cleared = cluster.discard();
    done.and(cleared.map_err(|error| Trouble::Setup(error.to_string())))
}

fn start(shop: &Shop) -> Result<Cluster, Trouble> {
    let mut refused = String::new();
    for run in 1..=RUNS_MOST {
        let mut options = Options::new(shop.target.join(format!("test-cluster/{run}")));
        options.settings = [("fsync", "off"), ("max_connections", "300")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        match Cluster::start_fresh(&options) {
            Ok(cluster) => return Ok(cluster),
            Err(error @ ClusterError::AlreadyRunning { .. }) => refused = error.to_string(),
            Err(error) => return Err(Trouble::Setup(error.to_string())),
        }
    }
    Err(Trouble::Setup(refused))
}
