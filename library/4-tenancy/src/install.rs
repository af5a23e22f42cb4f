//! Making the database: roles once by an administrator, then migrations by a login that inherits
//! nothing, then proof that nothing was left open.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{Client, config::Host};
use watertight_terms::{KeyRing, hmac_pads};

use crate::{
    Operator,
    transport::{self, Transport},
};

/// One step of the schema: a name that sorts, and SQL in which `{app}` stands for the prefix.
///
/// It runs in one transaction, as `{app}_migrate` with `row_security = off`, and says whose it is
/// with `SET LOCAL ROLE`. An applied migration never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// `room/0001_name`.
    pub name: &'static str,
    /// The SQL.
    pub sql: &'static str,
}

/// This room's migrations.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "tenancy/0001_context",
        sql: include_str!("../sql/0001_context.sql"),
    },
    Migration {
        name: "tenancy/0002_protect",
        sql: include_str!("../sql/0002_protect.sql"),
    },
    Migration {
        name: "tenancy/0004_idempotency",
        sql: include_str!("../sql/0004_idempotency.sql"),
    },
    Migration {
        name: "tenancy/0005_page_sessions",
        sql: include_str!("../sql/0005_page_sessions.sql"),
    },
    Migration {
        name: "tenancy/0006_provider_events",
        sql: include_str!("../sql/0006_provider_events.sql"),
    },
    Migration {
        name: "tenancy/0007_people",
        sql: include_str!("../sql/0007_people.sql"),
    },
    Migration {
        name: "tenancy/0008_jobs",
        sql: include_str!("../sql/0008_jobs.sql"),
    },
    Migration {
        name: "tenancy/0009_feeds",
        sql: include_str!("../sql/0009_feeds.sql"),
    },
    Migration {
        name: "tenancy/0010_standing",
        sql: include_str!("../sql/0010_standing.sql"),
    },
    Migration {
        name: "tenancy/0011_mails",
        sql: include_str!("../sql/0011_mails.sql"),
    },
    Migration {
        name: "tenancy/0012_isolation",
        sql: include_str!("../sql/0012_isolation.sql"),
    },
];

const ROLES: &str = include_str!("../sql/roles.sql");

/// The schemas whose every table with a `tenant_id` stands behind the wall.
pub const WALLED_SCHEMAS: &[&str] = &["tenancy", "vault", "ledger", "custody", "studio"];

/// The passwords of the login roles. Only their SCRAM verifiers are sent.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Of `{app}_app`, the server.
    pub app: SecretString,
    /// Of `{app}_migrate`.
    pub migrate: SecretString,
    /// Of `{app}_operator`, the first operator.
    pub operator: SecretString,
}

/// Where a ring of HMAC keys is kept in the database, as pads.
#[derive(Debug, Clone)]
pub struct KeyTable {
    /// The role that owns the table, without the prefix.
    pub role: &'static str,
    /// The statement: `$1` the key's number, `$2` and `$3` its pads. It touches no row when there is
    /// another key of that number.
    pub insert: &'static str,
    /// The keys.
    pub ring: KeyRing,
}

impl KeyTable {
    /// Where the ring `context` is kept.
    pub fn context(ring: KeyRing) -> Self {
        Self {
            role: "gate",
            insert:
                "INSERT INTO tenancy.keys AS k (purpose, id, ipad, opad) VALUES ('context', $1, $2, $3)
                 ON CONFLICT (purpose, id) DO UPDATE SET ipad = k.ipad
                 WHERE k.ipad = excluded.ipad AND k.opad = excluded.opad",
            ring,
        }
    }
}

/// An installation: the prefix of its roles and what is to be applied.
#[derive(Debug, Clone)]
pub struct Installation {
    prefix: String,
    migrations: Vec<Migration>,
}

/// Why an installation did not go through.
#[derive(Debug, thiserror::Error)]
pub enum InstallFault {
    /// The prefix is not of the form it should have.
    #[error("the prefix `{0}` is not of the form `[a-z][a-z0-9_]{{0,30}}`")]
    Prefix(String),
    /// The database is not reachable with that URL. The URL is not shown: it holds a password.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// A step failed; nothing of it was kept.
    #[error("{step}: {error}")]
    Step {
        /// Which.
        step: String,
        /// What the database said.
        error: String,
    },
    /// The text of an applied migration is no longer what was applied.
    #[error("the migration `{0}` was changed after it was applied; write a new one instead")]
    Changed(String),
    /// The database has another key of that number.
    #[error(
        "the database has another key {0} than the key file; restore the key file that belongs to this database, or rotate"
    )]
    OtherKey(i16),
    /// After the migrations something stands open.
    #[error("after the migrations: {0}")]
    Open(String),
}

