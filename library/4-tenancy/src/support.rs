//! For tests and demonstrations only: raw SQL on a raw connection, without any wall.
//!
//! Behind the feature `support`, which no server is built with. Tests use it to make worlds (as a
//! superuser, whom row security does not bind) and to attack (as the app role, whom it does).

pub use postgres_types::FromSqlOwned;
use secrecy::SecretString;
pub use tokio_postgres::Error;
use tokio_postgres::{Client, NoTls};

use crate::{InstallFault, ToSql, install::connect};

/// A raw connection as whoever the URL names.
pub struct RawConnection(Client);

impl RawConnection {
    /// Connects.
    ///
    /// # Errors
    /// When the URL cannot be read or the database not be reached.
    pub async fn connect(url: &SecretString) -> Result<Self, InstallFault> {
        connect(url).await.map(Self)
    }

    /// The driver's client, for everything.
    pub fn client(&mut self) -> &mut Client {
        &mut self.0
    }

    /// Runs a script.
    ///
    /// # Errors
    /// When a statement fails.
    #[expect(clippy::disallowed_methods, reason = "this is the raw connection")]
    pub async fn script(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.0.batch_execute(sql).await
    }

    /// Runs one statement; gives how many rows it touched.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        self.0.execute(sql, parameters).await
    }

    /// The first column of the only row.
    ///
    /// # Errors
    /// When it fails.
    pub async fn value<T: postgres_types::FromSqlOwned>(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, tokio_postgres::Error> {
        self.0.query_one(sql, parameters).await?.try_get(0)
    }

    /// Cancels what runs, from outside, as a client that goes away does.
    pub async fn cancel(&self) -> Result<(), tokio_postgres::Error> {
        self.0.cancel_token().cancel_query(NoTls).await
    }
}

impl std::fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawConnection")
    }
}

/// The SQLSTATE of an error, or `-`.
pub fn state(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("-", |code| code.code())
}
