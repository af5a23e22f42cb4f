use aws_lc_rs::digest::{SHA256, digest};
use watertight_terms::Fault;

use crate::{Row, Tenancy, context, lease::COMMIT, tenancy::BEGIN};

/// A call of a function that takes what the server signed and nobody's context: `$1` is that, `$2`, if
/// there is one, a text whose SHA-256 was signed. For rooms that keep something of every studio in a
/// schema of their own.
#[derive(Debug, Clone, Copy)]
pub struct GateCall {
    sql: &'static str,
    prefix: &'static str,
}

impl GateCall {
    /// `SELECT … schema.function($1)`. Its prefix keeps what is signed for it from being good for
    /// another.
    pub const fn new(sql: &'static str, prefix: &'static str) -> Self {
        Self { sql, prefix }
    }
}

impl Tenancy {
    /// Asks something.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses.
    pub async fn ask_gate(&self, call: GateCall, fields: &[&str]) -> Result<Vec<Row>, Fault> {
        self.call_gate(call.sql, call.prefix, fields).await
    }

    /// Asks something and tells what was made of the answer, in one transaction: what the answer
    /// locked is locked until then. Nothing is told when `make` gives no text.
    ///
    /// # Errors
    /// As [`Tenancy::ask_gate`], and `make`'s; nothing is kept then.
    pub async fn ask_and_tell<T>(
        &self,
        (ask, fields): (GateCall, &[&str]),
        tell: GateCall,
        make: impl FnOnce(Vec<Row>) -> Result<(Option<String>, T), Fault>,
    ) -> Result<T, Fault> {
        let mut lease = self.source.lease().await?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let question = self.sign_for_gate(ask.prefix, fields)?;
        let client = lease.depart()?;
        let begin = client.prepare_cached(BEGIN).await.map_err(fault)?;
        client.execute(&begin, &[]).await.map_err(fault)?;
        let statement = client.prepare_cached(ask.sql).await.map_err(fault)?;
        let rows = client
            .query(&statement, &[&question])
            .await
            .map_err(fault)?;
        lease.arrived();
        // From here on a fault rolls back: the lease does that when it is dropped.
        let (text, made) = make(rows.into_iter().map(Row).collect())?;
        let Some(text) = text else { return Ok(made) };
        let told = hex::encode(digest(&SHA256, text.as_bytes()));
        let event = self.sign_for_gate(tell.prefix, &[&told])?;
        let client = lease.depart()?;
        let statement = client.prepare_cached(tell.sql).await.map_err(fault)?;
        let told = client.execute(&statement, &[&event, &text]).await;
        told.map_err(fault)?;
        client.batch_execute(COMMIT).await.map_err(fault)?;
        lease.arrived();
        lease.give_back();
        Ok(made)
    }

    /// Signed only when a connection is there: waiting for one must not use up its life.
    pub(crate) fn sign_for_gate(
        &self,
        prefix: &'static str,
        fields: &[&str],
    ) -> Result<String, Fault> {
        let ring = (self.keys)();
        context::sign_for_gate(prefix, fields, &ring, &self.clock, &self.random)
    }
}
