//! What a handler takes: its arguments, read strictly from the request, before anything else.
//!
//! ```
//! use bytes::Bytes;
//! use garde::Validate;
//! use http::{HeaderMap, HeaderValue, Method, header};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use uuid::Uuid;
//! use watertight::argument::{IfMatch, Input, Path, Prose, Valid};
//!
//! // The bound is the type's: what reads it and what documents it are one.
//! #[derive(Deserialize, Validate, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Cancel {
//!     #[garde(dive)]
//!     reason: Prose<500>,
//! }
//!
//! let input = Input {
//!     method: Method::POST,
//!     path: vec![("id".into(), "0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11".into())],
//!     query: None,
//!     headers: HeaderMap::from_iter([
//!         (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
//!         (header::IF_MATCH, HeaderValue::from_static("\"v12\"")),
//!     ]),
//!     body: Bytes::from_static(br#"{"reason": "moved"}"#),
//!     state: http::Extensions::new(),
//! };
//! let (Path(_id), IfMatch(version), Valid(cancel)) =
//!     input.take::<(Path<Uuid>, IfMatch, Valid<Cancel>)>().unwrap();
//! assert_eq!((version, &*cancel.reason), (Some(12), "moved"));
//! ```
//!
//! Everything here is synchronous and pure: an [`Input`] in, a value or a [`Fault`] out. A body
//! or query that is not well formed is `malformed`; one that is, but breaks a bound, `invalid`;
//! a path that names nothing is *unseen*, as if its row were absent.
//!
//! What is absent: lenient parsing. There is no second spelling of a number, an id or a field,
//! so that what we read is what a proxy, a log or the next service reads.

mod field;
mod form;
mod json;
mod lines;
mod query;
mod read;
mod text;
mod time;

use std::str::FromStr;

use bytes::Bytes;
use garde::Validate;
use http::{Extensions, HeaderMap, HeaderName, Method, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;
use watertight_terms::{Fault, FieldFault, problems};

use crate::describe::Description;

pub use field::{Field, Firm};
pub(crate) use form::csrf_token;
pub use form::{CSRF_FIELD, FeedCaller, Form, PageCaller};
pub use lines::{Column, Line as TableLine, Lines, LinesFault};
pub use read::spoken;
pub use text::{CursorText, Email, Id, Line, Prose, RoleName, Slug};
pub use time::{Day, Instant, TimeOfDay, Zone};

/// A request, as far as handlers read it: everything but who is calling.
#[derive(Debug, Clone)]
pub struct Input {
    /// The method.
    pub method: Method,
    /// The parameters of the route's path, decoded, in their order.
    pub path: Vec<(String, String)>,
    /// The query as it was sent, without `?`.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, already bounded.
    pub body: Bytes,
    /// What the product put there for its handlers: its vault, its cursors.
    pub state: Extensions,
}

/// Something that a handler takes from the request.
pub trait Argument: Sized {
    /// Whether the query is read; if no argument does, a query is refused.
    const QUERY: bool = false;

    /// Says what it reads, for the API's document.
    fn describe(description: &mut Description<'_>);

    /// Reads it.
    ///
    /// # Errors
    /// When the request does not have it in the form that is asked for.
    fn take(input: &Input) -> Result<Self, Fault>;
}

impl Input {
    /// All arguments of a handler, as a tuple or a single one; parameters of a query that nothing
    /// reads are unknown ones.
    ///
    /// # Errors
    /// The first argument's that cannot be read.
    pub fn take<A: Argument>(&self) -> Result<A, Fault> {
        if !A::QUERY {
            Query::<Nothing>::take(self)?;
        }
        A::take(self)
    }

    fn header(&self, name: &HeaderName) -> Result<Option<&str>, Fault> {
        header_of(&self.headers, name)
    }
}

/// The one value of a header; twice is once too often.
fn header_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| bad_header(name)),
        _ => Err(bad_header(name)),
    }
}

#[derive(serde::Deserialize, Validate, JsonSchema)]
struct Nothing {}

macro_rules! arguments {
    ($(($($argument:ident)*))*) => {
        $(impl<$($argument: Argument),*> Argument for ($($argument,)*) {
            const QUERY: bool = false $(|| $argument::QUERY)*;

            fn describe(description: &mut Description<'_>) {
                let _ = &description;
                $($argument::describe(description);)*
            }

            fn take(input: &Input) -> Result<Self, Fault> {
                let _ = input;
                Ok(($($argument::take(input)?,)*))
            }
        })*
    };
}

arguments! { () (A) (A B) (A B C) (A B C D) (A B C D E) }

