//! Freezing: nothing of a frozen studio is read, written or answered, and no other studio waits.

use std::time::{Duration, Instant};

use uuid::Uuid;
use watertight_tenancy::{
    Call, Operator,
    support::{RawConnection, state},
};

use crate::world::World;

const REPORT: Call = Call::new("SELECT incident.report($1, 'drill', 'a test', true) AS incident");
const ISOLATE: Call = Call::new("SELECT incident.isolate($1, $2, NULL, NULL, NULL) AS isolation");
const DRAIN: Call = Call::new("SELECT incident.drain($1, $2, '500 ms') AS ended");
const THAW: Call = Call::new("SELECT incident.thaw($1, $2, 'a test')::text");

pub(crate) async fn operator(world: &World) -> Operator {
    Operator::connect(world.config.database.ops_url.as_ref().unwrap())
        .await
        .unwrap()
}

/// Opens an incident, of which nothing comes.
pub(crate) async fn report(world: &World, studio: usize) -> Uuid {
    let tenant = world.studios[studio].tenant;
    let row = operator(world)
        .await
        .call(REPORT, &[&tenant], |_| None)
        .await;
    row.unwrap().field("incident").unwrap()
}

/// Freezes a studio in an emergency. Gives the incident, and how many transactions were ended.
pub(crate) async fn freeze(world: &World, studio: usize) -> (Uuid, i32) {
    let tenant = world.studios[studio].tenant;
    let incident = report(world, studio).await;
    let operator = operator(world).await;
    let row = operator
        .call(ISOLATE, &[&tenant, &incident], |_| None)
        .await;
    let isolation: Uuid = row.unwrap().field("isolation").unwrap();
    let row = operator.call(DRAIN, &[&tenant, &isolation], |_| None).await;
    (incident, row.unwrap().field("ended").unwrap())
}

/// Lifts that again.
pub(crate) async fn thaw(world: &World, studio: usize, incident: Uuid) {
    let tenant = world.studios[studio].tenant;
    let thawed = operator(world)
        .await
        .call(THAW, &[&tenant, &incident], |_| None)
        .await;
    thawed.unwrap();
    // One operator alone freezes no second time within a week.
    let later = "UPDATE incident.incidents SET opened_at = opened_at - interval '8 days'";
    world.as_admin().await.script(later).await.unwrap();
}

#[tokio::test]
async fn a_frozen_studio_answers_nothing_and_the_other_goes_on() {
    let world = World::new().await;
    let (a, b) = (world.token(0, "owner"), world.token(1, "owner"));
    assert_eq!(world.send("GET", "/v1/artists", &a, None).await.0, 200);
    let (incident, _) = freeze(&world, 0).await;
    let (status, problem) = world.send("GET", "/v1/artists", &a, None).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (403, Some("/problems/frozen"))
    );
    assert_eq!(world.send("GET", "/v1/artists", &b, None).await.0, 200);
    thaw(&world, 0, incident).await;
    assert_eq!(world.send("GET", "/v1/artists", &a, None).await.0, 200);
}

#[tokio::test]
async fn a_transaction_that_will_not_end_is_ended() {
    let world = World::new().await;
    let idle = world.as_app().await;
    // An attacker who switches every timeout off and then holds the transaction.
    idle.script("BEGIN").await.unwrap();
    idle.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    idle.script(
        "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0",
    )
    .await
    .unwrap();
    assert_eq!(freeze(&world, 0).await.1, 1);
    assert!(idle.script("SELECT 1").await.is_err());
}

