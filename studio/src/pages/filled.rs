use garde::Validate;
use maud::{Markup, html};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use watertight::{
    argument::{Argument, Input, Query},
    describe::Description,
};
use watertight_terms::Fault;

/// What a form asks for: it sends the fields that nobody filled in too, as nothing.
pub(super) struct Filled<T>(pub(super) Query<T>);

impl<T: DeserializeOwned + Validate<Context = ()> + JsonSchema> Argument for Filled<T> {
    const QUERY: bool = true;

    fn describe(description: &mut Description<'_>) {
        Query::<T>::describe(description);
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        let filled = |query: &String| {
            let fields = query.split('&').filter(|field| !field.ends_with('='));
            fields.collect::<Vec<_>>().join("&")
        };
        let query = input.query.as_ref().map(filled);
        let query = query.filter(|query| !query.is_empty());
        let input = Input {
            query,
            ..input.clone()
        };
        Query::take(&input).map(Self)
    }
}

/// The way to what is older, by the same filters, if there is more.
pub(super) fn older(path: &str, filters: &[(&'static str, String)], list: &Value) -> Markup {
    html! {
        @if let Some(cursor) = list["next_cursor"].as_str() {
            p { a href={ (path) "?" (query(filters)) "cursor=" (cursor) } { "Older" } }
        }
    }
}

/// The filters again, for the next page: each field that was filled in, with `&` after it.
fn query(filters: &[(&'static str, String)]) -> String {
    let pairs = filters.iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(name, value)| format!("{name}={}&", encoded(value)));
    pairs.collect()
}

/// A value of a query: whatever is not unreserved is escaped (RFC 3986).
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
