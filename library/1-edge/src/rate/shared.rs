use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};

use super::{Ask, Standing, StoreFault, Units, gcra};

/// A request waits at most so long for the store.
const PATIENCE: Duration = Duration::from_millis(250);
/// A store that is away is asked again after so long.
const REST: Duration = Duration::from_secs(2);
/// What our keys in the store begin with.
const PREFIX: &str = "watertight:rate:";

/// The buckets of all processes, in a Redis or Valkey.
pub(super) struct Store {
    client: Client,
    script: Script,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    resting_until: Mutex<Option<Instant>>,
}

/// The store did not answer; whoever asked decides without it.
pub(super) struct Away;

impl Store {
    pub(super) fn new(url: &SecretString) -> Result<Self, StoreFault> {
        // The error may show the URL, which may hold a password.
        let client = Client::open(url.expose_secret()).map_err(|_| StoreFault)?;
        Ok(Self {
            client,
            script: Script::new(include_str!("shared.lua")),
            connection: tokio::sync::Mutex::default(),
            resting_until: Mutex::default(),
        })
    }

    pub(super) async fn ask(&self, asks: &[Ask]) -> Result<Vec<Standing>, Away> {
        if self.is_resting() {
            return Err(Away);
        }
        let answered = match timeout(PATIENCE, self.run(asks)).await {
            Ok(Ok(numbers)) => Ok(standings(asks, &numbers)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {} ms", PATIENCE.as_millis())),
        };
        match answered {
            Ok(standings) => {
                self.note_back();
                Ok(standings)
            }
            Err(why) => {
                self.note_away(&why).await;
                Err(Away)
            }
        }
    }

    async fn run(&self, asks: &[Ask]) -> Result<Vec<i64>, RedisError> {
        let mut connection = self.connection().await?;
        let mut call = self.script.prepare_invoke();
        for ask in asks {
            let (units, kind) = match ask.units {
                Units::Take(units) => (units, "take"),
                Units::Charge(units) => (units, "charge"),
                Units::Return(units) => (units, "return"),
            };
            call.key(format!("{PREFIX}{}", ask.key))
                .arg(ask.quota.interval_us())
                .arg(ask.quota.burst())
                .arg(units)
                .arg(kind);
        }
        call.invoke_async(&mut connection).await
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(PATIENCE)
            .set_response_timeout(PATIENCE);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn is_resting(&self) -> bool {
        let resting = self.resting();
        resting.is_some_and(|until| Instant::now() < until)
    }

    fn note_back(&self) {
        if self.resting().take().is_some() {
            tracing::warn!(target: "alert", "the store of rate limits is back: all processes share their limits again");
        }
    }

    async fn note_away(&self, why: &str) {
        *self.connection.lock().await = None;
        let was_resting = self.resting().replace(Instant::now() + REST).is_some();
        if !was_resting {
            tracing::error!(target: "alert", why, "the store of rate limits is away: each process keeps limits of its own until it is back");
        }
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resting_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn standings(asks: &[Ask], numbers: &[i64]) -> Vec<Standing> {
    let unsigned = |number: Option<&i64>| number.map_or(0, |number| number.unsigned_abs());
    let pairs = numbers.chunks(2);
    asks.iter()
        .zip(pairs)
        .map(|(ask, pair)| gcra::standing(ask, unsigned(pair.first()), unsigned(pair.get(1))))
        .collect()
}
