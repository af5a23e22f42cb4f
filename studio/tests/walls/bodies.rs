//! Bodies of requests, made from the schemas of the API's document: some are good, and most are bent in one place.
//!
//! The same seed makes the same bodies. A body is a text, since what JSON's parsers differ in has no value to
//! show it: numbers spelled otherwise, members given twice, half of a surrogate pair.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

use crate::openapi::{good, valid};

/// A body, and how it was bent.
pub(crate) struct Body {
    pub(crate) text: String,
    pub(crate) bend: Bend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bend {
    /// Not: a good body.
    None,
    /// In any number of places, as the schema's strategy comes to it.
    Several,
    /// A value of another type.
    Type,
    /// A member that is not there.
    Missing,
    /// A member that nobody knows.
    Unknown,
    /// At a bound, or one past it.
    Bound,
    /// Another text: characters that are not welcome, forms that are nearly right.
    Text,
    /// A number that is none of the schema's, or not spelled as one.
    Number,
    /// A whole number spelled with a fraction or an exponent, or as `-0`.
    Spelling,
    /// Lists in lists.
    Depth,
    /// A member given twice.
    Twice,
    /// No JSON, or more than one.
    Malformed,
}

/// Each as often as it stands here: what can go either way more often than what is always refused.
pub(crate) const BENDS: [Bend; 22] = [
    Bend::None,
    Bend::None,
    Bend::None,
    Bend::Several,
    Bend::Several,
    Bend::Several,
    Bend::Type,
    Bend::Missing,
    Bend::Unknown,
    Bend::Bound,
    Bend::Bound,
    Bend::Bound,
    Bend::Text,
    Bend::Text,
    Bend::Text,
    Bend::Number,
    Bend::Number,
    Bend::Spelling,
    Bend::Spelling,
    Bend::Depth,
    Bend::Twice,
    Bend::Malformed,
];

/// Makes bodies of one schema.
pub(crate) struct Maker<'a> {
    pub(crate) runner: &'a mut TestRunner,
    pub(crate) schema: &'a Value,
    /// A body that is taken, with ids of rows that are there.
    pub(crate) sample: Value,
}

/// How often a body may come out bad before the sample stands in.
const TRIES: usize = 16;
/// In how many bodies a bend looks for a place.
const PLACES_TRIED: usize = 4;
/// How many members are tried beside those that a body has.
const MEMBERS_MORE: usize = 3;

/// Stands in a value where a text of its own will stand in the body.
const RAW: &str = "\u{e000}raw\u{e000}";

