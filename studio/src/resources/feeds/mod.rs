//! Calendar feeds: a secret address that a calendar program subscribes to (RFC 5545).
//!
//! ```text
//! GET    /v1/feeds              the own, live ones; none shows its address again
//! POST   /v1/feeds              {} the own bookings, {"project_id": "…"} a project's; answers `url`, this once
//! DELETE /v1/feeds/{id}         ends it, for good
//! GET    /feeds/SECRET.ics      what is in it; 304 for whoever sends the `ETag` back as `If-None-Match`
//! ```
//!
//! Whoever has the address has the feed, as calendar programs know no other way. So it shows little: no
//! rates, no notes, nobody's name; and what it shows is what its member may view at that moment, by the
//! policies and the walls of every other request, which is in the studio's ledger as `feed.read`. It
//! only reads. It ends when its member ends it or leaves the studio; an address that leads nowhere, no
//! longer, or to a studio that is frozen is one answer, 404.
//!
//! A feed has what touches the three months before today and the eighteen after, at most 2,000 bookings,
//! the earliest first. What was released, cancelled or archived stays for a month as `CANCELLED`, so
//! that programs which only add and change take it away.

mod appointment;
mod calendar;
mod handlers;

use watertight::door::{Routes, delete, get, post};
use watertight_terms::TenantId;

use super::Registered;

/// Feeds, for policies and the ledger. Their rows are the gate's: nobody is granted one.
#[derive(Debug)]
pub struct Feed(TenantId);

super::of_studio!(Feed, "feed");

/// What may be done with a feed.
pub mod actions {
    crate::resources::actions! { super::Feed:
        Create "feed.create", View "feed.view", Read "feed.read", End "feed.end"
    }
}

/// Feeds, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[],
    rows: &[],
    constraints: &[],
    routes,
};

fn routes(routes: Routes) -> Routes {
    use actions::{Create, End, Read, View};
    routes
        .route(
            "/v1/feeds",
            get(handlers::list)
                .says("your own calendar feeds")
                .needs::<View, Feed>()
                .and(
                    post(handlers::create)
                        .says("a calendar feed of your own bookings, or of a project; the answer alone shows its address")
                        .sample(r#"{"project_id": "{/v1/projects}"}"#)
                        .needs::<Create, Feed>(),
                ),
        )
        .route(
            "/v1/feeds/{id}",
            delete(handlers::end)
                .says("ends one of your calendar feeds; its address leads nowhere any more")
                .needs::<End, Feed>(),
        )
        .route(
            "/feeds/{file}",
            get(handlers::read)
                .says("a calendar feed, RFC 5545: whoever has its address reads it")
                .feed()
                .expensive()
                .needs::<Read, Feed>(),
        )
}
