use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use watertight_tenancy::{Call, Operator};
use watertight_terms::Fault;
use watertight_watch::{Alert, Kind, Seen, StudioWatch, Thresholds};

use super::{Failure, Global, Output};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Watch {
    /// What the detectors would have said of a ledger; exit code 1 when there is something
    Replay(Replay),
    /// What was noticed before any studio was known; exit code 1 when there is something
    Status(Status),
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Lines as `/v1/audit/export` gives them, in the order of their numbers
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// In so many days
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=366))]
    days: i32,
}

const LIST: Call = Call::new("SELECT * FROM watch.list_alerts($1)");

/// No entry is longer.
const LINE_BYTES_MOST: u64 = 1_000_000;

impl Watch {
    pub(super) async fn run(self, global: &Global, output: &Output) -> Result<u8, Failure> {
        match self {
            Self::Replay(Replay { file }) => tell(&replay(&file, &global.thresholds()?)?, output),
            Self::Status(Status { days }) => status(&global.read()?, days, output).await,
        }
    }
}

fn tell(alerts: &[Said], output: &Output) -> Result<u8, Failure> {
    let mut lines: Vec<String> = alerts.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("nothing looks wrong".to_owned());
    }
    let documents: Vec<Value> = alerts.iter().map(document).collect();
    output.result(&lines.join("\n"), &json!({ "alerts": documents }));
    Ok(u8::from(!alerts.is_empty()))
}

/// What operators may know: nothing of a studio.
async fn status(config: &Config, days: i32, output: &Output) -> Result<u8, Failure> {
    let url = config.database.ops_url.as_ref();
    let url = url.ok_or_else(|| Failure::setup("set [database] ops_url to an operator's login"))?;
    let operator = Operator::connect(url).await;
    let operator = operator.map_err(|error| Failure::setup(error.to_string()))?;
    let failed = |fault: Fault| Failure::setup(fault.to_string());
    let rows = operator.rows(LIST, &[&days]).await.map_err(failed)?;
    let (mut lines, mut documents) = (Vec::new(), Vec::new());
    for row in &rows {
        let text = |name: &str| row.field::<String>(name).map_err(failed);
        let (kind, severity, subject) = (text("kind")?, text("severity")?, text("subject")?);
        let at: Timestamp = row.field("last_seen_at").map_err(failed)?;
        let times: i32 = row.field("times").map_err(failed)?;
        let advice = Kind::parse(&kind).map_or("", Kind::advice);
        lines.push(format!(
            "{at} {severity} {kind} {subject}: {advice} (said {times} times)"
        ));
        documents.push(json!({
            "kind": kind, "severity": severity, "subject": subject, "last_seen_at": at, "times": times, "advice": advice,
        }));
    }
    if lines.is_empty() {
        lines.push("nothing looks wrong".to_owned());
    }
    output.result(&lines.join("\n"), &json!({ "alerts": documents }));
    Ok(u8::from(!rows.is_empty()))
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
