//! The only place that opens connections outward.
//!
//! A server that fetches what a name points to can be made to fetch from its own inside: the
//! name is pointed at loopback, at a neighbour, at the cloud's metadata service. So every address
//! is looked at after the name was resolved, and the connection goes to the address that was
//! looked at, not to a second answer.
//!
//! ```
//! use watertight_outbound::{GetOptions, Outbound, OutboundRules};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let outbound = Outbound::new(OutboundRules::default()).unwrap();
//! let refused = outbound.get("https://127.1/keys", GetOptions::default()).await.unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "`127.0.0.1:443` is an address of the inside; if it is meant, put it on the list of allowed `host:port`"
//! );
//! # }
//! ```
//!
//! What is never reached, listed or not: metadata services, link-local, multicast, unspecified
//! and reserved addresses. What is reached only where `host:port` is listed: loopback and private
//! addresses, and anything without TLS. Redirects are answers, not orders; proxies of the
//! environment are not asked; bytes and time are bounded.

mod address;
mod error;
mod fetch;
pub mod mail;
mod rules;

pub use bytes::Bytes;
pub use error::OutboundError;
pub use fetch::{Answer, GetOptions, Outbound, SendRequest, Verb};
pub use rules::OutboundRules;
