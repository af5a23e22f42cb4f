//! Attacks on the bound context, from where an attacker stands who can run SQL as the app role.

use uuid::Uuid;
use watertight_tenancy::support::{Error, RawConnection, state};

use crate::world::World;

const COUNT: &str = "SELECT count(*) FROM studio.artists";

/// Begins and enters as that person; the positive case that every attack starts from.
async fn entered(world: &World, studio: usize, part: &str) -> RawConnection {
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    enter(&raw, &world.context(studio, part)).await.unwrap();
    assert_eq!(
        tenants(&raw).await.unwrap(),
        vec![world.studios[studio].tenant]
    );
    raw
}

async fn enter(raw: &RawConnection, token: &str) -> Result<u64, Error> {
    raw.run("SELECT tenancy.enter($1)", &[&token]).await
}

/// Whose artists can be seen.
async fn tenants(raw: &RawConnection) -> Result<Vec<Uuid>, Error> {
    raw.value(
        "SELECT coalesce(array_agg(DISTINCT tenant_id), '{}') FROM studio.artists",
        &[],
    )
    .await
}

/// The SQLSTATE with which a statement is refused, in a savepoint of its own.
async fn refused(raw: &RawConnection, sql: &str) -> String {
    let _ = raw.script("SAVEPOINT attempt").await;
    let answer = raw.script(sql).await;
    let said = answer
        .as_ref()
        .map_or_else(|error| state(error).to_owned(), |()| "done".to_owned());
    let _ = raw.script("ROLLBACK TO attempt").await;
    said
}

#[tokio::test]
async fn without_a_context_no_row_is_seen_and_none_written() {
    let world = World::new().await;
    let raw = world.as_app().await;
    assert_eq!(raw.value::<i64>(COUNT, &[]).await.unwrap(), 0);
    let written = raw
        .script(&format!(
            "INSERT INTO studio.artists (tenant_id, id, name) VALUES ('{}', gen_random_uuid(), 'x')",
            world.studios[0].tenant
        ))
        .await;
    assert_eq!(state(&written.unwrap_err()), "42501");
}

#[tokio::test]
async fn an_injected_setting_binds_nothing() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    let (a, b) = (world.studios[0].tenant, world.studios[1].tenant);
    // Settings of others' policies, of the context, and both at once.
    raw.script(&format!(
        "SELECT set_config('app.current_tenant', '{b}', true)"
    ))
    .await
    .unwrap();
    assert_eq!(tenants(&raw).await.unwrap(), vec![a]);
    let forged = format!("{b}|{}|owner||1|{}", Uuid::nil(), "0".repeat(64));
    raw.script(&format!(
        "SELECT set_config('tenancy.sealed', '{forged}', true)"
    ))
    .await
    .unwrap();
    assert_eq!(state(&tenants(&raw).await.unwrap_err()), "ZT002");
}

