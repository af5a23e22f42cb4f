use std::io::Write;

use clap::ValueEnum;
use serde_json::{Value, json};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document on standard output.
    Json,
}

/// Where a verb writes: results to standard output, progress and errors to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    progress: bool,
}

impl Output {
    pub(crate) fn new(format: Format, progress: bool) -> Self {
        Self { format, progress }
    }

    /// Writes the result: `text` for people, `value` for programs.
    pub(crate) fn result(&self, text: &str, value: &Value) {
        let line = match self.format {
            Format::Text => text.to_owned(),
            Format::Json => value.to_string(),
        };
        // A reader that went away is no reason to fail.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// Says what is being done.
    pub(crate) fn progress(&self, text: &str) {
        if self.progress {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    pub(crate) fn error(&self, failure: &Failure) {
        let Failure(message) = failure;
        let _ = match self.format {
            Format::Text => writeln!(std::io::stderr().lock(), "error: {message}"),
            Format::Json => writeln!(std::io::stderr().lock(), "{}", json!({ "error": message })),
        };
    }
}

/// A verb that could not begin: called wrongly, or something cannot be read.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// The exit code.
    pub(crate) const CODE: u8 = 3;

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
