//! What deliveries say, and which headers carry them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use watertight_identity::{
    objects::SessionStatus,
    webhook::{Event, Headers, Received, Signer},
};
use watertight_terms::{Clock, Fault, Kind};

const SENT_S: i64 = 1_792_888_200;

fn signer() -> Signer {
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    Signer::new(&[secret]).unwrap()
}

/// Signs a body, and reads it as a delivery.
fn deliver(body: &[u8]) -> Result<Received, Fault> {
    let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().unwrap());
    let signature = signer().sign("msg_1", SENT_S, body);
    let headers = Headers {
        id: Some("msg_1"),
        timestamp: Some("1792888200"),
        signature: Some(&signature),
    };
    signer().verify(headers, body, &clock).unwrap().event()
}

fn event(kind: &str, data: Value) -> Result<Received, Fault> {
    deliver(envelope(kind, data).to_string().as_bytes())
}

fn envelope(kind: &str, data: Value) -> Value {
    json!({
        "object": "event", "type": kind, "timestamp": 1_792_888_200_123_i64, "instance_id": "ins_1", "data": data,
        "event_attributes": { "http_request": { "client_ip": "0.0.0.0", "user_agent": "x" } },
    })
}

fn membership() -> Value {
    json!({
        "object": "organization_membership", "id": "orgmem_1", "role": "org:studio_owner", "role_name": "Owner",
        "permissions": ["org:a:b"], "public_metadata": {}, "private_metadata": {},
        "organization": { "object": "organization", "id": "org_1", "name": "Acme", "updated_at": 1 },
        "public_user_data": { "user_id": "user_1", "first_name": "Ada", "last_name": null, "identifier": "ada@example.test" },
        "created_at": 1_716_883_200_000_i64, "updated_at": 1_716_883_500_000_i64,
    })
}

fn user() -> Value {
    json!({
        "object": "user", "id": "user_1", "first_name": "Ada", "last_name": "L", "primary_email_address_id": "idn_2",
        "email_addresses": [
            { "id": "idn_1", "email_address": "old@example.test" },
            { "id": "idn_2", "email_address": "ada@example.test" },
        ],
        "banned": false, "updated_at": 1_716_883_500_000_i64,
    })
}

fn session(status: &str) -> Value {
    json!({ "object": "session", "id": "sess_1", "user_id": "user_1", "status": status, "updated_at": 5 })
}

fn invitation() -> Value {
    json!({
        "object": "organization_invitation", "id": "orginv_1", "organization_id": "org_1", "role": "org:freelancer",
        "email_address": "bo@example.test", "status": "accepted", "user_id": "user_2", "updated_at": 6,
    })
}

#[test]
fn a_membership_is_read_with_its_envelope() {
    let received = event("organizationMembership.updated", membership()).unwrap();
    assert_eq!(received.at_ms, Some(1_792_888_200_123));
    assert_eq!(received.kind, "organizationMembership.updated");
    assert_eq!(received.instance.unwrap().as_str(), "ins_1");
    let Event::MembershipUpdated(membership) = received.event else {
        panic!("{:?}", received.event)
    };
    assert_eq!(membership.organization.as_str(), "org_1");
    assert_eq!(membership.subject.as_str(), "user_1");
    assert_eq!(membership.role, "org:studio_owner");
    assert_eq!(membership.updated_at_ms, 1_716_883_500_000);
    assert_eq!(membership.name.as_ref().unwrap().expose(), "Ada");
    let identifier = membership.identifier.as_ref().unwrap();
    assert_eq!(identifier.expose(), "ada@example.test");
    // Who it is does not get into a log by chance.
    let printed = format!("{membership:?}");
    assert!(
        !printed.contains("Ada") && !printed.contains('@'),
        "{printed}"
    );
}

