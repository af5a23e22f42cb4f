//! The pages: what people see who would rather look than call an API.
//!
//! ```text
//! GET  /ui/sign-in         Clerk's own sign-in, then the exchange of its token for our cookie
//! GET  /ui/bookings        the list, with a form
//! GET  /ui/bookings/{id}   one of them
//! POST /ui/bookings/new    the form
//! GET  /ui/alerts          what looks wrong, for owners and managers; owners handle it
//! POST /ui/alerts/{id}     the form of one
//! GET  /ui/incidents       what was done when something went wrong, for owners; each with what was touched
//! GET  /ui/audit           the ledger, for owners, with a verifier that runs in their browser
//! GET  /ui/sessions        the own sessions, each with a button that ends it
//! GET  /problems/{type}    what a problem means, for whoever follows its `type`
//! ```
//!
//! A page is drawn from the answer that the API gives the same caller, and from nothing else: what
//! somebody may not see there is not here either. Everything is escaped by the template's macro
//! while compiling; there is no script but the sign-in's and the ledger's, from our own origin.

mod alerts;
mod audit;
mod bookings;
mod filled;
mod frame;
mod incidents;
mod problems;
mod sessions;
mod sign_in;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use watertight::{
    answer::Nonce,
    door::{Routes, open},
};
use watertight_terms::Random;

pub use frame::refuse;
pub use sign_in::{Provider, sign_in};

/// Adds the routes of the pages. `provider` is where people sign in.
pub fn routes(routes: Routes, provider: Provider, random: Random) -> Routes {
    let routes = routes
        .route(
            "/ui/sign-in",
            open(Method::GET, move || {
                let shown = sign_in(&provider, &Nonce::new(&random));
                async move { shown.into_response() }
            })
            .public("nobody is signed in before the sign-in"),
        )
        .route(
            "/ui/sign-in.js",
            file(include_bytes!("sign-in.js"), "text/javascript"),
        )
        .route(
            "/ui/audit.js",
            file(include_bytes!("audit.js"), "text/javascript"),
        )
        .route(
            "/ui/ledger.js",
            file(include_bytes!("ledger.js"), "text/javascript"),
        )
        .route(
            "/ui/icon.svg",
            file(include_bytes!("icon.svg"), "image/svg+xml"),
        )
        .route(
            "/ui/style.css",
            file(include_bytes!("style.css"), "text/css"),
        );
    let routes = alerts::routes(incidents::routes(audit::routes(bookings::routes(routes))));
    problems::routes(sessions::routes(routes))
}

/// A file that everybody may have.
fn file(bytes: &'static [u8], media: &'static str) -> watertight::door::Route {
    open(
        Method::GET,
        move || async move { answer_file(bytes, media) },
    )
    .public("the same for everybody, and part of the page before anybody is known")
}

fn answer_file(bytes: &'static [u8], media: &'static str) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}
