use proptest::prelude::*;
use watertight_terms::Kind;

use super::*;

const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const PERSON: Holder = Holder::Person(Uuid::from_u128(2));

fn ring() -> KeyRing {
    KeyRing::single(1, Key::new([1; 32]))
}

fn keys_of(tenant: TenantId, holder: Holder, ring: KeyRing) -> Keys {
    Keys::new(tenant, holder, ring, Random::system())
}

fn keys() -> Keys {
    keys_of(TENANT, PERSON, ring())
}

fn place() -> Place<'static> {
    Place {
        column: "studio.artists.email",
        row: Uuid::from_u128(2),
    }
}

#[test]
fn what_is_sealed_opens_in_its_place() {
    let longest = "ü".repeat(TEXT_CHARS_MAX);
    for text in ["", "zoe@example.org", "a\u{0}b", &longest] {
        let sealed = keys().seal(place(), text).unwrap();
        let opened = keys().open_at(place(), &sealed).unwrap();
        assert_eq!(opened.expose(), text);
    }
}

#[test]
fn a_text_over_the_bound_is_refused() {
    let text = "a".repeat(TEXT_CHARS_MAX + 1);
    let fault = keys().seal(place(), &text).unwrap_err();
    assert_eq!(fault, VaultFault::TooLong);
    assert_eq!(Fault::from(fault).kind(), Kind::Invalid);
}

#[test]
fn a_document_may_be_longer_and_opens_as_one() {
    let text = "ü".repeat(DOCUMENT_BYTES_MAX / 2);
    let sealed = keys().seal_document(place(), &text).unwrap();
    let opened = keys().open_document(place(), &sealed).unwrap();
    assert_eq!(opened.expose(), &text);
    let as_field = keys().open_at(place(), &sealed);
    assert_eq!(as_field.unwrap_err(), VaultFault::Malformed);
    let fault = keys().seal_document(place(), &format!("{text}a"));
    assert_eq!(fault.unwrap_err(), VaultFault::TooLong);
}

#[test]
fn equal_texts_are_sealed_differently() {
    let one = keys().seal(place(), "same").unwrap();
    let two = keys().seal(place(), "same").unwrap();
    assert_ne!(one.as_stored()[HEAD_BYTES..], two.as_stored()[HEAD_BYTES..]);
}

/// The key is the same in each: the associated data alone keeps them apart.
#[test]
fn a_value_opens_in_no_other_row_column_holder_or_studio() {
    let sealed = keys().seal(place(), "text").unwrap();
    assert!(keys().open_at(place(), &sealed).is_ok());
    let (other, here) = (Uuid::from_u128(9), place());
    let at = |column, row| Place { column, row };
    for elsewhere in [
        at(here.column, other),
        at("studio.artists.phone", here.row),
        at("studio.artists.emai", here.row),
    ] {
        let opened = keys().open_at(elsewhere, &sealed);
        assert_eq!(opened.unwrap_err(), VaultFault::NotHere);
    }
    for (tenant, holder) in [
        (TenantId(other), PERSON),
        (TENANT, Holder::Person(other)),
        (TENANT, Holder::Studio),
        (TenantId(here.row), Holder::Person(TENANT.0)),
    ] {
        let opened = keys_of(tenant, holder, ring()).open_at(place(), &sealed);
        assert_eq!(opened.unwrap_err(), VaultFault::NotHere, "{holder:?}");
    }
}

#[test]
fn another_key_of_the_same_number_opens_nothing() {
    let sealed = keys().seal(place(), "text").unwrap();
    let wrong = KeyRing::single(1, Key::new([2; 32]));
    let opened = keys_of(TENANT, PERSON, wrong).open_at(place(), &sealed);
    assert_eq!(opened.unwrap_err(), VaultFault::NotHere);
}

/// The key is the same under both numbers: the associated data alone keeps them apart.
#[test]
fn a_value_is_of_the_key_that_its_number_says() {
    let same = || Key::new([1; 32]);
    let keys = keys_of(
        TENANT,
        PERSON,
        KeyRing::single(1, same()).rotated(2, same()),
    );
    let mut stored = keys.seal(place(), "text").unwrap().as_stored().to_vec();
    assert_eq!(stored[1..3], [0, 2]);
    stored[2] = 1;
    let opened = keys.open_at(place(), &Sealed::from_stored(stored));
    assert_eq!(opened.unwrap_err(), VaultFault::NotHere);
}