#[tokio::test]
async fn an_edited_context_is_forged() {
    let world = World::new().await;
    let raw = entered(&world, 0, "freelancer").await;
    let sealed: String = raw
        .value("SELECT current_setting('tenancy.sealed')", &[])
        .await
        .unwrap();
    let b = world.studios[1].tenant.to_string();
    for edited in [
        sealed.replace("freelancer", "owner"),
        sealed.replacen(&world.studios[0].tenant.to_string(), &b, 1),
        format!("{sealed}0"),
        sealed[1..].to_owned(),
        sealed.to_uppercase(),
        "x".to_owned(),
    ] {
        raw.script("SAVEPOINT attempt").await.unwrap();
        raw.run("SELECT set_config('tenancy.sealed', $1, true)", &[&edited])
            .await
            .unwrap();
        assert_eq!(
            state(&tenants(&raw).await.unwrap_err()),
            "ZT002",
            "{edited}"
        );
        raw.script("ROLLBACK TO attempt").await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_was_edited_expired_or_signed_with_another_key_does_not_enter() {
    let world = World::new().await;
    let good = world.context(0, "freelancer");
    let parts: Vec<&str> = good.split('|').collect();
    let with = |at: usize, value: &str| {
        let mut parts = parts.clone();
        parts[at] = value;
        parts.join("|")
    };
    let raw = world.as_app().await;
    for (token, expected) in [
        (with(6, "owner"), "ZT002"),
        (with(5, "sess_other"), "ZT002"),
        (with(3, &world.studios[1].organization), "ZT002"),
        (with(8, "9999999999"), "ZT002"),
        (with(10, &"0".repeat(64)), "ZT002"),
        (with(1, "2"), "ZT002"),
        (with(0, "v2"), "ZT001"),
        ("".to_owned(), "ZT001"),
        (format!("{good}|"), "ZT001"),
    ] {
        raw.script("BEGIN").await.unwrap();
        assert_eq!(
            state(&enter(&raw, &token).await.unwrap_err()),
            expected,
            "{token}"
        );
        raw.script("ROLLBACK").await.unwrap();
    }
    // The seal's key in place of the app's: a context cannot sign a token.
    raw.script("BEGIN").await.unwrap();
    enter(&raw, &good).await.unwrap();
}

#[tokio::test]
async fn a_replayed_context_is_worthless_in_another_transaction_and_connection() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    let stolen: String = raw
        .value("SELECT current_setting('tenancy.sealed')", &[])
        .await
        .unwrap();
    raw.script("COMMIT").await.unwrap();
    for thief in [raw, world.as_app().await] {
        thief.script("BEGIN").await.unwrap();
        thief
            .run("SELECT set_config('tenancy.sealed', $1, true)", &[&stolen])
            .await
            .unwrap();
        assert_eq!(state(&tenants(&thief).await.unwrap_err()), "ZT002");
        thief.script("ROLLBACK").await.unwrap();
        // Nor does a setting for the whole session help.
        thief
            .run("SELECT set_config('tenancy.sealed', $1, false)", &[&stolen])
            .await
            .unwrap();
        assert_eq!(state(&tenants(&thief).await.unwrap_err()), "ZT002");
    }
}

#[tokio::test]
async fn a_second_enter_is_refused_and_commit_begin_leaves_nothing() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    raw.script("SAVEPOINT attempt").await.unwrap();
    let second = enter(&raw, &world.context(1, "owner")).await;
    assert_eq!(state(&second.unwrap_err()), "ZT004");
    raw.script("ROLLBACK TO attempt").await.unwrap();
    raw.script("COMMIT").await.unwrap();
    raw.script("BEGIN").await.unwrap();
    assert_eq!(raw.value::<i64>(COUNT, &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_guest_a_pending_a_removed_and_an_unknown_person_do_not_enter() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    let raw = world.as_app().await;
    let attempt = async |expected: &str, part: &str| {
        raw.script("BEGIN").await.unwrap();
        assert_eq!(
            state(&enter(&raw, &world.context(0, part)).await.unwrap_err()),
            expected,
            "{part}"
        );
        raw.script("ROLLBACK").await.unwrap();
        raw.script("BEGIN").await.unwrap();
        assert_eq!(raw.value::<i64>(COUNT, &[]).await.unwrap(), 0);
        raw.script("ROLLBACK").await.unwrap();
    };
    attempt("ZT016", "guest").await;
    for (state, expected) in [("pending", "ZT017"), ("removed", "ZT011")] {
        let sql = "UPDATE tenancy.members SET state = $1 WHERE subject = 'user_a_manager'";
        admin.run(sql, &[&state]).await.unwrap();
        attempt(expected, "manager").await;
    }
    admin
        .script("DELETE FROM tenancy.members WHERE subject = 'user_a_manager'")
        .await
        .unwrap();
    attempt("ZT011", "manager").await;
}

#[tokio::test]
async fn a_session_belongs_to_whom_it_was_first_seen_with_until_it_ends() {
    let world = World::new().await;
    let token = |subject: &str, session: &str| {
        world
            .double
            .token(&watertight_identity::double::TokenRequest {
                subject: subject.to_owned(),
                session: session.to_owned(),
                organization: world.studios[0].organization.clone(),
                slug: "demo".to_owned(),
                role: "org:studio_owner".to_owned(),
                version: 2,
                life_s: 60,
            })
    };
    let ask = async |subject: &str, session: &str| {
        world
            .send("GET", "/v1/me", &token(subject, session), None)
            .await
            .0
    };
    assert_eq!(ask("user_a_owner", "sess_1").await, 200);
    assert_eq!(ask("user_a_manager", "sess_1").await, 401);
    assert_eq!(ask("user_a_manager", "sess_2").await, 200);
    let admin = world.as_admin().await;
    admin
        .script("UPDATE tenancy.sessions SET ended_at = now() WHERE session = 'sess_1'")
        .await
        .unwrap();
    assert_eq!(ask("user_a_owner", "sess_1").await, 401);
    assert_eq!(ask("user_a_owner", "sess_3").await, 200);
}

#[tokio::test]
async fn the_role_is_the_lowest_of_token_provider_and_ceiling() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    for (provider, ceiling, expected) in [
        ("owner", "owner", "manager"),
        ("freelancer", "owner", "freelancer"),
        ("owner", "freelancer", "freelancer"),
    ] {
        admin
            .run(
                "UPDATE tenancy.members SET provider_role = $1, ceiling = $2 WHERE subject = 'user_a_manager'",
                &[&provider, &ceiling],
            )
            .await
            .unwrap();
        let raw = world.as_app().await;
        raw.script("BEGIN").await.unwrap();
        enter(&raw, &world.context(0, "manager")).await.unwrap();
        let role: String = raw.value("SELECT tenancy.role()", &[]).await.unwrap();
        assert_eq!(role, expected, "provider {provider}, ceiling {ceiling}");
    }
}

/// What was signed for one function is not taken by another.
#[tokio::test]
async fn no_two_functions_take_what_the_same_was_signed_for() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let sql = r"SELECT coalesce(array_agg(twice.names), '{}') FROM (
        SELECT string_agg(p.oid::regproc::text, ' ') AS names FROM pg_proc p,
          regexp_matches(p.prosrc, 'verified\(\w+, ''(\w+)'', (\d+)\)', 'g') taken
        GROUP BY taken HAVING count(*) > 1) twice";
    let twice: Vec<String> = raw.value(sql, &[]).await.unwrap();
    assert_eq!(twice, Vec::<String>::new());
    let all = r"SELECT count(*) FROM pg_proc p WHERE p.prosrc ~ 'verified\(\w+, ''\w+'', \d+\)'";
    assert!(raw.value::<i64>(all, &[]).await.unwrap() > 50);
}

