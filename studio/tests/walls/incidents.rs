//! An incident: two operators stop what is wrong in one studio, and read no row of it. Others notice nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use serde_json::{Value, json};
use studio::jobs::work_until;
use tokio::{io::AsyncReadExt, net::TcpListener};
use watertight_identity::{Caller, ServiceName};
use watertight_terms::TenantId;

use crate::{
    alerts::{look, probe},
    evidence,
    ledger::settle,
    mails::deliveries,
    notices,
    on_duty::{Operators, ask, frozen, member_id},
    process::Process,
    telling::{FAST, hook, reaching_at},
    world::World,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_opened_by_one_operator_and_confirmed_by_another() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let id = operators.open(&[]).await;
    let freeze = ["freeze", "--incident", &id];
    let said = operators.run(0, &freeze).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.error.contains("another operator"), "{said:?}");
    let said = operators.run(0, &["confirm", "--incident", &id]).await;
    assert_eq!(said.code, 1, "the opener confirmed it: {said:?}");
    assert!(said.error.contains("you opened it"), "{said:?}");
    assert_eq!(ask(&world, &world.base, 0, "owner").await.0, 200);
    operators.read_nothing().await;

    operators.done(1, &["confirm", "--incident", &id]).await;
    operators.done(0, &freeze).await;
    assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
    assert_eq!(ask(&world, &world.base, 1, "owner").await.0, 200);
    operators.read_nothing().await;
    // All is to be mended before it is thawed, or it is said why not.
    let thaw = ["thaw", "--incident", &id];
    assert_eq!(operators.run(1, &thaw).await.code, 1);
    for step in ["keys", "sessions", "role", "policy", "check"] {
        let step = ["step", "--incident", &id, step, "--note", "done"];
        operators.done(0, &step).await;
    }
    assert_eq!(operators.run(1, &thaw).await.code, 1);
    assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
    let last = [
        "step",
        "--incident",
        &id,
        "replay",
        "--note",
        "refused by 403",
    ];
    operators.done(1, &last).await;
    operators.done(1, &thaw).await;
    assert_eq!(ask(&world, &world.base, 0, "owner").await.0, 200);
    let status = operators.done(0, &["status", "--incident", &id]).await;
    let incident = &status["incidents"][0];
    assert_eq!(incident["state"], "closed");
    assert_eq!(incident["opened_by"], "studio_operator");
    assert_ne!(incident["confirmed_by"], "studio_operator");
    assert_eq!(operators.run(1, &thaw).await.code, 1, "closed is closed");
}

/// A webhook that does not answer: what it is being told is called back before the command returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_calls_back_what_is_being_told() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let app = reaching_at(&world, vec![address.clone()]);
    let hooked = json!({ "url": format!("http://{address}/hook") });
    hook(&world, &app, 0, hooked).await;
    world
        .pencil(0, 0, "2031-04-01T08:00:00Z", "2031-04-01T09:00:00Z")
        .await;
    let id = operators.open(&["--emergency"]).await;
    let frozen = async {
        let (mut told, _) = deaf.accept().await.unwrap();
        told.read_u8().await.unwrap();
        let said = operators.done(0, &["freeze", "--incident", &id]).await;
        // It would be waited for until its own time is over.
        assert!(said["took_ms"].as_u64().unwrap() < 3_000, "{said}");
        let mut rest = Vec::new();
        let over = tokio::time::timeout(Duration::from_millis(500), told.read_to_end(&mut rest));
        let _ended_or_reset = over.await.expect("it is being told after the freeze");
    };
    app.tenancy
        .heed_until(None, work_until(&app, FAST, frozen))
        .await
        .unwrap();
}

/// What one operator froze alone is over after a day, by whichever process works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_that_nobody_confirms_is_over_in_a_day() {
    for (is_confirmed, expected) in [(false, 200), (true, 403)] {
        let world = World::new().await;
        let operators = Operators::of(&world).await;
        let id = operators.open(&["--emergency"]).await;
        operators.done(0, &["freeze", "--incident", &id]).await;
        assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
        if is_confirmed {
            operators.done(1, &["confirm", "--incident", &id]).await;
        }
        let work = async || {
            let a_while = tokio::time::sleep(Duration::from_millis(500));
            work_until(&world.app, FAST, a_while).await;
        };
        work().await;
        assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
        let later = "UPDATE incident.incidents SET opened_at = opened_at - interval '25 hours';
                     UPDATE jobs.due SET due_at = now() WHERE kind = 'incident'";
        world.as_admin().await.script(later).await.unwrap();
        work().await;
        let status = ask(&world, &world.base, 0, "owner").await.0;
        assert_eq!(status, expected, "confirmed: {is_confirmed}");
        // Who lifts it is the server, under a name of its own.
        let thawed = "SELECT count(*) FROM ledger.entries WHERE body ->> 'action' = 'incident.thaw' AND body ->> 'actor' = 'service:incident'";
        let thawed: i64 = world.as_admin().await.value(thawed, &[]).await.unwrap();
        assert_eq!(thawed, i64::from(!is_confirmed));
    }
}

