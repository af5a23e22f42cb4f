//! The verifier on the vectors that the writer made, and on each of them bent.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use serde_json::Value;
use watertight_prover_core::{
    Checkpoint, Finding, Hash, Listed, NoteFault, Stub, Tree, Verifier, VerifierKey, chain_hash,
    leaf_hash,
};

fn vectors() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/formats/vectors/ledger.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(vectors: &Value) -> Vec<VerifierKey> {
    let keys = vectors["keys"].as_array().unwrap().iter();
    keys.map(|key| VerifierKey::parse(key.as_str().unwrap()).unwrap())
        .collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn hash(value: &Value, name: &str) -> Hash {
    let mut hash = [0; 32];
    hex::decode_to_slice(text(value, name), &mut hash).unwrap();
    hash
}

fn open(vectors: &Value, note: &str) -> Result<Checkpoint, NoteFault> {
    Checkpoint::open(note, text(vectors, "origin"), &keys(vectors), "the vector")
}

#[test]
fn every_hash_root_and_note_is_what_the_writer_made() {
    let vectors = vectors();
    let (mut tree, mut chain) = (Tree::default(), [0; 32]);
    let sizes = vectors["sizes"].as_array().unwrap();
    assert_eq!(tree.root(), hash(&sizes[0], "root"));
    for size in &sizes[1..] {
        let leaf = leaf_hash(text(size, "leaf").as_bytes());
        assert_eq!(leaf, hash(size, "hash"));
        chain = chain_hash(&chain, &leaf);
        assert_eq!(chain, hash(size, "chain"));
        tree.push(leaf);
        assert_eq!(tree.root(), hash(size, "root"));
        let said = open(&vectors, text(size, "note")).unwrap();
        assert_eq!((said.size, said.root), (tree.size(), tree.root()));
    }
    assert_eq!(tree.size(), 7);
}

#[test]
fn what_is_not_to_be_believed_is_not() {
    let vectors = vectors();
    let bent = vectors["not_believed"].as_array().unwrap();
    assert_eq!(bent.len(), 7);
    for case in bent {
        assert!(
            open(&vectors, text(case, "note")).is_err(),
            "{}",
            case["why"]
        );
    }
    let key = vectors["keys"][0].as_str().unwrap();
    for bent in [
        "",
        "a+b",
        "name+00000000+AQ==",
        &key.replace('+', "-"),
        &key.replacen('+', "+0", 1),
    ] {
        assert!(VerifierKey::parse(bent).is_err(), "{bent}");
    }
}

/// What a list says of one entry.
#[derive(Clone)]
struct Place {
    id: String,
    leaf: String,
    hash: Hash,
    chain: Hash,
}

struct Log {
    studio: String,
    places: Vec<Place>,
    checkpoints: Vec<Checkpoint>,
}

fn log() -> Log {
    let vectors = vectors();
    let sizes = &vectors["sizes"].as_array().unwrap()[1..];
    let place = |size: &Value| {
        let leaf = text(size, "leaf").to_owned();
        let parsed: Value = serde_json::from_str(&leaf).unwrap();
        Place {
            id: text(&parsed["entry"], "id").to_owned(),
            leaf,
            hash: hash(size, "hash"),
            chain: hash(size, "chain"),
        }
    };
    let signed = [&sizes[2], &sizes[6]];
    Log {
        studio: text(&vectors, "studio").to_owned(),
        places: sizes.iter().map(place).collect(),
        checkpoints: signed
            .map(|size| open(&vectors, text(size, "note")).unwrap())
            .to_vec(),
    }
}

impl Log {
    fn verify(&self) -> Result<u64, Finding> {
        let mut verifier = Verifier::new(&self.studio, self.checkpoints.clone());
        for (seq, place) in self.places.iter().enumerate() {
            verifier.entry(&Listed {
                seq: seq as u64,
                id: &place.id,
                leaf: Some(&place.leaf),
                hash: Some(place.hash),
                chain: Some(place.chain),
            })?;
        }
        verifier.end().map(|summary| summary.covered)
    }

    /// The list fits together again, as one that was bent by somebody who knows how it is made.
    fn made_to_fit(mut self) -> Self {
        let mut chain = [0; 32];
        for place in &mut self.places {
            place.hash = leaf_hash(place.leaf.as_bytes());
            chain = chain_hash(&chain, &place.hash);
            place.chain = chain;
        }
        self
    }
}

#[test]
fn each_kind_of_tampering_is_named() {
    assert_eq!(log().verify(), Ok(7));
    let bent = |bend: fn(&mut Log)| {
        let mut log = log();
        bend(&mut log);
        log
    };
    let changed = bent(|log| log.places[1].leaf = log.places[1].leaf.replace("view", "v"));
    assert!(matches!(
        changed.verify(),
        Err(Finding::Changed { seq: 1, .. })
    ));
    let rewritten = changed.made_to_fit().verify();
    assert!(
        matches!(
            rewritten,
            Err(Finding::Rewritten {
                from: 0,
                until: 2,
                ..
            })
        ),
        "{rewritten:?}"
    );
    let swapped = bent(|log| log.places.swap(3, 5));
    assert!(matches!(
        swapped.verify(),
        Err(Finding::Reordered { seq: 3, .. })
    ));
    let rewritten = swapped.made_to_fit().verify();
    assert!(
        matches!(
            rewritten,
            Err(Finding::Rewritten {
                from: 3,
                until: 6,
                ..
            })
        ),
        "{rewritten:?}"
    );
    let removed = bent(|log| drop(log.places.remove(4)));
    assert!(matches!(
        removed.verify(),
        Err(Finding::Reordered { seq: 4, .. })
    ));
    let removed = removed.made_to_fit().verify();
    assert!(
        matches!(
            removed,
            Err(Finding::CutTail {
                have: 6,
                said: 7,
                ..
            })
        ),
        "{removed:?}"
    );
    let cut = bent(|log| log.places.truncate(1)).verify();
    assert!(
        matches!(
            cut,
            Err(Finding::CutTail {
                have: 1,
                said: 7,
                ..
            })
        ),
        "{cut:?}"
    );
    let foreign = bent(|log| log.studio = "another".into()).verify();
    assert!(
        matches!(foreign, Err(Finding::Foreign { seq: 0, .. })),
        "{foreign:?}"
    );
    let misplaced = bent(|log| log.places[2].id = log.places[1].id.clone()).verify();
    assert!(
        matches!(misplaced, Err(Finding::Reordered { seq: 2, .. })),
        "{misplaced:?}"
    );
    let no_json = bent(|log| log.places[6].leaf.clear()).verify();
    assert!(
        matches!(no_json, Err(Finding::Changed { seq: 6, .. })),
        "{no_json:?}"
    );
}

#[test]
fn what_was_removed_has_a_stub_from_which_the_rest_goes_on() {
    let vectors = vectors();
    let (removed, keys) = (&vectors["removed"], keys(&vectors));
    let open = |note| Stub::open(note, text(&vectors, "origin"), &keys, "the stub");
    let said = self::open(&vectors, text(removed, "note")).unwrap();
    let verified = |from: u64, until: u64| {
        let verifier = Verifier::new(text(&vectors, "studio"), vec![said.clone()]);
        let mut verifier = verifier.after(open(text(removed, "stub")).unwrap());
        for n in from..until {
            let id = n.to_string();
            let leaf = text(removed, "like").replace('#', &id);
            let seq = verifier.next();
            let listed = Listed {
                seq,
                id: &id,
                leaf: Some(&leaf),
                hash: None,
                chain: None,
            };
            verifier.entry(&listed)?;
        }
        verifier.end()
    };
    let summary = verified(768, 770).unwrap();
    assert_eq!((summary.removed, summary.covered), (768, 770));
    assert!(matches!(verified(768, 769), Err(Finding::CutTail { .. })));
    assert!(matches!(
        verified(767, 769),
        Err(Finding::Rewritten { from: 768, .. })
    ));
    for case in removed["not_believed"].as_array().unwrap() {
        assert!(open(text(case, "note")).is_err(), "{}", case["why"]);
    }
}

#[test]
fn a_number_without_an_entry_is_named() {
    let Log { studio, places, .. } = log();
    let mut verifier = Verifier::new(&studio, Vec::new());
    let listed = Listed {
        seq: 1,
        id: &places[0].id,
        leaf: Some(&places[0].leaf),
        hash: None,
        chain: None,
    };
    assert_eq!(verifier.entry(&listed), Err(Finding::Missing { seq: 0 }));
    let gone = Listed {
        seq: 0,
        leaf: None,
        ..listed
    };
    assert_eq!(verifier.entry(&gone), Err(Finding::Missing { seq: 0 }));
    assert_eq!(verifier.hash(&gone), Err(Finding::Missing { seq: 0 }));
}
