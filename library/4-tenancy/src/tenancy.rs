use std::{sync::Arc, time::Duration};

use deadpool_postgres::{
    Hook, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use serde::Deserialize;
use tokio_postgres::{NoTls, config::Host};
use uuid::Uuid;
use watertight_authority::{Authority, Principal, Standing};
use watertight_identity::{Caller, Member, Who};
use watertight_terms::{
    Clock, Entry, Fault, KeyRing, Kind, Random, Request, Role, Subject, TenantId,
};

use crate::{
    Constraint, Journal, Receipt, Rows, TenantTx, ToSql, context,
    desk::{Account, Desk},
    fault::SqlFault,
    lease::{Lease, RESET},
    tell::Signing,
    transaction::Bound,
};

/// How the app reaches its database, and the bounds it keeps.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connection URL of the app role. A Unix socket or a loopback address: connections to other
    /// hosts wait for the edge's TLS settings.
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
    /// The host is neither a socket nor loopback.
    #[error(
        "the database host `{0}` is neither a socket nor loopback; a connection to it would not be encrypted"
    )]
    Remote(String),
    /// The pool cannot be made.
    #[error("the pool cannot be made: {0}")]
    Pool(String),
}

/// The way into the database: begins transactions for callers.
#[derive(Clone)]
pub struct Tenancy {
    pool: Pool,
    keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
    authority: Arc<Authority>,
    journal: Arc<dyn Journal>,
    desk: Desk,
    sql_fault: SqlFault,
    rows: Arc<[Rows]>,
    clock: Clock,
    random: Random,
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
const REFUSALS: [&str; 6] = ["ZT010", "ZT011", "ZT013", "ZT016", "ZT017", "ZT019"];

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const ENTER: &str = "SELECT tenant, member, member_role, artist, number, studio_name, studio_zone, subject FROM tenancy.enter($1)";

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
        let pool = pool(settings)?;
        let sql_fault = SqlFault {
            constraint: settings.constraint,
        };
        let desk = Desk {
            pool: pool.clone(),
            append: journal.append(),
            sql_fault,
        };
        Ok(Self {
            pool,
            keys,
            authority,
            journal,
            desk,
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
        let mut lease = Lease::new(connection(&self.pool).await?);
        let member = match caller.who() {
            Who::Member(member) => Some(member.clone()),
            Who::Service { .. } | Who::Page { .. } => None,
        };
        // Signed only now: waiting for a connection must not use up the context's life.
        let token = context::sign(caller, &(self.keys)(), &self.clock, &self.random)?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        // Prepared before the pipeline: an unprepared statement inside it would be overtaken.
        let begin = client.prepare_cached(BEGIN).await.map_err(fault)?;
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
                if error
                    .code()
                    .is_some_and(|code| REFUSALS.contains(&code.code()))
                {
                    lease.arrived();
                }
                return Err(self.refusal(&error, acted_by(member.as_ref()), request));
            }
        };
        lease.arrived();
        let bound = bound(&crate::Row(row), member, request)?;
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
        let mut lease = Lease::new(connection(&self.pool).await?);
        // Signed only now: waiting for a connection must not use up its life.
        let ring = (self.keys)();
        let signed = context::sign_for_gate(prefix, fields, &ring, &self.clock, &self.random)?;
        let fault = |error: tokio_postgres::Error| self.sql_fault.fault(&error);
        let client = lease.depart()?;
        let statement = client.prepare_cached(call).await.map_err(fault)?;
        let rows = client.query(&statement, &[&signed]).await.map_err(fault)?;
        let reset = client.prepare_cached(RESET).await.map_err(fault)?;
        client.execute(&reset, &[]).await.map_err(fault)?;
        lease.arrived();
        lease.give_back();
        Ok(rows.into_iter().map(crate::Row).collect())
    }

    /// Connections in the pool, and how many of them are idle.
    pub fn pool_size(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }

    fn parts(&self) -> crate::transaction::Parts {
        crate::transaction::Parts {
            authority: Arc::clone(&self.authority),
            journal: Arc::clone(&self.journal),
            sql_fault: self.sql_fault,
            nonce: watertight_authority::Nonce::new(self.random.bytes()),
            rows: Arc::clone(&self.rows),
            signing: Signing {
                keys: Arc::clone(&self.keys),
                clock: self.clock.clone(),
                random: self.random.clone(),
            },
        }
    }

    fn refusal(
        &self,
        error: &tokio_postgres::Error,
        acted_by: Option<Subject>,
        request: Request,
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
                Kind::NotAllowed,
                "not-a-member",
                "you are no active member of this studio",
            ),
            "ZT013" => Fault::new(
                Kind::Unauthenticated,
                "unauthenticated",
                "the session has ended; sign in again",
            ),
            "ZT016" => Fault::not_allowed(),
            "ZT019" => Fault::new(
                Kind::Unauthenticated,
                "impersonation",
                "this studio lets nobody act as its members",
            ),
            "ZT003" | "ZT004" | "ZT005" => {
                Fault::unavailable("this takes too long right now; try again", 1)
            }
            _ => self.sql_fault.fault(error),
        };
        let account = known.as_ref().map(|known| {
            Account::new(
                TenantId(known.tenant),
                known.actor.clone(),
                acted_by,
                known.role.clone(),
                None,
                request,
            )
        });
        let guest_of = (code == "ZT016")
            .then_some(known)
            .flatten()
            .map(|k| k.studio);
        Refused {
            fault: fault.log(format!("{code} {}", database.message())),
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

/// Whom `enter` refused, from the error's detail.
#[derive(Deserialize)]
struct Known {
    tenant: Uuid,
    /// The name by which the ledger knows the caller.
    actor: String,
    role: String,
    studio: String,
}

/// Who acts as the member, if somebody does.
fn acted_by(member: Option<&Member>) -> Option<Subject> {
    member
        .and_then(Member::actor)
        .map(|actor| actor.subject().clone())
}

fn bound(row: &crate::Row, member: Option<Member>, request: Request) -> Result<Bound, Fault> {
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
    Ok(Bound {
        standing: Standing { tenant, principal },
        studio_name: row.field("studio_name")?,
        studio_zone: row.field("studio_zone")?,
        account: Account::new(
            tenant,
            subject,
            acted_by(member.as_ref()),
            role,
            Some(row.field("number")?),
            request,
        ),
        member,
    })
}

/// Takes a connection from the pool, or says that there is none.
pub(crate) async fn connection(pool: &Pool) -> Result<Object, Fault> {
    pool.get().await.map_err(|error| {
        let spoken = match error {
            PoolError::Timeout(_) => "too many requests at once; try again",
            _ => "the database is not reachable right now",
        };
        Fault::unavailable(spoken, 1).log(format!("pool: {error}"))
    })
}

fn pool(settings: &Settings) -> Result<Pool, SettingsFault> {
    use secrecy::ExposeSecret;
    let mut config: tokio_postgres::Config = settings
        .url
        .expose_secret()
        .parse()
        .map_err(|error: tokio_postgres::Error| SettingsFault::Url(error.to_string()))?;
    refuse_remote(&config)?;
    config.application_name("studio");
    config.connect_timeout(Duration::from_secs(5));
    let manager = Manager::from_config(
        config,
        NoTls,
        // A lease discards what was not cleanly ended and resets what was, and `enter` closes
        // cursors and pins settings, so the pool itself has nothing to clean.
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let wait = Some(Duration::from_millis(settings.wait_ms));
    Pool::builder(manager)
        .max_size(settings.pool_max)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait,
            create: Some(Duration::from_secs(5)),
            recycle: Some(Duration::from_secs(5)),
        })
        // The first requests after a start should not pay for parsing what every request sends.
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                for statement in [BEGIN, ENTER, "COMMIT", "ROLLBACK", RESET] {
                    client
                        .prepare_cached(statement)
                        .await
                        .map_err(deadpool_postgres::HookError::Backend)?;
                }
                Ok(())
            })
        }))
        .build()
        .map_err(|error| SettingsFault::Pool(error.to_string()))
}

/// Refuses a host to which the password and the rows would travel in the clear.
pub(crate) fn refuse_remote(config: &tokio_postgres::Config) -> Result<(), SettingsFault> {
    if let Some(address) = config
        .get_hostaddrs()
        .iter()
        .find(|address| !address.is_loopback())
    {
        return Err(SettingsFault::Remote(address.to_string()));
    }
    for host in config.get_hosts() {
        let local = match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        };
        if !local {
            return Err(SettingsFault::Remote(format!("{host:?}")));
        }
    }
    Ok(())
}
