//! What stays unreadable: personal fields, sealed before they reach a table.
//!
//! ```
//! use watertight_terms::{Key, KeyRing, Random, TenantId};
//! use watertight_vault::{Holder, Keys, Place, Sealed};
//!
//! let random = Random::system();
//! let (tenant, zoe) = (TenantId(random.uuid()), random.uuid());
//! // In a server the keys are fetched in the transaction: `vault.to_seal(&mut tx, holder)`.
//! let ring = KeyRing::single(1, Key::new([7; 32]));
//! let keys = Keys::new(tenant, Holder::Person(zoe), ring, random.clone());
//! let place = Place { column: "studio.artists.email", row: zoe };
//!
//! let sealed = keys.seal(place, "zoe@example.org").unwrap();
//! assert_eq!(format!("{sealed:?}"), "Sealed(…)");
//!
//! let stored = sealed.as_stored().to_vec(); // a bytea column
//! let read: Sealed<String> = Sealed::from_stored(stored);
//! ```
//!
//! It opens in its place alone, for whom a policy allows it, and the entry names it:
//!
//! ```no_run
//! # use watertight_authority::{Opens, Resource};
//! # use watertight_tenancy::TenantTx; use watertight_terms::Fault;
//! # use watertight_vault::{Keys, Sealed};
//! # fn show<ViewContact: Opens<Artist>, Artist: Resource>(tx: &TenantTx, keys: &Keys, artist: &Artist, sealed: &Sealed<String>) -> Result<(), Fault> {
//! if let Some(allowed) = tx.allowed::<ViewContact, Artist>(artist) {
//!     let email = keys.open(tx, &allowed, "studio.artists.email", sealed)?;
//!     assert!(email.expose().contains('@'));
//! }
//! # Ok(()) }
//! ```
//!
//! **Keys.** Each wraps the next: a key-encryption key, which no database has, a studio's key; that one
//! a person's key; that one the person's values. The studio's own key seals what is nobody's in
//! particular. Wrapped keys lie in the schema `vault`, apart from the data. A key is current while what
//! wraps it is, so that one new key-encryption key renews everything below it, from the next write on.
//!
//! **Form of a sealed value.** AES-256-GCM-SIV (RFC 8452):
//!
//! ```text
//! version  1 byte, 2
//! number   2 bytes, big-endian: which of the holder's keys
//! nonce    12 bytes, random
//! sealed   the text as UTF-8, encrypted, then 16 bytes of tag
//! ```
//!
//! **Associated data**, not stored: version, number, tenant, holder and row (16 bytes each), then
//! `schema.table.column` to the end. Everything before the name has a fixed length, so no two
//! places give the same bytes.
//!
//! What is absent: no search over sealed values but for whether two are equal ([`Keys::index`]), no way to copy an opened one, and no hiding of
//! lengths (a sealed value is 31 bytes longer than its text).

mod cipher;
mod fault;
mod keys;
mod remote;
mod rotation;
mod sealed;
mod vault;
mod wrapping;
#[cfg(test)]
mod wycheproof;

pub use fault::{VaultFault, WrapFault};
pub use keys::{Holder, Keys, Place};
pub use remote::RemoteWrapping;
pub use rotation::Renewed;
pub use sealed::{Opened, Sealed};
pub use vault::Vault;
pub use wrapping::{Ring, RingWrapping, Wrapping};

use watertight_tenancy::Migration;

/// This room's migrations.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "vault/0001_keys",
        sql: include_str!("../sql/0001_keys.sql"),
    },
    Migration {
        name: "vault/0002_rotation",
        sql: include_str!("../sql/0002_rotation.sql"),
    },
];
