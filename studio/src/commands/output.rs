use std::io::Write;

use clap::ValueEnum;
use indicatif::ProgressDrawTarget;

use super::meter::Meter;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document on standard output.
    Json,
}

/// Where a command writes: results to standard output, progress and errors to standard error.
#[derive(Debug)]
pub struct Output {
    format: Format,
    progress: bool,
}

impl Output {
    /// An output of that format.
    pub fn new(format: Format, quiet: bool, no_progress: bool) -> Self {
        Self {
            format,
            progress: !quiet && !no_progress,
        }
    }

    /// Writes the result: `text` for people, `value` for programs.
    pub fn result(&self, text: &str, value: &serde_json::Value) {
        let line = match self.format {
            Format::Text => text.to_owned(),
            Format::Json => value.to_string(),
        };
        // A reader that went away is no reason to fail.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// Says what is being done.
    pub fn progress(&self, text: &str) {
        if self.progress {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Shows how far something is that may take long, to whoever sits before it.
    pub(super) fn meter(&self) -> Meter {
        Meter::on(match self.progress {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        })
    }

    pub(super) fn error(&self, failure: &Failure) {
        let _ = match self.format {
            Format::Text => writeln!(std::io::stderr().lock(), "error: {}", failure.message),
            Format::Json => writeln!(
                std::io::stderr().lock(),
                "{}",
                serde_json::json!({ "error": failure.message })
            ),
        };
    }
}

/// A command that did not do what it was called for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// It could not be used as it was called or set up: exit code 2.
    pub fn setup(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }

    /// It was refused: exit code 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    pub(super) fn code(&self) -> u8 {
        self.code
    }
}
