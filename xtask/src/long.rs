use std::{collections::BTreeSet, fs};

use crate::shop::{Shop, Trouble, read, run as run_command, say};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long what can go on forever goes on
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u32,
}

/// Runs what there is. No room has a soak, a fuzzer or mutants yet, and nothing is added to
/// `docs/evidence.jsonl`: success would read as evidence.
pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    new_resource(shop)?;
    say(format_args!(
        "rooms with tests that go on for {} minutes: none yet",
        arguments.minutes
    ));
    Ok(())
}

/// What `git status` says after `cargo x new resource equipment && cargo x accept`, but for the
/// migration's number: one folder, one migration, one line, and derived files.
const PROMISED: [&str; 6] = [
    " M docs/openapi.json",
    " M studio/proofs/golden/roles.txt",
    " M studio/src/resources/mod.rs",
    " M studio/src/resources/register.rs",
    "?? studio/migrations/NNNN_equipment.sql",
    "?? studio/src/resources/equipment/",
];

/// Makes a resource in a copy of the last commit, and checks that nothing else was touched and that
/// everything is green.
fn new_resource(shop: &Shop) -> Result<(), Trouble> {
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
    say("a new resource: one folder, one migration, one line; everything is green with it");
    Ok(())
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