proptest! {
    #[test]
    fn every_flipped_bit_is_noticed(text in ".{0,40}", at in any::<prop::sample::Index>(), bit in 0..8) {
        let sealed = keys().seal(place(), &text).unwrap();
        let opened = keys().open_at(place(), &sealed).unwrap();
        prop_assert_eq!(opened.expose(), text);
        let mut bytes = sealed.as_stored().to_vec();
        bytes[at.index(sealed.as_stored().len())] ^= 1_u8 << bit;
        prop_assert!(keys().open_at(place(), &Sealed::from_stored(bytes)).is_err());
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed(
        text in ".{0,40}", at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let sealed = keys().seal(place(), &text).unwrap();
        let stored = sealed.as_stored();
        let cut = Sealed::from_stored(stored[..at.index(stored.len())].to_vec());
        prop_assert!(keys().open_at(place(), &cut).is_err());
        let longer = Sealed::from_stored([stored, &more].concat());
        prop_assert!(keys().open_at(place(), &longer).is_err());
    }

    /// A stored value is bytes of whoever could write the column: none of them may panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        prop_assert!(keys().open_at(place(), &Sealed::from_stored(bytes)).is_err());
    }
}

#[test]
fn what_is_too_long_is_not_decrypted() {
    let huge = Sealed::from_stored(vec![VERSION; STORED_BYTES_MAX + 1]);
    let opened = keys().open_at(place(), &huge);
    assert_eq!(opened.unwrap_err(), VaultFault::Malformed);
}

#[test]
fn an_unknown_key_says_so() {
    let other = keys_of(TENANT, PERSON, KeyRing::single(7, Key::new([7; 32])));
    let sealed = other.seal(place(), "text").unwrap();
    let fault = keys().open_at(place(), &sealed).unwrap_err();
    assert_eq!(fault, VaultFault::UnknownKey(7));
    assert!(fault.to_string().contains("key 7"));
    assert_eq!(Fault::from(fault).kind(), Kind::Bug);
}

#[test]
fn after_a_rotation_the_old_key_still_opens() {
    let old = keys().seal(place(), "text").unwrap();
    let rotated = keys_of(TENANT, PERSON, ring().rotated(2, Key::new([2; 32])));
    assert_eq!(rotated.open_at(place(), &old).unwrap().expose(), "text");
    assert!(!rotated.is_current(&old));
    let new = rotated.seal(place(), "text").unwrap();
    assert!(rotated.is_current(&new));
    let opened = keys().open_at(place(), &new);
    assert_eq!(opened.unwrap_err(), VaultFault::UnknownKey(2));
}

#[test]
fn keys_for_opening_seal_nothing() {
    let sealed = keys().seal(place(), "text").unwrap();
    let only = Keys::to_open(TENANT, PERSON, Some(ring()), Random::system());
    assert_eq!(only.open_at(place(), &sealed).unwrap().expose(), "text");
    let refused = only.seal(place(), "text");
    assert_eq!(refused.unwrap_err(), VaultFault::NoCurrentKey);
}

#[test]
fn the_form_is_the_documented_one() {
    let nonce = Random::from_fn(|bytes| bytes.fill(5));
    let ring = KeyRing::single(258, Key::new([1; 32]));
    let keys = Keys::new(TENANT, PERSON, ring, nonce);
    let stored = keys.seal(place(), "text").unwrap().as_stored().to_vec();
    assert_eq!(stored[..3], [2, 1, 2]);
    assert_eq!(stored[3..15], [5; 12]);
    assert_eq!(stored.len(), 31 + "text".len());
}

#[test]
fn nothing_prints() {
    let sealed = keys().seal(place(), "text").unwrap();
    let opened = keys().open_at(place(), &sealed).unwrap();
    let printed = format!(
        "{sealed:?} {opened:?} {:?}",
        keys_of(TENANT, Holder::Studio, ring())
    );
    assert_eq!(printed, "Sealed(…) Opened(…) Keys(Studio, …)");
}

#[test]
fn an_index_is_the_same_for_the_same_text_of_a_studios_column_and_for_no_other() {
    let email = "tenancy.members.email";
    let studio = keys_of(TENANT, Holder::Studio, ring());
    let zoe = studio.index(email, "zoe@example.org").unwrap();
    assert_eq!(zoe, studio.index(email, "zoe@example.org").unwrap());
    assert_eq!(zoe, studio.index(email, " Zoe@EXAMPLE.org ").unwrap());
    assert_eq!((zoe[..2].to_vec(), zoe.len()), (vec![0, 1], 34));
    assert_ne!(zoe, studio.index(email, "zoe@example.com").unwrap());
    assert_ne!(
        zoe,
        studio
            .index("studio.artists.email", "zoe@example.org")
            .unwrap()
    );
    let other = KeyRing::single(1, Key::new([2; 32]));
    let other = keys_of(TENANT, Holder::Studio, other);
    assert_ne!(zoe, other.index(email, "zoe@example.org").unwrap());
    // While a rotation is under way it is found under the old key too.
    let rotated = keys_of(TENANT, Holder::Studio, ring().rotated(2, Key::new([2; 32])));
    assert_ne!(zoe, rotated.index(email, "zoe@example.org").unwrap());
    assert!(rotated.indexes(email, "zoe@example.org").contains(&zoe));
}
