use std::{borrow::Cow, fmt};

use crate::{Aim, ProblemType, Unproven, problems};

/// What went wrong, whose fault it is, and two messages: one for the caller, one for the log.
///
/// A fault knows nothing of HTTP; one file of the product turns its [`Kind`] into a status.
///
/// ```
/// use watertight_terms::{Fault, Whose, problems};
/// let fault = Fault::new(problems::CONFLICT, "the artist is booked in that time")
///     .log("exclusion constraint bookings_no_double");
/// assert_eq!(fault.kind().whose(), Whose::Caller);
/// assert_eq!(fault.slug(), "conflict");
/// ```
#[derive(Debug, Clone)]
pub struct Fault(Box<Parts>);

/// Boxed, so that a result that may be a fault stays small.
#[derive(Debug, Clone)]
struct Parts {
    problem: &'static ProblemType,
    spoken: Cow<'static, str>,
    logged: Option<String>,
    fields: Vec<FieldFault>,
    retry_after_s: Option<u32>,
    details: Option<serde_json::Value>,
    unproven: Option<Unproven>,
    aim: Aim,
}

impl Fault {
    /// A fault with its problem type and the message for the caller: lower case, no
    /// period, nothing of the inside (no SQL, path, type name or foreign data).
    pub fn new(problem: &'static ProblemType, spoken: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            problem,
            spoken: spoken.into(),
            logged: None,
            fields: Vec::new(),
            retry_after_s: None,
            details: None,
            unproven: None,
            aim: Aim::default(),
        }))
    }

    /// Absent and foreign are one answer: this one.
    pub fn unseen() -> Self {
        Self::new(
            problems::NOT_FOUND,
            "there is nothing here, or nothing that you may see",
        )
    }

    /// Seen, but not for this caller.
    pub fn not_allowed() -> Self {
        Self::new(
            problems::NOT_ALLOWED,
            "your role in this studio does not allow this",
        )
    }

    /// A defect of ours. `logged` says what happened; the caller learns only that it was us.
    pub fn bug(logged: impl Into<String>) -> Self {
        Self::new(
            problems::INTERNAL,
            "something went wrong on our side; the request id helps us find it",
        )
        .log(logged)
    }

    /// Not now: the caller may try again after `retry_after_s` seconds.
    pub fn unavailable(spoken: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        Self::new(problems::UNAVAILABLE, spoken).again_after(retry_after_s)
    }

    /// Says after how many seconds trying again helps.
    pub fn again_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Adds the message for the log.
    pub fn log(mut self, message: impl Into<String>) -> Self {
        self.0.logged = Some(message.into());
        self
    }

    /// Adds the fields that are wrong (at most 100 are kept).
    pub fn fields(mut self, fields: Vec<FieldFault>) -> Self {
        self.0.fields = fields;
        self.0.fields.truncate(100);
        self
    }

    /// Adds an extension member of the problem document, such as the conflicts of a booking.
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Says why whoever calls could not say who they are.
    pub fn unproven(mut self, why: Unproven) -> Self {
        self.0.unproven = Some(why);
        self
    }

    /// Says whom they named.
    pub fn aimed(mut self, aim: Aim) -> Self {
        self.0.aim = aim;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.0.problem.kind()
    }

    /// Its problem type.
    pub fn problem(&self) -> &'static ProblemType {
        self.0.problem
    }

    /// The last segment of the problem type's URI.
    pub fn slug(&self) -> &'static str {
        self.0.problem.slug()
    }

    /// The message for the caller.
    pub fn spoken(&self) -> &str {
        &self.0.spoken
    }

    /// The message for the log, if it says more than the spoken one.
    pub fn logged(&self) -> Option<&str> {
        self.0.logged.as_deref()
    }

    /// The fields that are wrong.
    pub fn field_faults(&self) -> &[FieldFault] {
        &self.0.fields
    }

    /// Extension members of the problem document.
    pub fn extension(&self) -> Option<&serde_json::Value> {
        self.0.details.as_ref()
    }

    /// Why whoever calls could not say who they are; none, where they could or it is not their fault.
    pub fn why_unproven(&self) -> Option<Unproven> {
        self.0.unproven
    }

    /// Whom they named.
    pub fn aim(&self) -> &Aim {
        &self.0.aim
    }

    /// After how many seconds the caller may try again, where that helps.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.logged.as_deref().unwrap_or(&self.0.spoken))
    }
}

impl std::error::Error for Fault {}

/// One field that is wrong: where (JSON pointer, RFC 6901), a short code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldFault {
    /// JSON pointer into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// A word that a program can compare.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
}

/// The kinds of faults, by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not well formed: JSON, a field's name or type, a query parameter.
    Malformed,
    /// We do not know who is calling.
    Unauthenticated,
    /// Seen, but not allowed.
    NotAllowed,
    /// Absent, or not for the caller's eyes; never told apart.
    Unseen,
    /// The thing exists, but not in this way.
    MethodUnknown,
    /// The body or header took too long to arrive.
    TooSlow,
    /// The state of things does not allow it: double booking, unique value, transition.
    Conflict,
    /// The version that the caller names is not the current one.
    Stale,
    /// The body is larger than we read.
    TooLarge,
    /// The body is in a form that we do not read.
    WrongMedia,
    /// Well formed, but against a bound or a rule.
    Invalid,
    /// Too many requests.
    TooMany,
    /// Not now: overload, freeze, or a part that is away.
    Unavailable,
    /// A defect of ours.
    Bug,
}

impl Kind {
    /// Whose fault it is, hence who can mend it.
    pub fn whose(self) -> Whose {
        match self {
            Self::Bug => Whose::Us,
            Self::Unavailable => Whose::Moment,
            _ => Whose::Caller,
        }
    }
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's: another request would go through.
    Caller,
    /// The moment's: the same request goes through later.
    Moment,
    /// Ours: a defect.
    Us,
}
