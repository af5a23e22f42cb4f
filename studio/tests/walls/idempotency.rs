//! Idempotency keys: one effect, the same answer, for the same member of the same studio and nobody else.

use serde_json::{Value, json};
use watertight_tenancy::support::state;
use watertight_terms::Random;

use crate::world::{Answered, World, serve};

const ARTISTS: &str = "/v1/artists";

fn key() -> String {
    format!("key-{}", Random::system().uuid())
}

fn zoe() -> Value {
    json!({ "name": "Zoë", "email": "zoe@example.org", "tax_id": "DE 42" })
}

async fn post(world: &World, who: (usize, &str), key: &str, body: &Value) -> Answered {
    let headers = [("idempotency-key", key)];
    let token = world.token(who.0, who.1);
    world
        .ask("POST", ARTISTS, &token, &headers, Some(body.clone()))
        .await
}

async fn artists(world: &World, studio: usize) -> i64 {
    world
        .as_admin()
        .await
        .value(
            "SELECT count(*) FROM studio.artists WHERE tenant_id = $1 AND name = 'Zoë'",
            &[&world.studios[studio].tenant],
        )
        .await
        .unwrap()
}

async fn kept(world: &World) -> i64 {
    let admin = world.as_admin().await;
    admin
        .value("SELECT count(*) FROM tenancy.answers", &[])
        .await
        .unwrap()
}

async fn set(world: &World, sql: &str, subject: &str) {
    let changed = world.as_admin().await.run(sql, &[&subject]).await.unwrap();
    assert_eq!(changed, 1, "{sql}");
}

fn problem(answered: &Answered) -> (u16, &str) {
    let slug = answered.body["type"].as_str().unwrap_or_default();
    (answered.status, slug.trim_start_matches("/problems/"))
}

#[tokio::test]
async fn a_repeated_request_has_one_effect_and_the_same_answer() {
    let world = World::new().await;
    let key = key();
    let before = world.entries(0).await;
    let first = post(&world, (0, "owner"), &key, &zoe()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = post(&world, (0, "owner"), &key, &zoe()).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    for header in ["location", "etag", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
        assert!(again.header(header).is_some(), "{header}");
    }
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(artists(&world, 0).await, 1);

    // The repetition shows personal fields once more, hence an entry of its own that names them.
    assert_eq!(world.entries(0).await, before + 2);
    let id = again.header("x-request-id").unwrap();
    let entry: String = world
        .as_admin()
        .await
        .value(
            "SELECT body::text FROM ledger.entries WHERE tenant_id = $1 AND entry_id = $2::text::uuid",
            &[&world.studios[0].tenant, &id],
        )
        .await
        .unwrap();
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry["ids"][0], first.body["id"]);
    assert_eq!(entry["opened"], json!(["email", "tax_id"]));
    assert_eq!(
        (&entry["action"], &entry["rule"], &entry["status"]),
        (
            &json!("artist.create"),
            &json!("idempotency-key"),
            &json!(201)
        )
    );

    // Without a key, and with another one, it is another request.
    let (status, _) = world
        .send("POST", ARTISTS, &world.token(0, "owner"), Some(zoe()))
        .await;
    assert_eq!(status, 201);
    assert_eq!(
        post(&world, (0, "owner"), &self::key(), &zoe())
            .await
            .status,
        201
    );
    assert_eq!(artists(&world, 0).await, 3);
}

#[tokio::test]
async fn a_key_is_its_members_and_its_studios() {
    let world = World::new().await;
    let key = key();
    let mut ids = std::collections::BTreeSet::new();
    for who in [(0, "owner"), (0, "manager"), (1, "owner"), (1, "manager")] {
        let made = post(&world, who, &key, &zoe()).await;
        assert_eq!(made.status, 201, "{who:?} {made:?}");
        ids.insert(made.body["id"].to_string());
    }
    assert_eq!(ids.len(), 4);
    assert_eq!((artists(&world, 0).await, artists(&world, 1).await), (2, 2));
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let world = World::new().await;
    let key = key();
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
    let other = post(&world, (0, "owner"), &key, &json!({ "name": "Ann" })).await;
    assert_eq!(problem(&other), (422, "idempotency-mismatch"));
    // Byte for byte: another spelling is another request.
    let token = world.token(0, "owner");
    let headers = [("idempotency-key", key.as_str())];
    let elsewhere = world
        .ask("POST", "/v1/artists?", &token, &headers, Some(zoe()))
        .await;
    assert_eq!(elsewhere.status, 201, "an empty query is none");
    let elsewhere = world
        .ask("POST", "/v1/bookings", &token, &headers, Some(zoe()))
        .await;
    assert_eq!(problem(&elsewhere), (422, "idempotency-mismatch"));
    for bad in ["short", &"x".repeat(129), "sixteen\tcharacters"] {
        let refused = post(&world, (0, "owner"), bad, &zoe()).await;
        assert_eq!(problem(&refused), (400, "malformed"), "{bad}");
    }
    assert_eq!(artists(&world, 0).await, 1);
}

