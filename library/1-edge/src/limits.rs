use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header, request::Parts};
use watertight_terms::{Fault, problems};

use crate::{Edge, body::body_too_large};

/// Bounds of one request. The server's own ([`ServeLimits`](crate::ServeLimits)) are wider: what
/// passes those but not these is answered with a problem, what passes neither is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// A body has at most so many bytes.
    pub body_bytes: usize,
    /// A body arrives within so many milliseconds.
    pub body_read_ms: u64,
    /// Path and query together have at most so many bytes.
    pub uri_bytes: usize,
    /// Names and values of the headers together have at most so many bytes.
    pub header_bytes: usize,
    /// There are at most so many headers.
    pub headers: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            body_read_ms: 10_000,
            uri_bytes: 8 * 1024,
            header_bytes: 16 * 1024,
            headers: 64,
        }
    }
}

/// Layer: refuses what is too large before anything reads it, and bodies in a coding that we do
/// not decode (a small compressed body can be a large one).
pub async fn bound_request(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(fault) = check(&parts, &edge.limits) {
        return edge.refuse(&fault, &parts.extensions);
    }
    next.run(Request::from_parts(parts, body)).await
}

fn check(parts: &Parts, limits: &RequestLimits) -> Result<(), Fault> {
    let uri_bytes = parts
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    if uri_bytes > limits.uri_bytes {
        return Err(uri_too_long(limits.uri_bytes));
    }
    if parts.headers.len() > limits.headers || bytes_of(&parts.headers) > limits.header_bytes {
        return Err(headers_too_large(limits));
    }
    let announced = announced_bytes(&parts.headers)?;
    if announced.is_some_and(|bytes| bytes > limits.body_bytes as u64) {
        return Err(body_too_large(limits.body_bytes));
    }
    let mut codings = parts.headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::new(
            problems::WRONG_MEDIA,
            "send the body without `Content-Encoding`",
        ));
    }
    Ok(())
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
        .fold(0, usize::saturating_add)
}

fn announced_bytes(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let bytes = value.to_str().ok().and_then(|text| text.parse().ok());
    bytes.map(Some).ok_or_else(|| {
        Fault::new(
            problems::MALFORMED,
            "`Content-Length` is not a number of bytes",
        )
    })
}

fn uri_too_long(bytes: usize) -> Fault {
    let spoken = format!("path and query are longer than {bytes} bytes");
    Fault::new(problems::URI_TOO_LONG, spoken)
}

fn headers_too_large(limits: &RequestLimits) -> Fault {
    let spoken = format!(
        "there are over {} headers, or over {} bytes of them",
        limits.headers, limits.header_bytes
    );
    Fault::new(problems::HEADERS_TOO_LARGE, spoken)
}
