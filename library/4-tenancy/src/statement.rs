//! Statements, checked while compiling.
//!
//! SQL text is `&'static str` and each kind of statement has the words that keep it inside its
//! studio. A statement without them does not compile where it is a `const`:
//!
//! ```compile_fail
//! use watertight_tenancy::Read;
//! const ALL: Read = Read::new("SELECT id FROM studio.bookings");
//! ```

/// A statement that reads one studio's rows: `SELECT … tenant_id = $1 …`.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    pub(crate) sql: &'static str,
    /// It locks what it reads, for a change to come.
    pub(crate) locks: bool,
}

impl Read {
    /// A statement that begins with `SELECT` and names its tenant as `tenant_id = $1`.
    ///
    /// # Panics
    /// When it does not: while compiling, in a `const`.
    pub const fn new(sql: &'static str) -> Self {
        assert!(begins(sql, "SELECT "), "a read begins with SELECT");
        assert!(
            contains(sql, "tenant_id = $1"),
            "a read says tenant_id = $1"
        );
        plain(sql);
        let locks = contains(sql, " FOR UPDATE")
            || contains(sql, " FOR NO KEY UPDATE")
            || contains(sql, " FOR SHARE");
        Self { sql, locks }
    }
}

/// A statement that changes exactly one row, of the version that was granted.
#[derive(Debug, Clone, Copy)]
pub struct Change(pub(crate) &'static str);

impl Change {
    /// A statement that begins with `UPDATE`, raises the version, and says
    /// `WHERE tenant_id = $1 AND id = $2 AND version = $3`. Further parameters start at `$4`.
    ///
    /// # Panics
    /// When it does not: while compiling, in a `const`.
    pub const fn new(sql: &'static str) -> Self {
        assert!(begins(sql, "UPDATE "), "a change begins with UPDATE");
        assert!(
            contains(sql, "version = version + 1"),
            "a change raises the version"
        );
        assert!(
            contains(sql, "WHERE tenant_id = $1 AND id = $2 AND version = $3"),
            "a change says WHERE tenant_id = $1 AND id = $2 AND version = $3"
        );
        assert!(contains(sql, "RETURNING "), "a change returns its row");
        assert!(
            !contains(sql, " OR "),
            "a change has one row, not this one or another"
        );
        plain(sql);
        Self(sql)
    }
}

/// A statement that writes a row of the transaction's own studio.
#[derive(Debug, Clone, Copy)]
pub struct Insert(pub(crate) &'static str);

impl Insert {
    /// A statement that begins with `INSERT INTO` and whose first column and value are
    /// `(tenant_id, …) … ($1, …)`. Further parameters start at `$2`.
    ///
    /// # Panics
    /// When it does not: while compiling, in a `const`.
    pub const fn new(sql: &'static str) -> Self {
        assert!(
            begins(sql, "INSERT INTO "),
            "an insert begins with INSERT INTO"
        );
        assert!(
            contains(sql, "(tenant_id,"),
            "an insert names tenant_id first"
        );
        assert!(contains(sql, "($1,"), "an insert gives the tenant as $1");
        assert!(
            !contains(sql, "ON CONFLICT"),
            "an insert changes no row that is there"
        );
        plain(sql);
        Self(sql)
    }
}

/// A statement that writes what follows from a granted change inside the same aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Consequence {
    pub(crate) sql: &'static str,
    /// Whether `$2` is the row that was changed.
    pub(crate) of_the_row: bool,
}

impl Consequence {
    /// An `INSERT INTO … (tenant_id, …) … ($1, …)`, with parameters from `$2`; or an `UPDATE … WHERE
    /// tenant_id = $1 AND source_id = $2 …` of what stems from the changed row, whose id is put in
    /// for `$2`, with parameters from `$3`.
    ///
    /// # Panics
    /// When it is neither: while compiling, in a `const`.
    pub const fn new(sql: &'static str) -> Self {
        let of_the_row = begins(sql, "UPDATE ");
        if of_the_row {
            assert!(
                contains(sql, "WHERE tenant_id = $1 AND source_id = $2"),
                "a consequence says WHERE tenant_id = $1 AND source_id = $2"
            );
            assert!(!contains(sql, " OR "), "a consequence stems from one row");
            plain(sql);
        } else {
            Insert::new(sql);
        }
        Self { sql, of_the_row }
    }
}

/// One statement a message, nothing hidden in a comment, and no `$12` where `$1` is meant.
pub(crate) const fn plain(sql: &str) {
    assert!(!contains(sql, ";"), "one statement a message");
    assert!(
        !contains(sql, "--") && !contains(sql, "/*"),
        "no comments in statements"
    );
    assert!(!before_digit(sql, "tenant_id = $1"), "the tenant is $1");
    assert!(!before_digit(sql, "version = $3"), "the version is $3");
}

/// Whether a digit follows a place where `part` stands.
#[expect(
    clippy::indexing_slicing,
    reason = "a const fn has no iterators; the bounds are checked"
)]
const fn before_digit(text: &str, part: &str) -> bool {
    let mut at = 0;
    while at + part.len() < text.len() {
        if matches_at(text.as_bytes(), part.as_bytes(), at)
            && text.as_bytes()[at + part.len()].is_ascii_digit()
        {
            return true;
        }
        at += 1;
    }
    false
}

