//! Hashes of a log (RFC 6962, section 2.1). Twins of the writer's: `docs/formats/ledger.md` lists them.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256, 32 bytes.
pub type Hash = [u8; 32];

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// The hash over two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The link of a leaf to the one before it; the first one's before is 32 zeros.
pub fn chain_hash(before: &Hash, leaf: &Hash) -> Hash {
    sha256(&[&[2], before, leaf])
}

/// A tree that only grows: the roots of its whole subtrees, each with its height.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    subtrees: Vec<(u32, Hash)>,
}

impl Tree {
    /// The tree of that many leaves by the roots of its whole subtrees, largest first. None when they
    /// are not as many as such a tree has.
    pub fn of_edge(size: u64, peaks: &[Hash]) -> Option<Self> {
        let heights = (0..u64::BITS)
            .rev()
            .filter(|height| size >> height & 1 == 1);
        let subtrees: Vec<_> = heights.zip(peaks.iter().copied()).collect();
        let are_all = peaks.len() == size.count_ones() as usize;
        are_all.then_some(Self { size, subtrees })
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_whole(0, leaf);
    }

    /// Appends a whole subtree of 2^`height` leaves by its root. The tree must consist of such, or
    /// larger ones.
    pub fn push_whole(&mut self, height: u32, root: Hash) {
        self.size += 1_u64.checked_shl(height).unwrap_or_default();
        let (mut height, mut hash) = (height, root);
        while let Some((_, left)) = self.subtrees.pop_if(|(other, _)| *other == height) {
            hash = node_hash(&left, &hash);
            height += 1;
        }
        self.subtrees.push((height, hash));
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        let Some((_, smallest)) = subtrees.next() else {
            return sha256(&[]);
        };
        subtrees.fold(*smallest, |right, (_, left)| node_hash(left, &right))
    }
}
