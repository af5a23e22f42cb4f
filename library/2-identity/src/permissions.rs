use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// So many permissions a token may name: each is a bit of a mask, and a mask has 63 that every
/// reader reads alike.
const PERMISSIONS_MOST: usize = 63;
/// So many features a token may name; 4 KiB of claims hold no more.
const FEATURES_MOST: usize = 512;

/// What a token's own list of permissions leaves. It can only restrict: what somebody may do is
/// decided from the role and the studio's rows, and a product may ask for this on top.
///
/// Version 2 packs the list as `fea`, `per` and `fpm` (decimal masks, bit *j* of mask *i* is
/// `per[j]` of feature *i*). Clerk's SDKs count *i* in two ways: over the features of organizations
/// only, or over all of them. What both readings grant is granted, nothing else. What cannot be
/// read grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    granted: BTreeSet<(String, String)>,
    disputed: bool,
}

impl Permissions {
    /// Whether the token grants `permission` of `feature` (Clerk's `org:feature:permission`).
    pub fn allows(&self, feature: &str, permission: &str) -> bool {
        self.iter().any(|granted| granted == (feature, permission))
    }

    /// Every feature with a permission that is granted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.granted
            .iter()
            .map(|(feature, permission)| (&**feature, &**permission))
    }

    /// Whether the two readings differ, which is worth an alert.
    pub fn is_disputed(&self) -> bool {
        self.disputed
    }

    pub(crate) fn of_version_2(claims: &Map<String, Value>) -> Self {
        let organization = claims.get("o");
        let packed = |name| {
            organization
                .and_then(|o| o.get(name))
                .and_then(Value::as_str)
        };
        let features = claims.get("fea").and_then(Value::as_str);
        let (Some(features), Some(names), Some(masks)) = (features, packed("per"), packed("fpm"))
        else {
            return Self::default();
        };
        let features: Vec<Feature<'_>> = parts(features).map(Feature::parse).collect();
        let names: Vec<&str> = parts(names).collect();
        let masks: Vec<u64> = parts(masks).map(low_bits).collect();
        if features.len() > FEATURES_MOST || names.len() > PERMISSIONS_MOST {
            return Self::default();
        }
        let granted = |counted: &[Feature<'_>]| -> BTreeSet<(String, String)> {
            let pairs = counted.iter().zip(&masks);
            pairs
                .filter(|(feature, _)| feature.of_organizations)
                .flat_map(|(feature, mask)| named(feature.name, *mask, &names))
                .collect()
        };
        let of_organizations: Vec<Feature<'_>> = features
            .iter()
            .copied()
            .filter(|feature| feature.of_organizations)
            .collect();
        let (narrow, wide) = (granted(&of_organizations), granted(&features));
        Self {
            disputed: narrow != wide,
            granted: narrow.intersection(&wide).cloned().collect(),
        }
    }

    /// Version 1 writes each one out: `org:feature:permission`.
    pub(crate) fn of_version_1(claims: &Map<String, Value>) -> Self {
        let list = claims.get("org_permissions").and_then(Value::as_array);
        let granted = list
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str()?.strip_prefix("org:")?.split_once(':'))
            .map(|(feature, permission)| (feature.to_owned(), permission.to_owned()))
            .collect();
        Self {
            granted,
            disputed: false,
        }
    }
}

/// A feature, and whether it is one of organizations (`o:`, `uo:`, `ou:`) or of users only.
#[derive(Clone, Copy)]
struct Feature<'a> {
    name: &'a str,
    of_organizations: bool,
}

