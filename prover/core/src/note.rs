//! Signed notes (C2SP signed-note) that hold checkpoints (C2SP tlog-checkpoint).

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    tiles::TILE,
    tree::{Hash, Tree},
};

/// The kind of signature that is read here: Ed25519.
const KIND: u8 = 1;
/// A note is refused from this length on.
const LONGEST: usize = 10_000;

/// A public key as signed-note writes it: `name+id+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

/// What a checkpoint says, once a key of its log was found to have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it came from, for whoever reads a finding.
    pub source: String,
    /// How many leaves the log had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// What stands for the entries that retention has removed, once a key of the log was found to have
/// signed it: a checkpoint of so many leaves that says that they are gone.
#[derive(Debug, Clone)]
pub struct Stub {
    /// Where it came from, how many leaves are gone, and the root over them.
    pub checkpoint: Checkpoint,
    /// Entries before this day are gone, as `2025-11-27`.
    pub before: String,
    /// What goes on from here.
    pub(crate) tree: Tree,
    pub(crate) chain: Hash,
}

/// Why a note or a key is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// The key is not one.
    #[error("the key is not of the form name+id+key, or its id is not its own")]
    Key,
    /// It is no note, or what it holds is no checkpoint.
    #[error("it is no checkpoint")]
    Malformed,
    /// It is no stub of removed entries.
    #[error("it is no stub of removed entries")]
    Stub,
    /// It is about another log.
    #[error("it is a checkpoint of another log")]
    Origin,
    /// No key that was given has signed it.
    #[error("none of the given keys has signed it")]
    Signature,
}

impl VerifierKey {
    /// The name of the log whose key it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same key under another name: what a studio signs beside its log has names of its own.
    pub fn under(&self, name: &str) -> Self {
        let named = [name.as_bytes(), b"\n", &[KIND], &self.public].concat();
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &named).as_ref()) {
            *to = *from;
        }
        Self {
            name: name.to_owned(),
            id,
            public: self.public,
        }
    }

    /// Reads a key and checks that its id is its own.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, NoteFault> {
        let mut parts = text.trim().splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteFault::Key);
        let (name, id, typed) = (part()?, part()?, part()?);
        let mut said = [0; 4];
        hex::decode_to_slice(id, &mut said).map_err(|_| NoteFault::Key)?;
        let typed = BASE64_STANDARD.decode(typed).map_err(|_| NoteFault::Key)?;
        let public = match typed.split_first() {
            Some((&KIND, public)) => Hash::try_from(public).map_err(|_| NoteFault::Key)?,
            _ => return Err(NoteFault::Key),
        };
        let named = [name.as_bytes(), b"\n", &typed].concat();
        if digest(&SHA256, &named).as_ref().get(..4) != Some(&said[..]) {
            return Err(NoteFault::Key);
        }
        Ok(Self {
            name: name.to_owned(),
            id: said,
            public,
        })
    }
}

impl Checkpoint {
    /// Reads a note about the log `origin` that one of `keys` has signed. `source` is where it came
    /// from.
    ///
    /// # Errors
    /// When it is not one, or nobody who was asked for has signed it.
    pub fn open(
        note: &str,
        origin: &str,
        keys: &[VerifierKey],
        source: &str,
    ) -> Result<Self, NoteFault> {
        if note.len() > LONGEST {
            return Err(NoteFault::Malformed);
        }
        let (text, signatures) = parted(note)?;
        let mut lines = text.lines();
        if lines.next() != Some(origin) {
            return Err(NoteFault::Origin);
        }
        let size = lines.next().and_then(number).ok_or(NoteFault::Malformed)?;
        let root = lines.next().map(|line| BASE64_STANDARD.decode(line));
        let root = root.and_then(Result::ok).ok_or(NoteFault::Malformed)?;
        let root = Hash::try_from(root).map_err(|_| NoteFault::Malformed)?;
        if !is_signed(origin, keys, &text, signatures) {
            return Err(NoteFault::Signature);
        }
        Ok(Self {
            source: source.to_owned(),
            size,
            root,
        })
    }
}

impl Stub {
    /// Reads a note about removed entries of the log `origin`, as [`Checkpoint::open`] reads one.
    ///
    /// # Errors
    /// When it is not one, or nobody who was asked for has signed it.
    pub fn open(
        note: &str,
        origin: &str,
        keys: &[VerifierKey],
        source: &str,
    ) -> Result<Self, NoteFault> {
        let checkpoint = Checkpoint::open(note, origin, keys, source)?;
        Self::read(note, checkpoint).ok_or(NoteFault::Stub)
    }

    /// The two lines after the root: `removed <day> <chain>` and `edge <peaks>`.
    fn read(note: &str, checkpoint: Checkpoint) -> Option<Self> {
        let mut lines = note.lines().skip(3);
        let (before, chain) = lines.next()?.strip_prefix("removed ")?.split_once(' ')?;
        let edge = BASE64_STANDARD.decode(lines.next()?.strip_prefix("edge ")?);
        let peaks = edge
            .ok()?
            .chunks(32)
            .map(Hash::try_from)
            .collect::<Result<Vec<_>, _>>();
        let tree = Tree::of_edge(checkpoint.size, &peaks.ok()?)?;
        let is_whole = checkpoint.size > 0 && checkpoint.size.is_multiple_of(TILE);
        (is_whole && tree.root() == checkpoint.root).then_some(Self {
            before: before.to_owned(),
            tree,
            chain: BASE64_STANDARD.decode(chain).ok()?.try_into().ok()?,
            checkpoint,
        })
    }
}

/// What stands under the name in a note that one of `keys` has signed under it.
///
/// # Errors
/// As with [`Checkpoint::open`].
pub(crate) fn said(note: &str, name: &str, keys: &[VerifierKey]) -> Result<String, NoteFault> {
    let (text, signatures) = parted(note)?;
    let under = text.strip_prefix(name);
    let said = under.and_then(|text| text.strip_prefix('\n'));
    let said = said.ok_or(NoteFault::Origin)?;
    match is_signed(name, keys, &text, signatures) {
        true => Ok(said.to_owned()),
        false => Err(NoteFault::Signature),
    }
}

/// The text of a note, with its last line feed, and the lines of its signatures.
fn parted(note: &str) -> Result<(String, &str), NoteFault> {
    let (text, signatures) = note.split_once("\n\n").ok_or(NoteFault::Malformed)?;
    Ok((format!("{text}\n"), signatures))
}

fn is_signed(name: &str, keys: &[VerifierKey], text: &str, signatures: &str) -> bool {
    signatures.lines().any(|line| {
        keys.iter()
            .any(|key| key.name == name && signs(key, line, text))
    })
}

/// Whether a signature line is that key's over the text.
fn signs(key: &VerifierKey, line: &str, text: &str) -> bool {
    let signature = line
        .strip_prefix("— ")
        .and_then(|line| line.strip_prefix(&key.name))
        .and_then(|line| line.strip_prefix(' '))
        .and_then(|signature| BASE64_STANDARD.decode(signature).ok());
    let Some((id, signature)) = signature
        .as_ref()
        .and_then(|bytes| bytes.split_at_checked(4))
    else {
        return false;
    };
    let public = UnparsedPublicKey::new(&ED25519, &key.public);
    id == key.id && public.verify(text.as_bytes(), signature).is_ok()
}

/// A decimal number without a sign and without leading zeros.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
