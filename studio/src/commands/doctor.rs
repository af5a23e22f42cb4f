use serde_json::json;
use watertight_tenancy::{Finding, Severity};
use watertight_terms::{Clock, Random};

use super::{Failure, Output};
use crate::{app, config::Config};

/// Examines the database: 0 when nothing refuses, 1 when something does.
pub(super) async fn run(config: &Config, output: &Output) -> Result<u8, Failure> {
    output.progress("examining roles, tables, policies, keys and the server's version");
    let findings = app::findings(config, &Clock::system(), &Random::system())
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    let refuses = findings
        .iter()
        .any(|finding| finding.severity == Severity::Refuses);
    output.result(&text(&findings), &value(&findings, refuses));
    Ok(u8::from(refuses))
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "healthy: nothing to mend".to_owned();
    }
    let lines = findings.iter().map(|finding| {
        let mark = match finding.severity {
            Severity::Refuses => "refuses to start",
            Severity::Gap => "accepted gap",
        };
        format!(
            "{mark}  {}: {}\n    {}",
            finding.check, finding.what, finding.fix
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn value(findings: &[Finding], refuses: bool) -> serde_json::Value {
    let listed = findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "severity": match finding.severity { Severity::Refuses => "refuses", Severity::Gap => "gap" },
            "what": finding.what,
            "fix": finding.fix,
        })
    });
    json!({
        "verdict": if refuses { "refuses" } else { "healthy" },
        "findings": listed.collect::<Vec<_>>(),
    })
}
