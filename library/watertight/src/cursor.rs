//! Cursors: where a list goes on, signed, and good for one studio and one question.
//!
//! ```
//! use watertight::cursor::Cursors;
//! use watertight_terms::{Key, KeyRing, TenantId};
//! use uuid::Uuid;
//!
//! let cursors = Cursors::new(KeyRing::single(1, Key::new([7; 32])));
//! let (studio, other) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
//! let scope = "booking|-starts_at|state=hold"; // resource, sort, filters
//!
//! let cursor = cursors.make(studio, scope, &["2026-03-01T09:00:00Z", "f00d"]).unwrap();
//! assert_eq!(cursors.read(studio, scope, &cursor).unwrap(), ["2026-03-01T09:00:00Z", "f00d"]);
//! assert!(cursors.read(other, scope, &cursor).is_err());
//! ```
//!
//! **Form**: base64url without padding of key id (2 bytes, big-endian), HMAC-SHA-256 (32 bytes)
//! and the position as a JSON list of strings. The HMAC is over the tenant (16 bytes), the
//! scope's length (8 bytes, big-endian), the scope and the position.
//!
//! A cursor is signed, not secret: it carries nothing that its list does not show. Foreign,
//! tampered, outdated and misplaced cursors are refused with one and the same message.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use watertight_terms::{
    Fault, FieldFault, KeyRing, Limits, TenantId, hmac_sha256, hmac_verify, problems,
};

const PURPOSE: &str = "cursor";

/// Makes and reads cursors.
#[derive(Debug, Clone)]
pub struct Cursors(KeyRing);

impl Cursors {
    /// Cursors signed with keys derived from the ring's.
    pub fn new(ring: KeyRing) -> Self {
        let mut derived = None::<KeyRing>;
        let current = ring.current();
        // The current key goes last: the one added last is the current one.
        let others = ring
            .iter()
            .filter(|(id, _)| Some(*id) != current.map(|(id, _)| id));
        for (id, key) in others.chain(current) {
            let key = key.derive(PURPOSE);
            derived = Some(match derived {
                None => KeyRing::single(id, key),
                Some(ring) => ring.rotated(id, key),
            });
        }
        Self(derived.unwrap_or(ring))
    }

    /// The cursor after the row at `position`: the values of the sort's columns, the id last.
    /// `scope` is the question: resource, sort and filters.
    ///
    /// # Errors
    /// A defect of ours: no current key, or a position too long for a cursor (sort by the row's
    /// id and look the other values up).
    pub fn make(&self, tenant: TenantId, scope: &str, position: &[&str]) -> Result<String, Fault> {
        let (id, key) = self
            .0
            .current()
            .ok_or_else(|| Fault::bug("no current cursor key"))?;
        let position = serde_json::to_vec(position)
            .map_err(|error| Fault::bug(format!("writing a cursor: {error}")))?;
        let mac = hmac_sha256(key, &message(tenant, scope, &position));
        let parts: [&[u8]; 3] = [&id.to_be_bytes(), &mac, &position];
        let cursor = URL_SAFE_NO_PAD.encode(parts.concat());
        if cursor.len() > Limits::CURSOR_BYTES {
            return Err(Fault::bug("a position is too long for a cursor"));
        }
        Ok(cursor)
    }

    /// The position that a cursor of this studio and scope stands for.
    ///
    /// # Errors
    /// When it was not made here, or for another studio or question.
    pub fn read(&self, tenant: TenantId, scope: &str, text: &str) -> Result<Vec<String>, Fault> {
        self.position(tenant, scope, text).ok_or_else(not_ours)
    }

    fn position(&self, tenant: TenantId, scope: &str, text: &str) -> Option<Vec<String>> {
        if text.len() > Limits::CURSOR_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (mac, position) = rest.split_first_chunk::<32>()?;
        let key = self.0.get(i16::from_be_bytes(*id))?;
        if !hmac_verify(key, &message(tenant, scope, position), mac) {
            return None;
        }
        serde_json::from_slice(position).ok()
    }
}

fn message(tenant: TenantId, scope: &str, position: &[u8]) -> Vec<u8> {
    let scope_bytes = (scope.len() as u64).to_be_bytes();
    let parts: [&[u8]; 4] = [
        tenant.0.as_bytes(),
        &scope_bytes,
        scope.as_bytes(),
        position,
    ];
    parts.concat()
}

