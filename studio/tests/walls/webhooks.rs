//! What Clerk's deliveries can do, signed and not.

use serde_json::{Value, json};
use studio::{app::App, config::NewStudios};
use watertight_identity::{double::TokenRequest, objects::Membership};
use watertight_tenancy::support::state;
use watertight_terms::{Clock, KeyFile, Random, hmac_sha256};

use crate::world::{World, verifier};

/// Sends a delivery with headers of one family.
pub(crate) async fn deliver(
    world: &World,
    family: &str,
    id: &str,
    body: &str,
    secret: &[u8],
) -> u16 {
    let at = Clock::system().now_s().to_string();
    let signature = sign(secret, id, &at, body);
    let headers = [("id", id), ("timestamp", &at), ("signature", &signature)];
    let headers = headers.map(|(name, value)| (format!("{family}-{name}"), value.to_owned()));
    post(world, &headers, body).await
}

fn sign(secret: &[u8], id: &str, at: &str, body: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = aws_lc_rs::hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
}

async fn post(world: &World, headers: &[(String, String)], body: &str) -> u16 {
    let mut request = world
        .http
        .post(format!("{}/webhooks/clerk", world.base))
        .header("content-type", "application/json")
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

fn ended(kind: &str, session: &str, subject: &str) -> String {
    json!({ "object": "event", "type": kind, "data": { "id": session, "user_id": subject } })
        .to_string()
}

/// An event about a membership, as Clerk writes it.
pub(crate) fn membership(
    what: &str,
    organization: &str,
    subject: &str,
    role: &str,
    at_ms: i64,
) -> String {
    json!({
        "object": "event", "type": format!("organizationMembership.{what}"), "timestamp": at_ms,
        "data": {
            "object": "organization_membership", "id": "orgmem_1", "role": role, "updated_at": at_ms,
            "organization": { "id": organization },
            "public_user_data": { "user_id": subject, "first_name": "Ines", "last_name": "Roth", "identifier": "ines@example.org" },
        },
    })
    .to_string()
}

fn session_of(world: &World, part: &str) -> (String, String) {
    let person = world.studios[0].person(part);
    (person.session.clone(), person.subject.clone())
}

async fn status(world: &World, part: &str) -> u16 {
    world
        .send("GET", "/v1/me", &world.token(0, part), None)
        .await
        .0
}

async fn deliveries(world: &World) -> i64 {
    let raw = world.as_admin().await;
    raw.value("SELECT count(*) FROM tenancy.deliveries", &[])
        .await
        .unwrap()
}

#[tokio::test]
async fn a_session_that_ends_at_clerk_ends_here_on_the_next_request_and_for_good() {
    for (family, kind) in [
        ("svix", "session.revoked"),
        ("webhook", "session.ended"),
        ("svix", "session.removed"),
    ] {
        let world = World::new().await;
        let (session, subject) = session_of(&world, "manager");
        assert_eq!(status(&world, "manager").await, 200);
        let event = ended(kind, &session, &subject);
        for _ in 0..2 {
            assert_eq!(
                deliver(&world, family, "msg_1", &event, &world.webhook_secret).await,
                204
            );
            assert_eq!(status(&world, "manager").await, 401, "{kind}");
        }
        assert_eq!(deliveries(&world).await, 1, "twice is once");
        // What comes late or claims the contrary revives nothing.
        let created = ended("session.created", &session, &subject);
        assert_eq!(
            deliver(&world, family, "msg_2", &created, &world.webhook_secret).await,
            204
        );
        assert_eq!(status(&world, "manager").await, 401);
        assert_eq!(status(&world, "owner").await, 200, "nobody else");
        let other = world
            .send("GET", "/v1/me", &world.token(1, "manager"), None)
            .await
            .0;
        assert_eq!(other, 200);
    }
}

/// The other order: the end is told before the session was ever seen.
#[tokio::test]
async fn an_end_that_comes_first_counts_and_one_of_another_user_does_not() {
    let world = World::new().await;
    let (session, subject) = session_of(&world, "manager");
    let event = ended("session.revoked", &session, &subject);
    assert_eq!(
        deliver(&world, "svix", "msg_1", &event, &world.webhook_secret).await,
        204
    );
    assert_eq!(status(&world, "manager").await, 401);

    assert_eq!(status(&world, "owner").await, 200);
    let (session, _) = session_of(&world, "owner");
    let event = ended("session.revoked", &session, "user_somebody_else");
    assert_eq!(
        deliver(&world, "svix", "msg_2", &event, &world.webhook_secret).await,
        204
    );
    assert_eq!(
        status(&world, "owner").await,
        200,
        "the session is another's"
    );
}

#[tokio::test]
async fn what_is_not_clerks_has_no_effect() {
    let world = World::new().await;
    let (session, subject) = session_of(&world, "manager");
    let event = ended("session.revoked", &session, &subject);
    let secret = world.webhook_secret;
    let now = Clock::system().now_s();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let signed = |at: i64| {
        let at = at.to_string();
        vec![
            header("svix-id", "msg_1"),
            header("svix-signature", &sign(&secret, "msg_1", &at, &event)),
            header("svix-timestamp", &at),
        ]
    };
    let of_both = [
        signed(now),
        vec![
            header("webhook-id", "msg_2"),
            header("webhook-timestamp", &now.to_string()),
        ],
    ]
    .concat();
    let twice = [signed(now), vec![header("svix-id", "msg_2")]].concat();
    for (what, headers, body) in [
        ("no headers", Vec::new(), event.clone()),
        ("too old", signed(now - 301), event.clone()),
        ("too new", signed(now + 310), event.clone()),
        ("other bytes", signed(now), event.replace(':', ": ")),
        ("both families", of_both, event.clone()),
        ("an id twice", twice, event.clone()),
    ] {
        assert_eq!(post(&world, &headers, &body).await, 401, "{what}");
    }
    let wrong = Random::system().bytes::<32>();
    assert_eq!(deliver(&world, "svix", "msg_1", &event, &wrong).await, 401);
    assert_eq!(deliveries(&world).await, 0);
    assert_eq!(status(&world, "manager").await, 200);
    // The genuine one after all of them.
    assert_eq!(post(&world, &signed(now), &event).await, 204);
    assert_eq!(status(&world, "manager").await, 401);
}

#[tokio::test]
async fn what_is_not_understood_is_taken_and_what_cannot_be_read_is_refused() {
    let world = World::new().await;
    let secret = world.webhook_secret;
    for (at, (body, expected)) in [
        (
            json!({ "type": "user.updated", "data": { "id": "user_1" } }),
            204,
        ),
        (json!({ "type": "something.new", "data": {} }), 204),
        (
            json!({ "type": "session.revoked", "data": { "id": "sess_1" } }),
            400,
        ),
        (
            json!({ "type": "session.revoked", "data": { "id": "a|b", "user_id": "user_1" } }),
            400,
        ),
        (json!({ "type": 1, "data": {} }), 400),
        (json!([]), 400),
        (Value::Null, 400),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("msg_{at}");
        let told = deliver(&world, "svix", &id, &body.to_string(), &secret).await;
        assert_eq!(told, expected, "{body}");
    }
    let twice = r#"{"type":"session.revoked","type":"user.updated","data":{"id":"sess_1","user_id":"user_1"}}"#;
    assert_eq!(deliver(&world, "svix", "msg_9", twice, &secret).await, 400);
    let (status, _) = world
        .send("GET", "/webhooks/clerk", &world.token(0, "owner"), None)
        .await;
    assert_eq!(status, 405);
}

/// SQL as the app role ends no session: that takes the server's key.
#[tokio::test]
async fn sql_as_the_app_role_ends_no_session() {
    let world = World::new().await;
    let raw = world.as_app().await;
    let context = world.context(0, "owner");
    for forged in [
        "e1|1|msg_1|sess_1|user_1|9999999999|00|00".to_owned(),
        // A context is no event, whatever it is made to look like.
        context.clone(),
        context.replacen("v1", "e1", 1),
    ] {
        let told = raw.run("SELECT tenancy.note_session($1)", &[&forged]).await;
        assert!(told.is_err(), "{forged}");
    }
    for sql in [
        "SELECT * FROM tenancy.deliveries",
        "INSERT INTO tenancy.deliveries (id) VALUES ('x')",
    ] {
        assert!(raw.script(sql).await.is_err(), "{sql}");
    }
    assert_eq!(deliveries(&world).await, 0);
}

fn now_ms() -> i64 {
    Clock::system().now().as_millisecond()
}

/// Delivers what Clerk would sign.
async fn tell(world: &World, id: &str, event: &str) {
    let told = deliver(world, "svix", id, event, &world.webhook_secret).await;
    assert_eq!(told, 204, "{event}");
}

/// Says that somebody's session has begun just now.
pub(crate) async fn begin_session(world: &World, studio: usize, part: &str) {
    let person = world.studios[studio].person(part);
    let at_ms = now_ms() + 60_000;
    let event = json!({ "object": "event", "type": "session.created", "timestamp": at_ms,
        "data": { "id": person.session, "user_id": person.subject, "updated_at": at_ms } });
    tell(world, "msg_begun", &event.to_string()).await;
}

/// Of a session the newest word counts: late ones change nothing.
#[tokio::test]
async fn of_a_session_the_newest_word_counts() {
    let world = World::new().await;
    let (session, subject) = session_of(&world, "manager");
    let at = now_ms();
    let word = |kind: &str, at_ms: i64| {
        json!({ "object": "event", "type": kind, "timestamp": at_ms,
            "data": { "id": session, "user_id": subject, "updated_at": at_ms } })
        .to_string()
    };
    for (id, kind, at_ms, expected) in [
        ("msg_1", "session.revoked", at, 401),
        ("msg_2", "session.created", at - 1, 401),
        ("msg_3", "session.created", at, 401),
        ("msg_4", "session.ended", at - 9, 401),
        ("msg_5", "session.created", at + 9, 200),
        ("msg_6", "session.removed", at + 5, 200),
        ("msg_7", "session.ended", at + 9, 401),
    ] {
        tell(&world, id, &word(kind, at_ms)).await;
        assert_eq!(status(&world, "manager").await, expected, "{id} {kind}");
    }
}

#[tokio::test]
async fn whom_clerk_brings_is_pending_shown_to_owners_and_noted() {
    let world = World::new().await;
    let organization = &world.studios[0].organization;
    let event = membership(
        "created",
        organization,
        "user_new",
        "org:studio_owner",
        now_ms(),
    );
    let entries = world.entries(0).await;
    for id in ["msg_1", "msg_1", "msg_2"] {
        tell(&world, id, &event).await;
    }
    // That somebody came, and that the address was kept.
    assert_eq!(world.entries(0).await, entries + 2, "once");
    assert_eq!(world.entries(1).await, 0);
    let owner = world.token(0, "owner");
    let (_, list) = world
        .send("GET", "/v1/members?state=pending", &owner, None)
        .await;
    let member = &list["items"][0];
    assert_eq!(list["total"], 1);
    for (field, value) in [
        ("subject", "user_new"),
        ("name", "Ines Roth"),
        ("ceiling", "guest"),
        ("role", "guest"),
    ] {
        assert_eq!(member[field], value, "{field}");
    }
    let path = format!("/v1/members/{}", member["id"].as_str().unwrap());
    let (_, opened) = world.send("GET", &path, &owner, None).await;
    assert_eq!(opened["email"], "ines@example.org");
    let raw = world.as_admin().await;
    let (actor, cause): (String, String) = {
        let body =
            "SELECT body ->> 'actor' || ' ' || (body ->> 'client_request_id') FROM ledger.entries
                    WHERE tenant_id = $1 AND body ->> 'action' = 'member.add'";
        let line: String = raw.value(body, &[&world.studios[0].tenant]).await.unwrap();
        let (actor, cause) = line.split_once(' ').unwrap();
        (actor.to_owned(), cause.to_owned())
    };
    assert_eq!((actor.as_str(), cause.as_str()), ("service:clerk", "msg_1"));
    // Admitted as a manager they are that, and not the owner that Clerk says.
    let role = Some(json!({ "role": "manager" }));
    let (_, admitted) = world
        .send("POST", &format!("{path}/admit"), &owner, role)
        .await;
    assert_eq!(
        (&admitted["state"], &admitted["role"]),
        (&json!("active"), &json!("manager"))
    );
}

/// Both orders in which Clerk can tell of an invitation that was accepted.
#[tokio::test]
async fn who_accepts_an_owners_invitation_is_admitted_as_far_as_it_said() {
    for first in ["membership", "acceptance"] {
        let world = World::new().await;
        let owner = world.token(0, "owner");
        let body = json!({ "email": "ines@example.org", "role": "freelancer" });
        let (_, invited) = world.send("POST", "/v1/members", &owner, Some(body)).await;
        let member = invited["id"].as_str().unwrap().parse().unwrap();
        let tenant = watertight_terms::TenantId(world.studios[0].tenant);
        let invitation = "orginv_1".parse().unwrap();
        let people = &world.app.tenancy;
        people
            .complete_invitation(tenant, member, &invitation)
            .await
            .unwrap();
        let organization = &world.studios[0].organization;
        let joined = membership(
            "created",
            organization,
            "user_new",
            "org:studio_manager",
            now_ms(),
        );
        let accepted = |id: &str, of: &str| {
            json!({ "object": "event", "type": "organizationInvitation.accepted", "timestamp": now_ms(),
                "data": { "id": id, "organization_id": of, "role": "org:studio_manager",
                    "user_id": "user_new", "updated_at": now_ms() } })
            .to_string()
        };
        // One of another studio, and one that nobody here made, let nobody in.
        tell(
            &world,
            "msg_1",
            &accepted("orginv_1", &world.studios[1].organization),
        )
        .await;
        tell(&world, "msg_2", &accepted("orginv_2", organization)).await;
        let accepted = accepted("orginv_1", organization);
        let order = match first {
            "membership" => [&joined, &accepted],
            _ => [&accepted, &joined],
        };
        for (at, event) in order.into_iter().chain([&accepted, &joined]).enumerate() {
            tell(&world, &format!("msg_{first}_{at}"), event).await;
        }
        let (_, list) = world
            .send("GET", "/v1/members?limit=100", &owner, None)
            .await;
        assert_eq!(list["total"], 7, "{first}: one row: {list}");
        let items = list["items"].as_array().unwrap();
        let new = items
            .iter()
            .find(|item| item["subject"] == "user_new")
            .unwrap();
        assert_eq!(
            (&new["state"], &new["role"]),
            (&json!("active"), &json!("freelancer")),
            "{first}"
        );
    }
}

// asvs: V7.4.2
#[tokio::test]
async fn a_user_who_is_gone_or_banned_is_out_everywhere() {
    let at = now_ms();
    for (kind, data, refused) in [
        (
            "user.deleted",
            json!({ "object": "user", "id": "user_dual", "deleted": true }),
            403,
        ),
        (
            "user.updated",
            json!({ "id": "user_dual", "banned": true, "updated_at": at }),
            401,
        ),
    ] {
        let world = World::new().await;
        for studio in 0..2 {
            let token = world.token(studio, "dual");
            assert_eq!(world.send("GET", "/v1/artists", &token, None).await.0, 200);
        }
        let event = json!({ "object": "event", "type": kind, "timestamp": at, "data": data });
        tell(&world, "msg_1", &event.to_string()).await;
        for studio in 0..2 {
            let token = world.token(studio, "dual");
            let told = world.send("GET", "/v1/artists", &token, None).await.0;
            assert_eq!(told, refused, "{kind}");
        }
        assert_eq!(status(&world, "owner").await, 200);
    }
}

#[tokio::test]
async fn an_organization_that_is_gone_suspends_its_studio_and_shreds_nothing() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    let rows = "SELECT count(*) FROM studio.artists";
    let before: i64 = admin.value(rows, &[]).await.unwrap();
    let event = json!({ "object": "event", "type": "organization.deleted", "timestamp": now_ms(),
        "data": { "object": "organization", "id": world.studios[0].organization, "deleted": true } });
    tell(&world, "msg_1", &event.to_string()).await;
    assert_eq!(status(&world, "owner").await, 503);
    let other = world.token(1, "owner");
    assert_eq!(world.send("GET", "/v1/me", &other, None).await.0, 200);
    assert_eq!(admin.value::<i64>(rows, &[]).await.unwrap(), before);
    // Neither Clerk nor the end of a freeze brings it back.
    let created = json!({ "object": "event", "type": "organization.created", "timestamp": now_ms() + 9,
        "data": { "id": world.studios[0].organization, "name": "x", "updated_at": now_ms() + 9 } });
    tell(&world, "msg_2", &created.to_string()).await;
    admin
        .script("UPDATE tenancy.studios SET status = 'frozen' WHERE status = 'suspended'")
        .await
        .unwrap();
    admin
        .run("SELECT tenancy.thaw($1)", &[&world.studios[0].tenant])
        .await
        .unwrap();
    assert_eq!(status(&world, "owner").await, 503);
}

