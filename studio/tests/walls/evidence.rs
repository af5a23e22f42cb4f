//! Evidence of an incident: of a studio that is frozen, for its owner alone, and never another's.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use studio::{app::App, demo::seed::marker, jobs::work_until};
use tokio::task::JoinHandle;
use watertight_custody::archive::Identities;
use watertight_identity::{Caller, ServiceName};
use watertight_ledger::verifier_keys;
use watertight_prover_core::{Bundle, Flaw, Shown, VerifierKey};
use watertight_tenancy::support::state;
use watertight_terms::{Clock, Random, TenantId};

use crate::{
    ledger::settle,
    on_duty::{Operators, ask, frozen},
    telling::FAST,
    world::{World, verifier},
};

/// A worker that has a folder of archives and a recipient for each studio.
pub(crate) struct Making {
    app: App,
    folder: PathBuf,
    identities: [Identities; 2],
}

impl Making {
    pub(crate) fn of(world: &World) -> Self {
        let beside = |name: &str| world.config.keys.location.with_file_name(name);
        let mut config = world.config.clone();
        let folder = beside("evidence");
        config.backup.folder = Some(folder.clone());
        config.backup.recipients_file = Some(beside("{studio}.recipients").display().to_string());
        let identities = [0, 1].map(|studio| {
            let drawn = Identities::generate();
            let name = format!("{}.recipients", world.studios[studio].tenant);
            fs::write(beside(&name), drawn.recipients()).unwrap();
            drawn
        });
        let (clock, random) = (Clock::system(), Random::system());
        let app = App::new(config, verifier(&world.double), clock, random).unwrap();
        Self {
            app,
            folder,
            identities,
        }
    }

    /// Works until it is stopped.
    pub(crate) fn working(&self) -> JoinHandle<()> {
        let app = self.app.clone();
        tokio::spawn(async move { work_until(&app, FAST, std::future::pending()).await })
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.folder).into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// The lines of a bundle, as its owner reads them.
    fn opened(&self, bytes: &[u8], studio: usize) -> Option<Vec<String>> {
        let secret = self.identities[studio].secrets();
        let identity = age::x25519::Identity::from_str(secret.trim()).unwrap();
        let decryptor = age::Decryptor::new(bytes).unwrap();
        let stream = decryptor.decrypt(std::iter::once(&identity as _)).ok()?;
        let lines = BufReader::new(zstd::Decoder::new(stream).unwrap()).lines();
        Some(lines.map(Result::unwrap).collect())
    }
}

/// What the owner's verifier says, with the keys of that studio's log.
fn verified(world: &World, studio: usize, lines: &[String]) -> Result<Shown, Flaw> {
    let ring = (world.app.desk.checkpoint_keys)();
    let keys = verifier_keys(&ring, TenantId(world.studios[studio].tenant)).unwrap();
    let keys = keys.iter().map(|key| VerifierKey::parse(key).unwrap());
    let mut bundle = Bundle::new(keys.collect());
    lines.iter().try_for_each(|line| bundle.line(line))?;
    bundle.end()
}

/// An incident in which the studio is frozen, of the first studio; gives its id.
async fn frozen_studio(operators: &Operators<'_>) -> String {
    let id = operators.open(&["--emergency"]).await;
    operators.done(0, &["freeze", "--incident", &id]).await;
    id
}

const SINCE: [&str; 2] = ["--from", "2026-01-01T00:00:00Z"];

