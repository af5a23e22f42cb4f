//! The report of an incident, as Markdown: what was done, by whom and when.
//!
//! ```text
//! # Incident 5b0c…: stolen-session
//! somebody tries ids
//!
//! - 2031-03-03T09:00:00Z studio_operator opened it, in an emergency
//! - 2031-03-03T09:00:02Z the studio was frozen
//! ```

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// An incident as the database tells operators of it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    id: Uuid,
    kind: String,
    reason: String,
    state: String,
    is_emergency: bool,
    opened_at: Timestamp,
    opened_by: String,
    confirmed_at: Option<Timestamp>,
    confirmed_by: Option<String>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
    r#override: Option<String>,
    isolations: Vec<Isolation>,
    steps: Vec<Step>,
    evidence: Vec<Bundle>,
    notices: Vec<Notice>,
}

#[derive(Debug, Deserialize)]
struct Bundle {
    made_at: Option<Timestamp>,
    name: Option<String>,
    sha256: Option<String>,
    handed_over: Vec<HandOver>,
}

#[derive(Debug, Deserialize)]
struct HandOver {
    at: Timestamp,
    by: String,
    to: String,
}

#[derive(Debug, Deserialize)]
struct Notice {
    whom: String,
    subject: String,
    proposed_at: Timestamp,
    proposed_by: String,
    sent_at: Option<Timestamp>,
    sent_by: Option<String>,
    mails: u32,
    unlisted: u64,
}

#[derive(Debug, Deserialize)]
struct Isolation {
    member: Option<Uuid>,
    session: Option<String>,
    address: Option<String>,
    begun_at: Timestamp,
    ended_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Step {
    name: String,
    at: Option<Timestamp>,
    by: Option<String>,
    note: Option<String>,
}

impl Record {
    /// All of it, in the order of time; what is missing last.
    pub(super) fn markdown(&self) -> String {
        let mut events = self.events();
        events.sort();
        let events = events.iter().map(|(at, what)| format!("- {at} {what}\n"));
        let missing = self.steps.iter().filter(|step| step.at.is_none());
        let missing = missing.map(|step| format!("- `{}` was not done\n", step.name));
        let lines: String = events.chain(missing).collect();
        format!(
            "# Incident {}: {}\n{}\n\nIt is {}.\n\n{lines}",
            self.id, self.kind, self.reason, self.state
        )
    }

    fn events(&self) -> Vec<(Timestamp, String)> {
        let how = if self.is_emergency {
            ", in an emergency"
        } else {
            ""
        };
        let mut events = vec![(self.opened_at, format!("{} opened it{how}", self.opened_by))];
        if let (Some(at), Some(by)) = (self.confirmed_at, &self.confirmed_by) {
            events.push((at, format!("{by} confirmed it")));
        }
        for isolation in &self.isolations {
            let what = isolation.what();
            events.push((isolation.begun_at, format!("{what} was frozen")));
            if let Some(at) = isolation.ended_at {
                events.push((at, format!("{what} was let in again")));
            }
        }
        for bundle in &self.evidence {
            if let (Some(at), Some(name), Some(sha256)) =
                (bundle.made_at, &bundle.name, &bundle.sha256)
            {
                events.push((at, format!("evidence was made: `{name}`, SHA-256 {sha256}")));
            }
            for HandOver { at, by, to } in &bundle.handed_over {
                events.push((*at, format!("{by} gave it to {to}")));
            }
        }
        events.extend(self.notices.iter().flat_map(Notice::events));
        for step in &self.steps {
            if let (Some(at), Some(by), Some(note)) = (step.at, &step.by, &step.note) {
                events.push((at, format!("{by} did `{}`: {note}", step.name)));
            }
        }
        if let Some(at) = self.closed_at {
            let by = self.closed_by.as_deref().unwrap_or("the server");
            let why = self.r#override.as_ref();
            let why = why.map_or(String::new(), |why| {
                format!(", although steps were missing: {why}")
            });
            events.push((at, format!("{by} closed it{why}")));
        }
        events
    }
}

impl Notice {
    /// Who said that it be sent, and to how many it went; an owner's own word is the one and the other.
    fn events(&self) -> Vec<(Timestamp, String)> {
        let whom = match self.whom.as_str() {
            "owner" => "the studio's owners",
            _ => "those whose records were touched",
        };
        let Self { subject, .. } = self;
        let mut events = Vec::new();
        if self.sent_by.as_ref() != Some(&self.proposed_by) {
            let said = format!("{} proposed to tell {whom}: {subject}", self.proposed_by);
            events.push((self.proposed_at, said));
        }
        if let (Some(at), Some(by)) = (self.sent_at, &self.sent_by) {
            let (mails, unlisted) = (self.mails, self.unlisted);
            let said = format!(
                "{by} told {whom}: {subject} (mails: {mails}, records of nobody who was told: {unlisted})"
            );
            events.push((at, said));
        }
        events
    }
}

impl Isolation {
    fn what(&self) -> String {
        match (&self.member, &self.session, &self.address) {
            (Some(member), _, _) => format!("member {member}"),
            (_, Some(session), _) => format!("session {session}"),
            (_, _, Some(address)) => format!("address {address}"),
            (None, None, None) => "the studio".to_owned(),
        }
    }
}
