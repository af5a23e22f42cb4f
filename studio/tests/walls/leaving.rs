//! Who leaves is gone: on the next transaction, on every process, whatever the token says, and in
//! whatever order it was told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use uuid::Uuid;
use watertight_tenancy::{News, ProviderEvent, support::RawConnection};
use watertight_terms::{Clock, Random, Role, Subject};

use crate::{
    process::Process,
    webhooks::{deliver, membership},
    world::World,
};

/// A request as its client saw it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    began: Instant,
    ended: Instant,
    /// The same by the clock that rows are written by.
    ended_at: Timestamp,
    status: u16,
}

/// Asks for artists, again and again, until it is told to stop; of `bases` in turn.
fn ask(
    world: &World,
    bases: &[String],
    token: String,
    stop: &Arc<AtomicBool>,
    seen: &Arc<Mutex<Vec<Seen>>>,
) -> tokio::task::JoinHandle<()> {
    let (http, bases, stop, seen) = (
        world.http.clone(),
        bases.to_vec(),
        Arc::clone(stop),
        Arc::clone(seen),
    );
    tokio::spawn(async move {
        for base in bases.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            let asked = http.get(format!("{base}/v1/artists")).bearer_auth(&token);
            let answer = asked.send().await.unwrap();
            let status = answer.status().as_u16();
            answer.bytes().await.unwrap();
            let one = Seen {
                began,
                ended: Instant::now(),
                ended_at: Clock::system().now(),
                status,
            };
            seen.lock().unwrap().push(one);
        }
    })
}

/// When the database first shows that the member counts no more.
async fn visible(raw: &RawConnection, member: Uuid) -> Instant {
    loop {
        let counts: bool = raw
            .value(
                "SELECT state = 'active' AND NOT provider_removed AND provider_role <> 'guest'
                 FROM tenancy.members WHERE id = $1",
                &[&member],
            )
            .await
            .unwrap();
        if !counts {
            return Instant::now();
        }
    }
}

/// Under load on two processes over one database: who is removed by an owner, removed at Clerk or
/// lowered at Clerk gets nothing for a request that began after that was so, and nothing at all once
/// the removal was answered, but for what was on its way to the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_after_a_removal_on_either_of_two_processes() {
    let world = World::new().await;
    let process = Process::serve(&world).await;
    let bases = [world.base.clone(), process.base.clone()];
    for (what, part) in [
        ("removed by an owner", "leaver"),
        ("removed at clerk", "manager"),
        ("lowered at clerk", "freelancer"),
    ] {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, others) = (Arc::default(), Arc::default());
        let mut clients = Vec::new();
        for client in 0..8 {
            let turned: Vec<String> = bases
                .iter()
                .cycle()
                .skip(client % 2)
                .take(2)
                .cloned()
                .collect();
            clients.push(ask(&world, &turned, world.token(0, part), &stop, &seen));
            clients.push(ask(
                &world,
                &turned,
                world.token(1, "owner"),
                &stop,
                &others,
            ));
        }
        while seen.lock().unwrap().len() < 40 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let person = world.studios[0].person(part).clone();
        let raw = world.as_admin().await;
        let (committed, answered) = tokio::join!(visible(&raw, person.member), async {
            let code = leave(&world, what, &person.subject, person.member).await;
            assert_eq!(code, 204, "{what}");
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        let seen: Vec<Seen> = seen.lock().unwrap().clone();
        let written: Timestamp = raw
            .value(
                "SELECT updated_at FROM tenancy.members WHERE id = $1",
                &[&person.member],
            )
            .await
            .unwrap();
        println!("{}", report(what, &seen, written, committed, answered));
        let others: Vec<Seen> = others.lock().unwrap().clone();
        // A busy machine may shed a request; the removal takes nothing from them.
        let goes_on = |one: &&Seen| one.status == 200 && one.began > answered;
        assert!(
            others.iter().any(|one| goes_on(&one)),
            "the other studio goes on"
        );
        assert!(others.iter().all(|one| [200, 503].contains(&one.status)));
    }
}

