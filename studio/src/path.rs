//! The request path, outermost first. What a layer may answer stands beside it.

use axum::{Router, middleware, response::IntoResponse};
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use watertight::{
    door::{AtOnce, Bounds, Door, Pages, Route, open},
    problem,
};
use watertight_edge::{
    Edge, RequestLimits,
    rate::{AddressRate, limit_address},
};
use watertight_terms::{Fault, Request};

use crate::{app::App, config::Config, metrics, pages, platform, resources, webhooks};

/// The router of the product.
///
/// ```text
/// request id, trace            1-edge
/// counted when it is answered  metrics
/// a body left unread           1-edge       closes the connection, and says so
/// security headers             1-edge
/// preflights of others         platform     counted
/// which origins may call       CORS         answers preflights
/// address limit                1-edge       429        failed authentication costs ten
/// refusals wait                platform     of a network that fails again and again
/// panics are defects           1-edge       500
/// size, time, header limits    1-edge       408 413 414 415 431
/// ---- what follows is the door ----
/// Caller from a session token  2-identity   401 503   (pages: from their cookie, in the transaction)
/// member and studio limits     the door     429       by what the route costs
/// requests at once             the door     429 503
/// made by a page of ours       2-identity   403       (pages only: Origin, Sec-Fetch-Site, form token)
/// body, whole and bounded      1-edge       408 413
/// begin(caller) -> TenantTx    4-tenancy    403 503
/// grant::<Cancel, Booking>(id) 4 asks 3     403 404
/// bookings::cancel(tx, …)      resources    400 409 412 422
/// Draft::ok(view).commit(tx, entry)  6-ledger  503   the only way to a 2xx
/// ```
pub fn router(app: &App) -> Router {
    let routes = webhooks::routes(resources::routes(), app.receiver.clone());
    let limits = &app.config.limits;
    let edge = Edge::new(
        app.clock.clone(),
        app.random.clone(),
        RequestLimits {
            // The door knows which route takes so much.
            body_bytes: limits.body_bytes.max(routes.body_bytes()),
            body_read_ms: limits.body_timeout_ms,
            ..RequestLimits::default()
        },
        problem::refuse,
    )
    .behind(app.config.proxies().unwrap_or_default())
    .with_address_rate(AddressRate {
        limiter: app.limiter.clone(),
        quota: limits.of_address(),
    });
    let mut state = http::Extensions::new();
    state.insert(app.desk.clone());
    let bounds = Bounds {
        body_bytes: limits.body_bytes,
        body_timeout_ms: limits.body_timeout_ms,
        at_once: AtOnce {
            all: limits.requests_at_once,
            of_studio: limits.requests_at_once_per_studio,
            of_member: limits.requests_at_once_per_member,
        },
    };
    let door = Door::new(
        app.verifier.clone(),
        app.tenancy.clone(),
        app.desk.vault.clone(),
        bounds,
        state,
    )
    .with_pages(Pages {
        origins: app.config.page_origins(),
        refuse: pages::refuse,
    })
    .with_rates(limits.of_members(app.limiter.clone()))
    .with_strangers(hear(app));
    let routes = routes
        .route("/openapi.json", document())
        .route("/healthz", health());
    pages::routes(routes, provider(&app.config), app.random.clone())
        .into_router(door)
        .layer(middleware::from_fn_with_state(
            edge.clone(),
            watertight_edge::bound_request,
        ))
        .layer(middleware::from_fn_with_state(
            edge.clone(),
            watertight_edge::catch_panic,
        ))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            platform::hold_back,
        ))
        .layer(middleware::from_fn_with_state(edge.clone(), limit_address))
        .layer(origins(&app.config))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            platform::note_foreign_pages,
        ))
        .layer(middleware::from_fn(watertight_edge::secure_answer))
        .layer(middleware::from_fn(watertight_edge::close_unread))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            metrics::count_request,
        ))
        .layer(middleware::from_fn_with_state(
            edge,
            watertight_edge::name_request,
        ))
}

/// Who counts those who are not let in.
fn hear(app: &App) -> impl Fn(&Fault, &Request) + Send + Sync + 'static {
    let platform = app.platform.clone();
    move |fault, request| platform.hear(fault, request)
}

/// The API's document, made once.
fn document() -> Route {
    let text = bytes::Bytes::from(resources::document_text());
    let answer = move || {
        let json = [(header::CONTENT_TYPE, "application/json")];
        std::future::ready((json, text.clone()).into_response())
    };
    open(Method::GET, answer).public("it says what is committed in docs, and nothing of any studio")
}

/// Whether this process answers: for whoever decides where requests go. It takes no place, so it
/// answers while the server is full of work, and asks no database, whose absence is not its fault.
fn health() -> Route {
    let answer = || std::future::ready("ok\n".into_response());
    open(Method::GET, answer).public("it says that the process answers, and nothing else")
}

/// Where people sign in.
fn provider(config: &Config) -> pages::Provider {
    let clerk = &config.clerk;
    pages::Provider {
        frontend: clerk.frontend_url.as_ref().unwrap_or(&clerk.issuer).clone(),
        publishable_key: clerk.publishable_key.clone(),
    }
}

/// From which origins a browser may call the API, to the letter; never with cookies, which the API
/// does not take.
fn origins(config: &Config) -> CorsLayer {
    let origins = config.clerk.authorized_parties.iter();
    let origins = origins.filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(std::time::Duration::from_secs(600))
}
