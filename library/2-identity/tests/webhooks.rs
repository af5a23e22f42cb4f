//! Deliveries of Clerk: the published vector, and everything that is a little beside it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use secrecy::SecretString;
use watertight_identity::webhook::{Delivery, Headers, Signer};
use watertight_terms::{Clock, Fault};

// The example of Svix' documentation.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SENT: &str = "1614265330";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn signer() -> Signer {
    Signer::new(&[SecretString::from(SECRET)]).unwrap()
}

fn clock(later_s: i64) -> Clock {
    let sent = Timestamp::from_second(SENT.parse().unwrap()).unwrap();
    Clock::fixed(sent.checked_add(later_s.seconds()).unwrap())
}

fn verify<'a>(
    signer: &Signer,
    [id, timestamp, signature]: [&'a str; 3],
    body: &'a [u8],
    later_s: i64,
) -> Result<Delivery<'a>, Fault> {
    let headers = Headers {
        id: Some(id),
        timestamp: Some(timestamp),
        signature: Some(signature),
    };
    signer.verify(headers, body, &clock(later_s))
}

#[test]
fn the_published_vector_is_accepted_for_five_minutes() {
    for later_s in [0, 300, -300] {
        let delivery = verify(&signer(), [ID, SENT, SIGNATURE], BODY, later_s).unwrap();
        assert_eq!(
            (delivery.id, delivery.sent_at_s, delivery.body),
            (ID, 1_614_265_330, BODY)
        );
    }
    for later_s in [301, -301, 86_400] {
        assert!(verify(&signer(), [ID, SENT, SIGNATURE], BODY, later_s).is_err());
    }
}

#[test]
fn one_good_signature_among_others_is_enough() {
    let wrong = format!("v1,{}", BASE64_STANDARD.encode([7; 32]));
    for signatures in [
        format!("{wrong} {SIGNATURE}"),
        format!("v1a,xyz {SIGNATURE} {wrong}"),
        format!("{SIGNATURE} v2,{}", "A".repeat(40)),
    ] {
        assert!(
            verify(&signer(), [ID, SENT, &signatures], BODY, 0).is_ok(),
            "{signatures}"
        );
    }
    let late = format!("{} {SIGNATURE}", [wrong.as_str(); 8].join(" "));
    assert!(
        verify(&signer(), [ID, SENT, &late], BODY, 0).is_err(),
        "so many are looked at"
    );
}

#[test]
fn while_a_secret_is_replaced_both_count() {
    let other = SecretString::from(format!("whsec_{}", BASE64_STANDARD.encode([9; 32])));
    let both = Signer::new(&[other.clone(), SecretString::from(SECRET)]).unwrap();
    assert!(verify(&both, [ID, SENT, SIGNATURE], BODY, 0).is_ok());
    let new_only = Signer::new(&[other]).unwrap();
    assert!(verify(&new_only, [ID, SENT, SIGNATURE], BODY, 0).is_err());
}

#[test]
fn what_is_a_little_beside_is_refused_in_the_same_words() {
    let spoken = "the delivery is not signed as it must be, or is too old";
    let unpadded = SIGNATURE.trim_end_matches('=');
    let url_safe = SIGNATURE.replace('+', "-").replace('/', "_");
    let upper = SIGNATURE.to_uppercase();
    for ([id, timestamp, signature], body, why) in [
        (["msg_other", SENT, SIGNATURE], BODY, "another id"),
        (["", SENT, SIGNATURE], BODY, "no id"),
        (["msg p5", SENT, SIGNATURE], BODY, "an id with a space"),
        ([ID, "1614265331", SIGNATURE], BODY, "another time"),
        ([ID, "01614265330", SIGNATURE], BODY, "a leading zero"),
        ([ID, "+1614265330", SIGNATURE], BODY, "a sign"),
        ([ID, "1614265330.0", SIGNATURE], BODY, "a fraction"),
        (
            [ID, "9223372036854775808", SIGNATURE],
            BODY,
            "too large a number",
        ),
        ([ID, SENT, ""], BODY, "no signature"),
        ([ID, SENT, "v1,"], BODY, "an empty one"),
        ([ID, SENT, unpadded], BODY, "unpadded"),
        ([ID, SENT, &url_safe], BODY, "another alphabet"),
        ([ID, SENT, &upper], BODY, "another case"),
        (
            [ID, SENT, SIGNATURE.trim_start_matches("v1,")],
            BODY,
            "no version",
        ),
        (
            [ID, SENT, SIGNATURE],
            br#"{"test":2432232314}"#,
            "the same JSON, other bytes",
        ),
        ([ID, SENT, SIGNATURE], b"", "no body"),
    ] {
        let refused = verify(&signer(), [id, timestamp, signature], body, 0).unwrap_err();
        assert_eq!(
            (refused.slug(), refused.spoken()),
            ("unauthenticated", spoken),
            "{why}"
        );
    }
    for missing in 0..3 {
        let given = |at: usize, value| (at != missing).then_some(value);
        let headers = Headers {
            id: given(0, ID),
            timestamp: given(1, SENT),
            signature: given(2, SIGNATURE),
        };
        assert!(signer().verify(headers, BODY, &clock(0)).is_err());
    }
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_at_the_start() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    for bad in [
        "",
        "whsec_",
        "whsec_AAAA",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_%%%%",
    ] {
        let error = Signer::new(&[secret(bad)]).unwrap_err();
        assert!(error.to_string().contains("whsec_"));
    }
    assert!(Signer::new(&[]).is_err());
    assert!(Signer::new(&[secret(SECRET), secret(SECRET), secret(SECRET)]).is_err());
    assert!(!format!("{:?}", signer()).contains("MfKQ"));
}

proptest! {
    /// Whatever arrives is refused or is the vector; nothing panics.
    #[test]
    fn any_headers_and_bytes_are_refused(id in ".{0,80}", time in ".{0,30}", signature in ".{0,200}", body: Vec<u8>) {
        prop_assert!(verify(&signer(), [&id, &time, &signature], &body, 0).is_err());
    }

    /// One bit of the body, of the id's last letter, or of the signature.
    #[test]
    fn one_bit_changes_everything(bit in 0_usize..BODY.len() * 8) {
        let mut body = BODY.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&signer(), [ID, SENT, SIGNATURE], &body, 0).is_err());
    }
}