pub(crate) const fn begins(text: &str, with: &str) -> bool {
    matches_at(text.as_bytes(), with.as_bytes(), 0)
}

pub(crate) const fn contains(text: &str, part: &str) -> bool {
    let mut at = 0;
    while at + part.len() <= text.len() {
        if matches_at(text.as_bytes(), part.as_bytes(), at) {
            return true;
        }
        at += 1;
    }
    false
}

#[expect(
    clippy::indexing_slicing,
    reason = "a const fn has no iterators; the bounds are checked"
)]
const fn matches_at(text: &[u8], part: &[u8], at: usize) -> bool {
    let mut i = 0;
    while i < part.len() {
        if at + i >= text.len() || text[at + i] != part[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_with_their_words_are_accepted() {
        Read::new("SELECT id FROM t WHERE tenant_id = $1");
        Change::new(
            "UPDATE t SET a = $4, version = version + 1 WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING id",
        );
        Insert::new("INSERT INTO t (tenant_id, id) VALUES ($1, $2)");
    }

    #[test]
    fn statements_without_their_words_are_refused() {
        fn let_go<T>(_: T) {}
        let refused = |make: fn()| std::panic::catch_unwind(make).is_err();
        assert!(refused(|| let_go(Read::new("SELECT id FROM t"))));
        assert!(refused(|| let_go(Read::new(
            "UPDATE t SET a = 1 WHERE tenant_id = $1"
        ))));
        assert!(refused(|| let_go(Read::new(
            "SELECT 1 WHERE tenant_id = $1; COMMIT"
        ))));
        assert!(refused(|| let_go(Change::new(
            "UPDATE t SET version = version + 1 WHERE tenant_id = $1 AND id = $2 RETURNING id"
        ))));
        assert!(refused(|| let_go(Change::new(
            "UPDATE t SET a = $4 WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING id"
        ))));
        assert!(refused(|| let_go(Insert::new(
            "INSERT INTO t (id) VALUES ($1)"
        ))));
        assert!(refused(|| let_go(Read::new(
            "SELECT id FROM t WHERE tenant_id = $12"
        ))));
        assert!(refused(|| let_go(Read::new(
            "SELECT id FROM t /* tenant_id = $1 */"
        ))));
        assert!(refused(|| let_go(Read::new(
            "SELECT id FROM t -- tenant_id = $1"
        ))));
        assert!(refused(|| let_go(Change::new(
            "UPDATE t SET version = version + 1 WHERE tenant_id = $1 AND id = $2 AND version = $3 OR id = $4 RETURNING id"
        ))));
        assert!(refused(|| let_go(Insert::new(
            "INSERT INTO t (tenant_id, id) VALUES ($1, $2) ON CONFLICT (tenant_id, id) DO UPDATE SET a = 1"
        ))));
        assert!(refused(|| let_go(Consequence::new(
            "UPDATE t SET a = 1 WHERE tenant_id = $1 AND source_id = $2 OR true"
        ))));
        assert!(refused(|| let_go(Consequence::new(
            "UPDATE t SET a = 1 WHERE tenant_id = $1"
        ))));
    }
}