async fn evidence(operators: &Operators<'_>, incident: &str) -> Value {
    let ask = [&["evidence", "--incident", incident], &SINCE[..]].concat();
    operators.done(0, &ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_of_a_frozen_studio_is_made_for_its_owner_alone() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let making = Making::of(&world);
    let tenant = world.studios[0].tenant.to_string();
    for part in ["owner", "manager"] {
        assert_eq!(ask(&world, &world.base, 0, part).await.0, 200);
        assert_eq!(ask(&world, &world.base, 1, part).await.0, 200);
    }
    settle(&world.app).await;
    let id = frozen_studio(&operators).await;
    settle(&world.app).await;
    let worker = making.working();
    let made = evidence(&operators, &id).await;
    assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
    operators.read_nothing().await;

    // It is the file that was said, and nobody reads anything in it but its owner.
    let [file] = making.files().try_into().unwrap();
    assert_eq!(file.file_name().unwrap().to_str(), made["name"].as_str());
    let mut bytes = Vec::new();
    fs::File::open(&file)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(json!(bytes.len()), made["bytes"]);
    let sha256 = hex::encode(digest(&SHA256, &bytes));
    assert_eq!(json!(sha256), made["sha256"]);
    assert!(
        making.opened(&bytes, 1).is_none(),
        "the other studio's owner"
    );
    let lines = making.opened(&bytes, 0).unwrap();

    // It is whole: the incident, the database's walls, and the log from its first entry on.
    let shown = verified(&world, 0, &lines).unwrap();
    assert_eq!(
        (shown.studio.as_str(), shown.entries.0),
        (tenant.as_str(), 0)
    );
    assert!(shown.leaves > 4 && shown.checkpoints > 0, "{shown:?}");
    // All of the window, and nothing before it is missing.
    assert_eq!((shown.range.0, shown.removed_before), (0, None));
    assert!(shown.range.1 > 4 && shown.range.1 <= shown.entries.1);
    let text = lines.join("\n");
    for part in [
        "\"stolen-session\"",
        "\"rolbypassrls\":false",
        "\"policyname\":\"wall\"",
        "@id(\\\"incident.owners\\\")",
        "\"configuration\":",
        "incident.isolate",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // And nothing of the other studio, nor of a row that somebody works with.
    assert!(!text.contains(&world.studios[1].tenant.to_string()));
    for studio in &world.studios {
        assert!(!text.contains(marker(&studio.letter)), "{}", studio.letter);
    }
    worker.abort();
    chain_of_custody(&world, &operators, &id, &made).await;
}

/// Who asked, that it was made, and who has it: in the incident, and in the studio's ledger with the digest.
async fn chain_of_custody(world: &World, operators: &Operators<'_>, id: &str, made: &Value) {
    let bundle = made["bundle"].as_str().unwrap();
    let give = [
        "hand-over",
        "--incident",
        id,
        "--bundle",
        bundle,
        "--to",
        "Ada",
    ];
    let given = operators.done(1, &give).await;
    assert_eq!(given["sha256"], made["sha256"]);
    let over = ["thaw", "--incident", id, "--override", "a drill"];
    operators.done(1, &over).await;
    settle(&world.app).await;
    let owner = world.token(0, "owner");
    let (_, incidents) = world.send("GET", "/v1/incidents", &owner, None).await;
    let evidence = &incidents["items"][0]["evidence"][0];
    assert_eq!(evidence["sha256"], made["sha256"]);
    assert_eq!(evidence["asked_by"], "studio_operator");
    assert_eq!(evidence["handed_over"][0]["to"], "Ada");
    let (_, entries) = world.send("GET", "/v1/audit?limit=100", &owner, None).await;
    let entry = |action: &str| {
        let entries = entries["items"].as_array().unwrap();
        let found = entries.iter().find(|entry| entry["action"] == action);
        found.unwrap().clone()
    };
    assert_eq!(
        entry("incident.evidence")["actor"],
        "operator:studio_operator"
    );
    assert_eq!(entry("evidence.make")["actor"], "service:evidence");
    assert_eq!(entry("evidence.make")["rule"], made["sha256"]);
    let said = entry("incident.hand_over")["client_request_id"].clone();
    assert_eq!(
        said,
        json!(format!("{} to Ada", made["sha256"].as_str().unwrap()))
    );
    // What it is about stays as it is.
    let (_, holds) = world.send("GET", "/v1/legal-holds", &owner, None).await;
    assert_eq!(holds["items"][0]["scope"], "window", "{holds}");
}

/// Only that service enters a frozen studio, and it reads what it gathers and nothing of another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_studio_is_entered_by_its_evidence_alone() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let enter = async |name: &'static str, studio: usize| {
        let tenant = TenantId(world.studios[studio].tenant);
        let caller = Caller::service(ServiceName::new(name), tenant);
        let begun = world.app.tenancy.begin(&caller, world.facts()).await;
        begun
            .map(drop)
            .map_err(|refused| refused.fault.slug().to_owned())
    };
    for name in ["evidence", "custody", "watch"] {
        assert_eq!(enter(name, 0).await, Ok(()), "{name}");
    }
    let id = frozen_studio(&operators).await;
    assert_eq!(enter("evidence", 0).await, Ok(()));
    assert_eq!(enter("evidence", 1).await, Ok(()));
    for name in ["custody", "watch", "expiry", "delivery", "people", "vault"] {
        assert_eq!(enter(name, 0).await, Err("frozen".to_owned()), "{name}");
    }
    // While it is being frozen not even that one.
    let mark = "UPDATE tenancy.studios SET status = 'freezing' WHERE status = 'frozen'";
    world.as_admin().await.script(mark).await.unwrap();
    assert_eq!(enter("evidence", 0).await, Err("frozen".to_owned()));
    let back = "UPDATE tenancy.studios SET status = 'frozen' WHERE status = 'freezing'";
    world.as_admin().await.script(back).await.unwrap();

    // What is gathered nobody else is told: no other service, and none of the other studio.
    let incident: uuid::Uuid = id.parse().unwrap();
    let facts = "SELECT count(*) FROM incident.facts($1)";
    for (context, expected) in [
        (world.service_context(0, "evidence"), Ok(true)),
        (world.service_context(1, "evidence"), Ok(false)),
        (world.service_context(1, "custody"), Err("ZT018")),
        (world.context(1, "owner"), Err("ZT018")),
    ] {
        let app = world.as_app().await;
        app.script("BEGIN").await.unwrap();
        app.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let told = app.run(facts, &[&incident]).await;
        assert_eq!(
            told.as_ref().map(|_| ()).map_err(state),
            expected.map(|_| ())
        );
        let Ok(is_own) = expected else { continue };
        let own = "SELECT count(*) FROM incident.facts($1) WHERE part = 'incident'";
        let many: i64 = app.value(own, &[&incident]).await.unwrap();
        assert_eq!(many, i64::from(is_own));
        let of_others =
            "SELECT count(*) FROM ledger.entries WHERE tenant_id <> tenancy.tenant_id()";
        let others: i64 = app.value(of_others, &[]).await.unwrap();
        assert_eq!(others, 0);
        let own = "SELECT count(*) FROM ledger.entries";
        assert!(app.value::<i64>(own, &[]).await.unwrap() > 0);
    }
}

