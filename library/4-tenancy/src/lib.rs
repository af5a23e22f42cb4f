//! In whose rooms: the one door to a table.
//!
//! A [`TenantTx`] is a transaction whose studio, member and role were bound by the database itself,
//! from rows, in that very transaction. There is no other way to send SQL: the pool and the
//! driver's client are private to this crate.
//!
//! ```no_run
//! # use watertight_tenancy::*; use watertight_terms::*; use watertight_identity::Caller;
//! # use watertight_authority::{Action, Resource, Fact}; use uuid::Uuid;
//! # struct Booking { tenant: TenantId, id: Uuid, version: i32 }
//! # impl Resource for Booking { const NOUN: &'static str = "booking"; const ENTITY: &'static str = "Booking";
//! #   fn id(&self) -> Uuid { self.id } fn tenant(&self) -> TenantId { self.tenant } fn version(&self) -> i32 { self.version }
//! #   fn facts(&self) -> Vec<(&'static str, Fact)> { vec![] } }
//! # impl Stored for Booking {
//! #   const LOAD: Read = Read::new("SELECT tenant_id, id, version FROM studio.bookings WHERE tenant_id = $1 AND id = $2");
//! #   fn from_row(row: &Row) -> Result<Self, Fault> { Ok(Self { tenant: TenantId(row.field("tenant_id")?), id: row.field("id")?, version: row.field("version")? }) } }
//! # struct Cancel; impl Action<Booking> for Cancel { const NAME: &'static str = "booking.cancel"; }
//! // Statements are checked while compiling: a change names tenant, row and version, or it is no Change.
//! const CANCEL: Change = Change::new(
//!     "UPDATE studio.bookings SET state = 'cancelled', version = version + 1
//!      WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
//! );
//!
//! async fn cancel(tenancy: &Tenancy, caller: &Caller, request: Request, id: Uuid) -> Result<Receipt, Fault> {
//!     let mut tx = tenancy.begin(caller, request).await.map_err(|refused| refused.fault)?;
//!     let granted = tx.grant::<Cancel, Booking>(id).await?; // 404 unseen, 403 seen but not allowed
//!     let (spent, _row) = tx.change(granted, CANCEL, &[]).await?; // exactly that row, or roll back
//!     tx.commit(Entry::new(spent.action(), "booking").ids([spent.id()])).await // with its entry
//! }
//! ```
//!
//! What is absent here: HTTP, and any way to commit without an [`Entry`](watertight_terms::Entry).

#![expect(
    clippy::disallowed_types,
    reason = "this is the room that knows the driver; nobody else may"
)]

mod choices;
mod context;
mod desk;
mod doctor;
mod ending;
mod fault;
mod feed;
mod flight;
mod gate;
mod heed;
mod install;
mod jobs;
mod lease;
mod load;
mod mails;
mod many;
mod operator;
mod page_session;
mod people;
mod repeat;
mod right;
mod row;
mod sight;
mod source;
mod statement;
#[cfg(feature = "support")]
pub mod support;
mod tell;
mod tenancy;
mod transaction;
mod transport;

pub use choices::{Admission, Choices};
pub use desk::{Account, BoxFuture, Desk, Journal, Line, Receipt};
pub use doctor::{Expectation, Finding, Severity, examine};
pub use ending::End;
pub use fault::Constraint;
pub use feed::Feed;
pub use flight::Flight;
pub use gate::GateCall;
pub use install::{
    InstallFault, Installation, KeyTable, MIGRATIONS, Migration, Passwords, WALLED_SCHEMAS,
    login_url, password_of, url_at,
};
pub use jobs::Job;
pub use load::Load;
pub use many::Given;
pub use operator::{Call, Operator};
pub use page_session::{PageLife, PageSession};
pub use people::{Effect, EffectKind, KnownMember, News, ProviderEvent};
pub use repeat::{Claim, Claimed, Repeat, Seal};
pub use right::{Right, Rows};
pub use row::{Row, Stored};
pub use sight::{Look, Sight};
pub use statement::{Change, Consequence, Insert, Read};
pub use tell::Tell;
pub use tenancy::{Refused, Settings, SettingsFault, Tenancy};
pub use transaction::{SpentProof, TenantTx};

/// Parameters of statements: anything that the driver can bind.
pub use postgres_types::ToSql;
