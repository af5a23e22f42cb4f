use watertight_authority::{Action, GrantedNew, Resource};
use watertight_terms::Fault;

use crate::TenantTx;

const CHOOSE: &str = "SELECT tenancy.choose_mails($1) AS wanted";

impl TenantTx {
    /// Whether the caller is told by mail. Who is no member is told nothing.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn mails(&mut self) -> Result<bool, Fault> {
        self.ask_mails(None).await
    }

    /// Decides whether the caller is told by mail; none leaves as it is. Gives what holds then.
    ///
    /// # Errors
    /// When the grant is another transaction's, or the caller only acts as a member.
    pub async fn choose_mails<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        wanted: Option<bool>,
    ) -> Result<bool, Fault> {
        self.spend_new(granted)?;
        self.ask_mails(wanted).await
    }

    async fn ask_mails(&mut self, wanted: Option<bool>) -> Result<bool, Fault> {
        let rows = self.run(CHOOSE, &[&wanted]).await?;
        let row = rows.first();
        let wanted = row.map_or(Ok(None), |row| row.field::<Option<bool>>("wanted"))?;
        Ok(wanted.unwrap_or(false))
    }
}