impl Installation {
    /// An installation with roles named `prefix_…`.
    ///
    /// # Errors
    /// When the prefix is not `[a-z][a-z0-9_]{0,30}`: it becomes part of SQL.
    pub fn new(prefix: &str, migrations: Vec<Migration>) -> Result<Self, InstallFault> {
        let mut letters = prefix.bytes();
        let well_formed = letters.next().is_some_and(|b| b.is_ascii_lowercase())
            && prefix.len() <= 31
            && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            return Err(InstallFault::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            migrations,
        })
    }

    /// Makes the roles and takes from PUBLIC what would be a channel between studios. May be run
    /// again at any time, and must be after a restore: rights on the database are in no dump.
    ///
    /// # Errors
    /// When the administrator lacks a right that is needed.
    pub async fn roles(
        &self,
        admin: &SecretString,
        passwords: &Passwords,
    ) -> Result<(), InstallFault> {
        let client = connect(admin).await?;
        batch(&client, "roles", &self.fill(ROLES)).await?;
        for (role, password) in [
            ("app", &passwords.app),
            ("migrate", &passwords.migrate),
            ("operator", &passwords.operator),
        ] {
            let verifier =
                postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
            let sql = format!("ALTER ROLE {}_{role} PASSWORD '{verifier}'", self.prefix);
            batch(&client, "passwords", &sql).await?;
        }
        Ok(())
    }

    /// Applies the migrations that are missing, each in a transaction of its own, writes the keys,
    /// and proves what must hold. Gives the names of those applied.
    ///
    /// # Errors
    /// At the first that fails; it and what follows it is not applied, what preceded it is.
    pub async fn migrate(
        &self,
        migrate: &SecretString,
        keys: &[KeyTable],
    ) -> Result<Vec<&'static str>, InstallFault> {
        let mut client = connect(migrate).await?;
        batch(&client, "register of migrations", &self.fill(REGISTER)).await?;
        let mut applied = Vec::new();
        for migration in &self.migrations {
            if self.apply(&mut client, migration).await? {
                applied.push(migration.name);
            }
        }
        for table in keys {
            self.write_ring(&client, table).await?;
        }
        self.prove(&client).await?;
        Ok(applied)
    }

    /// Writes the keys that are missing in the database.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn write_keys(
        &self,
        migrate: &SecretString,
        keys: &[KeyTable],
    ) -> Result<(), InstallFault> {
        let client = connect(migrate).await?;
        for table in keys {
            self.write_ring(&client, table).await?;
        }
        Ok(())
    }

    /// A connection that reads the ledger of every studio, to verify it: the migrating login as the
    /// role that owns the ledger's functions, which may change no entry either.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn ledger_reader(&self, migrate: &SecretString) -> Result<Operator, InstallFault> {
        Operator::connect_as(migrate, &format!("{}_ledger", self.prefix)).await
    }

    /// The number for a new context key: above every one that the database ever knew, also from a
    /// rotation that was cut off.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn next_context_key(&self, migrate: &SecretString) -> Result<i16, InstallFault> {
        let client = connect(migrate).await?;
        batch(&client, "keys", &format!("SET ROLE {}_gate", self.prefix)).await?;
        client
            .query_one("SELECT coalesce(max(id), 0)::smallint + 1::smallint FROM tenancy.keys WHERE purpose = 'context'", &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| failed("keys", &error))
    }

    /// Stops the database from accepting contexts of an old key. Says whether there was one in use.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn retire_context_key(
        &self,
        migrate: &SecretString,
        id: i16,
    ) -> Result<bool, InstallFault> {
        let client = connect(migrate).await?;
        batch(&client, "keys", &format!("SET ROLE {}_gate", self.prefix)).await?;
        let retired = client
            .execute(
                "UPDATE tenancy.keys SET retired_at = clock_timestamp()
                 WHERE purpose = 'context' AND id = $1 AND retired_at IS NULL",
                &[&id],
            )
            .await
            .map_err(|error| failed("keys", &error))?;
        Ok(retired == 1)
    }

    async fn apply(
        &self,
        client: &mut Client,
        migration: &Migration,
    ) -> Result<bool, InstallFault> {
        let step = |error: tokio_postgres::Error| failed(migration.name, &error);
        let text = self.fill(migration.sql);
        let hash = hex::encode(digest(&SHA256, text.as_bytes()));
        let transaction = client.transaction().await.map_err(step)?;
        run(
            &transaction,
            migration.name,
            &format!("SET LOCAL ROLE {}_owner", self.prefix),
        )
        .await?;
        let known = transaction
            .query_opt(
                "SELECT digest FROM install.migrations WHERE name = $1",
                &[&migration.name],
            )
            .await
            .map_err(step)?;
        if let Some(row) = known {
            return if row.get::<_, String>(0) == hash {
                Ok(false)
            } else {
                Err(InstallFault::Changed(migration.name.to_owned()))
            };
        }
        run(
            &transaction,
            migration.name,
            "SET LOCAL search_path = pg_catalog",
        )
        .await?;
        run(&transaction, migration.name, &text).await?;
        run(
            &transaction,
            migration.name,
            &format!("SET LOCAL ROLE {}_owner", self.prefix),
        )
        .await?;
        transaction
            .execute(
                "INSERT INTO install.migrations (name, digest) VALUES ($1, $2)",
                &[&migration.name, &hash],
            )
            .await
            .map_err(step)?;
        transaction.commit().await.map_err(step)?;
        Ok(true)
    }

    async fn write_ring(&self, client: &Client, table: &KeyTable) -> Result<(), InstallFault> {
        batch(
            client,
            "keys",
            &format!("SET ROLE {}_{}", self.prefix, table.role),
        )
        .await?;
        for (id, key) in table.ring.iter() {
            let (inner, outer) = hmac_pads(key);
            let written = client
                .execute(table.insert, &[&id, &inner.as_slice(), &outer.as_slice()])
                .await
                .map_err(|error| failed("keys", &error))?;
            if written == 0 {
                return Err(InstallFault::OtherKey(id));
            }
        }
        batch(client, "keys", "RESET ROLE").await
    }

    /// What must hold after migrations: every table with a tenant is forced behind a restrictive
    /// wall, and no foreign key has an orphan, which a forced owner could not have seen.
    async fn prove(&self, client: &Client) -> Result<(), InstallFault> {
        let open = client
            .query(UNFORCED, &[&WALLED_SCHEMAS])
            .await
            .map_err(|error| failed("walls", &error))?;
        if let Some(row) = open.first() {
            return Err(InstallFault::Open(format!(
                "`{}` has a tenant_id but row security is not forced",
                row.get::<_, String>(0)
            )));
        }
        let checks = client
            .query(ORPHAN_CHECKS, &[&WALLED_SCHEMAS])
            .await
            .map_err(|error| failed("orphans", &error))?;
        batch(
            client,
            "orphans",
            &format!("SET ROLE {}_digest; SET row_security = on", self.prefix),
        )
        .await?;
        for check in checks {
            let (name, sql): (String, String) = (check.get(0), check.get(1));
            let orphans: i64 = client
                .query_one(sql.as_str(), &[])
                .await
                .map_err(|error| failed(&name, &error))?
                .get(0);
            if orphans > 0 {
                return Err(InstallFault::Open(format!(
                    "`{name}` has {orphans} orphans"
                )));
            }
        }
        batch(client, "orphans", "RESET ROLE; RESET row_security").await
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{app}", &self.prefix)
    }
}

