//! Project Wycheproof's vectors of JSON Web Signatures, as far as they apply to one algorithm.
//!
//! Its other modified paddings are the ones that the unit tests of `keys` run as plain signatures,
//! from the set for RSASSA-PKCS1-v1_5.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use serde_json::{Value, json};
use support::{assert_refused, clock, settings};
use watertight_identity::{Keys, Verifier};

fn vectors() -> Value {
    serde_json::from_str(include_str!("wycheproof/json_web_signature.json")).unwrap()
}

fn verifier(vectors: &Value) -> Verifier {
    let set = json!({ "keys": [vectors["public"]] }).to_string();
    let keys = Keys::fixed(set.as_bytes()).unwrap();
    Verifier::new(settings(), keys, clock()).unwrap()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

/// The one valid vector gets past its signature and is refused for what it says: `foo` is no claims.
/// Each invalid one is refused before anybody reads what it says.
#[tokio::test]
async fn what_is_valid_passes_its_signature_and_nothing_else_does() {
    const READ: &str = "the payload is no object";
    let vectors = vectors();
    let verifier = verifier(&vectors);
    let tests = vectors["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 20);
    for vector in tests {
        let refused = verifier.verify(text(vector, "jws")).await;
        let logged = refused.as_ref().unwrap_err().logged().unwrap().to_owned();
        let is_valid = text(vector, "result") == "valid";
        assert_eq!(logged == READ, is_valid, "{vector}: {logged}");
        assert_refused(text(vector, "comment"), refused, &logged);
    }
}

/// Valid under another algorithm, or made to confuse two of them: refused for the algorithm, or for the
/// form, whichever is seen first.
#[tokio::test]
async fn other_algorithms_are_none() {
    let vectors = vectors();
    let verifier = verifier(&vectors);
    for vector in vectors["otherAlgorithms"].as_array().unwrap() {
        let refused = verifier.verify(text(vector, "jws")).await;
        assert_refused(text(vector, "comment"), refused, text(vector, "refusedFor"));
    }
}
