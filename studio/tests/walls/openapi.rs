//! The API's document: derived, committed, one with what is validated and with what is answered.

use std::{cell::Cell, collections::BTreeMap, sync::OnceLock};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use studio::resources::{document, document_text, routes};
use watertight::{
    argument::Input,
    door::{Declared, Way, What},
    openapi::sample,
};

use crate::{
    schema::check,
    world::{Answered, World},
};

const ID: &str = "0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11";

#[test]
fn the_document_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, document_text()).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == document_text(),
        "the API is not what `docs/openapi.json` says; accept it with `cargo x accept` and read the difference"
    );
}

#[tokio::test]
async fn everybody_is_told_what_the_api_is() {
    let world = World::new().await;
    let response = world.http.get(format!("{}/openapi.json", world.base));
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), document_text());
}

#[tokio::test]
async fn every_route_says_what_it_does_and_shows_a_body_that_it_takes() {
    let world = World::new().await;
    let state = state(&world);
    for route in api() {
        let name = format!("{} {}", route.method, route.path);
        assert!(
            !route.told.summary.is_empty(),
            "{name}: say it with `.says`"
        );
        let operation = operation(&route);
        let body = &operation["requestBody"];
        let Some(example) = sample(&route, |_| ID.to_owned()) else {
            let why = "show a body with `.sample`";
            assert_ne!(body["required"], true, "{name}: {why}");
            continue;
        };
        let media = if example.is_string() {
            "text/csv"
        } else {
            "application/json"
        };
        let schema = &body["content"][media]["schema"];
        assert_eq!(body["content"][media]["example"], example);
        assert!(valid(schema, &example).is_ok(), "{name}: {example}");
        (route.read)(&with_body(&state, &example)).unwrap();
    }
}

/// What is not bounded in the document is not bounded where it is read: they are one.
// asvs: V2.1.1
#[test]
fn everything_that_is_taken_has_a_bound() {
    let mut seen = 0;
    for route in api() {
        let operation = operation(&route);
        let parameters = operation["parameters"].as_array().unwrap();
        let schemas = parameters
            .iter()
            .filter(|parameter| parameter["in"] != "header")
            .map(|parameter| &parameter["schema"])
            .chain([&operation["requestBody"]["content"]["application/json"]["schema"]]);
        for schema in schemas.filter(|schema| !schema.is_null()) {
            seen += bounded(&format!("{} {}", route.method, route.path), schema);
        }
    }
    assert!(seen > 40, "{seen}");
}

fn bounded(place: &str, schema: &Value) -> usize {
    let has = |names: &[&str]| names.iter().all(|name| schema.get(name).is_some());
    let fine = |is_fine: bool| assert!(is_fine, "{place} has no bound: {schema}");
    let is = |kind: &str| {
        schema["type"] == kind
            || schema["type"]
                .as_array()
                .is_some_and(|kinds| kinds.contains(&json!(kind)))
    };
    if is("string") {
        fine(has(&["maxLength", "pattern"]) || has(&["enum"]) || has(&["const"]));
    }
    if is("integer") || is("number") {
        fine(has(&["minimum", "maximum"]));
    }
    let mut seen = 1;
    if is("array") {
        fine(has(&["maxItems"]));
        seen += bounded(place, &schema["items"]);
    }
    if is("object") {
        fine(schema["additionalProperties"] == false);
        let properties = schema["properties"].as_object().into_iter().flatten();
        seen += properties
            .map(|(name, inner)| bounded(&format!("{place} {name}"), inner))
            .sum::<usize>();
    }
    for forms in ["anyOf", "oneOf"] {
        seen += schema[forms]
            .as_array()
            .into_iter()
            .flatten()
            .map(|form| bounded(place, form))
            .sum::<usize>();
    }
    seen
}

// asvs: V2.2.1 V15.3.5
#[tokio::test]
async fn a_body_is_taken_exactly_when_its_schema_says_so() {
    let world = World::new().await;
    let state = state(&world);
    let mut counts = BTreeMap::new();
    for route in api() {
        let operation = operation(&route);
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let name = format!("{} {}", route.method, route.path);
        let count: &Count = counts.entry(name.clone()).or_default();
        runner(400)
            .run(
                &(good(schema), any::<prop::sample::Index>(), 0..6_u8),
                |(body, at, how)| {
                    for body in [body.clone(), broken(body, at, how)] {
                        let said = valid(schema, &body).is_ok();
                        let taken = (route.read)(&with_body(&state, &body));
                        prop_assert_eq!(taken.is_ok(), said, "{} {} {:?}", name, body, taken.err());
                        count.note(said);
                    }
                    Ok(())
                },
            )
            .unwrap();
    }
    for (name, count) in &counts {
        assert!(count.is_both(20), "{name}: {count:?}");
    }
    assert!(counts.len() >= 5, "{counts:?}");
}