/// `written` is before the commit and `committed` after it: the time from the commit to the first
/// refusal is at most that from `written`.
fn report(
    what: &str,
    seen: &[Seen],
    written: Timestamp,
    committed: Instant,
    answered: Instant,
) -> String {
    let (good, bad): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|one| one.status == 200);
    let late: Vec<_> = good.iter().filter(|one| one.began > committed).collect();
    assert!(
        late.is_empty(),
        "{what}: answered after the commit: {late:?}"
    );
    let refusals = bad.iter().filter(|one| one.status != 503);
    let first = refusals.map(|one| one.ended_at).min().unwrap();
    // 503: somebody entered in the instant in which the lock was waited for.
    assert!(
        bad.iter().all(|one| [401, 403, 503].contains(&one.status)),
        "{what}: {bad:?}"
    );
    let last = good.iter().map(|one| one.ended).max().unwrap();
    format!(
        "{what}: {} answers, {} refusals; the first refusal was with its client {} ms after the row was written; the removal was answered {:?} after its commit was seen; the last answer came {:?} after that",
        good.len(),
        bad.len(),
        first.duration_since(written).as_millis(),
        answered.saturating_duration_since(committed),
        last.saturating_duration_since(answered),
    )
}

async fn leave(world: &World, what: &str, subject: &str, member: Uuid) -> u16 {
    let organization = &world.studios[0].organization;
    let at_ms = Clock::system().now().as_millisecond();
    let (kind, role) = match what {
        "removed by an owner" => {
            let (path, owner) = (format!("/v1/members/{member}"), world.token(0, "owner"));
            return world.send("DELETE", &path, &owner, None).await.0;
        }
        "removed at clerk" => ("deleted", "org:studio_manager"),
        _ => ("updated", "org:guest"),
    };
    let event = membership(kind, organization, subject, role, at_ms);
    deliver(
        world,
        "svix",
        &format!("msg_{kind}"),
        &event,
        &world.webhook_secret,
    )
    .await
}

/// One who holds a transaction open does not outlast the removal, whoever removed them.
#[tokio::test]
async fn a_transaction_of_a_removed_member_is_ended() {
    let world = World::new().await;
    let hold = async |part: &str| {
        let held = world.as_app().await;
        held.script("BEGIN").await.unwrap();
        held.run("SELECT tenancy.enter($1)", &[&world.context(0, part)])
            .await
            .unwrap();
        held.script(
            "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0",
        )
        .await
        .unwrap();
        held
    };
    let bystander = hold("owner").await;
    for (what, part) in [
        ("removed by an owner", "leaver"),
        ("removed at clerk", "manager"),
        ("lowered at clerk", "freelancer"),
    ] {
        let held = hold(part).await;
        let person = world.studios[0].person(part);
        assert_eq!(
            leave(&world, what, &person.subject, person.member).await,
            204
        );
        assert!(held.script("SELECT 1").await.is_err(), "{what}");
    }
    bystander.script("SELECT 1").await.unwrap();
}

/// What is said of a membership, and when.
#[derive(Debug, Clone)]
struct Word {
    gone: bool,
    role: Role,
    name: Option<&'static str>,
    at_ms: i64,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let word = (
        any::<bool>(),
        prop::sample::select(Role::ALL.to_vec()),
        prop::sample::select(vec![None, Some("Ada"), Some("Bea")]),
        // Few times, so that some are equal.
        1_i64..4,
    );
    let word = word.prop_map(|(gone, role, name, at_ms)| Word {
        gone,
        role,
        name,
        at_ms,
    });
    prop::collection::vec(word, 4)
}

/// Every order of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let places = shorter.iter().flat_map(|order| {
        (0..count).map(|place| {
            let mut longer = order.clone();
            longer.insert(place, count - 1);
            longer
        })
    });
    places.collect()
}