#[tokio::test]
async fn nobody_waits_for_a_freeze() {
    let world = World::new().await;
    let holder = world.as_app().await;
    holder.script("BEGIN").await.unwrap();
    holder
        .run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let freezing = tokio::spawn({
        let (tenant, operator) = (world.studios[0].tenant, operator(&world).await);
        async move {
            let row = operator.call(REPORT, &[&tenant], |_| None).await.unwrap();
            let incident: Uuid = row.field("incident").unwrap();
            let row = operator
                .call(ISOLATE, &[&tenant, &incident], |_| None)
                .await;
            let isolation: Uuid = row.unwrap().field("isolation").unwrap();
            operator
                .call(DRAIN, &[&tenant, &isolation], |_| None)
                .await
                .unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let raw = world.as_app().await;
    let started = Instant::now();
    raw.script("BEGIN").await.unwrap();
    let refused = raw
        .run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await;
    assert_eq!(state(&refused.unwrap_err()), "ZT020");
    raw.script("ROLLBACK; BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(1, "owner")])
        .await
        .unwrap();
    // The drain waits 500 ms for the holder; neither of these did.
    assert!(
        started.elapsed() < Duration::from_millis(300),
        "{:?}",
        started.elapsed()
    );
    freezing.await.unwrap();
}

/// The lock and the look at the status are two statements of a volatile function at READ COMMITTED.
/// A nap planted right before the lock makes the interleaving certain: the freeze begins and ends
/// during it, since the sleeper is woken by the test. The mutants of `enter` show that the test would notice.
#[tokio::test]
async fn a_nap_before_the_lock_lets_nobody_into_a_frozen_studio() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    admin
        .script(
            "CREATE FUNCTION tenancy.nap() RETURNS void LANGUAGE sql SECURITY DEFINER SET lock_timeout = 0
               AS 'SELECT pg_catalog.pg_advisory_xact_lock_shared(7)';
             GRANT EXECUTE ON FUNCTION tenancy.nap() TO PUBLIC",
        )
        .await
        .unwrap();
    let text: String = admin
        .value(
            "SELECT pg_get_functiondef('tenancy.enter(text)'::regprocedure)",
            &[],
        )
        .await
        .unwrap();
    let lock = "  IF NOT pg_try_advisory_xact_lock_shared(keys.lock_key)";
    let level = "  IF current_setting('transaction_isolation') <> 'read committed'\n";
    let looks_again = "  IF current_setting('transaction_isolation') = 'repeatable read' THEN";
    assert!(
        [lock, level, looks_again]
            .iter()
            .all(|part| text.contains(part)),
        "the text of enter changed; mend this test"
    );
    let napping = text.replacen(lock, &format!("  PERFORM tenancy.nap();\n{lock}"), 1);
    let blocking =
        "PERFORM tenancy.nap(); PERFORM pg_advisory_xact_lock_shared(keys.lock_key);\n  IF false";
    let waits = text.replacen(lock, &format!("  {blocking}"), 1);
    for (what, mutant, begin, leaks) in [
        ("as it is", napping, "BEGIN", false),
        (
            "stable",
            waits.replacen("LANGUAGE plpgsql", "LANGUAGE plpgsql STABLE", 1),
            "BEGIN",
            true,
        ),
        (
            "repeatable read",
            waits
                .replacen(level, "  IF false\n", 1)
                .replacen(looks_again, "  IF false THEN", 1),
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            true,
        ),
    ] {
        let mutant = mutant.replacen("tenancy.enter(", "tenancy.enter_mutant(", 1);
        // STABLE forbids what follows the look at the status; the look is what this is about.
        let mutant = if what == "stable" {
            cut_after_the_look(&mutant)
        } else {
            mutant
        };
        admin
            .script("DROP FUNCTION IF EXISTS tenancy.enter_mutant(text)")
            .await
            .unwrap();
        admin.script(&mutant).await.unwrap();
        admin
            .script(
                "ALTER FUNCTION tenancy.enter_mutant(text) OWNER TO studio_gate;
                 GRANT EXECUTE ON FUNCTION tenancy.enter_mutant(text) TO studio_app;
                 GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) TO studio_gate",
            )
            .await
            .unwrap();
        let (entered, incident) = napped(&world, &admin, begin).await;
        assert_eq!(entered, leaks, "{what}: entered a frozen studio: {entered}");
        thaw(&world, 0, incident).await;
    }
}

/// Enters through the mutant while the studio is frozen during its nap; says whether it got in.
async fn napped(world: &World, admin: &RawConnection, begin: &'static str) -> (bool, Uuid) {
    admin.script("SELECT pg_advisory_lock(7)").await.unwrap();
    let (url, token) = (world.config.database.url.clone(), world.context(0, "owner"));
    let entering = tokio::spawn(async move {
        let raw = RawConnection::connect(&url).await.unwrap();
        raw.script(begin).await.unwrap();
        let entered = raw.run("SELECT tenancy.enter_mutant($1)", &[&token]).await;
        entered.map_err(|error| state(&error).to_owned())
    });
    let asleep = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                  WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
    while admin.value::<i64>(asleep, &[]).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (incident, _) = freeze(world, 0).await;
    admin.script("SELECT pg_advisory_unlock(7)").await.unwrap();
    let entered = match entering.await.unwrap() {
        Ok(_) => true,
        Err(code) => {
            assert_eq!(code, "ZT020");
            false
        }
    };
    (entered, incident)
}

fn cut_after_the_look(text: &str) -> String {
    let at = text.find("  -- A session that is new is noted").unwrap();
    let end = text.rfind("END $function$").unwrap();
    format!("{}{}", &text[..at], &text[end..])
}
