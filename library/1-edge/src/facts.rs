use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use watertight_terms::Request as Facts;

use crate::Edge;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// So many characters of the client's own request id are recorded.
const CLIENT_ID_CHARS: usize = 64;
/// So many characters of the client's name for itself are recorded.
const CLIENT_CHARS: usize = 200;

/// Layer: gives the request an id of ours and notes where it came from; the answer, whatever it
/// is, carries the id in `X-Request-Id`. The outermost layer.
pub async fn name_request(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let facts = facts_of(&edge, &request);
    let id = facts.id.to_string();
    request.extensions_mut().insert(facts);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The request's facts, once [`name_request`] has seen it.
pub fn facts(extensions: &Extensions) -> Option<&Facts> {
    extensions.get()
}

fn facts_of(edge: &Edge, request: &Request) -> Facts {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    Facts {
        id: edge.random.uuid(),
        client_id: printable(request.headers(), &REQUEST_ID, CLIENT_ID_CHARS),
        // An IPv4 client of a dual-stack socket is written as IPv4: one client, one address.
        address: peer.map_or_else(
            || "unknown".to_owned(),
            |ConnectInfo(peer)| {
                let origin = edge.proxies.origin(peer.ip(), request.headers());
                origin.to_string()
            },
        ),
        client: printable(request.headers(), &header::USER_AGENT, CLIENT_CHARS),
        at: edge.clock.now(),
    }
}

/// A header's printable ASCII characters; whatever else it has becomes `?`, so that nothing a
/// client sends can start a line or move a cursor where the ledger is read.
fn printable(headers: &HeaderMap, name: &HeaderName, longest: usize) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    let text: String = value
        .iter()
        .take(longest)
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .collect();
    (!text.is_empty()).then_some(text)
}
