//! Where entries go: the trait that the ledger implements, and what it is given to write with.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use watertight_terms::{Entry, Fault, Request, Subject, TenantId};

use crate::{fault::SqlFault, lease::RESET, source::Source};

/// Who did it, from where, and in which studio: what an entry needs beside what was done.
///
/// Made by `enter`, in the database, for whoever the studio knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    tenant: TenantId,
    actor: String,
    acted_by: Option<Subject>,
    role: String,
    ticket: Option<i64>,
    request: Request,
    settled: AtomicBool,
}

impl Account {
    pub(crate) fn new(
        tenant: TenantId,
        actor: String,
        acted_by: Option<Subject>,
        role: String,
        ticket: Option<i64>,
        request: Request,
    ) -> Self {
        Self(Arc::new(Facts {
            tenant,
            actor,
            acted_by,
            role,
            ticket,
            request,
            settled: AtomicBool::new(false),
        }))
    }

    /// The studio whose ledger it is.
    pub fn tenant(&self) -> TenantId {
        self.0.tenant
    }

    /// The identity provider's subject, or `service:NAME`.
    pub fn actor(&self) -> &str {
        &self.0.actor
    }

    /// Who acted as that subject, if somebody did.
    pub fn acted_by(&self) -> Option<&Subject> {
        self.0.acted_by.as_ref()
    }

    /// The role that counted.
    pub fn role(&self) -> &str {
        &self.0.role
    }

    /// The number that `enter` drew; absent for a refusal, which drew none.
    pub fn ticket(&self) -> Option<i64> {
        self.0.ticket
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Whether the request's entry is written.
    pub fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::Acquire)
    }

    pub(crate) fn settle(&self) -> Receipt {
        self.0.settled.store(true, Ordering::Release);
        Receipt(())
    }
}

/// Proof that the request's entry is durable. Without one there is no answer.
#[must_use = "a receipt is what an answer is made with"]
#[derive(Debug)]
pub struct Receipt(());

/// An entry, ready to be appended: its text and the server's HMAC over it.
#[derive(Debug, Clone)]
pub struct Line {
    /// The entry as JSON.
    pub text: String,
    /// The HMAC over the text.
    pub mac: Vec<u8>,
}

/// A future on the heap, so that the trait can be used behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ledger as tenancy needs it; room 6 implements it.
pub trait Journal: Send + Sync + 'static {
    /// The statement that appends lines: `$1` their texts, `$2` their HMACs.
    fn append(&self) -> &'static str;

    /// Makes the line of an entry. Its id is the request's, so that writing it again changes
    /// nothing.
    ///
    /// # Errors
    /// When there is no key to sign it with.
    fn line(&self, account: &Account, entry: &Entry) -> Result<Line, Fault>;

    /// Writes the line of a read, a refusal or a failure. Resolves when it is durable.
    fn record<'a>(&'a self, line: Line, desk: &'a Desk) -> BoxFuture<'a, Result<(), Fault>>;
}

/// What a journal writes with: one statement, outside any studio's transaction.
#[derive(Clone)]
pub struct Desk {
    pub(crate) source: Source,
    pub(crate) append: &'static str,
    pub(crate) sql_fault: SqlFault,
}

impl Desk {
    /// Appends lines in a transaction of their own. Resolves when they are durable.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses them; nothing is written then.
    pub async fn append(&self, lines: &[Line]) -> Result<(), Fault> {
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let macs: Vec<&[u8]> = lines.iter().map(|line| line.mac.as_slice()).collect();
        let mut lease = self.source.lease().await?;
        let client = lease.depart()?;
        let statement = client.prepare_cached(self.append).await.map_err(fault)?;
        client
            .execute(&statement, &[&texts, &macs])
            .await
            .map_err(fault)?;
        let reset = client.prepare_cached(RESET).await.map_err(fault)?;
        client.execute(&reset, &[]).await.map_err(fault)?;
        lease.arrived();
        lease.give_back();
        Ok(())
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}