// asvs: V13.2.2
#[tokio::test]
async fn what_is_not_the_app_roles_is_refused_inside_a_bound_transaction() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    for (attempt, expected) in [
        ("SELECT * FROM tenancy.keys", "42501"),
        ("SELECT * FROM ledger.keys", "42501"),
        ("SELECT * FROM tenancy.sessions", "42501"),
        ("SELECT * FROM tenancy.members", "42501"),
        ("SELECT lock_key FROM tenancy.studios", "42501"),
        ("SELECT tenancy.hmac('seal', 1::smallint, 'x')", "42501"),
        ("SELECT nextval('tenancy.ticket')", "42501"),
        ("SELECT setval('tenancy.ticket', 1)", "42501"),
        (
            "INSERT INTO ledger.entries (tenant_id, entry_id, at, tickets, leaf) VALUES (tenancy.tenant_id(), gen_random_uuid(), now(), '{}', '{}')",
            "42501",
        ),
        ("UPDATE ledger.entries SET leaf = '{}'", "42501"),
        ("DELETE FROM ledger.waiting", "42501"),
        ("DELETE FROM ledger.changes", "42501"),
        ("UPDATE ledger.leaves SET seq = 7", "42501"),
        ("DELETE FROM ledger.checkpoints", "42501"),
        ("SELECT size FROM ledger.heads", "42501"),
        ("SELECT * FROM ledger.gather('l1|1|50|1|x|00')", "ZT002"),
        ("SELECT ledger.seal('l2|1|00|1|x|00', '[]')", "ZT002"),
        ("SELECT * FROM ledger.heads_known('l3|1|1|x|00')", "ZT002"),
        ("SELECT ledger.hashes('l4|1|00|0|1|1|x|00')", "ZT002"),
        ("DELETE FROM ledger.entries", "42501"),
        (
            "SELECT ledger.note(tenancy.tenant_id(), 'a.b', 'a', '{}')",
            "42501",
        ),
        (
            "SELECT studio.create_studio('x', 'UTC', 'org_x', 'user_x')",
            "42501",
        ),
        ("SET ROLE studio_owner", "42501"),
        ("SET ROLE studio_gate", "42501"),
        ("SET SESSION AUTHORIZATION studio_owner", "42501"),
        ("SET session_replication_role = replica", "42501"),
        ("CREATE TEMP TABLE t (i integer)", "42501"),
        ("CREATE TABLE studio.t (i integer)", "42501"),
        (
            "CREATE FUNCTION studio.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "42501",
        ),
        (
            "ALTER TABLE studio.bookings DISABLE ROW LEVEL SECURITY",
            "42501",
        ),
        ("DROP POLICY wall ON studio.bookings", "42501"),
        ("TRUNCATE studio.bookings", "42501"),
        ("DELETE FROM studio.bookings", "42501"),
        ("UPDATE studio.artists SET tenant_id = tenant_id", "42501"),
        (
            "LOCK TABLE studio.bookings IN ACCESS EXCLUSIVE MODE",
            "42501",
        ),
        (
            "LOCK TABLE studio.bookings IN SHARE ROW EXCLUSIVE MODE",
            "42501",
        ),
        ("SELECT pg_advisory_lock(1)", "42501"),
        ("SELECT pg_try_advisory_xact_lock(1)", "42501"),
        ("SELECT pg_terminate_backend(1)", "42501"),
        ("SELECT pg_cancel_backend(1)", "42501"),
        ("SELECT * FROM pg_locks", "42501"),
        ("SELECT * FROM pg_stat_activity", "42501"),
        ("SELECT lo_from_bytea(0, 'x')", "42501"),
        ("SELECT pg_notify('b', 'x')", "42501"),
        ("SELECT pg_sleep(0)", "42501"),
        ("SELECT query_to_xml('SELECT 1', true, true, '')", "42501"),
        (
            "SET LOCAL row_security = off; SELECT count(*) FROM studio.artists",
            "42501",
        ),
        ("COPY studio.artists FROM STDIN", "0A000"),
    ] {
        assert_eq!(refused(&raw, attempt).await, expected, "{attempt}");
    }
}

