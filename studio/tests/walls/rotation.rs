//! A key-encryption key is replaced while the studios work, by the commands that operators run.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use studio::{app::App, jobs::renewal::renew};
use watertight_terms::{Clock, KeyFile, Random};

use crate::world::{World, verifier};

/// A command over the world's database and key file.
fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
    let config = world.config.keys.location.with_file_name("studio.toml");
    command.arg("--config").arg(config).args(arguments);
    command
}

/// Runs it; gives its exit code and what it said.
async fn run(world: &World, arguments: &[&str]) -> (i32, String) {
    let mut command = command(world, arguments);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let done = done.unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// New artists of a studio, each with an address of its own.
async fn artists(world: &World, studio: usize, most: usize) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for number in 0..most {
        let email = format!("artist-{number}@example.org");
        let body = json!({ "name": "Mia", "email": email, "tax_id": "DE 42" });
        let owner = world.token(studio, "owner");
        let (status, artist) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
        assert_eq!(status, 201, "{artist}");
        made.push((artist["id"].as_str().unwrap().to_owned(), email));
    }
    made
}

async fn all_open(world: &World, studio: usize, artists: &[(String, String)]) {
    let owner = world.token(studio, "owner");
    for (id, email) in artists {
        let path = format!("/v1/artists/{id}");
        let (status, artist) = world.send("GET", &path, &owner, None).await;
        assert_eq!((status, &artist["email"]), (200, &json!(email)), "{artist}");
    }
}

async fn count(world: &World, what: &str) -> i64 {
    let raw = world.as_admin().await;
    raw.value(&format!("SELECT count(*) FROM {what}"), &[])
        .await
        .unwrap()
}

const OLD_STUDIOS: &str = "vault.studio_keys WHERE wrapping_key = 1";

#[tokio::test]
async fn after_a_rotation_nothing_needs_the_old_key_and_everything_opens() {
    let world = World::new().await;
    let (here, there) = (artists(&world, 0, 3).await, artists(&world, 1, 2).await);
    let owner = world.token(0, "owner");
    let keyed = [("idempotency-key", "rotation-key-0001")];
    let artist = Some(json!({ "name": "Zoe", "email": "zoe@example.org" }));
    let post = || world.ask("POST", "/v1/artists", &owner, &keyed, artist.clone());
    let first = post().await;
    assert_eq!(first.status, 201);
    let invite = Some(json!({ "email": "ines@example.org", "role": "freelancer" }));
    let invited = world
        .send("POST", "/v1/members", &owner, invite.clone())
        .await;
    assert_eq!(invited.0, 202);
    let old_file = std::fs::read_to_string(&world.config.keys.location).unwrap();
    world.app.examine().await.unwrap();

    let (code, said) = run(&world, &["keys", "retire", "vault", "--id", "1"]).await;
    assert!(code == 1 && said.contains("current one"), "{code} {said}");
    let (code, said) = run(&world, &["keys", "rotate", "vault"]).await;
    assert!(
        code == 0 && said.contains("vault key 2 is current"),
        "{code} {said}"
    );
    // The server that was there all along: what is old opens, what is new needs the new key at once.
    all_open(&world, 0, &here).await;
    assert_eq!(
        count(&world, "vault.studio_keys WHERE wrapping_key = 2").await,
        0
    );
    let new = artists(&world, 0, 1).await;
    assert_eq!(
        count(&world, "vault.studio_keys WHERE wrapping_key = 2").await,
        1
    );
    assert_eq!(count(&world, OLD_STUDIOS).await, 2);
    let again = world
        .send("POST", "/v1/members", &owner, invite.clone())
        .await;
    assert_eq!(again.0, 409, "an address is found under the old key too");
    let (code, said) = run(&world, &["keys", "retire", "vault", "--id", "1"]).await;
    assert!(code == 1 && said.contains("still wraps"), "{code} {said}");

    let (code, said) = run(&world, &["keys", "reseal"]).await;
    assert!(
        code == 0 && said.contains("everything is sealed"),
        "{code} {said}"
    );
    assert_eq!(count(&world, OLD_STUDIOS).await, 0);
    assert_eq!(
        count(
            &world,
            "vault.person_keys WHERE number = 1 AND studio_key = 1"
        )
        .await,
        0
    );
    let (code, said) = run(&world, &["keys", "retire", "vault", "--id", "1"]).await;
    assert_eq!(code, 0, "{said}");

    // Done means: the old key is in no file, and a server that starts now opens everything.
    let file = KeyFile::read(&world.config.keys.location).unwrap();
    assert!(file.ring("vault").unwrap().get(1).is_none());
    let fresh = App::new(
        world.config.clone(),
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    );
    fresh.unwrap().examine().await.unwrap();
    all_open(&world, 0, &here).await;
    all_open(&world, 0, &new).await;
    all_open(&world, 1, &there).await;
    assert_eq!(post().await.body, first.body, "a kept answer, too");
    let again = world.send("POST", "/v1/members", &owner, invite).await;
    assert_eq!(again.0, 409, "the index was renewed with the address");
    for studio in &world.studios {
        let renewed = format!(
            "ledger.entries WHERE body ->> 'action' = 'key.renew' AND tenant_id = '{}'",
            studio.tenant
        );
        assert!(count(&world, &renewed).await > 1, "each step has its entry");
    }
    // And the old file opens nothing: with it nothing starts.
    studio::commands::write_private(&world.config.keys.location, &old_file).unwrap();
    let stale = App::new(
        world.config.clone(),
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    );
    let refused = stale.unwrap().examine().await.unwrap_err().to_string();
    assert!(refused.contains("key 1 was retired"), "{refused}");
}

