use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use postgres_types::ToSql;
use uuid::Uuid;
use watertight_authority::{
    Action, Allowed, Authority, Gathers, Granted, GrantedNew, ListFilter, Nonce, Opens, Resource,
    Spent, SpentNew, Standing,
};
use watertight_identity::{Member, Reverification};
use watertight_terms::{Clock, Entry, Fault, TenantId, problems};

use crate::{
    Change, Consequence, Insert, Journal, Read, Receipt, Row, Stored,
    desk::{Account, Desk},
    ending::{End, Ending},
    lease::Lease,
    load::tell_slow,
    repeat::Keyed,
    right::{On, Right, Rows, told},
    row::own,
    tell::Signing,
};

/// An open transaction in one studio, bound to one caller.
///
/// It ends with [`commit`](TenantTx::commit) or [`finish`](TenantTx::finish), each of which asks
/// for the request's [`Entry`] and gives a [`Receipt`]. Dropped otherwise, at whatever instant, it
/// leaves nothing: its connection is discarded and the server rolls back.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct TenantTx {
    pub(crate) lease: Lease,
    pub(crate) bound: Bound,
    pub(crate) parts: Parts,
    /// Where the request carried an idempotency key: what is kept with its answer.
    pub(crate) keyed: Option<Keyed>,
    /// A statement failed or touched the wrong number of rows: only rolling back is left.
    broken: bool,
    /// The fields that were opened: the entry names them.
    opened: Mutex<Vec<&'static str>>,
    /// Who is told how many rows were written, where there are many.
    pub(crate) counts: Option<Box<dyn Fn(usize) + Send + Sync>>,
}

/// What `enter` found out.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) standing: Standing,
    pub(crate) studio_name: String,
    pub(crate) studio_zone: String,
    /// Whether `enter` wrote something itself, such as a session that it saw first.
    pub(crate) has_noted: bool,
    pub(crate) account: Account,
    /// What the caller's token said, of a person who asks with one.
    pub(crate) member: Option<Member>,
}