#[tokio::test]
async fn what_was_refused_is_not_kept() {
    let world = World::new().await;
    let key = key();
    let nameless = json!({ "name": " " });
    assert_eq!(
        post(&world, (0, "owner"), &key, &nameless).await.status,
        422
    );
    let forbidden = post(&world, (0, "freelancer"), &key, &zoe()).await;
    assert_eq!(problem(&forbidden), (403, "not-allowed"));
    assert_eq!(kept(&world).await, 0);
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
    assert_eq!(kept(&world).await, 1);
}

#[tokio::test]
async fn a_repetition_needs_the_right_that_the_request_needed() {
    let world = World::new().await;
    let (owner, manager) = (key(), key());
    let subject = |part: &str| world.studios[0].person(part).subject.clone();
    assert_eq!(post(&world, (0, "owner"), &owner, &zoe()).await.status, 201);
    assert_eq!(
        post(&world, (0, "manager"), &manager, &zoe()).await.status,
        201
    );

    // A manager may make artists too, but what the owner was told is not for a manager's eyes.
    let lower = "UPDATE tenancy.members SET ceiling = 'manager' WHERE subject = $1";
    set(&world, lower, &subject("owner")).await;
    let demoted = post(&world, (0, "owner"), &owner, &zoe()).await;
    assert_eq!(problem(&demoted), (403, "not-allowed"));
    assert!(!demoted.body.to_string().contains("DE 42"));
    assert_eq!(post(&world, (0, "owner"), &key(), &zoe()).await.status, 201);

    let lower = "UPDATE tenancy.members SET ceiling = 'freelancer' WHERE subject = $1";
    set(&world, lower, &subject("manager")).await;
    let demoted = post(&world, (0, "manager"), &manager, &zoe()).await;
    assert_eq!(problem(&demoted), (403, "not-allowed"));
    let remove = "UPDATE tenancy.members SET state = 'removed' WHERE subject = $1";
    set(&world, remove, &subject("manager")).await;
    let removed = post(&world, (0, "manager"), &manager, &zoe()).await;
    assert_eq!(problem(&removed), (403, "not-a-member"));
}

/// Who is let in again is not whom the answers were made for, even with the same role.
#[tokio::test]
async fn what_was_answered_to_a_membership_ends_with_it() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let leaver = world.studios[0].person("leaver");
    let member = format!("/v1/members/{}", leaver.member);
    let again = async |key: &str| post(&world, (0, "leaver"), key, &zoe()).await;
    let (before_removal, before_clerks) = (key(), key());
    assert_eq!(again(&before_removal).await.status, 201);
    assert_eq!(again(&before_removal).await.status, 201);

    assert_eq!(world.send("DELETE", &member, &owner, None).await.0, 204);
    let refused = again(&before_removal).await;
    assert_eq!(problem(&refused), (403, "not-a-member"));
    let role = Some(json!({ "role": "manager" }));
    let path = format!("{member}/admit");
    let admitted = world.send("POST", &path, &owner, role).await;
    assert_eq!(admitted.0, 200);
    // A token's time has seconds; what came before the removal counts no more.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(again(&before_clerks).await.status, 201);
    let refused = again(&before_removal).await;
    assert_eq!(problem(&refused), (403, "not-allowed"));
    assert!(!refused.body.to_string().contains("DE 42"));

    // Removed at Clerk and brought again, without a word of an owner between.
    for removed in ["true", "false"] {
        let sql =
            format!("UPDATE tenancy.members SET provider_removed = {removed} WHERE subject = $1");
        set(&world, &sql, &leaver.subject).await;
        let expected = if removed == "true" {
            "not-a-member"
        } else {
            "not-allowed"
        };
        assert_eq!(problem(&again(&before_clerks).await), (403, expected));
    }
    assert_eq!(again(&key()).await.status, 201);
}

