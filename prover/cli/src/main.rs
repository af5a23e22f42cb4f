//! `watertight`: proves, from the outside, what the system says of itself.
//!
//! ```text
//! watertight verify ledger/ --keys studio.key
//! sound: 1042 entries, 1042 of them covered by 12 checkpoints
//! ```
//!
//! The exit code is 0 when all is well, 1 when something was found, and 3 when the command could not be
//! used as it was called or set up. 2 is kept for verbs that can end undecided.
//!
//! A verb is a module and a line in [`Verb`]. What it computes stands in `watertight-prover-core`,
//! which reads and writes nothing; here is what does.

mod output;
mod verify;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use output::{Failure, Format, Output};

/// Proves, from the outside, that studios are kept apart and that their ledgers are whole.
#[derive(Debug, Parser)]
#[command(name = "watertight", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// How results are written; progress goes to standard error and never mixes with them
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Nothing but results and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// No progress on standard error
    #[arg(long, global = true)]
    no_progress: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Verify a studio's ledger, offline: that nothing of it was changed, removed, reordered or cut off
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Failure::CODE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let Global {
        format,
        quiet,
        no_progress,
    } = cli.global;
    let output = Output::new(format, !quiet && !no_progress);
    let ran = match cli.verb {
        Verb::Verify(verify) => verify.run(&output),
    };
    ExitCode::from(ran.unwrap_or_else(|failure| {
        output.error(&failure);
        Failure::CODE
    }))
}
