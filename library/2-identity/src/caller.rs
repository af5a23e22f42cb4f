use watertight_terms::{Role, Subject, TenantId};

use crate::{Permissions, reverification::FactorAges};

use crate::{feed::FeedSecret, page::PageSecret};

/// Somebody who is calling, for certain.
///
/// There is no way to make one but [`Verifier::verify`](crate::Verifier::verify),
/// [`Caller::page`], [`Caller::feed`] and [`Caller::service`]; its fields are private.
#[derive(Debug, Clone)]
pub struct Caller(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Member(Member),
    Service { name: ServiceName, tenant: TenantId },
    Page { digest: [u8; 32] },
    Feed { digest: [u8; 32] },
}

/// Who a caller is.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// A person with a session.
    Member(&'a Member),
    /// A job of the product, in one studio.
    Service {
        /// Its name.
        name: &'static str,
        /// The studio.
        tenant: TenantId,
    },
    /// A browser with the cookie of a page session. Whose that is, and whether it still counts, is
    /// looked up in the transaction that it asks for.
    Page {
        /// What is stored of the cookie.
        digest: [u8; 32],
    },
    /// A program with the address of a feed: to read, for the member whose feed it is. Whose that is, and
    /// whether it still counts, is looked up in the transaction that it asks for.
    Feed {
        /// What is stored of the address.
        digest: [u8; 32],
    },
}

/// A person with a session, as the token says.
#[derive(Debug, Clone)]
pub struct Member {
    pub(crate) subject: Subject,
    pub(crate) organization: Subject,
    pub(crate) session: Subject,
    pub(crate) claimed: Role,
    pub(crate) issued_at_s: i64,
    pub(crate) issuer: String,
    pub(crate) actor: Option<Actor>,
    pub(crate) factor_ages: FactorAges,
    pub(crate) permissions: Permissions,
}

/// Somebody who acts as a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub(crate) subject: Subject,
    pub(crate) session: Option<Subject>,
}

impl Actor {
    /// Who it is, as whoever let them act knows them.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The session that they act from, where the token names it.
    pub fn session(&self) -> Option<&Subject> {
        self.session.as_ref()
    }
}

impl Member {
    /// The user.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The organization that is active in the session.
    pub fn organization(&self) -> &Subject {
        &self.organization
    }

    /// The session.
    pub fn session(&self) -> &Subject {
        &self.session
    }

    /// The role that the token claims. It can only lower what the studio admitted.
    pub fn claimed_role(&self) -> Role {
        self.claimed
    }

    /// When the token was issued, in seconds since 1970.
    pub fn issued_at_s(&self) -> i64 {
        self.issued_at_s
    }

    /// Who issued the token, which matters where a verifier knows several.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who acts as this member, if somebody does: then both belong in the record, and the session
    /// is to read only. There is none unless the settings let it in
    /// ([`Impersonation`](crate::Impersonation)).
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// What the token's own list of permissions leaves. A restriction on top of the role, never a
    /// right.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

impl Caller {
    pub(crate) fn member(member: Member) -> Self {
        Self(Kind::Member(member))
    }

    /// A job that acts in one studio. It enters only where the studio has a service of that name.
    pub fn service(name: ServiceName, tenant: TenantId) -> Self {
        Self(Kind::Service { name, tenant })
    }

    /// A browser with the cookie of a page session.
    pub fn page(secret: &PageSecret) -> Self {
        Self(Kind::Page {
            digest: secret.digest(),
        })
    }

    /// A program with the address of a feed.
    pub fn feed(secret: &FeedSecret) -> Self {
        Self(Kind::Feed {
            digest: secret.digest(),
        })
    }

    /// Who it is.
    pub fn who(&self) -> Who<'_> {
        match &self.0 {
            Kind::Member(member) => Who::Member(member),
            Kind::Service { name, tenant } => Who::Service {
                name: name.0,
                tenant: *tenant,
            },
            Kind::Page { digest } => Who::Page { digest: *digest },
            Kind::Feed { digest } => Who::Feed { digest: *digest },
        }
    }
}

/// The name of a service, checked while compiling.
///
/// ```
/// use watertight_identity::ServiceName;
/// const EXPIRY: ServiceName = ServiceName::new("expiry");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceName(&'static str);

impl ServiceName {
    /// A name of 1 to 32 characters of `a-z 0-9 -`.
    ///
    /// # Panics
    /// When it is none: while compiling, in a `const`.
    #[expect(
        clippy::indexing_slicing,
        reason = "a const fn has no iterators; the bound is checked"
    )]
    pub const fn new(name: &'static str) -> Self {
        let letters = name.as_bytes();
        assert!(
            !letters.is_empty() && letters.len() <= 32,
            "a name has 1 to 32 characters"
        );
        let mut i = 0;
        while i < letters.len() {
            let letter = letters[i];
            assert!(
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-',
                "a name has only a-z, 0-9 and -"
            );
            i += 1;
        }
        Self(name)
    }
}
