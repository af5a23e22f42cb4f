use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::Number;
use watertight_terms::FieldFault;

/// A body or a query, read but not yet understood. An object keeps its fields in order and twice
/// where they come twice, so that the check for that can name them.
#[derive(Debug)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    /// A value of a query: text that stands for a number or a flag where one is asked for.
    Word(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Makes a `T` of the tree. Objects have the fields of their type and no others, whether or not
/// the type says `deny_unknown_fields`; a list never stands for an object, and an enum is a word.
/// (Types with `flatten` or `tag` are read by serde itself: they must say `deny_unknown_fields`.)
pub(super) fn read<T: DeserializeOwned>(tree: Tree) -> Result<T, ReadFault> {
    T::deserialize(Reader(tree))
}

/// What is wrong with one value. Whatever serde would say of types, lengths and variants is said
/// here in words of our own: none of its messages reaches a caller.
#[derive(Debug)]
pub(super) struct ReadFault {
    /// Innermost first.
    path: Vec<String>,
    code: &'static str,
    detail: String,
}

/// Starts a message that a type of ours wrote for the caller, see [`spoken`].
const SPOKEN: char = '\u{1}';
/// Of the right form, but past a bound that the type itself sets.
pub(super) const OUT_OF_RANGE: &str = "out-of-range";
const WRONG_TYPE: &str = "wrong-type";
/// Of a client's own words, at most so many characters come back.
const ECHO_CHARS: usize = 64;

/// An error whose message may be spoken, for the `Deserialize` of our own types. `code` is
/// `out-of-range` for a value of the right form past a bound, and `wrong-type` otherwise.
pub fn spoken<E: de::Error>(code: &'static str, detail: &str) -> E {
    let mark = if code == OUT_OF_RANGE { "+" } else { "-" };
    E::custom(format!("{SPOKEN}{mark}{detail}"))
}

impl ReadFault {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            code,
            detail: detail.into(),
        }
    }

    /// The same fault, seen from the object or list around it.
    pub(super) fn under(mut self, step: impl ToString) -> Self {
        self.path.push(step.to_string());
        self
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// As a field of a body: a JSON pointer (RFC 6901).
    pub(super) fn in_body(self) -> FieldFault {
        let steps = self.path.iter().rev();
        let pointer = steps
            .map(|step| format!("/{}", pointer_step(step)))
            .collect();
        self.at(pointer)
    }

    /// As a parameter of a query.
    pub(super) fn in_query(self) -> FieldFault {
        let name = self.path.last().map(|name| echo(name)).unwrap_or_default();
        self.at(format!("?{name}"))
    }

    fn at(self, pointer: String) -> FieldFault {
        FieldFault {
            pointer,
            code: self.code,
            detail: self.detail,
        }
    }
}

pub(super) fn pointer_step(step: &str) -> String {
    echo(step).replace('~', "~0").replace('/', "~1")
}

/// A client's own words, cut.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS).collect()
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ReadFault {}

impl de::Error for ReadFault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let mut rest = message.chars();
        match (rest.next(), rest.next()) {
            (Some(SPOKEN), Some('+')) => Self::new(OUT_OF_RANGE, rest.as_str()),
            (Some(SPOKEN), _) => Self::new(WRONG_TYPE, rest.as_str()),
            _ => Self::new(WRONG_TYPE, "the value is not of the form that is asked for"),
        }
    }

    fn invalid_type(found: Unexpected<'_>, asked: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "`true` or `false`",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction or exponent",
            Unexpected::Str(_) | Unexpected::Char(_) => "text",
            Unexpected::Unit | Unexpected::Option => "`null`",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "another value",
        };
        match asked_for(asked) {
            Some(asked) => Self::new(WRONG_TYPE, format!("{found} stands where {asked} belongs")),
            None => Self::new(WRONG_TYPE, format!("{found} does not belong here")),
        }
    }

    fn invalid_value(_found: Unexpected<'_>, asked: &dyn Expected) -> Self {
        match asked_for(asked) {
            Some("a whole number") => Self::new(WRONG_TYPE, "the number is out of range"),
            _ => Self::new(WRONG_TYPE, "the value is not one that belongs here"),
        }
    }

    fn invalid_length(_length: usize, _asked: &dyn Expected) -> Self {
        Self::new(WRONG_TYPE, "the list is too short or too long")
    }

    fn unknown_variant(_variant: &str, known: &'static [&'static str]) -> Self {
        let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        Self::new(
            WRONG_TYPE,
            format!("the value is none of {}", known.join(", ")),
        )
    }

    fn unknown_field(field: &str, _known: &'static [&'static str]) -> Self {
        Self::new("unknown-field", "there is no such field here").under(field)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing-field", format!("`{field}` is missing")).under(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("duplicate-field", "the field is given twice").under(field)
    }
}