const REGISTER: &str = "
    SET ROLE {app}_owner;
    CREATE SCHEMA IF NOT EXISTS install;
    CREATE TABLE IF NOT EXISTS install.migrations (
      name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
    RESET ROLE";

const UNFORCED: &str = "
    SELECT c.oid::regclass::text FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1)) AND c.relkind IN ('r', 'p')
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity)";

/// For each foreign key a query that counts its orphans.
const ORPHAN_CHECKS: &str = "
    SELECT k.conrelid::regclass || '.' || k.conname,
      format('SELECT count(*) FROM %s child WHERE %s AND NOT EXISTS (SELECT FROM %s parent WHERE %s)',
        k.conrelid::regclass,
        (SELECT string_agg(format('child.%I IS NOT NULL', a.attname), ' AND ')
           FROM unnest(k.conkey) n JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n),
        k.confrelid::regclass,
        (SELECT string_agg(format('parent.%I = child.%I', f.attname, a.attname), ' AND ')
           FROM unnest(k.conkey, k.confkey) n(c, p)
           JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.c
           JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = n.p))
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.connamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1))
    ORDER BY 1";

/// The URL by which `login` reaches the database that another URL names.
///
/// # Errors
/// When that URL cannot be read.
pub fn login_url(
    other: &SecretString,
    login: &str,
    password: &SecretString,
) -> Result<SecretString, InstallFault> {
    let config = parse(other)?;
    let host = match config.get_hosts().first() {
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        Some(Host::Tcp(name)) => name.clone(),
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let roots = transport::roots_of(other).map(|file| format!("&sslrootcert={file}"));
    let url = url(login, password, database_of(&config), &host, port);
    Ok((url + &roots.unwrap_or_default()).into())
}

/// The URL of the same login and database, in a cluster whose socket is in that folder.
///
/// # Errors
/// When the URL cannot be read, or has no login or password.
pub fn url_at(other: &SecretString, socket: &Path) -> Result<SecretString, InstallFault> {
    let (config, password) = (parse(other)?, password_of(other)?);
    let login = config.get_user();
    let login =
        login.ok_or_else(|| InstallFault::Unreachable("the url has no login".to_owned()))?;
    let socket = socket.display().to_string();
    Ok(url(login, &password, database_of(&config), &socket, 5432).into())
}

fn database_of(config: &tokio_postgres::Config) -> &str {
    let named = config.get_dbname().or(config.get_user());
    named.unwrap_or("postgres")
}

fn url(login: &str, password: &SecretString, database: &str, host: &str, port: u16) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    char::from(b).to_string()
                }
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    format!(
        "postgresql://{}:{}@/{}?host={}&port={port}",
        encode(login),
        encode(password.expose_secret()),
        encode(database),
        encode(host),
    )
}

