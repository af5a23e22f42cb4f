use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use watertight::{door::Whose, problem::Rule};
use watertight_edge::facts;
use watertight_terms::TenantId;

use super::{Metrics, add};
use crate::app::App;

/// A request, as it was answered.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The route as it is declared, `/v1/bookings/{id}`; `none` where there is no such route.
    pub route: String,
    /// Its method, one of those that routes have, or `other`.
    pub method: &'static str,
    /// What was answered.
    pub status: u16,
    /// Which rule refused it.
    pub rule: Option<&'static str>,
    /// The studio that was bound.
    pub studio: Option<TenantId>,
    /// Where it came from.
    pub address: String,
    /// How long it took, until the first byte of its answer.
    pub seconds: f64,
}

impl Observed {
    /// Whether how long it took says how the server is: whoever proves nothing is held back on purpose.
    pub fn is_timed(&self) -> bool {
        self.status != 401
    }
}

/// Layer: counts the request when it is answered, whoever answered it. Around everything but the request's name.
pub async fn count_request(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let address = facts(request.extensions()).map(|facts| facts.address.clone());
    let began = Instant::now();
    let mut response = next.run(request).await;
    let extensions = response.extensions_mut();
    let observed = Observed {
        route,
        method,
        rule: extensions.remove::<Rule>().map(|rule| rule.0),
        studio: extensions.remove::<Whose>().map(|whose| whose.0),
        address: address.unwrap_or_default(),
        seconds: began.elapsed().as_secs_f64(),
        status: response.status().as_u16(),
    };
    app.platform.answered(&observed, app.clock.now());
    response
}

impl Metrics {
    /// Counts a request.
    pub fn request(&self, observed: &Observed) {
        let Observed {
            route,
            method,
            status,
            rule,
            seconds,
            ..
        } = observed;
        let inside = &*self.0;
        let route = ("route", route.clone());
        let method = ("method", (*method).to_owned());
        let status = ("status", class(*status).to_owned());
        let labels = [route.clone(), method.clone(), status];
        inside.requests.get_or_create(&labels).inc();
        if observed.is_timed() {
            let durations = inside.durations.get_or_create(&[route, method]);
            durations.observe(*seconds);
        }
        if let Some(rule) = rule {
            add(&inside.refusals, "rule", rule);
        }
    }
}

/// A client may invent methods; each would be a label for ever.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
