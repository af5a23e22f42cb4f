//! A studio's log, entry by entry, against what its checkpoints say.

use serde::Deserialize;

use crate::{
    note::{Checkpoint, Stub},
    tree::{Hash, Tree, chain_hash, leaf_hash},
};

/// An entry as it is listed at its place.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Its number, from 0.
    pub seq: u64,
    /// Its id.
    pub id: &'a str,
    /// Its leaf, to the letter; none where it cannot be found.
    pub leaf: Option<&'a str>,
    /// The hash of its leaf, where a list has one: says of an entry that it was changed, where the
    /// root says only of all.
    pub hash: Option<Hash>,
    /// Its link to the one before it, where a list has one.
    pub chain: Option<Hash>,
}

/// The first thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// An entry is not what was hashed when it was written.
    #[error("entry {seq} ({id}) was changed")]
    Changed {
        /// Its number.
        seq: u64,
        /// Its id.
        id: String,
    },
    /// A number has no entry.
    #[error("entry {seq} is missing")]
    Missing {
        /// The number.
        seq: u64,
    },
    /// An entry stands where another one was.
    #[error("entry {seq} ({id}) was reordered: another one was there")]
    Reordered {
        /// Its number.
        seq: u64,
        /// Its id.
        id: String,
    },
    /// The log is shorter than a checkpoint says.
    #[error("the tail is cut: {have} entries are there, {said} were when {checkpoint} was signed")]
    CutTail {
        /// So many are there.
        have: u64,
        /// So many were there.
        said: u64,
        /// The checkpoint.
        checkpoint: String,
    },
    /// An entry is another studio's.
    #[error("entry {seq} ({id}) is foreign: it is of studio `{studio}`")]
    Foreign {
        /// Its number.
        seq: u64,
        /// Its id.
        id: String,
        /// Whose it is.
        studio: String,
    },
    /// An entry stands in the log that was never in it.
    #[error("entry {seq} ({id}) was added: it was never in this log")]
    Added {
        /// Its number.
        seq: u64,
        /// Its id.
        id: String,
    },
    /// All fits together, and is not what was signed.
    #[error(
        "the log was rewritten: entries {from} to {until} are not those of which {checkpoint} was signed"
    )]
    Rewritten {
        /// The first that no earlier checkpoint vouches for.
        from: u64,
        /// The last that the checkpoint covers.
        until: u64,
        /// The checkpoint.
        checkpoint: String,
    },
}

impl Finding {
    /// Its name in `docs/formats/ledger.md`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::Missing { .. } => "missing",
            Self::Reordered { .. } => "reordered",
            Self::CutTail { .. } => "cut tail",
            Self::Foreign { .. } => "foreign",
            Self::Added { .. } => "added",
            Self::Rewritten { .. } => "rewritten",
        }
    }

    /// The first entry that is in doubt.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Changed { seq, .. }
            | Self::Missing { seq }
            | Self::Reordered { seq, .. }
            | Self::Foreign { seq, .. }
            | Self::Added { seq, .. } => *seq,
            Self::CutTail { have, .. } => *have,
            Self::Rewritten { from, .. } => *from,
        }
    }

    /// That entry's id, where it says one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Changed { id, .. }
            | Self::Reordered { id, .. }
            | Self::Foreign { id, .. }
            | Self::Added { id, .. } => Some(id),
            Self::Missing { .. } | Self::CutTail { .. } | Self::Rewritten { .. } => None,
        }
    }
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// So many entries, those that retention has removed among them.
    pub entries: u64,
    /// So many of them were removed: their stub vouches for what was there.
    pub removed: u64,
    /// So many of them are covered by a checkpoint; the rest only fit together.
    pub covered: u64,
    /// So many checkpoints were met.
    pub checkpoints: usize,
}

/// Verifies one studio's log.
#[derive(Debug)]
pub struct Verifier {
    studio: String,
    /// Those to come, the smallest last.
    checkpoints: Vec<Checkpoint>,
    tree: Tree,
    chain: Hash,
    removed: u64,
    covered: u64,
    met: usize,
}

impl Verifier {
    /// A verifier of the log of `studio` (its id), which must agree with every one of `checkpoints`.
    pub fn new(studio: &str, mut checkpoints: Vec<Checkpoint>) -> Self {
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        Self {
            studio: studio.to_owned(),
            checkpoints,
            tree: Tree::default(),
            chain: [0; 32],
            removed: 0,
            covered: 0,
            met: 0,
        }
    }

