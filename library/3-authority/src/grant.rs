use std::{fmt, marker::PhantomData};

use uuid::Uuid;

use crate::{Action, Resource};

/// Sixteen bytes that one transaction draws and keeps to itself.
///
/// A grant remembers the nonce that it was asked for with, and is spent only against the same
/// one: what was granted in one transaction is worth nothing in another, however it got there.
pub struct Nonce([u8; 16]);

impl Nonce {
    /// A nonce of these random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    // Not `Clone`: a transaction lends its nonce, and only a grant may keep a copy.
    fn copy(&self) -> Self {
        Self(self.0)
    }

    // Looks at every byte whatever the first ones are, so that time tells nothing about them.
    fn is(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(other.0.iter());
        differences.fold(0, |found, (a, b)| found | (a ^ b)) == 0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// The right to do `A` to one row that is there, once, in one transaction.
///
/// Minted by [`Authority::decide`](crate::Authority::decide) and nowhere else. Private fields, no
/// `Clone`: whoever holds one was allowed it, and whoever spent one holds it no more.
#[must_use = "a right that is not spent changes nothing"]
pub struct Granted<A, R> {
    row: R,
    rule: String,
    nonce: Nonce,
    action: PhantomData<fn() -> A>,
}

impl<A: Action<R>, R: Resource> Granted<A, R> {
    pub(crate) fn mint(row: R, rule: String, nonce: &Nonce) -> Self {
        Self {
            row,
            rule,
            nonce: nonce.copy(),
            action: PhantomData,
        }
    }

    /// The row as it was when the right was granted.
    pub fn row(&self) -> &R {
        &self.row
    }

    /// Which row.
    pub fn id(&self) -> Uuid {
        self.row.id()
    }

    /// The version that was looked at; the change must name it.
    pub fn version(&self) -> i32 {
        self.row.version()
    }

    /// The policy that allowed it.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Turns the right into the deed.
    ///
    /// # Errors
    /// When the right was granted in another transaction than the one whose nonce this is.
    pub fn spend(self, nonce: &Nonce) -> Result<Spent<A, R>, Misspent> {
        if !self.nonce.is(nonce) {
            return Err(Misspent { action: A::NAME });
        }
        Ok(Spent {
            row: self.row,
            rule: self.rule,
            action: PhantomData,
        })
    }
}

impl<A: Action<R>, R: Resource> fmt::Debug for Granted<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Granted({}, {})", A::NAME, self.id())
    }
}

/// An action that opens sealed columns of an `R`, each named as `schema.table.column`.
pub trait Opens<R: Resource>: Action<R> {
    /// Those that it opens; no other.
    const COLUMNS: &'static [&'static str];
}

/// An action that opens sealed columns of other rows than the `R` it is done with: of all that an `R` gathers, such as an
/// export of what is about somebody.
pub trait Gathers<R: Resource>: Action<R> {
    /// Whether it opens that column of that table, `schema.table`.
    fn opens(table: &str, column: &str) -> bool;
}

/// The right to open sealed columns of one row that was read, or of what it gathers, in one transaction, as often as it
/// takes.
///
/// Minted by [`Authority::allow`](crate::Authority::allow) and
/// [`Authority::allow_gathering`](crate::Authority::allow_gathering), and nowhere else.
pub struct Allowed<A, R> {
    row: Uuid,
    nonce: Nonce,
    what: PhantomData<fn() -> (A, R)>,
}

impl<A: Action<R>, R: Resource> Allowed<A, R> {
    pub(crate) fn mint(row: &R, nonce: &Nonce) -> Self {
        Self {
            row: row.id(),
            nonce: nonce.copy(),
            what: PhantomData,
        }
    }
}

impl<A: Gathers<R>, R: Resource> Allowed<A, R> {
    /// Says nothing where a column of a table may be opened, of whichever row.
    ///
    /// # Errors
    /// When the action opens no such column, or it was allowed in another transaction than the one
    /// whose nonce this is.
    pub fn gathers(&self, table: &str, column: &str, nonce: &Nonce) -> Result<(), Misspent> {
        if self.nonce.is(nonce) && A::opens(table, column) {
            Ok(())
        } else {
            Err(Misspent { action: A::NAME })
        }
    }
}

