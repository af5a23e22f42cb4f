//! The API's document, OpenAPI 3.1, made from the routes as the router has them.
//!
//! ```
//! use watertight::{door::Routes, openapi::{About, document}};
//!
//! let about = About { title: "Bookings", version: "1", description: "of studios" };
//! assert_eq!(document(&Routes::new(), &about)["openapi"], "3.1.0");
//! ```
//!
//! Nothing is written down twice: parameters, bodies and answers are what the handlers' types say, and a
//! handler cannot read or answer anything else. What no type says is here: which problems a route can
//! answer, and that whoever calls carries a token.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    argument::IdempotencyKey,
    describe::{Description, Schemas},
    door::{Declared, Routes, Way, What},
};

/// What the document says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The API's name.
    pub title: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is.
    pub description: &'static str,
}

/// An id for samples, where a test has one of its own.
const SAMPLE_ID: &str = "0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11";

/// The document of these routes. Pages are none of it: programs do not call them.
pub fn document(routes: &Routes, about: &About) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for route in programs(routes) {
        let path = paths
            .entry(template(route.path))
            .or_insert_with(|| json!({}));
        tags.insert(tag(route));
        path[route.method.as_str().to_lowercase()] = operation(route, &mut schemas);
    }
    let mut named = schemas.named();
    named.extend(problems());
    let tags: Vec<Value> = tags.iter().map(|tag| json!({ "name": tag })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": about.description,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "session": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": { "session": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "a session token of the identity provider",
            } },
            "responses": responses(),
            "schemas": named,
        },
    })
}

/// The routes that programs call.
fn programs(routes: &Routes) -> impl Iterator<Item = &Declared> {
    let declared = routes.declared().iter();
    let is_page = |path: &str| path.starts_with("/ui") || path.starts_with("/problems/");
    declared.filter(move |route| matches!(route.way, Way::Api | Way::Feed) && !is_page(route.path))
}

/// A path as the document writes it: it has no word for a parameter that takes the rest of the path, so
/// that clients escape its slashes, and the router takes either.
fn template(path: &str) -> String {
    path.replace("{*", "{")
}

fn tag(route: &Declared) -> &'static str {
    match route.what {
        What::Needs { resource, .. } => resource,
        What::Public { .. } => "public",
    }
}

fn operation(route: &Declared, schemas: &mut Schemas) -> Value {
    let posts = route.method == http::Method::POST;
    let is_public = matches!(route.what, What::Public { .. });
    let has_versions = !is_public && route.way == Way::Api;
    let mut description = Description::new(schemas);
    (route.describe)(&mut description);
    if let Some(guests) = route.told.guests {
        guests(&mut description);
    }
    if posts && !is_public {
        IdempotencyKey::describe(&mut description);
    }
    let statuses = refusals(route, &description);
    let mut answers: Map<String, Value> = description
        .answers
        .iter()
        .map(|(status, answer)| (status.to_string(), with_headers(answer, has_versions)))
        .collect();
    for status in statuses {
        let refused = json!({ "$ref": format!("#/components/responses/{status}") });
        answers.insert(status.to_string(), refused);
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.told.summary,
        "tags": [tag(route)],
        "parameters": description.parameters,
        "responses": answers,
    });
    if let Some(body) = description.body {
        let mut content = json!({ "schema": body.schema });
        if let Some(sample) = sample(route, |_| SAMPLE_ID.to_owned()) {
            content["example"] = sample;
        }
        operation["requestBody"] =
            json!({ "required": body.required, "content": { body.media: content } });
    }
    if route.way == Way::Feed {
        // Its address is the secret.
        operation["security"] = json!([]);
    }
    match route.what {
        What::Needs { action, .. } => operation["description"] = json!(format!("needs `{action}`")),
        What::Public { why } => {
            operation["security"] = json!([]);
            operation["summary"] = json!(why);
        }
    }
    operation
}

/// The method and the path's words: unique, since no route is declared twice.
fn operation_id(route: &Declared) -> String {
    let words = route.path.split(['/', '{', '*', '}']);
    let words = words.filter(|word| !word.is_empty() && *word != "v1");
    let method = route.method.as_str().to_lowercase();
    std::iter::once(method.as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
        .replace(['-', '.'], "_")
}

/// A route's sample body. `id_of` gives the id of a row of a collection, for `"{/v1/artists}"`.
pub fn sample(route: &Declared, mut id_of: impl FnMut(&str) -> String) -> Option<Value> {
    let mut sample: Value = serde_json::from_str(route.told.sample?).ok()?;
    fill(&mut sample, &mut id_of);
    Some(sample)
}

fn fill(value: &mut Value, id_of: &mut impl FnMut(&str) -> String) {
    match value {
        Value::String(text) => {
            let collection = text
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            if let Some(id) = collection.map(id_of) {
                *text = id;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, id_of)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, id_of)),
        _ => {}
    }
}