    /// The same verifier of a log whose first entries were removed. Checkpoints from before are not
    /// compared any more: what they covered is gone.
    pub fn after(mut self, stub: Stub) -> Self {
        let removed = stub.checkpoint.size;
        self.checkpoints.retain(|said| said.size >= removed);
        self.checkpoints.push(stub.checkpoint);
        (self.tree, self.chain, self.removed) = (stub.tree, stub.chain, removed);
        self
    }

    /// The same verifier of a log that is shown from a whole tile on, with the edge of what was before: it is believed
    /// once what goes on from it gives a root that was signed.
    pub fn from(mut self, before: Tree) -> Self {
        let begun = before.size();
        self.checkpoints.retain(|said| said.size >= begun);
        self.tree = before;
        (self.removed, self.covered) = (begun, begun);
        self
    }

    /// The number that the next entry has.
    pub fn next(&self) -> u64 {
        self.tree.size()
    }

    /// The next entry.
    ///
    /// # Errors
    /// What is wrong with it: the first thing in the log that is.
    pub fn entry(&mut self, listed: &Listed<'_>) -> Result<(), Finding> {
        let (seq, id) = (self.tree.size(), listed.id.to_owned());
        let leaf = match listed.leaf {
            Some(leaf) if listed.seq == seq => leaf,
            _ => return Err(Finding::Missing { seq }),
        };
        let hash = leaf_hash(leaf.as_bytes());
        match whose(leaf) {
            Some(whose) if whose.studio != self.studio => {
                let studio = whose.studio;
                return Err(Finding::Foreign { seq, id, studio });
            }
            Some(whose) if whose.id != id => return Err(Finding::Reordered { seq, id }),
            Some(_) => {}
            None => return Err(Finding::Changed { seq, id }),
        }
        if listed.hash.is_some_and(|listed| listed != hash) {
            return Err(Finding::Changed { seq, id });
        }
        self.chained(listed, hash)
    }

    /// The next entry by its hash alone: one that a checkpoint which is believed vouches for.
    ///
    /// # Errors
    /// As [`Verifier::entry`].
    pub fn hash(&mut self, listed: &Listed<'_>) -> Result<(), Finding> {
        match listed.hash {
            Some(hash) if listed.seq == self.tree.size() => self.chained(listed, hash),
            _ => Err(Finding::Missing {
                seq: self.tree.size(),
            }),
        }
    }

    fn chained(&mut self, listed: &Listed<'_>, hash: Hash) -> Result<(), Finding> {
        // What is said of the removed entries, before what goes on from them.
        self.meet()?;
        self.chain = chain_hash(&self.chain, &hash);
        if listed.chain.is_some_and(|listed| listed != self.chain) {
            return Err(Finding::Reordered {
                seq: self.tree.size(),
                id: listed.id.to_owned(),
            });
        }
        self.tree.push(hash);
        self.meet()
    }

    /// Compares with the checkpoints of this size.
    fn meet(&mut self) -> Result<(), Finding> {
        let size = self.tree.size();
        let mut root = None;
        while let Some(said) = self.checkpoints.pop_if(|next| next.size == size) {
            if said.root != *root.get_or_insert_with(|| self.tree.root()) {
                return Err(Finding::Rewritten {
                    from: self.covered,
                    until: size.saturating_sub(1),
                    checkpoint: said.source,
                });
            }
            self.met += 1;
        }
        if root.is_some() {
            self.covered = size;
        }
        Ok(())
    }

    /// There are no more entries.
    ///
    /// # Errors
    /// When a checkpoint says that there were.
    pub fn end(mut self) -> Result<Summary, Finding> {
        // Of a log without any entry that is still there, too.
        self.meet()?;
        match self.checkpoints.into_iter().next() {
            Some(said) => Err(Finding::CutTail {
                have: self.tree.size(),
                said: said.size,
                checkpoint: said.source,
            }),
            None => Ok(Summary {
                entries: self.tree.size(),
                removed: self.removed,
                covered: self.covered,
                checkpoints: self.met,
            }),
        }
    }
}

#[derive(Deserialize)]
struct Leaf {
    entry: Whose,
}

/// Of which studio and request a leaf is.
#[derive(Debug, Deserialize)]
pub struct Whose {
    /// The studio's id.
    #[serde(rename = "tenant")]
    pub studio: String,
    /// The entry's id.
    pub id: String,
}

/// Of which studio and request a leaf is; none when it is no leaf at all.
pub fn whose(leaf: &str) -> Option<Whose> {
    let leaf: Leaf = serde_json::from_str(leaf).ok()?;
    Some(leaf.entry)
}