impl<A: Opens<R>, R: Resource> Allowed<A, R> {
    /// The row of which a column may be opened.
    ///
    /// # Errors
    /// When the action opens no such column, or it was allowed in another transaction than the one
    /// whose nonce this is.
    pub fn row_for(&self, column: &str, nonce: &Nonce) -> Result<Uuid, Misspent> {
        if self.nonce.is(nonce) && A::COLUMNS.contains(&column) {
            Ok(self.row)
        } else {
            Err(Misspent { action: A::NAME })
        }
    }
}

impl<A: Action<R>, R: Resource> fmt::Debug for Allowed<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allowed({}, {})", A::NAME, self.row)
    }
}

/// The right to do `A` where no row of the kind is yet: to create one, in the own tenant, once.
///
/// Minted by [`Authority::decide_new`](crate::Authority::decide_new) and nowhere else.
#[must_use = "a right that is not spent changes nothing"]
pub struct GrantedNew<A, R> {
    rule: String,
    nonce: Nonce,
    what: PhantomData<fn() -> (A, R)>,
}

impl<A: Action<R>, R: Resource> GrantedNew<A, R> {
    pub(crate) fn mint(rule: String, nonce: &Nonce) -> Self {
        Self {
            rule,
            nonce: nonce.copy(),
            what: PhantomData,
        }
    }

    /// The policy that allowed it.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Turns the right into the deed.
    ///
    /// # Errors
    /// When the right was granted in another transaction than the one whose nonce this is.
    pub fn spend(self, nonce: &Nonce) -> Result<SpentNew<A, R>, Misspent> {
        if !self.nonce.is(nonce) {
            return Err(Misspent { action: A::NAME });
        }
        Ok(SpentNew {
            rule: self.rule,
            what: PhantomData,
        })
    }
}

impl<A: Action<R>, R: Resource> fmt::Debug for GrantedNew<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantedNew({})", A::NAME)
    }
}

/// A right that was spent in its own transaction: what a change is handed.
pub struct Spent<A, R> {
    row: R,
    rule: String,
    action: PhantomData<fn() -> A>,
}

impl<A: Action<R>, R: Resource> Spent<A, R> {
    /// The row as it was when the right was granted.
    pub fn row(&self) -> &R {
        &self.row
    }

    /// The row, to be kept.
    pub fn into_row(self) -> R {
        self.row
    }

    /// Which row.
    pub fn id(&self) -> Uuid {
        self.row.id()
    }

    /// The version that the change must name.
    pub fn version(&self) -> i32 {
        self.row.version()
    }

    /// What is done, `noun.verb`.
    pub fn action(&self) -> &'static str {
        A::NAME
    }

    /// To what kind of row.
    pub fn noun(&self) -> &'static str {
        R::NOUN
    }

    /// The policy that allowed it.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl<A: Action<R>, R: Resource> fmt::Debug for Spent<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spent({}, {})", A::NAME, self.id())
    }
}

/// A right to create that was spent in its own transaction.
pub struct SpentNew<A, R> {
    rule: String,
    what: PhantomData<fn() -> (A, R)>,
}

impl<A: Action<R>, R: Resource> SpentNew<A, R> {
    /// What is done, `noun.verb`.
    pub fn action(&self) -> &'static str {
        A::NAME
    }

    /// What kind of row is made.
    pub fn noun(&self) -> &'static str {
        R::NOUN
    }

    /// The policy that allowed it.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl<A: Action<R>, R: Resource> fmt::Debug for SpentNew<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpentNew({})", A::NAME)
    }
}

/// Not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not allowed{}", self.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default())]
pub struct Refused {
    /// Whether the caller may view the row. If so the refusal may be told (403); if not, the row
    /// is as absent (404).
    pub seen: bool,
    /// What decided, for the ledger: the policies that forbid, or what went wrong while deciding.
    /// Nothing where simply no policy permits.
    pub rule: Option<String>,
}

/// A right that is spent in another transaction than the one that granted it: a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the right to `{action}` was granted in another transaction; ask for it in the one that spends it"
)]
pub struct Misspent {
    /// What was to be done.
    pub action: &'static str,
}
