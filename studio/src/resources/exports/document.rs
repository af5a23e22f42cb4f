//! The files of an export: JSON, and of a person a page that is read without any program of ours.

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use serde_json::{Map, Value, json};
use watertight_terms::Fault;

use super::{Export, Kind};
use crate::resources::{self, Class};

/// The form's name.
const FORMAT: &str = "studio.watertight/export/1";

/// A part has about so many bytes; the vault seals up to a mebibyte.
const PART_BYTES: usize = 512 << 10;

/// The files, as far as they are written and not kept.
pub(super) struct Document {
    json: File,
    html: Option<File>,
    is_first: bool,
}

struct File {
    name: &'static str,
    text: String,
    n: i32,
}

/// A part of a file.
pub(super) struct Part {
    pub(super) file: &'static str,
    pub(super) n: i32,
    pub(super) text: String,
}

impl Document {
    pub(super) fn new(
        export: &Export,
        (studio, _): (&str, &str),
        at: Timestamp,
        checkpoint: Option<String>,
    ) -> Self {
        let head = json!({
            "format": FORMAT, "kind": export.kind, "ref": export.about, "made_at": at, "checkpoint": checkpoint,
            "studio": { "id": export.tenant, "name": studio },
        });
        let mut json = head.to_string();
        // The rest of the object follows.
        json.truncate(json.len() - 1);
        json += ",\n\"tables\":{";
        let html =
            (export.kind == Kind::Person).then(|| File::new("html", head_of_page(studio, at)));
        Self {
            json: File::new("json", json),
            html,
            is_first: true,
        }
    }

    pub(super) fn begin_table(&mut self, table: &str) {
        if !self.json.text.ends_with("{") {
            self.json.text.push(',');
        }
        self.json.text += &format!("\n{}:[", json!(table));
        self.is_first = true;
        if let Some(html) = &mut self.html {
            let name = table.rsplit('.').next().unwrap_or(table);
            let heading = html! { h2 { (name.replace('_', " ")) } };
            html.text += &heading.into_string();
        }
    }

    /// A row of the table that was begun.
    ///
    /// # Errors
    /// When it cannot be written: a defect of ours.
    pub(super) fn row(&mut self, row: &Map<String, Value>) -> Result<(), Fault> {
        self.item(&serde_json::to_string(row).map_err(unwritable)?);
        if let Some(html) = &mut self.html {
            html.text += &shown(row);
        }
        Ok(())
    }

    pub(super) fn end_table(&mut self) {
        self.json.text.push(']');
    }

    pub(super) fn begin_entries(&mut self) {
        self.json.text += "},\n\"entries\":[";
        self.is_first = true;
        if let Some(html) = &mut self.html {
            html.text += "<h2>what was done</h2>";
        }
    }

    /// An entry of the ledger.
    ///
    /// # Errors
    /// When it cannot be written: a defect of ours.
    pub(super) fn entry(&mut self, entry: &Value) -> Result<(), Fault> {
        self.item(&serde_json::to_string(entry).map_err(unwritable)?);
        if let Some(html) = &mut self.html {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let line = html! { p { (text("time")) " " (text("action")) " " (text("outcome")) " " (text("address")) } };
            html.text += &line.into_string();
        }
        Ok(())
    }

    pub(super) fn end(&mut self) {
        self.json.text += "]}\n";
        if let Some(html) = &mut self.html {
            html.text += "</body></html>\n";
        }
    }

    fn item(&mut self, text: &str) {
        self.json.text += if self.is_first { "\n" } else { ",\n" };
        self.json.text += text;
        self.is_first = false;
    }

    /// How many parts of the JSON were taken.
    pub(super) fn json_parts(&self) -> i32 {
        self.json.n
    }

    /// Whether there is a part to take.
    pub(super) fn has_full_part(&self) -> bool {
        let mut files = std::iter::once(&self.json).chain(&self.html);
        files.any(|file| file.text.len() >= PART_BYTES)
    }

    /// Takes the parts that are full; at the end, what is left.
    pub(super) fn parts(&mut self, is_end: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        for file in std::iter::once(&mut self.json).chain(&mut self.html) {
            while file.text.len() >= PART_BYTES || is_end && !file.text.is_empty() {
                parts.push(file.take());
            }
        }
        parts
    }
}

