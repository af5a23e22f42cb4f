//! Answers: the only way to say yes, and it takes a [`Receipt`].
//!
//! ```
//! use serde::Serialize;
//! use watertight::answer::Answer;
//! use watertight_tenancy::Receipt;
//! use watertight_terms::Fault;
//!
//! #[derive(Serialize)]
//! struct BookingView {
//!     version: i32,
//! }
//!
//! // The receipt comes from ending the transaction: whoever has one has a durable entry.
//! fn answer(view: BookingView, receipt: Receipt) -> Result<Answer, Fault> {
//!     let version = view.version;
//!     Ok(Answer::ok(view, receipt)?.etag(version))
//! }
//! ```
//!
//! What is absent: an answer of an error. Those are faults, and `problem` turns them into
//! answers.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use watertight_tenancy::Receipt;
use watertight_terms::Fault;

/// An answer to a request that was allowed, and whose entry is durable.
#[must_use = "an answer that is not returned is not given"]
#[derive(Debug)]
pub struct Answer {
    written: Written,
    /// Never read: that it exists is the point.
    _receipt: Receipt,
}

impl Answer {
    /// What was asked for.
    ///
    /// # Errors
    /// When the view cannot be written as JSON: a defect of ours.
    pub fn ok(view: impl Serialize, receipt: Receipt) -> Result<Self, Fault> {
        Written::json(StatusCode::OK, &view).map(|written| written.with(receipt))
    }

    /// What was made, and where it is: a path of ours.
    ///
    /// # Errors
    /// When view or location cannot be written: a defect of ours.
    pub fn created(view: impl Serialize, location: &str, receipt: Receipt) -> Result<Self, Fault> {
        let mut written = Written::json(StatusCode::CREATED, &view)?;
        let location = HeaderValue::from_str(location)
            .map_err(|_| Fault::bug("a location has characters that no header takes"))?;
        written.location = Some(location);
        Ok(written.with(receipt))
    }

    /// What was begun and ends later.
    ///
    /// # Errors
    /// When the view cannot be written as JSON: a defect of ours.
    pub fn accepted(view: impl Serialize, receipt: Receipt) -> Result<Self, Fault> {
        Written::json(StatusCode::ACCEPTED, &view).map(|written| written.with(receipt))
    }

    /// Done, and there is nothing to show.
    pub fn no_content(receipt: Receipt) -> Self {
        Written::of(StatusCode::NO_CONTENT, Bytes::new()).with(receipt)
    }

    /// Names the object's version, for `If-Match` of the next change.
    pub fn etag(mut self, version: i32) -> Self {
        self.written.etag = HeaderValue::from_str(&format!("\"v{version}\"")).ok();
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.written.status.as_u16()
    }

    /// The body, as it will be sent.
    pub fn body(&self) -> &Bytes {
        &self.written.body
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.written.into_response()
    }
}

/// An answer without its receipt, hence never handed out.
#[derive(Debug)]
struct Written {
    status: StatusCode,
    etag: Option<HeaderValue>,
    location: Option<HeaderValue>,
    body: Bytes,
}

impl Written {
    fn of(status: StatusCode, body: Bytes) -> Self {
        Self {
            status,
            etag: None,
            location: None,
            body,
        }
    }

    fn json(status: StatusCode, view: &impl Serialize) -> Result<Self, Fault> {
        let body = serde_json::to_vec(view)
            .map_err(|error| Fault::bug(format!("writing an answer: {error}")))?;
        Ok(Self::of(status, body.into()))
    }

    fn with(self, receipt: Receipt) -> Answer {
        Answer {
            written: self,
            _receipt: receipt,
        }
    }

    fn into_response(self) -> Response {
        let has_body = !self.body.is_empty();
        let mut response = Response::new(self.body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if has_body {
            let media = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, media);
        }
        if let Some(etag) = self.etag {
            headers.insert(header::ETAG, etag);
        }
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_with_its_version_and_place() {
        let mut written = Written::json(StatusCode::CREATED, &serde_json::json!({"a": 1})).unwrap();
        written.etag = Some(HeaderValue::from_static("\"v1\""));
        written.location = Some(HeaderValue::from_static("/v1/artists/7"));
        assert_eq!(&written.body[..], br#"{"a":1}"#);
        let response = written.into_response();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["etag"], "\"v1\"");
        assert_eq!(response.headers()["location"], "/v1/artists/7");
    }

    #[test]
    fn nothing_to_show_has_no_media_type() {
        let response = Written::of(StatusCode::NO_CONTENT, Bytes::new()).into_response();
        assert_eq!(response.status(), 204);
        assert!(response.headers().is_empty());
    }

    #[test]
    fn a_view_that_cannot_be_written_is_our_defect() {
        let view = std::collections::BTreeMap::from([((1, 2), 3)]);
        let fault = Written::json(StatusCode::OK, &view).unwrap_err();
        assert_eq!(fault.slug(), "internal");
    }
}
