//! Limits that processes share by a store: a Redis of the system's, started here on loopback.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use studio::commands::write_private;
use watertight_edge::rate::{Ask, Key, Limiter, Quota, Units, refusal};
use watertight_terms::Clock;

use crate::{process::Process, rates};

/// A Redis that goes with its test. It keeps nothing on disk.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    async fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_at(port).await
    }

    async fn start_at(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, port };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return started;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not listen");
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A clock that is wrong by so many seconds.
fn wrong_by(seconds: i64) -> Clock {
    let clock = Clock::system();
    Clock::from_fn(move || clock.now() + jiff::SignedDuration::from_secs(seconds))
}

/// Two limiters with clocks apart ask for the same bucket as fast as they can, for so long; gives
/// what they were granted.
async fn granted_to_two(redis: &Redis, quota: Quota, key: Key, lasts: Duration) -> Granted {
    let started = Instant::now();
    let mut floods = Vec::new();
    for wrong_s in [0, 30] {
        let limiter = Limiter::shared(wrong_by(wrong_s), &redis.url().into()).unwrap();
        for _ in 0..4 {
            let limiter = limiter.clone();
            floods.push(tokio::spawn(async move {
                let ask = Ask {
                    key,
                    policy: "test",
                    quota,
                    units: Units::Take(1),
                };
                let mut granted = Granted::default();
                while started.elapsed() < lasts {
                    granted.add(refusal(&limiter.ask(&[ask]).await).is_none(), started);
                }
                granted
            }));
        }
    }
    all_of(floods).await
}

/// How many were granted, and when the last was.
#[derive(Default)]
struct Granted {
    count: u32,
    last_s: f64,
}

impl Granted {
    fn add(&mut self, is_granted: bool, started: Instant) {
        if is_granted {
            self.count += 1;
            self.last_s = started.elapsed().as_secs_f64();
        }
    }

    /// It is a burst and what came back until the last was granted, within a twentieth.
    fn is_one_quota(&self, burst: u32, per_s: u32) {
        let quota = f64::from(burst) + self.last_s * f64::from(per_s);
        let part = f64::from(self.count) / quota;
        assert!((0.95..=1.05).contains(&part), "{} of {quota}", self.count);
    }
}

async fn all_of(floods: Vec<tokio::task::JoinHandle<Granted>>) -> Granted {
    let mut all = Granted::default();
    for flood in floods {
        let one = flood.await.unwrap();
        all.count += one.count;
        all.last_s = all.last_s.max(one.last_s);
    }
    all
}

#[tokio::test]
async fn two_with_clocks_half_a_minute_apart_have_one_quota_together() {
    let redis = Redis::start().await;
    let quota = Quota::per_second(100, 200);
    let key = Key::of(&["flood"]);
    let granted = granted_to_two(&redis, quota, key, Duration::from_secs(2)).await;
    granted.is_one_quota(200, 100);
    // Whoever comes when the window of the first is at its end does not get another: only what has
    // come back since, and nothing of it twice.
    let granted = granted_to_two(&redis, quota, key, Duration::from_secs(1)).await;
    granted.is_one_quota(0, 100);
    // After a whole window of rest there is one quota, and over its edge no second one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let granted = granted_to_two(&redis, quota, key, Duration::from_millis(2_200)).await;
    granted.is_one_quota(200, 100);
}

