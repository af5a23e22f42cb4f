use std::path::Path;

use clap::Args;
use serde_json::Value;
use watertight_terms::{Clock, KeyFile, Limits, Random, hmac_sha256};

use crate::commands::{Failure, Output};

/// Prints the SQL that enters a studio as somebody of that role. It signs a context as the server
/// would, with the demonstration's key: what an attacker has who runs SQL inside a transaction.
#[derive(Debug, Args)]
pub(super) struct Context {
    /// The studio's id
    #[arg(long)]
    tenant: String,
    /// The role
    #[arg(long, default_value = "owner")]
    role: String,
}

impl Context {
    pub(super) fn print(&self, folder: &Path, output: &Output) -> Result<u8, Failure> {
        let folder = folder.join("demo");
        let text = std::fs::read_to_string(folder.join("target.json"))
            .map_err(|error| Failure::setup(format!("no demonstration runs here: {error}")))?;
        let target: Value =
            serde_json::from_str(&text).map_err(|error| Failure::setup(error.to_string()))?;
        let keys = KeyFile::read(&folder.join("keys.toml"))
            .map_err(|error| Failure::setup(error.to_string()))?;
        let ring = keys
            .ring("context")
            .map_err(|error| Failure::setup(error.to_string()))?;
        let (id, key) = ring
            .current()
            .ok_or_else(|| Failure::setup("no current context key"))?;
        let [organization, subject, session] = self.person(&target);
        let now = Clock::system().now_s();
        let nonce = hex::encode(Random::system().bytes::<16>());
        let signed = format!(
            "v1|{id}|m|{organization}|{subject}|{session}|{}|{now}|{}|{nonce}",
            self.role,
            now + Limits::CONTEXT_LIFE_S
        );
        let mac = hex::encode(hmac_sha256(key, signed.as_bytes()));
        let sql = format!("SELECT tenancy.enter('{signed}|{mac}')");
        output.result(&sql, &serde_json::json!({ "sql": sql }));
        Ok(0)
    }

    /// Who has that role in that studio; nobody of nowhere for a studio that is not there, whom the
    /// database then refuses.
    fn person(&self, target: &Value) -> [String; 3] {
        let tenants = target.get("tenants").and_then(Value::as_object);
        let studio = tenants
            .into_iter()
            .flat_map(|tenants| tenants.values())
            .find(|studio| studio.get("db_id").and_then(Value::as_str) == Some(&self.tenant));
        let text = |pointer: String| {
            let value = studio
                .and_then(|studio| studio.pointer(&pointer))
                .and_then(Value::as_str);
            value.unwrap_or("nobody").to_owned()
        };
        [
            text("/org".to_owned()),
            text(format!("/users/{}/sub", self.role)),
            text(format!("/users/{}/sid", self.role)),
        ]
    }
}
