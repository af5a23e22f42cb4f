use clap::Args;
use serde_json::json;
use watertight_terms::{Clock, Random};

use super::{Failure, Output, serve::verifier};
use crate::{
    app::App,
    config::Config,
    people::{Comparison, Step},
};

/// Compare the members of every studio with those that Clerk has, and mend what differs. Webhooks may
/// never come; `serve` does the same when it starts and every hour.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Say what differs, and change nothing
    #[arg(long)]
    plan: bool,
}

impl Reconcile {
    /// 0 when all is mended or nothing differs; 1 when something differs and is only planned, or could
    /// not be compared or mended.
    pub(super) async fn run(&self, config: Config, output: &Output) -> Result<u8, Failure> {
        let clock = Clock::system();
        let verifier = verifier(&config, clock.clone())?;
        let app = App::new(config, verifier, clock, Random::system())
            .map_err(|error| Failure::setup(error.to_string()))?;
        let people = &app.desk.people;
        output.progress("comparing members with clerk's");
        let mut comparison = people
            .compare(None)
            .await
            .map_err(|error| Failure::setup(error.to_string()))?;
        if !self.plan {
            people
                .mend(&mut comparison)
                .await
                .map_err(|error| Failure::setup(error.to_string()))?;
        }
        output.result(&self.text(&comparison), &self.value(&comparison));
        let is_open = self.plan && !comparison.steps.is_empty();
        Ok(u8::from(is_open || !comparison.failures.is_empty()))
    }

    fn text(&self, comparison: &Comparison) -> String {
        let steps = comparison.steps.iter().map(Step::to_string);
        let failures = comparison.failures.iter();
        let failures = failures.map(|(organization, why)| format!("failed: {organization}: {why}"));
        let verb = if self.plan { "differ" } else { "differed" };
        let (studios, count) = (comparison.studios, comparison.steps.len());
        let last = format!("{studios} studios compared, {count} things {verb}");
        let lines: Vec<String> = steps.chain(failures).chain([last]).collect();
        lines.join("\n")
    }

    fn value(&self, comparison: &Comparison) -> serde_json::Value {
        let failures = comparison.failures.iter();
        let failures: Vec<_> = failures
            .map(|(organization, why)| json!({ "organization": organization, "why": why }))
            .collect();
        json!({
            "plan": self.plan,
            "studios": comparison.studios,
            "steps": comparison.steps.iter().map(Step::to_json).collect::<Vec<_>>(),
            "failures": failures,
        })
    }
}