/// What the gate's functions take: name, prefix, and the fields between key and time.
const TOLD: [(&str, &str, &str); 6] = [
    (
        "apply_event",
        "e2",
        "msg_sql|gone|org_none|user_none|guest|1|",
    ),
    (
        "drain_member",
        "d1",
        "00000000-0000-4000-8000-000000000000|00000000-0000-4000-8000-000000000000",
    ),
    (
        "complete_member",
        "f1",
        "00000000-0000-4000-8000-000000000000|00000000-0000-4000-8000-000000000000|email|00|",
    ),
    ("people_known", "q1", ""),
    ("note_session", "e1", "msg_sql_2|sess_none|user_none|true|1"),
    ("enter", "v1", "m|org_none|user_none|sess_none|owner|1"),
];

/// Whoever runs SQL as the app role tells nothing, for what is told takes the server's key; and what
/// was signed for one function is nothing to another.
#[tokio::test]
async fn sql_as_the_app_role_tells_nothing_of_people() {
    let world = World::new().await;
    let raw = world.as_app().await;
    let keys = KeyFile::read(&world.config.keys.location).unwrap();
    let (id, key) = keys.ring("context").unwrap().current().unwrap();
    let now = Clock::system().now_s();
    let mac = |text: &str| hex::encode(hmac_sha256(key, text.as_bytes()));
    let signed = |prefix: &str, fields: &str, expires: i64| {
        let text = format!("{prefix}|{id}|{fields}|{expires}|00");
        format!("{text}|{}", mac(&text))
    };
    let told = async |function: &str, text: &str| {
        let call = match function {
            "enter" => "SELECT 1 FROM tenancy.enter($1)".to_owned(),
            _ => format!("SELECT tenancy.{function}($1)"),
        };
        let refused = raw.run(&call, &[&text]).await.err();
        refused.map(|error| state(&error).to_owned())
    };
    for (function, prefix, fields) in TOLD {
        let good = signed(prefix, fields, now + 10);
        let other_prefix = if prefix == "v1" { "e1" } else { "v1" };
        let other_digit = if good.ends_with('0') { '1' } else { '0' };
        for (what, bad, code) in [
            (
                "no signature",
                format!("{}{other_digit}", &good[..good.len() - 1]),
                "ZT002",
            ),
            (
                "signed for another",
                signed(other_prefix, fields, now + 10),
                "ZT001",
            ),
            ("renamed", good.replacen(prefix, other_prefix, 1), "ZT001"),
            ("too old", signed(prefix, fields, now - 1), "ZT003"),
            ("for too long", signed(prefix, fields, now + 100), "ZT003"),
            ("nothing", String::new(), "ZT001"),
        ] {
            let refused = told(function, &bad).await;
            assert_eq!(refused.as_deref(), Some(code), "{function}: {what}");
        }
        // Good, it is heard: `enter` knows nobody of that name.
        let heard = (function == "enter").then_some("ZT011");
        assert_eq!(told(function, &good).await.as_deref(), heard, "{function}");
    }
    for function in [
        "verified(text, text, integer)",
        "is_new(text)",
        "take_lock(bigint, interval)",
    ] {
        let asked = format!("SELECT has_function_privilege('tenancy.{function}', 'EXECUTE')");
        let may: bool = raw.value(&asked, &[]).await.unwrap();
        assert!(!may, "{function}");
    }
}

