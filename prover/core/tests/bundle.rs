//! A bundle of evidence of `docs/formats/vectors/evidence.json`, and the same one bent in every way.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use serde_json::Value;
use watertight_prover_core::{Bundle, Flaw, Shown, VerifierKey};

/// A bundle as it is read, and what its owner believes.
#[derive(Clone)]
struct Given {
    keys: Vec<VerifierKey>,
    lines: Vec<String>,
    /// One whose window begins where retention has removed what was before.
    after_retention: Vec<String>,
    stranger: String,
    /// What was signed of a log that was bent, and how.
    bent: Vec<(String, Vec<String>)>,
}

impl Given {
    fn read() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/formats/vectors/evidence.json"
        );
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let texts = |items: &Value| -> Vec<String> {
            let items = items.as_array().unwrap().iter();
            items
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        let keys = texts(&vectors["keys"]);
        let bent = vectors["signed_of_a_bent_log"].as_array().unwrap().iter();
        let bent = bent.map(|bent| {
            (
                bent["kind"].as_str().unwrap().to_owned(),
                texts(&bent["lines"]),
            )
        });
        Self {
            keys: keys
                .iter()
                .map(|key| VerifierKey::parse(key).unwrap())
                .collect(),
            lines: texts(&vectors["lines"]),
            after_retention: texts(&vectors["lines_after_retention"]),
            bent: bent.collect(),
            stranger: vectors["signed_by_a_stranger"].as_str().unwrap().to_owned(),
        }
    }

    fn verified(&self) -> Result<Shown, Flaw> {
        let mut bundle = Bundle::new(self.keys.clone());
        self.lines.iter().try_for_each(|line| bundle.line(line))?;
        bundle.end()
    }

    /// Where a line is that has this in it.
    fn at(&self, what: &str) -> usize {
        let found = self.lines.iter().position(|line| line.contains(what));
        found.unwrap()
    }

    /// The same with one text for another in a line.
    fn bent(&self, at: usize, from: &str, to: &str) -> Self {
        let mut bent = self.clone();
        bent.lines[at] = bent.lines[at].replacen(from, to, 1);
        assert_ne!(bent.lines[at], self.lines[at], "nothing was bent");
        bent
    }
}

#[test]
fn a_bundle_that_is_whole_is_sound() {
    let shown = Given::read().verified().unwrap();
    assert_eq!(shown.entries, (256, 260));
    assert_eq!((shown.leaves, shown.checkpoints), (3, 2));
    assert_eq!((shown.range, shown.removed_before), ((258, 259), None));
    assert_eq!(shown.window.0, "2026-11-20T10:04:17.5Z");
    assert_eq!(shown.studio, "00000000-0000-0000-0000-000000005eed");
}

#[test]
fn a_beginning_that_retention_removed_is_said() {
    let given = Given::read();
    let after = Given {
        lines: given.after_retention.clone(),
        ..given
    };
    let shown = after.verified().unwrap();
    assert_eq!(shown.range, (256, 259));
    assert_eq!(shown.removed_before.as_deref(), Some("2026-11-20"));
}

#[test]
fn what_was_changed_is_named() {
    let given = Given::read();
    let changed =
        |at: usize, from: &str, to: &str| given.bent(at, from, to).verified().unwrap_err();
    let incident = given.at("stolen-session");
    let flaw = changed(incident, "stolen-session", "lost-session");
    assert_eq!(flaw, Flaw::Changed("incident".to_owned()));
    // An entry of the log is named itself.
    let flaw = changed(given.at("e259"), "e259", "e999");
    assert_eq!(
        (flaw.kind(), flaw.to_string().as_str()),
        ("changed", "entry 259 (e999) was changed")
    );
    let flaw = changed(given.at("\\\"e258"), "00005eed", "00005eef");
    assert_eq!(flaw.kind(), "foreign", "{flaw}");
    let flaw = changed(given.at("\"size\":256"), "256", "512");
    assert_eq!(flaw, Flaw::Changed("ledger.edge".to_owned()));
    let flaw = changed(given.at("2026-11-21"), "\\n260\\n", "\\n259\\n");
    assert_eq!(flaw.kind(), "disbelieved", "{flaw}");
    let flaw = changed(given.at("2026-11-20"), "2026-11-20", "2026-11-19");
    assert_eq!(flaw, Flaw::Changed("ledger.checkpoints".to_owned()));
    assert_eq!(changed(0, "T12:", "T13:"), Flaw::Head);
}

#[test]
fn what_is_missing_or_in_another_place_is_named() {
    let given = Given::read();
    let mut cut = given.clone();
    cut.lines.pop();
    assert_eq!(cut.verified(), Err(Flaw::Cut("ledger.leaves".to_owned())));
    let mut longer = given.clone();
    longer.lines.push("={}".to_owned());
    assert_eq!(longer.verified().unwrap_err().kind(), "added");
    let mut gone = given.clone();
    gone.lines.remove(given.at("e258"));
    assert_eq!(
        gone.verified().unwrap_err().to_string(),
        "entry 258 is missing"
    );
    let mut swapped = given.clone();
    let at = given.at("e258");
    swapped.lines.swap(at, at + 1);
    assert_eq!(swapped.verified().unwrap_err().kind(), "missing");
    // A part with its rows, before another one.
    let mut moved = given.clone();
    let (keys, next) = (
        given.at("\"ledger.keys\"}"),
        given.at("\"ledger.checkpoints\"}"),
    );
    let part: Vec<String> = moved.lines.drain(keys..next).collect();
    moved.lines.splice(1..1, part);
    assert_eq!(
        moved.verified(),
        Err(Flaw::Reordered("ledger.keys".to_owned()))
    );
    let last = given.at("\"ledger.leaves\"}");
    let mut shorter = given.clone();
    shorter.lines.drain(last..given.lines.len() - 1);
    assert_eq!(
        shorter.verified(),
        Err(Flaw::Missing("ledger.leaves".to_owned()))
    );
    let mut further = given.clone();
    further
        .lines
        .insert(given.lines.len() - 1, "{\"table\":\"more\"}".to_owned());
    assert_eq!(further.verified(), Err(Flaw::Reordered("more".to_owned())));
    let mut without = given.clone();
    without.lines.drain(keys..next);
    assert_eq!(
        without.verified(),
        Err(Flaw::Missing("ledger.keys".to_owned()))
    );
}

#[test]
fn what_was_signed_of_a_bent_log_is_not_sound() {
    let given = Given::read();
    assert_eq!(given.bent.len(), 10);
    for (kind, lines) in given.bent.clone() {
        let bent = Given {
            lines,
            ..given.clone()
        };
        let flaw = bent.verified().unwrap_err();
        assert_eq!(flaw.kind(), kind, "{flaw}");
    }
}

#[test]
fn whoever_else_signs_it_is_not_believed() {
    let given = Given::read();
    let mut stranger = given.clone();
    *stranger.lines.last_mut().unwrap() = given.stranger.clone();
    assert_eq!(stranger.verified().unwrap_err().kind(), "disbelieved");
    let mut foreign = given.clone();
    foreign.keys = foreign
        .keys
        .iter()
        .map(|key| key.under("studio.watertight/ledger/another"))
        .collect();
    assert_eq!(foreign.verified().unwrap_err().kind(), "foreign");
    let other = given.bent(0, "\"evidence\"", "\"data\"");
    assert_eq!(other.verified(), Err(Flaw::NotOne));
}
