//! A caller that no token was verified for.
use watertight_identity::Caller;

fn main() {
    let _ = Caller {};
}
