//! Checkpoints and keys: what is believed, and what it says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use watertight_prover_core::{Checkpoint, NoteFault, Stub, Verifier, VerifierKey};

use super::log::{bounded, unreadable};
use crate::output::Failure;

/// The name of every log begins so; its studio's id follows.
const ORIGIN: &str = "studio.watertight/ledger/";
/// A file of checkpoints or keys has at most so many bytes.
const FILE_BYTES: u64 = 16 << 20;

/// A note, and where it came from.
type Note = (String, String);

/// What was said of a log, not yet believed.
#[derive(Debug)]
pub(super) struct Said {
    /// The studio's id.
    pub(super) studio: String,
    origin: String,
    keys: Vec<VerifierKey>,
    notes: Vec<Note>,
    removed: Option<Note>,
}

/// What `/v1/audit/checkpoints` answers, as far as it is read here.
#[derive(Deserialize)]
struct Answered {
    items: Vec<Item>,
    keys: Vec<String>,
    removed: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    day: String,
    note: String,
}

impl Said {
    /// Reads the folder's own notes, and the further ones.
    pub(super) fn read(
        log: &Path,
        keys: Option<&Path>,
        further: &[PathBuf],
    ) -> Result<Self, Failure> {
        let own = ["keys", "checkpoints.json"].map(|name| log.join(name));
        let own = own.iter().find(|path| path.is_file());
        let keys = match keys.or(own.map(PathBuf::as_path)) {
            Some(path) => read_keys(path)?,
            None => {
                return Err(Failure::new(
                    "no public key is given: name one with `--keys FILE`",
                ));
            }
        };
        let origin = one_log(&keys)?;
        let studio = origin.strip_prefix(ORIGIN).map(str::to_owned);
        let studio = studio.ok_or_else(|| {
            Failure::new(format!(
                "the key is of `{origin}`, which is no studio's log"
            ))
        })?;
        let mut said = Self {
            studio,
            origin,
            keys,
            notes: Vec::new(),
            removed: None,
        };
        for own in ["checkpoint", "checkpoints", "checkpoints.json"].map(|name| log.join(name)) {
            if own.exists() {
                said.add(&own)?;
            }
        }
        for path in further {
            said.add(path)?;
        }
        let own = log.join("removed");
        if own.is_file() {
            said.removed = Some((format!("`{}`", own.display()), text(&own)?));
        }
        if said.notes.is_empty() {
            return Err(Failure::new(
                "no checkpoint is given, so nothing says what the log was: name one with `--checkpoints FILE`",
            ));
        }
        Ok(said)
    }

    /// How many notes.
    pub(super) fn notes(&self) -> usize {
        self.notes.len()
    }

    /// How many entries are said to be removed. The note is believed later.
    pub(super) fn removed(&self) -> u64 {
        let size = self.removed.as_ref().and_then(|(_, note)| {
            let line = note.lines().nth(1)?;
            line.parse().ok()
        });
        size.unwrap_or_default()
    }

    /// A verifier of what is said, once all of it is believed; or the first that is not, and why.
    pub(super) fn open(self) -> Result<Result<Verifier, Disbelieved>, Failure> {
        let mut checkpoints = Vec::new();
        for (source, note) in &self.notes {
            match Checkpoint::open(note, &self.origin, &self.keys, source) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(fault) => return refused(source, fault),
            }
        }
        let verifier = Verifier::new(&self.studio, checkpoints);
        let Some((source, note)) = &self.removed else {
            return Ok(Ok(verifier));
        };
        match Stub::open(note, &self.origin, &self.keys, source) {
            Ok(stub) => Ok(Ok(verifier.after(stub))),
            Err(fault) => refused(source, fault),
        }
    }

    /// Adds what stands in a file, or in the files of a folder.
    fn add(&mut self, path: &Path) -> Result<(), Failure> {
        if !path.is_dir() {
            return self.add_file(path);
        }
        let listed = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        let mut files = listed
            .map(|file| file.map(|file| file.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(path, &error))?;
        files.retain(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            file.is_file() && name.is_some_and(|name| !name.starts_with('.'))
        });
        files.sort();
        files.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let (name, text) = (format!("`{}`", path.display()), text(path)?);
        if !text.trim_start().starts_with('{') {
            // The folder of checkpoints outside the database has the stub beside the days.
            match path.file_name().is_some_and(|file| file == "removed") {
                true => self.removed = Some((name, text)),
                false => self.notes.push((name, text)),
            }
            return Ok(());
        }
        let answered = answered(path, &text)?;
        let named = |item: Item| {
            (
                format!("the checkpoint of {} in {name}", item.day),
                item.note,
            )
        };
        self.notes.extend(answered.items.into_iter().map(named));
        if let Some(note) = answered.removed {
            self.removed = Some((format!("the stub in {name}"), note));
        }
        Ok(())
    }
}

/// Where a note came from, and why it is not believed.
type Disbelieved = (String, NoteFault);

/// A note that nobody signed was bent; one that is none, or of another log, was given by mistake.
fn refused<T>(source: &str, fault: NoteFault) -> Result<Result<T, Disbelieved>, Failure> {
    match fault {
        NoteFault::Signature => Ok(Err((source.to_owned(), fault))),
        _ => Err(Failure::new(format!("{source}: {fault}"))),
    }
}

/// The keys of a file.
pub(super) fn read_keys(path: &Path) -> Result<Vec<VerifierKey>, Failure> {
    let text = text(path)?;
    let lines: Vec<String> = match text.trim_start().starts_with('{') {
        true => answered(path, &text)?.keys,
        false => text.lines().map(str::to_owned).collect(),
    };
    let lines = lines.iter().filter(|line| !line.trim().is_empty());
    let parse = |line: &String| {
        VerifierKey::parse(line)
            .map_err(|fault| Failure::new(format!("`{}`: {fault}", path.display())))
    };
    lines.map(parse).collect()
}

/// The log that all keys are of.
fn one_log(keys: &[VerifierKey]) -> Result<String, Failure> {
    let mut names = keys.iter().map(VerifierKey::name);
    let name = names
        .next()
        .ok_or_else(|| Failure::new("there is no public key in the file of keys"))?;
    match names.all(|other| other == name) {
        true => Ok(name.to_owned()),
        false => Err(Failure::new(
            "the public keys are of several logs: give those of one",
        )),
    }
}

fn answered(path: &Path, text: &str) -> Result<Answered, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let path = path.display();
        Failure::new(format!(
            "`{path}` is not what `/v1/audit/checkpoints` answers: {error}"
        ))
    })
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = bounded(path, FILE_BYTES).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("`{}` is no text", path.display())))
}
