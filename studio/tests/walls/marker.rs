//! A word that is written into every personal field by every way in, and is then found nowhere.

use std::{
    io,
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use watertight_terms::Clock;

use crate::{
    webhooks::{deliver, membership},
    world::{Answered, World},
};

const MARKER: &str = "Quokka7f3a";

/// Where the personal fields of a body stand, by the API's document.
const WAYS_IN: [&str; 3] = [
    "patch /v1/artists/{id}: address bank email legal_name phone tax_id",
    "post /v1/artists: address bank email legal_name phone tax_id",
    "post /v1/members: email",
];

/// What is logged while a test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// As text, whatever its case, and as bytea or base64 would show it.
fn is_in(text: &str) -> bool {
    let forms = [
        MARKER.to_lowercase(),
        hex::encode(MARKER),
        hex::encode(MARKER.to_lowercase()),
        BASE64_STANDARD_NO_PAD.encode(MARKER).to_lowercase(),
    ];
    let text = text.to_lowercase();
    forms.iter().any(|form| text.contains(form))
}

fn dump(world: &World) -> String {
    let mut places: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|folder| folder.unwrap().path().join("bin/pg_dump"))
        .collect();
    places.sort();
    let newest = places.pop().unwrap_or_else(|| "pg_dump".into());
    let dumped = Command::new(newest)
        .arg(world.admin.expose_secret())
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    String::from_utf8(dumped.stdout).unwrap()
}

/// One that is added must be added here, too.
#[test]
fn the_ways_in_are_those_of_the_document() {
    let personal: Vec<&str> = studio::resources::personal_columns()
        .into_iter()
        .map(|(_, column)| column)
        .collect();
    let document = studio::resources::document();
    let mut ways = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if let Some(name) = schema["$ref"].as_str() {
                schema = document.pointer(name.trim_start_matches('#')).unwrap();
            }
            let Some(fields) = schema["properties"].as_object() else {
                continue;
            };
            let mut fields: Vec<&str> = fields.keys().map(String::as_str).collect();
            fields.retain(|field| personal.contains(field));
            fields.sort_unstable();
            if !fields.is_empty() {
                ways.push(format!("{method} {path}: {}", fields.join(" ")));
            }
        }
    }
    ways.sort();
    assert_eq!(ways, WAYS_IN);
}

fn artist() -> Value {
    json!({
        "name": "Mia", "email": format!("{MARKER}@example.org"), "phone": MARKER, "legal_name": MARKER,
        "tax_id": MARKER, "address": MARKER, "bank": MARKER,
    })
}

async fn post(world: &World, path: &str, key: &str, body: Value) -> Answered {
    let owner = world.token(0, "owner");
    let headers = [("idempotency-key", key)];
    world.ask("POST", path, &owner, &headers, Some(body)).await
}

#[tokio::test]
async fn what_is_written_into_personal_fields_is_found_nowhere() {
    let log = Log::default();
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(logging);
    let world = World::new().await;
    let owner = world.token(0, "owner");
    // It comes back to whoever may see it, so it got in.
    let made = post(&world, "/v1/artists", "marker-key-0000001", artist()).await;
    assert_eq!(made.status, 201);
    assert!(is_in(&made.body.to_string()));
    let own = format!("/v1/artists/{}", made.body["id"].as_str().unwrap());
    let (status, _) = world.send("PATCH", &own, &owner, Some(artist())).await;
    assert_eq!(status, 200);
    let invited = json!({ "email": format!("{MARKER}@example.org"), "role": "freelancer" });
    let answer = post(&world, "/v1/members", "marker-key-0000002", invited.clone()).await;
    assert_eq!(answer.status, 202);
    // By Clerk, of somebody new.
    let organization = &world.studios[0].organization;
    let at_ms = Clock::system().now_s() * 1000;
    let event = membership(
        "created",
        organization,
        "user_quite_new",
        "org:freelancer",
        at_ms,
    )
    .replace("ines@example.org", &format!("{MARKER}@example.com"));
    let told = deliver(&world, "svix", "msg_1", &event, &world.webhook_secret).await;
    assert_eq!(told, 204);
    // Refusals do not repeat it.
    let too_long = MARKER.repeat(50);
    for (method, path, body, expected) in [
        ("POST", "/v1/members", invited, 409),
        (
            "POST",
            "/v1/members",
            json!({ "email": MARKER, "role": "freelancer" }),
            422,
        ),
        (
            "POST",
            "/v1/artists",
            json!({ "name": "Mia", "phone": too_long }),
            422,
        ),
        (
            "POST",
            "/v1/artists",
            json!({ "name": "Mia", "bank": format!("{MARKER}\u{7}") }),
            422,
        ),
        ("PATCH", own.as_str(), json!({ "tax_id": [MARKER] }), 400),
        (
            "PATCH",
            own.as_str(),
            json!({ "address": too_long.repeat(9) }),
            422,
        ),
    ] {
        let refused = world.ask(method, path, &owner, &[], Some(body)).await;
        assert_eq!(
            refused.status, expected,
            "{method} {path}: {:?}",
            refused.body
        );
        assert!(!is_in(&refused.body.to_string()), "{:?}", refused.body);
    }
    let manager = world.token(0, "manager");
    let (_, list) = world.send("GET", "/v1/artists", &manager, None).await;
    assert!(!is_in(&list.to_string()), "lists carry none");
    let dumped = dump(&world);
    assert!(
        dumped.contains("Mia") && dumped.contains("artist.create"),
        "rows and entries are in it"
    );
    for line in dumped.lines() {
        assert!(!is_in(line), "{line}");
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!logged.is_empty(), "something is logged");
    for line in logged.lines() {
        assert!(!is_in(line), "{line}");
    }
}
