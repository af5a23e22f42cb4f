//! Successes: drafted first, then given with the entry of their request.
//!
//! ```no_run
//! use watertight::{answer::{Answer, Draft}, tenancy::TenantTx};
//! use watertight_terms::{Entry, Fault};
//!
//! #[derive(serde::Serialize, schemars::JsonSchema)]
//! struct BookingView { id: uuid::Uuid, version: i32 }
//!
//! // A draft goes nowhere. It becomes an answer by ending the transaction: whoever has an answer has
//! // a durable entry, and what the caller is told is kept with it, if the request carried a key. The
//! // type says what is answered, and the API's document is made from it.
//! async fn show(tx: TenantTx, view: BookingView, entry: Entry) -> Result<Answer<BookingView>, Fault> {
//!     let version = view.version;
//!     Draft::ok(view)?.etag(version).finish(tx, entry).await
//! }
//! ```
//!
//! What is absent: an answer of an error. Those are faults, and `problem` turns them into
//! answers.

use std::{
    marker::PhantomData,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use watertight_tenancy::{End, Receipt, Right, Sight, TenantTx};
use watertight_terms::{Entry, Fault, Outcome, Random};

use crate::{describe::Description, door::Guest};

/// An answer to a request that was allowed, and whose entry is durable. `T` is what it says: a view,
/// or one of [`Created`], [`Accepted`], [`Nothing`], [`Text`], [`Csv`], [`Calendar`], [`Octets`], [`Events`], [`Html`].
#[must_use = "an answer that is not returned is not given"]
pub struct Answer<T> {
    written: Written,
    /// Never read: that it exists is the point.
    _receipt: Receipt,
    says: PhantomData<fn() -> T>,
}

/// What will be answered, once its entry is durable.
#[must_use = "a draft is no answer: commit or finish its transaction"]
pub struct Draft<T> {
    written: Written,
    says: PhantomData<fn() -> T>,
}

/// What was made, and where it is.
pub struct Created<V>(PhantomData<V>);

/// What was begun and ends later.
pub struct Accepted<V>(PhantomData<V>);

/// Done, and there is nothing to show.
pub enum Nothing {}

/// A page, or the way to one.
pub enum Html {}

/// Lines of text, for programs that read neither JSON nor pages.
pub enum Text {}

/// Appointments, as calendar programs read them (RFC 5545).
pub enum Calendar {}

/// Server-sent events: an answer that goes on.
pub enum Events {}

/// Lines of text for spreadsheets, as RFC 4180 has them.
pub enum Csv {}

/// Bytes, for programs that know what they are.
pub enum Octets {}

/// What can be answered: says how, for the API's document.
pub trait Answers {
    /// Adds status, headers and body.
    fn describe(description: &mut Description<'_>);
}

impl<V: Serialize + JsonSchema> Answers for V {
    fn describe(description: &mut Description<'_>) {
        description.answers_with::<V>(200, "what was asked for");
    }
}

impl<V: Serialize + JsonSchema> Answers for Created<V> {
    fn describe(description: &mut Description<'_>) {
        description.answers_with::<V>(201, "what was made; `Location` says where it is");
    }
}

impl<V: Serialize + JsonSchema> Answers for Accepted<V> {
    fn describe(description: &mut Description<'_>) {
        description.answers_with::<V>(202, "what was begun");
    }
}

impl Answers for Nothing {
    fn describe(description: &mut Description<'_>) {
        description.answers_nothing(204, "it is done");
    }
}

impl Answers for Html {
    fn describe(description: &mut Description<'_>) {
        description.answers_nothing(303, "it is done; what to see now is at `Location`");
    }
}

impl Answers for Text {
    fn describe(description: &mut Description<'_>) {
        description.answers_lines("text/plain", "what was asked for");
    }
}

impl Answers for Calendar {
    fn describe(description: &mut Description<'_>) {
        description.answers_lines("text/calendar", "what was asked for");
        description.answers_nothing(304, "you have it already");
    }
}

impl Answers for Events {
    fn describe(description: &mut Description<'_>) {
        description.answers_events("what happens, as it happens");
    }
}

impl Answers for Csv {
    fn describe(description: &mut Description<'_>) {
        description.answers_lines("text/csv", "what was asked for");
    }
}

impl Answers for Octets {
    fn describe(description: &mut Description<'_>) {
        description.answers_octets();
    }
}

impl<V: Serialize + JsonSchema> Draft<V> {
    /// What was asked for.
    ///
    /// # Errors
    /// When the view cannot be written as JSON: a defect of ours.
    pub fn ok(view: V) -> Result<Self, Fault> {
        Written::json(StatusCode::OK, &view).map(Self::of)
    }
}

impl<V: Serialize + JsonSchema> Draft<Created<V>> {
    /// What was made, and where it is: a path of ours.
    ///
    /// # Errors
    /// When view or location cannot be written: a defect of ours.
    pub fn created(view: V, location: &str) -> Result<Self, Fault> {
        let mut written = Written::json(StatusCode::CREATED, &view)?;
        written.location = Some(header_value(location)?);
        Ok(Self::of(written))
    }
}

impl<V: Serialize + JsonSchema> Draft<Accepted<V>> {
    /// What was begun and ends later.
    ///
    /// # Errors
    /// When the view cannot be written as JSON: a defect of ours.
    pub fn accepted(view: V) -> Result<Self, Fault> {
        Written::json(StatusCode::ACCEPTED, &view).map(Self::of)
    }
}

impl Draft<Nothing> {
    /// Done, and there is nothing to show.
    pub fn no_content() -> Self {
        Self::of(Written::of(StatusCode::NO_CONTENT, Bytes::new()))
    }
}

impl Draft<Text> {
    /// Lines of text.
    pub fn text(text: String) -> Self {
        let mut written = Written::of(StatusCode::OK, text.into());
        written.media = TEXT;
        Self::of(written)
    }
}

impl Draft<Calendar> {
    /// A calendar. `tag` is its entity tag, with its quotes.
    ///
    /// # Errors
    /// When the tag cannot be written: a defect of ours.
    pub fn calendar(text: String, tag: &str) -> Result<Self, Fault> {
        let mut written = Written::of(StatusCode::OK, text.into());
        written.media = CALENDAR;
        written.etag = Some(header_value(tag)?);
        Ok(Self::of(written))
    }

    /// The caller has it already, by its tag.
    ///
    /// # Errors
    /// When the tag cannot be written: a defect of ours.
    pub fn not_modified(tag: &str) -> Result<Self, Fault> {
        let mut written = Written::of(StatusCode::NOT_MODIFIED, Bytes::new());
        written.etag = Some(header_value(tag)?);
        Ok(Self::of(written))
    }
}

impl Draft<Events> {
    /// Events, each as it comes, until there are no more. The request is over by then: its place among the
    /// requests is given back, and its entry was written.
    pub fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let mut written = Written::of(StatusCode::OK, Bytes::new());
        written.media = EVENTS;
        let events = events.map(Ok::<_, std::convert::Infallible>);
        written.going_on = Some(Mutex::new(Body::from_stream(events)));
        Self::of(written)
    }
}

impl Draft<Csv> {
    /// Lines of text for spreadsheets.
    pub fn csv(text: String) -> Self {
        let mut written = Written::of(StatusCode::OK, text.into());
        written.media = CSV;
        Self::of(written)
    }
}

impl Draft<Octets> {
    /// Bytes.
    pub fn octets(bytes: Vec<u8>) -> Self {
        let mut written = Written::of(StatusCode::OK, bytes.into());
        written.media = OCTETS;
        Self::of(written)
    }
}

impl Draft<Html> {
    /// Done; what there is to see now is at `location`, a path of ours (RFC 9110, section 15.4.4).
    ///
    /// # Errors
    /// When the location cannot be written: a defect of ours.
    pub fn see_other(location: &str) -> Result<Self, Fault> {
        Written::see_other(location).map(Self::of)
    }
}

impl<T> Draft<T> {
    fn of(written: Written) -> Self {
        let says = PhantomData;
        Self { written, says }
    }

    /// Names the object's version, for `If-Match` of the next change.
    pub fn etag(mut self, version: i32) -> Self {
        self.written.etag = HeaderValue::from_str(&format!("\"v{version}\"")).ok();
        self
    }

    /// Hands a cookie out, or takes it away.
    ///
    /// # Errors
    /// When it cannot be written: a defect of ours.
    pub fn set_cookie(mut self, cookie: &str) -> Result<Self, Fault> {
        self.written.cookie = Some(header_value(cookie)?);
        Ok(self)
    }

    /// Ends a transaction that changed something, and answers. The entry gets the draft's status.
    ///
    /// # Errors
    /// As [`TenantTx::commit`]: nothing is kept then.
    pub async fn commit(self, tx: TenantTx, entry: Entry) -> Result<Answer<T>, Fault> {
        self.end(End::Change, tx, entry).await
    }

    /// Ends a transaction that only read, and answers. The entry gets the draft's status.
    ///
    /// # Errors
    /// As [`TenantTx::finish`]: no data may leave then.
    pub async fn finish(self, tx: TenantTx, entry: Entry) -> Result<Answer<T>, Fault> {
        self.end(End::Read, tx, entry).await
    }

    async fn end(self, end: End, tx: TenantTx, entry: Entry) -> Result<Answer<T>, Fault> {
        let entry = entry.ended(Outcome::Allowed, self.written.status.as_u16());
        let receipt = tx
            .answered(end, entry, |entry, rights| self.written.kept(entry, rights))
            .await?;
        Ok(self.written.with(receipt))
    }

    /// Answers with what was seen in a look. The entry gets the draft's status.
    ///
    /// # Errors
    /// As [`Sight::finish`]: no data may leave then.
    pub async fn show(self, sight: Sight, entry: Entry) -> Result<Answer<T>, Fault> {
        let entry = entry.ended(Outcome::Allowed, self.written.status.as_u16());
        let receipt = sight.finish(entry).await?;
        Ok(self.written.with(receipt))
    }

    /// Answers a guest, whose visit is written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn finish_for(self, guest: Guest, entry: Entry) -> Result<Answer<T>, Fault> {
        let receipt = guest.finish(entry).await?;
        Ok(self.written.with(receipt))
    }
}

