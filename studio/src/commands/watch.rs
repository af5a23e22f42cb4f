use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use watertight_watch::{Alert, Seen, StudioWatch, Thresholds};

use super::{Failure, Output};

#[derive(Debug, Subcommand)]
pub(super) enum Watch {
    /// What the detectors would have said of a ledger; exit code 1 when there is something
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Lines as `/v1/audit/export` gives them, in the order of their numbers
    file: PathBuf,
}

/// No entry is longer.
const LINE_BYTES_MOST: u64 = 1_000_000;

impl Watch {
    pub(super) fn run(self, thresholds: &Thresholds, output: &Output) -> Result<u8, Failure> {
        let Self::Replay(Replay { file }) = self;
        let alerts = replay(&file, thresholds)?;
        let mut lines: Vec<String> = alerts.iter().map(line).collect();
        if lines.is_empty() {
            lines.push("nothing looks wrong".to_owned());
        }
        let documents: Vec<Value> = alerts.iter().map(document).collect();
        output.result(&lines.join("\n"), &json!({ "alerts": documents }));
        Ok(u8::from(!alerts.is_empty()))
    }
}

/// An alert, and how often it was said.
struct Said {
    alert: Alert,
    times: u32,
}

fn replay(file: &Path, thresholds: &Thresholds) -> Result<Vec<Said>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::setup(format!("`{}` cannot be read: {error}", file.display()))
    };
    let mut lines = BufReader::new(File::open(file).map_err(unreadable)?);
    let mut watch = StudioWatch::default();
    let mut all: Vec<Said> = Vec::new();
    let mut newest = HashMap::new();
    let mut last = -1;
    for number in 1_u64.. {
        let mut text = String::new();
        let read = lines.by_ref().take(LINE_BYTES_MOST).read_line(&mut text);
        if read.map_err(unreadable)? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| Failure::setup(format!("line {number} {why}"));
        let seen = Seen::parse(&text)
            .map_err(|error| wrong(format!("is no entry of `/v1/audit/export`: {error}")))?;
        if seen.seq <= last {
            return Err(wrong(format!(
                "has number {} after {last}; give the lines in the order of their numbers",
                seen.seq
            )));
        }
        last = seen.seq;
        for alert in watch.observe(&seen, thresholds) {
            let key = (alert.kind, alert.subject.clone());
            let known = newest
                .get(&key)
                .and_then(|place: &usize| all.get_mut(*place));
            match known {
                Some(said) if alert.is_repeated => said.times += 1,
                _ => {
                    newest.insert(key, all.len());
                    all.push(Said { alert, times: 1 });
                }
            }
        }
    }
    Ok(all)
}

fn line(said: &Said) -> String {
    let Said { alert, times } = said;
    format!(
        "{} {} {} {}: {} (entries {:?}; said {times} times)",
        alert.at,
        alert.severity.as_str(),
        alert.kind.as_str(),
        alert.subject.as_deref().unwrap_or("-"),
        alert.kind.advice(),
        alert.evidence,
    )
}

fn document(said: &Said) -> Value {
    let Said { alert, times } = said;
    json!({
        "kind": alert.kind, "severity": alert.severity, "subject": alert.subject, "opened_at": alert.at,
        "times": times, "evidence": alert.evidence, "advice": alert.kind.advice(),
    })
}