impl Maker<'_> {
    /// The next body. A bend that finds no place gives way to another.
    pub(crate) fn next(&mut self) -> Body {
        loop {
            let bend = *self.pick(&BENDS);
            for _ in 0..PLACES_TRIED {
                let mut body = match bend {
                    Bend::Several => self.straight(),
                    _ => self.sound(),
                };
                if let Some(text) = self.bent(bend, &mut body) {
                    return Body { text, bend };
                }
            }
        }
    }

    /// A body that is good as a whole, so that the bend alone makes the difference. It has some more members: the strategy
    /// gives most bodies few of many.
    fn sound(&mut self) -> Value {
        let schema = self.schema;
        let is_sound = |body: &Value| valid(schema, body).is_ok();
        let mut body = std::iter::repeat_with(|| self.straight())
            .take(TRIES)
            .find(is_sound)
            .unwrap_or_else(|| self.sample.clone());
        let known = names(schema["properties"].as_object().unwrap()).unwrap();
        for _ in 0..MEMBERS_MORE {
            let name = self.pick(&known).clone();
            let mut richer = body.clone();
            richer[&name] = self.made(&schema["properties"][&name]);
            if is_sound(&richer) {
                body = richer;
            }
        }
        body
    }

    fn made(&mut self, schema: &Value) -> Value {
        good(schema).new_tree(self.runner).unwrap().current()
    }

    /// A body of the schema's form, with rows that are there where the sample has some.
    fn straight(&mut self) -> Value {
        let mut body = self.made(self.schema);
        let sample = self.sample.as_object().into_iter().flatten();
        for (name, value) in sample.filter(|(name, _)| name.ends_with("_id")) {
            if let Some(given) = body.get_mut(name) {
                *given = value.clone();
            }
        }
        body
    }

    fn bent(&mut self, bend: Bend, body: &mut Value) -> Option<String> {
        let raw = match bend {
            Bend::None | Bend::Several => return Some(body.to_string()),
            Bend::Malformed => return Some(self.malformed(&body.to_string())),
            Bend::Twice => return self.twice(body),
            Bend::Missing => {
                let object = self.object(body)?;
                let name = self.pick(&names(object)?).clone();
                object.remove(&name);
                String::new()
            }
            Bend::Unknown => {
                let name = *self.pick(&UNKNOWN);
                let object = self.object(body)?;
                // One that is known elsewhere may be known here.
                let known = object.contains_key(name);
                object.insert(name.to_owned(), json!(1));
                if known { return None } else { String::new() }
            }
            Bend::Type => self.raw(body, |_| true, &TYPES)?,
            Bend::Depth => {
                let depth = *self.pick(&[2_usize, 31, 32, 33, 200]);
                let raw = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
                self.raw(body, |_| true, &[&raw])?
            }
            Bend::Number => self.raw(body, |schema| is(schema, "integer"), &NUMBERS)?,
            Bend::Spelling => self.raw(body, |schema| is(schema, "integer"), &SPELLINGS)?,
            Bend::Text => {
                let (format, texts) = *self.pick(&FORMS);
                let of_format = self.raw(body, |schema| schema["format"] == format, texts);
                match of_format {
                    Some(raw) => raw,
                    None => self.raw(body, |schema| is(schema, "string"), &TEXTS)?,
                }
            }
            Bend::Bound => self.bound(body)?,
        };
        let marked = Value::from(RAW).to_string();
        Some(body.to_string().replacen(&marked, &raw, 1))
    }

    /// Puts one of the texts at a place whose schema is so.
    fn raw(
        &mut self,
        body: &mut Value,
        is_place: impl Fn(&Value) -> bool,
        texts: &[&str],
    ) -> Option<String> {
        let schema = self.schema;
        let mut places = Vec::new();
        collect(schema, body, String::new(), &mut places);
        places.retain(|(_, schema)| is_place(schema));
        let (place, _) = self.pick_of(&places)?.clone();
        *body.pointer_mut(&place)? = json!(RAW);
        Some((*self.pick(texts)).to_owned())
    }

    /// Puts a value of a length or a size at a bound, or one past it.
    fn bound(&mut self, body: &mut Value) -> Option<String> {
        let schema = self.schema;
        let mut places = Vec::new();
        collect(schema, body, String::new(), &mut places);
        places.retain(|(_, schema)| BOUNDS.iter().any(|name| schema.get(name).is_some()));
        let (place, schema) = self.pick_of(&places)?.clone();
        let given: Vec<&str> = BOUNDS
            .into_iter()
            .filter(|name| schema.get(name).is_some())
            .collect();
        let name = *self.pick(&given);
        let bound = schema[name].as_i64()? + self.pick(&[-1, 0, 1]);
        let value = match name {
            "minimum" | "maximum" => json!(bound),
            "minLength" | "maxLength" => {
                let filler = *self.pick(&["a", "\u{e9}", "\u{4e2d}", "\u{1f3ac}"]);
                json!(filler.repeat(usize::try_from(bound).ok()?))
            }
            _ => {
                let item = self.made(&schema["items"]);
                json!(vec![item; usize::try_from(bound).ok()?])
            }
        };
        *body.pointer_mut(&place)? = value;
        Some(String::new())
    }

    /// A member given twice, alike or not.
    fn twice(&mut self, body: &mut Value) -> Option<String> {
        let object = self.object(body)?;
        let name = self.pick(&names(object)?).clone();
        let value = object[&name].to_string();
        let again = *self.pick(&[value.as_str(), "null"]);
        let key = Value::from(name.as_str());
        // The last one counts to most parsers, so that it is the good one.
        object.insert(name, json!(RAW));
        let marked = format!("{key}:{}", Value::from(RAW));
        Some(
            body.to_string()
                .replacen(&marked, &format!("{key}:{again},{key}:{value}"), 1),
        )
    }

    fn malformed(&mut self, text: &str) -> String {
        let cut = self.pick_index(text.chars().count().max(1));
        let cut: String = text.chars().take(cut).collect();
        let trailing = text.strip_suffix('}').unwrap_or(text);
        let choices = [
            String::new(),
            " \n".to_owned(),
            cut,
            format!("\u{feff}{text}"),
            format!("{text}{text}"),
            format!("{text},"),
            format!("{trailing},}}"),
            format!("/**/{text}"),
            text.replace('"', "'"),
            format!("[{text}]"),
            format!(" \t\r\n{text}\n"),
            format!("\u{a0}{text}"),
            text.replacen(':', ":\u{b}", 1),
        ];
        self.pick(&choices).clone()
    }

    /// One of the body's objects.
    fn object<'b>(&mut self, body: &'b mut Value) -> Option<&'b mut Map<String, Value>> {
        let mut places = Vec::new();
        collect(self.schema, body, String::new(), &mut places);
        places.retain(|(place, _)| body.pointer(place).is_some_and(Value::is_object));
        let (place, _) = self.pick_of(&places)?;
        body.pointer_mut(place)?.as_object_mut()
    }

    fn pick<'b, T>(&mut self, choices: &'b [T]) -> &'b T {
        &choices[self.pick_index(choices.len())]
    }

    fn pick_of<'b, T>(&mut self, choices: &'b [T]) -> Option<&'b T> {
        (!choices.is_empty()).then(|| self.pick(choices))
    }

    fn pick_index(&mut self, count: usize) -> usize {
        (0..count).new_tree(self.runner).unwrap().current()
    }
}