/// What a transaction works with.
pub(crate) struct Parts {
    pub(crate) authority: Arc<Authority>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) desk: Desk,
    /// A grant is good in the transaction that drew this, and in no other.
    pub(crate) nonce: Nonce,
    /// The kinds of rows, by their names.
    pub(crate) rows: Arc<[Rows]>,
    pub(crate) signing: Signing,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl TenantTx {
    pub(crate) fn new(lease: Lease, bound: Bound, parts: Parts) -> Self {
        Self {
            lease,
            bound,
            parts,
            keyed: None,
            broken: false,
            opened: Mutex::default(),
            counts: None,
        }
    }

    /// The studio.
    pub fn tenant(&self) -> TenantId {
        self.bound.standing.tenant
    }

    /// Who the caller is in this studio.
    pub fn standing(&self) -> &Standing {
        &self.bound.standing
    }

    /// The studio's name and time zone.
    pub fn studio(&self) -> (&str, &str) {
        (&self.bound.studio_name, &self.bound.studio_zone)
    }

    /// Who, from where: for the entry of a request that ends badly.
    pub fn account(&self) -> &Account {
        &self.bound.account
    }

    /// Refuses unless the caller proved lately enough who they are: for what a stolen session must
    /// not do. A page session does not tell, so what asks for it is no page's.
    ///
    /// # Errors
    /// `reverification`, in the form that Clerk's front end understands; not allowed for whoever is
    /// no person with a token.
    pub fn verified_within(&self, level: Reverification, clock: &Clock) -> Result<(), Fault> {
        match &self.bound.member {
            Some(member) => member.verified_within(level, clock),
            None => Err(Fault::not_allowed().log("a step-up of who has no token")),
        }
    }

    /// The names of what the caller may do in the studio.
    pub fn can(&self) -> Vec<String> {
        self.parts.authority.can(&self.bound.standing)
    }

    /// Loads a row and asks whether the caller may do `A` with it.
    ///
    /// # Errors
    /// Unseen, when there is no such row or the caller may not view it; not allowed, when the
    /// caller sees it but may not do this.
    pub async fn grant<A: Action<R>, R: Stored>(
        &mut self,
        id: Uuid,
    ) -> Result<Granted<A, R>, Fault> {
        let row = self.load::<R>(id).await?;
        let granted = self.decided(row)?;
        self.note(A::NAME, || row_of::<R>(id));
        Ok(granted)
    }

    /// Asks whether the caller may do `A` with a row.
    pub(crate) fn decided<A: Action<R>, R: Resource>(
        &self,
        row: R,
    ) -> Result<Granted<A, R>, Fault> {
        let row = own(row, self.tenant())?;
        self.parts
            .authority
            .decide::<A, R>(&self.bound.standing, row, &self.parts.nonce)
            .map_err(|refused| told(A::NAME, refused))
    }

    pub(crate) async fn load<R: Stored>(&mut self, id: Uuid) -> Result<R, Fault> {
        self.find(R::LOAD, id).await?.ok_or_else(Fault::unseen)
    }

    /// A row that this transaction has written, as it is now. `read` is [`Stored::LOAD`], or a
    /// statement of the same parameters that reads more of it.
    ///
    /// # Errors
    /// When it is not there: a defect of ours.
    pub async fn written<R: Stored>(&mut self, read: Read, id: Uuid) -> Result<R, Fault> {
        let row = self.find(read, id).await?;
        row.ok_or_else(|| Fault::bug(format!("a written {} is not there", R::NOUN)))
    }

    async fn find<R: Stored>(&mut self, read: Read, id: Uuid) -> Result<Option<R>, Fault> {
        let rows = self.read(read, &[&id]).await?;
        rows.first()
            .map(|row| own(R::from_row(row)?, self.tenant()))
            .transpose()
    }

    /// The row of a grant that is good for nothing but seeing.
    ///
    /// # Errors
    /// When the grant is another transaction's: a defect of ours.
    pub fn seen<A: Action<R>, R: Resource>(&mut self, granted: Granted<A, R>) -> Result<R, Fault> {
        self.spend(granted).map(Spent::into_row)
    }

    /// Asks whether the caller may make an `R`.
    ///
    /// # Errors
    /// Not allowed.
    pub fn grant_new<A: Action<R>, R: Resource>(&mut self) -> Result<GrantedNew<A, R>, Fault> {
        let granted = self
            .parts
            .authority
            .decide_new::<A, R>(&self.bound.standing, &self.parts.nonce)
            .map_err(|refused| told(A::NAME, refused))?;
        self.note(A::NAME, || On::Studio);
        Ok(granted)
    }

    /// Whether the caller may do `A` with a row at hand: for fields that not everybody sees.
    pub fn allows<A: Action<R>, R: Resource>(&self, row: &R) -> bool {
        let authority = &self.parts.authority;
        let allowed = authority.allows::<A, R>(&self.bound.standing, row);
        if allowed {
            self.note(A::NAME, || row_of::<R>(row.id()));
        }
        allowed
    }

    /// The right to open what `A` opens of a row at hand, if the caller has it.
    pub fn allowed<A: Opens<R>, R: Resource>(&self, row: &R) -> Option<Allowed<A, R>> {
        let (authority, nonce) = (&self.parts.authority, &self.parts.nonce);
        let allowed = authority.allow::<A, R>(&self.bound.standing, row, nonce)?;
        self.note(A::NAME, || row_of::<R>(row.id()));
        Some(allowed)
    }

    /// Uses that right for a column, which this transaction's entry then names. Gives the row.
    ///
    /// # Errors
    /// When the right is another transaction's, or not to that column: a defect of ours.
    pub fn opens<A: Opens<R>, R: Resource>(
        &self,
        allowed: &Allowed<A, R>,
        column: &'static str,
    ) -> Result<Uuid, Fault> {
        let row = allowed.row_for(column, &self.parts.nonce);
        let row = row.map_err(|misspent| Fault::bug(misspent.to_string()))?;
        self.note_opened(column.rsplit('.').next().unwrap_or(column));
        Ok(row)
    }

    /// The right to open what `A` opens of the rows that a row at hand gathers, if the caller has it.
    pub fn allowed_to_gather<A: Gathers<R>, R: Resource>(&self, row: &R) -> Option<Allowed<A, R>> {
        let (authority, nonce) = (&self.parts.authority, &self.parts.nonce);
        let allowed = authority.allow_gathering::<A, R>(&self.bound.standing, row, nonce)?;
        self.note(A::NAME, || row_of::<R>(row.id()));
        Some(allowed)
    }

    /// Uses that right for a column of whichever row, which this transaction's entry then names.
    ///
    /// # Errors
    /// When the right is another transaction's, or not to that column: a defect of ours.
    pub fn gathers<A: Gathers<R>, R: Resource>(
        &self,
        allowed: &Allowed<A, R>,
        table: &str,
        column: &'static str,
    ) -> Result<(), Fault> {
        let gathered = allowed.gathers(table, column, &self.parts.nonce);
        gathered.map_err(|misspent| Fault::bug(misspent.to_string()))?;
        self.note_opened(column);
        Ok(())
    }

    fn note_opened(&self, field: &'static str) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !opened.contains(&field) {
            opened.push(field);
        }
    }

    /// Reads the rows of a list that the caller may `A`.
    ///
    /// The statement's `$1` is the tenant and `$2` the artist whose rows alone are asked for (null:
    /// all); `parameters` start at `$3`. The policies are the wall, the second parameter is for the
    /// index.
    ///
    /// # Errors
    /// Not allowed, when the caller may see no row of this kind whatever it holds.
    pub async fn page<A: Action<R>, R: Stored>(
        &mut self,
        list: Read,
        parameters: Parameters<'_>,
    ) -> Result<Vec<R>, Fault> {
        let filter = self
            .parts
            .authority
            .filter::<A, R>(&self.bound.standing)
            .map_err(|error| Fault::bug(error.to_string()))?;
        let artist = match filter {
            ListFilter::All => None,
            ListFilter::OwnArtist(artist) => Some(artist),
            ListFilter::Nothing => return Err(Fault::not_allowed().log(A::NAME)),
        };
        self.note(A::NAME, || On::List {
            entity: R::ENTITY.to_owned(),
        });
        let all = after(&[&artist], parameters);
        let rows = self.read(list, &all).await?;
        rows.iter()
            .map(|row| own(R::from_row(row)?, self.tenant()))
            .collect()
    }

    /// Runs a read: `$1` is the tenant, `parameters` start at `$2`.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn read(
        &mut self,
        read: Read,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        if read.locks {
            self.may_write()?;
        }
        let tenant = self.tenant().0;
        let all = after(&[&tenant], parameters);
        self.run(read.sql, &all).await
    }

    /// Runs several reads in one round trip, in their order; each sees what the ones before it
    /// waited for. `$1` is the tenant in each of them.
    ///
    /// # Errors
    /// The first that the database refuses; what follows it did not run.
    pub async fn reads(
        &mut self,
        reads: &[(Read, Parameters<'_>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        if reads.iter().any(|(read, _)| read.locks) {
            self.may_write()?;
        }
        let tenant = self.tenant().0;
        let client = self.lease.depart()?;
        let answers = async {
            // Prepared before the pipeline: an unprepared statement inside it would be overtaken.
            let mut prepared = Vec::with_capacity(reads.len());
            for (read, parameters) in reads {
                let statement = client.prepare_cached(read.sql).await?;
                prepared.push((statement, after(&[&tenant], parameters)));
            }
            let sent = prepared
                .iter()
                .map(|(statement, all)| client.query(statement, all));
            join_all(sent)
                .await
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
        }
        .await;
        self.lease.arrived();
        let rows = |answer: Vec<tokio_postgres::Row>| answer.into_iter().map(Row).collect();
        answers
            .map(|answers| answers.into_iter().map(rows).collect())
            .map_err(|error| self.breaks(self.parts.desk.sql_fault.fault(&error)))
    }

    /// Changes the granted row, and only it: `$1` to `$3` are tenant, id and version, `parameters`
    /// start at `$4`.
    ///
    /// # Errors
    /// Stale, when the row is no longer of the version that was granted; the transaction can then
    /// only be rolled back.
    pub async fn change<A: Action<R>, R: Resource>(
        &mut self,
        granted: Granted<A, R>,
        change: Change,
        parameters: Parameters<'_>,
    ) -> Result<(Spent<A, R>, Row), Fault> {
        self.may_write()?;
        let spent = self.spend(granted)?;
        let (tenant, id, version) = (self.tenant().0, spent.id(), spent.version());
        let all = after(&[&tenant, &id, &version], parameters);
        let row = self.exactly_one(change.0, &all).await?.ok_or_else(|| {
            Fault::new(problems::STALE, "it was changed meanwhile; load it again")
        })?;
        Ok((spent, row))
    }

    /// Writes the granted new row: `$1` is the tenant, `parameters` start at `$2`.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn create<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        insert: Insert,
        parameters: Parameters<'_>,
    ) -> Result<SpentNew<A, R>, Fault> {
        let spent = self.spend_new(granted)?;
        let tenant = self.tenant().0;
        let all = after(&[&tenant], parameters);
        if self.affect(insert.0, &all).await? != 1 {
            return Err(self.breaks(Fault::bug("an insert that wrote no row")));
        }
        Ok(spent)
    }

    pub(crate) fn spend<A: Action<R>, R: Resource>(
        &mut self,
        granted: Granted<A, R>,
    ) -> Result<Spent<A, R>, Fault> {
        granted
            .spend(&self.parts.nonce)
            .map_err(|misspent| self.breaks(Fault::bug(misspent.to_string())))
    }

    pub(crate) fn spend_new<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
    ) -> Result<SpentNew<A, R>, Fault> {
        self.may_write()?;
        granted
            .spend(&self.parts.nonce)
            .map_err(|misspent| self.breaks(Fault::bug(misspent.to_string())))
    }

    /// Refuses whoever only acts as a member, which is to read. The policies of the tables say the
    /// same, and hide from them what a statement would lock; this says it in words.
    ///
    /// # Errors
    /// Impersonation, when the caller acts as a member.
    pub fn may_write(&self) -> Result<(), Fault> {
        match self.bound.account.acted_by() {
            None => Ok(()),
            Some(_) => Err(Fault::new(
                problems::IMPERSONATION,
                "whoever acts as a member may only read",
            )),
        }
    }

    /// Writes what follows from a granted change inside the same aggregate. No grant of its own, but
    /// proof that one was spent: `after` is what the change or the creation gave.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn also<Proof: SpentProof>(
        &mut self,
        after: &Proof,
        consequence: Consequence,
        parameters: Parameters<'_>,
    ) -> Result<u64, Fault> {
        let tenant = self.tenant().0;
        let changed = after.changed_row();
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        if consequence.of_the_row {
            let row = changed.as_ref();
            all.push(row.ok_or_else(|| Fault::bug("nothing stems yet from what was only made"))?);
        }
        all.extend_from_slice(parameters);
        self.affect(consequence.sql, &all).await
    }

    /// Ends a transaction that changed something: its entry is written in it.
    ///
    /// # Errors
    /// When a statement failed before, or the entry or the commit fails: nothing is kept then.
    /// After a lost connection it is unknown whether it was kept; an idempotency key tells.
    pub async fn commit(self, entry: Entry) -> Result<Receipt, Fault> {
        self.answered(End::Change, entry, no_answer).await
    }

    /// Ends a transaction that only read: its entry is durable before this resolves. A freeze that has returned finds it
    /// written, for it waits for what is under way in each process that answers, and for the lock of whoever else reads.
    ///
    /// # Errors
    /// When a statement failed before, or the entry cannot be written: no data may leave then.
    pub async fn finish(self, entry: Entry) -> Result<Receipt, Fault> {
        self.answered(End::Read, entry, no_answer).await
    }

    /// Ends the transaction of a request that is answered: with its entry and, if the request carried
    /// an idempotency key, with the answer and what the request was granted. A request with a key
    /// cannot end without.
    ///
    /// # Errors
    /// As [`TenantTx::commit`] and [`TenantTx::finish`].
    pub async fn answered(
        self,
        end: End,
        entry: Entry,
        answer: impl FnOnce(&Entry, &[Right]) -> Result<String, Fault>,
    ) -> Result<Receipt, Fault> {
        if self.broken {
            return Err(Fault::bug("an end after a failed statement"));
        }
        let entry = self.naming_opened(entry);
        let kept = self.keeps(|rights| answer(&entry, rights))?;
        let ending = Ending {
            lease: self.lease,
            has_noted: self.bound.has_noted,
            account: self.bound.account,
            parts: self.parts,
        };
        match (end, kept) {
            (End::Read, None) => ending.read_only(&entry).await,
            // An answer that is kept is a change, whatever was asked.
            (_, kept) => ending.with_entry(&entry, kept).await,
        }
    }

    /// Goes on from an attempt at the same request that came to nothing.
    pub fn after(mut self, earlier: &Account) -> Self {
        self.bound.account = self.bound.account.after(earlier);
        self
    }

    /// The entry, with the fields that were opened.
    fn naming_opened(&self, entry: Entry) -> Entry {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        entry.opened(opened.iter().copied())
    }

    /// For whoever ends it otherwise.
    pub(crate) fn taken_apart(self) -> (Lease, Bound, Parts) {
        (self.lease, self.bound, self.parts)
    }

    pub(crate) fn breaks(&mut self, fault: Fault) -> Fault {
        self.broken = true;
        fault
    }

    pub(crate) async fn run(
        &mut self,
        sql: &'static str,
        all: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let client = self.lease.depart()?;
        let answer = match client.prepare_cached(sql).await {
            Ok(statement) => client.query(&statement, all).await,
            Err(error) => Err(error),
        };
        tell_slow(sql, self.lease.arrived());
        match answer {
            Ok(rows) => Ok(rows.into_iter().map(Row).collect()),
            Err(error) => Err(self.breaks(self.parts.desk.sql_fault.fault(&error))),
        }
    }

    async fn affect(&mut self, sql: &'static str, all: Parameters<'_>) -> Result<u64, Fault> {
        let client = self.lease.depart()?;
        let answer = match client.prepare_cached(sql).await {
            Ok(statement) => client.execute(&statement, all).await,
            Err(error) => Err(error),
        };
        tell_slow(sql, self.lease.arrived());
        answer.map_err(|error| self.breaks(self.parts.desk.sql_fault.fault(&error)))
    }

    /// Runs a change that must touch one row; otherwise the transaction is broken.
    async fn exactly_one(
        &mut self,
        sql: &'static str,
        all: Parameters<'_>,
    ) -> Result<Option<Row>, Fault> {
        let mut rows = self.run(sql, all).await?;
        let row = rows.pop();
        if row.is_none() || !rows.is_empty() {
            self.broken = true;
        }
        if !rows.is_empty() {
            return Err(Fault::bug("a change touched more rows than were granted"));
        }
        Ok(row)
    }
}

