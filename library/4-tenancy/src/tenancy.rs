use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;
use watertight_authority::{Authority, Principal, Standing};
use watertight_identity::{Caller, Member, Who};
use watertight_terms::{
    Clock, Entry, Fault, KeyRing, Random, Request, Role, Subject, TenantId, Unproven, problems,
};

use crate::{
    Constraint, Journal, Receipt, Rows, TenantTx, ToSql, context,
    desk::{Account, Desk, Who as Actor},
    fault::SqlFault,
    flight::{Flight, Flights},
    lease::reset,
    load::Load,
    sight::Studios,
    source::Source,
    tell::Signing,
    transaction::Bound,
};

/// How the app reaches its database, and the bounds it keeps.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connection URL of the app role. Other hosts than a socket's and loopback are reached by TLS, and
    /// their name is checked against the system's authorities or those that `sslrootcert=FILE` names.
    pub url: secrecy::SecretString,
    /// At most so many connections.
    pub pool_max: usize,
    /// A request waits at most so long for a connection.
    pub wait_ms: u64,
    /// What a broken constraint means to the caller, by its name.
    pub constraint: fn(&str) -> Option<&'static Constraint>,
    /// The kinds of rows that are granted: what a repeated request needed is asked for again by name.
    pub rows: Vec<Rows>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// The URL does not parse. The URL itself is not shown: it holds a password.
    #[error("the database url cannot be read: {0}")]
    Url(String),
    /// It asks for less than TLS with the server's name checked.
    #[error("the database url may say `sslmode=verify-full` and nothing less; leave `sslmode` out")]
    Lax,
    /// Some of its hosts are of this machine and some are not.
    #[error("the hosts of the database url are to be all of this machine, or all of others")]
    Mixed,
    /// The authorities that it names cannot be used.
    #[error("sslrootcert of the database url: {0}")]
    Roots(String),
    /// The pool cannot be made.
    #[error("the pool cannot be made: {0}")]
    Pool(String),
}

/// The way into the database: begins transactions for callers.
#[derive(Clone)]
pub struct Tenancy {
    pub(crate) source: Source,
    pub(crate) keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
    authority: Arc<Authority>,
    journal: Arc<dyn Journal>,
    desk: Desk,
    /// What isolations are told of by, and what they wait for.
    pub(crate) brake: Source,
    pub(crate) flights: Flights,
    pub(crate) studios: Studios,
    pub(crate) sql_fault: SqlFault,
    rows: Arc<[Rows]>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

/// A caller who was not let in.
#[derive(Debug)]
pub struct Refused {
    /// What the caller is told.
    pub fault: Fault,
    /// Who it was, when the studio knows them: then the studio's ledger says so too.
    pub account: Option<Account>,
    /// The studio's name, for a guest, who may know that and nothing else.
    pub guest_of: Option<String>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            account: None,
            guest_of: None,
        }
    }
}

/// The SQLSTATEs with which `enter` refuses a caller, as opposed to a connection.
const REFUSALS: [&str; 9] = [
    "ZT010", "ZT011", "ZT013", "ZT016", "ZT017", "ZT019", "ZT020", "ZT021", "ZT024",
];

/// Connections on which entries are written that are in no transaction of their own.
const DESK_CONNECTIONS: usize = 2;

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Read-only only once it has entered: that draws a number.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";
pub(crate) const ENTER: &str = "SELECT tenant, member, member_role, artist, number, studio_name, studio_zone, subject, shut_out, has_noted FROM tenancy.enter($1)";

impl Tenancy {
    /// Connects lazily: the first request opens the first connection.
    ///
    /// `keys` gives the ring `context` each time, so that a rotation needs no restart.
    ///
    /// # Errors
    /// When the URL cannot be read, or names a host that needs encryption.
    pub fn new(
        settings: &Settings,
        keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
        authority: Arc<Authority>,
        journal: Arc<dyn Journal>,
        clock: Clock,
        random: Random,
    ) -> Result<Self, SettingsFault> {
        let source = Source::new(settings, settings.pool_max)?;
        let sql_fault = SqlFault {
            constraint: settings.constraint,
        };
        let desk = Desk {
            // Of its own: a service waits for its entry with its connection in hand, and all that wait for a connection
            // must not keep the entries from being written of whoever had one.
            source: Source::new(settings, DESK_CONNECTIONS)?,
            append: journal.append(),
            sql_fault,
        };
        Ok(Self {
            source,
            keys,
            authority,
            journal,
            desk,
            brake: Source::new(settings, 1)?,
            flights: Flights::default(),
            studios: Studios::default(),
            sql_fault,
            rows: settings.rows.clone().into(),
            clock,
            random,
        })
    }

    /// Begins a transaction for `caller`, bound to the caller's studio: one round trip.
    ///
    /// # Errors
    /// When the caller is no member, or the studio is not available. The entry of a refused member
    /// is the caller's to write, with [`Tenancy::record`].
    pub async fn begin(&self, caller: &Caller, request: Request) -> Result<TenantTx, Refused> {
        self.begin_with(BEGIN, caller, request).await
    }