impl<T> Answer<T> {
    /// What was asked for, as a page: `render` has the answer that a program would have got, and
    /// nothing else.
    ///
    /// # Errors
    /// When the answer cannot be read again: a defect of ours.
    pub fn page(self, render: impl FnOnce(&Value) -> String) -> Result<Answer<Html>, Fault> {
        let value = serde_json::from_slice(&self.written.body)
            .map_err(|error| Fault::bug(format!("reading an answer: {error}")))?;
        let mut written = Written::of(self.written.status, render(&value).into());
        written.media = HTML;
        Ok(written.with(self._receipt))
    }

    /// Done, and told as a page: what there is to see now is at `location`.
    ///
    /// # Errors
    /// When the location cannot be written: a defect of ours.
    pub fn see_other(self, location: &str) -> Result<Answer<Html>, Fault> {
        Ok(Written::see_other(location)?.with(self._receipt))
    }

    /// Whatever it says: for lists of routes.
    pub(crate) fn erased(self) -> Answer<()> {
        self.written.with(self._receipt)
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

impl<T> std::fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({})", self.written.status)
    }
}

impl<T> std::fmt::Debug for Draft<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({})", self.written.status)
    }
}

impl<T> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        self.written.into_response()
    }
}

impl Answer<Html> {
    /// The same page, whose scripts run and load from here: those that carry the nonce, which this answer
    /// alone has, and nothing else that stands in the page.
    ///
    /// # Errors
    /// None that a nonce gives.
    pub fn with_scripts(mut self, nonce: &Nonce) -> Result<Self, Fault> {
        let scripts = format!(
            "{PAGE_CSP}; script-src {}; connect-src 'self'",
            nonce.source()
        );
        self.written.policy = Some(header_value(&scripts)?);
        Ok(self)
    }
}

