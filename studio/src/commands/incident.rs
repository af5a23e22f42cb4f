//! An incident, step by step, by operators: none of them reads a row of the studio that it is about.
//!
//! ```text
//! studio incident open --studio ID --kind stolen-session --reason TEXT --emergency   the opener alone may freeze, for a day
//! studio incident confirm --studio ID --incident ID                                  by another operator
//! studio incident freeze --studio ID --incident ID [--member ID | --session ID | --address ADDRESS]
//! studio incident impact --studio ID --incident ID --from TIME                       numbers, and no id of anything
//! studio incident draft --studio ID --incident ID --from TIME                        what to tell, whom and until when
//! studio incident propose --studio ID --incident ID --whom owner --from TIME --subject TEXT --text FILE
//! studio incident send --studio ID --incident ID --notice ID                         by another operator
//! studio incident step --studio ID --incident ID keys --note TEXT
//! studio incident evidence --studio ID --incident ID --from TIME                     a file that only the studio's owner opens
//! studio incident hand-over --studio ID --incident ID --bundle ID --to WHOM          who was given it
//! studio incident thaw --studio ID --incident ID [--override TEXT]
//! studio incident status --studio ID [--incident ID]
//! studio incident report --studio ID --incident ID
//! ```

mod evidence;
mod notice;
mod report;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_tenancy::{Call, Constraint, Operator, ToSql};
use watertight_terms::{Fault, check_prose, problems};
use watertight_watch::notice::{Addressee, Draft, Facts};

use super::{Failure, Output};
use crate::config::Config;
use report::Record;

#[derive(Debug, Subcommand)]
pub(super) enum Incident {
    /// Open one; another operator confirms it
    Open(Open),
    /// Confirm what another operator opened
    Confirm(Which),
    /// Let nobody of a studio in, or one member, session or address; returns when nothing of it is under way
    Freeze(Freeze),
    /// What was touched, in numbers
    Impact(Impact),
    /// What whoever is concerned is to be told, and until when
    Draft(Impact),
    /// Say what people are to be told; another operator sends it
    Propose(notice::Propose),
    /// Send what another operator proposed, by mail
    Send(notice::Send),
    /// Note that a step was done
    Step(Step),
    /// What shows what happened, in a file that only the studio's owner opens; it is held from now on
    Evidence(evidence::Ask),
    /// Note to whom that file was given
    HandOver(evidence::HandOver),
    /// Lift what was frozen, and close the incident
    Thaw(Thaw),
    /// What was done, by whom and when
    Status(Status),
    /// The same of one, as a text to keep
    Report(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// The incident
    #[arg(long, value_name = "ID")]
    incident: Uuid,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// What it is, a word or some with hyphens
    #[arg(long, value_parser = kind)]
    kind: String,
    /// Why; the studio's owners read it
    #[arg(long)]
    reason: String,
    /// Freeze before another operator confirms: it is over after a day if none does
    #[arg(long)]
    emergency: bool,
}

#[derive(Debug, Args)]
pub(super) struct Freeze {
    #[command(flatten)]
    which: Which,
    /// This member alone
    #[arg(long, value_name = "ID", group = "part")]
    member: Option<Uuid>,
    /// This session of Clerk's alone; it ends for good
    #[arg(long, value_name = "ID", group = "part")]
    session: Option<String>,
    /// Whoever comes from this address
    #[arg(long, group = "part")]
    address: Option<std::net::IpAddr>,
    /// So long what is under way may take
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    patience_ms: u32,
}

#[derive(Debug, Args)]
pub(super) struct Impact {
    #[command(flatten)]
    which: Which,
    /// Since when it may have gone on, such as 2031-03-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Until when
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Step {
    #[command(flatten)]
    which: Which,
    /// Which step
    #[arg(value_enum)]
    name: Name,
    /// What was done
    #[arg(long)]
    note: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    /// What was touched is known
    Assess,
    /// Whoever must be told was told
    Notify,
    /// Keys are rotated
    Keys,
    /// Sessions are ended
    Sessions,
    /// The role is mended
    Role,
    /// The policy is mended
    Policy,
    /// The checks are green
    Check,
    /// What happened was tried again, and is refused
    Replay,
}

#[derive(Debug, Args)]
pub(super) struct Thaw {
    #[command(flatten)]
    which: Which,
    /// Why, although not all steps are done
    #[arg(long, value_name = "REASON")]
    r#override: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// One of its incidents
    #[arg(long, value_name = "ID")]
    incident: Option<Uuid>,
}

const REPORT: Call = Call::new("SELECT incident.report($1, $2, $3, $4) AS incident");
const CONFIRM: Call = Call::new("SELECT incident.confirm($1, $2)::text");
const ISOLATE: Call = Call::new("SELECT incident.isolate($1, $2, $3, $4, $5) AS isolation");
const DRAIN: Call =
    Call::new("SELECT incident.drain($1, $2, $3 * interval '1 millisecond') AS ended");
const UNCONFIRMED: Call = Call::new("SELECT process, seen_at FROM incident.unconfirmed($1, $2)");
const IMPACT: Call = Call::new("SELECT incident.impact($1, $2, $3, $4) AS numbers");
const STEP: Call = Call::new("SELECT incident.note_step($1, $2, $3, $4)::text");
const THAW: Call = Call::new("SELECT incident.thaw($1, $2, $3)::text");
const STATUS: Call = Call::new("SELECT incident.status($1, $2) AS incidents");

/// A process of the server that is there confirms within so long, and is otherwise named.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Incident {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<u8, Failure> {
        let url = config.database.ops_url.as_ref();
        let url =
            url.ok_or_else(|| Failure::setup("set [database] ops_url to an operator's login"))?;
        let operator = Operator::connect(url).await;
        let operator = operator.map_err(|error| Failure::setup(error.to_string()))?;
        match self {
            Self::Open(open) => open.run(&operator, output).await,
            Self::Confirm(which) => which.confirm(&operator, output).await,
            Self::Freeze(freeze) => freeze.run(&operator, output).await,
            Self::Impact(impact) => impact.run(&operator, output).await,
            Self::Draft(impact) => impact.drafts(&operator, output).await,
            Self::Propose(notice) => notice.run(&operator, output).await,
            Self::Send(notice) => notice.run(&operator, output).await,
            Self::Step(step) => step.run(&operator, output).await,
            Self::Evidence(ask) => ask.run(&operator, output).await,
            Self::HandOver(given) => given.run(&operator, output).await,
            Self::Thaw(thaw) => thaw.run(&operator, output).await,
            Self::Status(status) => status.run(&operator, output).await,
            Self::Report(which) => which.report(&operator, output).await,
        }
    }
}

