use watertight_identity::Impersonation;
use watertight_terms::Fault;

use crate::{SpentProof, TenantTx};

const CHOOSE: &str = "SELECT tenancy.choose($1, $2, $3)";

/// What an owner decides for the tenant. What is not said stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices<'a> {
    /// What it is called.
    pub name: Option<&'a str>,
    /// Whether somebody at the identity provider may act as a member of it, which is then to read
    /// only and under both names.
    pub impersonation: Option<Impersonation>,
    /// Who admits whom nobody here invited.
    pub admission: Option<Admission>,
}

/// Who admits a member whom the identity provider tells of and nobody here invited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Admission {
    /// An owner; until then they are pending.
    #[default]
    Owner,
    /// The identity provider, as far as a manager: whoever holds it reads what a manager reads. Only
    /// an owner makes an owner.
    Clerk,
}

impl Admission {
    /// Its word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Clerk => "clerk",
        }
    }
}

impl TenantTx {
    /// Decides what holds in the tenant, as a consequence of a change that was granted. The database
    /// takes it from an owner.
    ///
    /// # Errors
    /// When the caller is no owner, or only acts as one.
    pub async fn choose<Proof: SpentProof>(
        &mut self,
        _after: &Proof,
        choices: Choices<'_>,
    ) -> Result<(), Fault> {
        let impersonation = choices.impersonation.map(|choice| match choice {
            Impersonation::Refused => "refused",
            Impersonation::ReadOnly => "read_only",
        });
        let admission = choices.admission.map(Admission::as_str);
        let all: [&(dyn postgres_types::ToSql + Sync); 3] =
            [&choices.name, &impersonation, &admission];
        self.run(CHOOSE, &all).await.map(drop)
    }
}
