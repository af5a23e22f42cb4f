//! Bytes as a token, and as header and claims under a good signature: never a panic, and whoever is
//! let in without the stand-in's own claims is a finding.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use watertight_identity::{Verifier, VerifierSettings, Who, bearer, double::Double};
use watertight_terms::{Clock, Random};

const ISSUER: &str = "https://clerk.fuzz.test";
const PARTY: &str = "https://app.fuzz.test";

struct World {
    double: Double,
    verifier: Verifier,
    runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let clock = Clock::fixed("2026-10-25T00:30:00Z".parse().expect("a time"));
    let double = Double::new(ISSUER, PARTY, clock.clone(), Random::system()).expect("a stand-in");
    let settings = VerifierSettings::new(ISSUER, [PARTY]);
    let verifier = Verifier::new(settings, double.keys(), clock).expect("good settings");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    World {
        double,
        verifier,
        runtime,
    }
});

fuzz_target!(|bytes: &[u8]| {
    let world = &*WORLD;
    let text = String::from_utf8_lossy(bytes);
    drop(bearer(Some(&text)));
    let verify = |token: &str| world.runtime.block_on(world.verifier.verify(token));
    assert!(verify(&text).is_err(), "nothing but a signature lets in");
    let header = world.double.header().to_string();
    if let Ok(caller) = verify(&world.double.sign_text(&header, &text)) {
        let Who::Member(member) = caller.who() else {
            unreachable!("a token is a person's")
        };
        assert!(text.contains(ISSUER) && text.contains(PARTY));
        assert!(member.subject().as_str().starts_with("user_"));
    }
    assert!(verify(&world.double.sign_text(&text, "{}")).is_err());
});