fn not_ours() -> Fault {
    let field = FieldFault {
        pointer: "?cursor".to_owned(),
        code: "malformed",
        detail: "take `cursor` from `next_cursor` of the same list".to_owned(),
    };
    Fault::new(problems::MALFORMED, "`cursor` is none of this list").fields(vec![field])
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use watertight_terms::{Key, Kind};

    const SCOPE: &str = "booking|starts_at|";

    fn ring() -> KeyRing {
        KeyRing::single(1, Key::new([1; 32]))
    }

    fn studio(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    #[test]
    fn a_cursor_is_read_where_it_was_made() {
        let cursors = Cursors::new(ring());
        for position in [&[][..], &["a"], &["é|\"", ""]] {
            let cursor = cursors.make(studio(1), SCOPE, position).unwrap();
            assert_eq!(cursors.read(studio(1), SCOPE, &cursor).unwrap(), position);
        }
    }

    #[test]
    fn whatever_is_wrong_is_refused_in_the_same_words() {
        let cursors = Cursors::new(ring());
        let cursor = cursors.make(studio(1), SCOPE, &["a", "b"]).unwrap();
        let unsigned = URL_SAFE_NO_PAD.encode(br#"{"tenant_id":"x","id":"0"}"#);
        let padded = format!("{cursor}=");
        let long = "A".repeat(5000);
        let strange = Cursors::new(KeyRing::single(1, Key::new([2; 32])));
        let mut refusals = vec![
            cursors.read(studio(2), SCOPE, &cursor),
            cursors.read(studio(1), "booking|starts_at|x", &cursor),
            strange.read(studio(1), SCOPE, &cursor),
            Cursors::new(KeyRing::single(2, Key::new([1; 32]))).read(studio(1), SCOPE, &cursor),
        ];
        for text in [
            "",
            "%%%",
            "' or 1=1--",
            &unsigned,
            &padded,
            &long,
            &cursor[..20],
        ] {
            refusals.push(cursors.read(studio(1), SCOPE, text));
        }
        let first = format!("{:?}", refusals[0]);
        for refusal in refusals {
            let fault = refusal.unwrap_err();
            assert_eq!(fault.kind(), Kind::Malformed);
            assert_eq!(fault.field_faults()[0].pointer, "?cursor");
            assert_eq!(format!("{:?}", Err::<Vec<String>, _>(fault)), first);
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let cursors = Cursors::new(ring());
        let cursor = cursors.make(studio(1), SCOPE, &["a", "b"]).unwrap();
        for at in 0..cursor.len() {
            let other = if cursor.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let changed = format!("{}{other}{}", &cursor[..at], &cursor[at + 1..]);
            assert!(
                cursors.read(studio(1), SCOPE, &changed).is_err(),
                "character {at}"
            );
        }
    }

    #[test]
    fn scope_and_position_do_not_run_into_each_other() {
        let cursors = Cursors::new(ring());
        let cursor = cursors.make(studio(1), "a", &["b"]).unwrap();
        assert!(cursors.read(studio(1), "a", &cursor).is_ok());
        assert!(cursors.read(studio(1), "a[", &cursor).is_err());
    }

    #[test]
    fn after_a_rotation_old_cursors_are_read_and_new_ones_take_the_new_key() {
        let old = Cursors::new(ring()).make(studio(1), SCOPE, &["a"]).unwrap();
        let both = Cursors::new(ring().rotated(-2, Key::new([2; 32])));
        assert_eq!(both.read(studio(1), SCOPE, &old).unwrap(), ["a"]);
        let new = both.make(studio(1), SCOPE, &["a"]).unwrap();
        assert!(Cursors::new(ring()).read(studio(1), SCOPE, &new).is_err());
    }

    #[test]
    fn a_position_that_no_cursor_can_carry_is_our_defect() {
        let cursors = Cursors::new(ring());
        // The longest name that there is, in characters of four bytes, fits.
        let name = "𝄞".repeat(Limits::NAME_CHARS);
        assert!(cursors.make(studio(1), SCOPE, &[&name]).is_ok());
        let fault = cursors
            .make(studio(1), SCOPE, &[&"a".repeat(Limits::CURSOR_BYTES)])
            .unwrap_err();
        assert_eq!(fault.kind(), Kind::Bug);
    }
}