/// Every right that the request was granted, on the very rows, as they are now.
#[tokio::test]
async fn a_repetition_is_granted_all_that_the_request_was_granted() {
    let world = World::new().await;
    let booking = world
        .pencil(0, 0, "2031-04-01T08:00:00Z", "2031-04-01T09:00:00Z")
        .await;
    let path = format!("/v1/bookings/{booking}/confirm");
    let (confirming, token) = (key(), world.token(0, "owner"));
    let headers = [
        ("idempotency-key", confirming.as_str()),
        ("if-match", "\"v1\""),
    ];
    let first = world.ask("POST", &path, &token, &headers, None).await;
    assert_eq!((first.status, first.header("etag")), (200, Some("\"v2\"")));
    // It is another version now, and confirmed: the repetition says what the first one said.
    let again = world.ask("POST", &path, &token, &headers, None).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("etag"), Some("\"v2\""));
    let (status, _) = world.send("POST", &path, &token, None).await;
    assert_eq!(status, 409, "without its key it is a second confirmation");
    let foreign = world.token(1, "owner");
    let foreign = world.ask("POST", &path, &foreign, &headers, None).await;
    assert_eq!(problem(&foreign), (404, "not-found"));
    // Gone from the eyes of whoever asks, it is gone from the answer too.
    hide(&world, "bookings", &booking).await;
    let hidden = world.ask("POST", &path, &token, &headers, None).await;
    assert_eq!(problem(&hidden), (404, "not-found"));

    // Making an artist is one right, and being shown the personal fields of that artist is two more:
    // whoever still has the first, and of the others only what is not there to have, is told nothing.
    let making = key();
    let made = post(&world, (0, "owner"), &making, &zoe()).await;
    assert_eq!(made.status, 201);
    hide(&world, "artists", made.body["id"].as_str().unwrap()).await;
    let hidden = post(&world, (0, "owner"), &making, &zoe()).await;
    assert_eq!(problem(&hidden), (404, "not-found"));
    assert_eq!(post(&world, (0, "owner"), &key(), &zoe()).await.status, 201);
}

/// Moves a row to the other studio, past every wall.
async fn hide(world: &World, table: &str, id: &str) {
    let admin = world.as_admin().await;
    let other = world.studios[1].tenant;
    admin
        .script("SET session_replication_role = replica")
        .await
        .unwrap();
    let sql = format!("UPDATE studio.{table} SET tenant_id = $1 WHERE id = $2::text::uuid");
    assert_eq!(admin.run(&sql, &[&other, &id]).await.unwrap(), 1);
}

/// What a service of a studio is told of a key; two studios' services have one name.
const CLAIM: &str =
    "SELECT outcome FROM tenancy.claim_key(sha256(convert_to($1, 'UTF8')), sha256('x'))";
const KEEP: &str = "SELECT tenancy.keep_answer(sha256(convert_to($1, 'UTF8')), sha256('x'), gen_random_uuid(), decode('020001' || repeat('00', 28), 'hex'))";

/// A key of each studio, for what `KEEP` keeps to name.
async fn with_keys() -> World {
    let world = World::new().await;
    let keys =
        "INSERT INTO vault.studio_keys SELECT tenant_id, 1, 1, sha512('') FROM tenancy.studios";
    world.as_admin().await.script(keys).await.unwrap();
    world
}

async fn as_service(world: &World, studio: usize, sql: &str, key: &str) -> String {
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    let context = world.service_context(studio, "expiry");
    raw.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let said = if sql == CLAIM {
        raw.value(sql, &[&key]).await.unwrap()
    } else {
        raw.run(sql, &[&key]).await.unwrap().to_string()
    };
    raw.script("COMMIT").await.unwrap();
    said
}

