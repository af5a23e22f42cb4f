//! What the tests of tokens share: a stand-in for Clerk under a clock that stands still.

use serde_json::{Value, json};
use watertight_identity::{
    Caller, Member, Verifier, VerifierSettings, Who,
    double::{Double, TokenRequest},
};
use watertight_terms::{Clock, Fault, Kind, Random};

pub(crate) const ISSUER: &str = "https://clerk.kit.test";
pub(crate) const PARTY: &str = "https://app.kit.test";
pub(crate) const NOW_S: i64 = 1_792_888_200;

pub(crate) fn clock() -> Clock {
    Clock::fixed("2026-10-25T00:30:00Z".parse().unwrap())
}

pub(crate) fn double() -> Double {
    Double::new(ISSUER, PARTY, clock(), Random::system()).unwrap()
}

pub(crate) fn settings() -> VerifierSettings {
    VerifierSettings::new(ISSUER, [PARTY])
}

pub(crate) fn request(role: &str, version: u8) -> TokenRequest {
    TokenRequest {
        subject: "user_ada".into(),
        session: "sess_ada".into(),
        organization: "org_one".into(),
        slug: "one".into(),
        role: role.into(),
        version,
        life_s: 60,
    }
}

pub(crate) fn member(caller: &Caller) -> &Member {
    match caller.who() {
        Who::Member(member) => member,
        other => panic!("{other:?} is no member"),
    }
}

/// A refusal says the same to everybody, and to the log a reason with `word` in it.
pub(crate) fn assert_refused(name: &str, refused: Result<Caller, Fault>, word: &str) {
    let fault = match refused {
        Ok(caller) => panic!("{name}: accepted as {caller:?}"),
        Err(fault) => fault,
    };
    assert_eq!(fault.kind(), Kind::Unauthenticated, "{name}: {fault}");
    assert_eq!(fault.slug(), "unauthenticated", "{name}");
    assert_eq!(
        fault.spoken(),
        "the session token is missing or not valid",
        "{name}"
    );
    let logged = fault.logged().unwrap_or_default();
    assert!(logged.contains(word), "{name}: `{logged}` lacks `{word}`");
}

/// A stand-in, a verifier of its tokens, and ways to bend them.
pub(crate) struct World {
    pub(crate) double: Double,
    pub(crate) verifier: Verifier,
}

impl World {
    pub(crate) fn new() -> Self {
        let double = double();
        let verifier = Verifier::new(settings(), double.keys(), clock()).unwrap();
        Self { double, verifier }
    }

    /// A good header with members set, or left out where they are `null` in `changes`.
    pub(crate) fn header(&self, changes: Value) -> Value {
        bent(self.double.header(), changes)
    }

    /// Good claims of an owner, bent the same way.
    pub(crate) fn claims(&self, version: u8, changes: Value) -> Value {
        bent(
            self.double.claims(&request("org:studio_owner", version)),
            changes,
        )
    }

    pub(crate) fn with_header(&self, changes: Value) -> String {
        let claims = self.claims(2, json!({}));
        self.double.sign(&self.header(changes), &claims)
    }

    pub(crate) fn with_claims(&self, version: u8, changes: Value) -> String {
        let claims = self.claims(version, changes);
        self.double.sign(&self.double.header(), &claims)
    }

    /// A good header over any text.
    pub(crate) fn with_payload(&self, payload: &str) -> String {
        self.double
            .sign_text(&self.double.header().to_string(), payload)
    }

    /// Good claims as text with more members, for what a map cannot hold.
    pub(crate) fn with_text(&self, left_out: &str, more: &str) -> String {
        let claims = self.claims(2, json!({ left_out: DROP })).to_string();
        let open = claims.strip_suffix('}').unwrap();
        self.with_payload(&format!("{open},{more}}}"))
    }

    pub(crate) async fn refuses(&self, name: &str, token: &str, word: &str) {
        assert_refused(name, self.verifier.verify(token).await, word);
    }
}

/// Leaves a member out.
pub(crate) const DROP: &str = "\u{0}drop";

fn bent(mut good: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some(DROP) => drop(good.as_object_mut().unwrap().remove(name)),
            _ => good[name] = value.clone(),
        }
    }
    good
}