const BOUNDS: [&str; 6] = [
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
];

const UNKNOWN: [&str; 8] = [
    "unknown",
    "Name",
    "name ",
    "",
    "__proto__",
    "constructor",
    "tenant_id",
    "version",
];

const TYPES: [&str; 13] = [
    "null",
    "true",
    "false",
    "0",
    "7",
    "-1",
    "7.5",
    r#""""#,
    r#""text""#,
    "[]",
    "{}",
    "[null]",
    r#"{"a":1}"#,
];

/// None of them is a whole number that a schema of ours takes.
const NUMBERS: [&str; 15] = [
    "0.1",
    "-1",
    "1e400",
    "-1e400",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    r#""1""#,
    r#""7""#,
    r#""30""#,
    "01",
    "+1",
    "NaN",
    "0x1",
];

/// Whole numbers once a JSON reader of doubles has read them.
const SPELLINGS: [&str; 6] = [
    "1.0",
    "1e0",
    "10E-1",
    "-0",
    "1.00000000000000000000001",
    "1e-400",
];

/// Texts as they stand in JSON.
const TEXTS: [&str; 45] = [
    r#""""#,
    r#"" ""#,
    r#""a""#,
    r#"" a ""#,
    r#""a\u0000""#,
    r#""a\u0007b""#,
    r#""a\tb""#,
    r#""a\nb""#,
    r#""a\rb""#,
    r#""a\u007f""#,
    r#""a\u0085""#,
    r#""\u00a0""#,
    r#""\u3000""#,
    r#""a\u2028b""#,
    r#""a\u2029""#,
    r#""\ufeffa""#,
    r#""\ufeff""#,
    r#""\u200b""#,
    r#""e\u0301""#,
    r#""\u00e9""#,
    r#""\u212b""#,
    r#""\u1100\u1161""#,
    r#""\ud83c\udfac""#,
    r#""a\ud83c""#,
    r#""\udfac""#,
    r#""a\u{41}""#,
    "\"a\tb\"",
    r#""24:00""#,
    r#""23:59""#,
    r#""9:30""#,
    r#""09:60""#,
    r#""EUR""#,
    r#""eur""#,
    r#""EURO""#,
    r#""\u0415UR""#,
    r#""AM""#,
    r#""a@b""#,
    r#""a@b.""#,
    r#""a@.b""#,
    r#""a@b.c.""#,
    r#""a b@c.d""#,
    r#""a\u00a0b@c.d""#,
    r#""a@b@c.d""#,
    r#""ada@example.org""#,
    r#""Europe/Berlin""#,
];

