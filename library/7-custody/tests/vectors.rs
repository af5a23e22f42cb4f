//! `docs/formats/vectors/evidence.json`: a bundle as it is written, decrypted, for verifiers in any language.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    io::{BufRead, BufReader},
    str::FromStr,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_custody::archive::{FORMAT, Head, Kind, Recipients, TableHead, Writer};
use watertight_ledger::{
    Edge, Hash, TileRoot, chain_hash, leaf_hash, sign, sign_stub, verifier_keys,
};
use watertight_terms::{Key, KeyRing, TenantId};

const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/formats/vectors/evidence.json"
);
const PARTS: [&str; 6] = [
    "incident",
    "ledger.keys",
    "ledger.checkpoints",
    "ledger.range",
    "ledger.edge",
    "ledger.leaves",
];

fn leaf(tenant: TenantId, n: u64) -> String {
    let time = format!("2026-11-20T10:{:02}:{:02}Z", n / 60 % 60, n % 60);
    format!(
        r#"{{"changes":[],"entry":{{"id":"e{n}","tenant":"{tenant}","time":"{time}"}},"mac":null}}"#
    )
}

/// The rows of a log that was 260 entries long, from entry 256 on, for a window in which entry 258 is: with the leaves of
/// that one and of those beside it.
fn rows(ring: &KeyRing, tenant: TenantId) -> [Vec<Value>; 6] {
    let mut tree = Edge::default();
    let mut tiles: Vec<TileRoot> = Vec::new();
    let (mut checkpoints, mut leaves) = (Vec::new(), Vec::new());
    for n in 0..260 {
        let text = leaf(tenant, n);
        let hash: Hash = leaf_hash(text.as_bytes());
        tiles.extend(tree.push(hash));
        if [257, 260].contains(&tree.size()) {
            let note = sign(ring, tenant, tree.size(), &tree.root()).unwrap();
            let day = format!("2026-11-{}", 20 + checkpoints.len());
            checkpoints.push(json!({ "day": day, "note": note }));
        }
        if n >= 256 {
            let hash = hex::encode(hash);
            leaves.push(match n {
                257.. => json!({ "seq": n, "hash": hash, "leaf": text }),
                _ => json!({ "seq": n, "hash": hash }),
            });
        }
    }
    let edge = Edge::of_tiles(tiles.iter().map(|tile| tile.hash));
    let edge = json!({ "size": edge.size(), "edge": BASE64_STANDARD.encode(edge.to_bytes()) });
    let keys = verifier_keys(ring, tenant).unwrap();
    let keys = keys.iter().map(|key| json!({ "key": key })).collect();
    let incident = json!({ "id": Uuid::from_u128(1), "kind": "stolen-session" });
    let range = json!({ "begin": 256, "first": 258, "end": 259, "size": 260, "removed": null,
        "from": "2026-11-20T10:04:17.5Z", "to": "2026-11-20T10:04:18.5Z" });
    [
        vec![incident],
        keys,
        checkpoints,
        vec![range],
        vec![edge],
        leaves,
    ]
}

/// The stub of the 256 entries before them.
fn stub(ring: &KeyRing, tenant: TenantId) -> String {
    let (mut tree, mut chain) = (Edge::default(), [0; 32]);
    for n in 0..256 {
        let hash = leaf_hash(leaf(tenant, n).as_bytes());
        chain = chain_hash(&chain, &hash);
        tree.push(hash);
    }
    let before = "2026-11-20".parse().unwrap();
    sign_stub(ring, tenant, &tree, &chain, before).unwrap()
}

/// The same for a window that begins with entry 256, with the leaves from there on.
fn rows_from_the_first(ring: &KeyRing, tenant: TenantId) -> [Vec<Value>; 6] {
    let mut rows = rows(ring, tenant);
    rows[3][0]["first"] = json!(256);
    rows[3][0]["from"] = json!("2026-11-20T10:04:00Z");
    rows[5][0]["leaf"] = json!(leaf(tenant, 256));
    rows
}

