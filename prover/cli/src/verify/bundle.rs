//! A bundle of evidence, as the studio's owner was given it: decrypted here, or before.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::Path,
};

use age::{Decryptor, x25519};
use watertight_prover_core::{Bundle, Flaw, Shown, VerifierKey};

use super::log::unreadable;
use crate::output::Failure;

/// What an encrypted bundle begins with, and one that was decrypted.
const ENCRYPTED: &[u8] = b"age-encryption.org/v1\n";
const DECRYPTED: &[u8] = b"{\"archive\":";

/// A line has at most so many bytes, and the window of the compression so many bits.
const LINE_BYTES: u64 = (8 << 20) + 2;
const WINDOW_LOG: u32 = 23;

/// Why a bundle is not sound.
#[derive(Debug)]
pub(super) enum Bent {
    /// What it says.
    Flaw(Flaw),
    /// Its bytes: the encryption tells.
    Bytes,
}

/// Whether a file is one.
pub(super) fn is_one(path: &Path) -> bool {
    let mut first = [0; 32];
    let read = File::open(path).and_then(|mut file| file.read(&mut first));
    read.is_ok_and(|_| first.starts_with(ENCRYPTED) || first.starts_with(DECRYPTED))
}

/// Verifies one, with what opens it where it is encrypted.
pub(super) fn verify(
    path: &Path,
    identity: Option<&Path>,
    keys: Vec<VerifierKey>,
) -> Result<Result<Shown, Bent>, Failure> {
    let opened = |path: &Path| File::open(path).map_err(|error| unreadable(path, &error));
    let mut first = BufReader::new(opened(path)?);
    let begin = first.fill_buf().map_err(|error| unreadable(path, &error))?;
    if begin.starts_with(DECRYPTED) {
        return Ok(lines(first, keys));
    }
    let identity = identity.ok_or_else(|| {
        Failure::new(
            "the bundle is encrypted: give the secret that opens it with `--identity FILE`",
        )
    })?;
    let identities = identities(identity)?;
    let Ok(decryptor) = Decryptor::new_buffered(first) else {
        return Ok(Err(Bent::Bytes));
    };
    let identities = identities.iter().map(|one| one as &dyn age::Identity);
    match decryptor.decrypt(identities) {
        Ok(stream) => decompressed(stream, keys),
        Err(age::DecryptError::NoMatchingKeys) => Err(Failure::new(
            "none of the identities opens the bundle: it was encrypted to others",
        )),
        Err(_) => Ok(Err(Bent::Bytes)),
    }
}

fn decompressed(stream: impl Read, keys: Vec<VerifierKey>) -> Result<Result<Shown, Bent>, Failure> {
    let Ok(mut zstd) = zstd::Decoder::new(stream) else {
        return Ok(Err(Bent::Bytes));
    };
    zstd.window_log_max(WINDOW_LOG)
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(lines(BufReader::new(zstd), keys))
}

fn lines(mut from: impl BufRead, keys: Vec<VerifierKey>) -> Result<Shown, Bent> {
    let mut bundle = Bundle::new(keys);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = from.by_ref().take(LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut line);
        if read.map_err(|_| Bent::Bytes)? == 0 {
            return bundle.end().map_err(Bent::Flaw);
        }
        if line.pop() != Some(b'\n') {
            return Err(Bent::Bytes);
        }
        let text = std::str::from_utf8(&line).map_err(|_| Bent::Bytes)?;
        bundle.line(text).map_err(Bent::Flaw)?;
    }
}

/// The secrets of a file, as `age-keygen` writes it.
fn identities(path: &Path) -> Result<Vec<x25519::Identity>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        line.parse().map_err(|_| {
            Failure::new(format!(
                "`{}` has a line that is no identity of age's (`AGE-SECRET-KEY-1…`)",
                path.display()
            ))
        })
    };
    lines.map(parse).collect()
}
