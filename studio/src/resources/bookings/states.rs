use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How firm a booking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum State {
    /// An option; excludes nothing.
    Pencil,
    /// The time is taken.
    Confirmed,
    /// Over before it began.
    Cancelled,
}

/// Every state.
pub const STATES: [State; 3] = [State::Pencil, State::Confirmed, State::Cancelled];

/// What moves a booking from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Takes the time.
    Confirm,
    /// Gives it back.
    Cancel,
}

/// Every transition.
pub const ACTIONS: [Transition; 2] = [Transition::Confirm, Transition::Cancel];

/// The table of transitions, and the only place where they are written.
pub fn next(state: State, transition: Transition) -> Option<State> {
    match (state, transition) {
        (State::Pencil, Transition::Confirm) => Some(State::Confirmed),
        (State::Pencil | State::Confirmed, Transition::Cancel) => Some(State::Cancelled),
        _ => None,
    }
}

impl State {
    /// The state's name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pencil => "pencil",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it keeps others out of the artist's time.
    pub fn blocks(self) -> bool {
        self == Self::Confirmed
    }
}
