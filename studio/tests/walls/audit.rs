//! The ledger as its owners read it, take it along and verify it without us.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use watertight_prover_core::{Checkpoint, Finding, Listed, Verifier, VerifierKey};

use crate::world::World;

async fn settle(world: &World) {
    while world.app.checkpointer.round().await.unwrap().numbered > 0 {}
}

async fn read(world: &World, studio: usize, path: &str) -> Value {
    let (status, body) = world
        .send("GET", path, &world.token(studio, "owner"), None)
        .await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn text(world: &World, studio: usize, path: &str) -> String {
    let request = world.http.get(format!("{}{path}", world.base));
    let response = request
        .bearer_auth(world.token(studio, "owner"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    response.text().await.unwrap()
}

fn all<'a>(body: &'a Value, field: &str) -> Vec<&'a str> {
    let items = body["items"].as_array().unwrap().iter();
    items.map(|entry| entry[field].as_str().unwrap()).collect()
}

/// A world in which both studios were at work.
async fn worked() -> World {
    let world = World::new().await;
    for studio in [0, 1] {
        let foreign = format!("/v1/artists/{}", world.studios[1 - studio].artists[0]);
        for (part, method, path, body) in [
            ("owner", "GET", "/v1/artists", None),
            ("owner", "GET", foreign.as_str(), None),
            (
                "manager",
                "POST",
                "/v1/artists",
                Some(json!({ "name": "=HYPERLINK(1)" })),
            ),
            ("guest", "GET", "/v1/bookings", None),
        ] {
            let token = world.token(studio, part);
            let headers = [
                ("user-agent", "=cmd|' /C calc'!A0"),
                ("x-request-id", "-1+1"),
            ];
            world.ask(method, path, &token, &headers, body).await;
        }
    }
    settle(&world).await;
    world
}

#[tokio::test]
async fn an_owner_reads_the_own_ledger_and_nobody_else_any() {
    let world = worked().await;
    let body = read(&world, 0, "/v1/audit").await;
    let newest = &body["items"][0];
    assert_eq!(newest["client_request_id"], "-1+1");
    let made = read(&world, 0, "/v1/audit?action=artist.create").await;
    let change = &made["items"][0]["changes"][0];
    assert_eq!(change["table"], "studio.artists");
    assert_eq!(made["items"][0]["role"], "manager");
    for (part, status) in [("manager", 403), ("freelancer", 403), ("guest", 403)] {
        for path in [
            "/v1/audit",
            "/v1/audit/export",
            "/v1/audit/checkpoints",
            "/v1/audit/verify",
        ] {
            let refused = world.send("GET", path, &world.token(0, part), None).await;
            assert_eq!(refused.0, status, "{part} {path}");
        }
    }
    // Nothing of it in the other's, whatever is asked for.
    settle(&world).await;
    let other = read(&world, 1, "/v1/audit").await;
    let mine: BTreeSet<&str> = all(&body, "request_id").into_iter().collect();
    assert!(
        all(&other, "request_id")
            .iter()
            .all(|id| !mine.contains(id))
    );
    let asked = format!(
        "/v1/audit?request_id={}",
        newest["request_id"].as_str().unwrap()
    );
    assert_eq!(
        read(&world, 0, &asked).await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(read(&world, 1, &asked).await["items"], json!([]));
    let text = other.to_string() + &text(&world, 1, "/v1/audit/export?format=leaves").await;
    assert!(!text.contains(&world.studios[0].tenant.to_string()));
    // Reading it is an entry too.
    settle(&world).await;
    assert_eq!(
        read(&world, 0, "/v1/audit").await["items"][0]["action"],
        "audit.view"
    );
}

#[tokio::test]
async fn filters_and_pages_give_each_entry_once() {
    let world = worked().await;
    let subject = world.studios[0].person("manager").subject.clone();
    for (filter, field, value) in [
        ("action=artist.create", "action", "artist.create"),
        ("outcome=refused", "outcome", "refused"),
        ("resource=booking", "resource", "booking"),
        (&format!("actor={subject}"), "actor", &subject),
    ] {
        let body = read(&world, 0, &format!("/v1/audit?{filter}")).await;
        let values = all(&body, field);
        assert!(
            !values.is_empty() && values.iter().all(|found| *found == value),
            "{filter}: {values:?}"
        );
    }
    let artist =
        read(&world, 0, "/v1/audit?action=artist.create").await["items"][0]["ids"][0].clone();
    let of_artist = read(
        &world,
        0,
        &format!("/v1/audit?id={}", artist.as_str().unwrap()),
    )
    .await;
    assert_eq!(all(&of_artist, "action"), ["artist.create"]);
    assert_eq!(
        read(&world, 0, "/v1/audit?from=2090-01-01T00:00:00Z").await["items"],
        json!([])
    );
    assert_eq!(
        read(&world, 0, "/v1/audit?to=2010-01-01T00:00:00Z").await["items"],
        json!([])
    );
    for sort in ["seq", "-seq"] {
        let (mut seen, mut path) = (
            Vec::new(),
            format!("/v1/audit?limit=2&sort={sort}&to=2090-01-01T00:00:00Z"),
        );
        let most = read(&world, 0, "/v1/audit?limit=1").await["items"][0]["seq"]
            .as_i64()
            .unwrap();
        loop {
            let body = read(&world, 0, &path).await;
            seen.extend(
                body["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| entry["seq"].as_i64().unwrap()),
            );
            match body["next_cursor"].as_str() {
                Some(cursor) => {
                    path = format!(
                        "/v1/audit?limit=2&sort={sort}&to=2090-01-01T00:00:00Z&cursor={cursor}"
                    )
                }
                None => break,
            }
        }
        let mut expected: Vec<i64> = (0..=most).collect();
        if sort == "-seq" {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    for wrong in [
        "sort=time",
        "outcome=maybe",
        "limit=0",
        "limit=101",
        "tenant_id=x",
        "cursor=x",
    ] {
        let refused = world
            .send(
                "GET",
                &format!("/v1/audit?{wrong}"),
                &world.token(0, "owner"),
                None,
            )
            .await;
        assert_eq!(refused.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_export_is_for_other_programs_and_no_cell_of_it_is_a_formula() {
    let world = worked().await;
    let lines = text(&world, 0, "/v1/audit/export").await;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["seq"], 0);
    let rest = text(&world, 0, "/v1/audit/export?from=1").await;
    assert_eq!(rest.lines().count(), lines.lines().count() - 1);
    assert_eq!(
        text(&world, 0, "/v1/audit/export?limit=2")
            .await
            .lines()
            .count(),
        2
    );
    let csv = text(&world, 0, "/v1/audit/export?format=csv").await;
    assert_eq!(csv.lines().count(), lines.lines().count() + 1);
    assert!(csv.contains("\"'=cmd|") && !csv.contains("\"=cmd"));
    let ocsf = text(&world, 0, "/v1/audit/export?format=ocsf").await;
    let created = ocsf
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let created = created.filter(|event| {
        event["type_uid"] == 600_301 && event["api"]["operation"] == "artist.create"
    });
    assert_eq!(created.count(), 1);
}

/// With what the API gives and a verifier that shares no code with the writer.
#[tokio::test]
async fn an_owner_verifies_the_ledger_without_us() {
    let world = worked().await;
    let given = read(&world, 0, "/v1/audit/checkpoints").await;
    let keys = given["keys"].as_array().unwrap().iter();
    let keys: Vec<VerifierKey> = keys
        .map(|key| VerifierKey::parse(key.as_str().unwrap()).unwrap())
        .collect();
    let (origin, note) = (
        given["origin"].as_str().unwrap(),
        given["items"][0]["note"].as_str().unwrap(),
    );
    let said = Checkpoint::open(note, origin, &keys, "the newest").unwrap();
    let leaves = text(&world, 0, "/v1/audit/export?format=leaves").await;
    let verify = |leaves: &str| {
        let mut verifier = Verifier::new(&world.studios[0].tenant.to_string(), vec![said.clone()]);
        for (seq, leaf) in leaves.lines().enumerate() {
            let parsed: Value = serde_json::from_str(leaf).unwrap();
            let id = parsed["entry"]["id"].as_str().unwrap();
            verifier.entry(&Listed {
                seq: seq as u64,
                id,
                leaf: Some(leaf),
                hash: None,
                chain: None,
            })?;
        }
        verifier.end()
    };
    assert_eq!(verify(&leaves).unwrap().covered, said.size);
    let bent = leaves.replacen("\"status\":2", "\"status\":3", 1);
    assert!(matches!(verify(&bent), Err(Finding::Rewritten { .. })));
    let cut: Vec<&str> = leaves.lines().take(3).collect();
    assert!(matches!(
        verify(&cut.join("\n")),
        Err(Finding::CutTail { have: 3, .. })
    ));
}

#[tokio::test]
async fn the_newest_entries_are_verified_on_request() {
    let tampering = [
        None,
        Some((
            "UPDATE ledger.entries SET leaf = replace(leaf, '\"status\":', '\"status\":1') WHERE entry_id = (SELECT entry_id FROM ledger.leaves WHERE tenant_id = $1 AND seq = $2)",
            "changed",
        )),
        Some((
            "UPDATE ledger.leaves SET chain = hash WHERE tenant_id = $1 AND seq = $2",
            "reordered",
        )),
        Some((
            "DELETE FROM ledger.leaves WHERE tenant_id = $1 AND seq >= $2",
            "signed for",
        )),
        Some((
            "UPDATE ledger.nodes SET hash = sha256(hash) WHERE tenant_id = $1 AND $2 > position",
            "signed for",
        )),
        Some((
            "UPDATE ledger.checkpoints SET note = replace(note, E'\\n' || size || E'\\n', E'\\n1\\n') WHERE tenant_id = $1 AND $2 < size",
            "none of the given keys",
        )),
    ];
    for case in tampering {
        let world = worked().await;
        let (admin, tenant) = (world.as_admin().await, world.studios[0].tenant);
        let more = "SELECT ledger.note($1, 'a.b', 'a', ARRAY[gen_random_uuid()]) FROM generate_series(1, 520)";
        admin.run(more, &[&tenant]).await.unwrap();
        settle(&world).await;
        let size: i64 = admin
            .value(
                "SELECT size FROM ledger.heads WHERE tenant_id = $1",
                &[&tenant],
            )
            .await
            .unwrap();
        if let Some((sql, _)) = case {
            admin.run(sql, &[&tenant, &(size - 2)]).await.unwrap();
        }
        let verdict = read(&world, 0, "/v1/audit/verify").await;
        assert_eq!(verdict["ok"], case.is_none(), "{verdict}");
        match case {
            None => assert_eq!(verdict["entries"], size),
            Some((_, what)) => assert!(
                verdict["found"].as_str().unwrap().contains(what),
                "{what}: {verdict}"
            ),
        }
        assert_eq!(read(&world, 1, "/v1/audit/verify").await["ok"], true);
    }
}
