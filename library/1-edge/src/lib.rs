//! Before we know who: the request's name, bounds on its size and time, headers that browsers
//! obey, and a server whose connections cannot be held for ever.
//!
//! The path file of the product lays the layers around its router; the last one is the outermost.
//! Every refusal is a [`Fault`]; the product hands in the one function
//! that turns a fault into an answer, so that no status stands here.
//!
//! ```
//! use axum::{Router, middleware, response::{IntoResponse, Response}, routing::get};
//! use uuid::Uuid;
//! use watertight_edge::{Edge, RequestLimits};
//! use watertight_terms::{Clock, Fault, Random};
//!
//! fn refuse(fault: &Fault, request_id: Uuid) -> Response {
//!     format!("{} {request_id}", fault.slug()).into_response() // the product answers a problem
//! }
//!
//! let edge = Edge::new(Clock::system(), Random::system(), RequestLimits::default(), refuse);
//! let router: Router = Router::new()
//!     .route("/v1/me", get(async || "me"))
//!     .layer(middleware::from_fn_with_state(edge.clone(), watertight_edge::bound_request))
//!     .layer(middleware::from_fn_with_state(edge.clone(), watertight_edge::catch_panic))
//!     .layer(middleware::from_fn(watertight_edge::secure_answer))
//!     .layer(middleware::from_fn(watertight_edge::close_unread))
//!     .layer(middleware::from_fn_with_state(edge, watertight_edge::name_request));
//! ```
//!
//! A handler reads its body with [`read_body`], which bounds bytes and time, and finds the
//! request's facts (id, address, client, arrival) with [`facts`]. [`serve`] runs the router.
//!
//! Where a request came from is who connected, or what a proxy of ours says of it ([`Edge::behind`]).
//! [`rate`] bounds how much may come.
//!
//! What is absent: CORS stands with the product's own layers; `Forwarded` (RFC 7239) is not read.

mod body;
mod facts;
mod headers;
mod limits;
mod line;
mod panic;
mod patience;
mod proxies;
pub mod rate;
mod serve;
mod tls;
mod unread;

use axum::response::Response;
use uuid::Uuid;
use watertight_terms::{Clock, Fault, Random};

pub use body::read_body;
pub use facts::{facts, name_request};
pub use headers::secure_answer;
pub use limits::{RequestLimits, bound_request};
pub use line::Line;
pub use panic::catch_panic;
pub use proxies::{Proxies, ProxiesFault};
pub use serve::{Listening, ServeLimits, serve};
pub use tls::{Tls, TlsFault};
pub use unread::close_unread;

/// Turns a fault into an answer; handed in by the product, whose statuses live in one file.
pub type Refuse = fn(&Fault, Uuid) -> Response;

/// What the layers need: the time, randomness for request ids, bounds, and how to refuse.
#[derive(Debug, Clone)]
pub struct Edge {
    clock: Clock,
    random: Random,
    limits: RequestLimits,
    refuse: Refuse,
    proxies: Proxies,
    address_rate: Option<rate::AddressRate>,
}

impl Edge {
    /// The layers' common state.
    pub fn new(clock: Clock, random: Random, limits: RequestLimits, refuse: Refuse) -> Self {
        Self {
            clock,
            random,
            limits,
            refuse,
            proxies: Proxies::default(),
            address_rate: None,
        }
    }

    /// The same, behind proxies whose `X-Forwarded-For` counts.
    pub fn behind(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// The same, with a bound on what comes from one address ([`rate::limit_address`]).
    pub fn with_address_rate(mut self, rate: rate::AddressRate) -> Self {
        self.address_rate = Some(rate);
        self
    }

    /// The bounds that are kept.
    pub fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    fn refuse(&self, fault: &Fault, extensions: &http::Extensions) -> Response {
        let id = facts(extensions).map_or(Uuid::nil(), |facts| facts.id);
        (self.refuse)(fault, id)
    }
}
