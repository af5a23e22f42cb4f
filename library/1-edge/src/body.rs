use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use watertight_terms::{Fault, problems};

/// Reads a body of at most `max_bytes` within `timeout_ms`: the whole of it, so that a client
/// who sends a byte now and then is cut off as well.
///
/// # Errors
/// When it is larger, slower, or breaks off.
pub async fn read_body(body: Body, max_bytes: usize, timeout_ms: u64) -> Result<Bytes, Fault> {
    let whole = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(Duration::from_millis(timeout_ms), whole).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(body_too_large(max_bytes)),
        Ok(Err(error)) => Err(Fault::new(
            problems::MALFORMED,
            "the body broke off or is not well framed",
        )
        .log(format!("reading a body: {error}"))),
        Err(_) => Err(Fault::new(
            problems::TOO_SLOW,
            format!("the body did not arrive within {timeout_ms} ms"),
        )),
    }
}

pub(crate) fn body_too_large(max_bytes: usize) -> Fault {
    let spoken = format!("the body is larger than {max_bytes} bytes");
    Fault::new(problems::BODY_TOO_LARGE, spoken)
}
