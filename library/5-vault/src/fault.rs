use watertight_terms::{Fault, FieldFault, problems};

/// A text has at most so many characters: as many as notes may have.
pub(crate) const TEXT_CHARS_MAX: usize = 10_000;

/// Why a value was not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    /// The text is longer than what is sealed.
    #[error("the text is longer than {TEXT_CHARS_MAX} characters")]
    TooLong,
    /// These keys were fetched for opening only, or there is none.
    #[error("there is no current key to seal with")]
    NoCurrentKey,
    /// The value was sealed with a key that is no more, or not here.
    #[error(
        "the value was sealed with key {0}, which is not here; it was destroyed or not restored"
    )]
    UnknownKey(i16),
    /// The bytes are no sealed value of a version that is read here.
    #[error("the bytes are no sealed value; restore the row from a backup")]
    Malformed,
    /// It was sealed for another place or was changed; the two cannot be told apart.
    #[error("the value does not open here: it was moved or changed; restore the row from a backup")]
    NotHere,
    /// The cipher itself refused.
    #[error("the cipher failed")]
    Failed,
}

impl From<VaultFault> for Fault {
    fn from(fault: VaultFault) -> Self {
        match fault {
            VaultFault::TooLong => {
                let field = FieldFault {
                    pointer: String::new(),
                    code: "too-long",
                    detail: fault.to_string(),
                };
                Self::new(problems::INVALID, "a field is longer than its bound").fields(vec![field])
            }
            _ => Self::bug(fault.to_string()),
        }
    }
}

/// Why a key-encryption key could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrapFault {
    /// Whoever holds the key-encryption keys does not answer.
    #[error("the key-encryption keys cannot be reached: {0}")]
    Unreachable(String),
    /// They answer otherwise than agreed.
    #[error("whoever holds the key-encryption keys answers otherwise than agreed: {0}")]
    Malformed(&'static str),
    /// There is no key of that number.
    #[error(
        "there is no key-encryption key {0}; give back the one that this database was sealed with"
    )]
    Unknown(i16),
    /// The key of that number is another than the one that wrapped.
    #[error(
        "key-encryption key {0} is not the one that this database was sealed with; give back the right one"
    )]
    Wrong(i16),
    /// The current key was retired.
    #[error("key-encryption key {0} was retired; make another one current")]
    Retired(i16),
    /// Reading or noting what is known of them failed.
    #[error("{0}")]
    Database(String),
}

impl From<WrapFault> for Fault {
    fn from(fault: WrapFault) -> Self {
        match &fault {
            WrapFault::Unreachable(_) => {
                Self::unavailable("personal fields cannot be read right now", 5)
                    .log(fault.to_string())
            }
            _ => Self::bug(fault.to_string()),
        }
    }
}
