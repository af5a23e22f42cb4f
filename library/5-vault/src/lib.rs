//! What stays unreadable: personal fields, sealed before they reach a table.
//!
//! ```
//! use watertight_terms::{Key, KeyRing, Random, TenantId};
//! use watertight_vault::{Place, Sealed, Vault};
//!
//! let random = Random::system();
//! let vault = Vault::new(KeyRing::single(1, Key::new([7; 32])), random.clone());
//! let place = Place {
//!     tenant: TenantId(random.uuid()),
//!     column: "studio.artists.email",
//!     row: random.uuid(),
//! };
//!
//! let sealed = vault.seal(place, "zoe@example.org").unwrap();
//! assert_eq!(format!("{sealed:?}"), "Sealed(…)");
//!
//! let stored = sealed.as_stored().to_vec(); // a bytea column
//! let read = Sealed::from_stored(stored);
//! assert_eq!(vault.open(place, &read).unwrap().expose(), "zoe@example.org");
//!
//! // The same bytes in another row, column or studio do not open.
//! let elsewhere = Place { row: random.uuid(), ..place };
//! assert!(vault.open(elsewhere, &read).is_err());
//! ```
//!
//! **Form of a sealed value.** AES-256-GCM-SIV (RFC 8452):
//!
//! ```text
//! version  1 byte, 1
//! key id   2 bytes, big-endian, signed: which key of the ring `vault`
//! nonce    12 bytes, random
//! sealed   the text as UTF-8, encrypted, then 16 bytes of tag
//! ```
//!
//! **Associated data**, not stored: version, key id, tenant (16 bytes), row (16 bytes), then
//! `schema.table.column` to the end. Everything before the name has a fixed length, so no two
//! places give the same bytes.
//!
//! **Keys.** A studio's key is derived from the ring's with `vault|<tenant>`. No two studios
//! share one, so a studio can later be given a stored key of its own and be shredded with it.
//!
//! What is absent: no search over sealed values, no way to copy an opened one, and no hiding of
//! lengths (a sealed value is 31 bytes longer than its text).

mod sealed;
mod vault;

pub use sealed::{Opened, Sealed};
pub use vault::{Place, Vault, VaultFault};
