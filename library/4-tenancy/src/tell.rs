//! Calling the gate's functions with what the server signed.

use std::sync::Arc;

use watertight_terms::{Clock, Fault, KeyRing, Random};

use crate::{
    Row, Tenancy, TenantTx, context,
    statement::{begins, contains, plain},
};

/// A function of the gate that takes one text, signed for it alone, and nothing else: what it takes
/// nobody can make who can only send SQL.
#[derive(Debug, Clone, Copy)]
pub struct Tell {
    pub(crate) prefix: &'static str,
    pub(crate) sql: &'static str,
}

impl Tell {
    /// `SELECT … function($1)`; the prefix keeps what is signed for it from being for another one.
    ///
    /// # Panics
    /// When it is of another form: while compiling, in a `const`.
    pub const fn new(prefix: &'static str, sql: &'static str) -> Self {
        assert!(begins(sql, "SELECT "), "a call begins with SELECT");
        assert!(contains(sql, "($1)"), "a function takes what was signed");
        assert!(!contains(sql, "$2"), "a function takes nothing else");
        plain(sql);
        Self { prefix, sql }
    }
}

/// What is signed with.
#[derive(Clone)]
pub(crate) struct Signing {
    pub(crate) keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl TenantTx {
    /// Calls one of the gate's functions in this transaction: what it does is kept or undone with the
    /// rest.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn tell(&mut self, tell: Tell, fields: &[&str]) -> Result<Vec<Row>, Fault> {
        let Signing {
            keys,
            clock,
            random,
        } = &self.parts.signing;
        let signed = context::sign_for_gate(tell.prefix, fields, &keys(), clock, random)?;
        self.run(tell.sql, &[&signed]).await
    }
}

impl Tenancy {
    /// Calls one of the gate's functions that take nobody's context, in a transaction of its own.
    ///
    /// # Errors
    /// When it refuses, or the database cannot be reached.
    pub async fn tell(&self, tell: Tell, fields: &[&str]) -> Result<Vec<Row>, Fault> {
        self.call_gate(tell.sql, tell.prefix, fields).await
    }
}
