//! Metrics say how the platform does, and nothing of a studio, a person or an address; rules and dashboard name what is served.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use regex::Regex;
use serde_json::json;
use studio::{
    app::App,
    jobs::{Pace, work_until},
    metrics::{measure, serve},
};
use tokio::net::TcpListener;
use watertight_edge::Tls;
use watertight_terms::{Clock, Random};

use crate::world::{World, verifier};

const RULES: &str = include_str!("../../../deploy/prometheus/studio.rules.yml");
const RULES_TEST: &str = include_str!("../../../deploy/prometheus/studio.test.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/studio.json");

/// Good for long.
const LONG: Timestamp = Timestamp::constant(2_050_000_000, 0);

/// The value of a sample, by its name and labels as they are served.
pub(crate) fn sample(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let line = lines.find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(found, _)| found.trim_end_matches("{}") == name)
    });
    line.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

async fn asked(url: &str) -> (u16, String, String) {
    let answer = reqwest::get(url).await.unwrap();
    let media = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (
        answer.status().as_u16(),
        media,
        answer.text().await.unwrap(),
    )
}

/// What a listener of metrics answers.
async fn served(app: &App) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = app.metrics.clone();
    let serving = tokio::spawn(serve(listener, metrics, std::future::pending()));
    let (status, media, text) = asked(&format!("http://{address}/metrics")).await;
    assert_eq!(status, 200);
    assert!(media.starts_with("application/openmetrics-text"), "{media}");
    assert!(text.ends_with("# EOF\n"));
    let (status, ..) = asked_status(&format!("http://{address}/v1/me")).await;
    assert_eq!(status, 404);
    serving.abort();
    text
}

