//! What routes take and answer, said by the types of their handlers.
//!
//! ```
//! use watertight::{argument::{Argument, IfMatch}, describe::{Description, Schemas}};
//!
//! let mut schemas = Schemas::new();
//! let mut description = Description::new(&mut schemas);
//! IfMatch::describe(&mut description);
//! assert_eq!(description.parameters[0]["name"], "If-Match");
//! ```
//!
//! A bound stands in a type, once: the argument's reader checks it and the schema tells it.

use std::collections::BTreeMap;

use schemars::{
    JsonSchema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::{Map, Value, json};

/// Says what something takes or answers.
pub type Describe = for<'a> fn(&mut Description<'a>);

/// The schemas of all routes. What is taken stands where it is taken, since no two bodies are alike;
/// what is answered is named, since lists and objects share it.
pub struct Schemas {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

/// One route: its parameters, its body, and its answers by status.
pub struct Description<'a> {
    schemas: &'a mut Schemas,
    /// Parameters, as OpenAPI writes them.
    pub parameters: Vec<Value>,
    /// The body.
    pub body: Option<Body>,
    /// Successes by their status.
    pub answers: BTreeMap<u16, Value>,
}

/// A body that is taken.
pub struct Body {
    /// Its media type.
    pub media: &'static str,
    /// Its schema.
    pub schema: Value,
    /// Whether it must be there.
    pub required: bool,
}

impl Schemas {
    /// No schemas yet.
    pub fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
        };
        Self {
            taken: settings()
                .with(|settings| settings.inline_subschemas = true)
                .into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    /// The schemas that have a name.
    pub fn named(mut self) -> Map<String, Value> {
        let mut named = self.answered.take_definitions(true);
        named.values_mut().for_each(close);
        named
    }
}

impl Default for Schemas {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Description<'a> {
    /// Nothing said yet.
    pub fn new(schemas: &'a mut Schemas) -> Self {
        Self {
            schemas,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
        }
    }

    /// Takes a `T` as its body.
    pub fn takes_body<T: JsonSchema>(&mut self, required: bool) {
        self.body = Some(Body {
            media: "application/json",
            schema: self.taken::<T>(),
            required,
        });
    }

    /// Takes lines of text as its body, of columns that are known by their names.
    pub fn takes_lines(&mut self) {
        let schema = json!({
            "type": "string",
            "description": "RFC 4180, UTF-8; the first line names the columns",
        });
        self.body = Some(Body {
            media: "text/csv",
            schema,
            required: true,
        });
    }

    /// Takes the fields of a `T` as parameters of its query.
    pub fn takes_query<T: JsonSchema>(&mut self) {
        let schema = self.taken::<T>();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let required = required.contains(&json!(name));
            self.parameter("query", name, required, without_null(schema.clone()));
        }
    }

    /// Takes a parameter of its path.
    pub fn takes_path(&mut self, name: &str, schema: Value) {
        self.parameter("path", name, true, schema);
    }

    /// Takes a header.
    pub fn takes_header(&mut self, name: &str, about: &str, pattern: &str) {
        let schema = json!({ "type": "string", "pattern": pattern });
        self.parameter("header", name, false, schema);
        if let Some(parameter) = self.parameters.last_mut() {
            parameter["description"] = json!(about);
        }
    }

    fn parameter(&mut self, place: &str, name: &str, required: bool, schema: Value) {
        self.parameters
            .push(json!({ "name": name, "in": place, "required": required, "schema": schema }));
    }

    fn taken<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.schemas.taken).to_value()
    }

    /// Answers a `V`; what is answered in two forms is one or the other.
    pub fn answers_with<V: JsonSchema>(&mut self, status: u16, about: &str) {
        let mut schema = self.schemas.answered.subschema_for::<V>().to_value();
        close(&mut schema);
        if let Some(other) = self.answers.get(&status) {
            let other = &other["content"]["application/json"]["schema"];
            schema = json!({ "anyOf": [other, schema] });
        }
        let mut answer = json!({
            "description": about,
            "content": { "application/json": { "schema": schema } },
        });
        if status == 201 {
            answer["headers"]["Location"] =
                json!({ "required": true, "schema": { "type": "string" } });
        }
        self.answers.insert(status, answer);
    }

    /// Answers without a body.
    pub fn answers_nothing(&mut self, status: u16, about: &str) {
        self.answers.insert(status, json!({ "description": about }));
    }

    /// Answers bytes.
    pub fn answers_octets(&mut self) {
        let answer = json!({
            "description": "what was asked for",
            "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } },
        });
        self.answers.insert(200, answer);
    }

    /// Answers a text of that type.
    pub fn answers_lines(&mut self, media: &str, about: &str) {
        let answer = json!({
            "description": about,
            "content": { media: { "schema": { "type": "string" } } },
        });
        self.answers.insert(200, answer);
    }

    /// Answers server-sent events. The schema is that of one event, as OpenAPI 3.2 has it in `itemSchema`: 3.1 has no
    /// place of its own for it, and whoever reads its documents takes it from here.
    pub fn answers_events(&mut self, about: &str) {
        let event = json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "format": "uuid" },
                "event": { "type": "string", "maxLength": 64 },
                "data": { "type": "string", "contentMediaType": "application/json" },
                "retry": { "type": "integer", "minimum": 0, "maximum": 60_000 },
            },
            "required": ["id", "event", "data"],
            "additionalProperties": false,
        });
        let answer = json!({
            "description": about,
            "content": { "text/event-stream": { "schema": event } },
        });
        self.answers.insert(200, answer);
    }
}

/// Objects that we write have the fields that they are said to have, and no others.
fn close(schema: &mut Value) {
    fn close_one(schema: &mut schemars::Schema) {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
        transform_subschemas(&mut close_one, schema);
    }
    if let Ok(schema) = <&mut schemars::Schema>::try_from(schema) {
        close_one(schema);
    }
}

/// A parameter is there or it is not: it is never `null`.
fn without_null(mut schema: Value) -> Value {
    let is_null = |part: &Value| *part == json!("null") || *part == json!({ "type": "null" });
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|part| !is_null(part));
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema["type"] = only;
        }
    }
    if let Some(known) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        known.retain(|value| !value.is_null());
    }
    if let Some(forms) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        forms.retain(|form| !is_null(form));
        if let [only] = forms.as_slice() {
            return only.clone();
        }
    }
    schema
}
