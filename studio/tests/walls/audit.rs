//! The ledger as its owners read it, take it along and verify it without us.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use watertight_prover_core::{
    Checkpoint, Finding, Hashes, Listed, Tree, Verifier, VerifierKey, entries, hashes_of, tile_path,
};

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
            "/v1/audit/checkpoint",
            "/v1/audit/tile/0/000.p/1",
            "/v1/audit/tile/entries/000.p/1",
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

/// Whole tiles, those that are not, and roots of tiles: all of what was signed, and no more.
#[tokio::test]
async fn an_owner_takes_the_log_along_as_tiles() {
    let world = worked().await;
    let (admin, tenant) = (world.as_admin().await, world.studios[0].tenant);
    let more =
        "SELECT ledger.note($1, 'a.b', 'a', ARRAY[gen_random_uuid()]) FROM generate_series(1, 520)";
    admin.run(more, &[&tenant]).await.unwrap();
    settle(&world).await;
    let given = read(&world, 0, "/v1/audit/checkpoints").await;
    let key = VerifierKey::parse(given["keys"][0].as_str().unwrap()).unwrap();
    let note = text(&world, 0, "/v1/audit/checkpoint").await;
    assert_eq!(given["items"][0]["note"], note);
    let said = Checkpoint::open(&note, key.name(), std::slice::from_ref(&key), "it").unwrap();
    let (mut tree, mut leaves, mut hashes) = (Tree::default(), Vec::new(), Vec::new());
    for n in 0..said.size.div_ceil(256) {
        let width = (said.size - 256 * n < 256).then_some(said.size - 256 * n);
        let tile = octets(&world, 0, &tile_path("0", n, width)).await;
        hashes.extend(hashes_of(&tile).unwrap());
        let bundle = octets(&world, 0, &tile_path("entries", n, width)).await;
        leaves.extend(entries(&bundle).unwrap().into_iter().map(str::to_owned));
    }
    hashes.iter().for_each(|hash| tree.push(*hash));
    assert_eq!((tree.size(), tree.root()), (said.size, said.root));
    let hashes = Hashes::new(&tenant.to_string(), 0, hashes);
    for (seq, leaf) in (0..).zip(&leaves) {
        assert_eq!(hashes.entry(seq, Some(leaf), None), Ok(()));
    }
    let roots = hashes_of(&octets(&world, 0, "tile/1/000.p/2").await).unwrap();
    let mut by_roots = Tree::default();
    roots.iter().for_each(|root| by_roots.push_whole(8, *root));
    let mut by_leaves = Tree::default();
    let whole = leaves.iter().take(512);
    whole.for_each(|leaf| by_leaves.push(watertight_prover_core::leaf_hash(leaf.as_bytes())));
    assert_eq!(by_roots.root(), by_leaves.root());
    // A slash may come escaped; what is not there is not.
    octets(&world, 0, "tile/0%2F000").await;
    for absent in [
        "tile/0/002",
        "tile/0/009",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/0/x000/000",
        "tile/9/000",
        "tile/x",
    ] {
        let path = format!("/v1/audit/{absent}");
        let refused = world
            .send("GET", &path, &world.token(0, "owner"), None)
            .await;
        assert_eq!(refused.0, 404, "{absent}");
    }
    assert_eq!(octets(&world, 1, "tile/0/000.p/1").await.len(), 32);
    let other = octets(&world, 1, "tile/entries/000.p/1").await;
    let other = String::from_utf8_lossy(&other);
    assert!(!other.contains(&tenant.to_string()) && other.contains("\"tenant\""));
}

async fn octets(world: &World, studio: usize, path: &str) -> Vec<u8> {
    let request = world.http.get(format!("{}/v1/audit/{path}", world.base));
    let response = request.bearer_auth(world.token(studio, "owner")).send();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    response.bytes().await.unwrap().to_vec()
}

/// However much a request changes, its leaf fits into a bundle.
#[tokio::test]
async fn no_leaf_is_longer_than_a_bundle_takes() {
    let world = World::new().await;
    let admin = world.as_admin().await;
    let studio = world.studios[0].tenant;
    admin
        .script(&format!(
            "INSERT INTO ledger.changes (tenant_id, xact, changed, id, columns)
               SELECT '{studio}', pg_current_xact_id(), 'studio.artists', gen_random_uuid(), array_fill(repeat('c', 40), ARRAY[20])
               FROM generate_series(1, 300)"
        ))
        .await
        .unwrap();
    let longest = "SELECT max(octet_length(leaf)) FROM ledger.entries WHERE tenant_id = $1";
    let longest: i32 = admin.value(longest, &[&studio]).await.unwrap();
    assert!((40_000..65_536).contains(&longest), "{longest}");
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
