//! Bytes as the headers and as the body of a delivery, unsigned and signed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use watertight_identity::webhook::{Headers, Signer};
use watertight_terms::Clock;

const SENT_S: i64 = 1_792_888_200;

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    // The secret of Svix' documentation.
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    Signer::new(&[secret]).expect("a secret")
});

fuzz_target!(|bytes: &[u8]| {
    let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().expect("a time"));
    let mut parts = bytes.splitn(4, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let pairs = [
        ("svix-id", next()),
        ("svix-timestamp", next()),
        ("svix-signature", next()),
    ];
    let body = next();
    if let Ok(headers) = Headers::of(pairs) {
        assert!(SIGNER.verify(headers, body, &clock).is_err(), "unsigned");
    }
    let (at, signature) = (SENT_S.to_string(), SIGNER.sign("msg_1", SENT_S, bytes));
    let headers = Headers {
        id: Some("msg_1"),
        timestamp: Some(&at),
        signature: Some(&signature),
    };
    if let Ok(delivery) = SIGNER.verify(headers, bytes, &clock) {
        drop(delivery.event());
    }
});
