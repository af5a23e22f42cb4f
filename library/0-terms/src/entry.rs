use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// A ledger entry as plain data: what was done to which rows, and how it ended.
///
/// A handler says *what* ([`Entry::new`] with the action and the resource, then the ids); who,
/// from where and in which studio is added by the transaction, which knows it for certain.
///
/// ```
/// use watertight_terms::Entry;
/// let entry = Entry::new("booking.cancel", "booking").ids([uuid::Uuid::nil()]);
/// assert_eq!(entry.action(), "booking.cancel");
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    action: &'static str,
    resource: &'static str,
    ids: Vec<Uuid>,
    ids_count: u64,
    opened: Vec<Cow<'static, str>>,
    rule: Option<String>,
    outcome: Outcome,
    status: u16,
}

/// At most so many ids stand in an entry; their count and digest always cover all of them.
const IDS_SHOWN: usize = 100;

impl Entry {
    /// An allowed access: `action` is `noun.verb`, `resource` the noun.
    pub fn new(action: &'static str, resource: &'static str) -> Self {
        Self {
            action,
            resource,
            ids: Vec::new(),
            ids_count: 0,
            opened: Vec::new(),
            rule: None,
            outcome: Outcome::Allowed,
            status: 200,
        }
    }

    /// The rows that were read or changed.
    pub fn ids(mut self, ids: impl IntoIterator<Item = Uuid>) -> Self {
        self.ids.extend(ids);
        self.ids_count = self.ids.len() as u64;
        self
    }

    /// The personal fields that were opened for the caller.
    pub fn opened(
        mut self,
        fields: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
    ) -> Self {
        self.opened.extend(fields.into_iter().map(Into::into));
        self
    }

    /// The rule that decided, where one can be named.
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// How it ended, with the status that the caller is told.
    pub fn ended(mut self, outcome: Outcome, status: u16) -> Self {
        self.outcome = outcome;
        self.status = status;
        self
    }

    /// The rows, all of them.
    pub fn row_ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// The personal fields that were opened.
    pub fn opened_fields(&self) -> &[Cow<'static, str>] {
        &self.opened
    }

    /// What was done, `noun.verb`.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// The entry's own members as JSON, the ids cut to the first hundred.
    ///
    /// `ids_digest` is over all of them: SHA-256 of the ids in order, sixteen bytes each.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for id in &self.ids {
            digest.update(id.as_bytes());
        }
        let shown = self.ids.get(..IDS_SHOWN).unwrap_or(&self.ids);
        let value = serde_json::json!({
            "action": self.action,
            "resource": self.resource,
            "ids": shown,
            "ids_count": self.ids_count,
            "ids_digest": hex::encode(digest.finish()),
            "opened": self.opened,
            "rule": self.rule,
            "outcome": self.outcome,
            "status": self.status,
        });
        match value {
            serde_json::Value::Object(members) => members,
            _ => serde_json::Map::new(),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was not allowed, or not possible as asked.
    Refused,
    /// It broke.
    Failed,
}

/// Where a request came from, for the ledger.
#[derive(Debug, Clone)]
pub struct Request {
    /// Ours, always.
    pub id: Uuid,
    /// The client's `X-Request-Id`, recorded and never used (at most 64 printable characters).
    pub client_id: Option<String>,
    /// The network address that the connection came from.
    pub address: String,
    /// The client's `User-Agent`, cut to 200 characters.
    pub client: Option<String>,
    /// When it arrived.
    pub at: Timestamp,
}
