//! Clerk's Backend API: against the stand-in, and against answers that are not as they should be.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use support::{clock, double};
use watertight_identity::{
    backend::{Backend, BackendError},
    double::{Double, Person},
    webhook::{Event, Headers, Signer},
};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Fault, Kind, Subject};

const SECRET: &str = "sk_test_0123456789abcdef";

fn id(text: &str) -> Subject {
    text.parse().unwrap()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn outbound(address: SocketAddr) -> Outbound {
    let rules = OutboundRules {
        allow: vec![address.to_string()],
        ..OutboundRules::default()
    };
    Outbound::new(rules).unwrap()
}

fn backend(address: SocketAddr, secret: SecretString, clock: Clock) -> Backend {
    let base = format!("http://{address}");
    Backend::at(&base, outbound(address), secret, clock).unwrap()
}

fn people(count: usize) -> Vec<Person> {
    let person = |number: usize, studio: &str| Person {
        name: format!("Person {number}"),
        studio: studio.into(),
        role: "org:freelancer".into(),
        subject: format!("user_{studio}_{number}"),
        session: format!("sess_{studio}_{number}"),
        organization: format!("org_{studio}"),
        slug: studio.into(),
    };
    let of_one = (0..count).map(|number| person(number, "one"));
    of_one.chain([person(0, "two")]).collect()
}

async fn stand_in(count: usize) -> (Double, Backend) {
    let double = double();
    let address = serve(double.router(people(count))).await;
    let backend = backend(address, double.secret_key(), clock());
    (double, backend)
}

#[tokio::test]
async fn an_organization_is_read_whole_and_no_other() {
    for count in [0, 1, 100, 250] {
        let (_, backend) = stand_in(count).await;
        let of_two = backend.memberships(&id("org_two")).await.unwrap();
        assert_eq!(of_two.len(), 1);
        assert_eq!(of_two[0].subject.as_str(), "user_two_0");
        if count == 0 {
            let none = backend.memberships(&id("org_one")).await;
            assert_eq!(none.unwrap_err(), BackendError::Unknown);
            continue;
        }
        let list = backend.memberships(&id("org_one")).await.unwrap();
        let names: std::collections::BTreeSet<_> = list.iter().map(|one| &one.subject).collect();
        assert_eq!((list.len(), names.len()), (count, count));
        assert!(list.iter().all(|one| one.role == "org:freelancer"));
    }
    let (_, backend) = stand_in(1).await;
    let organization = backend.organization(&id("org_one")).await.unwrap();
    assert_eq!(organization.name.unwrap().expose(), "one");
    let none = backend.organization(&id("org_none")).await;
    assert_eq!(none.unwrap_err(), BackendError::Unknown);
}

#[tokio::test]
async fn what_is_changed_is_changed_and_told() {
    let (double, backend) = stand_in(2).await;
    let (one, user) = (id("org_one"), id("user_one_0"));
    let changed = backend.set_role(&one, &user, "org:studio_manager").await;
    assert_eq!(changed.unwrap().role, "org:studio_manager");
    let refused = backend.set_role(&one, &user, "emperor").await.unwrap_err();
    let code = "form_param_value_invalid".to_owned();
    assert_eq!(refused, BackendError::Refused { status: 422, code });
    let unknown = backend.set_role(&one, &id("user_two_0"), "org:x").await;
    assert_eq!(unknown.unwrap_err(), BackendError::Unknown);

    // Twice is once.
    backend.remove(&one, &user).await.unwrap();
    backend.remove(&one, &user).await.unwrap();
    assert_eq!(backend.memberships(&one).await.unwrap().len(), 1);

    let sessions = backend.sessions(&user).await.unwrap();
    assert_eq!(sessions[0].id.as_str(), "sess_one_0");
    backend.revoke_session(&sessions[0].id).await.unwrap();
    assert_eq!(backend.sessions(&user).await.unwrap(), []);
    backend.revoke_session(&id("sess_none")).await.unwrap();

    let invite = backend.invite(&one, "bo@example.test", "org:freelancer", Some(&user));
    let invitation = invite.await.unwrap();
    assert_eq!(invitation.email.unwrap().expose(), "bo@example.test");
    let again = backend.invite(&one, "bo@example.test", "org:freelancer", None);
    let code = "duplicate_record".to_owned();
    assert_eq!(
        again.await.unwrap_err(),
        BackendError::Refused { status: 400, code }
    );

    let told: Vec<String> = double
        .take_events()
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        told,
        [
            "organizationMembership.updated",
            "organizationMembership.deleted",
            "session.revoked",
            "organizationInvitation.created",
        ]
    );
    assert!(double.take_events().is_empty());
}