impl<'a> Feature<'a> {
    fn parse(text: &'a str) -> Self {
        let (scope, name) = text.split_once(':').unwrap_or(("", text));
        Self {
            name,
            of_organizations: matches!(scope, "o" | "uo" | "ou"),
        }
    }
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// The permissions whose bits are set; bits beyond the names mean nothing.
fn named(feature: &str, mask: u64, names: &[&str]) -> Vec<(String, String)> {
    let bits = names.iter().enumerate();
    bits.filter(|(bit, name)| !name.is_empty() && mask >> bit & 1 == 1)
        .map(|(_, name)| (feature.to_owned(), (*name).to_owned()))
        .collect()
}

/// The lowest 64 bits of a decimal number of any length, which are all that anybody asks for; what
/// is no number has none.
fn low_bits(text: &str) -> u64 {
    let number = text.bytes().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.wrapping_mul(10).wrapping_add(digit))
    });
    number.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(fea: Value, per: Value, fpm: Value) -> Permissions {
        let claims = json!({ "fea": fea, "o": { "per": per, "fpm": fpm } });
        Permissions::of_version_2(claims.as_object().unwrap())
    }

    fn text(permissions: &Permissions) -> String {
        let all = permissions.iter();
        let all: Vec<String> = all
            .map(|(feature, name)| format!("{feature}:{name}"))
            .collect();
        all.join(" ")
    }

    /// The vectors of both readings, by Clerk's JavaScript and by its other SDKs.
    #[test]
    fn what_both_readings_grant_is_granted() {
        let three = "u:profile,o:bookings,o:people";
        for (fea, per, fpm, granted, disputed) in [
            (
                "o:dashboard,o:teams",
                "manage,read",
                "3,2",
                "dashboard:manage dashboard:read teams:read",
                false,
            ),
            (
                "o:repositories,o:projects",
                "read,create,update,delete,revoke",
                "7,21",
                "projects:read projects:revoke projects:update repositories:create repositories:read repositories:update",
                false,
            ),
            (three, "read,manage", "0,1,3", "people:read", true),
            (three, "read,manage", "1,3", "bookings:read", true),
            (
                "o:bookings,u:profile,o:people",
                "read,manage",
                "1,0,3",
                "bookings:read",
                true,
            ),
        ] {
            let read = read(json!(fea), json!(per), json!(fpm));
            assert_eq!(
                (text(&read).as_str(), read.is_disputed()),
                (granted, disputed),
                "{fea}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_grants_nothing() {
        assert_eq!(
            text(&read(json!("o:a"), json!("read"), json!("1"))),
            "a:read"
        );
        let many = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
            names.join(",")
        };
        for (fea, per, fpm) in [
            (json!(null), json!("read"), json!("1")),
            (json!("o:a"), json!(null), json!("1")),
            (json!("o:a"), json!("read"), json!(null)),
            (json!(["o:a"]), json!("read"), json!("1")),
            (json!("o:a"), json!("read"), json!(1)),
            (json!("o:a"), json!("read"), json!("")),
            (json!("o:a"), json!("read"), json!("0x1")),
            (json!("o:a"), json!("read"), json!("-1")),
            (json!("o:a"), json!("read"), json!("+1")),
            (json!("o:a"), json!("read"), json!("1.0")),
            (json!("o:a"), json!("read"), json!("2")),
            (json!("o:a"), json!(""), json!("1")),
            (json!("u:a"), json!("read"), json!("1")),
            (json!("a"), json!("read"), json!("1")),
            (json!("ox:a"), json!("read"), json!("1")),
            (json!("o:a"), json!(many(64)), json!("1")),
        ] {
            assert_eq!(text(&read(fea, per, fpm)), "");
        }
        assert_eq!(
            text(&read(json!("o:a"), json!(many(63)), json!("1"))),
            "a:p0"
        );
    }

    #[test]
    fn long_masks_are_exact_and_bits_beyond_the_names_mean_nothing() {
        // 2^64 + 1, 2^70, and 2^53 + 1, which a float does not hold.
        for (mask, granted) in [
            ("18446744073709551617", "a:p0"),
            ("1180591620717411303424", ""),
            ("9007199254740993", "a:p0"),
        ] {
            assert_eq!(
                text(&read(json!("o:a"), json!("p0,p1"), json!(mask))),
                granted
            );
        }
        assert_eq!(
            text(&read(
                json!(" o:a , uo:b "),
                json!(" p0 , p1 "),
                json!(" 1 , 2 ")
            )),
            "a:p0 b:p1"
        );
    }

    #[test]
    fn version_1_writes_each_one_out() {
        let claims =
            json!({ "org_permissions": ["org:a:read", "a:read", 1, "org:x", "org:a:b:c"] });
        let read = Permissions::of_version_1(claims.as_object().unwrap());
        assert_eq!(text(&read), "a:b:c a:read");
        assert!(read.allows("a", "read") && !read.allows("a", "b") && !read.allows("", "a:read"));
    }

    proptest! {
        /// Nothing that either reading does not grant, whatever is written.
        #[test]
        fn any_text_is_read(fea in "([uo]{1,2}:[a-c],?){0,6}", per in "([a-d],?){0,6}", fpm in "([0-9]{0,3},?){0,6}") {
            let read = read(json!(fea), json!(per), json!(fpm));
            let names: Vec<&str> = parts(&per).collect();
            for (feature, name) in read.iter() {
                let (o, u) = (format!("o:{feature}"), format!("u:{feature}"));
                prop_assert!(fea.contains(&o) || fea.contains(&u));
                prop_assert!(names.contains(&name));
            }
        }
    }
}
