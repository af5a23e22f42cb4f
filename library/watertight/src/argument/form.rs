use bytes::Bytes;
use garde::Validate;
use http::header;
use serde::de::DeserializeOwned;
use serde_json::json;
use watertight_identity::{feed::FeedSecret, page::PageSecret};
use watertight_terms::{Fault, problems};

use super::{
    Argument, Description, Input, fields_of, invalid, pointer_of, query,
    read::{self, Tree},
    unreadable,
};

/// The field of every form that carries the session's token.
pub const CSRF_FIELD: &str = "csrf_token";

/// A form of a page, each field once and known; a field that was left empty is one that was not
/// given. The door has looked at its token already.
#[derive(Debug, Clone)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + Validate<Context = ()>> Argument for Form<T> {
    fn describe(_: &mut Description<'_>) {}

    fn take(input: &Input) -> Result<Self, Fault> {
        let given = input.header(&header::CONTENT_TYPE).ok().flatten();
        if given
            .is_none_or(|media| !media.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
        {
            let spoken = "send the form as `Content-Type: application/x-www-form-urlencoded`";
            return Err(Fault::new(problems::WRONG_MEDIA, spoken));
        }
        let mut fields = fields(&input.body).map_err(unreadable)?;
        fields.retain(|(name, value)| {
            name != CSRF_FIELD && !matches!(value, Tree::Word(word) if word.is_empty())
        });
        let form: T = read::read(Tree::Object(fields)).map_err(unreadable)?;
        match form.validate() {
            Ok(()) => Ok(Self(form)),
            Err(report) => Err(invalid(fields_of(&report, pointer_of))),
        }
    }
}

/// The token of a form, if it carries one.
pub(crate) fn csrf_token(body: &Bytes) -> Option<String> {
    let fields = fields(body).ok()?;
    let token = fields.into_iter().find(|(name, _)| name == CSRF_FIELD)?;
    match token.1 {
        Tree::Word(word) => Some(word),
        _ => None,
    }
}

fn fields(body: &Bytes) -> Result<Vec<(String, Tree)>, read::ReadFault> {
    let text = std::str::from_utf8(body)
        .map_err(|_| read::ReadFault::new("malformed", "the form is not UTF-8"))?;
    match query::parse(text)? {
        Tree::Object(fields) => Ok(fields),
        _ => Ok(Vec::new()),
    }
}

/// The page session that asks: what its forms must carry, and what ends when it signs out.
#[derive(Debug, Clone)]
pub struct PageCaller(pub PageSecret);

impl Argument for PageCaller {
    fn describe(_: &mut Description<'_>) {}

    fn take(input: &Input) -> Result<Self, Fault> {
        crate::door::secret(&input.headers)
            .map(Self)
            .ok_or_else(|| Fault::bug("a page's handler without a page session"))
    }
}

/// The feed that asks.
#[derive(Debug, Clone)]
pub struct FeedCaller(pub FeedSecret);

impl Argument for FeedCaller {
    fn describe(description: &mut Description<'_>) {
        let pattern = "^[A-Za-z0-9_-]{43}\\.ics$";
        description.takes_path("file", json!({ "type": "string", "pattern": pattern }));
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        crate::door::feed_secret(&input.path)
            .map(Self)
            .ok_or_else(|| Fault::bug("a feed's handler without a feed"))
    }
}