/// With the table's policy gone, the functions still keep the studios apart.
#[tokio::test]
async fn the_functions_alone_keep_the_studios_answers_apart() {
    let world = with_keys().await;
    let admin = world.as_admin().await;
    admin
        .script("ALTER POLICY gate ON tenancy.answers USING (true) WITH CHECK (true)")
        .await
        .unwrap();
    let (key, old) = (key(), key());
    for kept in [&key, &old] {
        as_service(&world, 0, KEEP, kept).await;
        assert_eq!(as_service(&world, 0, CLAIM, kept).await, "done");
    }
    // The same key of a service of the same name, in the other studio.
    assert_eq!(as_service(&world, 1, CLAIM, &key).await, "new");
    as_service(&world, 1, KEEP, &key).await;
    assert_eq!(as_service(&world, 1, CLAIM, &key).await, "done");
    assert_eq!(kept(&world).await, 3);
    // What is over in one studio is not the other's to forget.
    let age = "UPDATE tenancy.answers SET kept_at = clock_timestamp() - interval '25 hours'";
    admin.script(age).await.unwrap();
    as_service(&world, 1, KEEP, &self::key()).await;
    let left = "SELECT count(*) FROM tenancy.answers WHERE tenant_id = $1";
    for (studio, expected) in [(0, 2_i64), (1, 1)] {
        let tenant = world.studios[studio].tenant;
        let left: i64 = admin.value(left, &[&tenant]).await.unwrap();
        assert_eq!(left, expected, "{studio}");
    }
}

