use watertight_authority::{Action, GrantedNew, Resource};
use watertight_identity::Impersonation;
use watertight_terms::Fault;

use crate::TenantTx;

const CHOOSE_IMPERSONATION: &str = "SELECT tenancy.choose_impersonation($1)";

impl TenantTx {
    /// Chooses whether somebody at the identity provider may act as a member of the studio, which is
    /// then to read only and under both names. The database takes the choice from an owner.
    ///
    /// # Errors
    /// When the grant is another transaction's, or the caller only acts as an owner.
    pub async fn choose_impersonation<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        choice: Impersonation,
    ) -> Result<(), Fault> {
        self.spend_new(granted)?;
        let word = match choice {
            Impersonation::Refused => "refused",
            Impersonation::ReadOnly => "read_only",
        };
        self.run(CHOOSE_IMPERSONATION, &[&word]).await.map(drop)
    }
}
