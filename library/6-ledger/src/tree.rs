//! The Merkle tree of a log (RFC 6962, section 2.1), as whoever appends to it needs it.
//!
//! The verifier has the hashes of its own, in `prover/core`: `docs/formats/ledger.md` and its vectors
//! are all that the two share.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256, 32 bytes.
pub type Hash = [u8; 32];

/// What the chain of a log begins with.
pub(crate) const CHAIN_BEGIN: Hash = [0; 32];

/// A tile has the hashes of so many binary levels (C2SP tlog-tiles).
const TILE_HEIGHT: u32 = 8;

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
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The link of a leaf to the one before it.
pub fn chain_hash(before: &Hash, leaf: &Hash) -> Hash {
    sha256(&[&[2], before, leaf])
}

/// The right edge of a tree: the roots of the whole subtrees that it consists of, largest first.
/// Enough to append to it and to know its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    peaks: Vec<Hash>,
}

/// The root of a whole tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileRoot {
    /// 1 for a tile of leaves, 2 for a tile of those roots.
    pub level: u32,
    /// Which tile of that level, from 0.
    pub position: u64,
    /// The root.
    pub hash: Hash,
}

impl Edge {
    /// Reads an edge: 32 bytes a subtree. None when it is not one of that size.
    pub fn read(size: u64, bytes: &[u8]) -> Option<Self> {
        let peaks: Vec<Hash> = bytes
            .chunks(32)
            .map(Hash::try_from)
            .collect::<Result<_, _>>()
            .ok()?;
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The edge of a tree of whole tiles, by their roots.
    pub fn of_tiles(roots: impl IntoIterator<Item = Hash>) -> Self {
        // A tree of tiles has the peaks of the tree of their leaves.
        let mut of_roots = Self::default();
        for root in roots {
            of_roots.push(root);
        }
        Self {
            size: of_roots.size << TILE_HEIGHT,
            peaks: of_roots.peaks,
        }
    }

    /// As [`Edge::read`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash; gives the roots of the tiles that it completes.
    pub fn push(&mut self, leaf: Hash) -> Vec<TileRoot> {
        let mut whole = Vec::new();
        let (mut hash, mut height, mut position) = (leaf, 0, self.size);
        while position % 2 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            height += 1;
            position /= 2;
            if height % TILE_HEIGHT == 0 {
                whole.push(TileRoot {
                    level: height / TILE_HEIGHT,
                    position,
                    hash,
                });
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        whole
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let from_the_right = self.peaks.iter().rev().copied();
        from_the_right
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| sha256(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word: split at the largest power of two below the size.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                node_hash(&defined(&leaves[..half]), &defined(&leaves[half..]))
            }
        }
    }

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn an_edge_has_the_root_that_is_defined_at_every_size() {
        let all = leaves(300);
        let mut edge = Edge::default();
        for (n, leaf) in all.iter().enumerate() {
            assert_eq!(edge.root(), defined(&all[..n]), "size {n}");
            let read = Edge::read(edge.size(), &edge.to_bytes()).unwrap();
            assert_eq!(read, edge);
            edge.push(*leaf);
        }
    }

    #[test]
    fn whole_tiles_have_the_root_of_their_leaves() {
        let all = leaves(70_000);
        let mut edge = Edge::default();
        let whole: Vec<TileRoot> = all.iter().flat_map(|leaf| edge.push(*leaf)).collect();
        let (lower, upper): (Vec<TileRoot>, Vec<TileRoot>) =
            whole.into_iter().partition(|tile| tile.level == 1);
        assert_eq!(lower.len(), 70_000 / 256);
        let of_tiles = Edge::of_tiles(lower.iter().map(|tile| tile.hash));
        let mut of_leaves = Edge::default();
        for leaf in &all[..70_000 / 256 * 256] {
            of_leaves.push(*leaf);
        }
        assert_eq!(of_tiles, of_leaves);
        for tile in lower {
            let from = tile.position as usize * 256;
            assert_eq!(tile.hash, defined(&all[from..from + 256]));
        }
        let whole_of_two = (upper[0].level, upper[0].position, upper[0].hash);
        assert_eq!(
            (upper.len(), whole_of_two),
            (1, (2, 0, defined(&all[..65_536])))
        );
    }

    #[test]
    fn an_edge_of_another_size_is_none() {
        assert!(Edge::read(3, &[0; 32]).is_none());
        assert!(Edge::read(1, &[0; 31]).is_none());
        assert!(Edge::read(0, &[]).is_some());
    }
}
