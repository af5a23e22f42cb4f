//! May they: decisions as values that cannot be forged.
//!
//! Whether somebody may do something is written down as policies, in files that people and a
//! prover read, and never in code. This room asks them. A yes is a value, [`Granted`], which says
//! in its type what may be done to what; a change takes it by value, so that a change nobody was
//! allowed does not compile. A no says whether it may be told.
//!
//! ```
//! use uuid::Uuid;
//! use watertight_authority::{
//!     Action, Authority, Fact, ListFilter, Nonce, Principal, Resource, Standing,
//! };
//! use watertight_terms::{Role, TenantId};
//!
//! // The product says what its rows are and what can be done to them …
//! struct Booking { id: Uuid, tenant: TenantId, artist: Uuid }
//! impl Resource for Booking {
//!     const NOUN: &'static str = "booking";
//!     const ENTITY: &'static str = "Booking";
//!     fn id(&self) -> Uuid { self.id }
//!     fn tenant(&self) -> TenantId { self.tenant }
//!     fn version(&self) -> i32 { 1 }
//!     fn facts(&self) -> Vec<(&'static str, Fact)> {
//!         vec![("artist", Fact::Is("Artist", self.artist))]
//!     }
//! }
//! struct View;
//! impl Action<Booking> for View { const NAME: &'static str = "booking.view"; }
//! struct Cancel;
//! impl Action<Booking> for Cancel { const NAME: &'static str = "booking.cancel"; }
//!
//! // … and its policies say who may.
//! let schema = r#"
//!     entity Studio, Artist;
//!     entity Member { studio: Studio, role: String, artist?: Artist };
//!     entity Booking { studio: Studio, artist: Artist };
//!     action "booking.view", "booking.cancel"
//!         appliesTo { principal: [Member], resource: [Booking] };
//! "#;
//! let policies = r#"
//!     @id("wall")
//!     forbid (principal, action, resource) unless { resource.studio == principal.studio };
//!     @id("booking.run")
//!     permit (principal, action, resource) when { principal.role == "manager" };
//!     @id("booking.own")
//!     permit (principal, action == Action::"booking.view", resource)
//!     when { principal has artist && resource.artist == principal.artist };
//! "#;
//! let authority = Authority::new(schema, &[("policy.cedar", policies)]).unwrap();
//!
//! let (tenant, me) = (TenantId(Uuid::from_u128(1)), Uuid::from_u128(2));
//! let as_role = |role, artist| Standing {
//!     tenant,
//!     principal: Principal::Member { id: Uuid::from_u128(3), role, artist },
//! };
//! let booking = || Booking { id: Uuid::from_u128(4), tenant, artist: me };
//!
//! // A transaction draws a nonce; what it grants is worth something only in itself.
//! let nonce = Nonce::new([7; 16]);
//! let manager = as_role(Role::Manager, None);
//! let granted = authority.decide::<Cancel, _>(&manager, booking(), &nonce).unwrap();
//! let spent = granted.spend(&nonce).unwrap();
//! assert_eq!((spent.action(), spent.rule()), ("booking.cancel", "booking.run"));
//!
//! // The freelancer sees the own booking, so the refusal may be told; a stranger learns nothing.
//! let freelancer = as_role(Role::Freelancer, Some(me));
//! assert!(authority.decide::<Cancel, _>(&freelancer, booking(), &nonce).unwrap_err().seen);
//! let stranger = as_role(Role::Freelancer, Some(Uuid::from_u128(5)));
//! assert!(!authority.decide::<Cancel, _>(&stranger, booking(), &nonce).unwrap_err().seen);
//!
//! // Lists come from the same policies.
//! let filter = |standing| authority.filter::<View, Booking>(standing).unwrap();
//! assert_eq!(filter(&manager), ListFilter::All);
//! assert_eq!(filter(&freelancer), ListFilter::OwnArtist(me));
//! ```
//!
//! The policies are Cedar's, unseen outside: nothing here returns or takes a type of it. The
//! schema that they are written against has `Studio`, `Member { studio, role, artist? }` and,
//! where jobs act, `Service { studio, name }`; the rest is the product's. An action is called
//! `noun.verb`; `noun.view` is the one that decides what is seen, and what lists show.
//!
//! What is absent: a way to make a [`Granted`] other than by asking, to copy one, or to learn
//! whether a row exists from a refusal that says it was not seen. Nothing here reads a table, a
//! clock or a request. An error while deciding is a refusal, and never a guess.

mod authority;
mod filter;
mod grant;
mod policies;
mod resource;
mod standing;

pub use authority::{Authority, NamedRow};
pub use filter::ListFilter;
pub use grant::{
    Allowed, Gathers, Granted, GrantedNew, Misspent, Nonce, Opens, Refused, Spent, SpentNew,
};
pub use policies::PolicyFault;
pub use resource::{Action, Fact, Resource};
pub use standing::{Principal, Standing};
