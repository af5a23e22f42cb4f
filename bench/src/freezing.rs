//! What others notice while one studio is frozen, thawed and frozen again: two studios at work on two servers over one
//! database, and how long the other one's answers take.
//!
//! Rounds with freezing and without take turns: a machine that is busy for a while is so for both.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use studio::demo::{World, seed::SeededStudio};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use uuid::Uuid;
use watertight_identity::double::Double;
use watertight_tenancy::{login_url, support::RawConnection};
use watertight_terms::Random;

use crate::{Trouble, ask};

/// So many ask for each studio at each server, each so often.
const CLIENTS: usize = 4;
const ASK_EVERY: Duration = Duration::from_millis(25);
/// A studio is frozen so long, and so long it is not.
const FROZEN_FOR: Duration = Duration::from_millis(300);
/// Each way is measured so often.
const ROUNDS: usize = 5;

/// Two servers, and two operators.
pub(crate) struct Freezing {
    bases: [String; 2],
    double: Arc<Double>,
    http: reqwest::Client,
    studios: [SeededStudio; 2],
    operators: [RawConnection; 2],
}

impl Freezing {
    pub(crate) async fn begin(world: &World, random: &Random) -> Result<Self, Trouble> {
        let mut config = world.config.clone();
        // One member asks for what many would.
        config.limits.per_member_s = 100_000;
        config.limits.per_studio_s = 100_000;
        let (first, double) = ask::app(config.clone(), random)?;
        let second = ask::app_of(config, random, &double)?;
        let bases = [ask::serve(first).await?, ask::serve(second).await?];
        let [own, other, ..] = world.studios.as_slice() else {
            return Err("two studios were to be made".into());
        };
        let password = SecretString::from(random.uuid().simple().to_string());
        let name = "bench_operator";
        let sql = format!(
            "CREATE ROLE {name} LOGIN INHERIT PASSWORD '{}'; GRANT studio_ops TO {name}",
            password.expose_secret()
        );
        RawConnection::connect(&world.admin)
            .await?
            .script(&sql)
            .await?;
        let ops = world.config.database.ops_url.as_ref();
        let ops = ops.ok_or("no operator is configured")?;
        let second = login_url(&world.admin, name, &password)?;
        Ok(Self {
            bases,
            double: Arc::new(double),
            http: reqwest::Client::new(),
            studios: [own.clone(), other.clone()],
            operators: [
                RawConnection::connect(ops).await?,
                RawConnection::connect(&second).await?,
            ],
        })
    }

    /// The other studio's p95 with freezing over that without, each the median of its rounds; and a line that says so.
    pub(crate) async fn compare(&self, round_s: u64) -> Result<(f64, String), Trouble> {
        let length = Duration::from_secs(round_s);
        self.round(length, false).await?;
        let (mut with, mut without, mut freezes, mut took) = (vec![], vec![], 0, vec![]);
        for _ in 0..ROUNDS {
            without.push(self.round(length, false).await?.0);
            let (p95, frozen) = self.round(length, true).await?;
            with.push(p95);
            freezes += frozen.len();
            took.extend(frozen);
        }
        let (with, without) = (ask::middle(&with), ask::middle(&without));
        let ratio = with / without;
        let figure = format!(
            "freezing: the other studio's p95 {:.2} ms, {:.2} ms without, ratio {ratio:.3}; {freezes} freezes, {}",
            with * 1e3,
            without * 1e3,
            ask::median(&took)
        );
        Ok((ratio, figure))
    }

    /// The p95 of the other studio in a round, in seconds, and how long each freeze took.
    async fn round(&self, length: Duration, is_freezing: bool) -> Result<(f64, Vec<f64>), Trouble> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for (studio, whose) in self.studios.iter().enumerate() {
            for base in &self.bases {
                for _ in 0..CLIENTS {
                    let client = Client {
                        http: self.http.clone(),
                        url: format!("{base}/v1/artists?limit=20"),
                        token: ask::token(&self.double, whose),
                        may_be_refused: studio == 0,
                    };
                    let is_over = Arc::clone(&is_over);
                    clients.spawn(async move { client.ask_until(&is_over).await });
                }
            }
        }
        let began = Instant::now();
        let mut frozen = Vec::new();
        while began.elapsed() < length {
            if is_freezing {
                frozen.push(self.freeze().await?);
            }
            tokio::time::sleep(FROZEN_FOR).await;
        }
        is_over.store(true, Ordering::Release);
        let mut seconds = Vec::new();
        while let Some(client) = clients.join_next().await {
            seconds.extend(client??);
        }
        seconds.sort_by(f64::total_cmp);
        let p95 = seconds.get(seconds.len() * 95 / 100);
        Ok((*p95.ok_or("nobody asked")?, frozen))
    }

    /// Freezes the first studio as two operators do, and thaws it. Gives how long it took until every server had confirmed.
    async fn freeze(&self) -> Result<f64, Trouble> {
        let [first, second] = &self.operators;
        let tenant = &self.studios[0].tenant;
        let open = "SELECT incident.report($1, 'bench', 'a measurement', false)";
        let incident: Uuid = first.value(open, &[tenant]).await?;
        let confirm = "SELECT incident.confirm($1, $2)";
        second.run(confirm, &[tenant, &incident]).await?;
        let began = Instant::now();
        let isolate = "SELECT incident.isolate($1, $2, NULL, NULL, NULL)";
        let isolation: Uuid = first.value(isolate, &[tenant, &incident]).await?;
        let drain = "SELECT incident.drain($1, $2, interval '500 milliseconds')";
        first.run(drain, &[tenant, &isolation]).await?;
        let silent = "SELECT count(*) FROM incident.unconfirmed($1, $2)";
        while first.value::<i64>(silent, &[tenant, &isolation]).await? > 0 {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("a server has not confirmed the freeze".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed().as_secs_f64();
        tokio::time::sleep(FROZEN_FOR).await;
        let thaw = "SELECT incident.thaw($1, $2, 'a measurement')";
        second.run(thaw, &[tenant, &incident]).await?;
        Ok(took)
    }
}

/// Somebody who asks for the list of artists.
struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    may_be_refused: bool,
}

impl Client {
    /// How many seconds each answer took.
    async fn ask_until(&self, is_over: &AtomicBool) -> Result<Vec<f64>, Trouble> {
        let mut seconds = Vec::new();
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !is_over.load(Ordering::Acquire) {
            ticks.tick().await;
            let began = Instant::now();
            let asked = self.http.get(&self.url).bearer_auth(&self.token);
            let answer = asked.send().await?;
            let status = answer.status().as_u16();
            answer.bytes().await?;
            match status {
                _ if self.may_be_refused => {}
                200 => seconds.push(began.elapsed().as_secs_f64()),
                other => return Err(format!("the other studio was answered with {other}").into()),
            }
        }
        Ok(seconds)
    }
}