/// Two processes, each with a request that is in the database, and asleep there, when the freeze begins: the
/// command returns when both have been answered, and answered with a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_freezes_when_every_process_has_answered() {
    let world = Arc::new(World::new().await);
    let operators = Operators::of(&world).await;
    let processes = [Process::serve(&world).await, Process::serve(&world).await];
    for process in &processes {
        assert_eq!(ask(&world, &process.base, 0, "owner").await.0, 200);
    }
    let id = operators.open(&["--emergency"]).await;
    plant_a_nap(&world, 1_500).await;
    let began = Instant::now();
    let asked = processes.each_ref().map(|process| {
        let (world, base) = (Arc::clone(&world), process.base.clone());
        tokio::spawn(async move {
            let answered = ask(&world, &base, 0, "owner").await;
            (answered, began.elapsed())
        })
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let said = operators.done(0, &["freeze", "--incident", &id]).await;
    let returned = began.elapsed();
    for one in asked {
        let (answered, at) = one.await.unwrap();
        assert_eq!(answered, frozen());
        // What has left the process has a way to go to this one.
        let allowed = returned + Duration::from_millis(100);
        assert!(at < allowed, "answered at {at:?}, frozen at {returned:?}");
    }
    assert!(returned > Duration::from_millis(1_500), "{said}");
}

/// Makes whoever enters sleep right before the locks.
async fn plant_a_nap(world: &World, nap_ms: u32) {
    let admin = world.as_admin().await;
    let text: String = admin
        .value(
            "SELECT pg_get_functiondef('tenancy.enter(text)'::regprocedure)",
            &[],
        )
        .await
        .unwrap();
    let lock = "  IF NOT pg_try_advisory_xact_lock_shared(keys.lock_key)";
    assert!(text.contains(lock), "the text of enter changed; mend this");
    let napping = text.replacen(lock, &format!("  PERFORM tenancy.nap();\n{lock}"), 1);
    admin
        .script(&format!(
            "CREATE FUNCTION tenancy.nap() RETURNS void LANGUAGE sql SECURITY DEFINER
               AS 'SELECT pg_catalog.pg_sleep({nap_ms} / 1000.0)';
             GRANT EXECUTE ON FUNCTION tenancy.nap() TO PUBLIC"
        ))
        .await
        .unwrap();
    admin.script(&napping).await.unwrap();
}

/// With both studios at work on two processes: what is asked after the command has returned is refused, the
/// ledger has no allowed entry of later, and the other studio goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_freezes_a_busy_studio_in_a_second_and_no_other() {
    let world = Arc::new(World::new().await);
    let processes = [Process::serve(&world).await, Process::serve(&world).await];
    let operators = Operators::of(&world).await;
    let id = operators.open(&["--emergency"]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for process in &processes {
        for studio in [0, 1] {
            let (world, base, is_over) = (
                Arc::clone(&world),
                process.base.clone(),
                Arc::clone(&is_over),
            );
            clients.push(tokio::spawn(async move {
                let mut asked = Vec::new();
                while !is_over.load(Ordering::Acquire) {
                    let began = Instant::now();
                    let (status, _) = ask(&world, &base, studio, "owner").await;
                    asked.push((began, status, studio));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                asked
            }));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let said = operators.done(0, &["freeze", "--incident", &id]).await;
    let returned = Instant::now();
    let frozen_at: String = world
        .as_admin()
        .await
        .value("SELECT clock_timestamp()::text", &[])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_over.store(true, Ordering::Release);
    let (mut before, mut after) = ([0, 0], [0, 0]);
    for client in clients {
        for (began, status, studio) in client.await.unwrap() {
            if began < returned {
                before[studio] += usize::from(status == 200);
            } else if status == 200 {
                after[studio] += 1;
            } else {
                assert_eq!((studio, status), (0, 403));
            }
        }
    }
    assert!(before[0] > 5 && before[1] > 5, "{before:?}");
    assert!(after[0] == 0 && after[1] > 5, "{after:?}");
    let late: i64 = world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM ledger.entries WHERE tenant_id = $1 AND at > $2::text::timestamptz
               AND body ->> 'outcome' = 'allowed' AND body ->> 'role' <> 'operator'",
            &[&world.studios[0].tenant, &frozen_at],
        )
        .await
        .unwrap();
    assert_eq!(late, 0);
    println!("frozen under load in {} ms", said["took_ms"]);
    assert!(said["took_ms"].as_u64().unwrap() < 1_000, "{said}");
}

/// A stream that is open, and a backup that is running, end before the command returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_ends_streams_and_backups() {
    let world = World::new().await;
    let process = Process::serve(&world).await;
    let operators = Operators::of(&world).await;
    let open = async |studio: usize| {
        let asked = world.http.get(format!("{}/v1/events", process.base));
        let asked = asked.bearer_auth(world.token(studio, "owner"));
        let mut stream = asked.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        assert!(stream.chunk().await.unwrap().is_some());
        stream
    };
    let (mut own, mut other) = (open(0).await, open(1).await);
    let tenant = TenantId(world.studios[0].tenant);
    let custody = Caller::service(ServiceName::new("custody"), tenant);
    let backup = world.app.tenancy.begin_snapshot(&custody, world.facts());
    let backup = backup.await.unwrap();
    // The stream's own look, a second wall, is taken away: it says that all is as it was.
    let admin = world.as_admin().await;
    let function = "tenancy.standing_of(text,text,text,text,bigint)";
    let text: String = admin
        .value(
            "SELECT pg_get_functiondef($1::text::regprocedure)",
            &[&function],
        )
        .await
        .unwrap();
    let look = "s.status = 'active'";
    assert!(text.contains(look), "the text changed; mend this test");
    admin.script(&text.replace(look, "true")).await.unwrap();
    let id = operators.open(&["--emergency"]).await;
    let said = operators.done(0, &["freeze", "--incident", &id]).await;
    assert_eq!(said["ended"], 1, "{said}");
    let entry = watertight_terms::Entry::new("archive.write", "archive");
    assert!(backup.finish(entry).await.is_err());
    // What it had told already may still be on its way; then there is nothing more.
    let over = async { while matches!(own.chunk().await, Ok(Some(_))) {} };
    let over = tokio::time::timeout(Duration::from_millis(200), over).await;
    over.expect("the stream goes on after the freeze");
    let going = tokio::time::timeout(Duration::from_millis(200), other.chunk()).await;
    assert!(
        !matches!(going, Ok(Ok(None) | Err(_))),
        "another studio's stream ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_isolates_a_member_a_session_or_an_address_and_nobody_else() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let base = &world.base;
    let id = operators.open(&["--emergency"]).await;
    let isolated = (403, "/problems/isolated".to_owned());
    let member = member_id(&world, "manager").await;
    let freeze = |what: &'static str, which: String| {
        let (operators, id) = (&operators, &id);
        async move {
            let arguments = ["freeze", "--incident", id, what, &which];
            operators.run(0, &arguments).await
        }
    };
    // Somebody of the other studio is nobody here.
    let other = world.studios[1].person("manager").session.clone();
    assert_eq!(ask(&world, base, 1, "manager").await.0, 200);
    assert_eq!(freeze("--session", other).await.code, 1);
    assert_eq!(ask(&world, base, 1, "manager").await.0, 200);

    assert_eq!(ask(&world, base, 0, "manager").await.0, 200);
    assert_eq!(freeze("--member", member).await.code, 0);
    assert_eq!(ask(&world, base, 0, "manager").await, isolated);
    assert_eq!(ask(&world, base, 0, "owner").await.0, 200);
    let freelancer = world.studios[0].person("freelancer").session.clone();
    assert_eq!(ask(&world, base, 0, "freelancer").await.0, 200);
    assert_eq!(freeze("--session", freelancer).await.code, 0);
    assert_eq!(ask(&world, base, 0, "freelancer").await.0, 401);
    // Not by a later word of the identity provider either.
    crate::webhooks::begin_session(&world, 0, "freelancer").await;
    assert_eq!(ask(&world, base, 0, "freelancer").await.0, 401);
    assert_eq!(ask(&world, base, 0, "owner").await.0, 200);
    // Somebody who is invited has nothing under way.
    let body = json!({ "email": "later@example.org", "role": "freelancer" });
    let owner = world.token(0, "owner");
    let (status, invited) = world.send("POST", "/v1/members", &owner, Some(body)).await;
    assert_eq!(status, 202, "{invited}");
    let invited = invited["id"].as_str().unwrap().to_owned();
    assert_eq!(freeze("--member", invited).await.code, 1);
    // Whoever comes from there, by whatever membership; of another studio nobody.
    assert_eq!(freeze("--address", "192.0.2.9".to_owned()).await.code, 0);
    assert_eq!(ask(&world, base, 0, "owner").await.0, 200);
    assert_eq!(
        freeze("--address", "::ffff:127.0.0.1".to_owned())
            .await
            .code,
        0
    );
    assert_eq!(ask(&world, base, 0, "owner").await, isolated);
    assert_eq!(ask(&world, base, 1, "owner").await.0, 200);
    let status = operators.done(0, &["status"]).await;
    let frozen = &status["incidents"][0]["frozen"];
    assert_eq!(
        (&frozen["studio"], &frozen["addresses"]),
        (&json!(false), &json!(["192.0.2.9", "127.0.0.1"]))
    );
    operators
        .done(0, &["thaw", "--incident", &id, "--override", "a drill"])
        .await;
    assert_eq!(ask(&world, base, 0, "manager").await.0, 200);
    assert_eq!(ask(&world, base, 0, "owner").await.0, 200);
    assert_eq!(crate::accounts::wrong(&world).await, []);
}

/// Of whoever is isolated, and of everybody once the studio is; in whole hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_touched_what_everybody_did_once_the_studio_is_frozen() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    for part in ["owner", "manager", "freelancer"] {
        assert_eq!(ask(&world, &world.base, 0, part).await.0, 200);
    }
    let id = operators.open(&[]).await;
    let now = watertight_terms::Clock::system().now().to_string();
    let impact = ["impact", "--incident", &id, "--from", &now];
    let said = operators.run(0, &impact).await;
    assert_eq!(said.code, 1, "numbers before another operator confirmed it");
    operators.done(1, &["confirm", "--incident", &id]).await;
    let member = member_id(&world, "manager").await;
    let part = ["freeze", "--incident", &id, "--member", &member];
    operators.done(0, &part).await;
    assert_eq!(operators.done(0, &impact).await["impact"]["actors"], 1);
    operators.done(0, &["freeze", "--incident", &id]).await;
    let all = operators.done(0, &impact).await;
    assert!(all["impact"]["actors"].as_i64() >= Some(3), "{all}");
}

