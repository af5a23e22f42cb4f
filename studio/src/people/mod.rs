//! People, as Clerk has them and as the studios have them, and how one learns of the other.
//!
//! What Clerk says lowers at once and never raises above what an owner admitted; the database sees to
//! that. What an owner does counts here first, and is then told to Clerk.

mod reconcile;

use std::sync::Arc;

use uuid::Uuid;
use watertight_identity::{
    RoleMap,
    backend::{Backend, BackendError},
    objects::Membership,
};
use watertight_tenancy::{Admission, Effect, EffectKind, News, ProviderEvent, Tenancy};
use watertight_terms::{Fault, Random, Role, TenantId, check_line};
use watertight_vault::{Place, Vault};

use crate::config::NewStudios;

pub use reconcile::{Comparison, ReconcileFault, Step};

/// The column of a member's address.
pub const EMAIL: &str = "tenancy.members.email";

/// An address has at most so many characters.
pub const EMAIL_CHARS: usize = 320;

/// People on both sides.
#[derive(Debug, Clone)]
pub struct People {
    /// Where the studios have them.
    pub tenancy: Tenancy,
    /// Seals their addresses.
    pub vault: Arc<Vault>,
    /// What Clerk's roles are here.
    pub roles: RoleMap,
    /// Where Clerk has them, where there is a key to ask by.
    pub backend: Option<Backend>,
    /// Which organizations become studios.
    pub new_studios: NewStudios,
    /// Who admits whom nobody invited, in a new studio.
    pub admission: Admission,
    /// Randomness, for the names of what is not a delivery.
    pub random: Random,
}

impl People {
    /// Hears that a membership is there, and what it is like. Of somebody whom nobody here knew the
    /// address is kept, sealed, so that an owner can tell who it is.
    ///
    /// # Errors
    /// When the database cannot be reached: it is to be told again.
    pub async fn hear_of_membership(
        &self,
        delivery: &str,
        membership: &Membership,
    ) -> Result<Vec<Effect>, Fault> {
        let role = self.roles.role(&membership.role);
        if self.new_studios == NewStudios::Any && role == Role::Owner {
            self.open_studio(membership).await?;
        }
        let event = ProviderEvent {
            delivery,
            at_ms: membership.updated_at_ms,
            news: News::Member {
                organization: &membership.organization,
                subject: &membership.subject,
                role,
                name: membership.name.as_ref().map(|name| name.expose()),
            },
        };
        let effects = self.tenancy.apply(&event).await?;
        let address = membership.identifier.as_ref().map(|it| it.expose());
        let address = address.filter(|it| it.contains('@') && check_line(it, EMAIL_CHARS).is_ok());
        for effect in &effects {
            if let (Some(member), EffectKind::Seen, Some(address)) =
                (effect.member, effect.kind, address)
            {
                let sealed = self.vault.seal(place(effect.tenant, member), address)?;
                let bytes = sealed.as_stored();
                self.tenancy
                    .complete_email(effect.tenant, member, bytes)
                    .await?;
            }
        }
        Ok(effects)
    }

    /// Makes a studio of the organization, unless it is one. Where Clerk can be asked it says the name,
    /// and whether there is such an organization at all: an event may come late.
    async fn open_studio(&self, owner: &Membership) -> Result<(), Fault> {
        let named = match &self.backend {
            Some(backend) => match backend.organization(&owner.organization).await {
                Ok(organization) => organization.name,
                Err(BackendError::Unknown) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let name = named.as_ref().map_or("", |name| name.expose());
        let (organization, first) = (&owner.organization, &owner.subject);
        let opened = self
            .tenancy
            .open_studio(organization, first, name, self.admission);
        if opened.await? {
            tracing::info!(target: "security", organization = %owner.organization, "clerk brought a new studio");
        }
        Ok(())
    }
}

/// The Clerk role that stands for a role of ours. Clerk has none below a freelancer's; what a guest
/// may is said by the ceiling.
pub fn clerk_role(role: Role) -> &'static str {
    match role {
        Role::Owner => "org:studio_owner",
        Role::Manager => "org:studio_manager",
        Role::Freelancer | Role::Guest => "org:freelancer",
    }
}

/// Where the address of a member lies.
pub fn place(tenant: TenantId, member: Uuid) -> Place {
    Place {
        tenant,
        column: EMAIL,
        row: member,
    }
}
