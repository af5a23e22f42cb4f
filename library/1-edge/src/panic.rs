use std::{any::Any, panic::AssertUnwindSafe};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt;
use watertight_terms::Fault;

use crate::{Edge, facts};

/// Layer: a panic within becomes an answer that says nothing of it; the log has the rest.
pub async fn catch_panic(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let id = facts(request.extensions())
        .map(|facts| facts.id)
        .unwrap_or_default();
    // Nothing of the request is used after a panic: it is dropped with the future.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let fault = Fault::bug(format!("panic: {}", message(&*panic)));
            tracing::error!(request_id = %id, "{fault}");
            (edge.refuse)(&fault, id)
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "without a message"
    }
}
