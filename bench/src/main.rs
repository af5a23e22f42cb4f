//! Measures the studio server at sizes that tests do not make: `cargo x bench`.
//!
//! ```text
//! availability   200 artists, 90 days, beside a million bookings of two studios; its plan is a golden file
//! confirmations  200 options on one artist, all confirmed at once: one wins, and within 5 s all are told
//! import         a table of 50,000 bookings, planned, written, and brought once more
//! archives       a studio's archive, written and brought back, beside pg_dump and age; within 256 MiB
//! reads          128 clients read a row: their entries written together, in one round trip and step by step, and each in its
//!                request's transaction
//! freezing       what another studio notices while one is frozen and thawed, on two servers: its p95 moves by less than a tenth
//! watch          how much planted misuse the detectors find in a made month; needs no database
//! ```
//!
//! It asks the server over HTTP, as its members do: what is measured is the role of the server, behind row security, with its
//! own statements. Figures go to standard output, progress to standard error.

#![expect(
    clippy::indexing_slicing,
    reason = "members of JSON, by their names: what is missing reads as null"
)]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod archives;
mod ask;
mod freezing;
mod load;
mod plan;
mod reads;
mod watch;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::json;
use studio::demo::World;
use watertight_cluster::{Cluster, Options};
use watertight_tenancy::support::RawConnection;
use watertight_terms::Random;

use ask::{Server, median};

type Trouble = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(clap::Subcommand)]
enum Other {
    /// How much planted misuse is found in a made month, and how often something is said for nothing
    Watch(watch::Arguments),
}

