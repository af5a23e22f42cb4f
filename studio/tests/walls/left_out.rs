//! What a restore leaves away: whom its studio forgot, what nobody opens any more, and what it could not do itself.

use std::{fs, process::Command};

use serde_json::{Value, json};
use studio::{commands::write_private, jobs::renewal::renew};

use crate::{
    archive::{Archives, Done, booking_of_before},
    restoring::{context_key, go_on, work},
    world::World,
};

/// Who was forgotten where the archive is from stays away everywhere, and so does a studio that was closed.
#[tokio::test]
async fn a_new_studio_takes_nobody_who_was_forgotten_and_nothing_that_was_closed() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let studio = world.studios[0].tenant.to_string();
    let artist = world.studios[0].artists[1].to_string();
    booking_of_before(&world, 0).await;
    world
        .pencil(0, 1, "2031-03-02T08:00:00Z", "2031-03-02T16:00:00Z")
        .await;
    let archive = archives.written(0).await;
    let path = format!("/v1/artists/{artist}");
    let owner = world.token(0, "owner");
    assert_eq!(world.send("DELETE", &path, &owner, None).await.0, 204);
    let member = "UPDATE tenancy.members SET artist_id = NULL WHERE artist_id = $1::text::uuid";
    raw.run(member, &[&artist]).await.unwrap();
    let erase = ["erase", "--studio", &studio, "--person", &artist];
    let done = archives.run(&erase).await;
    assert_eq!(done.code, 0, "{}", done.said);
    let made = async |name: &str| {
        let sql = format!(
            "SELECT studio.create_studio('{name}', 'Europe/Berlin', 'org_{name}', 'user_{name}', 'owner')::text"
        );
        raw.value::<String>(&sql, &[]).await.unwrap()
    };
    let count = async |tenant: &str, what: &str| {
        let sql = format!("SELECT count(*) FROM studio.{what} AND tenant_id = '{tenant}'");
        raw.value::<i64>(&sql, &[]).await.unwrap()
    };
    let (them, others) = (
        format!("artists WHERE id = '{artist}'"),
        format!("artists WHERE id <> '{artist}'"),
    );
    let booked = format!("bookings WHERE artist_id = '{artist}'");
    let new = made("new").await;
    let planned = archives
        .restore(&archive, 0, &["--plan", "--into-new", &new])
        .await;
    assert_eq!(planned.code, 0, "{}", planned.said);
    let done = archives.restore(&archive, 0, &["--into-new", &new]).await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(done.value["tables"], planned.value["tables"]);
    let there = count(&studio, &others).await;
    assert!(there > 0);
    assert_eq!(count(&new, &others).await, there);
    assert_eq!(count(&studio, &them).await, 1, "without a name");
    assert_eq!(count(&new, &them).await, 0);
    assert_eq!(count(&studio, &booked).await, 1);
    assert_eq!(count(&new, &booked).await, 0);

    // An archive of the other studio goes where it may, until that one is closed.
    let archive = archives.written(1).await;
    let closed = "UPDATE tenancy.studios SET status = 'closed' WHERE tenant_id = $1";
    raw.run(closed, &[&world.studios[1].tenant]).await.unwrap();
    let last = made("last").await;
    for more in [&["--plan", "--into-new", &last][..], &["--into-new", &last]] {
        let refused = archives.restore(&archive, 1, more).await;
        assert_eq!(refused.code, 1, "{}", refused.said);
        assert!(refused.said.contains("closed for good"), "{}", refused.said);
    }
    assert_eq!(count(&last, "artists WHERE true").await, 0);
}

/// An erasure gives the studio new keys: what an older archive has sealed opens no more, and the rest of it is good.
#[tokio::test]
async fn an_archive_of_before_an_erasure_comes_back_without_what_nobody_opens() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let owner = world.token(0, "owner");
    let mut paths = Vec::new();
    for name in ["mia", "nils"] {
        let body =
            json!({ "name": name, "email": format!("{name}@example.org"), "phone": "+49 30 1" });
        let (status, made) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
        assert_eq!(status, 201, "{made}");
        paths.push(format!("/v1/artists/{}", made["id"].as_str().unwrap()));
    }
    let archive = archives.written(0).await;
    let says = json!({ "name": "Mia since", "email": "since@example.org", "phone": null });
    let changed = world.send("PATCH", &paths[0], &owner, Some(says)).await;
    assert_eq!(changed.0, 200, "{}", changed.1);
    assert_eq!(world.send("DELETE", &paths[1], &owner, None).await.0, 204);
    let erase = format!("{}/erase", paths[1]);
    let erased = world.send("POST", &erase, &owner, Some(json!({}))).await;
    assert_eq!(erased.0, 200, "{}", erased.1);
    // Until here the keys are there.
    let unreadable = |done: &Done| {
        let tables = done.value["tables"].as_array().unwrap().iter();
        tables
            .map(|table| table["unreadable"].as_i64().unwrap())
            .sum::<i64>()
    };
    let planned = archives.restore(&archive, 0, &["--plan"]).await;
    assert_eq!((planned.code, unreadable(&planned)), (0, 0));
    assert_eq!(renew(&world.app, |_| {}).await.unwrap(), 0);

    let before = work(&raw, &world, 0).await;
    let planned = archives.restore(&archive, 0, &["--plan"]).await;
    assert_eq!((planned.code, unreadable(&planned)), (0, 2));
    let refused = archives.restore(&archive, 0, &[]).await;
    assert_eq!(refused.code, 1, "{}", refused.said);
    assert!(
        refused.said.contains("--without-unreadable"),
        "{}",
        refused.said
    );
    assert_eq!(work(&raw, &world, 0).await, before);
    let done = archives
        .restore(&archive, 0, &["--without-unreadable"])
        .await;
    assert_eq!(done.code, 0, "{}", done.said);
    assert_eq!(done.value["tables"], planned.value["tables"]);
    let owner = world.token(0, "owner");
    let (_, mia) = world.send("GET", &paths[0], &owner, None).await;
    assert_eq!(
        (&mia["name"], &mia["email"], &mia["phone"]),
        (&json!("mia"), &json!("since@example.org"), &Value::Null)
    );
    let (_, nils) = world.send("GET", &paths[1], &owner, None).await;
    assert_eq!(
        (&nils["name"], &nils["email"]),
        (&json!("(removed)"), &Value::Null)
    );
}

/// Whoever cannot make a new context key is told that the studio is back all the same.
#[tokio::test]
async fn a_restore_whose_context_key_stays_says_that_it_is_done() {
    let world = World::new().await;
    let archives = Archives::of(&world);
    let raw = world.as_admin().await;
    let archive = archives.written(0).await;
    let before = work(&raw, &world, 0).await;
    go_on(&world, 0).await;
    let (usual, key) = (&world.config.keys.location, context_key(&world));
    let text = fs::read_to_string(usual.with_file_name("archives.toml")).unwrap();
    let config = usual.with_file_name("nobody.toml");
    write_private(&config, &text.replace("studio_migrate", "studio_nobody")).unwrap();
    let identity = archives.identity(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
    command.arg("--config").arg(&config);
    command
        .args(["restore", &archive, "--identity"])
        .arg(identity);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let done = done.await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    for part in ["the studio is restored", "studio keys rotate context"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(work(&raw, &world, 0).await, before);
    assert_eq!(context_key(&world), key);
}
