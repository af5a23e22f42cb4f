//! `watertight verify` on a bundle of evidence as an owner is given it, and on the same file touched.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use age::{secrecy::ExposeSecret, x25519::Identity};
use serde_json::Value;

/// A bundle, its owner's secret and the log's keys in a folder, which goes with it.
struct Given {
    folder: PathBuf,
    lines: String,
    identity: Identity,
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Given {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evidence-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/formats/vectors/evidence.json"
        );
        let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let all = |name: &str| {
            let lines = vectors[name].as_array().unwrap().iter();
            let lines = lines.map(|line| format!("{}\n", line.as_str().unwrap()));
            lines.collect::<String>()
        };
        let identity = Identity::generate();
        fs::write(folder.join("keys"), all("keys")).unwrap();
        let secret = identity.to_string();
        fs::write(folder.join("secret"), secret.expose_secret()).unwrap();
        Self {
            folder,
            lines: all("lines"),
            identity,
        }
    }

    fn encrypted(&self) -> Vec<u8> {
        let to = self.identity.to_public();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&to as _)).unwrap();
        let out = encryptor.wrap_output(Vec::new()).unwrap();
        let mut out = zstd::Encoder::new(out, 3).unwrap();
        out.write_all(self.lines.as_bytes()).unwrap();
        out.finish().unwrap().finish().unwrap()
    }

    /// Verifies a file of these bytes, with these of the folder's files.
    fn verify(&self, bytes: &[u8], with: &[&str]) -> (i32, Value, String) {
        let file = self.folder.join("bundle");
        fs::write(&file, bytes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_watertight"));
        command.args(["verify", "--format", "json"]).arg(file);
        for name in with {
            let option = if *name == "keys" {
                "--keys"
            } else {
                "--identity"
            };
            command.arg(option).arg(self.folder.join(name));
        }
        let ran = command.output().unwrap();
        let value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
        let told = String::from_utf8(ran.stderr).unwrap();
        (ran.status.code().unwrap(), value, told)
    }
}

#[test]
fn a_bundle_is_verified_with_what_opens_it_and_with_keys_from_elsewhere() {
    let given = Given::new();
    let bytes = given.encrypted();
    let (code, verdict, told) = given.verify(&bytes, &["keys", "secret"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(
        (verdict["verdict"].as_str(), verdict["entries"].as_u64()),
        (Some("sound"), Some(3))
    );
    assert_eq!(verdict["window"]["end"], 259, "{verdict}");
    // Decrypted before, by age and zstd.
    assert_eq!(given.verify(given.lines.as_bytes(), &["keys"]).0, 0);
    for with in [&["keys"][..], &["secret"]] {
        let (code, _, told) = given.verify(&bytes, with);
        assert_eq!(code, 3, "{told}");
    }
    let another = Identity::generate().to_string();
    fs::write(given.folder.join("secret"), another.expose_secret()).unwrap();
    let (code, _, told) = given.verify(&bytes, &["keys", "secret"]);
    assert_eq!(code, 3);
    assert!(told.contains("encrypted to others"), "{told}");
}

#[test]
fn a_bundle_that_was_touched_is_not_sound() {
    let given = Given::new();
    let bytes = given.encrypted();
    let found = |bytes: &[u8]| {
        let (code, verdict, told) = given.verify(bytes, &["keys", "secret"]);
        assert_eq!(code, 1, "{told}");
        verdict["findings"][0]["kind"].as_str().unwrap().to_owned()
    };
    let mut flipped = bytes.clone();
    let middle = bytes.len() - 40;
    flipped[middle] ^= 1;
    assert_eq!(found(&flipped), "changed");
    assert_eq!(found(&bytes[..bytes.len() - 20]), "changed");
    assert_eq!(found(&[&bytes[..], b"more"].concat()), "changed");
    let plain = given.lines.replacen("stolen-session", "lost-session", 1);
    assert_eq!(found(plain.as_bytes()), "changed");
    let (kept, _manifest) = given.lines.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(found(format!("{kept}\n").as_bytes()), "cut");
}
