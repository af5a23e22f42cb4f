use std::{collections::BTreeSet, fs, time::Instant};

use crate::{
    client,
    evidence::{self, Evidence},
    setup::{Tool, provide},
    shop::{Shop, Trouble, read, run as run_command, say},
    tests::with_database,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long what can go on forever goes on
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u32,
    /// Only these runs
    #[arg(long, value_enum, value_name = "RUN")]
    only: Vec<Run>,
}

/// What takes minutes to hours.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Run {
    /// 10,000 stories of bookings, told to a model and to the product
    Stories,
    /// Each target of `fuzz/`, for its part of the minutes; needs a nightly toolchain and cargo-fuzz
    Fuzz,
    /// 1,000 bodies for each endpoint that takes one: the client's schemas and the server agree
    Clients,
    /// 50,000 mixed requests, with failures, cancels, ended backends and vanished clients: each has its entry
    Accounts,
    /// A server under load, killed twenty times: nothing that it answered is missing in the ledger
    Kills,
    /// Makes a new resource in a copy of the last commit, and everything is green with it
    NewResource,
}

const RUNS: [Run; 6] = [
    Run::Stories,
    Run::Fuzz,
    Run::Clients,
    Run::Accounts,
    Run::Kills,
    Run::NewResource,
];
const STORIES: &str = "10000";
const BODIES: &str = "1000";
const REQUESTS: &str = "50000";
const KILLS: &str = "20";

/// What a run had: the seed that tells the same again, and how much of it there was.
type Shown = (Option<String>, String);

/// Makes each run, and notes in `docs/evidence.jsonl` what it showed.
pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    let commit = evidence::commit(shop)?;
    let wanted = |run: &&Run| arguments.only.is_empty() || arguments.only.contains(run);
    for run in RUNS.iter().filter(wanted) {
        let started = Instant::now();
        let (what, (seed, figure)) = match run {
            Run::Stories => ("stories", stories(shop)?),
            Run::Fuzz => ("fuzz", fuzz(shop, arguments.minutes)?),
            Run::Clients => ("clients", clients(shop)?),
            Run::Accounts => ("accounts", accounts(shop)?),
            Run::Kills => ("kills", kills(shop)?),
            Run::NewResource => ("new-resource", new_resource(shop)?),
        };
        let evidence = Evidence {
            what: what.to_owned(),
            commit: commit.clone(),
            date: evidence::today(shop)?,
            seconds: started.elapsed().as_secs(),
            seed,
            figure,
        };
        evidence::add(shop, &evidence)?;
        say(format_args!("{what}: {}", evidence.figure));
    }
    Ok(())
}

fn stories(shop: &Shop) -> Result<Shown, Trouble> {
    provide(shop, &[Tool::PostgreSql])?;
    let seed = seed()?;
    let told = [("WATERTIGHT_STORIES", STORIES), ("WATERTIGHT_SEED", &seed)];
    wall(shop, "no_story_of_any_roles", &told)?;
    Ok((Some(seed), format!("{STORIES} stories")))
}

fn clients(shop: &Shop) -> Result<Shown, Trouble> {
    provide(shop, &[Tool::PostgreSql, Tool::Npm])?;
    client::provide(shop)?;
    let seed = seed()?;
    let told = [("WATERTIGHT_BODIES", BODIES), ("WATERTIGHT_SEED", &seed)];
    wall(shop, "take_the_same_bodies", &told)?;
    Ok((Some(seed), format!("{BODIES} bodies an endpoint")))
}

fn accounts(shop: &Shop) -> Result<Shown, Trouble> {
    provide(shop, &[Tool::PostgreSql])?;
    let told = [("WATERTIGHT_REQUESTS", REQUESTS)];
    wall(shop, "of_mixed_requests_every_ticket", &told)?;
    Ok((None, format!("{REQUESTS} requests, none without its entry")))
}

fn kills(shop: &Shop) -> Result<Shown, Trouble> {
    provide(shop, &[Tool::PostgreSql])?;
    let told = [("WATERTIGHT_KILLS", KILLS)];
    wall(shop, "of_a_server_that_is_killed", &told)?;
    Ok((None, format!("{KILLS} kills, nothing answered is missing")))
}

