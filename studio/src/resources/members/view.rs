use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::argument::RoleName;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;
use watertight_vault::Vault;

use super::{Member, State, actions::ViewContact};
/// A member as answered. The address is absent where the caller may not see it; lists have none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Member")]
pub(super) struct MemberView {
    id: Uuid,
    version: i32,
    joined_at: Timestamp,
    updated_at: Timestamp,
    /// The Clerk user; none while an invitation is open.
    subject: Option<String>,
    name: Option<String>,
    /// What counts: the lower of what Clerk says and of the ceiling.
    role: RoleName,
    ceiling: RoleName,
    state: State,
    artist_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Option<String>>,
}

impl MemberView {
    /// As lists carry it.
    pub(super) fn listed(member: Member) -> Self {
        Self::with(member, None)
    }

    /// As its own page carries it.
    pub(super) async fn opened(
        member: Member,
        tx: &mut TenantTx,
        vault: &Vault,
    ) -> Result<Self, Fault> {
        if !tx.allows::<ViewContact, Member>(&member) {
            return Ok(Self::with(member, None));
        }
        let opened = member.address(tx, vault).await?;
        let email = opened.map(|opened| opened.expose().to_owned());
        Ok(Self::with(member, Some(email)))
    }

    fn with(member: Member, email: Option<Option<String>>) -> Self {
        Self {
            id: member.id,
            version: member.version,
            joined_at: member.joined_at,
            updated_at: member.updated_at,
            role: RoleName(member.role()),
            subject: member.subject,
            name: member.name,
            ceiling: RoleName(member.ceiling),
            state: member.state,
            artist_id: member.artist_id,
            email,
        }
    }
}
