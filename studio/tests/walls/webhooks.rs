//! What Clerk's deliveries can do, signed and not.

use serde_json::{Value, json};
use watertight_terms::{Clock, Random};

use crate::world::World;

/// Sends a delivery with headers of one family.
async fn deliver(world: &World, family: &str, id: &str, body: &str, secret: &[u8]) -> u16 {
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
        let told = raw.run("SELECT tenancy.end_session($1)", &[&forged]).await;
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
