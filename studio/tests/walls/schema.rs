//! Checks a value against a schema of the API's document: the keywords that the document uses, and no
//! others. One that is not known here fails the test that meets it, so nothing is passed over.
//!
//! Own code, because the crate `jsonschema` depends on a package whose licence `deny.toml` does not allow.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock},
};

use regex::Regex;
use serde_json::Value;
use watertight_terms::{TextFault, check_prose};

/// What is wrong with a value, and where; `root` is the document that references point into.
pub(crate) fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else {
        return Err(format!("no schema: {schema}"));
    };
    for (keyword, asked) in keywords {
        if !holds(root, schema, (keyword, asked), value)? {
            return Err(format!("`{keyword}: {asked}` does not hold for {value}"));
        }
    }
    Ok(())
}

fn holds(
    root: &Value,
    schema: &Value,
    (keyword, asked): (&str, &Value),
    value: &Value,
) -> Result<bool, String> {
    let length = value.as_str().map(|text| text.chars().count() as u64);
    let items = value.as_array();
    let members = value.as_object();
    let bound = || asked.as_u64().unwrap();
    Ok(match keyword {
        "description" | "default" | "examples" | "title" => true,
        "type" => match asked {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
            kind => is_of(kind, value),
        },
        "enum" => asked.as_array().unwrap().contains(value),
        "const" => asked == value,
        "minimum" => value
            .as_i64()
            .is_none_or(|number| number >= asked.as_i64().unwrap()),
        "maximum" => value
            .as_i64()
            .is_none_or(|number| number <= asked.as_i64().unwrap()),
        "minLength" => length.is_none_or(|length| length >= bound()),
        "maxLength" => length.is_none_or(|length| length <= bound()),
        "minItems" => items.is_none_or(|items| items.len() as u64 >= bound()),
        "maxItems" => items.is_none_or(|items| items.len() as u64 <= bound()),
        "pattern" => value
            .as_str()
            .is_none_or(|text| matches(asked.as_str().unwrap(), text)),
        "format" => value
            .as_str()
            .is_none_or(|text| has_format(asked.as_str().unwrap(), text)),
        "items" => {
            for item in items.into_iter().flatten() {
                check(root, asked, item)?;
            }
            true
        }
        "properties" => {
            for (name, inner) in members.into_iter().flatten() {
                if let Some(schema) = asked.get(name) {
                    check(root, schema, inner).map_err(|why| format!("{name}: {why}"))?;
                }
            }
            true
        }
        "required" => {
            let names = asked.as_array().unwrap();
            members.is_none_or(|members| {
                names
                    .iter()
                    .all(|name| members.contains_key(name.as_str().unwrap()))
            })
        }
        "additionalProperties" => {
            let known = |name: &String| schema["properties"].get(name).is_some();
            *asked == true || members.is_none_or(|members| members.keys().all(known))
        }
        "anyOf" | "oneOf" => {
            let fit = asked
                .as_array()
                .unwrap()
                .iter()
                .filter(|form| check(root, form, value).is_ok());
            let fit = fit.count();
            fit == 1 || (keyword == "anyOf" && fit > 1)
        }
        "$ref" => {
            let place = asked.as_str().unwrap().trim_start_matches('#');
            let target = root
                .pointer(place)
                .ok_or_else(|| format!("`{place}` leads nowhere"))?;
            check(root, target, value)?;
            true
        }
        other => panic!("the document uses the keyword `{other}`, which is not known here"),
    })
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the document uses the type `{other}`, which is not known here"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    static MADE: OnceLock<Mutex<HashMap<String, Regex>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
    made.entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).unwrap())
        .is_match(text)
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "uuid" => uuid::Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text.to_lowercase()),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "nfc" => check_prose(text, usize::MAX) != Err(TextFault::NotNormal),
        "iana-time-zone" => watertight::argument::Zone::is_known(text),
        // Formats of numbers, which `is_of` has looked at.
        "int32" | "int64" | "uint32" => true,
        other => panic!("the document uses the format `{other}`, which is not known here"),
    }
}

#[test]
fn each_keyword_refuses_what_it_is_for() {
    use serde_json::json;
    let root = json!({ "named": { "type": "boolean" } });
    for (schema, good, bad) in [
        (json!({ "type": "integer" }), json!(1), json!(1.5)),
        (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
        (json!({ "enum": ["a"] }), json!("a"), json!("b")),
        (json!({ "const": 1 }), json!(1), json!(2)),
        (json!({ "minimum": 1 }), json!(1), json!(0)),
        (json!({ "maximum": 1 }), json!(1), json!(2)),
        (json!({ "minLength": 1 }), json!("\u{1f3ac}"), json!("")),
        (json!({ "maxLength": 1 }), json!("\u{1f3ac}"), json!("ab")),
        (json!({ "minItems": 1 }), json!([1]), json!([])),
        (json!({ "maxItems": 1 }), json!([1]), json!([1, 2])),
        (
            json!({ "pattern": "^[^\\u0000-\\u001f]*$" }),
            json!("a"),
            json!("a\u{1}"),
        ),
        (
            json!({ "format": "nfc" }),
            json!("\u{e9}"),
            json!("e\u{301}"),
        ),
        (
            json!({ "format": "uuid" }),
            json!("0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11"),
            json!("0b0c"),
        ),
        (
            json!({ "format": "date-time" }),
            json!("2026-03-01T09:00:00Z"),
            json!("2026-02-30T09:00:00Z"),
        ),
        (
            json!({ "format": "date" }),
            json!("2026-03-01"),
            json!("2026-02-30"),
        ),
        (
            json!({ "format": "iana-time-zone" }),
            json!("Europe/Berlin"),
            json!("Europe/Nowhere"),
        ),
        (
            json!({ "items": { "type": "string" } }),
            json!(["a"]),
            json!([1]),
        ),
        (
            json!({ "properties": { "a": { "type": "string" } } }),
            json!({ "a": "b" }),
            json!({ "a": 1 }),
        ),
        (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
        (
            json!({ "properties": { "a": {} }, "additionalProperties": false }),
            json!({ "a": 1 }),
            json!({ "b": 1 }),
        ),
        (
            json!({ "anyOf": [{ "type": "null" }, { "type": "string" }] }),
            json!("a"),
            json!(1),
        ),
        (
            json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 5 }] }),
            json!(1),
            json!(5),
        ),
        (json!({ "$ref": "#/named" }), json!(true), json!(1)),
    ] {
        assert_eq!(check(&root, &schema, &good), Ok(()), "{schema}");
        assert!(check(&root, &schema, &bad).is_err(), "{schema} takes {bad}");
    }
    let unknown =
        std::panic::catch_unwind(|| check(&json!({}), &json!({ "multipleOf": 2 }), &json!(3)));
    assert!(unknown.is_err());
}
