//! Evidence: asked for here, made by the server as the studio's service, and opened by the studio's owner alone.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use watertight_tenancy::{Call, Operator, ToSql};

use super::{Failure, Output, Which, expect_prose, meaning, refused};

#[derive(Debug, Args)]
pub(in super::super) struct Ask {
    #[command(flatten)]
    which: Which,
    /// The beginning of the window that it is about
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Its end; now, unless said
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// So long it is waited for
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    wait_s: u32,
}

#[derive(Debug, Args)]
pub(in super::super) struct HandOver {
    #[command(flatten)]
    which: Which,
    /// The bundle, as `evidence` and `status` name it
    #[arg(long, value_name = "ID")]
    bundle: Uuid,
    /// Who has it now
    #[arg(long, value_name = "WHOM")]
    to: String,
}

const ASK: Call = Call::new("SELECT incident.ask_evidence($1, $2, $3, $4) AS bundle");
const HAND_OVER: Call = Call::new("SELECT incident.hand_over($1, $2, $3, $4) AS sha256");

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What of an incident is waited for.
#[derive(Debug, Deserialize)]
struct Known {
    evidence: Vec<Bundle>,
}

#[derive(Debug, Deserialize)]
struct Bundle {
    id: Uuid,
    name: Option<String>,
    bytes: Option<u64>,
    sha256: Option<String>,
    failed: Option<String>,
}

impl Ask {
    pub(super) async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let began = Instant::now();
        let Which { studio, incident } = &self.which;
        let parameters: [&(dyn ToSql + Sync); 4] = [studio, incident, &self.from, &self.to];
        let row = operator.call(ASK, &parameters, meaning).await;
        let id: Uuid = row.and_then(|row| row.field("bundle")).map_err(refused)?;
        output.progress(&format!(
            "bundle {id} is asked for; a server that works makes it"
        ));
        loop {
            let known: Known = self.which.known(operator).await?;
            let bundle = known.evidence.into_iter().find(|one| one.id == id);
            if let Some(done) = bundle.and_then(|bundle| bundle.done(output)) {
                return done;
            }
            if began.elapsed() > Duration::from_secs(self.wait_s.into()) {
                let why = "it is not made yet; is a server at work? See `studio incident status`";
                return Err(Failure::refused(format!("bundle {id}: {why}")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Bundle {
    /// What came of it, if it is over.
    fn done(self, output: &Output) -> Option<Result<u8, Failure>> {
        if let Some(why) = self.failed {
            return Some(Err(Failure::refused(format!(
                "it could not be made: {why}"
            ))));
        }
        let (id, name, sha256) = (self.id, self.name?, self.sha256?);
        let bytes = self.bytes.unwrap_or_default();
        output.result(
            &format!("bundle {id}: {name}, {bytes} bytes, SHA-256 {sha256}\ngive it to the studio's owner, and say so with `studio incident hand-over`"),
            &json!({ "bundle": id, "name": name, "bytes": bytes, "sha256": sha256 }),
        );
        Some(Ok(0))
    }
}

impl HandOver {
    pub(super) async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        expect_prose("--to", &self.to)?;
        let Which { studio, incident } = &self.which;
        let parameters: [&(dyn ToSql + Sync); 4] = [studio, incident, &self.bundle, &self.to];
        let row = operator.call(HAND_OVER, &parameters, meaning).await;
        let sha256: String = row.and_then(|row| row.field("sha256")).map_err(refused)?;
        let text = format!("noted: `{}` has the file with SHA-256 {sha256}", self.to);
        output.result(
            &text,
            &json!({ "handed_over": self.bundle, "sha256": sha256 }),
        );
        Ok(0)
    }
}
