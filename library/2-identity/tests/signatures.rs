//! Signatures that are not the key's, and keys that are none.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(dead_code, reason = "each test file uses its part of what they share")]

mod support;

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{
        RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaPublicKeyComponents,
    },
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use support::{World, assert_refused, clock, double, request, settings};
use watertight_identity::{Keys, KeysError, Verifier, double::Double};

#[tokio::test]
async fn a_signature_that_is_not_the_keys_is_refused() {
    let world = World::new();
    let evil = double();
    let owner = world.double.token(&request("org:studio_owner", 2));
    let guest = world.double.token(&request("org:guest", 2));
    let (signed, signature) = owner.rsplit_once('.').unwrap();
    let (guest_signed, guest_signature) = guest.rsplit_once('.').unwrap();
    let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    let long = [flipped.clone(), vec![0]].concat();
    let mut one = vec![0; 256];
    one[255] = 1;
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let claims = world.claims(2, json!({}));
    let header = world.double.header();
    let cases = [
        ("empty", format!("{signed}.")),
        ("another token's", format!("{signed}.{guest_signature}")),
        ("under other claims", format!("{guest_signed}.{signature}")),
        ("flipped", format!("{signed}.{}", encode(&flipped))),
        ("truncated", format!("{signed}.{}", encode(&flipped[..250]))),
        ("longer", format!("{signed}.{}", encode(&long))),
        ("zeros", format!("{signed}.{}", encode(&[0; 256]))),
        ("one", format!("{signed}.{}", encode(&one))),
        ("another key under the kid", evil.sign(&header, &claims)),
        ("PSS", signed_with(&world.double, &RSA_PSS_SHA256, signed)),
        (
            "SHA-384",
            signed_with(&world.double, &RSA_PKCS1_SHA384, signed),
        ),
        (
            "SHA-512",
            signed_with(&world.double, &RSA_PKCS1_SHA512, signed),
        ),
    ];
    for (name, token) in cases {
        world.refuses(name, &token, "the signature is wrong").await;
    }
}

#[tokio::test]
async fn the_public_key_is_no_secret_of_an_hmac() {
    let world = World::new();
    let jwks: Value = serde_json::from_str(&world.double.jwks_json()).unwrap();
    let pem = public_pem(&jwks);
    let modulus = jwks["keys"][0]["n"].as_str().unwrap();
    let secrets = [
        pem.as_bytes().to_vec(),
        pem.trim().as_bytes().to_vec(),
        modulus.as_bytes().to_vec(),
        BASE64_URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        b"secret".to_vec(),
        Vec::new(),
    ];
    for secret in secrets {
        for (alg, word) in [
            ("HS256", "alg"),
            ("none", "alg"),
            ("RS256", "the signature is wrong"),
        ] {
            let header = world.header(json!({ "alg": alg }));
            let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!(
                "{}.{}",
                encode(&header),
                encode(&world.claims(2, json!({})))
            );
            let tag = hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, &secret),
                signed.as_bytes(),
            );
            let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
            world.refuses(alg, &token, word).await;
        }
    }
}

fn signed_with(double: &Double, encoding: &'static dyn RsaEncoding, signed: &str) -> String {
    let pem = double.private_key_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let key = KeyPair::from_pkcs8(&BASE64_STANDARD.decode(body).unwrap()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        encoding,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn public_pem(jwks: &Value) -> String {
    let part = |name: &str| {
        let text = jwks["keys"][0][name].as_str().unwrap();
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    pem_of(part("n"), part("e"))
}

fn pem_of(n: Vec<u8>, e: Vec<u8>) -> String {
    let der = RsaPublicKeyComponents { n, e }.as_der().unwrap();
    let body = BASE64_STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

#[tokio::test]
async fn a_key_in_pem_verifies_with_its_id_or_any() {
    let double = double();
    let pem = public_pem(&serde_json::from_str(&double.jwks_json()).unwrap());
    let token = double.token(&request("org:studio_owner", 2));
    for (id, word) in [
        (None, None),
        (Some(double.kid()), None),
        (Some("ins_other"), Some("kid")),
    ] {
        let keys = Keys::pem(id, &pem).unwrap();
        let verified = Verifier::new(settings(), keys, clock())
            .unwrap()
            .verify(&token)
            .await;
        match word {
            None => assert!(verified.is_ok(), "{id:?}"),
            Some(word) => assert_refused("other id", verified, word),
        }
    }
}

#[test]
fn a_weak_key_is_no_key() {
    let odd = |bytes: usize| [vec![0xc1; bytes - 1], vec![0x0f]].concat();
    let good = vec![1, 0, 1];
    assert!(Keys::pem(None, &pem_of(odd(256), good.clone())).is_ok());
    for (name, pem) in [
        ("1024 bits", pem_of(odd(128), good.clone())),
        (
            "no key",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(),
        ),
        ("no PEM", String::new()),
    ] {
        assert_eq!(
            Keys::pem(None, &pem).err(),
            Some(KeysError::NotAKey),
            "{name}"
        );
    }
    let set = |n: &[u8], e: &[u8]| {
        let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
        json!({ "kty": "RSA", "kid": "a", "n": encode(n), "e": encode(e) })
    };
    let one = set(&odd(256), &good);
    let fixed = |keys: Value| Keys::fixed(json!({ "keys": keys }).to_string().as_bytes());
    assert!(fixed(json!([one])).is_ok());
    let with = |name: &str, value: &str| {
        let mut key = one.clone();
        key[name] = json!(value);
        json!([key])
    };
    for (name, keys) in [
        ("1024 bits", json!([set(&odd(128), &good)])),
        (
            "2047 bits",
            json!([set(&[vec![0x41], odd(255)].concat(), &good)]),
        ),
        (
            "leading zero",
            json!([set(&[vec![0], odd(256)].concat(), &good)]),
        ),
        ("exponent 1", json!([set(&odd(256), &[1])])),
        ("exponent 3", json!([set(&odd(256), &[3])])),
        ("exponent even", json!([set(&odd(256), &[1, 0, 0])])),
        ("for encryption", with("use", "enc")),
        ("for RS512", with("alg", "RS512")),
        ("symmetric", with("kty", "oct")),
        ("elliptic", with("kty", "EC")),
        ("kid empty", with("kid", "")),
        ("kid twice", json!([one, one])),
        ("too many", Value::from(vec![one.clone(); 33])),
        ("none", json!([])),
        ("no list", json!({})),
    ] {
        assert!(fixed(keys).is_err(), "{name}");
    }
}