/// The store's script and this process's own arithmetic are twins.
#[tokio::test]
async fn the_store_decides_as_a_process_does() {
    let redis = Redis::start().await;
    let at = Clock::system().now();
    let (local, shared) = (
        Limiter::local(Clock::fixed(at)),
        Limiter::shared(Clock::fixed(at), &redis.url().into()).unwrap(),
    );
    // So slow a rate that the time that passes here is nothing.
    let slow = |burst| Quota::per_second(1, burst).percent(1);
    let steps = [
        (Units::Take(30), Units::Take(1)),
        (Units::Take(60), Units::Take(1)),
        (Units::Take(11), Units::Charge(3)),
        (Units::Return(5), Units::Take(2)),
        (Units::Charge(40), Units::Take(1)),
        (Units::Return(500), Units::Return(1)),
        (Units::Take(100), Units::Take(100)),
    ];
    for (first, second) in steps {
        let asks = [("a", 10_000, first), ("b", 5_000, second)].map(|(name, burst, units)| Ask {
            key: Key::of(&[name]),
            policy: "test",
            quota: slow(burst),
            units,
        });
        let [own, theirs] = [local.ask(&asks).await, shared.ask(&asks).await].map(|standings| {
            let parts = standings.iter();
            let parts = parts.map(|one| (one.remaining, one.again_after_s.is_some()));
            parts.collect::<Vec<_>>()
        });
        assert_eq!(own, theirs, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn two_processes_behind_one_store_grant_one_quota() {
    let redis = Redis::start().await;
    let limits = format!(
        "per_member_s = 1\nburst_s = 60\nrate_url = \"{}\"",
        redis.url()
    );
    let world = Arc::new(rates::world(&limits).await);
    let before = world.entries(0).await;
    let (first, second) = (Process::serve(&world).await, Process::serve(&world).await);
    let started = Instant::now();
    let mut floods = Vec::new();
    for base in [&first.base, &second.base, &first.base, &second.base] {
        let (world, base) = (Arc::clone(&world), base.clone());
        floods.push(tokio::spawn(async move {
            let token = world.token(0, "owner");
            let mut granted = Granted::default();
            // More than there is, however slow the machine.
            for _ in 0..75 {
                let asked = world.http.get(format!("{base}/v1/me")).bearer_auth(&token);
                let status = asked.send().await.unwrap().status().as_u16();
                assert!(matches!(status, 200 | 429), "{status}");
                granted.add(status == 200, started);
            }
            granted
        }));
    }
    let granted = all_of(floods).await;
    granted.is_one_quota(60, 1);
    // What was let in has an entry each; of the flood there is one, whichever process refused it.
    assert_eq!(
        world.entries(0).await - before,
        i64::from(granted.count) + 1
    );
}

#[tokio::test]
async fn while_the_store_is_away_each_process_keeps_limits_and_says_so() {
    let redis = Redis::start().await;
    let port = redis.port;
    let limits = format!(
        "per_member_s = 1\nburst_s = 8\nrate_url = \"{}\"",
        redis.url()
    );
    let world = rates::world(&limits).await;
    rates::flood(&world, (0, "owner"), "/v1/me", 30)
        .await
        .is_burst(8, 1);
    drop(redis);
    // The local limiter begins anew, and limits as well.
    let started = Instant::now();
    let flooded = rates::flood(&world, (0, "owner"), "/v1/me", 30).await;
    flooded.is_burst(8, 1);
    // Nobody waits for a store that is away.
    assert!(started.elapsed() < Duration::from_secs(5));
    let _back = Redis::start_at(port).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    rates::flood(&world, (0, "owner"), "/v1/me", 30)
        .await
        .is_burst(8, 1);
}

#[tokio::test]
async fn a_process_whose_store_is_away_says_so_once() {
    let redis = Redis::start().await;
    let world = rates::world(&format!("rate_url = \"{}\"", redis.url())).await;
    let log = world.config.keys.location.with_file_name("log");
    write_private(&log, "").unwrap();
    let process = Process::logging(&world, &log).await;
    let ask = async || {
        let asked = world.http.get(format!("{}/v1/me", process.base));
        let asked = asked.bearer_auth(world.token(0, "owner"));
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 200);
    drop(redis);
    for _ in 0..5 {
        assert_eq!(ask().await, 200);
    }
    let mut said = String::new();
    std::fs::File::open(&log)
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("alert")).collect();
    assert!(
        matches!(lines.as_slice(), [one] if one.contains("the store of rate limits is away")),
        "{said}"
    );
}

/// A store that nobody can reach is no reason not to answer.
#[tokio::test]
async fn a_store_that_is_not_there_costs_little() {
    let limiter = Limiter::shared(Clock::system(), &"redis://127.0.0.1:1".into()).unwrap();
    let ask = Ask {
        key: Key::of(&["a"]),
        policy: "test",
        quota: Quota::per_second(1, 3),
        units: Units::Take(1),
    };
    let started = Instant::now();
    let mut granted = 0;
    for _ in 0..10 {
        granted += u32::from(refusal(&limiter.ask(&[ask]).await).is_none());
    }
    assert_eq!(granted, 3);
    assert!(started.elapsed() < Duration::from_secs(1));
}