// asvs: V2.2.1
#[tokio::test]
async fn a_query_is_taken_exactly_when_its_schemas_say_so() {
    let world = World::new().await;
    let state = state(&world);
    let count = Count::default();
    for route in api() {
        let body = match operation(&route)["requestBody"]["content"].get("text/csv") {
            Some(_) => json!(""),
            None => Value::Null,
        };
        for parameter in operation(&route)["parameters"].as_array().unwrap() {
            if parameter["in"] != "query" {
                continue;
            }
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            runner(200)
                .run(
                    &prop_oneof![
                        good(schema),
                        words().prop_map(Value::from),
                        any::<i32>().prop_map(Value::from)
                    ],
                    |value| {
                        let word = value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned);
                        let said = valid(schema, &as_typed(&word, schema)).is_ok();
                        let mut input = with_body(&state, &body);
                        input.query = Some(format!("{name}={}", percent(&word)));
                        let taken = (route.read)(&input);
                        prop_assert_eq!(
                            taken.is_ok(),
                            said,
                            "{} {} {:?}",
                            route.path,
                            input.query.unwrap(),
                            taken.err()
                        );
                        count.note(said);
                        Ok(())
                    },
                )
                .unwrap();
        }
    }
    assert!(count.is_both(500), "{count:?}");
}

/// How often something was taken and refused: a generator that makes only one of them proves nothing.
#[derive(Debug, Default)]
struct Count {
    taken: Cell<u32>,
    refused: Cell<u32>,
}

impl Count {
    fn note(&self, taken: bool) {
        let place = if taken { &self.taken } else { &self.refused };
        place.set(place.get() + 1);
    }

    fn is_both(&self, often: u32) -> bool {
        self.taken.get() > often && self.refused.get() > often
    }
}

