use std::borrow::Cow;

use garde::{Path, Report, Validate, error::NoKey, rules::inner::Inner};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A field of a merge patch (RFC 7396): not there, `null`, or a value.
///
/// ```
/// use garde::Validate;
/// use serde::Deserialize;
/// use watertight::argument::{Field, Firm, Line};
///
/// #[derive(Deserialize, Validate)]
/// struct Patch {
///     #[serde(default)]
///     #[garde(dive)]
///     client: Field<Line<200>>,
///     #[serde(default)]
///     #[garde(dive)]
///     name: Firm<Line<200>>,
/// }
///
/// let patch: Patch = serde_json::from_str(r#"{"client": null}"#).unwrap();
/// assert_eq!(patch.client, Field::Null);
/// assert!(patch.validate().is_ok());
/// let patch: Patch = serde_json::from_str(r#"{"name": null}"#).unwrap();
/// assert!(patch.validate().is_err());
/// let patch: Patch = serde_json::from_str("{}").unwrap();
/// assert_eq!(patch.client, Field::Absent);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Leave it as it is.
    #[default]
    Absent,
    /// Take it away.
    Null,
    /// Set it.
    Value(T),
}

impl<T> Field<T> {
    /// What the field is after the patch: `before` where nothing was said.
    pub fn or(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Absent => before,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// The same field with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Null => Field::Null,
            Self::Value(value) => Field::Value(change(value)),
        }
    }

    fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(source)?;
        Ok(value.map_or(Self::Null, Self::Value))
    }
}

impl<T> Inner<T> for Field<T> {
    type Key = NoKey;

    fn validate_inner<F: FnMut(&T, &NoKey)>(&self, mut check: F) {
        if let Some(value) = self.value() {
            check(value, &NoKey::default());
        }
    }
}

impl<T: Validate> Validate for Field<T> {
    type Context = T::Context;

    fn validate_into(
        &self,
        context: &T::Context,
        parent: &mut dyn FnMut() -> Path,
        report: &mut Report,
    ) {
        if let Some(value) = self.value() {
            value.validate_into(context, parent, report);
        }
    }
}

/// A field of a merge patch that cannot be taken away: not there, or a value. `null` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firm<T>(Field<T>);

impl<T> Default for Firm<T> {
    fn default() -> Self {
        Self(Field::Absent)
    }
}

impl<T> Firm<T> {
    /// The new value, if there is one.
    pub fn given(self) -> Option<T> {
        match self.0 {
            Field::Value(value) => Some(value),
            Field::Absent | Field::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Firm<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Field::deserialize(source).map(Self)
    }
}

impl<T> Inner<T> for Firm<T> {
    type Key = NoKey;

    fn validate_inner<F: FnMut(&T, &NoKey)>(&self, check: F) {
        self.0.validate_inner(check);
    }
}

impl<T: Validate> Validate for Firm<T> {
    type Context = T::Context;

    fn validate_into(
        &self,
        context: &T::Context,
        parent: &mut dyn FnMut() -> Path,
        report: &mut Report,
    ) {
        match self.0 {
            Field::Null => report.append(parent(), garde::Error::new("cannot be taken away")),
            _ => self.0.validate_into(context, parent, report),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        <Option<T>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Option<T>>::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Firm<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
