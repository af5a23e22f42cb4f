use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a person may be in a studio, from the least to the most.
///
/// The order is the meaning: the role that counts is the lowest of what the token claims, what
/// the identity provider says and what an owner of the studio admitted (the *ceiling*).
///
/// ```
/// use watertight_terms::Role;
/// assert!(Role::Guest < Role::Freelancer && Role::Manager < Role::Owner);
/// assert_eq!("manager".parse(), Ok(Role::Manager));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// No data; no path to the database's rows.
    Guest,
    /// Reads own bookings and the own artist row; writes nothing.
    Freelancer,
    /// Runs the studio's day: bookings, artists, projects.
    Manager,
    /// Everything in the own studio.
    Owner,
}

impl Role {
    /// Every role, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Freelancer, Self::Manager, Self::Owner];

    /// The role's name in tokens, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Freelancer => "freelancer",
            Self::Manager => "manager",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(UnknownRole)
    }
}

/// A word that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role is none of `owner`, `manager`, `freelancer`, `guest`")]
pub struct UnknownRole;
