//! The first stage of the bound context: a token that only the server can sign and only
//! `tenancy.enter` reads. See `sql/0001_context.sql` for the second.

use watertight_identity::{Caller, Who};
use watertight_terms::{Clock, Fault, KeyRing, Limits, Random, hmac_sha256};

/// Signs the token by which `caller` enters a transaction.
///
/// It lives ten seconds, is only ever a bind parameter, and names nobody's studio: the database
/// looks that up.
pub(crate) fn sign(
    caller: &Caller,
    ring: &KeyRing,
    clock: &Clock,
    random: &Random,
) -> Result<String, Fault> {
    let claims = match caller.who() {
        Who::Member(member) => format!(
            "m|{}|{}|{}|{}|{}",
            member.organization(),
            member.subject(),
            member.session(),
            member.claimed_role(),
            member.issued_at_s()
        ),
        Who::Service { name, tenant } => format!("s|{tenant}|{name}||service|0"),
        Who::Page { digest } => format!("p|{}||||0", hex::encode(digest)),
    };
    signed("v1", &claims, ring, clock, random)
}

/// Signs the event that a session of the identity provider ended. Its prefix keeps it from being a
/// context.
pub(crate) fn sign_end(
    [delivery, session, subject]: [&str; 3],
    ring: &KeyRing,
    clock: &Clock,
    random: &Random,
) -> Result<String, Fault> {
    // None of them can hold the separator: the database checks the delivery, and the others are ids.
    let claims = format!("{delivery}|{session}|{subject}");
    signed("e1", &claims, ring, clock, random)
}

/// Signs what only the server may ask of the database outside a studio: `claims` under `prefix`,
/// which keeps it from being a context. No claim may hold the separator.
pub(crate) fn signed(
    prefix: &str,
    claims: &str,
    ring: &KeyRing,
    clock: &Clock,
    random: &Random,
) -> Result<String, Fault> {
    let (key_id, key) = ring
        .current()
        .ok_or_else(|| Fault::bug("the key ring `context` has no current key"))?;
    let expires_s = clock.now_s() + Limits::CONTEXT_LIFE_S;
    let nonce = hex::encode(random.bytes::<16>());
    let signed = format!("{prefix}|{key_id}|{claims}|{expires_s}|{nonce}");
    let mac = hex::encode(hmac_sha256(key, signed.as_bytes()));
    Ok(format!("{signed}|{mac}"))
}
