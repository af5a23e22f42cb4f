use std::time::{Duration, Instant};

use crate::{
    client, evidence, licences, python,
    setup::{Tool, provide},
    shop::{Shop, Trouble, read, run as run_command, say},
    tests, tidy,
};

type Step = (&'static str, fn(&Shop) -> Result<(), Trouble>);

/// In this order: what is quick to fail comes first, and the tests last, so that their closing
/// line stays on the screen.
const STEPS: [Step; 10] = [
    ("programs", |shop| {
        let tools = [
            Tool::PostgreSql,
            Tool::Cvc5,
            Tool::Redis,
            Tool::Npm,
            Tool::PgBackRest,
            Tool::Prometheus,
        ];
        provide(shop, &tools)?;
        client::provide(shop)?;
        python::provide(shop)
    }),
    ("format", |shop| {
        run_command(shop.cargo("fmt").args(["--all", "--check"]))
    }),
    ("house rules", tidy::run),
    ("evidence", evidence::check),
    ("client", client::check),
    ("lints", lints),
    ("licences", licences::run),
    ("documentation", documentation),
    ("examples in documentation", examples),
    ("tests", tests_and_tree),
];

/// Runs every step until one fails.
pub(crate) fn run(shop: &Shop) -> Result<(), Trouble> {
    let mut times = Vec::new();
    for (number, (name, step)) in (1..).zip(STEPS) {
        say(format_args!("\n[{number}/{}] {name}", STEPS.len()));
        let started = Instant::now();
        let done = step(shop);
        times.push(format!("{name} {}", seconds(started.elapsed())));
        if let Err(trouble) = done {
            say(format_args!("\nfailed at: {}", times.join(", ")));
            return Err(trouble);
        }
    }
    say(format_args!("\ngreen: {}", times.join(", ")));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f32().round())
}

fn lints(shop: &Shop) -> Result<(), Trouble> {
    let mut clippy = shop.cargo("clippy");
    clippy.args(["--workspace", "--all-targets", "--all-features"]);
    run_command(clippy.args(["--", "-D", "warnings"]))
}

fn documentation(shop: &Shop) -> Result<(), Trouble> {
    let mut doc = shop.cargo("doc");
    doc.args(["--workspace", "--no-deps", "--all-features"]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Of the whole workspace: a choice of packages would have other features, and be built twice.
fn examples(shop: &Shop) -> Result<(), Trouble> {
    let mut test = shop.cargo("test");
    run_command(test.args(["--doc", "--workspace", "--all-features", "--quiet"]))
}

/// The tests, and then the tree: a test that writes a tracked file has hidden a difference.
fn tests_and_tree(shop: &Shop) -> Result<(), Trouble> {
    let before = changes(shop)?;
    tests::run_all(shop)?;
    let after = changes(shop)?;
    if before == after {
        return Ok(());
    }
    Err(Trouble::Finding(format!(
        "the tests changed files of the checkout; run `cargo x accept` and commit what is meant:\n\
         {}",
        after.unwrap_or_default()
    )))
}

/// What differs from the last commit, where this is a checkout of git.
fn changes(shop: &Shop) -> Result<Option<String>, Trouble> {
    if !shop.path(".git").exists() || !shop.has(&mut shop.command("git")) {
        say("not a checkout of git: files that the tests write cannot be noticed");
        return Ok(None);
    }
    let mut status = shop.command("git");
    status.args(["status", "--porcelain", "--untracked-files=all"]);
    read(&mut status).map(Some)
}
