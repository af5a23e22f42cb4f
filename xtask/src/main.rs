//! The workshop: one verb each, `cargo x VERB`.
//!
//! ```text
//! cargo x demo     two studios to look at
//! cargo x check    everything that must be green before a change is merged
//! cargo x test     the tests alone, with nextest's filters
//! cargo x tidy     the house rules alone
//! cargo x accept   writes every derived file
//! cargo x new      a new resource, whole
//! cargo x long     what takes minutes to hours
//! cargo x pentest  outside attackers, and a dated report
//! ```
//!
//! A verb ends with 0 when all is well, 1 when it found something, 2 when it could not begin.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod accept;
mod asvs;
mod check;
mod client;
mod demo;
mod evidence;
mod licences;
mod long;
mod new;
mod pentest;
mod python;
mod register;
mod setup;
mod shop;
mod tests;
mod tidy;

use shop::{Shop, Trouble, say};

#[derive(Parser)]
#[command(name = "cargo x", about = "the workshop of this repository", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds the server and serves two made-up studios
    Demo(demo::Arguments),
    /// Runs everything that must be green: format, rules, lints, licences, docs, tests
    Check,
    /// Runs the tests against a private PostgreSQL
    Test(tests::Arguments),
    /// Checks the house rules
    Tidy,
    /// Writes the derived files anew; you read the difference
    Accept,
    /// Makes something new: `cargo x new resource NAME`
    New(new::Arguments),
    /// Runs the tests that take minutes to hours
    Long(long::Arguments),
    /// Lets outside attackers at a demonstration, and writes a dated report
    Pentest(pentest::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Shop::locate().and_then(|shop| match arguments.verb {
        Verb::Demo(arguments) => demo::run(&shop, &arguments),
        Verb::Check => check::run(&shop),
        Verb::Test(arguments) => tests::run(&shop, &arguments),
        Verb::Tidy => tidy::run(&shop),
        Verb::Accept => accept::run(&shop),
        Verb::New(arguments) => new::run(&shop, &arguments),
        Verb::Long(arguments) => long::run(&shop, &arguments),
        Verb::Pentest(arguments) => pentest::run(&shop, &arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            say(format_args!("error: {trouble}"));
            match trouble {
                Trouble::Finding(_) => ExitCode::from(1),
                Trouble::Setup(_) => ExitCode::from(2),
            }
        }
    }
}