#[tokio::test]
async fn row_security_off_below_a_definer_function_opens_nothing() {
    let world = World::new().await;
    let raw = world.as_app().await;
    raw.script("SET row_security = off").await.unwrap();
    raw.script("BEGIN").await.unwrap();
    // The functions pin it for themselves, so entering works; the policies below are never skipped:
    // a statement that would skip them is refused.
    enter(&raw, &world.context(0, "owner")).await.unwrap();
    assert_eq!(
        refused(&raw, "SELECT count(*) FROM studio.artists").await,
        "42501"
    );
    raw.script("SET LOCAL row_security = on").await.unwrap();
    assert_eq!(tenants(&raw).await.unwrap(), vec![world.studios[0].tenant]);
}

#[tokio::test]
async fn writing_into_another_studio_is_refused_in_every_form() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    let (b, foreign) = (world.studios[1].tenant, world.studios[1].artists[0]);
    for attempt in [
        format!(
            "INSERT INTO studio.artists (tenant_id, id, name) VALUES ('{b}', gen_random_uuid(), 'x')"
        ),
        format!(
            "INSERT INTO studio.artists (tenant_id, id, name) VALUES ('{b}', '{foreign}', 'x')"
        ),
        format!(
            "INSERT INTO studio.artists (tenant_id, id, name) VALUES ('{b}', '{foreign}', 'x') ON CONFLICT DO NOTHING"
        ),
        format!(
            "INSERT INTO studio.artists (tenant_id, id, name) VALUES ('{b}', '{foreign}', 'x') ON CONFLICT (tenant_id, id) DO UPDATE SET name = 'x'"
        ),
    ] {
        assert_eq!(refused(&raw, &attempt).await, "42501", "{attempt}");
    }
    let touched = raw
        .run(
            "UPDATE studio.artists SET name = 'x' WHERE tenant_id = $1",
            &[&b],
        )
        .await
        .unwrap();
    assert_eq!(touched, 0);
    // A reference to a foreign artist is one to an absent artist, to the letter.
    let book = |artist: Uuid| {
        format!(
            "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at, slice_starts, slice_ends, deed)
             VALUES (tenancy.tenant_id(), gen_random_uuid(), 'R', '{artist}', '{}', 'pencil', '2030-01-01', '2030-01-02', '{{2030-01-01}}', '{{2030-01-02}}', 'create')",
            world.studios[0].projects[0]
        )
    };
    assert_eq!(refused(&raw, &book(foreign)).await, "23503");
    assert_eq!(refused(&raw, &book(Uuid::from_u128(1))).await, "23503");
    assert_eq!(
        refused(&raw, &book(world.studios[0].artists[0])).await,
        "done"
    );
}

#[tokio::test]
async fn a_held_cursor_of_one_studio_gives_nothing_to_the_next() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    raw.script("DECLARE held CURSOR WITH HOLD FOR SELECT tenant_id FROM studio.artists")
        .await
        .unwrap();
    raw.script("COMMIT").await.unwrap();
    raw.script("BEGIN").await.unwrap();
    enter(&raw, &world.context(1, "owner")).await.unwrap();
    assert_eq!(refused(&raw, "FETCH 1 FROM held").await, "34000");
}

