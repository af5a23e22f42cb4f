use serde::Serialize;

/// How long the rows of a table are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Retention {
    /// As long as the studio.
    Studio,
    /// As long as the installation: it is nobody's, or of no studio.
    Installation,
    /// For so many days; whoever keeps it forgets it by itself.
    Days {
        /// At most so many, once it is over.
        days: u32,
    },
    /// As long as the row of that table to which it belongs, and gone with it.
    With {
        /// `schema.table`.
        table: &'static str,
    },
    /// As long as its rule says.
    By(Rule),
    /// As long as its rule says, and then in whole pieces from the first row on: a log, of which what
    /// is left must still be verified.
    Log(Rule),
}

impl Retention {
    /// The rule, where there is one.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::By(rule) | Self::Log(rule) => Some(*rule),
            Self::Studio | Self::Installation | Self::Days { .. } | Self::With { .. } => None,
        }
    }
}

/// When rows are over, and what becomes of them then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What a studio's settings call it.
    pub name: &'static str,
    /// Its place in their order: what refers to others is over before them.
    pub step: u32,
    /// From when the days are counted, in words.
    pub since: &'static str,
    /// For how many days.
    pub days: Days,
    /// What becomes of them.
    pub then: Then,
}

/// For how many days something is kept: what holds where the studio decided nothing, and between what it
/// may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Days {
    /// Where the studio decided nothing.
    pub usual: u32,
    /// At least so many.
    pub least: u32,
    /// At most so many.
    pub most: u32,
}

/// What becomes of a row that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It goes, with what belongs to it.
    Remove,
    /// It stays, without what it says of a person: business records refer to it.
    Anonymise,
}

impl Days {
    /// Bounds for what is kept `usual` days.
    ///
    /// # Panics
    /// When `usual` is not between the others: while compiling, in a `const`.
    pub const fn new(usual: u32, least: u32, most: u32) -> Self {
        assert!(
            least > 0 && least <= usual && usual <= most,
            "usual days lie between the bounds"
        );
        Self { usual, least, most }
    }
}