/// Where the configuration lets Clerk bring studios it brings new ones, and reaches no other.
#[tokio::test]
async fn a_new_organization_becomes_a_studio_only_where_that_is_configured() {
    let world = World::new().await;
    let mut config = world.config.clone();
    config.clerk.new_studios = NewStudios::Any;
    let open = App::new(
        config,
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    )
    .unwrap();
    let organization = "org_new".to_owned();
    let hear = async |app: &App, organization: &str, subject: &str, role: &str| {
        let membership = Membership {
            id: None,
            organization: organization.parse().unwrap(),
            subject: subject.parse().unwrap(),
            role: role.to_owned(),
            name: None,
            identifier: None,
            updated_at_ms: now_ms(),
        };
        let delivery = format!("msg_{}", Random::system().uuid().simple());
        let heard = app.desk.people.hear_of_membership(&delivery, &membership);
        heard.await.unwrap();
        let token = world.double.token(&TokenRequest {
            subject: subject.to_owned(),
            session: format!("sess_of_{subject}"),
            organization: organization.to_owned(),
            slug: "x".to_owned(),
            role: "org:studio_owner".to_owned(),
            version: 2,
            life_s: 60,
        });
        world.send("GET", "/v1/artists", &token, None).await.0
    };
    let owner = "org:studio_owner";
    assert_eq!(
        hear(&world.app, &organization, "user_one", owner).await,
        403
    );
    assert_eq!(
        hear(&open, &organization, "user_one", "org:studio_manager").await,
        403,
        "no owner"
    );
    assert_eq!(hear(&open, &organization, "user_one", owner).await, 200);
    assert_eq!(
        hear(&open, &organization, "user_two", owner).await,
        403,
        "pending"
    );
    let existing = world.studios[0].organization.clone();
    assert_eq!(hear(&open, &existing, "user_one", owner).await, 403);
}

/// What is answered before its body was read says that the connection ends: the rest of the body would
/// be read as the next request.
#[tokio::test]
async fn an_answer_before_the_body_was_read_says_that_the_connection_ends() {
    let world = World::new().await;
    let url = format!("{}/webhooks/clerk", world.base);
    let artists = format!("{}/v1/artists", world.base);
    let owner = world.token(0, "owner");
    for (request, status, closes) in [
        (world.http.put(&url).body("{}"), 405, true),
        (world.http.post(&url).body(vec![b'x'; 3_000_000]), 413, true),
        (world.http.post(&artists).body("{}"), 401, true),
        (
            world.http.post(&artists).bearer_auth(&owner).body("{}"),
            415,
            false,
        ),
        (world.http.put(&url), 405, false),
        (world.http.post(&url).body("{}"), 401, false),
    ] {
        // A client that is still sending when the answer comes may see the end before it.
        let Ok(answer) = request.send().await else {
            assert_eq!(status, 413);
            continue;
        };
        let said = answer.headers().get("connection").is_some();
        assert_eq!((answer.status().as_u16(), said), (status, closes));
    }
}
