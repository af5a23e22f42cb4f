//! Bytes as a JWK set and as a PEM key: read or refused, and within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watertight_identity::Keys;

fuzz_target!(|bytes: &[u8]| {
    drop(Keys::fixed(bytes));
    let text = String::from_utf8_lossy(bytes);
    drop(Keys::pem(None, &text));
    drop(Keys::pem(
        Some("x"),
        &format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"),
    ));
});
