//! Bytes as a set of keys: the twin of the fuzz target `jwks`.

use proptest::prelude::*;
use watertight_identity::Keys;

/// A set that is nearly one.
fn setish() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("\"RSA\"".to_owned()),
        Just("\"sig\"".to_owned()),
        Just("\"RS256\"".to_owned()),
        Just("\"AQAB\"".to_owned()),
        "\"[A-Za-z0-9_-]{0,400}\"",
        "[0-9]{1,4}",
        Just("[]".to_owned()),
    ];
    let member = (
        prop_oneof!["kty", "kid", "use", "alg", "n", "e", "[a-z]"],
        value,
    );
    let key = prop::collection::vec(member, 0..7).prop_map(|members| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    });
    prop::collection::vec(key, 0..40).prop_map(|keys| format!("{{\"keys\":[{}]}}", keys.join(",")))
}

proptest! {
    /// None of them is a key of 2048 bits, so that all are refused, and nothing panics.
    #[test]
    fn any_set_is_refused(bytes: Vec<u8>, set in setish(), pem in "[A-Za-z0-9+/=\\s]{0,400}") {
        prop_assert!(Keys::fixed(&bytes).is_err());
        prop_assert!(Keys::fixed(set.as_bytes()).is_err());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----");
        prop_assert!(Keys::pem(None, &pem).is_err());
    }
}