impl Open {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        expect_prose("--reason", &self.reason)?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.studio, &self.kind, &self.reason, &self.emergency];
        let row = operator.call(REPORT, &parameters, meaning).await;
        let id: Uuid = row.and_then(|row| row.field("incident")).map_err(refused)?;
        let next = if self.emergency {
            "freeze now; unless another operator confirms it, that is over in a day"
        } else {
            "another operator is to confirm it"
        };
        output.result(
            &format!("incident {id} is open; {next}"),
            &json!({ "incident": id }),
        );
        Ok(0)
    }
}

impl Which {
    async fn confirm(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.studio, &self.incident];
        let confirmed = operator.call(CONFIRM, &parameters, meaning).await;
        confirmed.map_err(refused)?;
        let text = format!("incident {} is confirmed", self.incident);
        output.result(&text, &json!({ "confirmed": self.incident }));
        Ok(0)
    }

    /// What is known of it, read into a type.
    async fn known<T: DeserializeOwned>(&self, operator: &Operator) -> Result<T, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.studio, &self.incident];
        let row = operator.call(STATUS, &parameters, meaning).await;
        let known: Value = row
            .and_then(|row| row.field("incidents"))
            .map_err(refused)?;
        if known == json!([]) {
            return Err(Failure::refused(
                "there is no incident of that id in that studio",
            ));
        }
        let known: [T; 1] = serde_json::from_value(known).map_err(unreadable)?;
        let [known] = known;
        Ok(known)
    }

    async fn report(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let text = self.known::<Record>(operator).await?.markdown();
        output.result(&text, &json!({ "report": text }));
        Ok(0)
    }
}