    /// Begins one that sees all of the studio as it is at this instant, and writes nothing: for archives. The database
    /// lets only the studio's service `custody` have it.
    ///
    /// # Errors
    /// As [`Tenancy::begin`]; busy when the studio's own row was changed at the same moment.
    pub async fn begin_snapshot(
        &self,
        caller: &Caller,
        request: Request,
    ) -> Result<TenantTx, Refused> {
        let mut tx = self.begin_with(BEGIN_SNAPSHOT, caller, request).await?;
        tx.run("SET TRANSACTION READ ONLY", &[]).await?;
        Ok(tx)
    }

    async fn begin_with(
        &self,
        begin: &'static str,
        caller: &Caller,
        request: Request,
    ) -> Result<TenantTx, Refused> {
        let mut lease = self.source.lease().await?;
        let flight = self.flights.begin(&request.address);
        let member = member_of(caller);
        // Signed only now: waiting for a connection must not use up the context's life.
        let token = context::sign(caller, &(self.keys)(), &self.clock, &self.random)?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        // Prepared before the pipeline: an unprepared statement inside it would be overtaken.
        let begin = client.prepare_cached(begin).await.map_err(fault)?;
        let enter = client.prepare_cached(ENTER).await.map_err(fault)?;
        let parameters: [&(dyn ToSql + Sync); 1] = [&token];
        let (begun, entered) = tokio::join!(
            biased;
            client.execute(&begin, &[]),
            client.query_one(&enter, &parameters)
        );
        begun.map_err(fault)?;
        let row = match entered {
            Ok(row) => row,
            Err(error) => {
                // After any other error the connection is not what it should be, and is discarded.
                if is_refusal(&error) {
                    lease.arrived();
                }
                return Err(self.refusal(&error, member.as_ref(), request, flight));
            }
        };
        lease.arrived();
        let bound = let_in(&crate::Row(row), member, request, flight)?;
        Ok(TenantTx::new(lease, bound, self.parts()))
    }

    /// Writes the entry of a request that has no transaction of its own: a refusal or a failure.
    ///
    /// # Errors
    /// When it cannot be written; then nothing may be answered.
    pub async fn record(&self, account: &Account, entry: &Entry) -> Result<Receipt, Fault> {
        let line = self.journal.line(account, entry)?;
        self.journal.record(line, &self.desk).await?;
        Ok(account.settle())
    }

    /// Calls one of the gate's functions that take what the server signed and nobody's context. Each
    /// statement is a transaction of its own.
    pub(crate) async fn call_gate(
        &self,
        call: &'static str,
        prefix: &'static str,
        fields: &[&str],
    ) -> Result<Vec<crate::Row>, Fault> {
        self.call_gate_on(&self.source, call, prefix, fields).await
    }

    /// The same on a connection of another source.
    pub(crate) async fn call_gate_on(
        &self,
        source: &Source,
        call: &'static str,
        prefix: &'static str,
        fields: &[&str],
    ) -> Result<Vec<crate::Row>, Fault> {
        let mut lease = source.lease().await?;
        let signed = self.sign_for_gate(prefix, fields)?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        let statement = client.prepare_cached(call).await.map_err(fault)?;
        let rows = client.query(&statement, &[&signed]).await.map_err(fault)?;
        reset(client).await.map_err(fault)?;
        lease.arrived();
        lease.give_back();
        Ok(rows.into_iter().map(crate::Row).collect())
    }

    /// How much the database is asked on the connections that requests share.
    pub fn load(&self) -> Load {
        self.source.load()
    }

    pub(crate) fn parts(&self) -> crate::transaction::Parts {
        crate::transaction::Parts {
            authority: Arc::clone(&self.authority),
            journal: Arc::clone(&self.journal),
            desk: self.desk.clone(),
            nonce: watertight_authority::Nonce::new(self.random.bytes()),
            rows: Arc::clone(&self.rows),
            signing: Signing {
                keys: Arc::clone(&self.keys),
                clock: self.clock.clone(),
                random: self.random.clone(),
            },
        }
    }

