//! Texts with bounds. The bound is a parameter of the type, which reads, checks and documents it.

use std::{borrow::Cow, fmt, ops::Deref};

use garde::{Path, Report, Validate};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_terms::{Limits, Role, check_line, check_prose};

use super::read::spoken;

/// One line with something in it and without control characters, as [`check_line`] has it. The last part is
/// a character that is no space (Unicode's `White_Space`).
const LINE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$";
/// As [`check_prose`] has it: line feed and tab are the control characters that it may have.
const PROSE: &str = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$";
/// Something, `@`, and something with a dot in it.
const EMAIL: &str = "^[^\\u0000-\\u0020\\u007f-\\u009f\\u2028\\u2029@]+@[^\\u0000-\\u0020\\u007f-\\u009f\\u2028\\u2029@]+\\.[^\\u0000-\\u0020\\u007f-\\u009f\\u2028\\u2029@]+$";
/// What JSON Schema cannot say: Unicode normalization form C.
const FORMAT: &str = "nfc";

/// A text type over `String` with a bound.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($length:ident) $check:expr, $schema:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name<const $length: usize>(String);

            impl<const $length: usize> $name<$length> {
                /// The text itself.
                pub fn into_inner(self) -> String {
                    self.0
                }
            }

            impl<const $length: usize> Deref for $name<$length> {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl<const $length: usize> fmt::Display for $name<$length> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl<const $length: usize> Validate for $name<$length> {
                type Context = ();

                fn validate_into(
                    &self,
                    (): &(),
                    parent: &mut dyn FnMut() -> Path,
                    report: &mut Report,
                ) {
                    let check: fn(&str) -> Result<(), garde::Error> = $check;
                    if let Err(error) = check(&self.0) {
                        report.append(parent(), error);
                    }
                }
            }

            impl<const $length: usize> JsonSchema for $name<$length> {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    concat!(stringify!($name)).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        )*
    };
}

texts! {
    /// A line of 1 to `LONGEST` characters, see [`check_line`].
    Line(LONGEST)
        |text| check_line(text, LONGEST).map_err(garde::Error::new),
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": LINE, "format": FORMAT });

    /// A text of 0 to `LONGEST` characters, see [`check_prose`].
    Prose(LONGEST)
        |text| check_prose(text, LONGEST).map_err(garde::Error::new),
        json_schema!({ "type": "string", "maxLength": LONGEST, "pattern": PROSE, "format": FORMAT });

    /// A word of 1 to `LONGEST` characters of `a-z 0-9 -`, as `rigging-lead`.
    Slug(LONGEST)
        |text| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if (1..=LONGEST).contains(&text.len()) && text.bytes().all(known) {
                return Ok(());
            }
            Err(garde::Error::new(format!("is not 1 to {LONGEST} characters of `a-z 0-9 -`")))
        },
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[a-z0-9-]+$" });

    /// An e-mail address of at most `LONGEST` characters. Whether anybody could write to it is others' to
    /// say; that it is an address at all is said here.
    Email(LONGEST)
        |text| {
            check_line(text, LONGEST).map_err(garde::Error::new)?;
            if is_address(text) {
                return Ok(());
            }
            Err(garde::Error::new("is no e-mail address"))
        },
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": EMAIL, "format": FORMAT });
}

fn is_address(text: &str) -> bool {
    let Some((before, after)) = text.split_once('@') else {
        return false;
    };
    let is_inside = |at: usize| at > 0 && at + 1 < after.len();
    let mut dots = after.match_indices('.');
    !before.is_empty()
        && !text.contains(' ')
        && !after.contains('@')
        && dots.any(|(at, _)| is_inside(at))
}

/// A cursor, as a list gave it out. Whether it is one of ours is asked where the list is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct CursorText(String);

impl Deref for CursorText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Validate for CursorText {
    type Context = ();

    fn validate_into(&self, (): &(), parent: &mut dyn FnMut() -> Path, report: &mut Report) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=Limits::CURSOR_BYTES).contains(&self.0.len());
        if !fits || !self.0.bytes().all(known) {
            let error = "take `cursor` from `next_cursor` of the same list";
            report.append(parent(), garde::Error::new(error));
        }
    }
}

impl JsonSchema for CursorText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": Limits::CURSOR_BYTES,
            "pattern": "^[A-Za-z0-9_-]+$",
            "description": "`next_cursor` of the same list",
        })
    }
}

/// An id in a body or query: a UUID in its one canonical form, lower case with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub Uuid);

/// Nothing is left to check once it is read.
impl Validate for Id {
    type Context = ();

    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> Path, _: &mut Report) {}
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let id = Uuid::try_parse(&text).ok();
        let canonical = id.filter(|id| id.to_string() == text);
        canonical
            .map(Self)
            .ok_or_else(|| spoken("wrong-type", "an id is a UUID in lower case with hyphens"))
    }
}

impl JsonSchema for Id {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({});
        if let Value::Object(members) = id_schema() {
            schema.ensure_object().extend(members);
        }
        schema
    }
}

/// A role, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleName(pub Role);

/// Nothing is left to check once it is read.
impl Validate for RoleName {
    type Context = ();

    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> Path, _: &mut Report) {}
}

impl JsonSchema for RoleName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Role::ALL.map(Role::as_str);
        json_schema!({ "type": "string", "enum": names })
    }
}

/// The schema of an id, in a path too.
pub(super) fn id_schema() -> Value {
    json!({
        "type": "string",
        "format": "uuid",
        "maxLength": 36,
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    })
}
