use garde::Validate;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
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

/// The filters again, for the next page: each field that was filled in, with `&` after it.
pub(super) fn query(filters: &[(&'static str, String)]) -> String {
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
