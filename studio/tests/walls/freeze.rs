//! Freezing: nothing of a frozen studio is read, written or answered, and no other studio waits.

use std::time::{Duration, Instant};

use watertight_tenancy::{
    Call, Operator,
    support::{RawConnection, state},
};

use crate::world::World;

const MARK: Call = Call::new("SELECT tenancy.freeze_mark($1)::text");
const DRAIN: Call = Call::new("SELECT tenancy.freeze_drain($1) AS ended");
const THAW: Call = Call::new("SELECT tenancy.thaw($1)::text");

async fn operator(world: &World) -> Operator {
    Operator::connect(world.config.database.ops_url.as_ref().unwrap())
        .await
        .unwrap()
}

pub(crate) async fn freeze(world: &World, studio: usize) -> i32 {
    let tenant = world.studios[studio].tenant;
    let operator = operator(world).await;
    operator.call(MARK, &[&tenant], |_| None).await.unwrap();
    operator
        .call(DRAIN, &[&tenant], |_| None)
        .await
        .unwrap()
        .field("ended")
        .unwrap()
}

#[tokio::test]
async fn a_frozen_studio_answers_nothing_and_the_other_goes_on() {
    let world = World::new().await;
    let (a, b) = (world.token(0, "owner"), world.token(1, "owner"));
    assert_eq!(world.send("GET", "/v1/artists", &a, None).await.0, 200);
    freeze(&world, 0).await;
    let (status, problem) = world.send("GET", "/v1/artists", &a, None).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (503, Some("/problems/unavailable"))
    );
    assert_eq!(world.send("GET", "/v1/artists", &b, None).await.0, 200);
    operator(&world)
        .await
        .call(THAW, &[&world.studios[0].tenant], |_| None)
        .await
        .unwrap();
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
    assert_eq!(freeze(&world, 0).await, 1);
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
            operator.call(MARK, &[&tenant], |_| None).await.unwrap();
            operator.call(DRAIN, &[&tenant], |_| None).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let raw = world.as_app().await;
    let started = Instant::now();
    raw.script("BEGIN").await.unwrap();
    let refused = raw
        .run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await;
    assert_eq!(state(&refused.unwrap_err()), "ZT010");
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
        let entered = napped(&world, &admin, begin).await;
        assert_eq!(entered, leaks, "{what}: entered a frozen studio: {entered}");
        operator(&world)
            .await
            .call(THAW, &[&world.studios[0].tenant], |_| None)
            .await
            .unwrap();
    }
}

/// Enters through the mutant while the studio is frozen during its nap; says whether it got in.
async fn napped(world: &World, admin: &RawConnection, begin: &'static str) -> bool {
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
    freeze(world, 0).await;
    admin.script("SELECT pg_advisory_unlock(7)").await.unwrap();
    match entering.await.unwrap() {
        Ok(_) => true,
        Err(code) => {
            assert_eq!(code, "ZT010");
            false
        }
    }
}

fn cut_after_the_look(text: &str) -> String {
    let at = text.find("  -- A session that is new is noted").unwrap();
    let end = text.rfind("END $function$").unwrap();
    format!("{}{}", &text[..at], &text[end..])
}
