use axum::{Router, response::IntoResponse, routing::get};
use http::header;
use tokio::net::TcpListener;
use watertight_edge::ServeLimits;

use super::Metrics;

/// As OpenMetrics is called, so that Prometheus reads it as that.
const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Few ask: each monitoring has a connection or two.
const CONNECTIONS: usize = 16;

/// Serves metrics and nothing else until `stop` resolves: no request of it reaches a studio, a table or the API.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let answer = move || {
        let text = metrics.text();
        async move { ([(header::CONTENT_TYPE, MEDIA)], text).into_response() }
    };
    let router = Router::new().route("/metrics", get(answer));
    let limits = ServeLimits {
        connections: CONNECTIONS,
        drain_ms: 1_000,
        ..ServeLimits::default()
    };
    if let Err(error) = watertight_edge::serve(listener, router, limits, stop).await {
        tracing::error!(%error, "the listener of metrics ended");
    }
}
