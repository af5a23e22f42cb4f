use serde_json::{Value, json};
use watertight_terms::{Clock, Fault, problems};

use crate::Member;

/// How lately somebody must have proven who they are, in Clerk's words and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reverification {
    /// Both factors within ten minutes.
    StrictMfa,
    /// The second factor within ten minutes.
    Strict,
    /// The second factor within an hour.
    Moderate,
    /// The second factor within a day.
    Lax,
}

impl Reverification {
    fn minutes(self) -> i64 {
        match self {
            Self::StrictMfa | Self::Strict => 10,
            Self::Moderate => 60,
            Self::Lax => 1_440,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::StrictMfa => "strict_mfa",
            Self::Strict => "strict",
            Self::Moderate => "moderate",
            Self::Lax => "lax",
        }
    }

    /// `403 reverification`, with the member `clerk_error` by which Clerk's own front end asks
    /// for the factor and tries again.
    fn wanted(self) -> Fault {
        Fault::new(
            problems::REVERIFICATION,
            "prove again that it is you, and try again",
        )
        .details(json!({ "clerk_error": {
            "type": "forbidden", "reason": "reverification-error", "metadata": { "reverification": self.word() },
        } }))
    }
}

/// Minutes since each factor was proven, when the token was issued (`fva`); none: never, or the
/// person has no such factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FactorAges {
    first_minutes: Option<i64>,
    second_minutes: Option<i64>,
}

impl FactorAges {
    /// What is missing or malformed was never proven.
    pub(crate) fn of(claim: Option<&Value>) -> Self {
        let minutes = |age: &Value| age.as_i64().filter(|age| (0..=1 << 32).contains(age));
        match claim.and_then(Value::as_array).map(Vec::as_slice) {
            Some([first, second]) => Self {
                first_minutes: minutes(first),
                second_minutes: minutes(second),
            },
            _ => Self::default(),
        }
    }
}

impl Member {
    /// Whether this person proved lately enough who they are, for what a stolen session must not
    /// do.
    ///
    /// As at Clerk, the first factor stands in for a second that a person does not have; whether
    /// everybody must have one is the instance's setting.
    ///
    /// # Errors
    /// `reverification`, in the form that Clerk's front end understands.
    ///
    /// ```
    /// use watertight_identity::{Member, Reverification};
    /// use watertight_terms::{Clock, Fault};
    ///
    /// fn before_closing_the_studio(member: &Member, clock: &Clock) -> Result<(), Fault> {
    ///     member.verified_within(Reverification::Strict, clock)
    /// }
    /// ```
    pub fn verified_within(&self, level: Reverification, clock: &Clock) -> Result<(), Fault> {
        let since_s = clock.now_s().saturating_sub(self.issued_at_s).max(0);
        let is_fresh = |minutes: i64| minutes * 60 + since_s < level.minutes() * 60;
        let FactorAges {
            first_minutes,
            second_minutes,
        } = self.factor_ages;
        let first = first_minutes.is_some_and(is_fresh);
        let is_good = match (level, second_minutes) {
            (_, None) => first,
            (Reverification::StrictMfa, Some(second)) => first && is_fresh(second),
            (_, Some(second)) => is_fresh(second),
        };
        if is_good { Ok(()) } else { Err(level.wanted()) }
    }
}
