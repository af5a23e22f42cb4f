//! The log as it lies on a disk.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use watertight_prover_core::{Hash, TILE, entries, hashes_of, tile_path};

use crate::output::Failure;

/// A leaf has at most so many bytes (C2SP tlog-tiles), and a line one more.
const LEAF_MOST: u64 = 65_536;

/// A log, not yet read.
#[derive(Debug)]
pub(super) enum Log {
    /// A folder of tiles, from the bundle of a number on.
    Tiles(PathBuf, u64),
    /// A file of leaves.
    Lines(BufReader<File>, String),
}

/// A leaf as it was found; none where the log has a hole.
type Found = Result<Option<String>, Failure>;

impl Log {
    /// The log at a path, of which so many entries were removed.
    pub(super) fn open(path: &Path, removed: u64) -> Result<Self, Failure> {
        if path.is_dir() {
            return Ok(Self::Tiles(path.to_owned(), removed / TILE));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self::Lines(BufReader::new(file), name))
    }

    /// The hashes of the leaves, where the log has them.
    pub(super) fn hashes(&self) -> Result<Option<Vec<Hash>>, Failure> {
        let Self::Tiles(folder, first) = self else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for n in *first.. {
            let Some((path, tile)) = tile(folder, "0", n)? else {
                break;
            };
            let hashes = hashes_of(&tile).ok_or_else(|| malformed(&path, "tile of hashes"))?;
            let is_last = (hashes.len() as u64) < TILE;
            all.extend(hashes);
            if is_last {
                break;
            }
        }
        Ok((!all.is_empty()).then_some(all))
    }

    /// The leaves, one after the other.
    pub(super) fn leaves(self) -> Box<dyn Iterator<Item = Found>> {
        match self {
            Self::Tiles(folder, first) => {
                let bundles = (first..).map(move |n| bundle(&folder, n));
                let until_end = bundles.map_while(Result::transpose);
                Box::new(until_end.flat_map(|bundle| match bundle {
                    Ok(leaves) => leaves.into_iter().map(Ok).collect(),
                    Err(failure) => vec![Err(failure)],
                }))
            }
            Self::Lines(mut reader, name) => {
                Box::new(std::iter::from_fn(move || line(&mut reader, &name)))
            }
        }
    }
}

/// The leaves of a bundle, a hole where it is missing between others; none after the last.
fn bundle(folder: &Path, n: u64) -> Result<Option<Vec<Option<String>>>, Failure> {
    let Some((path, bundle)) = tile(folder, "entries", n)? else {
        let goes_on = tile(folder, "entries", n + 1)?.is_some();
        return Ok(goes_on.then(|| vec![None]));
    };
    let leaves = entries(&bundle).ok_or_else(|| malformed(&path, "bundle of entries"))?;
    Ok(Some(
        leaves
            .into_iter()
            .map(|leaf| Some(leaf.to_owned()))
            .collect(),
    ))
}

/// A whole tile, or the fullest that there is of one that was not whole yet.
fn tile(folder: &Path, level: &str, n: u64) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
    let whole = folder.join(tile_path(level, n, None));
    let path = match whole.is_file() {
        true => Some(whole),
        false => (1..TILE)
            .rev()
            .map(|width| folder.join(tile_path(level, n, Some(width))))
            .find(|path| path.is_file()),
    };
    let Some(path) = path else { return Ok(None) };
    let bytes =
        bounded(&path, TILE * (LEAF_MOST + 2)).map_err(|error| unreadable(&path, &error))?;
    Ok(Some((path, bytes)))
}

/// The bytes of a file that has at most so many.
pub(super) fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    fs::read(path)
}

fn line(reader: &mut BufReader<File>, name: &str) -> Option<Found> {
    let mut line = Vec::new();
    let read = reader.take(LEAF_MOST).read_until(b'\n', &mut line);
    let failed = |why: &str| Some(Err(Failure::new(format!("`{name}`: {why}"))));
    match read {
        Err(error) => return failed(&error.to_string()),
        Ok(0) => return None,
        Ok(_) => {}
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == LEAF_MOST {
        return failed("a line is longer than any leaf: it is no file of leaves");
    }
    match String::from_utf8(line) {
        Ok(leaf) => Some(Ok(Some(leaf))),
        Err(_) => failed("it is no text, hence no file of leaves"),
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display()))
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::new(format!("`{}` is no {what}", path.display()))
}