/// What the scripts of one answer carry, drawn for it (CSP level 3, `nonce-source`).
///
/// ```
/// # use watertight::answer::Nonce;
/// # use watertight_terms::Random;
/// let nonce = Nonce::new(&Random::system());
/// assert_eq!(nonce.source(), format!("'nonce-{nonce}'"));
/// ```
#[derive(Debug)]
pub struct Nonce(String);

impl Nonce {
    /// One that nobody has seen.
    pub fn new(random: &Random) -> Self {
        Self(hex::encode(random.bytes::<16>()))
    }

    /// As a policy names it.
    pub fn source(&self) -> String {
        format!("'nonce-{}'", self.0)
    }
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer as it is kept for the next request with the same key, what its entry named, and what the
/// request was granted.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptAnswer {
    status: u16,
    location: Option<String>,
    etag: Option<String>,
    body: String,
    ids: Vec<Uuid>,
    opened: Vec<String>,
    rights: Vec<Right>,
}

impl KeptAnswer {
    /// Reads what was kept.
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text)
            .map_err(|error| Fault::bug(format!("reading a kept answer: {error}")))
    }

    /// What must be granted again before it is given once more.
    pub(crate) fn rights(&self) -> &[Right] {
        &self.rights
    }

    /// The entry of giving it once more: it shows what the first one showed.
    pub(crate) fn entry(&self, action: &'static str, resource: &'static str) -> Entry {
        Entry::new(action, resource)
            .ids(self.ids.iter().copied())
            .opened(self.opened.iter().cloned())
            .rule("idempotency-key")
            .ended(Outcome::Allowed, self.status)
    }

    /// The answer, once more.
    pub(crate) fn again(self, receipt: Receipt) -> Result<Answer<()>, Fault> {
        let status = StatusCode::from_u16(self.status)
            .map_err(|error| Fault::bug(format!("a kept answer: {error}")))?;
        let mut written = Written::of(status, self.body.into());
        written.location = self.location.as_deref().map(header_value).transpose()?;
        written.etag = self.etag.as_deref().map(header_value).transpose()?;
        Ok(written.with(receipt))
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
    /// What a page may load, where that is more than `PAGE_CSP` has.
    policy: Option<HeaderValue>,
    body: Bytes,
    /// What comes in the place of `body`, bit by bit. Behind a lock that nobody waits for: drafts are
    /// shared between threads, and a body cannot be.
    going_on: Option<Mutex<Body>>,
}