impl Freeze {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let began = Instant::now();
        let studio = &self.which.studio;
        let address = self
            .address
            .map(|address| address.to_canonical().to_string());
        let parameters: [&(dyn ToSql + Sync); 5] = [
            studio,
            &self.which.incident,
            &self.member,
            &self.session,
            &address,
        ];
        let row = operator.call(ISOLATE, &parameters, meaning).await;
        let isolation: Uuid = row
            .and_then(|row| row.field("isolation"))
            .map_err(refused)?;
        let patience = f64::from(self.patience_ms);
        let row = operator
            .call(DRAIN, &[studio, &isolation, &patience], meaning)
            .await;
        let ended: i32 = row.and_then(|row| row.field("ended")).map_err(refused)?;
        let silent = silent(operator, studio, &isolation)
            .await
            .map_err(refused)?;
        let took_ms = began.elapsed().as_millis();
        let mut lines = vec![format!(
            "frozen in {took_ms} ms; {ended} transactions were ended"
        )];
        lines.extend(silent.iter().map(|(process, seen_at)| {
            format!("process {process} has not confirmed it and was last seen at {seen_at}: make sure that it has ended")
        }));
        let processes: Vec<Value> = silent
            .iter()
            .map(|(process, seen_at)| json!({ "process": process, "seen_at": seen_at }))
            .collect();
        output.result(
            &lines.join("\n"),
            &json!({ "isolation": isolation, "ended": ended, "took_ms": took_ms as u64, "silent": processes }),
        );
        Ok(u8::from(!silent.is_empty()))
    }
}

/// Waits for the server's processes. Gives those that have not confirmed in time.
async fn silent(
    operator: &Operator,
    studio: &Uuid,
    isolation: &Uuid,
) -> Result<Vec<(Uuid, Timestamp)>, Fault> {
    let began = Instant::now();
    loop {
        let rows = operator.rows(UNCONFIRMED, &[studio, isolation]).await?;
        if rows.is_empty() || began.elapsed() > CONFIRMED_WITHIN {
            let process =
                |row: &watertight_tenancy::Row| Ok((row.field("process")?, row.field("seen_at")?));
            return rows.iter().map(process).collect();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Impact {
    async fn numbers(&self, operator: &Operator) -> Result<Numbers, Failure> {
        let last = self.to.unwrap_or(Timestamp::MAX);
        let Which { studio, incident } = &self.which;
        let parameters: [&(dyn ToSql + Sync); 4] = [studio, incident, &self.from, &last];
        let row = operator.call(IMPACT, &parameters, meaning).await;
        let numbers: Value = row.and_then(|row| row.field("numbers")).map_err(refused)?;
        serde_json::from_value(numbers).map_err(unreadable)
    }

    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let numbers = self.numbers(operator).await?;
        let Numbers {
            requests,
            refused,
            changes,
            actors,
            addresses,
            records,
            opened,
            unlisted,
        } = numbers;
        let text = format!(
            "{requests} requests, {refused} of them refused or failed, by {actors} people from {addresses} addresses\n\
             {records} records shown by their ids, {unlisted} more in lists that the ledger does not name one by one\n\
             {opened} personal fields opened, {changes} rows changed"
        );
        output.result(&text, &json!({ "impact": numbers }));
        Ok(0)
    }

    async fn drafts(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let numbers = self.numbers(operator).await?;
        let Known { kind, opened_at } = self.which.known(operator).await?;
        let facts = Facts {
            kind,
            opened_at,
            requests: numbers.requests,
            records: numbers.records,
            opened: numbers.opened,
            unlisted: numbers.unlisted,
        };
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for who in Addressee::ALL {
            let Draft {
                due_at,
                subject,
                text,
            } = who.draft(&facts);
            let to = who.as_str();
            lines.push(format!(
                "to: {to}\ndue: {due_at}\nsubject: {subject}\n\n{text}"
            ));
            documents.push(json!({ "to": to, "due_at": due_at, "subject": subject, "text": text }));
        }
        output.result(&lines.join("\n"), &json!({ "drafts": documents }));
        Ok(0)
    }
}

/// What the ledger says was touched.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
struct Numbers {
    requests: u64,
    refused: u64,
    changes: u64,
    actors: u64,
    addresses: u64,
    /// By their ids, each once.
    records: u64,
    /// Personal fields, each of each record once.
    opened: u64,
    /// Records in lists that are too long for an entry.
    unlisted: u64,
}

/// What of an incident stands in a draft.
#[derive(Debug, Deserialize)]
struct Known {
    kind: String,
    opened_at: Timestamp,
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::setup(format!(
        "the database has another schema than this version of `studio`: {error}"
    ))
}

impl Step {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        expect_prose("--note", &self.note)?;
        let name = self.name.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.which.studio, &self.which.incident, &name, &self.note];
        let noted = operator.call(STEP, &parameters, meaning).await;
        noted.map_err(refused)?;
        output.result(&format!("`{name}` is done"), &json!({ "done": name }));
        Ok(0)
    }
}

