//! People, as Clerk has them and as the studios have them, and how one learns of the other.
//!
//! What Clerk says lowers at once and never raises above what an owner admitted; the database sees to
//! that. What an owner does counts here first, and is then told to Clerk.

mod reconcile;

use std::sync::Arc;

use uuid::Uuid;
use watertight_identity::{
    Caller, RoleMap, ServiceName,
    backend::{Backend, BackendError},
    objects::Membership,
};
use watertight_tenancy::{Admission, Effect, EffectKind, News, ProviderEvent, Tenancy, TenantTx};
use watertight_terms::{Clock, Entry, Fault, Kind, Random, Request, Role, TenantId, check_line};
use watertight_vault::{Holder, Place, Vault};

use crate::config::NewStudios;

pub use reconcile::{Comparison, ReconcileFault, Step};

/// The column of a member's address.
pub const EMAIL: &str = "tenancy.members.email";

/// The service as which what Clerk tells and is told is done in a studio.
const PEOPLE: ServiceName = ServiceName::new("people");

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
    /// The time.
    pub clock: Clock,
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
                self.keep_address(effect.tenant, member, address).await?;
            }
        }
        Ok(effects)
    }

    /// Keeps the address of somebody new. A studio that is frozen or suspended learns it from the
    /// person.
    pub async fn keep_address(
        &self,
        tenant: TenantId,
        member: Uuid,
        address: &str,
    ) -> Result<(), Fault> {
        let mut tx = match self.begin(tenant).await {
            Err(fault) if fault.kind() == Kind::Unavailable => {
                tracing::warn!(%tenant, %member, "the address was not kept: {fault}");
                return Ok(());
            }
            begun => begun?,
        };
        let keys = self.vault.to_seal(&mut tx, Holder::Person(member)).await?;
        let sealed = keys.seal(place(member), address)?;
        let studio = self.vault.to_seal(&mut tx, Holder::Studio).await?;
        let index = studio.index(EMAIL, address)?;
        tx.complete_email(member, sealed.as_stored(), &index)
            .await?;
        let entry = Entry::new("member.complete", "member").ids([member]);
        tx.commit(entry).await.map(drop)
    }

    /// A transaction of ours in a studio, for what nobody asked for.
    async fn begin(&self, tenant: TenantId) -> Result<TenantTx, Fault> {
        let request = Request {
            id: self.random.uuid(),
            client_id: None,
            address: "people".to_owned(),
            client: None,
            at: self.clock.now(),
        };
        let caller = Caller::service(PEOPLE, tenant);
        let begun = self.tenancy.begin(&caller, request).await;
        begun.map_err(|refused| refused.fault)
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
pub fn place(member: Uuid) -> Place<'static> {
    Place {
        column: EMAIL,
        row: member,
    }
}