#[derive(clap::Args)]
struct Arguments {
    /// Bookings of both studios together
    #[arg(long, default_value_t = 1_000_000)]
    bookings: i64,
    /// Artists of each studio; a tenth of them is asked about, 200 at most
    #[arg(long, default_value_t = 2_000)]
    artists: i64,
    /// Lines of the table that is imported
    #[arg(long, default_value_t = 50_000)]
    lines: usize,
    /// How often each question is asked
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// What confirming 200 options at once may take
    #[arg(long, default_value_t = 5.0)]
    confirmations_s: f64,
    /// What importing the table may take
    #[arg(long, default_value_t = 90.0)]
    import_s: f64,
    /// Reads of each way, in each of five rounds
    #[arg(long, default_value_t = 20_000)]
    reads: usize,
    /// By how much a read whose entry is written with others' must be faster than one with it in its transaction
    #[arg(long, default_value_t = 1.5)]
    reads_ratio: f64,
    /// Of how many seconds each of ten rounds of freezing is
    #[arg(long, default_value_t = 6)]
    freezing_s: u64,
    /// By how much another studio's p95 may move while one is frozen
    #[arg(long, default_value_t = 1.1)]
    freezing_ratio: f64,
    /// Only these parts
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "accept")]
    only: Vec<Part>,
    /// Writes the plan and the figures down
    #[arg(long)]
    accept: bool,
    /// Where it keeps its database
    #[arg(long, default_value = ".studio/bench")]
    folder: PathBuf,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Availability,
    Confirmations,
    Import,
    Reads,
    Archives,
    Freezing,
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    let ran = match &command.other {
        Some(Other::Watch(arguments)) => watch::run(arguments),
        None => run(command.arguments).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Trouble> {
    let mut options = Options::new(arguments.folder.join("pg"));
    // Those who read at once, and the server's others.
    let connections = (
        "max_connections".to_owned(),
        (reads::POOLS.iter().sum::<usize>() + 72).to_string(),
    );
    options.settings.push(connections);
    let cluster = Cluster::start_fresh(&options)?;
    let folder = arguments.folder.join("server");
    fs::create_dir_all(&folder)?;
    let random = Random::system();
    let world = World::make(&cluster, &folder, 0, &random).await?;
    let admin = RawConnection::connect(&world.admin).await?;
    load::fill(
        &admin,
        &world.studios,
        arguments.artists,
        arguments.bookings,
    )
    .await?;
    let server = Server::start(&world, &random).await?;
    let build = match cfg!(debug_assertions) {
        true => "an unoptimized build",
        false => "a release build",
    };
    let mut figures = vec![format!(
        "{} bookings of two studios, {build}, PostgreSQL {}.{}",
        arguments.bookings,
        cluster.version().0,
        cluster.version().1
    )];
    if arguments.wants(Part::Availability) {
        figures.push(availability(&server, &arguments).await?);
    }
    if arguments.wants(Part::Confirmations) {
        figures.push(confirmations(&server, &arguments).await?);
    }
    if arguments.wants(Part::Import) {
        figures.push(import(&server, &arguments).await?);
    }
    if arguments.wants(Part::Reads) {
        figures.push(reads(&world, &random, &arguments).await?);
    }
    if arguments.wants(Part::Archives) {
        let app = ask::app(world.config.clone(), &random)?.0;
        let studio = world.studios.first().ok_or("no studio was made")?;
        let whose = (world.admin.expose_secret(), studio.tenant);
        let folder = arguments.folder.join("archives");
        figures.push(archives::measure(&app, &admin, whose, &folder).await?);
    }
    if arguments.wants(Part::Freezing) {
        figures.push(freezing(&world, &random, &arguments).await?);
    }
    for figure in &figures {
        println!("{figure}");
    }
    if !arguments.wants(Part::Availability) {
        return Ok(());
    }
    let shape = shape(&server, &admin, &arguments).await?;
    keep(&arguments, &shape, &figures)
}

async fn reads(world: &World, random: &Random, arguments: &Arguments) -> Result<String, Trouble> {
    let [own, large] = reads::POOLS;
    let readers = [
        ask::reader(world, random, own).await?,
        ask::reader(world, random, large).await?,
    ];
    let (ratio, figure) = reads::compare(readers, arguments.reads).await?;
    match ratio >= arguments.reads_ratio {
        true => Ok(figure),
        false => Err(format!("{figure}, of at least {}", arguments.reads_ratio).into()),
    }
}

async fn freezing(
    world: &World,
    random: &Random,
    arguments: &Arguments,
) -> Result<String, Trouble> {
    let freezing = freezing::Freezing::begin(world, random).await?;
    let (ratio, figure) = freezing.compare(arguments.freezing_s).await?;
    match ratio < arguments.freezing_ratio {
        true => Ok(figure),
        false => Err(format!("{figure}, of less than {}", arguments.freezing_ratio).into()),
    }
}

async fn availability(server: &Server, arguments: &Arguments) -> Result<String, Trouble> {
    let mut took = Vec::new();
    for _ in 0..arguments.runs {
        let (seconds, found) = server
            .timed("/v1/bookings/check-availability", ask::window())
            .await?;
        let items = found["items"].as_array().map_or(0, Vec::len);
        if items as i64 != (arguments.artists / 10).min(200) {
            return Err(format!("{items} artists were answered").into());
        }
        took.push(seconds);
    }
    Ok(format!(
        "availability of {} artists in 90 days: {}",
        (arguments.artists / 10).min(200),
        median(&took)
    ))
}

async fn confirmations(server: &Server, arguments: &Arguments) -> Result<String, Trouble> {
    let mut took = Vec::new();
    for round in 0..3 {
        let paths = server.options(200, round).await?;
        let (elapsed, won) = server.at_once(&paths).await?;
        if won != 1 {
            return Err(format!("{won} of 200 confirmations won").into());
        }
        if elapsed > arguments.confirmations_s {
            return Err(format!("200 confirmations took {elapsed:.1} s").into());
        }
        took.push(elapsed);
    }
    Ok(format!("200 options confirmed at once: {}", median(&took)))
}

async fn import(server: &Server, arguments: &Arguments) -> Result<String, Trouble> {
    let lines = arguments.lines;
    let project = "code,name\nBENCH,Measured\n";
    server.timed("/v1/projects/import", json!(project)).await?;
    let table = ask::table(lines, arguments.artists);
    let (planned, _) = server
        .timed("/v1/bookings/import?plan=true", json!(table))
        .await?;
    let (written, view) = server.timed("/v1/bookings/import", json!(table)).await?;
    if view["created"] != json!(lines) {
        return Err(format!("the import answered {view}").into());
    }
    if written > arguments.import_s {
        return Err(format!("the import took {written:.1} s").into());
    }
    let (again, view) = server.timed("/v1/bookings/import", json!(table)).await?;
    if view["unchanged"] != json!(lines) {
        return Err(format!("the second import answered {view}").into());
    }
    Ok(format!(
        "a table of {lines} bookings: planned in {planned:.1} s, written in {written:.1} s, brought again in {again:.1} s"
    ))
}

/// The plan that availability had, by connections that were made since it is told.
async fn shape(
    server: &Server,
    admin: &RawConnection,
    arguments: &Arguments,
) -> Result<String, Trouble> {
    admin.script(plan::EXPLAIN).await?;
    admin
        .script(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'studio_app'",
        )
        .await?;
    for _ in 0..8 {
        // The first ones may meet the connections that were ended.
        let _ = server
            .timed("/v1/bookings/check-availability", ask::window())
            .await;
    }
    admin.script(plan::QUIET).await?;
    let log = fs::read_to_string(arguments.folder.join("pg/log"))?;
    plan::last(&log, "WITH asked AS").ok_or_else(|| "the plan is not in the log".into())
}

/// Compares the plan with the golden one, or writes it down with the figures.
fn keep(arguments: &Arguments, shape: &str, figures: &[String]) -> Result<(), Trouble> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let golden = root.join("golden/availability.txt");
    if arguments.accept {
        fs::write(&golden, shape)?;
        let text = format!(
            "# Measured\n\nWritten by `cargo x bench -- --accept`. Medians and worst, on the machine it ran on; what matters is that they do not grow.\n\n{}\n",
            figures
                .iter()
                .map(|figure| format!("- {figure}\n"))
                .collect::<String>()
        );
        fs::write(root.join("../docs/bench.md"), text)?;
        return Ok(());
    }
    match fs::read_to_string(&golden)? == shape {
        true => Ok(()),
        false => Err(format!("the plan is not that of bench/golden/availability.txt; read it, then `cargo x bench -- --accept`:\n{shape}").into()),
    }
}