/// The id in the path, `{id}`. What is no id in its canonical form answers as an absent one.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: FromStr> Argument for Path<T> {
    fn describe(description: &mut Description<'_>) {
        description.takes_path("id", text::id_schema());
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let mut parameters = input.path.iter();
        let (_, text) = parameters
            .find(|(name, _)| name == "id")
            .ok_or_else(|| Fault::bug("the route has no path parameter `id`"))?;
        let canonical = Uuid::try_parse(text).is_ok_and(|id| id.to_string() == *text);
        let id = canonical.then(|| text.parse().ok()).flatten();
        id.map(Self).ok_or_else(Fault::unseen)
    }
}

/// A word of a closed list in the path.
pub trait Word: FromStr {
    /// The parameter's name.
    const NAME: &'static str;
    /// Every word.
    const WORDS: &'static [&'static str];
}

/// The parameter of the path that is one word of a closed list.
#[derive(Debug, Clone, Copy)]
pub struct Segment<T>(pub T);

impl<T: Word> Argument for Segment<T> {
    fn describe(description: &mut Description<'_>) {
        description.takes_path(T::NAME, json!({ "type": "string", "enum": T::WORDS }));
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let mut parameters = input.path.iter();
        let (_, text) = parameters
            .find(|(name, _)| name == T::NAME)
            .ok_or_else(|| Fault::bug(format!("the route has no path parameter `{}`", T::NAME)))?;
        text.parse().map(Self).map_err(|_| Fault::unseen())
    }
}

/// The query, each parameter once and known. Every refusal is `malformed`: a link is written by
/// a program.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Validate<Context = ()> + JsonSchema> Argument for Query<T> {
    const QUERY: bool = true;

    fn describe(description: &mut Description<'_>) {
        description.takes_query::<T>();
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let refuse = |fields| {
            Fault::new(
                problems::MALFORMED,
                "the query cannot be read; see `errors`",
            )
            .fields(fields)
        };
        let tree = query::parse(input.query.as_deref().unwrap_or_default());
        let asked: T = tree
            .and_then(read::read)
            .map_err(|fault| refuse(vec![fault.in_query()]))?;
        match asked.validate() {
            Ok(()) => Ok(Self(asked)),
            Err(report) => Err(refuse(fields_of(&report, |path| format!("?{path}")))),
        }
    }
}

/// The body: JSON of a known form, then within its bounds.
#[derive(Debug, Clone)]
pub struct Valid<T>(pub T);

impl<T: DeserializeOwned + Validate<Context = ()> + JsonSchema> Argument for Valid<T> {
    fn describe(description: &mut Description<'_>) {
        description.takes_body::<T>(true);
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        check_media(input)?;
        from_json(&input.body)
    }
}

/// A body that a page puts together from its form: read as if it had been sent.
///
/// # Errors
/// As a body that was sent.
pub fn from_value<T>(body: &serde_json::Value) -> Result<Valid<T>, Fault>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    from_json(body.to_string().as_bytes())
}

fn from_json<T>(body: &[u8]) -> Result<Valid<T>, Fault>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    let body: T = json::parse(body).and_then(read::read).map_err(unreadable)?;
    match body.validate() {
        Ok(()) => Ok(Valid(body)),
        Err(report) => Err(invalid(fields_of(&report, pointer_of))),
    }
}

/// A body that may be left out altogether.
impl<T: DeserializeOwned + Validate<Context = ()> + JsonSchema> Argument for Option<Valid<T>> {
    fn describe(description: &mut Description<'_>) {
        description.takes_body::<T>(false);
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        if input.body.is_empty() && !input.headers.contains_key(header::CONTENT_TYPE) {
            return Ok(None);
        }
        Valid::take(input).map(Some)
    }
}

fn check_media(input: &Input) -> Result<(), Fault> {
    if is_media(input, "application/json") {
        return Ok(());
    }
    let spoken = "send the body as `Content-Type: application/json`";
    Err(Fault::new(problems::WRONG_MEDIA, spoken))
}

/// Whether the body is said to be of that media type, and in UTF-8 where it says so at all.
fn is_media(input: &Input, wanted: &str) -> bool {
    let given = input.header(&header::CONTENT_TYPE).ok().flatten();
    let mut parts = given.unwrap_or_default().split(';').map(str::trim);
    let is_wanted = parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case(wanted));
    let is_utf8 = |parameter: &str| {
        parameter.eq_ignore_ascii_case("charset=utf-8")
            || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
    };
    is_wanted && parts.all(is_utf8)
}

fn unreadable(fault: read::ReadFault) -> Fault {
    let is_range = fault.code() == read::OUT_OF_RANGE;
    let fields = vec![fault.in_body()];
    if is_range {
        return invalid(fields);
    }
    Fault::new(problems::MALFORMED, "the body cannot be read; see `errors`").fields(fields)
}

