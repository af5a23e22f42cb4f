//! A studio's archive: a file that only whoever holds a recipient's secret reads, and that nobody else wrote.
//!
//! ```
//! use watertight_custody::archive::{Identities, Recipients};
//!
//! let studios = Identities::parse("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33").unwrap();
//! let to = Recipients::parse(&studios.recipients()).unwrap();
//! assert_eq!(to.count(), 1);
//! assert!(Recipients::parse("# nobody yet\n").is_err(), "never without one");
//! ```
//!
//! `docs/formats/archive.md` says what is in it, to the letter. What is absent: passphrases, and a way to write anything
//! that is not encrypted.

mod fault;
mod folder;
mod format;
mod people;
mod read;
mod rows;
mod write;

pub use fault::ArchiveFault;
pub use folder::{Folder, Kept, Part};
pub use format::{FORMAT, Head, Kind, Manifest, Sum, TableHead};
pub use people::{Identities, Recipients};
pub use read::{Seen, read};
pub use rows::{Became, KeysBecame, Restoring, Snapshot, keys_missing, put_keys};
pub use write::Writer;