/// The lines of a bundle of these rows that `by` has signed.
fn lines(by: &KeyRing, tenant: TenantId, rows: [Vec<Value>; 6]) -> Vec<String> {
    let identity = age::x25519::Identity::generate();
    let to = Recipients::parse(&identity.to_public().to_string()).unwrap();
    let tables = PARTS.map(|part| TableHead {
        table: part.to_owned(),
        columns: Vec::new(),
        is_restored: false,
    });
    let head = Head {
        format: FORMAT.to_owned(),
        kind: Kind::Evidence,
        studio: tenant,
        made_at: "2026-11-27T12:00:00Z".parse().unwrap(),
        pair: Uuid::from_u128(2),
        schema: "00".to_owned(),
        tables: tables.into(),
    };
    let mut writer = Writer::new(Vec::new(), &to, head).unwrap();
    for (part, rows) in PARTS.into_iter().zip(rows) {
        writer.table(part).unwrap();
        for row in rows {
            writer.row(&row.to_string()).unwrap();
        }
    }
    let (bytes, _) = writer.finish(None, by).unwrap();
    let decryptor = age::Decryptor::new(bytes.as_slice()).unwrap();
    let stream = decryptor.decrypt(std::iter::once(&identity as _)).unwrap();
    let lines = BufReader::new(zstd::Decoder::new(stream).unwrap()).lines();
    lines.map(Result::unwrap).collect()
}

#[test]
fn the_vectors_of_evidence_are_the_golden_ones() {
    let tenant = TenantId(Uuid::from_str("00000000-0000-0000-0000-000000005eed").unwrap());
    let ring = KeyRing::single(1, Key::new([2; 32]));
    let stranger = KeyRing::single(1, Key::new([3; 32]));
    let whole = rows(&ring, tenant);
    let signed_by_a_stranger = lines(&stranger, tenant, whole.clone()).pop();
    // What a database that was bent would have us sign: the log in it is not the one of the checkpoints.
    let mut rewritten = whole.clone();
    let other = leaf(tenant, 999);
    rewritten[5][3] =
        json!({ "seq": 259, "hash": hex::encode(leaf_hash(other.as_bytes())), "leaf": other });
    let mut cut = whole.clone();
    cut[5].pop();
    let mut unsigned = whole.clone();
    unsigned[2].clear();
    // One entry more than any checkpoint covers.
    let mut uncovered = whole.clone();
    let further = leaf(tenant, 260);
    let hash = hex::encode(leaf_hash(further.as_bytes()));
    uncovered[5].push(json!({ "seq": 260, "hash": hash, "leaf": further }));
    uncovered[3][0]["size"] = json!(261);
    let mut withheld = whole.clone();
    withheld[5][2].as_object_mut().unwrap().remove("leaf");
    // The window has an entry more than the range says, at either end; and the range is of another stretch.
    let mut outside = whole.clone();
    outside[3][0]["first"] = json!(259);
    let mut ended = whole.clone();
    ended[3][0]["end"] = json!(258);
    let mut changed = whole.clone();
    changed[3][0]["size"] = json!(261);
    let mut removed = rows_from_the_first(&ring, tenant);
    let gone = removed.clone();
    removed[3][0]["removed"] = json!(stub(&stranger, tenant));
    let disbelieved = removed.clone();
    removed[3][0]["removed"] = json!(stub(&ring, tenant));
    let bent = [
        ("rewritten", rewritten),
        ("cut tail", cut),
        ("missing", unsigned),
        ("uncovered", uncovered),
        ("withheld", withheld),
        ("outside", outside),
        ("outside", ended),
        ("changed", changed),
        ("missing", gone),
        ("disbelieved", disbelieved),
    ];
    let bent =
        bent.map(|(kind, rows)| json!({ "kind": kind, "lines": lines(&ring, tenant, rows) }));
    let vectors = json!({
        "about": "docs/formats/evidence.md; written by the writer's tests, read by every verifier's",
        "studio": tenant,
        "keys": verifier_keys(&ring, tenant).unwrap(),
        "lines": lines(&ring, tenant, whole),
        "lines_after_retention": lines(&ring, tenant, removed),
        "signed_of_a_bent_log": bent,
        "signed_by_a_stranger": signed_by_a_stranger,
    });
    let text = format!("{vectors:#}\n");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(PATH, &text).unwrap();
    }
    let golden = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        golden == text,
        "the writer does not make what `docs/formats/vectors/evidence.json` has: bundles that were given out could not be verified"
    );
}