#[tokio::test]
async fn what_the_stand_in_tells_is_a_delivery() {
    let (double, backend) = stand_in(1).await;
    backend
        .remove(&id("org_one"), &id("user_one_0"))
        .await
        .unwrap();
    let events = double.take_events();
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signer = Arc::new(Signer::new(&[secret]).unwrap());
    let receiver = Arc::clone(&signer);
    let take = move |headers: HeaderMap, body: String| async move {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let delivery = receiver.verify(Headers::of(pairs).unwrap(), body.as_bytes(), &clock());
        match delivery.unwrap().event().unwrap().event {
            Event::MembershipDeleted(was) if was.subject.as_str() == "user_one_0" => {
                StatusCode::NO_CONTENT
            }
            _ => StatusCode::IM_A_TEAPOT,
        }
    };
    let address = serve(Router::new().route("/hook", post(take))).await;
    let url = format!("http://{address}/hook");
    let outbound = outbound(address);
    let status = double.deliver(&outbound, &url, &signer, &events[0]);
    assert_eq!(status.await.unwrap(), 204);
}

#[tokio::test]
async fn another_key_is_refused_and_none_prints() {
    let double = double();
    let address = serve(double.router(people(1))).await;
    let other = backend(address, SECRET.into(), clock());
    let refused = other.memberships(&id("org_one")).await.unwrap_err();
    assert_eq!(refused, BackendError::Unauthorized);
    assert!(!format!("{other:?} {refused:?} {refused}").contains("0123"));
    assert!(other.is_development());
    for wrong in [
        "",
        "sk_live_",
        "sk_live_short",
        "pk_live_0123456789abcdef",
        "sk_test_0123456789abcdef\r\nx: y",
    ] {
        let refused = Backend::new(outbound(address), wrong.into(), clock()).err();
        assert_eq!(refused, Some(BackendError::Secret), "{wrong}");
    }
    let live = Backend::new(
        outbound(address),
        "sk_live_0123456789abcdef".into(),
        clock(),
    )
    .unwrap();
    assert!(!live.is_development());
}

/// Status, `retry-after` and body.
type Scripted = (u16, &'static str, String);

/// Answers what it is told to, one after the other, and remembers what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    asked: Arc<Mutex<Vec<String>>>,
    later_s: Arc<AtomicI64>,
}

impl Script {
    async fn open(answers: Vec<(u16, String)>) -> (Self, Backend) {
        let answers = answers.into_iter().map(|(status, body)| (status, "", body));
        let script = Self {
            answers: Arc::new(Mutex::new(answers.collect())),
            ..Self::default()
        };
        let backend = script.backend().await;
        (script, backend)
    }

