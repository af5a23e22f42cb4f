use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use watertight_tenancy::TenantTx;
use watertight_terms::{Fault, Role};
use watertight_vault::Vault;

use super::{Member, State, actions::ViewContact};
use crate::people::place;

/// A member as answered. The address is absent where the caller may not see it; lists have none.
#[derive(Serialize)]
pub(super) struct MemberView {
    id: Uuid,
    version: i32,
    joined_at: Timestamp,
    updated_at: Timestamp,
    /// The Clerk user; none while an invitation is open.
    subject: Option<String>,
    name: Option<String>,
    /// What counts: the lower of what Clerk says and of the ceiling.
    role: Role,
    ceiling: Role,
    state: State,
    artist_id: Option<Uuid>,
    #[serde(flatten)]
    personal: Map<String, Value>,
}

impl MemberView {
    /// As lists carry it.
    pub(super) fn listed(member: Member) -> Self {
        Self::with(member, Map::new())
    }

    /// As its own page carries it; gives the names of the fields that were opened, for the ledger.
    pub(super) fn opened(
        member: Member,
        tx: &TenantTx,
        vault: &Vault,
    ) -> Result<(Self, Vec<&'static str>), Fault> {
        let mut personal = Map::new();
        let mut opened = Vec::new();
        if tx.allows::<ViewContact, Member>(&member) {
            let email = match &member.email {
                Some(sealed) => {
                    opened.push("email");
                    json!(
                        vault
                            .open(place(member.tenant, member.id), sealed)?
                            .expose()
                    )
                }
                None => Value::Null,
            };
            personal.insert("email".to_owned(), email);
        }
        Ok((Self::with(member, personal), opened))
    }

    fn with(member: Member, personal: Map<String, Value>) -> Self {
        Self {
            id: member.id,
            version: member.version,
            joined_at: member.joined_at,
            updated_at: member.updated_at,
            role: member.role(),
            subject: member.subject,
            name: member.name,
            ceiling: member.ceiling,
            state: member.state,
            artist_id: member.artist_id,
            personal,
        }
    }

    pub(super) fn position(&self) -> (String, Uuid) {
        (self.joined_at.to_string(), self.id)
    }
}
