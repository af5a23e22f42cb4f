//! What operators may do: named functions of the database, as a login of their own, and no SELECT
//! on any studio's row.

use secrecy::SecretString;
use watertight_terms::Fault;

use crate::{
    Row, ToSql,
    fault::SqlFault,
    install::{InstallFault, batch, connect},
};

/// A statement of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Call(&'static str);

impl Call {
    /// `SELECT schema.function(…)`, with parameters from `$1`; or a plain question, where the role may
    /// read.
    pub const fn new(sql: &'static str) -> Self {
        Self(sql)
    }
}

/// A connection of an operator. The login's name is who the ledger says it was.
pub struct Operator(tokio_postgres::Client);

impl Operator {
    /// Connects with the operator's own URL.
    ///
    /// # Errors
    /// When the URL cannot be read or the database not be reached.
    pub async fn connect(url: &SecretString) -> Result<Self, InstallFault> {
        connect(url).await.map(Self)
    }

    /// A connection of the migrating login as one of the roles that it may become, which sees what
    /// that role's policies show.
    pub(crate) async fn connect_as(url: &SecretString, role: &str) -> Result<Self, InstallFault> {
        let client = connect(url).await?;
        // Compiling a question that is asked once takes longer than answering it.
        let settings = format!("SET ROLE {role}; SET row_security = on; SET jit = off");
        batch(&client, "role", &settings).await?;
        Ok(Self(client))
    }

    /// Asks for rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn rows(
        &self,
        call: Call,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let rows = self.0.query(call.0, parameters).await;
        let fault = SqlFault {
            constraint: |_| None,
        };
        rows.map(|rows| rows.into_iter().map(Row).collect())
            .map_err(|error| fault.fault(&error))
    }

    /// Calls a function; gives its one row.
    ///
    /// # Errors
    /// When the function refuses; `constraint` says what a broken constraint means.
    pub async fn call(
        &self,
        call: Call,
        parameters: &[&(dyn ToSql + Sync)],
        constraint: fn(&str) -> Option<&'static crate::Constraint>,
    ) -> Result<Row, Fault> {
        self.0
            .query_one(call.0, parameters)
            .await
            .map(Row)
            .map_err(|error| SqlFault { constraint }.fault(&error))
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operator")
    }
}
