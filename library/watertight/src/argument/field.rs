use garde::{Path, Report, Validate, error::NoKey, rules::inner::Inner};
use serde::{Deserialize, Deserializer};
use watertight_terms::{Fault, FieldFault, Kind, TextFault, check_line, check_prose};

/// A field of a merge patch (RFC 7396): not there, `null`, or a value.
///
/// ```
/// use garde::Validate;
/// use serde::Deserialize;
/// use watertight::argument::{Field, line};
///
/// #[derive(Deserialize, Validate)]
/// struct Patch {
///     #[serde(default)]
///     #[garde(inner(custom(line(200))))]
///     client: Field<String>,
/// }
///
/// let patch: Patch = serde_json::from_str(r#"{"client": null}"#).unwrap();
/// assert_eq!(patch.client, Field::Null);
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

    /// The new value of a field that cannot be taken away, if there is one.
    ///
    /// # Errors
    /// When it is `null`.
    pub fn given(self, name: &'static str) -> Result<Option<T>, Fault> {
        match self {
            Self::Absent => Ok(None),
            Self::Value(value) => Ok(Some(value)),
            Self::Null => {
                let field = FieldFault {
                    pointer: format!("/{name}"),
                    code: "required",
                    detail: format!("`{name}` cannot be taken away"),
                };
                let spoken = "a field that is needed would be taken away; see `errors`";
                Err(Fault::new(Kind::Invalid, "invalid", spoken).fields(vec![field]))
            }
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

/// For `#[garde(custom(line(200)))]`: a text of one line, see [`check_line`].
pub fn line<T: AsRef<str> + ?Sized>(longest: usize) -> impl Fn(&T, &()) -> garde::Result {
    move |text, ()| told(check_line(text.as_ref(), longest))
}

/// For `#[garde(custom(prose(10_000)))]`: a text of many lines, see [`check_prose`].
pub fn prose<T: AsRef<str> + ?Sized>(longest: usize) -> impl Fn(&T, &()) -> garde::Result {
    move |text, ()| told(check_prose(text.as_ref(), longest))
}

fn told(checked: Result<(), TextFault>) -> garde::Result {
    checked.map_err(garde::Error::new)
}