    async fn backend(&self) -> Backend {
        let router = Router::new().fallback(scripted).with_state(self.clone());
        let (later_s, start) = (Arc::clone(&self.later_s), clock().now());
        let moving = Clock::from_fn(move || {
            start + Duration::from_secs(later_s.load(Ordering::SeqCst).unsigned_abs())
        });
        backend(serve(router).await, SECRET.into(), moving)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn scripted(State(script): State<Script>, request: Request) -> Response {
    assert_eq!(
        request.headers()["authorization"],
        format!("Bearer {SECRET}")
    );
    assert_eq!(request.headers()["clerk-api-version"], "2025-04-10");
    script.asked.lock().unwrap().push(request.uri().to_string());
    let (status, retry_after, body) = script.answers.lock().unwrap().pop_front().unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    match retry_after {
        "" => (status, body).into_response(),
        seconds => (status, [("retry-after", seconds)], body).into_response(),
    }
}

fn row(organization: &str, user: usize) -> Value {
    json!({
        "id": format!("orgmem_{user}"), "role": "org:x", "organization": { "id": organization }, "updated_at": 1,
        "public_user_data": { "user_id": format!("user_{user}") },
    })
}

fn page(total: usize, users: std::ops::Range<usize>) -> (u16, String) {
    let data: Vec<Value> = users.map(|user| row("org_one", user)).collect();
    (
        200,
        json!({ "data": data, "total_count": total }).to_string(),
    )
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again_and_never_taken_in_part() {
    let path = "/v1/organizations/org_one/memberships?order_by=%2Bcreated_at&limit=100";
    let (first, second) = (format!("{path}&offset=0"), format!("{path}&offset=100"));
    let (script, backend) = Script::open(vec![
        page(150, 0..100),
        // Somebody of the first page left: one who moved up to it is on no page.
        page(149, 101..150),
        // Somebody left and somebody came: the number is the same, and the same one is missing.
        page(149, 0..100),
        page(149, 101..150),
        page(149, 1..101),
        page(149, 101..150),
        page(149, 1..101),
        page(149, 101..150),
    ])
    .await;
    let list = backend.memberships(&id("org_one")).await.unwrap();
    let has = |user: &str| list.iter().any(|one| one.subject.as_str() == user);
    assert!(list.len() == 149 && has("user_100") && !has("user_0"));
    assert_eq!(script.asked(), [&*first, &*second].repeat(4));

    // A list of one page is read once.
    let (script, backend) = Script::open(vec![page(100, 0..100)]).await;
    assert_eq!(
        backend.memberships(&id("org_one")).await.unwrap().len(),
        100
    );
    assert_eq!(script.asked(), [first]);

    for wrong in [
        // Short, long, twice the same, empty in between.
        vec![page(3, 0..2), page(3, 0..0)],
        vec![page(1, 0..2)],
        vec![page(150, 0..100), page(150, 99..149)],
        vec![page(150, 0..100), page(150, 0..0)],
    ] {
        let (script, backend) = Script::open(vec![wrong; 4].concat()).await;
        let refused = backend.memberships(&id("org_one")).await.unwrap_err();
        assert_eq!(refused, BackendError::Changing, "{:?}", script.asked());
    }
}

#[tokio::test]
async fn an_answer_that_is_not_as_it_should_be_is_not_used() {
    let one = |data: Value| json!({ "data": [data], "total_count": 1 }).to_string();
    let mut no_role = row("org_one", 1);
    no_role["role"] = json!(null);
    for body in [
        String::new(),
        "[]".into(),
        "{}".into(),
        one(json!({})),
        one(no_role),
        one(row("org_two", 1)),
        one(row("org|one", 1)),
        one(row("org_one", 1)).replace("\"total_count\":1", "\"total_count\":1,\"total_count\":1"),
        json!({ "data": [], "total_count": -1 }).to_string(),
    ] {
        let (_, backend) = Script::open(vec![(200, body.clone())]).await;
        let refused = backend.memberships(&id("org_one")).await.unwrap_err();
        assert_eq!(refused, BackendError::Malformed, "{body}");
        assert_eq!(Fault::from(refused).kind(), Kind::Bug);
    }
    let (_, backend) = Script::open(vec![page(10_001, 0..100)]).await;
    let refused = backend.memberships(&id("org_one")).await.unwrap_err();
    assert_eq!(refused, BackendError::TooLong);
    let session =
        json!({ "id": "sess_1", "user_id": "user_2", "status": "active", "updated_at": 1 });
    let (_, backend) = Script::open(vec![(200, one(session))]).await;
    let refused = backend.sessions(&id("user_1")).await.unwrap_err();
    assert_eq!(refused, BackendError::Malformed, "another's session");
    let refusal = json!({ "errors": [{ "code": "a\nb" }] }).to_string();
    let (_, backend) = Script::open(vec![(400, refusal)]).await;
    let refused = backend.organization(&id("org_one")).await.unwrap_err();
    let code = "ab".to_owned();
    assert_eq!(refused, BackendError::Refused { status: 400, code });
}

#[tokio::test]
async fn whoever_is_told_to_wait_asks_nothing_meanwhile() {
    for (said, wait_s) in [("7", 7), ("", 10), ("soon", 10), ("0", 1), ("99999", 300)] {
        let script = Script::default();
        let organization = json!({ "id": "org_one", "name": "One", "updated_at": 1 }).to_string();
        script
            .answers
            .lock()
            .unwrap()
            .extend([(429, said, String::new()), (200, "", organization)]);
        let backend = script.backend().await;
        for asked in 0..3 {
            let refused = backend.organization(&id("org_one")).await.unwrap_err();
            assert_eq!(
                refused,
                BackendError::TooMany {
                    retry_after_s: wait_s
                }
            );
            let fault = Fault::from(refused);
            assert_eq!(
                (fault.kind(), fault.retry_after_s()),
                (Kind::Unavailable, Some(wait_s))
            );
            assert_eq!(script.asked().len(), 1, "{asked}");
        }
        script.later_s.store(i64::from(wait_s), Ordering::SeqCst);
        assert!(backend.organization(&id("org_one")).await.is_ok(), "{said}");
    }
}