/// The statuses with which a route can refuse.
fn refusals(route: &Declared, description: &Description<'_>) -> BTreeSet<u16> {
    // 405 is the path's, and tools look for it here.
    let mut statuses = BTreeSet::from([405, 408, 413, 414, 415, 429, 431, 503]);
    if matches!(route.what, What::Public { .. }) {
        return statuses;
    }
    if route.way == Way::Feed {
        // Whoever may not read it any more is told that it is not there.
        statuses.extend([400, 404]);
        return statuses;
    }
    statuses.extend([400, 401, 403]);
    let has = |name: &str| {
        let mut parameters = description.parameters.iter();
        parameters.any(|parameter| parameter["name"] == name)
    };
    // A repetition is about the row that was made, whatever its path names.
    if route.path.contains('{') || has("Idempotency-Key") {
        statuses.insert(404);
    }
    if has("If-Match") {
        statuses.insert(412);
    }
    if description.body.is_some() || has("Idempotency-Key") {
        statuses.insert(422);
    }
    if route.method != http::Method::GET {
        statuses.insert(409);
    }
    statuses
}

/// An answer with the headers that every answer has, and an object's version.
fn with_headers(answer: &Value, has_versions: bool) -> Value {
    let mut answer = answer.clone();
    answer["headers"]["X-Request-Id"] = request_id();
    let limits = [
        (
            "RateLimit-Policy",
            "the limit that is nearest: its name, how much it is, after how many seconds it is whole",
        ),
        (
            "RateLimit",
            "how much of it is left, and after how many seconds of rest it is whole",
        ),
    ];
    for (name, about) in limits {
        answer["headers"][name] = json!({ "description": about, "schema": { "type": "string" } });
    }
    if has_versions && answer.get("content").is_some() {
        answer["headers"]["ETag"] = json!({
            "description": "the version of an object, for `If-Match`",
            "schema": { "type": "string", "pattern": "^\"v[1-9][0-9]{0,9}\"$" },
        });
    }
    answer
}

fn request_id() -> Value {
    json!({ "required": true, "schema": { "type": "string", "format": "uuid" } })
}

/// Status, what it means, and whether the problem names fields.
const REFUSALS: [(u16, &str); 16] = [
    (
        400,
        "malformed: the body, its fields, the query or a header",
    ),
    (
        401,
        "the token is missing, not valid, or its session has ended",
    ),
    (403, "it is there, but not for your role"),
    (
        404,
        "it is not there, or not for your eyes; nobody is told which",
    ),
    (
        405,
        "the path does not know this method; `Allow` says which it knows",
    ),
    (408, "the request took too long to arrive"),
    (409, "the state of things does not allow it"),
    (412, "`If-Match` names another version than the current one"),
    (413, "the body is too large"),
    (414, "the URI is too long"),
    (415, "the body is in a form that is not read"),
    (422, "well formed, but against a bound or a rule"),
    (
        429,
        "too many requests; `Retry-After` says when to come back",
    ),
    (431, "the headers are too large"),
    (500, "a defect of ours"),
    (
        503,
        "not available right now; `Retry-After` says when to come back",
    ),
];

fn responses() -> Map<String, Value> {
    let response = |(status, about): &(u16, &str)| {
        let schema = match status {
            400 | 422 => "#/components/schemas/ProblemWithErrors",
            403 => "#/components/schemas/NotAllowed",
            409 => "#/components/schemas/Conflict",
            _ => "#/components/schemas/Problem",
        };
        let mut response = json!({
            "description": about,
            "headers": { "X-Request-Id": request_id() },
            "content": { "application/problem+json": { "schema": { "$ref": schema } } },
        });
        match status {
            401 => {
                response["headers"]["WWW-Authenticate"] = json!({ "schema": { "type": "string" } })
            }
            405 => {
                response["headers"]["Allow"] =
                    json!({ "required": true, "schema": { "type": "string" } })
            }
            429 | 503 => {
                response["headers"]["Retry-After"] = json!({ "schema": { "type": "integer" } })
            }
            _ => {}
        }
        (status.to_string(), response)
    };
    REFUSALS.iter().map(response).collect()
}

/// The two sets of members that a problem has (RFC 9457), and what a conflict may say beside them.
fn problems() -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let members = json!({
        "type": { "type": "string", "pattern": "^/problems/[a-z-]+$" },
        "title": text,
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": text,
        "request_id": { "type": "string", "format": "uuid" },
    });
    let required = ["type", "title", "status", "detail", "request_id"];
    let problem = |members: &Value| {
        json!({
            "type": "object", "properties": members, "required": required,
            "additionalProperties": false,
        })
    };
    let mut with_errors = problem(&members);
    with_errors["properties"]["errors"] = json!({
        "type": "array",
        "maxItems": 100,
        "items": {
            "type": "object",
            "properties": {
                "pointer": { "type": "string", "description": "a JSON pointer into the body, or `?name`" },
                "code": text,
                "detail": text,
            },
            "required": ["pointer", "code", "detail"],
            "additionalProperties": false,
        },
    });
    with_errors["required"] = json!([required.as_slice(), &["errors"]].concat());
    let mut not_allowed = problem(&members);
    // By which Clerk's front end asks for a factor again, and tries once more.
    not_allowed["properties"]["clerk_error"] = json!({
        "type": "object",
        "properties": {
            "type": text,
            "reason": text,
            "metadata": {
                "type": "object",
                "properties": { "reverification": text },
                "required": ["reverification"],
                "additionalProperties": false,
            },
        },
        "required": ["type", "reason", "metadata"],
        "additionalProperties": false,
    });
    let mut conflict = problem(&members);
    conflict["additionalProperties"] = json!(true);
    [
        ("Problem", problem(&members)),
        ("ProblemWithErrors", with_errors),
        ("NotAllowed", not_allowed),
        ("Conflict", conflict),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}
