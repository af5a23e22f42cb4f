use std::net::SocketAddr;

use clap::Args;
use serde_json::json;
use watertight_terms::{Clock, Random};

use super::{Failure, Output, serve};
use crate::{
    app::App,
    config::Config,
    jobs::{Pace, work_until},
};

/// Do what is due, until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Work {
    /// Look for work so often
    #[arg(long, value_name = "MILLISECONDS", default_value_t = Pace::default().poll_ms, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    poll_ms: u64,
    /// What is claimed comes back after so long, when the worker that claimed it died
    #[arg(long, value_name = "SECONDS", default_value_t = Pace::default().lease_s, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    lease_s: u32,
    /// Serve metrics there; `[http] metrics_listen` is for `studio serve`, which may run beside it
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
}

impl Work {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let clock = Clock::system();
        let verifier = serve::verifier(&config, clock.clone())?;
        let app = App::new(config, verifier, clock, Random::system())
            .map_err(|error| Failure::setup(error.to_string()))?;
        serve::examine(&app, output).await?;
        let measuring = serve::measuring(&app, "work", self.metrics_listen, None).await?;
        output.result("working", &json!({ "working": true }));
        let pace = Pace {
            poll_ms: self.poll_ms,
            lease_s: self.lease_s,
        };
        let working = work_until(&app, pace, serve::stop());
        let heeded = app.tenancy.heed_until(measuring.proof(), working).await;
        measuring.abort();
        app.platform.end(&app.tenancy).await;
        heeded.map_err(|fault| Failure::setup(fault.to_string()))?;
        Ok(0)
    }
}
