//! A stand-in for Clerk, for demonstrations and tests: its own key, session tokens of both
//! versions, the JWK set, and a page to sign in. Only with the feature `double`.
//!
//! ```
//! use watertight_identity::{Verifier, VerifierSettings, double::{Double, TokenRequest}};
//! use watertight_terms::{Clock, Random};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let double = Double::new("https://clerk.watertight.test", "https://app.watertight.test", Clock::system(), Random::system()).unwrap();
//! let settings = VerifierSettings::new("https://clerk.watertight.test", ["https://app.watertight.test"]);
//! let verifier = Verifier::new(settings, double.keys(), Clock::system()).unwrap();
//! let token = double.token(&TokenRequest {
//!     subject: "user_1".into(), session: "sess_1".into(), organization: "org_1".into(), slug: "one".into(),
//!     role: "org:studio_owner".into(), version: 2, life_s: 60,
//! });
//! assert!(verifier.verify(&token).await.is_ok());
//! # }
//! ```

mod backend;
mod directory;
mod page;

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use watertight_terms::{Clock, Random};

use crate::Keys;

use directory::Directory;
pub use page::Person;

/// A stand-in for Clerk.
#[derive(Debug, Clone)]
pub struct Double(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    issuer: String,
    party: String,
    key: KeyPair,
    key_id: String,
    clock: Clock,
    random: Random,
    secret_key: String,
    directory: Mutex<Directory>,
}

/// What a token is asked to say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The user, `user_…`.
    pub subject: String,
    /// The session, `sess_…`.
    pub session: String,
    /// The organization, `org_…`.
    pub organization: String,
    /// The organization's slug.
    pub slug: String,
    /// Clerk's role, with `org:`.
    pub role: String,
    /// 1 or 2.
    pub version: u8,
    /// How long it lives, in seconds.
    pub life_s: i64,
}

/// Why there is no stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DoubleError {
    /// The issuer is a real one.
    #[error(
        "a stand-in for clerk refuses a production issuer; use one that ends in `.test`, `.example` or `.localhost`"
    )]
    Production,
    /// No key can be made.
    #[error("no key can be made")]
    NoKey,
}

impl Double {
    /// A stand-in with a new key.
    ///
    /// # Errors
    /// When the issuer is one that could be real.
    pub fn new(
        issuer: &str,
        party: &str,
        clock: Clock,
        random: Random,
    ) -> Result<Self, DoubleError> {
        Self::refuse_in_production(issuer)?;
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| DoubleError::NoKey)?;
        let key_id = format!("ins_{}", random.uuid().simple());
        Ok(Self(Arc::new(Inside {
            issuer: issuer.to_owned(),
            party: party.to_owned(),
            key,
            key_id,
            clock,
            secret_key: format!("sk_test_{}", random.uuid().simple()),
            random,
            directory: Mutex::default(),
        })))
    }

    /// Refuses an issuer whose host could be a real one: names under `.test`, `.example` and
    /// `.localhost` never are (RFC 2606).
    ///
    /// # Errors
    /// When the host ends in anything else.
    pub fn refuse_in_production(issuer: &str) -> Result<(), DoubleError> {
        let host = issuer.strip_prefix("https://").unwrap_or_default();
        let is_name = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        let is_reserved = [".test", ".example", ".localhost"]
            .iter()
            .any(|end| host.ends_with(end));
        (is_name && is_reserved)
            .then_some(())
            .ok_or(DoubleError::Production)
    }

    /// A session token as Clerk makes them.
    pub fn token(&self, request: &TokenRequest) -> String {
        self.sign(&self.header(), &self.claims(request))
    }

    /// The header of a session token.
    pub fn header(&self) -> Value {
        json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": self.0.key_id, "typ": "JWT" })
    }

    /// The claims of a session token.
    pub fn claims(&self, request: &TokenRequest) -> Value {
        let now = self.0.clock.now_s();
        let mut claims = json!({
            "iss": self.0.issuer, "azp": self.0.party, "sub": request.subject, "sid": request.session,
            "iat": now, "nbf": now - 10, "exp": now + request.life_s,
        });
        let version = if request.version == 1 {
            json!({ "org_id": request.organization, "org_role": request.role, "org_slug": request.slug, "org_permissions": [] })
        } else {
            json!({
                "v": 2, "sts": "active", "fva": [1, -1], "jti": self.0.random.uuid().simple().to_string(),
                "o": { "id": request.organization, "slg": request.slug, "rol": request.role.trim_start_matches("org:") },
            })
        };
        if let (Value::Object(claims), Value::Object(more)) = (&mut claims, version) {
            claims.extend(more);
        }
        claims
    }

    /// Signs any header and claims, right or wrong.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs any two texts as header and payload.
    ///
    /// # Panics
    /// When the key cannot sign, which a key that was made cannot be unable to.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes())
        );
        let mut signature = vec![0; self.0.key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        let done = self.0.key.sign(
            &RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut signature,
        );
        assert!(done.is_ok(), "a key that was made can sign");
        format!("{signed}.{}", encode(&signature))
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.0.key_id
    }

    /// The JWK set with the public key.
    pub fn jwks_json(&self) -> String {
        let public = self.0.key.public_key();
        let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.0.key_id,
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        }] })
        .to_string()
    }

    /// The keys by which its tokens are verified.
    ///
    /// # Panics
    /// Never: the set is its own.
    pub fn keys(&self) -> Keys {
        match Keys::fixed(self.jwks_json().as_bytes()) {
            Ok(keys) => keys,
            Err(_) => unreachable!("the set is its own"),
        }
    }

    /// The private key in PEM, for tools that forge tokens against a demonstration.
    pub fn private_key_pem(&self) -> String {
        let der = self
            .0
            .key
            .as_der()
            .map(|der| der.as_ref().to_vec())
            .unwrap_or_default();
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        )
    }
}
