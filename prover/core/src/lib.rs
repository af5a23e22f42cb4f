//! What a verifier computes: bytes in, verdict out. No input or output, no clock, no randomness.
//!
//! ```
//! use watertight_prover_core::{Checkpoint, Finding, Listed, Verifier, leaf_hash};
//!
//! let leaf = r#"{"changes":[],"entry":{"id":"e1","tenant":"s1"},"mac":null}"#;
//! let said = Checkpoint { source: "monday".into(), size: 1, root: leaf_hash(leaf.as_bytes()) };
//!
//! let mut verifier = Verifier::new("s1", vec![said.clone()]);
//! verifier.entry(&Listed { seq: 0, id: "e1", leaf: Some(leaf), hash: None, chain: None })?;
//! assert_eq!(verifier.end()?.entries, 1);
//!
//! let mut verifier = Verifier::new("s1", vec![said]);
//! let other = leaf.replace("null", "\"\"");
//! let found = verifier.entry(&Listed { seq: 0, id: "e1", leaf: Some(&other), hash: None, chain: None });
//! assert!(matches!(found, Err(Finding::Rewritten { .. })));
//! # Ok::<(), Finding>(())
//! ```
//!
//! It is made from `docs/formats/ledger.md` and its vectors, and imports nothing of the writer: what
//! both had wrong in the same way, nobody would find.

mod bundle;
mod hashes;
mod log;
mod note;
mod range;
mod tiles;
mod tree;

pub use bundle::{Bundle, Flaw, Shown};
pub use hashes::Hashes;
pub use log::{Finding, Listed, Summary, Verifier, Whose, whose};
pub use note::{Checkpoint, NoteFault, Stub, VerifierKey};
pub use range::RangeFlaw;
pub use tiles::{TILE, entries, hashes_of, tile_path};
pub use tree::{Hash, Tree, chain_hash, leaf_hash, node_hash};
