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
    let (key_id, key) = ring
        .current()
        .ok_or_else(|| Fault::bug("the key ring `context` has no current key"))?;
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
    let expires_s = clock.now_s() + Limits::CONTEXT_LIFE_S;
    let nonce = hex::encode(random.bytes::<16>());
    let signed = format!("v1|{key_id}|{claims}|{expires_s}|{nonce}");
    let mac = hex::encode(hmac_sha256(key, signed.as_bytes()));
    Ok(format!("{signed}|{mac}"))
}