const IDS: [&str; 8] = [
    r#""0B0C4C1E-6D8F-4F6E-9A3E-0A8D4D6D2B11""#,
    r#""00000000-0000-0000-0000-000000000000""#,
    r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#,
    r#""0b0c4c1e6d8f4f6e9a3e0a8d4d6d2b11""#,
    r#""0b0c4c1e-6d8f-0f6e-1a3e-0a8d4d6d2b11""#,
    r#""0b0c4c1e-6d8f-9f6e-ca3e-0a8d4d6d2b11""#,
    r#""{0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11}""#,
    r#""0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b1g""#,
];

const DAYS: [&str; 9] = [
    r#""2026-02-29""#,
    r#""2028-02-29""#,
    r#""2100-02-29""#,
    r#""2026-04-31""#,
    r#""2026-3-1""#,
    r#""2026-12-31""#,
    r#""1999-12-31""#,
    r#""2101-01-01""#,
    r#""2026-00-10""#,
];

const INSTANTS: [&str; 9] = [
    r#""2026-02-29T09:00:00Z""#,
    r#""2028-02-29T09:00:00Z""#,
    r#""2026-03-01T24:00:00Z""#,
    r#""2026-03-01T09:00:60Z""#,
    r#""2026-03-01T09:00:00""#,
    r#""2026-03-01T09:00:00-00:00""#,
    r#""2026-03-01T09:00:00.0000000001Z""#,
    r#""1999-12-31T23:59:59Z""#,
    r#""2100-12-31T23:59:59.999999999-23:59""#,
];

/// What is of a format, and what is nearly.
const FORMS: [(&str, &[&str]); 4] = [
    ("uuid", &IDS),
    ("date", &DAYS),
    ("date-time", &INSTANTS),
    ("iana-time-zone", &ZONES),
];

/// Names of zones, and what is nearly one.
const ZONES: [&str; 27] = [
    r#""UTC""#,
    r#""utc""#,
    r#""Z""#,
    r#""GMT""#,
    r#""GMT0""#,
    r#""GMT+5""#,
    r#""Etc/GMT+5""#,
    r#""Etc/GMT-14""#,
    r#""Etc/GMT-15""#,
    r#""Etc/Unknown""#,
    r#""EST5EDT""#,
    r#""US/Pacific""#,
    r#""Asia/Calcutta""#,
    r#""Europe/Kyiv""#,
    r#""europe/BERLIN""#,
    r#""America/Argentina/Buenos_Aires""#,
    r#""Europe""#,
    r#""Europe/""#,
    r#""/Europe/Berlin""#,
    r#""posix/Europe/Berlin""#,
    r#""right/UTC""#,
    r#""Factory""#,
    r#""localtime""#,
    r#""posixrules""#,
    r#""etc/UNKNOWN""#,
    r#""+0100""#,
    r#""-01""#,
];

fn names(object: &Map<String, Value>) -> Option<Vec<String>> {
    let names: Vec<String> = object.keys().cloned().collect();
    (!names.is_empty()).then_some(names)
}

fn is(schema: &Value, kind: &str) -> bool {
    let kinds = schema["type"].as_array();
    schema["type"] == kind || kinds.is_some_and(|kinds| kinds.contains(&json!(kind)))
}

/// Every place of a body, as a JSON pointer, with its schema.
fn collect<'s>(
    schema: &'s Value,
    body: &Value,
    place: String,
    places: &mut Vec<(String, &'s Value)>,
) {
    match body {
        Value::Object(members) => {
            for (name, inner) in members {
                let schema = &schema["properties"][name];
                collect(schema, inner, format!("{place}/{name}"), places);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                collect(&schema["items"], inner, format!("{place}/{at}"), places);
            }
        }
        _ => {}
    }
    places.push((place, schema));
}
