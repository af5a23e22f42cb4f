//! What people are told of an incident: by an owner's word or two operators', by mail, and otherwise nothing.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde_json::{Value, json};
use watertight_tenancy::{
    login_url,
    support::{RawConnection, state},
};
use watertight_terms::{Clock, Random, TenantId};

use crate::{
    bookings::{book, path_of},
    ledger::settle,
    mails::{Sink, TAKEN, deliveries, mailing, settled, work_until_so},
    on_duty::{Operators, member_id},
    world::World,
};

/// Somebody of a studio gets an address, as the identity provider tells of one.
pub(crate) async fn give_address(world: &World, studio: usize, part: &str) -> String {
    let member = world.studios[studio].person(part).member;
    let tenant = TenantId(world.studios[studio].tenant);
    let address = format!("{part}-{studio}@example.org");
    let kept = world.app.desk.people.keep_address(tenant, member, &address);
    kept.await.unwrap();
    address
}

/// A text beside the world's files.
pub(crate) fn text(world: &World, text: &str) -> PathBuf {
    let file = world.config.keys.location.with_file_name("notice.txt");
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs `studio incident propose`.
async fn propose(
    operators: &Operators<'_>,
    incident: &str,
    whom: &str,
    text: &Path,
) -> Result<String, String> {
    let text = text.display().to_string();
    let from = (Clock::system().now() - SignedDuration::from_hours(24)).to_string();
    let ask = [
        "propose",
        "--incident",
        incident,
        "--whom",
        whom,
        "--text",
        &text,
        "--subject",
        "An incident",
        "--from",
        &from,
    ];
    let said = operators.run(0, &ask).await;
    match said.value["notice"].as_str() {
        Some(notice) if said.code == 0 => Ok(notice.to_owned()),
        _ => Err(said.error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_tell_of_an_incident_and_one_does_not() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let sink = Sink::new(TAKEN).await;
    let app = mailing(&world, &sink);
    let owner = give_address(&world, 0, "owner").await;
    let freelancer = give_address(&world, 0, "freelancer").await;
    for (studio, part) in [(0, "manager"), (1, "owner"), (1, "freelancer")] {
        give_address(&world, studio, part).await;
    }
    let file = text(&world, "Somebody signed in as Ada.\n");
    let id = operators.open(&["--emergency"]).await;
    let early = propose(&operators, &id, "owner", &file).await;
    assert!(early.unwrap_err().contains("another operator"));
    operators.done(1, &["confirm", "--incident", &id]).await;
    let draft = text(&world, "Data about you: [which of it].\n");
    let gaps = propose(&operators, &id, "owner", &draft).await;
    assert!(gaps.unwrap_err().contains("gaps"));

    let file = text(&world, "Somebody signed in as Ada.\n");
    let notice = propose(&operators, &id, "owner", &file).await.unwrap();
    let send = ["send", "--incident", &id, "--notice", &notice];
    // Who gives the second word has read what it is for.
    let shown = operators.done(1, &["status", "--incident", &id]).await;
    let shown = &shown["incidents"][0]["notices"][0]["text"];
    assert_eq!(shown, "Somebody signed in as Ada.\n");
    let alone = operators.run(0, &send).await;
    assert!(alone.error.contains("you proposed it"), "{alone:?}");
    assert_eq!(deliveries(&world, 0).await, Vec::<Value>::new());
    assert_eq!(operators.done(1, &send).await["mails"], 1);
    let twice = operators.run(1, &send).await;
    assert!(twice.error.contains("sent already"), "{twice:?}");
    let report = operators.done(1, &["report", "--incident", &id]).await;
    let report = report["report"].as_str().unwrap();
    for line in [
        "proposed to tell the studio's owners: An incident",
        "told the studio's owners: An incident (mails: 1,",
    ] {
        assert!(report.contains(line), "{report}");
    }
    work_until_so(&app, async || settled(&world, 0).await).await;
    let [mail] = sink.came().try_into().unwrap();
    assert!(mail.to.contains(&owner), "{mail:?}");
    assert!(mail.header("Subject").contains("An incident"));
    assert!(mail.text.contains("Somebody signed in as Ada."), "{mail:?}");

    // People: those whose records whoever is isolated has touched.
    let artist = world.studios[0].person("freelancer").artist.unwrap();
    let booking = path_of(&book(&world, 1, json!({})).await);
    let manager = world.token(0, "manager");
    for path in [&format!("/v1/artists/{artist}"), &booking] {
        assert_eq!(world.send("GET", path, &manager, None).await.0, 200);
    }
    settle(&world.app).await;
    let member = member_id(&world, "manager").await;
    let freeze = ["freeze", "--incident", &id, "--member", &member];
    operators.done(0, &freeze).await;
    let notice = propose(&operators, &id, "people", &file).await.unwrap();
    let send = ["send", "--incident", &id, "--notice", &notice];
    let sent = operators.done(1, &send).await;
    // Whose the booking is no operator sees, and that is said.
    assert_eq!((&sent["mails"], &sent["unlisted"]), (&json!(1), &json!(1)));
    work_until_so(&app, async || settled(&world, 0).await).await;
    let came = sink.came();
    assert!(
        came.len() == 2 && came[1].to.contains(&freelancer),
        "{came:?}"
    );
    assert_eq!(deliveries(&world, 1).await, Vec::<Value>::new());
    operators.read_nothing().await;
    let (_, entries) = world
        .send("GET", "/v1/audit?limit=100", &world.token(0, "owner"), None)
        .await;
    for (action, actor) in [
        ("incident.propose", "operator:studio_operator"),
        ("incident.send", "operator:second_"),
    ] {
        let mut entries = entries["items"].as_array().unwrap().iter();
        let found = entries.find(|entry| entry["action"] == action);
        let by = found.expect(action)["actor"].as_str().unwrap();
        assert!(by.starts_with(actor), "{action} by {by}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_tells_of_an_incident_by_a_fresh_word() {
    let world = World::new().await;
    let sink = Sink::new(TAKEN).await;
    let app = mailing(&world, &sink);
    let owner = world.token(0, "owner");
    let new = json!({ "kind": "stolen-session", "reason": "somebody signed in as Ada" });
    let (_, made) = world.send("POST", "/v1/incidents", &owner, Some(new)).await;
    let path = format!("/v1/incidents/{}/notices", made["id"].as_str().unwrap());
    let say = |whom: &str, text: &str| {
        Some(json!({ "whom": whom, "subject": "An incident", "text": text }))
    };
    let (status, nobody) = world.send("POST", &path, &owner, say("owner", "x")).await;
    assert_eq!(status, 409, "{nobody}");
    let address = give_address(&world, 0, "owner").await;
    give_address(&world, 1, "owner").await;
    // They are told whatever mails they want.
    let unwanted = Some(json!({ "wanted": false }));
    assert_eq!(
        world
            .send("PATCH", "/v1/me/mails", &owner, unwanted)
            .await
            .0,
        200
    );
    let stale = world.bent_token(0, "owner", &json!({ "fva": [9000, -1] }));
    for (token, expected) in [
        (stale, 403),
        (world.token(0, "manager"), 404),
        (world.token(1, "owner"), 404),
    ] {
        assert_eq!(
            world.send("POST", &path, &token, say("owner", "x")).await.0,
            expected
        );
    }
    for wrong in [
        say("everybody", "x"),
        say("owner", "[gap]"),
        say("owner", ""),
    ] {
        let (status, told) = world.send("POST", &path, &owner, wrong).await;
        assert!(status == 422 || status == 400, "{told}");
    }
    let backwards =
        Some(json!({ "whom": "owner", "subject": "s", "text": "t", "to": "2020-01-01T00:00:00Z" }));
    assert_eq!(world.send("POST", &path, &owner, backwards).await.0, 422);
    let too_long = json!({ "whom": "people", "subject": "s", "text": "t", "from": "2000-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z" });
    assert_eq!(
        world.send("POST", &path, &owner, Some(too_long)).await.0,
        422
    );
    assert_eq!(deliveries(&world, 0).await, Vec::<Value>::new());
    let (status, told) = world
        .send(
            "POST",
            &path,
            &owner,
            say("owner", "Ada's session was stolen."),
        )
        .await;
    assert_eq!(status, 200, "{told}");
    let notice = &told["notices"][0];
    let member = format!("member:{}", world.studios[0].person("owner").member);
    assert_eq!(
        (&notice["mails"], &notice["sent_by"]),
        (&json!(1), &json!(member))
    );
    work_until_so(&app, async || settled(&world, 0).await).await;
    let [mail] = sink.came().try_into().unwrap();
    assert!(mail.to.contains(&address), "{mail:?}");
    // A booking is its artist's, although its entry names the booking alone.
    give_address(&world, 0, "freelancer").await;
    let seen = path_of(&book(&world, 0, json!({})).await);
    let manager = world.token(0, "manager");
    assert_eq!(world.send("GET", &seen, &manager, None).await.0, 200);
    settle(&world.app).await;
    let (_, sent) = world.send("POST", &path, &owner, say("people", "x")).await;
    let sent = sent["notices"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&sent["mails"], &sent["unlisted"]),
        (&json!(2), &json!(0)),
        "{sent}"
    );
    let told = deliveries(&world, 0).await;
    assert_eq!(told[0]["notice_id"], notice["id"]);
    // Once: whoever has the session alone says nothing again.
    let again = format!("/v1/deliveries/{}/replay", told[0]["id"].as_str().unwrap());
    let (status, again) = world.send("POST", &again, &owner, None).await;
    assert_eq!(status, 409, "{again}");
    assert_eq!(deliveries(&world, 1).await, Vec::<Value>::new());
}

/// Past the functions nothing is sent: not by the server's role, not by an operator of nothing, not by one word twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_of_an_incident_without_the_words() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    give_address(&world, 0, "owner").await;
    let id = operators.open(&["--emergency"]).await;
    operators.done(1, &["confirm", "--incident", &id]).await;
    let file = text(&world, "Somebody signed in as Ada.\n");
    let notice = propose(&operators, &id, "owner", &file).await.unwrap();
    let tenant = world.studios[0].tenant;
    let member = world.studios[0].person("owner").member;
    let send = format!("SELECT incident.send('{tenant}', '{id}', '{notice}')");
    let post = format!("SELECT incident.post('{tenant}', '{notice}', 'x')");
    let deliver = format!(
        "INSERT INTO studio.deliveries (tenant_id, id, member_id, notice_id) VALUES ('{tenant}', gen_random_uuid(), '{member}', '{notice}')"
    );
    let forged = format!(
        "SELECT incident.send_mine('i9|1|{tenant}|{id}|{notice}|owner|0|1|61|61|9999999999|n|00')"
    );
    world
        .expect_refused(&[
            (&send, "42501"),
            (&post, "42501"),
            (&deliver, "42501"),
            (&forged, "ZT002"),
            ("SELECT count(*) FROM incident.notices", "42501"),
        ])
        .await;
    // A login of nothing.
    let name = format!("nothing_{}", Random::system().uuid().simple());
    let admin = world.as_admin().await;
    let login = format!("CREATE ROLE {name} LOGIN PASSWORD 'x'");
    admin.script(&login).await.unwrap();
    let url = login_url(&world.admin, &name, &"x".into()).unwrap();
    if let Ok(nobody) = RawConnection::connect(&url).await {
        assert_eq!(state(&nobody.run(&send, &[]).await.unwrap_err()), "42501");
    }
    // Whoever may write the rows: the words are looked for.
    admin
        .script("BEGIN; SET LOCAL ROLE studio_gate")
        .await
        .unwrap();
    assert_eq!(state(&admin.run(&deliver, &[]).await.unwrap_err()), "ZT060");
    admin.script("ROLLBACK").await.unwrap();
    let twice = "UPDATE incident.notices SET sent_at = now(), sent_by = proposed_by";
    assert_eq!(state(&admin.run(twice, &[]).await.unwrap_err()), "23514");
    assert_eq!(deliveries(&world, 0).await, Vec::<Value>::new());
    admin.script(&format!("DROP ROLE {name}")).await.unwrap();
}
