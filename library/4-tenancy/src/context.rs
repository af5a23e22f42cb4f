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
            "{}|{}|{}|{}|{}|{}",
            if member.actor().is_some() { "a" } else { "m" },
            member.organization(),
            member.subject(),
            member.session(),
            member.claimed_role(),
            member.issued_at_s()
        ),
        Who::Service { name, tenant } => format!("s|{tenant}|{name}||service|0"),
        Who::Page { digest } => format!("p|{}||||0", hex::encode(digest)),
        Who::Feed { digest } => format!("f|{}||||0", hex::encode(digest)),
    };
    signed("v1", &[&claims], ring, clock, random)
}

/// Signs something for one of the gate's functions that take nobody's context: an event, a request.
/// Its prefix keeps it from being a context, and from being for another of them.
///
/// The fields are ids, numbers and hexadecimal digits: none can hold the separator.
pub(crate) fn sign_for_gate(
    prefix: &'static str,
    fields: &[&str],
    ring: &KeyRing,
    clock: &Clock,
    random: &Random,
) -> Result<String, Fault> {
    if fields.iter().any(|field| field.contains('|')) {
        return Err(Fault::bug(format!("a field of `{prefix}` holds a bar")));
    }
    signed(prefix, fields, ring, clock, random)
}

fn signed(
    prefix: &str,
    fields: &[&str],
    ring: &KeyRing,
    clock: &Clock,
    random: &Random,
) -> Result<String, Fault> {
    let (key_id, key) = ring
        .current()
        .ok_or_else(|| Fault::bug("the key ring `context` has no current key"))?;
    let expires_s = clock.now_s() + Limits::CONTEXT_LIFE_S;
    let nonce = hex::encode(random.bytes::<16>());
    let (key_id, expires_s) = (key_id.to_string(), expires_s.to_string());
    let last = [expires_s.as_str(), nonce.as_str()];
    let signed = [&[prefix, key_id.as_str()], fields, &last]
        .concat()
        .join("|");
    let mac = hex::encode(hmac_sha256(key, signed.as_bytes()));
    Ok(format!("{signed}|{mac}"))
}