/// A word of a query as the value that it stands for.
fn as_typed(word: &str, schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer") => word.parse::<i64>().map_or(json!(word), Value::from),
        Some("boolean") => word.parse::<bool>().map_or(json!(word), Value::from),
        _ => json!(word),
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The same cases every time: a test that fails sometimes tells nothing.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

/// Texts with whatever could make a difference: space, control, combining and other characters.
fn words() -> impl Strategy<Value = String> {
    let characters = prop::sample::select(
        "aZ09-_/ \u{e9}\u{e4}\u{4e2d}\u{1f3ac}\n\t\u{0}\u{7f}\u{85}\u{a0}\u{feff}\u{2003}\u{2028}\u{3000}e\u{301}".chars().collect::<Vec<_>>(),
    );
    let text = |characters: Vec<char>| characters.into_iter().collect::<String>();
    prop_oneof![
        1 => prop::collection::vec(characters, 0..12).prop_map(text),
        3 => "[a-z0-9-]{1,12}",
    ]
}

/// Values of the schema's form; most of them valid.
pub(crate) fn good(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(known) = schema["enum"].as_array() {
        return prop::sample::select(known.clone()).boxed();
    }
    for forms in ["anyOf", "oneOf"] {
        if let Some(forms) = schema[forms].as_array() {
            return prop::strategy::Union::new(forms.iter().map(good)).boxed();
        }
    }
    if let Some(kinds) = schema["type"].as_array() {
        let of_kind = |kind: &Value| {
            let mut schema = schema.clone();
            schema["type"] = kind.clone();
            good(&schema)
        };
        return prop::strategy::Union::new(kinds.iter().map(of_kind)).boxed();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "string" => text(schema),
        "integer" => {
            let bound = |name: &str, other| schema[name].as_i64().unwrap_or(other);
            let (least, most) = (bound("minimum", -5), bound("maximum", 5));
            prop_oneof![
                Just(least),
                Just(most),
                least..=most,
                Just(least - 1),
                Just(most + 1)
            ]
            .prop_map(Value::from)
            .boxed()
        }
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "array" => {
            let most = schema["maxItems"].as_u64().unwrap() as usize;
            prop_oneof![
                9 => prop::collection::vec(good(&schema["items"]), 0..4.min(most)),
                1 => prop::collection::vec(good(&schema["items"]), most..most + 2),
            ]
            .prop_map(Value::from)
            .boxed()
        }
        "object" => object(schema),
        _ => Just(Value::Null).boxed(),
    }
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let texts = match schema["format"].as_str().unwrap_or_default() {
        "uuid" => prop_oneof![9 => Just(ID.to_owned()), 1 => Just(ID.to_uppercase()), 1 => Just(ID.replace('-', "")), 1 => Just(format!("urn:uuid:{ID}"))].boxed(),
        "date-time" => prop_oneof![
            9 => "20[0-9]{2}-0[1-9]-[0-2][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])",
            2 => "(1999|2000|2100|2101|9999|0000)-(12-31|01-01|02-29|02-30|13-01)T(00|23|24):(00|59|60):(00|59|60|61)(\\.|\\.[0-9]{9,10})?(Z|z|\\+00:00|-00:00|\\+23:59|-24:00|\\+25:59|\\+01|)",
        ].boxed(),
        "date" => prop_oneof![
            9 => "20[0-9]{2}-0[1-9]-[0-2][1-8]",
            2 => "20[0-9]{2}-[01][0-9]-[0-3][0-9]",
            2 => "[0-9]{4}-[0-9]{1,2}-[0-9]{2}T?",
        ].boxed(),
        "iana-time-zone" => prop::sample::select(vec!["Europe/Berlin", "UTC", "Europe/Nowhere", "america/new_york", "", "../etc", "Etc/GMT+5"]).prop_map(str::to_owned).boxed(),
        _ if schema["pattern"] == "^[A-Z]{3}$" => "[A-Z]{3}|[A-Za-z]{2,4}".boxed(),
        _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains('@')) => {
            prop_oneof!["[a-z]{1,5}@[a-z]{1,5}\\.[a-z]{2}", "[a\u{e9} .@\t]{0,3}@[a\u{e9}.@ \n]{0,6}"].boxed()
        }
        _ => words().boxed(),
    };
    let Some(longest) = schema["maxLength"].as_u64() else {
        return texts.prop_map(Value::from).boxed();
    };
    let (longest, filler) = (
        longest as usize,
        prop::sample::select(vec!["a", "\u{4e2d}"]),
    );
    let at_the_bound = (filler, longest.saturating_sub(1)..longest + 2)
        .prop_map(|(filler, length)| filler.repeat(length));
    prop_oneof![9 => texts, 1 => at_the_bound]
        .prop_map(Value::from)
        .boxed()
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // Of many fields few, or hardly any body would be wholly good.
    let count = schema["properties"].as_object().map_or(1, Map::len);
    let seldom = (1.5 / count as f64).min(0.3);
    let mut fields = Just(Map::new()).boxed();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let name = name.clone();
        let value = if required.contains(&name.as_str()) {
            good(inner).prop_map(Some).boxed()
        } else {
            prop::option::weighted(seldom, good(inner)).boxed()
        };
        fields = (fields, value)
            .prop_map(move |(mut fields, value)| {
                fields.extend(value.map(|value| (name.clone(), value)));
                fields
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

/// The same body with one thing wrong, or at least other.
fn broken(mut body: Value, at: prop::sample::Index, how: u8) -> Value {
    let Some(fields) = body.as_object_mut() else {
        return json!([]);
    };
    let names: Vec<String> = fields.keys().cloned().collect();
    if how == 0 || names.is_empty() {
        fields.insert("unknown".to_owned(), json!(1));
        return body;
    }
    let name = at.get(&names).clone();
    let other = match how {
        1 => json!(null),
        2 => json!(7.5),
        3 => json!({ "a": 1 }),
        4 => json!([[]]),
        _ => {
            fields.remove(&name);
            return body;
        }
    };
    fields.insert(name, other);
    body
}

fn api() -> Vec<Declared> {
    let routes = routes();
    let declared = routes.declared().iter();
    let is_api =
        |route: &&Declared| route.way == Way::Api && matches!(route.what, What::Needs { .. });
    declared.filter(is_api).cloned().collect()
}

fn operation(route: &Declared) -> Value {
    let method = route.method.as_str().to_lowercase();
    known()["paths"][route.path.replace("{*", "{")][method].clone()
}

fn with_body(state: &http::Extensions, body: &Value) -> Input {
    let (media, text) = match body {
        Value::String(lines) => ("text/csv", lines.clone()),
        body => ("application/json", body.to_string()),
    };
    Input {
        method: http::Method::POST,
        path: vec![("id".to_owned(), ID.to_owned())],
        query: None,
        headers: [(http::header::CONTENT_TYPE, media.parse().unwrap())]
            .into_iter()
            .collect(),
        body: text.into(),
        state: state.clone(),
    }
}

/// What handlers work with: nothing of it is asked while arguments are read.
fn state(world: &World) -> http::Extensions {
    let mut state = http::Extensions::new();
    state.insert(world.app.desk.clone());
    state
}

fn known() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(document)
}

pub(crate) fn valid(schema: &Value, value: &Value) -> Result<(), String> {
    check(known(), schema, value)
}

/// Fails when an answer is not what the document says of that request.
pub(crate) fn conforms(method: &str, path: &str, answered: &Answered) {
    if let Err(why) = conformity(method, path, answered) {
        panic!("{method} {path}: {why}\n{answered:?}");
    }
}

fn conformity(method: &str, path: &str, answered: &Answered) -> Result<(), String> {
    let media = answered.header("content-type").map(str::to_owned);
    answered.header("x-request-id").ok_or("no `X-Request-Id`")?;
    let path = path.split('?').next().unwrap_or_default();
    let templates = known()["paths"].as_object().unwrap();
    let template = templates.keys().find(|template| is_of(template, path));
    let operation = template.map(|template| &known()["paths"][template][method.to_lowercase()]);
    let is_known = |operation: &&Value| !operation.is_null();
    let mut response = match (operation.filter(is_known), template, answered.status) {
        (Some(operation), _, status) => &operation["responses"][status.to_string()],
        (None, Some(_), status @ 405) | (None, None, status @ (404 | 405)) => {
            &known()["components"]["responses"][status.to_string()]
        }
        (None, _, status) => {
            return Err(format!("{status} of what the document does not know"));
        }
    };
    if let Some(reference) = response["$ref"].as_str() {
        response = known().pointer(reference.trim_start_matches('#')).unwrap();
    }
    if response.is_null() {
        return Err(format!(
            "the document does not know the status {}",
            answered.status
        ));
    }
    let headers = response["headers"].as_object().into_iter().flatten();
    for (name, _) in headers.filter(|(_, header)| header["required"] == true) {
        answered
            .header(name)
            .ok_or_else(|| format!("no `{name}`"))?;
    }
    match (&response["content"], media) {
        (Value::Null, None) => Ok(()),
        // A text is only said to be one.
        (Value::Object(content), Some(media))
            if (media.starts_with("text/") || media == "application/octet-stream")
                && content.contains_key(media.split(';').next().unwrap_or_default()) =>
        {
            Ok(())
        }
        (Value::Object(content), Some(media)) => {
            let said = content
                .get(&media)
                .ok_or_else(|| format!("the document does not know `{media}`"))?;
            valid(&said["schema"], &answered.body)
        }
        (_, media) => Err(format!("a body of `{media:?}` where another is said")),
    }
}

fn is_of(template: &str, path: &str) -> bool {
    let (words, given): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    // What `{tile}` stands for has slashes of its own.
    let has_rest = template.ends_with("{tile}") && given.len() >= words.len();
    (words.len() == given.len() || has_rest)
        && words
            .iter()
            .zip(given)
            .all(|(word, given)| word.starts_with('{') || *word == given)
}

/// Every path says which methods it knows, to whoever asks with another one.
// asvs: V4.1.4
#[tokio::test]
async fn an_unknown_method_is_told_the_known_ones() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    for (path, methods) in known()["paths"].as_object().unwrap() {
        let path = path.replace("{id}", ID).replace("{tile}", "0%2F000");
        let answered = world.ask("PUT", &path, &token, &[], None).await;
        assert_eq!(answered.status, 405, "{path}");
        let allowed = answered.header("allow").unwrap();
        let mut allowed: Vec<_> = allowed.split(',').map(str::to_lowercase).collect();
        allowed.retain(|method| method != "head");
        allowed.sort();
        let mut said: Vec<_> = methods.as_object().unwrap().keys().cloned().collect();
        said.sort();
        assert_eq!(allowed, said, "{path}");
    }
}

/// There is one form, so nobody can ask for another: no 406.
#[tokio::test]
async fn whatever_is_acceptable_json_is_answered() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    for accept in ["text/html", "application/json;q=0", "image/*", "nonsense"] {
        let headers = [("accept", accept)];
        let answered = world.ask("GET", "/v1/artists", &token, &headers, None);
        let answered = answered.await;
        assert_eq!(answered.status, 200, "{accept}");
        assert_eq!(answered.header("content-type"), Some("application/json"));
    }
}

// asvs: V15.3.1
#[tokio::test]
async fn an_answer_that_is_not_as_said_is_noticed() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let listed = || world.ask("GET", "/v1/artists", &token, &[], None);
    let mut with_more = listed().await;
    with_more.body["items"][0]["tenant_id"] = json!(ID);
    assert!(conformity("GET", "/v1/artists", &with_more).is_err());
    let mut with_less = listed().await;
    with_less
        .body
        .as_object_mut()
        .unwrap()
        .remove("next_cursor");
    assert!(conformity("GET", "/v1/artists", &with_less).is_err());
    let mut other = listed().await;
    other.status = 500;
    assert!(conformity("GET", "/v1/artists", &other).is_err());
    let mut nameless = listed().await;
    nameless.headers.remove("x-request-id");
    assert!(conformity("GET", "/v1/artists", &nameless).is_err());
    assert!(conformity("GET", "/v1/nowhere", &listed().await).is_err());
}
