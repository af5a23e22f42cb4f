//! States and what leads from one to another: [`TABLE`], the only place where that is written.
//!
//! ```
//! use studio::resources::bookings::{State, Transition, next};
//! assert_eq!(next(State::Hold, Transition::Pencil), Some(State::Pencil));
//! assert_eq!(next(State::Cancelled, Transition::Confirm), None);
//! ```
//!
//! Who may take a transition is the policies' to say, not this table's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How firm a booking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum State {
    /// Thought of: no rank, excludes nothing, ends by itself.
    Hold,
    /// An option, with a rank; excludes nothing.
    Pencil,
    /// The time is taken.
    Confirmed,
    /// It has begun; the time is taken.
    InProgress,
    /// It is over; the time was taken.
    Completed,
    /// Given up before anybody counted on it.
    Released,
    /// Called off.
    Cancelled,
}

/// Every state.
pub const STATES: [State; 7] = [
    State::Hold,
    State::Pencil,
    State::Confirmed,
    State::InProgress,
    State::Completed,
    State::Released,
    State::Cancelled,
];

/// What is done to a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A hold becomes an option and keeps its place by age.
    Pencil,
    /// Takes the time.
    Confirm,
    /// It begins.
    Start,
    /// It is done.
    Complete,
    /// Gives an option up.
    Release,
    /// Calls it off.
    Cancel,
    /// Asks the first option before this one to confirm or release.
    Challenge,
    /// Lets a hold live longer.
    Extend,
    /// Moves it, or changes what is said of it.
    Change,
    /// A hold that ran out, by the worker.
    Expire,
    /// A challenge that was not answered, by the worker.
    Lapse,
}

/// Every transition.
pub const TRANSITIONS: [Transition; 11] = [
    Transition::Pencil,
    Transition::Confirm,
    Transition::Start,
    Transition::Complete,
    Transition::Release,
    Transition::Cancel,
    Transition::Challenge,
    Transition::Extend,
    Transition::Change,
    Transition::Expire,
    Transition::Lapse,
];

/// The table of transitions: from a state, by a transition, to a state. Whatever is not here is
/// refused.
pub const TABLE: &[(State, Transition, State)] = &[
    (State::Hold, Transition::Pencil, State::Pencil),
    (State::Hold, Transition::Confirm, State::Confirmed),
    (State::Hold, Transition::Release, State::Released),
    (State::Hold, Transition::Cancel, State::Cancelled),
    (State::Hold, Transition::Extend, State::Hold),
    (State::Hold, Transition::Change, State::Hold),
    (State::Hold, Transition::Expire, State::Released),
    (State::Pencil, Transition::Confirm, State::Confirmed),
    (State::Pencil, Transition::Release, State::Released),
    (State::Pencil, Transition::Cancel, State::Cancelled),
    (State::Pencil, Transition::Challenge, State::Pencil),
    (State::Pencil, Transition::Change, State::Pencil),
    (State::Pencil, Transition::Lapse, State::Released),
    (State::Confirmed, Transition::Start, State::InProgress),
    (State::Confirmed, Transition::Cancel, State::Cancelled),
    (State::Confirmed, Transition::Change, State::Confirmed),
    (State::InProgress, Transition::Complete, State::Completed),
    (State::InProgress, Transition::Cancel, State::Cancelled),
    (State::InProgress, Transition::Change, State::InProgress),
];

/// The state after a transition, if there is one.
pub fn next(state: State, transition: Transition) -> Option<State> {
    let line = TABLE
        .iter()
        .find(|(from, by, _)| (*from, *by) == (state, transition));
    line.map(|(_, _, to)| *to)
}

impl State {
    /// The state's name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Pencil => "pencil",
            Self::Confirmed => "confirmed",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it keeps others out of the artist's time. The trigger of the table says the same, and
    /// a test compares the two.
    pub fn blocks(self) -> bool {
        matches!(self, Self::Confirmed | Self::InProgress | Self::Completed)
    }

    /// Whether it was given up: nothing leads on but undoing that.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Released | Self::Cancelled)
    }
}

impl Transition {
    /// The transition's name: in paths, in the history, and after `booking.` in the policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pencil => "pencil",
            Self::Confirm => "confirm",
            Self::Start => "start",
            Self::Complete => "complete",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Challenge => "challenge",
            Self::Extend => "extend",
            Self::Change => "change",
            Self::Expire => "expire",
            Self::Lapse => "lapse",
        }
    }

    /// What a booking is after it, in words: "a hold cannot be started".
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::Pencil => "pencilled",
            Self::Confirm => "confirmed",
            Self::Start => "started",
            Self::Complete => "completed",
            Self::Release => "released",
            Self::Cancel => "cancelled",
            Self::Challenge => "one that challenges",
            Self::Extend => "extended",
            Self::Change => "changed",
            Self::Expire | Self::Lapse => "ended by the clock",
        }
    }
}