/// One test of the product's walls, told how much of it there is to be.
fn wall(shop: &Shop, name: &str, told: &[(&str, &str)]) -> Result<(), Trouble> {
    let mut test = shop.cargo("test");
    test.args(["-p", "studio", "--all-features", "--test", "walls", "--"])
        .args([name, "--nocapture"])
        .envs(told.iter().copied());
    with_database(shop, &mut test)
}

/// 32 bytes of the system's randomness, in hexadecimal digits.
fn seed() -> Result<String, Trouble> {
    let mut bytes = [0_u8; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|error| Trouble::setup("the system gives no randomness", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const FUZZ_TARGETS: [&str; 3] = ["token", "jwks", "webhook"];

fn fuzz(shop: &Shop, minutes: u32) -> Result<Shown, Trouble> {
    if !shop.has(
        shop.command("cargo")
            .args(["+nightly", "fuzz", "--version"]),
    ) {
        return Err(Trouble::Setup(
            "fuzzing needs a nightly toolchain and `cargo install cargo-fuzz`".to_owned(),
        ));
    }
    let seconds = minutes * 60 / u32::try_from(FUZZ_TARGETS.len()).unwrap_or(1);
    for target in FUZZ_TARGETS {
        let mut fuzz = shop.command("cargo");
        fuzz.args(["+nightly", "fuzz", "run", target, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .env_remove("RUSTUP_TOOLCHAIN");
        run_command(&mut fuzz)?;
    }
    let targets = FUZZ_TARGETS.join(", ");
    Ok((None, format!("{targets}: {seconds} s each")))
}

/// What `git status` says after `cargo x new resource equipment && cargo x accept`, but for the
/// migration's number: one folder, one migration, one line, and derived files.
const PROMISED: [&str; 11] = [
    " M clients/typescript/src/generated/index.ts",
    " M clients/typescript/src/generated/sdk.gen.ts",
    " M clients/typescript/src/generated/types.gen.ts",
    " M clients/typescript/src/generated/zod.gen.ts",
    " M docs/formats/export.schema.json",
    " M docs/openapi.json",
    " M studio/proofs/golden/roles.txt",
    " M studio/src/resources/mod.rs",
    " M studio/src/resources/register.rs",
    "?? studio/migrations/NNNN_equipment.sql",
    "?? studio/src/resources/equipment/",
];

/// Makes a resource in a copy of the last commit, and checks that nothing else was touched and that
/// everything is green.
fn new_resource(shop: &Shop) -> Result<Shown, Trouble> {
    let copy = Shop {
        root: shop.target.join("long/new-resource"),
        target: shop.target.join("long/target"),
    };
    if copy.root.exists() {
        fs::remove_dir_all(&copy.root)
            .map_err(|error| Trouble::setup("the last copy cannot be removed", error))?;
    }
    let mut clone = shop.command("git");
    run_command(clone.args(["clone", "--quiet", "."]).arg(&copy.root))?;
    let cargo = |words: &[&str]| {
        let mut cargo = copy.cargo("x");
        run_command(cargo.args(words).env("CARGO_TARGET_DIR", &copy.target))
    };
    cargo(&["new", "resource", "equipment"])?;
    cargo(&["accept"])?;
    let status = read(copy.command("git").args(["status", "--porcelain"]))?;
    expect_promised(&status)?;
    // Everything that CI checks, with the new resource among the others.
    cargo(&["check"])?;
    Ok((
        None,
        "one folder, one migration, one line; everything is green with it".to_owned(),
    ))
}

fn expect_promised(status: &str) -> Result<(), Trouble> {
    let without_number = |line: &str| match line.split_once("migrations/") {
        Some((folder, file)) => {
            let name = file.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{folder}migrations/NNNN{name}")
        }
        None => line.to_owned(),
    };
    let found: BTreeSet<String> = status.lines().map(without_number).collect();
    let promised = PROMISED.map(str::to_owned).into();
    if found == promised {
        return Ok(());
    }
    Err(Trouble::Finding(format!(
        "`cargo x new resource` and `cargo x accept` touched other files than they promise:\n{status}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_that_is_touched_is_found() {
        let status = PROMISED.join("\n").replace("NNNN", "0042") + "\n";
        assert!(expect_promised(&status).is_ok());
        let more = format!("{status} M studio/tests/walls/refusals.rs\n");
        assert!(expect_promised(&more).is_err());
        let less = status.replace(" M docs/openapi.json\n", "");
        assert!(expect_promised(&less).is_err());
    }
}
