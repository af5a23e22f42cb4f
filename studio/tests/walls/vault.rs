//! Sealed values and their keys, in the database that holds them.

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use studio::{
    app::App,
    config::{Config, Provider},
};
use tokio::net::TcpListener;
use watertight_tenancy::support::state;
use watertight_terms::{Clock, Key, KeyFile, KeyRing, Random};

use crate::world::{World, verifier};

/// A new artist with an address, by the owner of that studio.
async fn artist(world: &World, studio: usize, email: &str) -> String {
    let body = json!({ "name": "Mia", "email": email, "phone": "+49 30 1" });
    let owner = world.token(studio, "owner");
    let (status, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    assert_eq!(status, 201, "{artist}");
    artist["id"].as_str().unwrap().to_owned()
}

/// What the owner of that studio is answered; the document knows no 500, so it is not held against it.
async fn seen(world: &World, studio: usize, id: &str) -> (u16, Value) {
    let asked = world.http.get(format!("{}/v1/artists/{id}", world.base));
    let answer = asked.bearer_auth(world.token(studio, "owner")).send();
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_value_that_was_moved_opens_nowhere_and_back_in_its_place_it_does() {
    let world = World::new().await;
    let (one, two) = (
        artist(&world, 0, "one@example.org").await,
        artist(&world, 0, "two@example.org").await,
    );
    let foreign = artist(&world, 1, "three@example.org").await;
    let raw = world.as_admin().await;
    // The database itself refuses what is not sealed, but for whoever runs it.
    let clear = format!("UPDATE studio.artists SET email = 'one@example.org' WHERE id = '{one}'");
    let refused = raw.run(&clear, &[]).await.unwrap_err();
    assert_eq!(state(&refused), "ZT041");
    raw.script("SET session_replication_role = replica; CREATE TABLE public.kept AS SELECT * FROM studio.artists")
        .await
        .unwrap();
    assert_eq!(seen(&world, 0, &one).await.1["email"], "one@example.org");
    for moved in [
        format!("email = (SELECT email FROM public.kept WHERE id = '{two}')"),
        format!("email = (SELECT email FROM public.kept WHERE id = '{foreign}')"),
        "email = phone".to_owned(),
        "email = substr(email, 1, length(email) - 1)".to_owned(),
        "email = set_byte(email, 20, get_byte(email, 20) # 1)".to_owned(),
        "email = 'one@example.org'".to_owned(),
    ] {
        let move_it = format!("UPDATE studio.artists SET {moved} WHERE id = '{one}'");
        raw.script(&move_it).await.unwrap();
        let (status, answer) = seen(&world, 0, &one).await;
        assert_eq!(status, 500, "{moved}");
        assert!(!answer.to_string().contains("example"), "{answer}");
        let back =
            "UPDATE studio.artists a SET email = k.email FROM public.kept k WHERE k.id = a.id";
        raw.script(back).await.unwrap();
        assert_eq!(seen(&world, 0, &one).await.1["email"], "one@example.org");
    }
}

#[tokio::test]
async fn a_persons_destroyed_key_takes_that_person_alone() {
    let world = World::new().await;
    let (gone, left) = (
        artist(&world, 0, "gone@example.org").await,
        artist(&world, 0, "left@example.org").await,
    );
    // Both were opened, so both keys are held in memory.
    assert_eq!(seen(&world, 0, &gone).await.1["email"], "gone@example.org");
    let destroy = format!("DELETE FROM vault.person_keys WHERE person = '{gone}'");
    world.as_admin().await.script(&destroy).await.unwrap();
    assert_eq!(seen(&world, 0, &gone).await.0, 500);
    assert_eq!(seen(&world, 0, &left).await.1["email"], "left@example.org");
}

const KEYS: &str =
    "SELECT (SELECT count(*) FROM vault.studio_keys) + (SELECT count(*) FROM vault.person_keys)";

#[tokio::test]
async fn a_studio_sees_its_own_wrapped_keys_and_sql_makes_and_destroys_none() {
    let world = World::new().await;
    artist(&world, 0, "one@example.org").await;
    artist(&world, 1, "two@example.org").await;
    let raw = world.as_app().await;
    for studio in [0, 1] {
        raw.script("BEGIN").await.unwrap();
        let context = world.context(studio, "owner");
        raw.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let own: i64 = raw.value(KEYS, &[]).await.unwrap();
        assert_eq!(own, 2, "one of the studio, one of the artist");
        raw.script("ROLLBACK").await.unwrap();
    }
    let unbound: i64 = raw.value(KEYS, &[]).await.unwrap();
    assert_eq!(unbound, 0);
    for (sql, refused) in [
        (
            "INSERT INTO vault.studio_keys (tenant_id, number, wrapping_key, wrapped) VALUES (tenancy.tenant_id(), 9, 1, repeat('x', 60)::bytea)",
            "42501",
        ),
        (
            "INSERT INTO vault.person_keys (tenant_id, person, number, studio_key, wrapped) VALUES (tenancy.tenant_id(), gen_random_uuid(), 9, 1, repeat('x', 60)::bytea)",
            "42501",
        ),
        ("UPDATE vault.studio_keys SET wrapped = wrapped", "42501"),
        ("DELETE FROM vault.person_keys", "42501"),
        ("SELECT * FROM vault.wrapping_keys", "42501"),
        (
            "SELECT vault.keep_studio_key(concat_ws('|', 'k1', 1, tenancy.tenant_id(), 9, 1, repeat('ab', 60), 9999999999, '00', '00'))",
            "ZT002",
        ),
        (
            "SELECT vault.keep_person_key(concat_ws('|', 'k2', 1, tenancy.tenant_id(), gen_random_uuid(), 9, 1, repeat('ab', 60), 9999999999, '00', '00'))",
            "ZT002",
        ),
        (
            "SELECT vault.note_wrapping_key('w2|1|9|abab|9999999999|00|00')",
            "ZT002",
        ),
        (
            "SELECT * FROM vault.wrapping_keys_known('w1|1|9999999999|00|00')",
            "ZT002",
        ),
    ] {
        raw.script("BEGIN").await.unwrap();
        let context = world.context(0, "owner");
        raw.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let error = raw.run(sql, &[]).await.unwrap_err();
        assert_eq!(state(&error), refused, "{sql}: {error:?}");
        raw.script("ROLLBACK").await.unwrap();
    }
}

/// A server over the same database whose ring `vault` is another.
fn with_ring(world: &World, ring: KeyRing) -> App {
    let location = world.config.keys.location.with_file_name("other-keys.toml");
    let file = KeyFile::read(&world.config.keys.location).unwrap();
    let text = file.with("vault", ring).to_text();
    studio::commands::write_private(&location, &text).unwrap();
    let mut config = world.config.clone();
    config.keys.location = location;
    let (verifier, random) = (verifier(&world.double), Random::system());
    App::new(config, verifier, Clock::system(), random).unwrap()
}

/// Runs `studio doctor` with further variables; gives its code and what it found of the keys.
async fn doctor(world: &World, variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = world.command(&["doctor"]);
    command.envs(variables.iter().copied());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let done = done.unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (done.status.code().unwrap(), said)
}

#[tokio::test]
async fn doctor_opens_a_value_with_each_key_encryption_key() {
    let world = World::new().await;
    artist(&world, 0, "one@example.org").await;
    let (_, said) = doctor(&world, &[]).await;
    assert!(!said.contains("vault-keys"), "{said}");
    with_ring(&world, KeyRing::single(1, Key::new([9; 32])));
    let other = world.config.keys.location.with_file_name("other-keys.toml");
    let other = other.display().to_string();
    let (code, said) = doctor(&world, &[("STUDIO_KEYS_LOCATION", &other)]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("vault-keys") && said.contains("key 1 is not the one"),
        "{said}"
    );
}

/// The ring `vault` in a variable instead of the file.
#[tokio::test]
async fn a_variable_of_the_environment_holds_the_keys_where_the_configuration_says_so() {
    let world = World::new().await;
    artist(&world, 0, "one@example.org").await;
    let text = std::fs::read_to_string(&world.config.keys.location).unwrap();
    let (_, ring) = text.split_once("[vault]\n").unwrap();
    let ring = ring.split("\n[").next().unwrap();
    let other = format!("current = 1\n1 = \"{}\"\n", "09".repeat(32));
    let by = |ring: &str| {
        let variables = [
            ("STUDIO_KEYS_PROVIDER", "env"),
            ("STUDIO_KEYS_VARIABLE", "RING"),
        ];
        let ring = ring.to_owned();
        let world = &world;
        async move { doctor(world, &[variables[0], variables[1], ("RING", &ring)]).await }
    };
    let (_, said) = by(ring).await;
    assert!(!said.contains("vault-keys"), "{said}");
    let (code, said) = by(&other).await;
    assert!(code == 1 && said.contains("key 1 is not the one"), "{said}");
    let (code, said) = by("").await;
    assert!(code != 0, "{said}");
}

/// Keeps what it wraps as it is, under its context: for a test.
const HOLDER: &str = r#"#!/bin/sh
question=$(cat)
of() { printf '%s' "$question" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
hex() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; }
case "$question" in
  *'"do":"current"'*) echo '{"number":1}' ;;
  *'"key":'*) echo '{"wrapped":"'$(hex "$(of context)|padding of bytes")$(of key)'"}' ;;
  *) context=$(hex "$(of context)|padding of bytes"); wrapped=$(of wrapped)
    case "$wrapped" in
      "$context"*) echo '{"key":"'${wrapped#"$context"}'"}' ;;
      *) echo '{"wrong":true}' ;;
    esac ;;