/// What serde expected, in words of JSON.
fn asked_for(asked: &dyn Expected) -> Option<&'static str> {
    let asked = asked.to_string();
    match asked.as_str() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => {
            Some("a whole number")
        }
        "f32" | "f64" => Some("a number"),
        "a boolean" => Some("`true` or `false`"),
        "a string" | "string" => Some("text"),
        "a sequence" => Some("a list"),
        "a map" => Some("an object"),
        "a formatted UUID string" => Some("an id"),
        _ if asked.starts_with("struct ") => Some("an object"),
        _ => None,
    }
}

struct Reader(Tree);

impl Reader {
    fn wrong(self, asked: &dyn Expected) -> ReadFault {
        let found = match &self.0 {
            Tree::Null => Unexpected::Unit,
            Tree::Flag(flag) => Unexpected::Bool(*flag),
            Tree::Number(number) if number.is_f64() => Unexpected::Float(0.0),
            Tree::Number(_) => Unexpected::Signed(0),
            Tree::Text(_) | Tree::Word(_) => Unexpected::Str(""),
            Tree::List(_) => Unexpected::Seq,
            Tree::Object(_) => Unexpected::Map,
        };
        de::Error::invalid_type(found, asked)
    }
}

/// A whole number is asked for: a word of a query is read as one, plain digits only.
macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadFault> {
            match self.0 {
                Tree::Word(word) => visitor.visit_i64(whole_number(&word)?),
                tree => Reader(tree).deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Reader {
    type Error = ReadFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadFault> {
        match self.0 {
            Tree::Null => visitor.visit_unit(),
            Tree::Flag(flag) => visitor.visit_bool(flag),
            Tree::Number(number) => visit_number(&number, visitor),
            Tree::Text(text) | Tree::Word(text) => visitor.visit_string(text),
            Tree::List(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Tree::Object(fields) => visitor.visit_map(Fields::of(fields)),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadFault> {
        match self.0 {
            Tree::Word(word) if word == "true" => visitor.visit_bool(true),
            Tree::Word(word) if word == "false" => visitor.visit_bool(false),
            tree => Reader(tree).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadFault> {
        match self.0 {
            Tree::Null => visitor.visit_none(),
            tree => visitor.visit_some(Reader(tree)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadFault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadFault> {
        let Tree::Object(fields) = self.0 else {
            return Err(self.wrong(&visitor));
        };
        let unknown = fields
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        match unknown {
            Some((name, _)) => Err(de::Error::unknown_field(name, known)),
            None => visitor.visit_map(Fields::of(fields)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadFault> {
        match self.0 {
            Tree::Text(word) | Tree::Word(word) => visitor.visit_enum(word.into_deserializer()),
            // `{"staff": null}` would be a second spelling of `"staff"`.
            tree => Err(Reader(tree).wrong(&visitor)),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, ReadFault> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        // A number of JSON text is always finite here: others are refused where it is parsed.
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

fn whole_number(word: &str) -> Result<i64, ReadFault> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| word.parse().ok()).flatten();
    number.ok_or_else(|| ReadFault::new(WRONG_TYPE, "the value is not a whole number in range"))
}

/// The items of a list, each with its place.
struct Items(std::iter::Enumerate<std::vec::IntoIter<Tree>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = ReadFault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadFault> {
        let Some((place, item)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader(item));
        read.map(Some).map_err(|fault| fault.under(place))
    }
}

/// The fields of an object; the value waits under its name until it is asked for.
struct Fields {
    rest: std::vec::IntoIter<(String, Tree)>,
    waiting: Option<(String, Tree)>,
}

impl Fields {
    fn of(fields: Vec<(String, Tree)>) -> Self {
        Self {
            rest: fields.into_iter(),
            waiting: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = ReadFault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadFault> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        let key = seed.deserialize(Reader(Tree::Text(name.clone())));
        let key = key.map_err(|fault| fault.under(&name))?;
        self.waiting = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadFault> {
        let (name, value) = self.waiting.take().unwrap_or((String::new(), Tree::Null));
        seed.deserialize(Reader(value))
            .map_err(|fault| fault.under(name))
    }
}
