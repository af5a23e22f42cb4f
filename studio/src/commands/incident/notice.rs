//! What is sent to people: one operator says what, another one sends it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use watertight_tenancy::{Call, Operator, ToSql};
use watertight_terms::{check_line, check_prose};

use super::{Failure, Output, Which, meaning, refused};

#[derive(Debug, Args)]
pub(in super::super) struct Propose {
    #[command(flatten)]
    which: Which,
    /// Who is told
    #[arg(long, value_enum)]
    whom: Whom,
    /// The beginning of the window in which records were touched
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Its end; now, unless said
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// What the mail is about
    #[arg(long)]
    subject: String,
    /// A file with what it says, such as a draft whose gaps are filled
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Whom {
    /// The studio's owners
    Owner,
    /// Members whose records were touched
    People,
}

#[derive(Debug, Args)]
pub(in super::super) struct Send {
    #[command(flatten)]
    which: Which,
    /// The notice, as `propose` and `status` name it
    #[arg(long, value_name = "ID")]
    notice: Uuid,
}

const PROPOSE: Call = Call::new("SELECT incident.propose($1, $2, $3, $4, $5, $6, $7) AS notice");
const SEND: Call = Call::new("SELECT incident.send($1, $2, $3) AS mails");

impl Propose {
    pub(super) async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let text = std::fs::read_to_string(&self.text);
        let text =
            text.map_err(|error| Failure::setup(format!("`{}`: {error}", self.text.display())))?;
        let wrong =
            |what: &str, error: &dyn std::fmt::Display| Failure::setup(format!("{what} {error}"));
        check_line(&self.subject, 200).map_err(|error| wrong("--subject", &error))?;
        check_prose(&text, 10_000).map_err(|error| wrong("--text", &error))?;
        let whom = match self.whom {
            Whom::Owner => "owner",
            Whom::People => "people",
        };
        let Which { studio, incident } = &self.which;
        let parameters: [&(dyn ToSql + Sync); 7] = [
            studio,
            incident,
            &whom,
            &self.from,
            &self.to,
            &self.subject,
            &text,
        ];
        let row = operator.call(PROPOSE, &parameters, meaning).await;
        let id: Uuid = row.and_then(|row| row.field("notice")).map_err(refused)?;
        output.result(
            &format!(
                "notice {id} is kept; another operator is to send it with `studio incident send`"
            ),
            &json!({ "notice": id }),
        );
        Ok(0)
    }
}

impl Send {
    pub(super) async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let Which { studio, incident } = &self.which;
        let parameters: [&(dyn ToSql + Sync); 3] = [studio, incident, &self.notice];
        let row = operator.call(SEND, &parameters, meaning).await;
        let mails: i32 = row.and_then(|row| row.field("mails")).map_err(refused)?;
        output.result(
            &format!("notice {} is on its way to {mails} members", self.notice),
            &json!({ "sent": self.notice, "mails": mails }),
        );
        Ok(0)
    }
}
