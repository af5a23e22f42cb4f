//! `docs/formats/vectors/ledger.json`: what the writer makes, for verifiers in any language.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use serde_json::{Value, json};
use watertight_ledger::{Edge, chain_hash, leaf_hash, origin, sign, sign_stub, verifier_keys};
use watertight_terms::{Key, KeyRing, TenantId};

const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/formats/vectors/ledger.json"
);

/// Leaves whose texts have what canonical JSON is particular about.
fn leaves(tenant: TenantId) -> Vec<String> {
    let clients = ["curl/8", "a\"b\\c\u{1}\u{7f}", "Zoë €𝄞 \u{2028}", ""];
    let leaf = |n: u32| {
        let client = clients[n as usize % 4];
        let members = json!({
            "changes": [],
            "entry": {
                "tenant": tenant, "id": uuid::Uuid::from_u128(n.into()), "action": "artist.view",
                "client": client, "status": n,
            },
            "mac": if n.is_multiple_of(3) { Value::Null } else { json!(hex::encode([n as u8; 32])) },
        });
        serde_json_canonicalizer::to_string(&members).unwrap()
    };
    (0..7).map(leaf).collect()
}

fn vectors() -> Value {
    let tenant = TenantId(uuid::Uuid::from_u128(0x5eed));
    let (old, new) = (Key::new([1; 32]), Key::new([2; 32]));
    let ring = KeyRing::single(1, old).rotated(2, new);
    let mut edge = Edge::default();
    let mut chain = [0; 32];
    let mut sizes = vec![json!({ "size": 0, "root": hex::encode(edge.root()) })];
    for leaf in leaves(tenant) {
        let hash = leaf_hash(leaf.as_bytes());
        chain = chain_hash(&chain, &hash);
        edge.push(hash);
        sizes.push(json!({
            "size": edge.size(), "leaf": leaf, "hash": hex::encode(hash), "chain": hex::encode(chain),
            "root": hex::encode(edge.root()), "note": sign(&ring, tenant, edge.size(), &edge.root()).unwrap(),
        }));
    }
    let by_a_stranger = KeyRing::single(1, Key::new([3; 32]));
    let note = sign(&ring, tenant, edge.size(), &edge.root()).unwrap();
    let stranger = sign(&by_a_stranger, tenant, edge.size(), &edge.root()).unwrap();
    let of_another = sign(
        &ring,
        TenantId(uuid::Uuid::nil()),
        edge.size(),
        &edge.root(),
    )
    .unwrap();
    json!({
        "about": "docs/formats/ledger.md; written by the writer's tests, read by every verifier's",
        "studio": tenant,
        "origin": origin(tenant),
        "keys": verifier_keys(&ring, tenant).unwrap(),
        "sizes": sizes,
        "removed": removed(&ring, tenant),
        "not_believed": [
            { "why": "signed by a stranger's key", "note": stranger },
            { "why": "of another studio's log", "note": of_another },
            { "why": "another size under the same signature", "note": note.replacen("\n7\n", "\n6\n", 1) },
            { "why": "a size with a leading zero", "note": note.replacen("\n7\n", "\n07\n", 1) },
            { "why": "no signature", "note": note.split("\n\n").next().unwrap().to_owned() + "\n\n" },
            { "why": "no empty line", "note": note.replacen("\n\n", "\n", 1) },
            { "why": "nothing", "note": "" },
        ],
    })
}

/// A log whose first 768 entries were removed: what is left of it, and what was signed.
fn removed(ring: &KeyRing, tenant: TenantId) -> Value {
    let like = format!(r##"{{"changes":[],"entry":{{"id":"#","tenant":"{tenant}"}},"mac":null}}"##);
    let hash = |n: u32| leaf_hash(like.replace('#', &n.to_string()).as_bytes());
    let (mut edge, mut chain) = (Edge::default(), [0; 32]);
    for leaf in (0..768).map(hash) {
        chain = chain_hash(&chain, &leaf);
        edge.push(leaf);
    }
    let day = "2026-11-27".parse().unwrap();
    let stub = sign_stub(ring, tenant, &edge, &chain, day).unwrap();
    let checkpoint = sign(ring, tenant, edge.size(), &edge.root()).unwrap();
    for leaf in (768..770).map(hash) {
        edge.push(leaf);
    }
    json!({
        "about": "entry n is `like` with n in decimal for `#`; entries 0 to 767 are gone",
        "like": like,
        "stub": stub,
        "size": 770,
        "note": sign(ring, tenant, edge.size(), &edge.root()).unwrap(),
        "not_believed": [
            { "why": "a checkpoint is no stub", "note": checkpoint },
            { "why": "another chain under the same signature", "note": stub.replacen("removed 2026-11-27 ", "removed 2026-11-27 A", 1) },
        ],
    })
}

#[test]
fn the_vectors_are_the_golden_ones() {
    let text = format!("{:#}\n", vectors());
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(PATH, &text).unwrap();
    }
    let golden = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        golden == text,
        "the writer does not make what `docs/formats/vectors/ledger.json` has: logs that were written before could not be verified"
    );
}
