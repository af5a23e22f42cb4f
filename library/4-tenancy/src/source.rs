use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, Manager, ManagerConfig, Pool, PoolError, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use watertight_terms::Fault;

use crate::{
    Settings, SettingsFault,
    lease::{Lease, RESET},
    load::{Counters, Load},
    tenancy::{BEGIN, ENTER},
    transport::Transport,
};

/// Where connections come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) pool: Pool,
    tls: MakeRustlsConnect,
    counters: Counters,
}

impl Source {
    /// Connects lazily, at most so often.
    pub(crate) fn new(settings: &Settings, most: usize) -> Result<Self, SettingsFault> {
        let Transport { mut config, tls } = Transport::of(&settings.url)?;
        config.application_name("studio");
        config.connect_timeout(Duration::from_secs(5));
        let manager = Manager::from_config(
            config,
            tls.clone(),
            // A lease discards what was not cleanly ended and resets what was, and `enter` closes
            // cursors and pins settings, so the pool itself has nothing to clean.
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(most)
            // The one that was given back last has what it needs in its caches.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(Duration::from_millis(settings.wait_ms)),
                create: Some(Duration::from_secs(5)),
                recycle: Some(Duration::from_secs(5)),
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    // The first requests after a start should not pay for parsing what every request
                    // sends.
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
            .map_err(|error| SettingsFault::Pool(error.to_string()))?;
        Ok(Self {
            pool,
            tls,
            counters: Counters::default(),
        })
    }

    /// Takes a connection from the pool, or says that there is none.
    pub(crate) async fn lease(&self) -> Result<Lease, Fault> {
        let asked = Instant::now();
        let taken = self.pool.get().await;
        self.counters.leased(asked.elapsed(), &taken);
        let object = taken.map_err(|error| {
            let spoken = match error {
                PoolError::Timeout(_) => "too many requests at once; try again",
                _ => "the database is not reachable right now",
            };
            Fault::unavailable(spoken, 1).log(format!("pool: {error}"))
        })?;
        Ok(Lease::new(object, self.tls.clone(), self.counters.clone()))
    }

    /// How much is asked of it.
    pub(crate) fn load(&self) -> Load {
        let status = self.pool.status();
        Load {
            most: status.max_size,
            open: status.size,
            idle: status.available,
            waiting: status.waiting,
            ..self.counters.read()
        }
    }
}
