use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use cedar_policy::{PolicySet, RequestEnv, Schema, SchemaFragment};
use serde_json::{Value, json};

use crate::ProofFault;

/// The product's policies, as its files have them or with something changed.
#[derive(Clone)]
pub struct Policies {
    schema: Schema,
    schema_text: String,
    files: Vec<(String, String)>,
    set: PolicySet,
}

impl Policies {
    /// Reads the schemas and the `policy.cedar` of every resource that has one. The folders are
    /// listed, so that a new resource is part of every proof from its first policy on.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn read() -> Result<Self, ProofFault> {
        let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/resources");
        let mut schema = vec![text_of(&resources.join("schema.cedarschema"))?];
        let mut files = Vec::new();
        for folder in folders_of(&resources)? {
            let path = folder.join("policy.cedar");
            if path.exists() {
                let noun = folder.file_name().unwrap_or_default().to_string_lossy();
                files.push((format!("{noun}/policy.cedar"), text_of(&path)?));
                schema.push(text_of(&folder.join("schema.cedarschema"))?);
            }
        }
        Self::parse(schema.join("\n"), files)
    }

    /// These policies with every occurrence of `old` in their text replaced: a broken twin.
    ///
    /// # Errors
    /// When `old` does not occur, for then the twin would be whole; or when the result is no
    /// policy.
    pub fn twin(&self, old: &str, new: &str) -> Result<Self, ProofFault> {
        let mut files = self.files.clone();
        if !files.iter().any(|(_, text)| text.contains(old)) {
            return Err(unreadable(format!("no policy says `{old}`")));
        }
        for (_, text) in &mut files {
            *text = text.replace(old, new);
        }
        Self::parse(self.schema_text.clone(), files)
    }

    /// These policies as they are for members of that role: `principal.role` is the word itself.
    ///
    /// # Errors
    /// When Cedar does not read its own form back.
    pub fn with_role(&self, role: &str) -> Result<PolicySet, ProofFault> {
        let mut policies = self.set.clone().to_json().map_err(unreadable)?;
        put_role(&mut policies, role);
        PolicySet::from_json_value(policies).map_err(unreadable)
    }

    /// The policies themselves.
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The attributes of a kind of row, each with its type in the schema: `("artist", "Artist")`.
    ///
    /// # Errors
    /// When Cedar does not give its schema as JSON.
    pub fn attributes(&self, kind: &str) -> Result<Vec<(String, String)>, ProofFault> {
        let (fragment, _) =
            SchemaFragment::from_cedarschema_str(&self.schema_text).map_err(unreadable)?;
        let schema = fragment.to_json_value().map_err(unreadable)?;
        let attributes = ["", "entityTypes", kind, "shape", "attributes"]
            .iter()
            .try_fold(&schema, |value, member| value.get(member))
            .and_then(Value::as_object);
        let named = |(name, kind): (&String, &Value)| {
            let kind = kind["name"].as_str().or(kind["type"].as_str());
            (name.clone(), kind.unwrap_or_default().to_owned())
        };
        Ok(attributes.into_iter().flatten().map(named).collect())
    }

    /// Whether a row of that kind says whose artist it is about: such rows can be a freelancer's own.
    ///
    /// # Errors
    /// As [`attributes`](Self::attributes).
    pub fn names_an_artist(&self, kind: &str) -> Result<bool, ProofFault> {
        let attributes = self.attributes(kind)?;
        Ok(attributes.iter().any(|(name, _)| name == "artist"))
    }

    /// What they are written against.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The schema's text.
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// The files by name and text, as the product hands them to its authority.
    pub fn files(&self) -> Vec<(&str, &str)> {
        let files = self.files.iter();
        files
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect()
    }

    /// Every kind of request: of which principal, which action, on which resource, in order.
    pub fn requests(&self) -> Vec<RequestEnv> {
        let mut requests: Vec<RequestEnv> = self.schema.request_envs().collect();
        requests.sort_by_key(|request| {
            let (principal, resource) = (request.principal(), request.resource());
            format!("{} {principal} {resource}", request.action())
        });
        requests
    }

    fn parse(schema_text: String, files: Vec<(String, String)>) -> Result<Self, ProofFault> {
        let (schema, _) = Schema::from_cedarschema_str(&schema_text).map_err(unreadable)?;
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        let set = PolicySet::from_str(&texts.join("\n")).map_err(unreadable)?;
        Ok(Self {
            schema,
            schema_text,
            files,
            set,
        })
    }
}

fn folders_of(path: &Path) -> Result<Vec<PathBuf>, ProofFault> {
    let entries = std::fs::read_dir(path).map_err(unreadable)?;
    let paths: Result<Vec<_>, _> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut folders = paths.map_err(unreadable)?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

fn text_of(path: &Path) -> Result<String, ProofFault> {
    std::fs::read_to_string(path).map_err(|e| unreadable(format!("{}: {e}", path.display())))
}

fn put_role(value: &mut Value, role: &str) {
    if *value == json!({".": {"left": {"Var": "principal"}, "attr": "role"}}) {
        *value = json!({"Value": role});
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| put_role(value, role)),
        Value::Object(members) => members.values_mut().for_each(|value| put_role(value, role)),
        _ => {}
    }
}

pub(crate) fn unreadable(why: impl ToString) -> ProofFault {
    ProofFault::Unreadable(why.to_string())
}