/// One operator alone freezes for a day, and no second one on top; nor lifts what nobody confirmed without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_by_one_operator_alone_has_an_end() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let first = operators.open(&["--emergency"]).await;
    operators.done(0, &["freeze", "--incident", &first]).await;
    for step in ["keys", "sessions", "role", "policy", "check", "replay"] {
        let step = ["step", "--incident", &first, step, "--note", "done"];
        operators.done(0, &step).await;
    }
    let thaw = ["thaw", "--incident", &first];
    assert_eq!(operators.run(0, &thaw).await.code, 1);
    operators
        .done(0, &[&thaw[..], &["--override", "a false alarm"]].concat())
        .await;
    let second = operators.open(&["--emergency"]).await;
    let freeze = ["freeze", "--incident", &second];
    let said = operators.run(0, &freeze).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.error.contains("seven days"), "{said:?}");
    assert_eq!(ask(&world, &world.base, 0, "owner").await.0, 200);
    operators.done(1, &["confirm", "--incident", &second]).await;
    operators.done(0, &freeze).await;
    assert_eq!(ask(&world, &world.base, 0, "owner").await, frozen());
}

/// The whole way, by the commands of the runbook themselves: from the alert, which the owner has, to the thaw. After
/// each step neither operator reads a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_by_the_runbook_goes_from_its_alert_to_its_thaw() {
    let world = World::new().await;
    let process = Process::serve(&world).await;
    let operators = Operators::of(&world).await;
    let owner = world.token(0, "owner");
    probe(&world, 0, "manager", 25).await;
    look(&world).await;
    let (_, alerts) = world.send("GET", "/v1/alerts", &owner, None).await;
    let alert = &alerts["items"][0];
    assert_eq!(alert["kind"], "probing", "{alerts}");
    let manager = &world.studios[0].person("manager").subject;
    assert_eq!(alert["subject"], manager.as_str());
    let member = member_id(&world, "manager").await;

    let worker = evidence::Making::of(&world).working();
    let text = include_str!("../../../docs/runbooks/incident.md");
    let (mut incident, mut bundle, mut notice) = (String::new(), String::new(), String::new());
    notices::give_address(&world, 0, "owner").await;
    let a_day_ago = world.app.clock.now() - SignedDuration::from_hours(24);
    let said_to = notices::text(&world, "Somebody tried ids as a manager.\n");
    let said_to = said_to.display().to_string();
    let mut last = Value::Null;
    let mut commands = 0;
    for line in text.lines() {
        let Some((who, command)) = line.trim_start().split_once("$ studio ") else {
            continue;
        };
        let operator = match who {
            "first" => 0,
            "second" => 1,
            _ => panic!("nobody: {line}"),
        };
        let arguments: Vec<String> = words(command)
            .into_iter()
            .map(|word| match word.as_str() {
                "$STUDIO" => world.studios[0].tenant.to_string(),
                "$INCIDENT" => incident.clone(),
                "$MEMBER" => member.clone(),
                "$BUNDLE" => bundle.clone(),
                "$NOTICE" => notice.clone(),
                "$TEXT" => said_to.clone(),
                "$FROM" => a_day_ago.to_string(),
                _ => word,
            })
            .collect();
        let said = operators.studio(operator, &arguments).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
        if let Some(id) = said.value["incident"].as_str() {
            incident = id.to_owned();
        }
        if let Some(id) = said.value["bundle"].as_str() {
            bundle = id.to_owned();
        }
        if let Some(id) = said.value["notice"].as_str() {
            notice = id.to_owned();
        }
        let expected = match command.split_whitespace().nth(1).unwrap() {
            "open" => [200, 200],
            "freeze" if command.contains("--member") => [200, 403],
            "thaw" | "list" | "report" | "status" => [200, 200],
            _ => [403, 403],
        };
        let answered = [
            ask(&world, &process.base, 0, "owner").await.0,
            ask(&world, &process.base, 0, "manager").await.0,
        ];
        assert_eq!(answered, expected, "{line}");
        assert_eq!(
            ask(&world, &process.base, 1, "owner").await.0,
            200,
            "{line}"
        );
        operators.read_nothing().await;
        if let Some(numbers) = said.value.get("impact") {
            // What the manager tried, and nobody's id.
            assert!(numbers["refused"].as_u64() >= Some(25), "{numbers}");
            assert!(!said.value.to_string().contains(&member), "{numbers}");
        }
        if let Some(drafts) = said.value.get("drafts") {
            assert_eq!(drafts.as_array().unwrap().len(), 3, "{drafts}");
        }
        if let Some(report) = said.value["report"].as_str() {
            for line in [
                "studio_operator opened it, in an emergency",
                "evidence was made",
                "gave it to the owner, in person",
                "the studio was let in again",
                "did `replay`: tried again: 403",
            ] {
                assert!(report.contains(line), "{report}");
            }
        }
        last = said.value;
        commands += 1;
    }
    worker.abort();
    assert!(commands > 16, "the runbook has other lines than it had");
    let record = &last["incidents"][0];
    assert_eq!(record["state"], "closed");
    assert!(
        record["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["state"] == "done")
    );
    // What was to be told is in the outbox.
    let told = deliveries(&world, 0).await;
    assert!(
        told.iter().any(|one| one["notice_id"] == json!(notice)),
        "{told:?}"
    );
    // All of it stands in the studio's ledger, under the names of those who did it.
    settle(&world.app).await;
    let owner = world.token(0, "owner");
    let (_, entries) = world.send("GET", "/v1/audit?limit=100", &owner, None).await;
    let entries = entries["items"].as_array().unwrap();
    for action in [
        "incident.isolate",
        "incident.confirm",
        "incident.evidence",
        "incident.hand_over",
        "legal_hold.place",
        "incident.propose",
        "incident.send",
        "incident.replay",
        "incident.thaw",
    ] {
        let found = entries.iter().find(|entry| entry["action"] == action);
        let actor = found.expect(action)["actor"].as_str().unwrap();
        assert!(actor.starts_with("operator:"), "{action} by {actor}");
    }
    let (_, others) = world
        .send("GET", "/v1/audit?limit=100", &world.token(1, "owner"), None)
        .await;
    let mut others = others["items"].as_array().unwrap().iter();
    assert!(!others.any(|entry| entry["action"].as_str().unwrap().starts_with("incident.")));
}

/// The words of a command, with what stands in quotes as one.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
