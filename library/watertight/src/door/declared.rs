use http::Method;
use watertight_terms::Fault;

use super::Way;
use crate::{argument::Input, describe::Describe};

/// A route as it was declared, for tests that walk all of them.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The path, with `{id}` for parameters.
    pub path: &'static str,
    /// Who comes to it, and how.
    pub way: Way,
    /// What it is for.
    pub what: What,
    /// What is told of it.
    pub told: Told,
    /// Reads the arguments and does nothing with them.
    pub read: fn(&Input) -> Result<(), Fault>,
    /// Says what it takes and answers.
    pub describe: Describe,
}

/// What is told of a route, beside what its types say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// What it does.
    pub summary: &'static str,
    /// A body that it takes.
    pub sample: Option<&'static str>,
    /// What a new row needs before it.
    pub after: &'static [&'static str],
    /// So many bytes a body may have, where that is more than elsewhere.
    pub body_bytes: Option<usize>,
    /// Whether it reads or works through much.
    pub is_expensive: bool,
    /// What guests are answered, where they are let in.
    pub guests: Option<Describe>,
}

/// What a route is for.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// Members with a right.
    Needs {
        /// The action.
        action: &'static str,
        /// The resource.
        resource: &'static str,
    },
    /// Everybody.
    Public {
        /// Why.
        why: &'static str,
    },
}