esac
"#;

/// A server whose keys others hold, as if nothing had been sealed yet.
async fn held(world: &World, config: Config) -> App {
    let raw = world.as_admin().await;
    raw.script("TRUNCATE vault.wrapping_keys, vault.person_keys, vault.studio_keys; DELETE FROM tenancy.answers;
         UPDATE tenancy.members SET email = NULL, email_index = NULL; SET session_replication_role = replica;
         UPDATE studio.artists SET email = NULL, phone = NULL, legal_name = NULL, tax_id = NULL, address = NULL, bank = NULL")
        .await
        .unwrap();
    let verifier = verifier(&world.double);
    App::new(config, verifier, Clock::system(), Random::system()).unwrap()
}

/// It seals and opens, and a server without that holder does not start.
async fn seals_and_opens(world: &mut World, app: &App) {
    app.examine().await.unwrap();
    world.base = crate::world::serve(app).await;
    let id = artist(world, 0, "one@example.org").await;
    assert_eq!(seen(world, 0, &id).await.1["email"], "one@example.org");
    refuses_to_start(&world.app).await;
}

async fn refuses_to_start(app: &App) {
    let refused = app.examine().await.unwrap_err().to_string();
    assert!(refused.contains("refusing to start"), "{refused}");
}

#[tokio::test]
async fn a_command_holds_the_keys_where_the_configuration_says_so() {
    let mut world = World::new().await;
    let program = world.config.keys.location.with_file_name("holder.sh");
    studio::commands::write_private(&program, HOLDER).unwrap();
    let mut config = world.config.clone();
    config.keys.provider = Provider::Command;
    config.keys.command = vec!["/bin/sh".to_owned(), program.display().to_string()];
    let app = held(&world, config).await;
    seals_and_opens(&mut world, &app).await;
    std::fs::write(&program, "exit 3").unwrap();
    refuses_to_start(&app).await;
}

/// The same as a service, for who says the word.
async fn holder(headers: HeaderMap, body: String) -> Result<String, StatusCode> {
    let said = headers.get("authorization");
    if said.is_none_or(|said| said != "Bearer open sesame") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let question: Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| question[name].as_str().unwrap_or_default().to_owned();
    let bound = hex::encode(text("context") + "|padding of bytes");
    let answer = match question["do"].as_str() {
        Some("current") => json!({ "number": 1 }),
        Some("wrap") => json!({ "wrapped": bound + &text("key") }),
        _ => match text("wrapped").strip_prefix(&bound) {
            Some(key) => json!({ "key": key }),
            None => json!({ "wrong": true }),
        },
    };
    Ok(answer.to_string())
}

#[tokio::test]
async fn a_service_holds_the_keys_where_the_configuration_says_so() {
    let mut world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/keys", post(holder));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let token = world.config.keys.location.with_file_name("holder.token");
    studio::commands::write_private(&token, "open sesame\n").unwrap();
    let mut config = world.config.clone();
    config.keys.provider = Provider::Http;
    config.keys.url = format!("http://{address}/keys");
    config.keys.token_file = Some(token.clone());
    // A private address is reached where it is allowed alone.
    refuses_to_start(&held(&world, config.clone()).await).await;
    config.outbound.allow = vec![address];
    let app = held(&world, config.clone()).await;
    seals_and_opens(&mut world, &app).await;
    std::fs::write(&token, "guess").unwrap();
    let verifier = verifier(&world.double);
    let app = App::new(config, verifier, Clock::system(), Random::system()).unwrap();
    refuses_to_start(&app).await;
}

#[tokio::test]
async fn a_server_with_a_wrong_or_a_lost_key_encryption_key_does_not_start() {
    let world = World::new().await;
    world.app.examine().await.unwrap();
    let id = artist(&world, 0, "one@example.org").await;
    let key = |byte| Key::new([byte; 32]);
    for (ring, why) in [
        (KeyRing::single(1, key(9)), "key 1 is not the one"),
        (KeyRing::single(2, key(9)), "no key-encryption key 1"),
        (
            KeyRing::single(1, key(9)).rotated(2, key(8)),
            "key 1 is not the one",
        ),
    ] {
        let other = with_ring(&world, ring);
        let refused = other.examine().await.unwrap_err().to_string();
        assert!(
            refused.contains("refusing to start") && refused.contains(why),
            "{refused}"
        );
    }
    // With a second key beside the right one it starts; what it seals the first alone cannot open.
    let file = KeyFile::read(&world.config.keys.location).unwrap();
    let ring = file.ring("vault").unwrap().clone();
    with_ring(&world, ring.clone().rotated(2, key(8)))
        .examine()
        .await
        .unwrap();
    let refused = with_ring(&world, ring)
        .examine()
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no key-encryption key 2"), "{refused}");
    assert_eq!(seen(&world, 0, &id).await.1["email"], "one@example.org");
}
