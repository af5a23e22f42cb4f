//! How a transaction ends: a change with its entry in it, a read before its entry.
//!
//! ```text
//! with_entry    the answer that is kept, the entry, COMMIT: all or nothing, one round trip
//! read_only     ROLLBACK, the connection goes back, the entry is written with those of others
//! ```

use watertight_terms::{Entry, Fault};

use crate::{
    Receipt,
    desk::{Account, Desk, Lines},
    lease::{Lease, RESET, reset},
    repeat::{KEEP, Kept},
    transaction::Parts,
};

/// How what only read ends.
pub(crate) const END_READ: &str = "ROLLBACK";

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It changed something: its entry is part of it, and both are kept or neither.
    Change,
    /// It only read: its entry may be written together with those of others.
    Read,
}

/// What is needed to end a transaction.
pub(crate) struct Ending {
    pub(crate) lease: Lease,
    pub(crate) has_noted: bool,
    pub(crate) account: Account,
    pub(crate) parts: Parts,
}

impl Ending {
    /// Writes what is kept and the entry, and commits: one round trip.
    pub(crate) async fn with_entry(
        mut self,
        entry: &Entry,
        kept: Option<Kept>,
    ) -> Result<Receipt, Fault> {
        let journal = &self.parts.journal;
        let lines = [journal.line(&self.account, entry)?];
        let lines = Lines::of(&lines);
        let parameters = lines.parameters();
        let fault = |error: tokio_postgres::Error| self.parts.desk.sql_fault.fault(&error);
        let client = self.lease.depart()?;
        let keep = match &kept {
            Some(_) => Some(client.prepare_cached(KEEP).await.map_err(fault)?),
            None => None,
        };
        let append = client.prepare_cached(journal.append());
        let append = append.await.map_err(fault)?;
        let commit = client.prepare_cached("COMMIT").await.map_err(fault)?;
        let reset = client.prepare_cached(RESET).await.map_err(fault)?;
        let keeping = async {
            match (&keep, &kept) {
                (Some(keep), Some(kept)) => client.execute(keep, &kept.parameters()).await,
                _ => Ok(0),
            }
        };
        let (kept, appended, committed, cleaned) = tokio::join!(
            biased;
            keeping,
            client.execute(&append, &parameters),
            client.execute(&commit, &[]),
            client.execute(&reset, &[])
        );
        // COMMIT of a failed transaction rolls back and says Ok: only all together are success.
        kept.map_err(fault)?;
        appended.map_err(fault)?;
        committed.map_err(fault)?;
        // One that cannot be cleaned is not given back; the transaction is ended all the same.
        if cleaned.is_ok() {
            self.lease.arrived();
            self.lease.give_back();
        }
        Ok(self.account.settle())
    }

    /// Ends, gives the connection back, and has the entry written: whoever waits for that has neither a connection in hand
    /// nor a lock of the studio. A freeze waits for it all the same, because the flight of the account lasts until the answer
    /// has left. One whose backend a freeze has ended is answered nothing, although its entry says that it read.
    ///
    /// What a service does may be in a process that confirms no freeze, a command's: it holds the lock until its entry is
    /// durable.
    pub(crate) async fn read_only(self, entry: &Entry) -> Result<Receipt, Fault> {
        let Self {
            lease,
            has_noted,
            account,
            parts: Parts { journal, desk, .. },
        } = self;
        let line = journal.line(&account, entry)?;
        if account.is_service() {
            journal.record(line, &desk).await?;
            end_read(lease, has_noted, &desk).await?;
        } else {
            let ended = end_read(lease, has_noted, &desk).await;
            journal.record(line, &desk).await?;
            ended?;
        }
        Ok(account.settle())
    }
}

/// Ends a transaction that only read. It is rolled back: so nothing stays of what it wrote against its word, nor of what it
/// set in its session, which then needs no message of its own.
pub(crate) async fn end_read(mut lease: Lease, has_noted: bool, desk: &Desk) -> Result<(), Fault> {
    let fault = |error: tokio_postgres::Error| desk.sql_fault.fault(&error);
    let client = lease.depart()?;
    let (end, is_clean) = match has_noted {
        true => ("COMMIT", false),
        false => (END_READ, true),
    };
    let end = client.prepare_cached(end).await.map_err(fault)?;
    client.execute(&end, &[]).await.map_err(fault)?;
    // One that cannot be cleaned is not given back.
    if is_clean || reset(client).await.is_ok() {
        lease.arrived();
        lease.give_back();
    }
    Ok(())
}