/// Nobody asks for it alone and in silence, past its bounds, or gives on what there is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_asked_for_in_an_incident_and_within_bounds() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let id = operators.open(&[]).await;
    let wait = ["--wait-s", "0"];
    let ask = [&["evidence", "--incident", &id], &SINCE[..], &wait[..]].concat();
    let refused = async |arguments: &[&str], why: &str| {
        let said = operators.run(0, arguments).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.error.contains(why), "{said:?}");
    };
    refused(&ask, "another operator").await;
    operators.done(1, &["confirm", "--incident", &id]).await;
    // Nobody works: it is asked for, and the command says so.
    refused(&ask, "not made yet").await;
    let turned = [&ask[..], &["--to", "2025-01-01T00:00:00Z"]].concat();
    refused(&turned, "ends before it begins").await;
    let status = operators.done(0, &["status", "--incident", &id]).await;
    let asked = &status["incidents"][0]["evidence"];
    assert_eq!(asked.as_array().unwrap().len(), 1, "{status}");
    let bundle = asked[0]["id"].as_str().unwrap().to_owned();
    let give = [
        "hand-over",
        "--incident",
        &id,
        "--bundle",
        &bundle,
        "--to",
        "Ada",
    ];
    refused(&give, "no bundle of that id").await;
    // Without recipients there is none, and it says why.
    let making = Making::of(&world);
    let name = format!("{}.recipients", world.studios[0].tenant);
    fs::remove_file(world.config.keys.location.with_file_name(name)).unwrap();
    let worker = making.working();
    let ask = [&["evidence", "--incident", &id], &SINCE[..]].concat();
    refused(&ask, "recipients").await;
    worker.abort();
    assert!(making.files().is_empty());
    let many = "INSERT INTO incident.bundles (tenant_id, id, incident_id, starts_at, ends_at, asked_by)
                SELECT tenant_id, gen_random_uuid(), id, '2026-01-01', '2026-01-02', 'x' FROM incident.incidents, generate_series(1, 20)";
    world.as_admin().await.script(many).await.unwrap();
    refused(&ask, "twenty").await;
}

