use uuid::Uuid;
use watertight_terms::{Role, TenantId};

/// Who stands where: a principal, in one tenant.
///
/// Plain data, because it proves nothing. It is read from the membership row by the transaction
/// that knows it for certain. Whoever makes one up can ask what a policy would say, but gets no
/// grant that is worth anything: a grant carries the nonce of the transaction it was asked for,
/// and that nonce never leaves the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The tenant in which everything that is asked takes place.
    pub tenant: TenantId,
    /// Who asks.
    pub principal: Principal,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person with a role in the tenant.
    Member {
        /// The membership.
        id: Uuid,
        /// The role that counts, which is the lowest of all that were claimed.
        role: Role,
        /// The artist that this person is, if any.
        artist: Option<Uuid>,
    },
    /// A job of the product's own, under its name: `expiry`.
    Service {
        /// The name.
        name: String,
    },
}