async fn asked_status(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_was_asked_and_nothing_of_a_studio() {
    let world = World::new().await;
    for studio in 0..2 {
        let token = world.token(studio, "owner");
        assert_eq!(world.send("GET", "/v1/bookings", &token, None).await.0, 200);
        let gone = format!("/v1/bookings/{}", Random::system().uuid());
        assert_eq!(world.send("GET", &gone, &token, None).await.0, 404);
        for (name, expected) in [(format!("person-of-{studio}"), 201), (String::new(), 422)] {
            let body = json!({ "name": name });
            let (status, _) = world.send("POST", "/v1/artists", &token, Some(body)).await;
            assert_eq!(status, expected);
        }
        let expired = world.bent_token(studio, "owner", &json!({ "exp": 1, "iat": 0, "nbf": 0 }));
        assert_eq!(
            world.send("GET", "/v1/bookings", &expired, None).await.0,
            401
        );
    }
    // What a client may invent: paths and methods.
    let invented = format!("{}/invented-path-7", world.base);
    assert_eq!(
        world.http.get(&invented).send().await.unwrap().status(),
        404
    );
    let method = reqwest::Method::from_bytes(b"INVENTED").unwrap();
    let url = format!("{}/v1/bookings", world.base);
    world.http.request(method, url).send().await.unwrap();
    let metrics = format!("{}/metrics", world.base);
    assert_eq!(
        asked_status(&metrics).await.0,
        404,
        "not on the API's own listener"
    );
    measure(&world.app, None).await.unwrap();
    let text = served(&world.app).await;
    for (name, least) in [
        (
            r#"studio_requests_total{route="/v1/bookings",method="GET",status="2xx"}"#,
            2.0,
        ),
        (
            r#"studio_requests_total{route="/v1/bookings",method="GET",status="4xx"}"#,
            2.0,
        ),
        (
            r#"studio_requests_total{route="/v1/bookings/{id}",method="GET",status="4xx"}"#,
            2.0,
        ),
        (
            r#"studio_requests_total{route="none",method="GET",status="4xx"}"#,
            2.0,
        ),
        (
            r#"studio_requests_total{route="/v1/bookings",method="other",status="4xx"}"#,
            1.0,
        ),
        (
            r#"studio_request_duration_seconds_count{route="/v1/bookings/{id}",method="GET"}"#,
            2.0,
        ),
        (r#"studio_refusals_total{rule="not-found"}"#, 2.0),
        (r#"studio_refusals_total{rule="invalid"}"#, 2.0),
        (r#"studio_refusals_total{rule="unauthenticated"}"#, 2.0),
        (r#"studio_strangers_total{failure="expired"}"#, 2.0),
        ("studio_statements_total", 8.0),
        (r#"studio_studios{status="active"}"#, 2.0),
    ] {
        let found = sample(&text, name);
        assert!(
            found.is_some_and(|found| found >= least),
            "{name}: {found:?}\n{text}"
        );
    }
    assert_eq!(
        sample(&text, r#"studio_refusals_total{rule="frozen"}"#),
        Some(0.0)
    );
    let nothing_of = |what: &str| assert!(!text.contains(what), "{what}\n{text}");
    for studio in &world.studios {
        nothing_of(&studio.tenant.to_string());
        nothing_of(&studio.organization);
        nothing_of(&studio.name);
        nothing_of(&studio.person("owner").subject);
    }
    nothing_of("person-of");
    nothing_of("invented");
    nothing_of("INVENTED");
    let traces = "[0-9a-f]{8}-[0-9a-f]{4}-|[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+|user_|org_";
    let found = Regex::new(traces)
        .unwrap()
        .find(&text)
        .map(|at| at.as_str().to_owned());
    assert_eq!(found, None, "an id or an address");
    let names = Regex::new("route=\"([^\"]*)\"").unwrap();
    for found in names.captures_iter(&text) {
        let route = &found[1];
        assert!(
            route == "none" || route.starts_with('/') && !route.contains("7"),
            "{route}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_measure_queues_locks_the_clock_and_the_certificate() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let tenant = world.studios[0].tenant;
    raw.run(
        "INSERT INTO jobs.due (tenant_id, kind, due_at) VALUES ($1, 'nothing-known', now() - interval '90 seconds')",
        &[&tenant],
    )
    .await
    .unwrap();
    raw.script("BEGIN; LOCK TABLE studio.phases").await.unwrap();
    let second = world.as_admin().await;
    let waiting =
        tokio::spawn(async move { second.script("BEGIN; LOCK TABLE studio.phases").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let fast = Clock::from_fn(|| Clock::system().now() + jiff::SignedDuration::from_secs(3));
    let app = App::new(
        world.config.clone(),
        verifier(&world.double),
        fast,
        Random::system(),
    );
    let app = app.unwrap();
    measure(&app, Some(&certificate(&world, LONG)))
        .await
        .unwrap();
    let text = app.metrics.text();
    let is_about = |name: &str, least: f64, most: f64| {
        let found = sample(&text, name);
        let is_so = found.is_some_and(|found| (least..=most).contains(&found));
        assert!(is_so, "{name}: {found:?}\n{text}");
    };
    is_about(r#"studio_jobs_due{kind="nothing-known"}"#, 1.0, 1.0);
    is_about(
        r#"studio_jobs_oldest_due_seconds{kind="nothing-known"}"#,
        90.0,
        120.0,
    );
    is_about("studio_lock_waits", 1.0, 1.0);
    is_about("studio_lock_wait_seconds", 0.2, 30.0);
    is_about("studio_clock_drift_seconds", 2.0, 4.0);
    is_about(r#"studio_key_age_seconds{ring="context"}"#, 0.0, 86_400.0);
    is_about("studio_certificate_expires_seconds", 2e9, 2.1e9);
    assert_eq!(
        sample(&text, "studio_backup_age_seconds"),
        None,
        "no folder is named"
    );
    waiting.abort();
    raw.script("ROLLBACK").await.unwrap();
    let pace = Pace {
        poll_ms: 20,
        lease_s: 30,
    };
    let failed = r#"studio_jobs_failed_total{kind="nothing-known"}"#;
    let noticed = async {
        while sample(&app.metrics.text(), failed) != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let worked = work_until(&app, pace, noticed);
    tokio::time::timeout(Duration::from_secs(20), worked)
        .await
        .unwrap();
}

/// One that is good until then.
pub(crate) fn certificate(world: &World, until: Timestamp) -> Tls {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let day = until.to_zoned(TimeZone::UTC).date();
    let (month, day_of_month) = (day.month() as u8, day.day() as u8);
    parameters.not_after = rcgen::date_time_ymd(day.year().into(), month, day_of_month);
    let certificate = parameters.self_signed(&key).unwrap();
    let folder = world.config.keys.location.parent().unwrap();
    let [first, second] = ["until.pem", "until.key"].map(|name| folder.join(name));
    std::fs::write(&first, certificate.pem()).unwrap();
    std::fs::write(&second, key.serialize_pem()).unwrap();
    Tls::read(&first, &second).unwrap()
}

/// The file of an archive of a studio, as it is named.
pub(crate) fn archive(folder: &Path, world: &World, studio: usize, kind: &str) -> PathBuf {
    let studio = world.studios[studio].tenant;
    folder.join(format!("{studio}_20260101T000000.000Z.{kind}.age"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_rules_and_dashboard_name_are_served() {
    let world = World::new().await;
    assert_eq!(
        world
            .send("GET", "/v1/me", &world.token(0, "owner"), None)
            .await
            .0,
        200
    );
    // Something of everything that is there only at times.
    let mut config = world.config.clone();
    let folder = world.config.keys.location.with_file_name("archives");
    std::fs::create_dir(&folder).unwrap();
    config.backup.folder = Some(folder.clone());
    let app = App {
        config: config.into(),
        ..world.app.clone()
    };
    // Keys alone bring nothing back, and a folder that was emptied is no silence.
    let archive = |studio: usize, kind: &str| archive(&folder, &world, studio, kind);
    let raw = world.as_admin().await;
    let ages = async || {
        measure(&app, None).await.unwrap();
        let text = served(&app).await;
        let of = |name: &str| sample(&text, name).unwrap();
        (
            of("studio_backup_age_seconds"),
            of("studio_backups_missing"),
        )
    };
    std::fs::write(archive(0, "keys"), "").unwrap();
    let (age, missing) = ages().await;
    assert!(age < 600.0 && missing == 0.0, "made just now: {age}");
    raw.script("UPDATE tenancy.studios SET created_at = now() - interval '100 days'")
        .await
        .unwrap();
    let (age, missing) = ages().await;
    assert!(age > 8e6 && missing == 2.0, "{age}, {missing}");
    // One that is new hides no other that is old.
    std::fs::write(archive(0, "data"), "").unwrap();
    let (age, missing) = ages().await;
    assert!(age > 8e6 && missing == 1.0, "{age}, {missing}");
    raw.run(
        "UPDATE tenancy.studios SET status = 'closed' WHERE tenant_id = $1",
        &[&world.studios[1].tenant],
    )
    .await
    .unwrap();
    assert_eq!(ages().await.1, 0.0, "nobody makes one of a closed studio");
    raw.script("UPDATE tenancy.studios SET status = 'active'")
        .await
        .unwrap();
    std::fs::write(archive(1, "data"), "").unwrap();
    raw.script("INSERT INTO jobs.due (tenant_id, kind, due_at) SELECT tenant_id, 'retention', now() - interval '1 hour' FROM tenancy.studios")
        .await
        .unwrap();
    measure(&app, Some(&certificate(&world, LONG)))
        .await
        .unwrap();
    let text = served(&app).await;
    let age = sample(&text, "studio_backup_age_seconds").unwrap();
    assert!(age < 600.0, "{age}");
    let samples: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    let name = Regex::new("studio_[a-z_]+").unwrap();
    let mut named = BTreeSet::new();
    for file in [RULES, RULES_TEST, DASHBOARD] {
        named.extend(name.find_iter(file).map(|found| found.as_str()));
    }
    assert!(named.len() > 25, "{named:?}");
    let unknown: Vec<_> = named.difference(&samples).collect();
    assert!(
        unknown.is_empty(),
        "named and not served: {unknown:?}\n{text}"
    );
    let looked_at = samples.iter().filter(|name| {
        !named.contains(*name)
            && !["_sum", "_count", "_created"]
                .iter()
                .any(|end| name.ends_with(end))
    });
    assert_eq!(
        looked_at.collect::<Vec<_>>(),
        [&"studio_build"],
        "served, and nobody looks at it"
    );
}

/// Each rule has a case in which it fires, and each leads to a section that is there.
#[test]
fn metrics_have_rules_that_promtool_finds_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    for arguments in [
        ["check", "rules", "studio.rules.yml"],
        ["test", "rules", "studio.test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        let said = promtool
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
    }
    let rule = Regex::new("- alert: ([A-Za-z]+)").unwrap();
    let rules: Vec<&str> = rule
        .captures_iter(RULES)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    assert!(rules.len() >= 19);
    for rule in rules {
        let case = format!("alertname=\"{rule}\"");
        assert!(
            RULES_TEST.contains(&case),
            "{rule} has no case in which it fires"
        );
    }
    let runbook = include_str!("../../../docs/runbooks/watching.md");
    let leads = Regex::new("runbook: \"docs/runbooks/watching.md#([a-z]+)\"").unwrap();
    let mut led = 0;
    for section in leads.captures_iter(RULES) {
        assert!(
            runbook.contains(&format!("\n## {}\n", &section[1])),
            "{}",
            &section[1]
        );
        led += 1;
    }
    assert_eq!(
        led,
        RULES.matches("- alert:").count(),
        "each says what to do"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served_where_a_process_is_told_and_nowhere_else() {
    let world = World::new().await;
    for command in ["serve", "work"] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let mut asked = match command {
            "serve" => world.command(&["serve", "--no-work"]),
            _ => world.command(&["work", "--metrics-listen", &address]),
        };
        if command == "serve" {
            asked.env("STUDIO_HTTP_METRICS_LISTEN", &address);
        }
        let mut child = asked.stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut text = String::new();
        for _ in 0..600 {
            if let Ok(answer) = reqwest::get(format!("http://{address}/metrics")).await {
                text = answer.text().await.unwrap();
                if sample(&text, "studio_measured_seconds").is_some() {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            sample(&text, "studio_measured_seconds").is_some(),
            "{command}: {text}"
        );
    }
}
