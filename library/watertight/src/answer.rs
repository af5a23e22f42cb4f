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
use serde_json::Value;
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
        written.location = Some(header_value(location)?);
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

    /// What was asked for, as a page: `render` has the answer that a program would have got, and
    /// nothing else.
    ///
    /// # Errors
    /// When the answer cannot be read again: a defect of ours.
    pub fn page(mut self, render: impl FnOnce(&Value) -> String) -> Result<Self, Fault> {
        let value = serde_json::from_slice(&self.written.body)
            .map_err(|error| Fault::bug(format!("reading an answer: {error}")))?;
        self.written = Written::of(self.written.status, render(&value).into());
        self.written.media = HTML;
        Ok(self)
    }

    /// Done; what there is to see now is at `location`, a path of ours (RFC 9110, section 15.4.4).
    ///
    /// # Errors
    /// When the location cannot be written: a defect of ours.
    pub fn see_other(mut self, location: &str) -> Result<Self, Fault> {
        self.written = Written::of(StatusCode::SEE_OTHER, Bytes::new());
        self.written.location = Some(header_value(location)?);
        Ok(self)
    }

    /// Hands a cookie out, or takes it away.
    ///
    /// # Errors
    /// When it cannot be written: a defect of ours.
    pub fn set_cookie(mut self, cookie: &str) -> Result<Self, Fault> {
        self.written.cookie = Some(header_value(cookie)?);
        Ok(self)
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
    cookie: Option<HeaderValue>,
    media: HeaderValue,
    body: Bytes,
}

/// What a page may load, and where its forms may go: nothing but our own. Trusted Types, so that no
/// script of a page could ever make markup from text.
pub const PAGE_CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
     object-src 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text)
        .map_err(|_| Fault::bug("an answer's header has characters that no header takes"))
}

impl Written {
    fn of(status: StatusCode, body: Bytes) -> Self {
        Self {
            status,
            etag: None,
            location: None,
            cookie: None,
            media: JSON,
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
            if self.media == HTML {
                let policy = HeaderValue::from_static(PAGE_CSP);
                headers.insert(header::CONTENT_SECURITY_POLICY, policy);
                // Under `no-referrer` browsers send `Origin: null` with a page's own forms.
                let own = HeaderValue::from_static("same-origin");
                headers.insert(header::REFERRER_POLICY, own);
            }
            headers.insert(header::CONTENT_TYPE, self.media);
        }
        if let Some(cookie) = self.cookie {
            headers.insert(header::SET_COOKIE, cookie);
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