fn no_answer(_: &Entry, _: &[Right]) -> Result<String, Fault> {
    Err(Fault::bug(
        "a request with an idempotency key ended without its answer",
    ))
}

fn row_of<R: Resource>(id: Uuid) -> On {
    On::Row {
        entity: R::ENTITY.to_owned(),
        id,
    }
}

/// A statement's parameters: what the transaction puts in, then what the caller gives.
fn after<'a>(
    ours: &[&'a (dyn ToSql + Sync)],
    given: Parameters<'a>,
) -> Vec<&'a (dyn ToSql + Sync)> {
    [ours, given].concat()
}

impl std::fmt::Debug for TenantTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TenantTx({})", self.tenant())
    }
}

/// What proves that a grant was spent in this transaction.
pub trait SpentProof: sealed::Sealed {
    /// The row that was changed; none when one was made.
    fn changed_row(&self) -> Option<Uuid>;
}

impl<A: Action<R>, R: Resource> SpentProof for Spent<A, R> {
    fn changed_row(&self) -> Option<Uuid> {
        Some(self.id())
    }
}

impl<A: Action<R>, R: Resource> SpentProof for SpentNew<A, R> {
    fn changed_row(&self) -> Option<Uuid> {
        None
    }
}

mod sealed {
    use watertight_authority::{Action, Resource, Spent, SpentNew};

    pub trait Sealed {}
    impl<A: Action<R>, R: Resource> Sealed for Spent<A, R> {}
    impl<A: Action<R>, R: Resource> Sealed for SpentNew<A, R> {}
}
