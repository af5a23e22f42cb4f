//! What people are told of an incident, by an owner's word.
//!
//! ```text
//! POST /v1/incidents/{id}/notices {"whom": "people", "subject": "Data about you", "text": "Somebody saw …"}
//! ```
//!
//! It goes by the outbox to members who have an address here: to owners, or to those whose records the ledger says were touched by whom
//! the incident is about. Operators send one when two of them say so.

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{Instant, Line, Path, Prose, Valid},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Read, Tell, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{
    Incident, IncidentView,
    actions::Send,
    expect_seen,
    impact::{NO_WINDOW, window},
    one,
};
use crate::{app::Desk, resources::page::wrong_field};

const SEND: Tell = Tell::new("i9", "SELECT incident.send_mine($1)::text");
const TOLD: Read =
    Read::new("SELECT subject, body, sent_at FROM incident.told($2) WHERE tenant_id = $1");

/// A text of so many characters.
const CHARS: usize = 10_000;

/// Who is told: the studio's owners, or members whose records were touched in the window.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Whom {
    Owner,
    People,
}

/// What is sent.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    whom: Whom,
    #[garde(dive)]
    subject: Line<200>,
    /// Without `[`: a draft has gaps in such.
    #[garde(dive)]
    text: Prose<CHARS>,
    /// The window, of 92 days at most; from a day before the incident was opened until now, unless said.
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    to: Option<Instant>,
}

/// What was sent, or is to be.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct NoticeView {
    id: Uuid,
    whom: Whom,
    from: Timestamp,
    to: Timestamp,
    subject: String,
    /// What it says, until it is sent.
    text: Option<String>,
    proposed_at: Timestamp,
    proposed_by: String,
    /// None: a second operator is to say so.
    sent_at: Option<Timestamp>,
    sent_by: Option<String>,
    /// To how many members.
    mails: u32,
    /// Records of the window whose people are not among those: entries count them and do not name them, or operators sent it, who see
    /// whose a record is only when it is the person's own.
    unlisted: u64,
}

pub(super) async fn send(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Valid(new): Valid<New>,
) -> Result<Answer<IncidentView>, Fault> {
    expect_seen(&mut tx)?;
    // Of another studio, or of nobody: one answer.
    let about = one(&mut tx, id).await?;
    let _granted = tx.grant_new::<Send, Incident>()?;
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    tx.may_write()?;
    let window = window((new.from, new.to), about.opened_at, desk.clock.now());
    let (from, to) = window.ok_or_else(|| wrong_field("/from", "window", NO_WINDOW))?;
    let notice = desk.random.uuid();
    let whom = match new.whom {
        Whom::Owner => "owner",
        Whom::People => "people",
    };
    let fields = [
        tx.tenant().to_string(),
        id.to_string(),
        notice.to_string(),
        whom.to_owned(),
        from.as_microsecond().to_string(),
        to.as_microsecond().to_string(),
        hex::encode(&*new.subject),
        hex::encode(&*new.text),
    ];
    let fields = fields.each_ref().map(String::as_str);
    tx.tell(SEND, &fields).await?;
    let view = one(&mut tx, id).await?;
    let entry = Entry::new("incident.send", "incident").ids([id, notice]);
    Draft::ok(view)?.commit(tx, entry).await
}

/// One that was sent, as it is told.
pub(crate) struct Notice {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
}

/// Reads what is told, for the service that tells it.
///
/// # Errors
/// When the database refuses, or nobody gave the word.
pub(crate) async fn told(tx: &mut TenantTx, id: Uuid) -> Result<Notice, Fault> {
    let rows = tx.read(TOLD, &[&id]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a delivery of a notice that nobody sent"))?;
    Ok(Notice {
        subject: row.field("subject")?,
        text: row.field("body")?,
        at: row.field("sent_at")?,
    })
}
