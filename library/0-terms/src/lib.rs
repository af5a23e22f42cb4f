//! Shared nouns of every room: ids, roles, time, randomness, keys, faults and ledger entries.
//!
//! Nothing here reads a clock, draws a random number or opens a file by itself: time, randomness
//! and keys are values that somebody hands in, so a test can hand in others.
//!
//! ```
//! use watertight_terms::{Clock, Fault, Role, problems};
//!
//! let clock = Clock::fixed("2026-03-01T09:00:00Z".parse().unwrap());
//! assert_eq!(clock.now().to_string(), "2026-03-01T09:00:00Z");
//!
//! // The lowest of what the token, the identity provider and the studio's owner say.
//! assert_eq!(Role::Owner.min(Role::Manager), Role::Manager);
//!
//! // A fault says whose it is, and carries two messages: one spoken, one logged.
//! let fault = Fault::new(problems::NOT_FOUND, "there is nothing here that you may see")
//!     .log("booking 7 belongs to another tenant");
//! assert!(!fault.spoken().contains("tenant"));
//! ```

mod clock;
mod entry;
mod fault;
mod ids;
mod keys;
mod limits;
mod problem;
pub mod problems;
mod random;
mod role;
mod text;
mod unproven;

pub use clock::Clock;
pub use entry::{Entry, Outcome, Request};
pub use fault::{Fault, FieldFault, Kind, Whose};
pub use ids::{InvalidId, Subject, TenantId};
pub use keys::{Key, KeyError, KeyFile, KeyRing, hmac_pads, hmac_sha256, hmac_verify};
pub use limits::Limits;
pub use problem::{ProblemType, are_distinct};
pub use random::Random;
pub use role::{Role, UnknownRole};
pub use text::{TextFault, check_line, check_prose};
pub use unproven::{Aim, Unproven};