/// What stands under no checkpoint yet is waited for, and is in it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_waits_until_all_of_its_window_stands_under_a_checkpoint() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let making = Making::of(&world);
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    for _ in 0..3 {
        assert_eq!(ask(&world, &world.base, 0, "owner").await.0, 200);
    }
    let worker = making.working();
    let ask = ["evidence", "--incident", &id, "--wait-s", "2"];
    let said = operators.run(0, &[&ask[..], &SINCE[..]].concat()).await;
    assert_eq!(said.code, 1, "made of less than there is: {said:?}");
    assert!(making.files().is_empty());
    settle(&world.app).await;
    let file = async {
        loop {
            let mut files = making.files().into_iter();
            if let Some(file) = files.find(|file| file.extension().is_some_and(|end| end == "age"))
            {
                return file;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let file = tokio::time::timeout(Duration::from_secs(20), file).await;
    worker.abort();
    let lines = making.opened(&fs::read(file.unwrap()).unwrap(), 0).unwrap();
    let shown = verified(&world, 0, &lines).unwrap();
    let seen = lines
        .iter()
        .filter(|line| line.contains("artist.list") || line.contains("artist.view"));
    assert!(seen.count() >= 3, "{shown:?}");
    // Entries of after it was asked for are none of the window's: the first of them says so.
    assert!(shown.range.1 < shown.entries.1, "{shown:?}");
}

/// What a process has not confirmed to be over may still bring an entry: for half a minute, then it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_of_a_frozen_studio_waits_for_who_has_not_confirmed() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let making = Making::of(&world);
    let id = frozen_studio(&operators).await;
    settle(&world.app).await;
    let admin = world.as_admin().await;
    let other =
        "INSERT INTO tenancy.processes (id) VALUES ('00000000-0000-4000-8000-000000000001')";
    admin.script(other).await.unwrap();
    let (worker, hurrying) = (making.working(), hurried(&world).await);
    let ask = ["evidence", "--incident", &id, "--wait-s", "2"];
    let said = operators.run(0, &[&ask[..], &SINCE[..]].concat()).await;
    assert_eq!(
        said.code, 1,
        "made although one has not confirmed: {said:?}"
    );
    assert!(making.files().is_empty());
    let later = "UPDATE tenancy.isolations SET begun_at = begun_at - interval '30 seconds'";
    admin.script(later).await.unwrap();
    let made = async {
        while making.files().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(20), made).await;
    worker.abort();
    hurrying.abort();
    made.unwrap();
}

/// A disk that is away for a while is no reason to have no evidence; one that stays away is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_made_once_what_was_in_the_way_is_gone() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let making = Making::of(&world);
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    settle(&world.app).await;
    // Where the folder is to be stands a file.
    fs::write(&making.folder, "").unwrap();
    let worker = making.working();
    let away = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        fs::remove_file(&making.folder).unwrap();
    };
    let (made, ()) = tokio::join!(evidence(&operators, &id), away);
    let hurrying = hurried(&world).await;
    assert_eq!(making.files().len(), 1, "{made}");
    fs::remove_dir_all(&making.folder).unwrap();
    fs::write(&making.folder, "").unwrap();
    settle(&world.app).await;
    let ask = [&["evidence", "--incident", &id], &SINCE[..]].concat();
    let said = operators.run(0, &ask).await;
    worker.abort();
    hurrying.abort();
    assert!(
        said.code == 1 && said.error.contains("cannot be used"),
        "{said:?}"
    );
    let tries: i32 = world
        .as_admin()
        .await
        .value(
            "SELECT tries FROM incident.bundles WHERE failed IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(tries, 5);
}

/// What is to be tried again later is tried again now.
async fn hurried(world: &World) -> tokio::task::JoinHandle<()> {
    let raw = world.as_admin().await;
    tokio::spawn(async move {
        loop {
            raw.script(
                "UPDATE incident.bundles SET again_at = now() WHERE again_at > now();
                 UPDATE jobs.due SET due_at = now() WHERE kind = 'evidence' AND due_at > now()",
            )
            .await
            .unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// It is work that failed, each time; the studio's operators see why, and when it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_that_fails_is_counted_and_tried_again_later_and_later() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let making = Making::of(&world);
    settle(&world.app).await;
    let id = operators.open(&["--emergency"]).await;
    settle(&world.app).await;
    fs::write(&making.folder, "").unwrap();
    let ask = [
        &["evidence", "--incident", &id, "--wait-s", "1"],
        &SINCE[..],
    ]
    .concat();
    assert_eq!(operators.run(0, &ask).await.code, 1);
    let raw = world.as_admin().await;
    let failed = || {
        let text = making.app.metrics.text();
        let name = r#"studio_jobs_failed_total{kind="evidence"}"#;
        crate::metrics::sample(&text, name).unwrap_or_default()
    };
    for (tries, least_s, most_s) in [(1_u32, 2, 5), (2, 12, 20), (3, 60, 80)] {
        let mut failed_at = world.app.clock.now();
        let tried = async {
            while failed() < f64::from(tries) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            failed_at = world.app.clock.now();
            // It is not tried again meanwhile.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        };
        let worked = work_until(&making.app, FAST, tried);
        tokio::time::timeout(Duration::from_secs(30), worked)
            .await
            .unwrap();
        assert_eq!(failed(), f64::from(tries));
        let shown = operators.done(0, &["status", "--incident", &id]).await;
        let shown = &shown["incidents"][0]["evidence"][0];
        assert_eq!(
            (&shown["tries"], &shown["failed"]),
            (&json!(tries), &Value::Null)
        );
        assert!(
            shown["trouble"]
                .as_str()
                .unwrap()
                .contains("cannot be used"),
            "{shown}"
        );
        let again: jiff::Timestamp = shown["again_at"].as_str().unwrap().parse().unwrap();
        let wait_s = again.duration_since(failed_at).as_secs();
        assert!(
            (least_s..=most_s).contains(&wait_s),
            "{wait_s} s after {tries}"
        );
        raw.script("UPDATE incident.bundles SET again_at = now(); UPDATE jobs.due SET due_at = now() WHERE kind = 'evidence'")
            .await
            .unwrap();
    }
}