/// What a page may load, and where its forms may go: nothing but our own. Trusted Types, so that no
/// script of a page could ever make markup from text.
pub const PAGE_CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
     object-src 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CALENDAR: HeaderValue = HeaderValue::from_static("text/calendar; charset=utf-8");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
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
            policy: None,
            body,
            going_on: None,
        }
    }

    fn json(status: StatusCode, view: &impl Serialize) -> Result<Self, Fault> {
        let body = serde_json::to_vec(view)
            .map_err(|error| Fault::bug(format!("writing an answer: {error}")))?;
        Ok(Self::of(status, body.into()))
    }

    fn see_other(location: &str) -> Result<Self, Fault> {
        let mut written = Self::of(StatusCode::SEE_OTHER, Bytes::new());
        written.location = Some(header_value(location)?);
        Ok(written)
    }

    fn with<T>(self, receipt: Receipt) -> Answer<T> {
        Answer {
            written: self,
            _receipt: receipt,
            says: PhantomData,
        }
    }

    /// As it is kept, with what its entry names and what the request was granted.
    fn kept(&self, entry: &Entry, rights: &[Right]) -> Result<String, Fault> {
        let text = |value: &Option<HeaderValue>| {
            let value = value.as_ref().and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let opened = entry.opened_fields().iter();
        let kept = KeptAnswer {
            status: self.status.as_u16(),
            location: text(&self.location),
            etag: text(&self.etag),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            ids: entry.row_ids().to_vec(),
            opened: opened.map(|field| field.clone().into_owned()).collect(),
            rights: rights.to_vec(),
        };
        serde_json::to_string(&kept)
            .map_err(|error| Fault::bug(format!("writing a kept answer: {error}")))
    }

    fn into_response(self) -> Response {
        // No line at all is a text too.
        let has_body = !self.body.is_empty() || self.media == TEXT || self.going_on.is_some();
        let body = match self.going_on {
            Some(body) => body.into_inner().unwrap_or_else(PoisonError::into_inner),
            None => self.body.into(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if has_body {
            if self.media == HTML {
                let usual = HeaderValue::from_static(PAGE_CSP);
                let policy = self.policy.unwrap_or(usual);
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