#[tokio::test]
async fn a_poisoned_session_does_not_reach_past_enter() {
    let world = World::new().await;
    let raw = world.as_app().await;
    raw.script("SET statement_timeout = 0; SET lock_timeout = 0; SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'")
        .await
        .unwrap();
    raw.script("BEGIN").await.unwrap();
    enter(&raw, &world.context(0, "owner")).await.unwrap();
    for (setting, value) in [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, YMD"),
    ] {
        let now: String = raw
            .value("SELECT current_setting($1)", &[&setting])
            .await
            .unwrap();
        assert_eq!(now, value, "{setting}");
    }
    for (poison, expected) in [
        (
            "SET default_transaction_isolation = 'repeatable read'",
            "ZT005",
        ),
        (
            "SET default_transaction_isolation = 'serializable'",
            "ZT005",
        ),
        ("SET default_transaction_read_only = on", "25006"),
    ] {
        for script in ["ROLLBACK", "RESET ALL", poison, "BEGIN"] {
            raw.script(script).await.unwrap();
        }
        let refused = enter(&raw, &world.context(0, "owner")).await.unwrap_err();
        assert_eq!(state(&refused), expected, "{poison}");
    }
}

#[tokio::test]
async fn a_prepared_statement_that_was_poisoned_is_still_behind_the_wall() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    // What an injection can leave behind on a pooled connection for the next studio's request.
    raw.script("DEALLOCATE ALL; PREPARE s0 AS SELECT tenant_id FROM studio.artists")
        .await
        .unwrap();
    raw.script("COMMIT; BEGIN").await.unwrap();
    enter(&raw, &world.context(1, "owner")).await.unwrap();
    raw.script("CREATE TEMP TABLE x AS EXECUTE s0")
        .await
        .unwrap_err();
    raw.script("ROLLBACK; BEGIN").await.unwrap();
    enter(&raw, &world.context(1, "owner")).await.unwrap();
    let rows: i64 = raw
        .value(
            "SELECT count(*) FROM studio.artists WHERE tenant_id <> $1",
            &[&world.studios[1].tenant],
        )
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn the_planner_tells_nothing_of_what_is_said_in_a_column() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    admin
        .script(
            "SET session_replication_role = replica; UPDATE studio.artists SET email = '\\x01';
             RESET session_replication_role; ANALYZE studio.artists",
        )
        .await
        .unwrap();
    let kept: i64 = admin
        .value(
            "SELECT count(*) FROM pg_stats WHERE schemaname = 'studio' AND attname IN ('email', 'name')",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(kept, 0);
    let others: i64 = admin
        .value(
            "SELECT count(*) FROM pg_stats WHERE schemaname = 'studio' AND attname = 'version'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        others, 1,
        "the positive case: statistics of another column are kept"
    );
}

#[tokio::test]
async fn the_seeds_literal_policy_works_inside_and_an_injection_shows_why_it_is_not_enough() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    admin
        .script(
            "CREATE TABLE studio.literal (tenant_id uuid NOT NULL, id uuid NOT NULL, PRIMARY KEY (tenant_id, id));
             ALTER TABLE studio.literal ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY p ON studio.literal USING (tenant_id = current_setting('app.current_tenant')::uuid);
             GRANT SELECT ON studio.literal TO studio_app;
             INSERT INTO studio.literal SELECT tenant_id, gen_random_uuid() FROM tenancy.studios",
        )
        .await
        .unwrap();
    let raw = entered(&world, 0, "owner").await;
    let seen = "SELECT coalesce(array_agg(DISTINCT tenant_id), '{}') FROM studio.literal";
    assert_eq!(
        raw.value::<Vec<Uuid>>(seen, &[]).await.unwrap(),
        vec![world.studios[0].tenant]
    );
    // One injected call, and the literal policy shows the other studio; ours does not.
    let b = world.studios[1].tenant;
    raw.script(&format!(
        "SELECT set_config('app.current_tenant', '{b}', true)"
    ))
    .await
    .unwrap();
    assert_eq!(raw.value::<Vec<Uuid>>(seen, &[]).await.unwrap(), vec![b]);
    assert_eq!(tenants(&raw).await.unwrap(), vec![world.studios[0].tenant]);
}

