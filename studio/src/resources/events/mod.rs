//! What happens to bookings, told as it happens: `GET /v1/events`, server-sent events (HTML standard,
//! section 9.2).
//!
//! ```text
//! id: 5b0c…                   the last that you know; send it back as `Last-Event-ID`
//! event: open                 or `reset`: what you sent is not known here, so load everything anew
//! data: {}
//!
//! id: 77e1…
//! event: booking
//! data: {"type":"booking.confirm","booking_id":"…","version":3}
//!
//! event: import               how far your own import is, where the same process serves both
//! data: {"type":"booking.import","done":12000,"total":50000}
//!
//! : still here
//! ```
//!
//! Each version of a booking that the caller may view is told once, by ids: what it says is for
//! `GET /v1/bookings/{id}`. An artist whose booking goes to another is told `booking.withdraw`, once. Versions come in an order that nothing is put into later
//! (`docs/decisions/events.md`), so whoever goes on from an id misses nothing and is told nothing twice.
//!
//! A stream ends after four minutes, and within seconds when the session, the membership or the role
//! ends, the studio is frozen, or the client takes nothing; clients open the next by themselves. Opening
//! one is an entry in the ledger, and so is each telling, with the ids that it told.

mod imports;
mod streams;
mod tell;

pub use imports::Imports;
pub use streams::Streams;

use watertight::door::{Routes, get};
use watertight_terms::TenantId;

use super::Registered;

/// Streams, for policies and the ledger.
#[derive(Debug)]
pub struct Event(TenantId);

super::of_studio!(Event, "event");

/// What may be done with streams.
pub mod actions {
    crate::resources::actions! { super::Event: Open "event.open" }
}

/// Streams, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0014_events")],
    tables: &[],
    rows: &[],
    constraints: &[],
    routes,
};

fn routes(routes: Routes) -> Routes {
    routes.route(
        "/v1/events",
        get(tell::open)
            .says(
                "what happens to the bookings that you may view, as it happens: server-sent events",
            )
            .expensive()
            .lasting()
            .needs::<actions::Open, Event>(),
    )
}
