use serde_json::json;

use super::{Failure, Output};
use crate::{config::Config, jobs::Operators};

/// A configuration that was read is one that can be used; what it says is shown without secrets.
pub(super) fn run(config: &Config, output: &Output) -> Result<u8, Failure> {
    let operators =
        Operators::new(&config.alerts).map_err(|why| Failure::setup(format!("[alerts] {why}")))?;
    let ways = match operators.ways() {
        ways if ways.is_empty() => "nothing".to_owned(),
        ways => ways.join(" and "),
    };
    let text = format!(
        "good: listens on {}, trusts {}, keys in {}, tells operators by {ways}",
        config.http.listen,
        config.clerk.issuer,
        config.keys.location.display()
    );
    let value = json!({
        "verdict": "good",
        "listen": config.http.listen,
        "issuer": config.clerk.issuer,
        "keys": config.keys.location,
        "alerts": operators.ways(),
    });
    output.result(&text, &value);
    Ok(0)
}
