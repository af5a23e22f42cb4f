//! What is wrong with a leaf, where the hashes of all of them are known.

use crate::{
    log::{Finding, whose},
    tree::{Hash, leaf_hash},
};

/// The hashes of a log's leaves, once its checkpoints vouch for them. They say of each leaf what a root
/// can only say of all: changed, missing, moved, slipped in.
#[derive(Debug, Clone)]
pub struct Hashes {
    studio: String,
    first: u64,
    hashes: Vec<Hash>,
}

impl Hashes {
    /// The hashes of the log of `studio` (its id) from the number `first` on.
    pub fn new(studio: &str, first: u64, hashes: Vec<Hash>) -> Self {
        let studio = studio.to_owned();
        Self {
            studio,
            first,
            hashes,
        }
    }

    /// The leaf that stands at a number, and the one after it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn entry(&self, seq: u64, leaf: Option<&str>, next: Option<&str>) -> Result<(), Finding> {
        let Some(leaf) = leaf else {
            return Err(Finding::Missing { seq });
        };
        let hash = leaf_hash(leaf.as_bytes());
        if self.at(seq) == Some(&hash) {
            return Ok(());
        }
        let next = next.map(|next| leaf_hash(next.as_bytes()));
        Err(self.wrong(seq, leaf, &hash, next.as_ref()))
    }

    fn wrong(&self, seq: u64, leaf: &str, hash: &Hash, next: Option<&Hash>) -> Finding {
        let whose = whose(leaf);
        let id = whose.as_ref().map(|whose| whose.id.clone());
        let id = id.unwrap_or_default();
        match whose {
            Some(whose) if whose.studio != self.studio => {
                let studio = whose.studio;
                return Finding::Foreign { seq, id, studio };
            }
            _ => {}
        }
        let follows = |place: u64| next.is_none() || next == self.at(place + 1);
        match self.place(hash) {
            // Everything after it moved up with it.
            Some(place) if place > seq && follows(place) => Finding::Missing { seq },
            Some(_) => Finding::Reordered { seq, id },
            None if next.is_some() && next == self.at(seq) => Finding::Added { seq, id },
            None if self.at(seq).is_none() => Finding::Added { seq, id },
            None => Finding::Changed { seq, id },
        }
    }

    /// The hash that belongs to a number.
    fn at(&self, seq: u64) -> Option<&Hash> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.hashes.get(index)
    }

    /// Where a hash belongs.
    fn place(&self, hash: &Hash) -> Option<u64> {
        let index = self.hashes.iter().position(|other| other == hash)?;
        Some(self.first + index as u64)
    }
}