/// And without the functions' conditions, the policy does: what the gate itself may see and write.
#[tokio::test]
async fn the_policy_alone_keeps_the_studios_answers_apart() {
    let world = with_keys().await;
    let key = key();
    for studio in [0, 1] {
        as_service(&world, studio, KEEP, &key).await;
    }
    let tenants = [0, 1].map(|studio| world.studios[studio].tenant);
    let gate = world.as_admin().await;
    let bind = async |studio: usize| {
        gate.script("BEGIN").await.unwrap();
        let context = world.service_context(studio, "expiry");
        gate.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        gate.script("SET LOCAL ROLE studio_gate").await.unwrap();
    };
    for (studio, other) in [(0, 1), (1, 0)] {
        bind(studio).await;
        let seen = "SELECT string_agg(tenant_id::text, ' ') FROM tenancy.answers";
        let seen: String = gate.value(seen, &[]).await.unwrap();
        assert_eq!(seen, tenants[studio].to_string());
        let forget = "DELETE FROM tenancy.answers WHERE tenant_id = $1";
        let gone = gate.run(forget, &[&tenants[other]]).await;
        assert_eq!(gone.unwrap(), 0);
        let written = gate
            .run(
                "INSERT INTO tenancy.answers (tenant_id, actor, standing, key, request, id, sealed)
                 VALUES ($1, 'expiry', '', sha256('y'), sha256('y'), gen_random_uuid(), NULL)",
                &[&tenants[other]],
            )
            .await;
        assert_eq!(state(&written.unwrap_err()), "42501");
        gate.script("ROLLBACK").await.unwrap();
    }
    // Without a context it sees nothing at all.
    gate.script("BEGIN; SET LOCAL ROLE studio_gate")
        .await
        .unwrap();
    let seen: i64 = gate
        .value("SELECT count(*) FROM tenancy.answers", &[])
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn of_many_at_once_on_two_servers_one_has_the_effect() {
    let world = World::new().await;
    let second = serve(&world.app).await;
    let key = key();
    let token = world.token(0, "owner");
    let sent = (0..24).map(|number| {
        let base = if number % 2 == 0 {
            &world.base
        } else {
            &second
        };
        let request = world
            .http
            .post(format!("{base}{ARTISTS}"))
            .bearer_auth(&token)
            .header("idempotency-key", &key)
            .header("content-type", "application/json")
            .body(zoe().to_string());
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    });
    let sent: Vec<_> = sent.collect();
    let mut bodies = std::collections::BTreeSet::new();
    for one in sent {
        let (status, body) = one.await.unwrap();
        match status {
            201 => drop(bodies.insert(body)),
            409 => assert!(body.contains("idempotency-in-flight"), "{body}"),
            // A busy machine has no connection for some in time.
            503 => {}
            other => panic!("{other} {body}"),
        }
    }
    assert_eq!(bodies.len(), 1, "every success is the same one");
    assert_eq!(artists(&world, 0).await, 1);
}

#[tokio::test]
async fn while_one_is_under_way_the_other_is_told() {
    let world = World::new().await;
    let key = key();
    let digest = "sha256(convert_to($1, 'UTF8'))";
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    let context = world.context(0, "owner");
    raw.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let claim = format!("SELECT outcome FROM tenancy.claim_key({digest}, {digest})");
    let outcome: String = raw.value(&claim, &[&key]).await.unwrap();
    assert_eq!(outcome, "new");
    let told = post(&world, (0, "owner"), &key, &zoe()).await;
    assert_eq!(problem(&told), (409, "idempotency-in-flight"));
    // Nobody else waits for it.
    assert_eq!(post(&world, (0, "manager"), &key, &zoe()).await.status, 201);
    assert_eq!(post(&world, (1, "owner"), &key, &zoe()).await.status, 201);
    raw.script("ROLLBACK").await.unwrap();
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
}

#[tokio::test]
async fn after_a_day_a_key_is_new_and_the_answer_forgotten() {
    let world = World::new().await;
    let (key, other) = (key(), key());
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
    assert_eq!(
        post(&world, (0, "manager"), &other, &zoe()).await.status,
        201
    );
    assert_eq!(post(&world, (1, "owner"), &key, &zoe()).await.status, 201);
    let age = |hours: &str| {
        format!("UPDATE tenancy.answers SET kept_at = clock_timestamp() - interval '{hours}'")
    };
    let admin = world.as_admin().await;
    admin.script(&age("23 hours 59 minutes")).await.unwrap();
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
    assert_eq!(artists(&world, 0).await, 2, "not yet");
    admin.script(&age("24 hours 1 minute")).await.unwrap();
    assert_eq!(
        post(
            &world,
            (0, "owner"),
            &key,
            &json!({ "name": "Zoë", "notes": "new" })
        )
        .await
        .status,
        201
    );
    assert_eq!(artists(&world, 0).await, 3);
    // Its own place is used again, the manager's is gone, and no row of the other studio was touched.
    assert_eq!(kept(&world).await, 2);
}

#[tokio::test]
async fn a_kept_answer_is_sealed_and_nobodys_to_read() {
    let world = World::new().await;
    let key = key();
    assert_eq!(post(&world, (0, "owner"), &key, &zoe()).await.status, 201);
    let row: String = world
        .as_admin()
        .await
        .value("SELECT encode(sealed, 'escape') || encode(key, 'escape') || a::text FROM tenancy.answers a", &[])
        .await
        .unwrap();
    for clear in ["zoe", "Zo", "example", "DE 42", key.as_str()] {
        assert!(!row.contains(clear), "{clear}");
    }
    // What is kept is not kept over.
    let twice = world.as_app().await;
    twice.script("BEGIN").await.unwrap();
    let context = world.context(0, "owner");
    twice
        .run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let over = twice.run(KEEP, &[&key]).await;
    assert_eq!(state(&over.unwrap_err()), "ZT019");
    // The app role has the functions and nothing else, and they look at the caller's own.
    let raw = world.as_app().await;
    let refused = raw.run("SELECT 1 FROM tenancy.answers", &[]).await;
    assert_eq!(state(&refused.unwrap_err()), "42501");
    let claim = "SELECT coalesce(outcome, '') || coalesce(encode(sealed, 'hex'), '') FROM tenancy.claim_key(sha256(convert_to($1, 'UTF8')), sha256('x'))";
    let unbound: Result<String, _> = raw.value(claim, &[&key]).await;
    assert!(unbound.is_err(), "without a context there is no answer");
    for (who, expected) in [
        ((0, "owner"), "other"),
        ((0, "manager"), "new"),
        ((1, "owner"), "new"),
    ] {
        raw.script("BEGIN").await.unwrap();
        let context = world.context(who.0, who.1);
        raw.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let found: String = raw.value(claim, &[&key]).await.unwrap();
        assert_eq!(found, expected, "{who:?}");
        raw.script("ROLLBACK").await.unwrap();
    }
    // Sealed for the studio, the table and the row: moved, it does not open.
    world
        .as_admin()
        .await
        .script("UPDATE tenancy.answers SET id = gen_random_uuid()")
        .await
        .unwrap();
    let moved = world
        .http
        .post(format!("{}{ARTISTS}", world.base))
        .bearer_auth(world.token(0, "owner"))
        .header("idempotency-key", &key)
        .header("content-type", "application/json")
        .body(zoe().to_string());
    assert_eq!(moved.send().await.unwrap().status(), 500);
}