impl Thaw {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        if let Some(because) = &self.r#override {
            expect_prose("--override", because)?;
        }
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&self.which.studio, &self.which.incident, &self.r#override];
        let thawed = operator.call(THAW, &parameters, meaning).await;
        thawed.map_err(refused)?;
        let text = format!("incident {} is closed", self.which.incident);
        output.result(&text, &json!({ "closed": self.which.incident }));
        Ok(0)
    }
}

impl Status {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.studio, &self.incident];
        let row = operator.call(STATUS, &parameters, meaning).await;
        let all: Value = row
            .and_then(|row| row.field("incidents"))
            .map_err(refused)?;
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        output.result(&text, &json!({ "incidents": all }));
        Ok(0)
    }
}

fn kind(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    if text.is_empty() || text.len() > 40 || !text.bytes().all(is_word) {
        return Err("up to 40 small letters and hyphens, such as `stolen-session`".to_owned());
    }
    Ok(text.to_owned())
}

fn expect_prose(argument: &str, text: &str) -> Result<(), Failure> {
    check_prose(text, 1000).map_err(|error| Failure::setup(format!("{argument} {error}")))
}

/// What the database refuses, by the names of its constraints.
const REFUSALS: &[Constraint] = &[
    refusal("incidents_tenant_id_fkey", "there is no studio of that id"),
    refusal(
        "incidents_unknown",
        "there is no incident of that id in that studio",
    ),
    refusal("incidents_closed", "the incident is closed; open another"),
    refusal(
        "incidents_opener",
        "you opened it; another operator confirms it",
    ),
    refusal(
        "incidents_unconfirmed",
        "another operator is to confirm it first, or it is to be opened as an emergency",
    ),
    refusal(
        "incidents_again",
        "an emergency of the last seven days was confirmed by nobody; another operator is to confirm this one",
    ),
    refusal(
        "incidents_unmended",
        "not all steps are done; do them, or say why with --override",
    ),
    refusal(
        "isolations_whose",
        "there is no member or session of that id in that studio",
    ),
    refusal("steps_pkey", "the step is done already"),
    refusal("notices_window", "the window ends before it begins"),
    refusal(
        "notices_gaps",
        "the text has gaps, which stand in `[`; fill them",
    ),
    refusal("notices_body", "the text is empty"),
    refusal("notices_most", "twenty notices were written of it"),
    refusal(
        "notices_unknown",
        "there is no notice of that id in that incident",
    ),
    refusal(
        "notices_proposer",
        "you proposed it; another operator sends it",
    ),
    refusal("notices_sent", "it was sent already"),
    refusal(
        "notices_nobody",
        "nobody of them has an address here; tell them in another way",
    ),
    refusal("bundles_window", "the window ends before it begins"),
    refusal(
        "bundles_most",
        "there are twenty bundles of it; give on one of them",
    ),
    refusal(
        "bundles_unknown",
        "there is no bundle of that id that was made for it",
    ),
    refusal("bundles_handed", "it was given on a hundred times"),
];

const fn refusal(name: &'static str, spoken: &'static str) -> Constraint {
    Constraint {
        name,
        problem: problems::CONFLICT,
        spoken,
    }
}

fn meaning(constraint: &str) -> Option<&'static Constraint> {
    REFUSALS.iter().find(|known| known.name == constraint)
}

fn refused(fault: Fault) -> Failure {
    Failure::refused(fault.spoken().to_owned())
}