/// All orders of four events, some of them repeated, end in one state, whatever the studio itself
/// said of the member before.
#[test]
fn every_order_of_the_same_events_ends_in_one_state() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let config = ProptestConfig {
        cases: 6,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let here = prop::sample::select(vec!["unknown", "pending", "active", "removed"]);
    let strategy = (words(), here, prop::collection::vec(0_usize..4, 2));
    TestRunner::new(config)
        .run(&strategy, |(words, here, again)| {
            let mut ends = Vec::new();
            for (turn, mut order) in orders(4).into_iter().enumerate() {
                // The repeats stand elsewhere each time: at one place, the last would be the same.
                for (place, repeated) in again.iter().enumerate() {
                    order.insert(turn % (5 + place), *repeated);
                }
                let told: Vec<_> = order.into_iter().map(|at| (at, &words[at])).collect();
                ends.push(runtime.block_on(end_of(&world, here, &told)));
            }
            prop_assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
            Ok(())
        })
        .unwrap();
}

async fn end_of(world: &World, here: &str, told: &[(usize, &Word)]) -> String {
    let random = Random::system();
    let name = format!("user_{}", random.uuid().simple());
    let subject: Subject = name.parse().unwrap();
    let organization: Subject = world.studios[0].organization.parse().unwrap();
    let admin = world.as_admin().await;
    if here != "unknown" {
        admin
            .run(
                "INSERT INTO tenancy.members (tenant_id, id, subject, ceiling, state)
                 VALUES ($1, $2, $3, 'manager', $4)",
                &[&world.studios[0].tenant, &random.uuid(), &name, &here],
            )
            .await
            .unwrap();
    }
    for (at, word) in told {
        let news = if word.gone {
            News::MemberGone {
                organization: &organization,
                subject: &subject,
            }
        } else {
            News::Member {
                organization: &organization,
                subject: &subject,
                role: word.role,
                name: word.name,
            }
        };
        // Half of the repeats come under the same delivery.
        let delivery = format!("{}_{at}", random.uuid().simple());
        let event = ProviderEvent {
            delivery: &delivery,
            at_ms: word.at_ms,
            news,
        };
        for _ in 0..=at % 2 {
            world.app.tenancy.apply(&event).await.unwrap();
        }
    }
    admin
        .value(
            "SELECT concat_ws(' ', state, ceiling, provider_removed, provider_role, provider_at_ms, name, name_at_ms)
             FROM tenancy.members WHERE subject = $1",
            &[&name],
        )
        .await
        .unwrap()
}

/// What is older than the newest word changes nothing, also when it says more.
#[tokio::test]
async fn a_removal_is_not_undone_by_what_is_older() {
    let world = World::new().await;
    let now_ms = Clock::system().now().as_millisecond();
    let organization = world.studios[0].organization.clone();
    let tell = async |id: &str, kind: &str, at_ms: i64| {
        let event = membership(
            kind,
            &organization,
            "user_a_leaver",
            "org:studio_manager",
            at_ms,
        );
        let told = deliver(&world, "svix", id, &event, &world.webhook_secret).await;
        assert_eq!(told, 204);
        let token = world.token(0, "leaver");
        world.send("GET", "/v1/artists", &token, None).await.0
    };
    assert_eq!(tell("msg_1", "updated", now_ms - 9_000).await, 200);
    assert_eq!(tell("msg_2", "deleted", now_ms).await, 403);
    assert_eq!(
        tell("msg_3", "created", now_ms - 60_000).await,
        403,
        "older"
    );
    assert_eq!(tell("msg_4", "updated", now_ms).await, 403, "as old");
    assert_eq!(
        tell("msg_2", "created", now_ms + 1_000).await,
        403,
        "a delivery that was before"
    );
    assert_eq!(
        tell("msg_5", "created", now_ms + 1_000).await,
        200,
        "newer, up to the ceiling"
    );
    let (path, owner) = (
        format!("/v1/members/{}", world.studios[0].person("leaver").member),
        world.token(0, "owner"),
    );
    let role = Some(json!({ "role": "freelancer" }));
    assert_eq!(world.send("PATCH", &path, &owner, role).await.0, 200);
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    assert_eq!(
        tell("msg_6", "updated", now_ms + 2_000).await,
        403,
        "an owner removed them"
    );
}
