use serde_json::json;

use super::{Failure, Output};
use crate::config::Config;

/// A configuration that was read is one that can be used; what it says is shown without secrets.
pub(super) fn run(config: &Config, output: &Output) -> Result<u8, Failure> {
    let text = format!(
        "good: listens on {}, trusts {}, keys in {}",
        config.http.listen,
        config.clerk.issuer,
        config.keys.location.display()
    );
    let value = json!({
        "verdict": "good",
        "listen": config.http.listen,
        "issuer": config.clerk.issuer,
        "keys": config.keys.location,
    });
    output.result(&text, &value);
    Ok(0)
}
