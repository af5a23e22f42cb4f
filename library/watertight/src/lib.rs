//! The way in that every request of a multi-tenant product passes.
//!
//! ```
//! use uuid::Uuid;
//! use watertight::{argument::{Input, Path}, problem::Problem};
//!
//! let input = Input {
//!     method: http::Method::GET,
//!     path: vec![("id".into(), "7".into())],
//!     query: None,
//!     headers: http::HeaderMap::new(),
//!     body: bytes::Bytes::new(),
//!     state: http::Extensions::new(),
//! };
//! // What is no id answers as an absent one does.
//! let fault = input.take::<Path<Uuid>>().unwrap_err();
//! assert_eq!(Problem::of(&fault, Uuid::nil()).status(), 404);
//! ```

pub mod answer;
pub mod argument;
pub mod cursor;
#[expect(
    clippy::indexing_slicing,
    reason = "members of JSON that is made here, by their names: what is missing reads as null"
)]
pub mod describe;
pub mod door;
#[expect(
    clippy::indexing_slicing,
    reason = "members of JSON that is made here, by their names: what is missing reads as null"
)]
pub mod openapi;
pub mod problem;

pub use watertight_terms as terms;

pub use watertight_authority as authority;
pub use watertight_edge as edge;
pub use watertight_identity as identity;
pub use watertight_ledger as ledger;
pub use watertight_outbound as outbound;
pub use watertight_tenancy as tenancy;
pub use watertight_vault as vault;