/// The password in a URL.
///
/// # Errors
/// When the URL cannot be read or has none.
pub fn password_of(url: &SecretString) -> Result<SecretString, InstallFault> {
    let config = parse(url)?;
    let password = config
        .get_password()
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or_else(|| InstallFault::Unreachable("the url has no password".to_owned()))?;
    Ok(password.into())
}

fn parse(url: &SecretString) -> Result<tokio_postgres::Config, InstallFault> {
    let transport = Transport::of(url);
    transport
        .map(|transport| transport.config)
        .map_err(|fault| InstallFault::Unreachable(fault.to_string()))
}

/// Opens a connection that lives until the client is dropped.
pub(crate) async fn connect(url: &SecretString) -> Result<Client, InstallFault> {
    let unreachable = |why: String| InstallFault::Unreachable(why);
    let Transport { config, tls } =
        Transport::of(url).map_err(|fault| unreachable(fault.to_string()))?;
    let connected = config.connect(tls).await;
    let (client, connection) = connected.map_err(|error| match error.as_db_error() {
        Some(database) => unreachable(database.message().to_owned()),
        None => unreachable(error.to_string()),
    })?;
    tokio::spawn(connection);
    Ok(client)
}

#[expect(
    clippy::disallowed_methods,
    reason = "migrations are scripts of many statements"
)]
pub(crate) async fn batch(client: &Client, step: &str, sql: &str) -> Result<(), InstallFault> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| failed(step, &error))
}

async fn run(
    transaction: &tokio_postgres::Transaction<'_>,
    step: &str,
    sql: &str,
) -> Result<(), InstallFault> {
    transaction
        .batch_execute(sql)
        .await
        .map_err(|error| failed(step, &error))
}

fn failed(step: &str, error: &tokio_postgres::Error) -> InstallFault {
    let said = match error.as_db_error() {
        Some(database) => [
            Some(format!(
                "{} ({})",
                database.message(),
                database.code().code()
            )),
            database.where_().map(str::to_owned),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; "),
        None => error.to_string(),
    };
    InstallFault::Step {
        step: step.to_owned(),
        error: said,
    }
}
