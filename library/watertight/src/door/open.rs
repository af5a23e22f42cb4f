use std::future::Future;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use bytes::Bytes;
use http::{HeaderMap, Method};
use watertight_terms::Fault;

use super::{Declared, Door, Route, Told, Way, What, filter, strangers::marked};
use crate::problem;

/// A handler for everybody, without a transaction: it can reach no studio's row.
pub fn open<F, Fut>(method: Method, handler: F) -> Open
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let methods = on(filter(&method), move || handler.clone()());
    Open { method, methods }
}

/// A handler of what another service posts: its headers and its whole body, bounded as every other,
/// without a transaction. It must know by the bytes themselves whom to believe.
pub fn receive<F, Fut>(handler: F) -> Open
where
    F: Fn(HeaderMap, Bytes) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let take = move |State(door): State<Door>, request: Request| {
        let handler = handler.clone();
        async move {
            let facts = watertight_edge::facts(request.extensions()).cloned();
            let id = facts.as_ref().map_or(uuid::Uuid::nil(), |facts| facts.id);
            let (parts, body) = request.into_parts();
            let bounds = door.0.bounds;
            let body =
                watertight_edge::read_body(body, bounds.body_bytes, bounds.body_timeout_ms).await;
            let taken = match body {
                Ok(body) => handler(parts.headers, body).await,
                Err(fault) => Err(fault),
            };
            match taken {
                Ok(()) => http::StatusCode::NO_CONTENT.into_response(),
                Err(fault) => {
                    if let Some(facts) = facts {
                        door.note_stranger(&fault, &facts);
                    }
                    marked(problem::refuse(&fault, id), &fault)
                }
            }
        }
    };
    Open {
        method: Method::POST,
        methods: on(MethodFilter::POST, take),
    }
}

/// A handler for everybody, which must still say why it is.
#[must_use = "say why with `.public(\"why\")`"]
pub struct Open {
    method: Method,
    methods: MethodRouter<Door>,
}

impl Open {
    /// The route is for everybody, because of `why`.
    pub fn public(self, why: &'static str) -> Route {
        Route {
            methods: self.methods,
            declared: vec![Declared {
                method: self.method,
                path: "",
                way: Way::Api,
                what: What::Public { why },
                told: Told::default(),
                read: |_| Ok(()),
                describe: |description| {
                    description.answers_lines("text/plain", "what was asked for")
                },
            }],
        }
    }
}
