//! What `cargo x long` showed and when: `docs/evidence.jsonl`, a line a run.
//!
//! ```json
//! {"what":"stories","commit":"4f1c…","date":"2026-11-27","seconds":1184,"seed":"9a0c…","figure":"10000 stories"}
//! ```
//!
//! Evidence grows old: what was shown of a program that is many commits gone says little of this one.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
};

use serde::{Deserialize, Serialize};

use crate::shop::{Shop, Trouble, read, say};

const FILE: &str = "docs/evidence.jsonl";
/// The newest evidence of each kind is at most so many commits old.
const COMMITS_MOST: usize = 50;

/// A run that found nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    /// Which run.
    pub(crate) what: String,
    /// Of which commit.
    pub(crate) commit: String,
    /// On which day, UTC.
    pub(crate) date: String,
    /// How long it took.
    pub(crate) seconds: u64,
    /// What tells the same again, where chance had a part.
    pub(crate) seed: Option<String>,
    /// How much there was of it.
    pub(crate) figure: String,
}

/// The commit that is being shown. A tree that differs from it would be another program.
pub(crate) fn commit(shop: &Shop) -> Result<String, Trouble> {
    let changed = read(shop.command("git").args(["status", "--porcelain"]))?;
    let own = format!(" M {FILE}");
    if changed.lines().any(|line| line != own) {
        return Err(Trouble::Setup(
            "evidence is of a commit: commit or stash what differs first".to_owned(),
        ));
    }
    let head = read(shop.command("git").args(["rev-parse", "HEAD"]))?;
    Ok(head.trim().to_owned())
}

/// The day on which a commit is shown.
pub(crate) fn today(shop: &Shop) -> Result<String, Trouble> {
    let day = read(shop.command("date").args(["--utc", "+%Y-%m-%d"]))?;
    Ok(day.trim().to_owned())
}

/// Adds a line.
pub(crate) fn add(shop: &Shop, evidence: &Evidence) -> Result<(), Trouble> {
    let line = serde_json::to_string(evidence)
        .map_err(|error| Trouble::setup("evidence cannot be written", error))?;
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(shop.path(FILE))
        .and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|error| Trouble::setup(FILE, error))
}

/// Fails when the newest evidence of some kind is too old, or of a commit that is not an ancestor.
pub(crate) fn check(shop: &Shop) -> Result<(), Trouble> {
    if !shop.path(".git").exists() {
        say("not a checkout of git: the age of the evidence cannot be told");
        return Ok(());
    }
    let text = fs::read_to_string(shop.path(FILE)).map_err(|error| Trouble::setup(FILE, error))?;
    let mut old = Vec::new();
    for (what, evidence) in newest(&text)? {
        let range = format!("{}..HEAD", evidence.commit);
        let counted = read(shop.command("git").args(["rev-list", "--count", &range]));
        let commits: Option<usize> = counted.ok().and_then(|count| count.trim().parse().ok());
        match commits {
            Some(commits) if commits <= COMMITS_MOST => {}
            Some(commits) => old.push(format!("`{what}` is {commits} commits old")),
            None => old.push(format!("`{what}` is of an unknown commit")),
        }
    }
    if old.is_empty() {
        return Ok(());
    }
    Err(Trouble::Finding(format!(
        "evidence may be {COMMITS_MOST} commits old: {}; run `cargo x long` and commit {FILE}",
        old.join(", ")
    )))
}

/// The last line of each kind.
fn newest(text: &str) -> Result<BTreeMap<String, Evidence>, Trouble> {
    let mut newest = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let evidence: Evidence = serde_json::from_str(line)
            .map_err(|error| Trouble::Finding(format!("{FILE}, line {number}: {error}")))?;
        newest.insert(evidence.what.clone(), evidence);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_each_kind_counts_and_a_malformed_one_is_named() {
        let line = |what: &str, commit: &str| {
            let evidence = Evidence {
                what: what.to_owned(),
                commit: commit.to_owned(),
                date: "2026-01-01".to_owned(),
                seconds: 1,
                seed: None,
                figure: String::new(),
            };
            serde_json::to_string(&evidence).unwrap_or_default()
        };
        let text = [line("a", "1"), line("b", "2"), line("a", "3")].join("\n");
        let found = newest(&text).unwrap_or_default();
        let commit = |what: &str| found.get(what).map(|evidence| evidence.commit.as_str());
        assert_eq!((commit("a"), commit("b")), (Some("3"), Some("2")));
        let spoilt = newest(&format!("{text}\n{{}}")).unwrap_err().to_string();
        assert!(spoilt.contains("line 4"), "{spoilt}");
    }
}
