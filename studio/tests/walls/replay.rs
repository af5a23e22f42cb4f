//! `studio watch replay`: what the detectors would have said of a ledger that somebody took along.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};
use watertight_terms::Random;

/// A file that goes with its test.
struct Ledger(PathBuf);

impl Ledger {
    fn of(text: &str) -> Self {
        let name = format!("ledger-{}.jsonl", Random::system().uuid().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Exit code, result and error.
fn replayed(file: &std::path::Path) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
    command
        .args(["--format", "json", "watch", "replay"])
        .arg(file);
    let said = command.current_dir(std::env::temp_dir()).output().unwrap();
    (
        said.status.code().unwrap(),
        serde_json::from_slice(&said.stdout).unwrap_or_default(),
        String::from_utf8(said.stderr).unwrap(),
    )
}

/// A manager who asks for what is not there.
fn line(seq: u32) -> String {
    json!({
        "seq": seq, "time": format!("2031-03-03T09:{:02}:{:02}Z", seq / 60, seq % 60), "actor": "user_1", "role": "manager",
        "action": "booking.view", "outcome": "refused", "rule": "not-found", "status": 404, "ids": [Random::system().uuid()],
    })
    .to_string()
}

fn lines(numbers: impl Iterator<Item = u32>) -> String {
    numbers.map(|seq| line(seq) + "\n").collect()
}

#[test]
fn a_replay_says_what_looks_wrong_and_what_shows_it() {
    let ledger = Ledger::of(&lines(0..40));
    let (code, said, error) = replayed(&ledger.0);
    assert_eq!(code, 1, "{error}");
    let [alert] = said["alerts"].as_array().unwrap().as_slice() else {
        panic!("{said}");
    };
    assert_eq!(
        (&alert["kind"], &alert["subject"]),
        (&json!("probing"), &json!("user_1"))
    );
    let evidence = alert["evidence"].as_array().unwrap();
    assert!(evidence.iter().all(|seq| seq.as_u64().unwrap() < 40) && !evidence.is_empty());
    let (code, said, _) = replayed(&Ledger::of(&lines(0..5)).0);
    assert_eq!(
        (code, said),
        (0, json!({ "alerts": [] })),
        "a few are nothing"
    );
    assert_eq!(replayed(&Ledger::of("").0).0, 0);
}

#[test]
fn a_replay_refuses_what_is_no_ledger_and_names_the_line() {
    let good = lines(0..2);
    let long = format!("{{\"seq\": 2, \"note\": \"{}\"}}", "x".repeat(1_200_000));
    for (text, why) in [
        (
            format!("{good}{{\"seq\": 2}}\n"),
            "line 3 is no entry of `/v1/audit/export`",
        ),
        (format!("{good}seq,time,actor\n"), "line 3 is no entry"),
        (format!("{good}{long}\n"), "line 3 is no entry"),
        (lines([3, 2].into_iter()), "line 2 has number 2 after 3"),
        (lines([3, 3].into_iter()), "line 2 has number 3 after 3"),
    ] {
        let (code, said, error) = replayed(&Ledger::of(&text).0);
        assert_eq!((code, &said), (2, &Value::Null), "{why}: {error}");
        assert!(error.contains(why), "{why}: {error}");
    }
    let bytes = Ledger::of("");
    std::fs::write(&bytes.0, [0xff, 0xfe, b'\n']).unwrap();
    let (code, _, error) = replayed(&bytes.0);
    assert!(code == 2 && error.contains("cannot be read"), "{error}");
    let (code, _, error) = replayed(std::path::Path::new("nowhere.jsonl"));
    assert!(
        code == 2 && error.contains("`nowhere.jsonl` cannot be read"),
        "{error}"
    );
}
