//! For how many days a studio keeps what is over, by the names of the rules.
//!
//! ```text
//! PATCH /v1/studio {"retention": {"bookings": 730, "people": null}}
//! ```
//!
//! A rule that is absent stays as it was, null is what the product says, and `"retention": null` is that
//! for all of them. What is answered is for how many days each is kept now.

use std::{borrow::Cow, collections::BTreeMap};

use garde::Validate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};
use watertight_custody::Rule;

use crate::jobs::retention::{days, decidable};

/// What a studio says of its days.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Said(BTreeMap<Name, Option<u32>>);

/// The name of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(&'static str);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let mut rules = decidable().into_iter();
        let known = rules.find(|rule| rule.name == text);
        known
            .map(|rule| Self(rule.name))
            .ok_or_else(|| D::Error::unknown_field(&text, &[]))
    }
}

impl Validate for Said {
    type Context = ();

    fn validate_into(
        &self,
        (): &(),
        parent: &mut dyn FnMut() -> garde::Path,
        report: &mut garde::Report,
    ) {
        for rule in decidable() {
            let said = self.0.get(&Name(rule.name)).copied().flatten();
            let bounds = rule.days.least..=rule.days.most;
            if said.is_some_and(|days| !bounds.contains(&days)) {
                let (least, most) = (rule.days.least, rule.days.most);
                let detail = format!("is not from {least} to {most}");
                report.append(parent().join(rule.name), garde::Error::new(detail));
            }
        }
    }
}

impl Said {
    /// What is decided once this was said.
    pub(super) fn after(self, mut before: Map<String, Value>) -> Map<String, Value> {
        for (Name(name), days) in self.0 {
            match days {
                Some(days) => before.insert(name.to_owned(), days.into()),
                None => before.remove(name),
            };
        }
        before
    }
}

/// For how many days a studio that decided this keeps each.
pub(super) fn kept(decided: &Map<String, Value>) -> BTreeMap<&'static str, u32> {
    let rules = decidable().into_iter();
    rules
        .map(|rule| (rule.name, days(decided, &rule)))
        .collect()
}

impl JsonSchema for Said {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Retention".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "properties": properties(&["integer", "null"]), "additionalProperties": false })
    }
}

/// The answered form.
pub(super) fn answered(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = decidable().iter().map(|rule| rule.name).collect();
    json_schema!({ "type": "object", "properties": properties(&["integer"]), "required": names })
}

fn properties(types: &[&str]) -> Value {
    let property = |rule: Rule| {
        let schema = serde_json::json!({
            "type": types, "format": "uint32", "minimum": rule.days.least, "maximum": rule.days.most,
            "description": format!("Days from {}; {} where nothing is decided.", rule.since, rule.days.usual),
        });
        (rule.name.to_owned(), schema)
    };
    decidable().into_iter().map(property).collect()
}