#[test]
fn every_event_that_the_product_needs_is_read() {
    let gone = |object: &str, id: &str| json!({ "object": object, "id": id, "deleted": true });
    let organization =
        json!({ "object": "organization", "id": "org_1", "name": "Acme", "updated_at": 4 });
    let cases = [
        ("user.created", user()),
        ("user.updated", user()),
        ("user.deleted", gone("user", "user_1")),
        ("organization.created", organization.clone()),
        ("organization.updated", organization),
        ("organization.deleted", gone("organization", "org_1")),
        ("organizationMembership.created", membership()),
        ("organizationMembership.updated", membership()),
        ("organizationMembership.deleted", membership()),
        ("organizationInvitation.created", invitation()),
        ("organizationInvitation.accepted", invitation()),
        ("organizationInvitation.revoked", invitation()),
        ("session.created", session("active")),
        ("session.pending", session("pending")),
        ("session.ended", session("ended")),
        ("session.removed", session("removed")),
        ("session.revoked", session("revoked")),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (kind, data) in cases {
        let read = event(kind, data).unwrap().event;
        assert!(!matches!(read, Event::Unknown(_)), "{kind}");
        let printed = format!("{read:?}");
        let (variant, _) = printed.split_once('(').unwrap();
        assert!(seen.insert(variant.to_owned()), "{kind} is read as another");
    }
    assert_eq!(seen.len(), 17);
}

#[test]
fn a_user_has_the_primary_address_and_no_other() {
    let read = |data| match event("user.updated", data).unwrap().event {
        Event::UserUpdated(user) => user,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(user()).email.unwrap().expose(), "ada@example.test");
    assert_eq!(read(user()).name.unwrap().expose(), "Ada L");
    for primary in [json!(null), json!("idn_9")] {
        let mut changed = user();
        changed["primary_email_address_id"] = primary;
        assert_eq!(read(changed).email, None);
    }
    // A name that is too long hides nobody's change.
    let mut long = user();
    long["first_name"] = json!("x".repeat(400));
    assert_eq!(read(long).name, None);
}

#[test]
fn what_no_effect_needs_may_be_absent() {
    for (kind, data) in [
        ("user.updated", json!({ "id": "user_1" })),
        ("user.deleted", json!({ "id": "user_1" })),
        (
            "session.revoked",
            json!({ "id": "sess_1", "user_id": "user_1" }),
        ),
        (
            "organizationMembership.created",
            json!({ "organization": { "id": "org_1" }, "public_user_data": { "user_id": "user_1" }, "role": "org:x", "updated_at": 1 }),
        ),
    ] {
        let body = json!({ "type": kind, "data": data }).to_string();
        let received = deliver(body.as_bytes()).unwrap();
        assert!(!matches!(received.event, Event::Unknown(_)), "{kind}");
        assert_eq!((received.at_ms, received.instance), (None, None));
    }
}

#[test]
fn a_status_that_is_not_known_is_not_active() {
    let Event::SessionEnded(session) = event("session.ended", session("asleep")).unwrap().event
    else {
        panic!("another event")
    };
    assert_eq!(session.status, SessionStatus::Unknown);
}

#[test]
fn another_type_is_no_mistake() {
    for (kind, name) in [
        ("email.created", "email.created"),
        ("role.updated", "role.updated"),
        ("user.created\nforged", "user.created?forged"),
        (&"x".repeat(500), &"x".repeat(64)),
    ] {
        let read = event(kind, json!({ "anything": [1, { "a": null }] })).unwrap();
        assert_eq!(read.event, Event::Unknown(name.to_owned()));
    }
}

#[test]
fn a_time_is_in_seconds_or_milliseconds() {
    for (written, at_ms) in [
        (json!(1_716_883_200), 1_716_883_200_000),
        (json!(1_716_883_200_123_i64), 1_716_883_200_123),
    ] {
        let mut body = envelope("x", json!({}));
        body["timestamp"] = written;
        let received = deliver(body.to_string().as_bytes()).unwrap();
        assert_eq!(received.at_ms, Some(at_ms));
    }
    for wrong in [
        json!(-1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!("1"),
    ] {
        let mut body = envelope("x", json!({}));
        body["timestamp"] = wrong;
        assert!(deliver(body.to_string().as_bytes()).is_err());
    }
}

#[test]
fn what_is_no_event_is_refused_and_its_values_are_not_logged() {
    let changed = |at: &str, value: Value| {
        let mut body = envelope("organizationMembership.created", membership());
        *body.pointer_mut(at).unwrap() = value;
        body.to_string()
    };
    let good = envelope("organizationMembership.created", membership()).to_string();
    assert!(deliver(good.as_bytes()).is_ok());
    let open = good.strip_suffix('}').unwrap();
    let cases = [
        String::new(),
        "[]".into(),
        "null".into(),
        format!("{good}{good}"),
        format!("{open},\"type\":\"user.deleted\"}}"),
        format!("{open},\"ty\\u0070e\":\"user.deleted\"}}"),
        good.replacen("\"role\":", "\"role\":\"org:studio_owner\",\"role\":", 1),
        changed("/object", json!("evil")),
        changed("/data", json!([])),
        changed("/data/id", json!("orgmem|1")),
        changed("/data/role", json!(null)),
        changed("/data/role", json!("x".repeat(200))),
        changed("/data/organization", json!("org_1")),
        changed("/data/organization/id", json!("org|secret")),
        changed("/data/public_user_data/user_id", json!("")),
        changed("/data/updated_at", json!("ada@example.test")),
        changed("/data/updated_at", json!(-1)),
        changed("/data/updated_at", json!(1.5)),
        changed("/instance_id", json!("ins 1")),
        json!({ "object": "event", "type": "user.deleted", "timestamp": 1, "data": { "id": "user_1", "deleted": false } }).to_string(),
        json!({ "object": "event", "type": "user.deleted", "timestamp": 1, "data": { "deleted": true } }).to_string(),
    ];
    for body in cases {
        let fault = deliver(body.as_bytes()).unwrap_err();
        assert_eq!(
            (fault.kind(), fault.slug()),
            (Kind::Malformed, "malformed-event"),
            "{body}"
        );
        let said = format!("{} {}", fault.spoken(), fault.logged().unwrap_or_default());
        assert!(!said.contains('@') && !said.contains("secret"), "{said}");
    }
}

/// The headers of a request, as an iterator of names and bytes.
fn headers<'a>(pairs: &[(&'a str, &'a str)]) -> Result<Headers<'a>, Fault> {
    Headers::of(pairs.iter().map(|(name, value)| (*name, value.as_bytes())))
}

#[test]
fn either_family_of_headers_is_read_and_both_only_when_they_agree() {
    let svix = [
        ("svix-id", "a"),
        ("svix-timestamp", "1"),
        ("svix-signature", "v1,x"),
    ];
    let standard = [
        ("webhook-id", "a"),
        ("webhook-timestamp", "1"),
        ("webhook-signature", "v1,x"),
    ];
    let expected = Headers {
        id: Some("a"),
        timestamp: Some("1"),
        signature: Some("v1,x"),
    };
    let other = ("user-agent", "x");
    assert_eq!(headers(&[&svix[..], &[other]].concat()).unwrap(), expected);
    assert_eq!(
        headers(&[&standard[..], &[other]].concat()).unwrap(),
        expected
    );
    assert_eq!(headers(&[svix, standard].concat()).unwrap(), expected);
    assert_eq!(headers(&[other]).unwrap(), Headers::default());
    for at in 0..3 {
        let (name, _) = standard[at];
        let mut differs = standard;
        differs[at] = (name, "b");
        assert!(
            headers(&[svix, differs].concat()).is_err(),
            "{name} differs"
        );
        let mut lacks = standard.to_vec();
        lacks.remove(at);
        assert!(
            headers(&[&svix[..], &lacks].concat()).is_err(),
            "{name} lacks"
        );
        let mut mixed = svix.to_vec();
        mixed[at] = standard[at];
        assert!(headers(&mixed).is_err(), "{name} of the other family");
        let twice = [&svix[..], &[svix[at]]].concat();
        assert!(headers(&twice).is_err(), "twice");
    }
    let long = "x".repeat(1_025);
    assert!(headers(&[("svix-signature", &long)]).is_err());
    assert!(Headers::of([("svix-id", &b"\xff"[..])]).is_err());
}

#[test]
fn a_body_is_bounded_before_it_is_looked_at() {
    let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().unwrap());
    for (bytes, is_good) in [(256 * 1024, true), (256 * 1024 + 1, false)] {
        let body = vec![b' '; bytes];
        let signature = signer().sign("msg_1", SENT_S, &body);
        let headers = Headers {
            id: Some("msg_1"),
            timestamp: Some("1792888200"),
            signature: Some(&signature),
        };
        assert_eq!(
            signer().verify(headers, &body, &clock).is_ok(),
            is_good,
            "{bytes}"
        );
    }
}

proptest! {
    /// Signed bytes of any kind, and any change of a good event, are read or refused.
    #[test]
    fn any_signed_bytes_are_read_or_refused(bytes: Vec<u8>, at in 0_usize..500, letter: u8) {
        drop(deliver(&bytes));
        let mut body = envelope("organizationMembership.created", membership()).to_string().into_bytes();
        let at = at % body.len();
        body[at] = letter;
        drop(deliver(&body));
    }
}