#[tokio::test]
async fn forged_ledger_entries_are_refused() {
    let world = World::new().await;
    let raw = entered(&world, 0, "owner").await;
    let keys = watertight_terms::KeyFile::read(&world.config.keys.location).unwrap();
    let (_, key) = keys.ring("ledger").unwrap().current().unwrap();
    let entry = |of: usize| {
        let (tenant, id) = (world.studios[of].tenant, Uuid::from_u128(7));
        format!(r#"{{"id":"{id}","tenant":"{tenant}","time":"2026-01-01T00:00:00Z"}}"#)
    };
    let mac = |signed: String| watertight_terms::hmac_sha256(key, signed.as_bytes()).to_vec();
    let good = mac(format!("ledger2|1|{}", entry(0)));
    let append = async |entries: Vec<String>, macs: Vec<Option<Vec<u8>>>, tickets: Vec<&str>| {
        raw.script("SAVEPOINT attempt").await.unwrap();
        let appended = raw
            .value::<i32>(
                "SELECT ledger.append($1, $2, $3)",
                &[&entries, &macs, &tickets],
            )
            .await;
        raw.script("ROLLBACK TO attempt").await.unwrap();
        appended.map_err(|error| state(&error).to_owned())
    };
    let one = async |entry: String, mac: Option<Vec<u8>>, ticket| {
        append(vec![entry], vec![mac], vec![ticket]).await
    };
    assert_eq!(one(entry(0), Some(good.clone()), "1").await, Ok(1));
    let forged = Err("ZT021".to_owned());
    for (mac, ticket) in [
        (Some(vec![0; 32]), "1"),
        (Some(vec![]), "1"),
        (None, "1"),
        // The ticket is under the HMAC too: nobody's access hides behind another's number.
        (Some(good.clone()), "2"),
        (Some(good.clone()), ""),
        (Some(mac(entry(0))), "1"),
    ] {
        assert_eq!(one(entry(0), mac, ticket).await, forged);
    }
    assert_eq!(one(entry(1), Some(good.clone()), "1").await, forged);
    let malformed = Err("ZT020".to_owned());
    let (macs, tickets) = (vec![Some(good)], vec!["1"]);
    assert_eq!(
        append(vec![entry(0), entry(0)], macs.clone(), tickets.clone()).await,
        malformed
    );
    assert_eq!(append(vec![entry(0)], vec![], tickets).await, malformed);
    assert_eq!(append(vec![entry(0)], macs, vec![]).await, malformed);
}

#[tokio::test]
async fn keys_rotate_without_a_gap_and_a_retired_one_signs_nothing() {
    let world = World::new().await;
    let old = world.context(0, "owner");
    let (status, _) = world
        .send("GET", "/v1/me", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 200);
    cli(&world, &["keys", "rotate", "context"]).await;
    // The server took the new key up by itself; what the old one signed is still good.
    let (status, _) = world
        .send("GET", "/v1/me", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 200);
    assert!(world.context(0, "owner").starts_with("v1|2|"));
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    enter(&raw, &old).await.unwrap();
    raw.script("COMMIT").await.unwrap();
    cli(&world, &["keys", "retire", "context", "--id", "1"]).await;
    raw.script("BEGIN").await.unwrap();
    assert_eq!(state(&enter(&raw, &old).await.unwrap_err()), "ZT002");
    let (status, _) = world
        .send("GET", "/v1/me", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_rotation_that_was_cut_off_is_stepped_over_and_a_foreign_key_file_is_refused() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    // The database learned key 2, the key file never did.
    admin
        .script("INSERT INTO tenancy.keys SELECT 'context', 2, sha256('a') || sha256('b'), sha256('c') || sha256('d')")
        .await
        .unwrap();
    cli(&world, &["keys", "rotate", "context"]).await;
    assert!(world.context(0, "owner").starts_with("v1|3|"));
    let (status, _) = world
        .send("GET", "/v1/me", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 200);
    // Key 1 of the file is not key 1 of the database any more.
    admin
        .script("UPDATE tenancy.keys SET ipad = sha256('a') || sha256('b') WHERE purpose = 'context' AND id = 1")
        .await
        .unwrap();
    assert_eq!(run_cli(&world, &["migrate"]).await, 2);
}

async fn cli(world: &World, arguments: &[&str]) {
    assert_eq!(run_cli(world, arguments).await, 0);
}

async fn run_cli(world: &World, arguments: &[&str]) -> u8 {
    use clap::Parser;
    let config = world.config.keys.location.with_file_name("studio.toml");
    let mut all = vec!["studio", "--config", config.to_str().unwrap()];
    all.extend_from_slice(arguments);
    studio::commands::Cli::parse_from(all).run().await
}
