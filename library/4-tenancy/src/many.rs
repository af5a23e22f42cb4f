//! Many rows in one transaction: each granted, each written by a statement of its own, and all of them sent without
//! waiting in between.
//!
//! ```no_run
//! # use watertight_authority::{Action, Resource};
//! # use watertight_tenancy::{Insert, Stored, TenantTx, ToSql};
//! # use watertight_terms::Fault;
//! # async fn example<Create: Action<Artist>, Artist: Stored>(tx: &mut TenantTx) -> Result<(), Fault> {
//! const CREATE: Insert = Insert::new("INSERT INTO studio.artists (tenant_id, name) VALUES ($1, $2)");
//! let granted = tx.grant_new::<Create, Artist>()?;
//! let (ada, bea): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) = ([&"Ada"], [&"Bea"]);
//! tx.create_each(granted, CREATE, &[ada.to_vec(), bea.to_vec()]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is absent: a statement that writes several rows. Each row is one that was counted.

use futures_util::future::join_all;
use postgres_types::ToSql;
use watertight_authority::{Action, Granted, GrantedNew, Resource, SpentNew};
use watertight_terms::{Fault, problems};

use crate::{Change, Insert, Read, Stored, TenantTx, right::On};

/// So many statements are under way at once.
const PIPELINED: usize = 200;

/// The parameters of a statement but those that the transaction puts in.
pub type Given<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// Pins how long a statement and a pause between two may take, until the transaction ends.
const LONGER: &str = "SELECT set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true)";

impl TenantTx {
    /// Lets each statement of this transaction, its commit included, take so many seconds, and each pause between two.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn take_longer(&mut self, seconds: u32) -> Result<(), Fault> {
        let limit = format!("{seconds}s");
        self.run(LONGER, &[&limit]).await.map(drop)
    }

    /// From now on `count` is told, part by part, how many rows of many were written; it is dropped with the
    /// transaction.
    pub fn count_written(&mut self, count: impl Fn(usize) + Send + Sync + 'static) {
        self.counts = Some(Box::new(count));
    }

    /// Reads rows and asks for each whether the caller may do `A` with it. `$1` is the tenant, `parameters` start at
    /// `$2`.
    ///
    /// # Errors
    /// As [`TenantTx::grant`], of the first row that is not granted.
    pub async fn grants<A: Action<R>, R: Stored>(
        &mut self,
        read: Read,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Granted<A, R>>, Fault> {
        let rows = self.read(read, parameters).await?;
        self.note(A::NAME, || On::List {
            entity: R::ENTITY.to_owned(),
        });
        rows.iter()
            .map(|row| self.decided(R::from_row(row)?))
            .collect()
    }

    /// Writes new rows. One right is enough for all of them: whether rows of the kind may be made is asked of the
    /// studio, not of a row. `$1` is the tenant, each row's parameters start at `$2`.
    ///
    /// # Errors
    /// When the database refuses one of them; the transaction can then only be rolled back.
    pub async fn create_each<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        insert: Insert,
        rows: &[Given<'_>],
    ) -> Result<SpentNew<A, R>, Fault> {
        let spent = self.spend_new(granted)?;
        let tenant = self.tenant().0;
        for chunk in rows.chunks(PIPELINED) {
            let all: Vec<Given<'_>> = chunk
                .iter()
                .map(|row| [&[&tenant as &(dyn ToSql + Sync)], row.as_slice()].concat())
                .collect();
            self.affect_each(insert.0, &all, || Fault::bug("an insert that wrote no row"))
                .await?;
        }
        Ok(spent)
    }

    /// Changes the granted rows, and only them: `$1` to `$3` are tenant, id and version, each row's parameters start at
    /// `$4`.
    ///
    /// # Errors
    /// Stale, when one of them is no longer of the version that was granted; the transaction can then only be rolled
    /// back.
    pub async fn change_each<A: Action<R>, R: Resource>(
        &mut self,
        change: Change,
        rows: Vec<(Granted<A, R>, Given<'_>)>,
    ) -> Result<(), Fault> {
        self.may_write()?;
        let tenant = self.tenant().0;
        let mut named = Vec::with_capacity(rows.len());
        for (granted, given) in rows {
            let spent = self.spend(granted)?;
            named.push((spent.id(), spent.version(), given));
        }
        for chunk in named.chunks(PIPELINED) {
            let all: Vec<Given<'_>> = chunk
                .iter()
                .map(|(id, version, given)| {
                    let ours: [&(dyn ToSql + Sync); 3] = [&tenant, id, version];
                    [ours.as_slice(), given.as_slice()].concat()
                })
                .collect();
            self.affect_each(change.0, &all, || {
                Fault::new(problems::STALE, "a row was changed meanwhile; try again")
            })
            .await?;
        }
        Ok(())
    }

    /// Runs a statement once for each list of parameters; each must touch one row.
    async fn affect_each(
        &mut self,
        sql: &'static str,
        rows: &[Given<'_>],
        otherwise: impl Fn() -> Fault,
    ) -> Result<(), Fault> {
        let client = self.lease.depart()?;
        let answers = match client.prepare_cached(sql).await {
            Ok(statement) => {
                let sent = rows.iter().map(|all| client.execute(&statement, all));
                let answers = join_all(sent).await;
                answers.into_iter().collect::<Result<Vec<u64>, _>>()
            }
            Err(error) => Err(error),
        };
        self.lease.arrived();
        match answers {
            Ok(counts) if counts.iter().all(|count| *count == 1) => {
                if let Some(count) = &self.counts {
                    count(rows.len());
                }
                Ok(())
            }
            Ok(_) => Err(self.breaks(otherwise())),
            Err(error) => Err(self.breaks(self.parts.desk.sql_fault.fault(&error))),
        }
    }
}
