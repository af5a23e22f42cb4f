//! Where entries go: the trait that the ledger implements, and what it is given to write with.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use postgres_types::ToSql;
use watertight_terms::{Entry, Fault, Request, Subject, TenantId};

use crate::{fault::SqlFault, flight::Flight, lease::reset, source::Source};

/// Who did it, from where, and in which studio: what an entry needs beside what was done.
///
/// Made by `enter`, in the database, for whoever the studio knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    who: Who,
    tickets: Vec<i64>,
    request: Request,
    settled: AtomicBool,
    flight: Arc<Flight>,
}

/// Who did it, in which studio.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) tenant: TenantId,
    pub(crate) actor: String,
    pub(crate) acted_by: Option<Subject>,
    pub(crate) role: String,
}

impl Account {
    pub(crate) fn new(who: Who, tickets: Vec<i64>, request: Request, flight: Flight) -> Self {
        Self::of(who, tickets, request, Arc::new(flight))
    }

    fn of(who: Who, tickets: Vec<i64>, request: Request, flight: Arc<Flight>) -> Self {
        Self(Arc::new(Facts {
            who,
            tickets,
            request,
            settled: AtomicBool::new(false),
            flight,
        }))
    }

    /// The studio whose ledger it is.
    pub fn tenant(&self) -> TenantId {
        self.0.who.tenant
    }

    /// The identity provider's subject, or `service:NAME`.
    pub fn actor(&self) -> &str {
        &self.0.who.actor
    }

    /// Whether a service of the studio did it, and no person.
    pub fn is_service(&self) -> bool {
        self.actor().starts_with("service:")
    }

    /// Who acted as that subject, if somebody did.
    pub fn acted_by(&self) -> Option<&Subject> {
        self.0.who.acted_by.as_ref()
    }

    /// The role that counted.
    pub fn role(&self) -> &str {
        &self.0.who.role
    }

    /// The numbers that `enter` drew: none for a refusal, two for a request that was tried twice.
    pub fn tickets(&self) -> &[i64] {
        &self.0.tickets
    }

    /// The same, of a request that was tried before: its one entry accounts for those tickets too.
    pub fn after(&self, earlier: &Self) -> Self {
        let tickets = [earlier.tickets(), self.tickets()].concat();
        let flight = Arc::clone(&self.0.flight);
        Self::of(self.0.who.clone(), tickets, self.0.request.clone(), flight)
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// What of it is under way, for as long as anybody has the account.
    pub fn flight(&self) -> &Flight {
        &self.0.flight
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
    /// The numbers that `enter` drew, with commas, which the HMAC covers too. They stand beside the
    /// text, because whoever reads the entry is not to know them.
    pub tickets: String,
    /// The HMAC over both.
    pub mac: Vec<u8>,
}

/// Lines as the statement takes them.
pub(crate) struct Lines<'a> {
    texts: Vec<&'a str>,
    macs: Vec<&'a [u8]>,
    tickets: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(lines: &'a [Line]) -> Self {
        Self {
            texts: lines.iter().map(|line| line.text.as_str()).collect(),
            macs: lines.iter().map(|line| line.mac.as_slice()).collect(),
            tickets: lines.iter().map(|line| line.tickets.as_str()).collect(),
        }
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.texts, &self.macs, &self.tickets]
    }
}

/// A future on the heap, so that the trait can be used behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ledger as tenancy needs it; room 6 implements it.
pub trait Journal: Send + Sync + 'static {
    /// The statement that appends lines: `$1` their texts, `$2` their HMACs, `$3` their tickets.
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
        let lines = Lines::of(lines);
        let mut lease = self.source.lease().await?;
        let client = lease.depart()?;
        let statement = client.prepare_cached(self.append).await.map_err(fault)?;
        client
            .execute(&statement, &lines.parameters())
            .await
            .map_err(fault)?;
        reset(client).await.map_err(fault)?;
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
