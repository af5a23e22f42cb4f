use crate::Kind;

/// A kind of problem that callers are told of: its name for good, and what it means.
///
/// Made by [`problems!`](macro@crate::problems) and nothing else, which also lists it: a problem that is
/// in no list does not compile, so documentation and pages can be made from the lists.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ProblemType {
    uri: &'static str,
    slug: &'static str,
    kind: Kind,
    title: &'static str,
    about: &'static str,
}

impl ProblemType {
    /// For [`problems!`](macro@crate::problems).
    #[doc(hidden)]
    pub const fn declared(
        uri: &'static str,
        slug: &'static str,
        kind: Kind,
        title: &'static str,
        about: &'static str,
    ) -> Self {
        assert!(
            is_slug(slug.as_bytes()),
            "give lower-case words with hyphens"
        );
        Self {
            uri,
            slug,
            kind,
            title,
            about,
        }
    }

    /// Its URI, `/problems/SLUG`. It never changes.
    pub const fn uri(&self) -> &'static str {
        self.uri
    }

    /// The last segment of its URI.
    pub const fn slug(&self) -> &'static str {
        self.slug
    }

    /// What can be done about it, which decides the status.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// A few words.
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// What it means and what helps.
    pub const fn about(&self) -> &'static str {
        self.about
    }
}

const fn is_slug(mut text: &[u8]) -> bool {
    let mut last = b'-';
    while let [first, rest @ ..] = text {
        if !(first.is_ascii_lowercase() || *first == b'-' && last != b'-') {
            return false;
        }
        (last, text) = (*first, rest);
    }
    last != b'-'
}

/// Whether no slug of a list is in it twice, nor in another.
pub const fn are_distinct(list: &[&ProblemType], other: &[&ProblemType]) -> bool {
    let mut rest = list;
    while let [first, after @ ..] = rest {
        if has(after, first.slug) || has(other, first.slug) {
            return false;
        }
        rest = after;
    }
    true
}

const fn has(mut list: &[&ProblemType], slug: &str) -> bool {
    while let [first, rest @ ..] = list {
        if is_same(first.slug.as_bytes(), slug.as_bytes()) {
            return true;
        }
        list = rest;
    }
    false
}

const fn is_same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([first, rest @ ..], [second, others @ ..]) = (one, other) {
        if *first != *second {
            return false;
        }
        (one, other) = (rest, others);
    }
    one.is_empty() && other.is_empty()
}

/// Declares kinds of problems, and the list of all of them, `ALL`.
///
/// ```
/// watertight_terms::problems! {
///     DOUBLE_BOOKING = "double-booking", Conflict, "double booking",
///         "The artist is booked in that time.";
/// }
/// assert_eq!(ALL[0].slug(), DOUBLE_BOOKING.slug());
/// ```
///
/// Two of one name do not compile, nor does a name that is no slug.
///
/// ```compile_fail
/// watertight_terms::problems! {
///     ONE = "double-booking", Conflict, "one", "One.";
///     TWO = "double-booking", Conflict, "two", "Two.";
/// }
/// ```
#[macro_export]
macro_rules! problems {
    ($($name:ident = $slug:literal, $kind:ident, $title:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`/problems/", $slug, "`: ", $about)]
            pub const $name: &$crate::ProblemType =
                &$crate::ProblemType::declared(concat!("/problems/", $slug), $slug, $crate::Kind::$kind, $title, $about);
        )*
        /// All of them, in this order.
        pub const ALL: &[&$crate::ProblemType] = &[$($name),*];
        const _: () = assert!($crate::are_distinct(ALL, &[]), "two problems have one name");
    };
}