    pub(crate) fn refusal(
        &self,
        error: &tokio_postgres::Error,
        member: Option<&Member>,
        request: Request,
        flight: Flight,
    ) -> Refused {
        let Some(database) = error.as_db_error() else {
            return self.sql_fault.fault(error).into();
        };
        let code = database.code().code();
        let known = database
            .detail()
            .and_then(|detail| serde_json::from_str::<Known>(detail).ok());
        let fault = match code {
            "ZT010" => Fault::unavailable("the studio is not available right now", 5),
            "ZT011" | "ZT017" => Fault::new(
                problems::NOT_A_MEMBER,
                "you are no active member of this studio",
            ),
            "ZT020" => Fault::new(
                problems::FROZEN,
                "the studio is frozen until an incident is over",
            ),
            "ZT021" => isolated(),
            "ZT013" | "ZT024" => Fault::new(
                problems::UNAUTHENTICATED,
                "the session has ended; sign in again",
            ),
            "ZT016" => Fault::not_allowed(),
            "ZT019" => Fault::new(
                problems::IMPERSONATION_OFF,
                "this studio lets nobody act as its members",
            ),
            "ZT003" | "ZT004" | "ZT005" => {
                Fault::unavailable("this takes too long right now; try again", 1)
            }
            _ => self.sql_fault.fault(error),
        };
        let account = known.as_ref().map(|known| {
            let who = Actor {
                tenant: TenantId(known.tenant),
                actor: known.actor.clone(),
                acted_by: acted_by(member),
                role: known.role.clone(),
            };
            Account::new(who, Vec::new(), request, flight)
        });
        let guest_of = (code == "ZT016")
            .then_some(known)
            .flatten()
            .map(|k| k.studio);
        let fault = fault.log(format!("{code} {}", database.message()));
        let fault = match unproven(code).filter(|_| account.is_none()) {
            Some(why) => fault.unproven(why),
            None => fault,
        };
        Refused {
            fault,
            account,
            guest_of,
        }
    }
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenancy")
    }
}

/// Why `enter` knows nobody. Whom it knows, their studio's ledger counts.
fn unproven(code: &str) -> Option<Unproven> {
    match code {
        "ZT011" => Some(Unproven::NotAMember),
        "ZT013" => Some(Unproven::Over),
        "ZT024" => Some(Unproven::UnknownSecret),
        _ => None,
    }
}

/// Whom `enter` refused, from the error's detail.
#[derive(Deserialize)]
struct Known {
    tenant: Uuid,
    /// The name by which the ledger knows the caller.
    actor: String,
    role: String,
    studio: String,
}

/// Whether `enter` refused the caller; after any other error the connection is not what it should be.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    code.is_some_and(|code| REFUSALS.contains(&code.code()))
}

/// What the caller's token said, of a person who asks with one.
pub(crate) fn member_of(caller: &Caller) -> Option<Member> {
    match caller.who() {
        Who::Member(member) => Some(member.clone()),
        Who::Service { .. } | Who::Page { .. } | Who::Feed { .. } => None,
    }
}

/// Whom `enter` has let in, unless from an address that is shut out: from where a request comes only the server knows.
pub(crate) fn let_in(
    row: &crate::Row,
    member: Option<Member>,
    request: Request,
    flight: Flight,
) -> Result<Bound, Refused> {
    let shut_out: Vec<String> = row.field("shut_out")?;
    let is_shut_out = shut_out.contains(&request.address);
    let bound = bound(row, member, request, flight)?;
    match is_shut_out {
        false => Ok(bound),
        // The number that was drawn is accounted for by the entry of the refusal.
        true => Err(Refused {
            fault: isolated(),
            account: Some(bound.account),
            guest_of: None,
        }),
    }
}

/// Who acts as the member, if somebody does.
fn acted_by(member: Option<&Member>) -> Option<Subject> {
    member
        .and_then(Member::actor)
        .map(|actor| actor.subject().clone())
}

fn isolated() -> Fault {
    let spoken = "you are not let into this studio until an incident is over";
    Fault::new(problems::ISOLATED, spoken)
}

/// Whose a flight is, as `enter` has answered.
pub(crate) fn is_of(flight: &Flight, row: &crate::Row) {
    if let (Ok(tenant), Ok(subject)) = (row.field("tenant"), row.field::<String>("subject")) {
        flight.is_of(TenantId(tenant), &subject);
    }
}

fn bound(
    row: &crate::Row,
    member: Option<Member>,
    request: Request,
    flight: Flight,
) -> Result<Bound, Fault> {
    let tenant = TenantId(row.field("tenant")?);
    let role: String = row.field("member_role")?;
    let subject: String = row.field("subject")?;
    let principal = match subject.strip_prefix("service:") {
        Some(name) => Principal::Service {
            name: name.to_owned(),
        },
        None => Principal::Member {
            id: row.field::<Option<Uuid>>("member")?.unwrap_or_default(),
            role: role
                .parse::<Role>()
                .map_err(|error| Fault::bug(format!("role `{role}`: {error}")))?,
            artist: row.field("artist")?,
        },
    };
    is_of(&flight, row);
    let who = Actor {
        tenant,
        actor: subject,
        acted_by: acted_by(member.as_ref()),
        role,
    };
    Ok(Bound {
        standing: Standing { tenant, principal },
        studio_name: row.field("studio_name")?,
        studio_zone: row.field("studio_zone")?,
        has_noted: row.field("has_noted")?,
        account: Account::new(who, vec![row.field("number")?], request, flight),
        member,
    })
}
