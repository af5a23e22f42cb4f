//! Money, as every resource gives and takes it: `{"minor": 45000, "currency": "EUR"}`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watertight_tenancy::Row;
use watertight_terms::Fault;

/// The largest amount, in the currency's smallest unit.
const MOST_MINOR: i64 = 1_000_000_000_000;

/// An amount in the smallest unit of its currency (ISO 4217).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Money {
    #[garde(range(min = 0, max = MOST_MINOR))]
    pub(crate) minor: i64,
    #[garde(custom(code))]
    #[schemars(length(equal = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub(crate) currency: String,
}

impl Money {
    /// The money of two columns, if there is any.
    pub(crate) fn from_row(row: &Row, minor: &str, currency: &str) -> Result<Option<Self>, Fault> {
        let minor: Option<i64> = row.field(minor)?;
        let currency: Option<String> = row.field(currency)?;
        Ok(minor
            .zip(currency)
            .map(|(minor, currency)| Self { minor, currency }))
    }
}

fn code(code: &str, _: &()) -> garde::Result {
    if code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(garde::Error::new(
        "a currency has three capital letters, as `EUR`",
    ))
}