fn invalid(fields: Vec<FieldFault>) -> Fault {
    let spoken = "a value is against its bound; see `errors`";
    Fault::new(problems::INVALID, spoken).fields(fields)
}

fn fields_of(report: &garde::Report, pointer: impl Fn(&str) -> String) -> Vec<FieldFault> {
    let fault = |(path, error): &(garde::Path, garde::Error)| FieldFault {
        pointer: pointer(&path.to_string()),
        code: "invalid",
        detail: error.message().to_owned(),
    };
    report.iter().map(fault).collect()
}

/// `rates.day[0]` as `/rates/day/0`.
fn pointer_of(path: &str) -> String {
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps
        .map(|step| format!("/{}", read::pointer_step(step.trim_start_matches("r#"))))
        .collect()
}

/// The version in `If-Match: "v12"`, if the caller named one. Neither `*` nor a list is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub Option<i32>);

impl Argument for IfMatch {
    fn describe(description: &mut Description<'_>) {
        let about = "the version that you looked at; another one is 412";
        description.takes_header("If-Match", about, "^\"v[1-9][0-9]{0,9}\"$");
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let Some(text) = input.header(&header::IF_MATCH)? else {
            return Ok(Self(None));
        };
        let digits = text
            .strip_prefix("\"v")
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or_else(|| bad_header(&header::IF_MATCH))?;
        let version = digits.parse::<i32>().ok();
        // Written back it is the same: no sign, no leading zero.
        let canonical = version.filter(|version| *version > 0 && version.to_string() == digits);
        canonical
            .map(|version| Self(Some(version)))
            .ok_or_else(|| bad_header(&header::IF_MATCH))
    }
}

/// `If-None-Match`, if the caller sent one: what it has already. What cannot be read matches nothing, as
/// the header only spares an answer (RFC 9110, section 13.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneMatch(Option<String>);

impl IfNoneMatch {
    /// Whether the caller has it already. `tag` is an entity tag with its quotes; weak ones count.
    pub fn has(&self, tag: &str) -> bool {
        let mut tags = self.0.iter().flat_map(|text| text.split(','));
        tags.any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
        })
    }
}

impl Argument for IfNoneMatch {
    fn describe(description: &mut Description<'_>) {
        let about = "the entity tags of what you have; 304 when it is still so";
        description.takes_header("If-None-Match", about, "^.*$");
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        Ok(Self(
            input
                .header(&header::IF_NONE_MATCH)
                .ok()
                .flatten()
                .map(str::to_owned),
        ))
    }
}

/// `Last-Event-ID`: where the reader of an answer that goes on was, if it says so.
#[derive(Debug, Clone, Copy)]
pub enum LastEventId {
    /// It begins.
    None,
    /// There.
    Id(Uuid),
    /// What cannot be one of ours.
    Unreadable,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl Argument for LastEventId {
    fn describe(description: &mut Description<'_>) {
        let about = "the id of the last event that you know; you are told what came after it";
        description.takes_header("Last-Event-ID", about, "^.*$");
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        Ok(match input.header(&LAST_EVENT_ID) {
            Ok(None) => Self::None,
            Ok(Some(text)) => text.parse().map_or(Self::Unreadable, Self::Id),
            Err(_) => Self::Unreadable,
        })
    }
}

/// `Idempotency-Key`, if the caller sent one: 16 to 128 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl IdempotencyKey {
    /// Reads it. The door does, for every route that posts.
    ///
    /// # Errors
    /// When it is there twice, too short, too long or not printable.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let Some(text) = header_of(headers, &IDEMPOTENCY_KEY)? else {
            return Ok(Self(None));
        };
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable || !(16..=128).contains(&text.len()) {
            return Err(bad_header(&IDEMPOTENCY_KEY));
        }
        Ok(Self(Some(text.to_owned())))
    }

    pub(crate) fn describe(description: &mut Description<'_>) {
        let about = "a key of your own for this request: sent again within a day, it has no second \
                     effect and is answered as the first time";
        description.takes_header("Idempotency-Key", about, "^[!-~][ -~]{14,126}[!-~]$");
    }
}

fn bad_header(name: &HeaderName) -> Fault {
    let spoken = match name.as_str() {
        "if-match" => "`If-Match` is one version, written like `\"v12\"`",
        "idempotency-key" => "`Idempotency-Key` is 16 to 128 printable characters, once",
        _ => "a header is given twice or is not printable",
    };
    Fault::new(problems::MALFORMED, spoken)
}

#[cfg(test)]
mod tests;
