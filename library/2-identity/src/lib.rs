//! Who is calling: session tokens of Clerk, verified as strictly as they are documented.
//!
//! ```
//! use watertight_identity::{Keys, Verifier, VerifierSettings, Who, bearer};
//! use watertight_outbound::{Outbound, OutboundRules};
//! use watertight_terms::{Clock, Fault};
//!
//! async fn greet(verifier: &Verifier, header: Option<&str>) -> Result<String, Fault> {
//!     let caller = verifier.verify(bearer(header)?).await?;
//!     match caller.who() {
//!         Who::Member(member) => Ok(format!("{} of {}", member.subject(), member.organization())),
//!         _ => Err(Fault::not_allowed()),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let outbound = Outbound::new(OutboundRules::default())?;
//! let keys = Keys::jwks(outbound, "https://clerk.example.com/.well-known/jwks.json");
//! let settings = VerifierSettings::new("https://clerk.example.com", ["https://app.example.com"]);
//! let verifier = Verifier::new(settings, keys, Clock::system())?;
//! // What is no token is refused before anything is fetched.
//! let refused = greet(&verifier, Some("Bearer not.a.token")).await.unwrap_err();
//! assert_eq!(refused.spoken(), "the session token is missing or not valid");
//! # Ok(()) }
//! ```
//!
//! `examples/axum.rs` is the same behind an extractor; the crate itself knows no web framework.
//!
//! The order of the checks: form, header, key, signature, and only then claims. For any bytes there
//! is at most one signature check and one fetch of keys; a token that comes again is not checked anew, but
//! its key and every claim of it are. Every refusal is told in the same words;
//! which rule it was stands in the log only.
//!
//! A [`Caller`] is minted here and nowhere else: from a verified token, or for a named service of
//! the product. What it claims about studio and role is a claim; the database decides.
//!
//! Beside tokens, everything else that Clerk says: [`webhook`] verifies deliveries and reads their
//! events, [`backend`] asks its Backend API, and both speak of the same [`objects`].

pub mod backend;
mod cache;
mod caller;
#[cfg(feature = "double")]
pub mod double;
pub mod feed;
mod json;
mod keys;
pub mod objects;
pub mod page;
mod permissions;
mod reverification;
mod roles;
mod token;
mod verifier;
pub mod webhook;

pub use caller::{Actor, Caller, Member, ServiceName, Who};
pub use keys::{Keys, KeysError};
pub use permissions::Permissions;
pub use reverification::Reverification;
pub use roles::RoleMap;
pub use verifier::{Impersonation, SettingsError, Verifier, VerifierSettings, bearer};
