//! `watertight verify` on a log as an owner downloads it, and on the same log bent in every way.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use watertight_prover_core::{Hash, Tree, chain_hash, leaf_hash, tile_path};

const STUDIO: &str = "00000000-0000-0000-0000-000000005eed";
/// Two whole tiles and one that is not.
const ENTRIES: usize = 600;

/// A log in a folder, which goes with it.
struct Download {
    folder: PathBuf,
    leaves: Vec<String>,
}

impl Drop for Download {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn leaf(studio: &str, n: usize) -> String {
    format!(
        r#"{{"changes":[],"entry":{{"id":"e{n}","status":200,"tenant":"{studio}"}},"mac":null}}"#
    )
}

fn origin() -> String {
    format!("studio.watertight/ledger/{STUDIO}")
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key_id(public: &[u8]) -> Vec<u8> {
    let named = [origin().as_bytes(), b"\n", &[1], public].concat();
    digest(&SHA256, &named).as_ref()[..4].to_vec()
}

fn verifier_key(seed: u8) -> String {
    let pair = pair(seed);
    let public = pair.public_key().as_ref();
    let typed = BASE64_STANDARD.encode([&[1], public].concat());
    format!("{}+{}+{typed}\n", origin(), hex::encode(key_id(public)))
}

/// A note about the first `size` leaves, with further lines, signed.
fn note(leaves: &[String], size: usize, further: &str, seed: u8) -> String {
    let root = BASE64_STANDARD.encode(tree(leaves, size).root());
    let text = format!("{}\n{size}\n{root}\n{further}", origin());
    let pair = pair(seed);
    let id = key_id(pair.public_key().as_ref());
    let signature = [&id, pair.sign(text.as_bytes()).as_ref()].concat();
    format!(
        "{text}\n— {} {}\n",
        origin(),
        BASE64_STANDARD.encode(signature)
    )
}

fn tree(leaves: &[String], size: usize) -> Tree {
    let mut tree = Tree::default();
    for leaf in &leaves[..size] {
        tree.push(leaf_hash(leaf.as_bytes()));
    }
    tree
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn bundle(leaves: &[String]) -> Vec<u8> {
    let one = |leaf: &String| {
        let length = u16::try_from(leaf.len()).unwrap().to_be_bytes();
        [&length, leaf.as_bytes()].concat()
    };
    leaves.iter().flat_map(one).collect()
}

impl Download {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("verify-{}-{number}", std::process::id()));
        let leaves: Vec<String> = (0..ENTRIES).map(|n| leaf(STUDIO, n)).collect();
        write(&folder.join("keys"), verifier_key(2) + &verifier_key(1));
        write(&folder.join("checkpoint"), note(&leaves, ENTRIES, "", 2));
        write(
            &folder.join("checkpoints/2026-01-01"),
            note(&leaves, 300, "", 1),
        );
        let download = Self { folder, leaves };
        download.lay(&download.leaves);
        download
    }

    /// Writes leaves and their hashes.
    fn lay(&self, leaves: &[String]) {
        self.lay_leaves(leaves);
        for (path, tile) in tiles("0", leaves) {
            let hashes = tile.iter().flat_map(|leaf| leaf_hash(leaf.as_bytes()));
            write(&self.folder.join(path), hashes.collect::<Vec<u8>>());
        }
    }

    fn lay_leaves(&self, leaves: &[String]) {
        let _ = fs::remove_dir_all(self.folder.join("tile/entries"));
        for (path, tile) in tiles("entries", leaves) {
            write(&self.folder.join(path), bundle(&tile));
        }
    }

    /// What is found when only the leaves are these.
    fn with_leaves(&self, bend: impl FnOnce(&mut Vec<String>)) -> Value {
        let mut leaves = self.leaves.clone();
        bend(&mut leaves);
        self.lay_leaves(&leaves);
        let found = self.found();
        self.lay_leaves(&self.leaves);
        found
    }

    fn found(&self) -> Value {
        let (code, value, _) = verify(&[self.folder.to_str().unwrap()]);
        assert_eq!(code, 1, "{value}");
        assert_eq!(value["verdict"], "tampered");
        value["findings"][0].clone()
    }

    fn sound(&self) -> Value {
        let (code, value, _) = verify(&[self.folder.to_str().unwrap()]);
        assert_eq!(code, 0, "{value}");
        assert_eq!(value["verdict"], "sound");
        value
    }
}

fn tiles(level: &str, leaves: &[String]) -> Vec<(String, Vec<String>)> {
    let tile = |(n, tile): (usize, &[String])| {
        let width = (tile.len() < 256).then_some(tile.len() as u64);
        (tile_path(level, n as u64, width), tile.to_vec())
    };
    leaves.chunks(256).enumerate().map(tile).collect()
}

fn verify(arguments: &[&str]) -> (i32, Value, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_watertight"))
        .args(["verify", "--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    let value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    (ran.status.code().unwrap(), value, told)
}

fn brief(found: &Value) -> (&str, u64, Option<&str>) {
    let seq = found["seq"].as_u64().unwrap();
    (found["kind"].as_str().unwrap(), seq, found["id"].as_str())
}

#[test]
fn a_log_as_it_was_written_is_sound_and_told_of() {
    let download = Download::new();
    let sound = download.sound();
    assert_eq!(
        (&sound["entries"], &sound["covered"]),
        (&json!(600), &json!(600))
    );
    assert_eq!(
        (&sound["studio"], &sound["checkpoints"]),
        (&json!(STUDIO), &json!(2))
    );
    let (_, _, told) = verify(&[download.folder.to_str().unwrap()]);
    assert!(
        told.contains("2 checkpoints") && told.contains("600 hashes"),
        "{told}"
    );
    let (_, _, told) = verify(&["--no-progress", download.folder.to_str().unwrap()]);
    assert_eq!(told, "");
}

#[test]
fn the_first_bad_entry_is_named_with_what_is_wrong_with_it() {
    let download = Download::new();
    let found = download.with_leaves(|log| log[400] = log[400].replace("200", "403"));
    assert_eq!(brief(&found), ("changed", 400, Some("e400")));
    let found = download.with_leaves(|log| log[5].clear());
    assert_eq!(brief(&found), ("changed", 5, Some("")));
    let found = download.with_leaves(|log| drop(log.remove(255)));
    assert_eq!(brief(&found), ("missing", 255, None));
    let found = download.with_leaves(|log| drop(log.drain(256..512)));
    assert_eq!(brief(&found), ("missing", 256, None));
    let found = download.with_leaves(|log| log.swap(10, 500));
    assert_eq!(brief(&found), ("reordered", 10, Some("e500")));
    let found = download.with_leaves(|log| log.swap(10, 11));
    assert_eq!(brief(&found), ("reordered", 10, Some("e11")));
    let found = download.with_leaves(|log| log.truncate(511));
    assert_eq!(brief(&found), ("cut tail", 511, None));
    let found = download.with_leaves(|log| log.truncate(512));
    assert_eq!(brief(&found), ("cut tail", 512, None));
    let found = download.with_leaves(|log| log[7] = leaf("another", 7));
    assert_eq!(brief(&found), ("foreign", 7, Some("e7")));
    let found = download.with_leaves(|log| log.insert(300, leaf(STUDIO, 9_000)));
    assert_eq!(brief(&found), ("added", 300, Some("e9000")));
    let found = download.with_leaves(|log| log.push(leaf(STUDIO, 9_000)));
    assert_eq!(brief(&found), ("added", 600, Some("e9000")));
    download.sound();
}

/// A bundle that is gone is a hole and no end.
#[test]
fn a_bundle_that_is_gone_is_missing() {
    let download = Download::new();
    fs::remove_file(download.folder.join("tile/entries/000")).unwrap();
    assert_eq!(brief(&download.found()), ("missing", 0, None));
}

/// Whoever bends the hashes with the leaves contradicts what was signed.
#[test]
fn a_log_that_fits_together_and_is_another_is_found_by_its_checkpoints() {
    let download = Download::new();
    let mut leaves = download.leaves.clone();
    leaves[450] = leaves[450].replace("200", "403");
    download.lay(&leaves);
    assert_eq!(brief(&download.found()), ("rewritten", 300, None));
    let cut = &download.leaves[..512];
    fs::remove_dir_all(download.folder.join("tile")).unwrap();
    download.lay(cut);
    assert_eq!(brief(&download.found()), ("cut tail", 512, None));
}

#[test]
fn a_file_of_leaves_is_verified_without_hashes() {
    let download = Download::new();
    let file = download.folder.join("leaves.jsonl");
    let (keys, checkpoint) = (
        download.folder.join("keys"),
        download.folder.join("checkpoint"),
    );
    let verify_file = |leaves: &[String]| {
        let lines = leaves.join("\n") + "\n";
        write(&file, lines);
        let arguments = [&file, &keys, &checkpoint].map(|path| path.to_str().unwrap());
        let [file, keys, checkpoint] = arguments;
        verify(&[file, "--keys", keys, "--checkpoints", checkpoint])
    };
    let (code, value, _) = verify_file(&download.leaves);
    assert_eq!((code, &value["covered"]), (0, &json!(600)), "{value}");
    let mut bent = download.leaves.clone();
    bent[3] = bent[3].replace("200", "403");
    let (code, value, _) = verify_file(&bent);
    assert_eq!(
        (code, brief(&value["findings"][0])),
        (1, ("rewritten", 0, None))
    );
    let (code, value, _) = verify_file(&download.leaves[..9]);
    assert_eq!(
        (code, brief(&value["findings"][0])),
        (1, ("cut tail", 9, None))
    );
    // With a bundle of notes as the API answers them.
    let answer = json!({
        "items": [{ "day": "2026-01-02", "size": 600, "note": note(&download.leaves, 600, "", 2) }],
        "next_cursor": null, "origin": origin(), "keys": [verifier_key(2)],
    });
    write(&download.folder.join("answer.json"), answer.to_string());
    let answer = download.folder.join("answer.json");
    write(&file, download.leaves.join("\n"));
    let [file, answer] = [&file, &answer].map(|path| path.to_str().unwrap());
    let (code, value, _) = verify(&[file, "--keys", answer, "--checkpoints", answer]);
    assert_eq!(code, 0, "{value}");
}

/// The stub's two lines for the first `size` leaves.
fn stub_lines(leaves: &[String], size: usize) -> String {
    let mut chain: Hash = [0; 32];
    for leaf in &leaves[..size] {
        chain = chain_hash(&chain, &leaf_hash(leaf.as_bytes()));
    }
    // 512 is one whole tree.
    let edge = tree(leaves, size).root();
    let [chain, edge] = [chain, edge].map(|hash| BASE64_STANDARD.encode(hash));
    format!("removed 2025-11-27 {chain}\nedge {edge}\n")
}

#[test]
fn what_retention_removed_has_a_signed_stub_and_the_rest_is_verified() {
    let download = Download::new();
    let path = download.folder.join("removed");
    let lines = stub_lines(&download.leaves, 512);
    write(&path, note(&download.leaves, 512, &lines, 2));
    for gone in [
        "tile/0/000",
        "tile/0/001",
        "tile/entries/000",
        "tile/entries/001",
    ] {
        fs::remove_file(download.folder.join(gone)).unwrap();
    }
    let sound = download.sound();
    assert_eq!(
        (&sound["removed"], &sound["covered"]),
        (&json!(512), &json!(600))
    );
    // Without the stub nobody may remove anything.
    fs::remove_file(&path).unwrap();
    assert_eq!(brief(&download.found()), ("cut tail", 0, None));
    // A stub that nobody signed is none; nor is a checkpoint one.
    write(&path, note(&download.leaves, 512, &lines, 3));
    assert_eq!(download.found()["kind"], "disbelieved");
    let other = stub_lines(&download.leaves[1..], 512);
    for bent in [String::new(), other, lines.replace("removed", "gone")] {
        write(&path, note(&download.leaves, 512, &bent, 2));
        let (code, _, told) = verify(&[download.folder.to_str().unwrap()]);
        assert_eq!(code, 3, "{told}");
    }
    // One of another past contradicts what was signed of the rest.
    let mut past = download.leaves.clone();
    past[0] = past[0].replace("200", "403");
    write(&path, note(&past, 512, &stub_lines(&past, 512), 2));
    assert_eq!(brief(&download.found()), ("rewritten", 512, None));
}

#[test]
fn what_is_not_signed_is_not_believed() {
    let download = Download::new();
    let path = download.folder.join("checkpoint");
    write(&path, note(&download.leaves, ENTRIES, "", 3));
    assert_eq!(download.found()["kind"], "disbelieved");
    // The key that is given counts, whatever the folder says.
    write(&download.folder.join("keys"), verifier_key(3));
    let given = download.folder.join("pinned");
    write(&given, verifier_key(2));
    let (folder, given) = (download.folder.to_str().unwrap(), given.to_str().unwrap());
    let (code, value, _) = verify(&[folder, "--keys", given]);
    assert_eq!(
        (code, &value["findings"][0]["kind"]),
        (1, &json!("disbelieved"))
    );
}

#[test]
fn what_cannot_begin_says_why() {
    let download = Download::new();
    let folder = download.folder.to_str().unwrap().to_owned();
    let refused = |arguments: &[&str], why: &str| {
        let (code, value, told) = verify(arguments);
        assert_eq!((code, value), (3, Value::Null), "{arguments:?}");
        assert!(told.contains(why), "{told}");
    };
    refused(&[], "Usage");
    refused(&[&folder, "--unknown"], "Usage");
    refused(&["nowhere"], "no public key");
    let keys = download.folder.join("keys");
    let keys = keys.to_str().unwrap();
    refused(&["nowhere", "--keys", keys], "no checkpoint");
    let checkpoint = download.folder.join("checkpoint");
    let checkpoint = checkpoint.to_str().unwrap();
    refused(
        &["nowhere", "--keys", keys, "--checkpoints", checkpoint],
        "nowhere",
    );
    refused(&[&folder, "--keys", checkpoint], "not of the form");
    write(
        &download.folder.join("tile/0/000"),
        "33 bytes are no hashes, nor are 14",
    );
    refused(&[&folder], "no tile of hashes");
    let help = Command::new(env!("CARGO_BIN_EXE_watertight"))
        .arg("--help")
        .output();
    assert_eq!(help.unwrap().status.code(), Some(0));
}
