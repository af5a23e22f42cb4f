//! What a process notices of the platform: what fails, what is too old or wrong, who takes its time; and what it remembers.

use std::{sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use studio::{
    app::App,
    jobs::{Pace, work_until},
    metrics::{Observed, measure},
};
use uuid::Uuid;
use watertight_terms::{Clock, Random, TenantId};

use crate::{
    pages::Page,
    world::{World, serve, verifier},
};

/// What operators are told, by kind and subject.
pub(crate) async fn noticed(world: &World, app: &App) -> Vec<(String, String)> {
    app.platform.tell(&app.tenancy).await.unwrap();
    let mut command = world.command(&["watch", "status"]);
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    let said: Value = serde_json::from_slice(&said.await.unwrap().stdout).unwrap();
    let alerts = said["alerts"].as_array().unwrap().iter();
    let text = |alert: &Value, field: &str| alert[field].as_str().unwrap().to_owned();
    let mut found: Vec<_> = alerts
        .map(|alert| (text(alert, "kind"), text(alert, "subject")))
        .collect();
    found.sort();
    found
}

/// Another process over the same database.
fn process(world: &World, clock: Clock) -> App {
    let config = world.config.clone();
    App::new(config, verifier(&world.double), clock, Random::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_ours_and_work_that_fails_are_noticed_and_refusals_are_not_failures() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let ask = async |path: &str| world.send("GET", path, &token, None).await.0;
    for _ in 0..120 {
        assert_eq!(ask(&format!("/v1/phases/{}", Uuid::nil())).await, 404);
    }
    let facts = measure(&world.app, None).await.unwrap();
    let now = world.app.clock.now();
    world.app.platform.examine(Some(&facts), now);
    assert_eq!(noticed(&world, &world.app).await, []);
    let raw = world.as_admin().await;
    raw.script("ALTER TABLE studio.phases RENAME TO phases_away")
        .await
        .unwrap();
    for _ in 0..30 {
        // Not by `send`, which knows that no document promises this.
        let asked = world.http.get(format!("{}/v1/phases", world.base));
        let answer = asked.bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 500);
    }
    // Work of a kind that nobody knows, in as many studios as are needed, comes to nothing again and again.
    raw.script(
        "INSERT INTO jobs.due (tenant_id, kind, due_at) SELECT s.tenant_id, 'unknown-' || chr(96 + n), now() - interval '1 minute'
           FROM tenancy.studios s, generate_series(1, 12) n",
    )
    .await
    .unwrap();
    let pace = Pace {
        poll_ms: 20,
        lease_s: 1,
    };
    work_until(
        &world.app,
        pace,
        tokio::time::sleep(std::time::Duration::from_secs(3)),
    )
    .await;
    world.app.platform.examine(Some(&facts), now);
    let kinds: Vec<String> = noticed(&world, &world.app)
        .await
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["failed-answers", "failed-jobs"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_or_wrong_is_noticed_by_what_was_measured() {
    let world = World::new().await;
    let now = world.app.clock.now();
    let facts = measure(&world.app, None).await.unwrap();
    world.app.platform.examine(Some(&facts), now);
    assert_eq!(noticed(&world, &world.app).await, [], "all is well");
    let raw = world.as_admin().await;
    raw.script(
        "UPDATE tenancy.keys SET created_at = now() - interval '500 days' WHERE purpose = 'context';
         UPDATE tenancy.studios SET created_at = now() - interval '3 days';
         DELETE FROM jobs.due WHERE kind = 'retention';
         INSERT INTO jobs.due (tenant_id, kind, due_at) SELECT tenant_id, 'retention', now() - interval '4 days' FROM tenancy.studios LIMIT 1",
    )
    .await
    .unwrap();
    let mut config = world.config.clone();
    let folder = world.config.keys.location.with_file_name("archives");
    std::fs::create_dir(&folder).unwrap();
    let archive =
        std::fs::File::create(crate::metrics::archive(&folder, &world, 0, "data")).unwrap();
    let old =
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.as_second() as u64 - 3 * 86_400);
    archive.set_modified(old).unwrap();
    config.backup.folder = Some(folder);
    let fast = Clock::from_fn(|| Clock::system().now() + SignedDuration::from_secs(4));
    let app = App {
        config: Arc::new(config),
        clock: fast.clone(),
        ..process(&world, fast)
    };
    let until = now + SignedDuration::from_hours(24 * 5);
    let tls = crate::metrics::certificate(&world, until);
    let facts = measure(&app, Some(&tls)).await.unwrap();
    app.platform.examine(Some(&facts), app.clock.now());
    let found = noticed(&world, &app).await;
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(kind, subject)| (kind.as_str(), subject.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("backup-age", ""),
            ("certificate-age", ""),
            ("clock-drift", ""),
            ("key-age", "context"),
            ("retention-overdue", "")
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_the_servers_time_is_named_to_operators_by_id_alone() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    for _ in 0..3 {
        assert_eq!(world.send("GET", "/v1/bookings", &token, None).await.0, 200);
    }
    // Requests come to it with their route and studio, and the other studio's are not counted with them.
    let [first, second] = [0, 1].map(|studio| world.studios[studio].tenant);
    let quantiles = |studio| world.app.platform.quantiles("GET", "/v1/bookings", studio);
    assert!(quantiles(Some(TenantId(first))).is_some());
    assert_eq!(quantiles(Some(TenantId(second))), None);
    let third = Random::system().uuid();
    let at: Timestamp = "2031-03-03T09:00:00Z".parse().unwrap();
    for number in 0..300 {
        let (studio, seconds) = [(first, 4.0), (second, 0.2), (third, 0.2)][number % 3];
        let observed = Observed {
            route: "/v1/bookings".to_owned(),
            method: "GET",
            status: 200,
            rule: None,
            studio: Some(TenantId(studio)),
            address: "203.0.113.7".to_owned(),
            seconds,
        };
        world.app.platform.answered(&observed, at);
    }
    let found = noticed(&world, &world.app).await;
    assert_eq!(found, [("noisy-studio".to_owned(), first.to_string())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pages_of_others_make_browsers_do_is_noticed() {
    let world = World::new().await;
    let page = Page::of(&world, 0, "owner").await;
    let foreign = async |times: usize| {
        for _ in 0..times {
            let elsewhere = [("origin", "https://elsewhere.test")];
            assert_eq!(page.post("/ui/logout", &elsewhere, &[]).await.status, 403);
        }
    };
    foreign(19).await;
    assert_eq!(noticed(&world, &world.app).await, [], "a few are nothing");
    foreign(1).await;
    let expected = ("foreign-pages".to_owned(), String::new());
    assert_eq!(noticed(&world, &world.app).await, [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_nothing_and_restarts_are_counted() {
    let world = World::new().await;
    let at = Clock::system().now();
    let refuse = async |app: &App, times: usize| {
        for _ in 0..times {
            let fault = app.verifier.verify("no.token.this").await.unwrap_err();
            let request = watertight_terms::Request {
                at,
                address: "203.0.113.7".to_owned(),
                ..world.facts()
            };
            app.platform.hear(&fault, &request);
        }
    };
    let begun = async || {
        let app = process(&world, Clock::system());
        app.platform.begin(&app.tenancy, "one", at).await.unwrap();
        app
    };
    let first = begun().await;
    refuse(&first, 25).await;
    assert_eq!(noticed(&world, &first).await, []);
    first.platform.keep(&first.tenancy).await.unwrap();
    let second = begun().await;
    refuse(&second, 25).await;
    let burst = ("token-burst".to_owned(), "203.0.113.0/24".to_owned());
    assert_eq!(
        noticed(&world, &second).await,
        std::slice::from_ref(&burst),
        "25 and 25"
    );
    // A process of another name knows nothing of it, and its starts are its own.
    let other = process(&world, Clock::system());
    other
        .platform
        .begin(&other.tenancy, "two", at)
        .await
        .unwrap();
    refuse(&other, 25).await;
    begun().await;
    assert_eq!(
        noticed(&world, &second).await,
        std::slice::from_ref(&burst),
        "three starts"
    );
    let fourth = begun().await;
    let restarts = ("restarts".to_owned(), String::new());
    assert_eq!(noticed(&world, &fourth).await, [restarts, burst]);
    // What somebody spoilt is learned anew, and keeps nobody from starting.
    let raw = world.as_admin().await;
    raw.script("UPDATE watch.learned SET learned = 'c3BvaWx0'")
        .await
        .unwrap();
    begun().await;
}

/// Nothing of a closed studio is kept: neither by who is not at work when it is closed, nor by who is and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learned_of_a_closed_studio_is_forgotten_and_of_others_it_is_not() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let now = Clock::system().now();
    let [first, second] = [0, 1].map(|studio| world.studios[studio].tenant);
    let known = async |studio: Uuid| -> i64 {
        let sql = "SELECT count(*) FROM watch.learned WHERE strpos(learned, $1::uuid::text) > 0";
        raw.value(sql, &[&studio]).await.unwrap()
    };
    let [working, other] = [0, 1].map(|_| process(&world, Clock::system()));
    for (name, app, studios) in [
        ("one", &working, &[first, second][..]),
        ("two", &other, &[second]),
    ] {
        app.platform.begin(&app.tenancy, name, now).await.unwrap();
        for studio in studios {
            let observed = Observed {
                route: "/v1/bookings".to_owned(),
                method: "GET",
                status: 200,
                rule: None,
                studio: Some(TenantId(*studio)),
                address: "203.0.113.7".to_owned(),
                seconds: 0.1,
            };
            app.platform.answered(&observed, now);
        }
        app.platform.keep(&app.tenancy).await.unwrap();
    }
    assert_eq!((known(first).await, known(second).await), (1, 2));
    raw.run(
        "UPDATE tenancy.studios SET closes_at = now() - interval '1 minute' WHERE tenant_id = $1",
        &[&first],
    )
    .await
    .unwrap();
    studio::custody::closing::shred(&world.app, TenantId(first), |_| {})
        .await
        .unwrap();
    assert_eq!((known(first).await, known(second).await), (0, 1));
    for app in [&working, &other] {
        app.platform.keep(&app.tenancy).await.unwrap();
    }
    assert_eq!((known(first).await, known(second).await), (0, 2));
    let quantiles = |studio| {
        working
            .platform
            .quantiles("GET", "/v1/bookings", Some(TenantId(studio)))
    };
    assert!(quantiles(first).is_none() && quantiles(second).is_some());
}

/// Two workers of one configuration remember apart, each what it did before it was started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_processes_of_one_configuration_remembers_for_itself() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let names = async || -> Vec<String> {
        let sql = "SELECT coalesce(array_agg(convert_from(decode(process, 'base64'), 'UTF8') ORDER BY length(process), process), '{}') FROM watch.learned";
        raw.value(sql, &[]).await.unwrap()
    };
    let work = || {
        let mut command = tokio::process::Command::from(world.command(&["work"]));
        let command = command.stdout(std::process::Stdio::null());
        command.kill_on_drop(true).spawn().unwrap()
    };
    // That of the process which is there now, and was not before.
    let named = async |known: &[&str]| {
        for _ in 0..1_200 {
            let mut names = names().await.into_iter();
            if let Some(name) = names.find(|name| !known.contains(&name.as_str())) {
                return name;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("it does not begin: {:?}", names().await);
    };
    let mut first = work();
    let one = named(&[]).await;
    let mut second = work();
    let two = named(&[&one]).await;
    assert_eq!(two, format!("{one} 2"));
    first.kill().await.unwrap();
    raw.script("DELETE FROM watch.learned").await.unwrap();
    let mut third = work();
    let again = named(&[&two]).await;
    assert_eq!(again, one, "the place that is free");
    for child in [&mut second, &mut third] {
        child.kill().await.unwrap();
    }
}

/// Nothing is held back for longer.
const LONGEST_MS: u128 = 2_000;

/// Refusals of a network are held back, and nothing else: neither those of others, nor whoever of that network can say
/// who they are, nor anybody at all whose own failures they are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_held_back_and_nobody_is_locked_out_by_it() {
    let world = World::new().await;
    let mut config = world.config.clone();
    config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    let app = App::new(
        config,
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    )
    .unwrap();
    let base = serve(&app).await;
    let [good, bad] = [world.token(0, "owner"), "no.token.this".to_owned()];
    let ask = async |address: &str, token: &str| {
        let asked = world.http.get(format!("{base}/v1/me")).bearer_auth(token);
        let began = Instant::now();
        let answer = asked
            .header("x-forwarded-for", address)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), began.elapsed().as_millis())
    };
    // On a busy machine anything may take long; what is held back takes long each time.
    let quickest = async |address: &str, token: &str, expected: u16| {
        let mut least_ms = u128::MAX;
        for _ in 0..3 {
            let (status, ms) = ask(address, token).await;
            assert_eq!(status, expected, "{address}");
            least_ms = least_ms.min(ms);
        }
        least_ms
    };
    for _ in 0..11 {
        assert_eq!(ask("203.0.113.7", &bad).await.0, 401);
    }
    let ms = quickest("203.0.113.7", &bad, 401).await;
    assert!(ms >= LONGEST_MS, "{ms}");
    // The same network and another of its addresses, with a token that counts; the very person that somebody tried to be.
    for address in ["203.0.113.7", "203.0.113.99", "198.51.100.1"] {
        let ms = quickest(address, &good, 200).await;
        assert!(ms < LONGEST_MS, "{address}: {ms}");
    }
    let ms = quickest("198.51.100.1", &bad, 401).await;
    assert!(ms < LONGEST_MS, "another network: {ms}");
    // A proxy that nobody named is everybody.
    for _ in 0..11 {
        assert_eq!(ask("127.0.0.1", &bad).await.0, 401);
    }
    let ms = quickest("127.0.0.1", &bad, 401).await;
    assert!(ms < LONGEST_MS, "of this machine: {ms}");
}