impl File {
    fn new(name: &'static str, text: String) -> Self {
        Self { name, text, n: 0 }
    }

    fn take(&mut self) -> Part {
        let until = self.text.floor_char_boundary(PART_BYTES);
        let rest = self.text.split_off(until.min(self.text.len()));
        let n = self.n;
        self.n += 1;
        Part {
            file: self.name,
            n,
            text: std::mem::replace(&mut self.text, rest),
        }
    }
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::bug(format!("writing an export: {error}"))
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse;margin:0 0 1.5rem}th,td{text-align:left;vertical-align:top;padding:.1rem 1rem .1rem 0}\
    th{font-weight:600}";

/// Everything up to the first table; the end is added by [`Document::end`].
fn head_of_page(studio: &str, at: Timestamp) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "What " (studio) " has about you" }
                style { (STYLE) }
            }
            body {
                h1 { "What " (studio) " has about you" }
                p { "As of " (at) ". What is empty is left out." }
            }
        }
    };
    let page = page.into_string();
    page.trim_end_matches("</body></html>").to_owned()
}

/// A row for people: what it says, by its columns.
fn shown(row: &Map<String, Value>) -> String {
    let said = row.iter().filter_map(|(name, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(items) if items.is_empty() => return None,
            other => other.to_string(),
        };
        (!text.is_empty() && name != "tenant_id").then(|| (name.replace('_', " "), text))
    });
    html! {
        table {
            @for (name, text) in said {
                tr { th { (name) } td { (text) } }
            }
        }
    }
    .into_string()
}

/// The schema of the JSON, made from the register of columns: `docs/formats/export.schema.json`.
pub fn schema() -> Value {
    let tables = resources::tables().filter(|table| {
        let of_studio = table.columns.iter().any(|(name, _)| *name == "tenant_id");
        // Keys are never given out, and of the ledger there are the entries.
        of_studio
            && !["vault", "ledger", "jobs"]
                .iter()
                .any(|schema| table.table.starts_with(schema))
    });
    let tables: Map<String, Value> = tables
        .map(|table| {
            (
                table.table.to_owned(),
                json!({ "type": "array", "items": row_schema(table.columns) }),
            )
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An export of Production Tool",
        "description": "Rows as the database has them: times ISO 8601 in UTC, money in minor units, ranges as PostgreSQL writes them.",
        "type": "object",
        "additionalProperties": false,
        "required": ["format", "kind", "ref", "made_at", "checkpoint", "studio", "tables", "entries"],
        "properties": {
            "format": { "const": FORMAT },
            "kind": { "enum": ["studio", "person", "ledger"] },
            "ref": { "type": ["string", "null"], "format": "uuid", "description": "Of a person: whom it was asked for." },
            "made_at": { "type": "string", "format": "date-time" },
            "checkpoint": { "type": ["string", "null"], "description": "The newest signed checkpoint of the ledger, a C2SP note." },
            "studio": {
                "type": "object", "additionalProperties": false, "required": ["id", "name"],
                "properties": { "id": { "type": "string", "format": "uuid" }, "name": { "type": "string" } },
            },
            "tables": { "type": "object", "additionalProperties": false, "properties": tables },
            "entries": {
                "type": "array",
                "description": "Entries of the ledger as `/v1/audit` answers them: all of a ledger, of a person what they did, not what others did acting as them. `leaf` is what was hashed.",
                "items": { "type": "object", "required": ["seq", "time", "actor", "action", "leaf"] },
            },
        },
    })
}

/// What is sealed may be absent: by what addresses are found, and of what has no person.
fn row_schema(columns: &[(&str, Class)]) -> Value {
    let given = columns.iter().filter(|(_, class)| *class != Class::Secret);
    let properties: Map<String, Value> = given
        .map(|(name, class)| {
            let schema = match class {
                Class::Personal => json!({ "type": ["string", "null"], "description": "personal" }),
                _ => json!(true),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    let required = columns.iter().filter(|(_, class)| !class.is_sealed());
    let required: Vec<&str> = required.map(|(name, _)| *name).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}