#[tokio::test]
async fn a_renewal_that_was_killed_goes_on_where_it_was() {
    let world = World::new().await;
    let made = artists(&world, 0, 50).await;
    world.app.examine().await.unwrap();
    assert_eq!(run(&world, &["keys", "rotate", "vault"]).await.0, 0);
    let mut child = command(&world, &["keys", "reseal"]).spawn().unwrap();
    while count(&world, "vault.person_keys WHERE studio_key = 2").await == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
    }
    // SIGKILL.
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let old = count(&world, "vault.person_keys WHERE studio_key = 1").await;
    let new = count(&world, "vault.person_keys WHERE studio_key = 2").await;
    assert!(old > 0 && new > 0, "{old} old, {new} new");
    all_open(&world, 0, &made).await;
    let (code, said) = run(&world, &["keys", "reseal"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(count(&world, OLD_STUDIOS).await, 0);
    assert_eq!(count(&world, "vault.person_keys").await, 50);
    assert_eq!(
        run(&world, &["keys", "retire", "vault", "--id", "1"])
            .await
            .0,
        0
    );
    all_open(&world, 0, &made).await;
}

/// A value that was changed on the disk is named, and keeps no other studio from new keys.
#[tokio::test]
async fn a_value_that_does_not_open_stops_no_other_studio() {
    let world = World::new().await;
    let made = [artists(&world, 0, 1).await, artists(&world, 1, 1).await];
    world.app.examine().await.unwrap();
    // The one whose turn is first.
    let broken = usize::from(world.studios[1].tenant < world.studios[0].tenant);
    let row = &made[broken][0].0;
    let raw = world.as_admin().await;
    raw.script(&format!(
        "SET session_replication_role = replica;
         UPDATE studio.artists SET email = set_byte(email, length(email) - 1, 255 - get_byte(email, length(email) - 1))
           WHERE id = '{row}';
         RESET session_replication_role"
    ))
    .await
    .unwrap();
    assert_eq!(run(&world, &["keys", "rotate", "vault"]).await.0, 0);
    let (code, said) = run(&world, &["keys", "reseal"]).await;
    assert_ne!(code, 0, "{said}");
    let tenant = world.studios[broken].tenant.to_string();
    for part in [tenant.as_str(), "studio.artists.email", row] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let other = world.studios[1 - broken].tenant;
    let old = format!("{OLD_STUDIOS} AND tenant_id = ");
    assert_eq!(count(&world, &format!("{old}'{other}'")).await, 0);
    assert_eq!(count(&world, &format!("{old}'{tenant}'")).await, 1);
    all_open(&world, 1 - broken, &made[1 - broken]).await;
}

/// Edits that read a value before it was renewed and write it afterwards lose nothing.
#[tokio::test]
async fn who_edits_meanwhile_loses_nothing() {
    let world = World::new().await;
    let made = artists(&world, 0, 12).await;
    world.app.examine().await.unwrap();
    assert_eq!(run(&world, &["keys", "rotate", "vault"]).await.0, 0);
    let owner = world.token(0, "owner");
    let edits = async {
        for round in 0..3 {
            for (id, _) in &made {
                let body = Some(json!({ "notes": format!("round {round}"), "phone": "+49 30 1" }));
                let path = format!("/v1/artists/{id}");
                let edited: (u16, Value) = world.send("PATCH", &path, &owner, body).await;
                assert_eq!(edited.0, 200, "{}", edited.1);
            }
        }
    };
    let renewing = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        renew(&world.app, |_| {}).await.unwrap()
    };
    let ((), kept_out) = tokio::join!(edits, renewing);
    assert_eq!(kept_out, 0);
    assert_eq!(renew(&world.app, |_| {}).await.unwrap(), 0);
    assert_eq!(count(&world, OLD_STUDIOS).await, 0);
    all_open(&world, 0, &made).await;
}
