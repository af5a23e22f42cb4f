/// Why somebody could not say who they are: for whoever counts such, beside the message for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// Nothing was brought that says it.
    Absent,
    /// What was brought cannot be read.
    Malformed,
    /// The signature is not that of the key.
    Signature,
    /// Nobody has that key.
    UnknownKey,
    /// It was good once, or is not now.
    Over,
    /// It is signed, and says what is not for us.
    Claims,
    /// Nobody has that secret: a page's cookie or a feed's address.
    UnknownSecret,
    /// Somebody for certain, and no member of what they ask for.
    NotAMember,
    /// A delivery that nobody signed whom we believe.
    ForgedDelivery,
    /// A delivery that was sent long ago.
    LateDelivery,
}

/// Whom a token names that nobody believes: the first 16 hexadecimal digits of the SHA-256 of each id. Anybody can write any
/// name into it, so nothing is done to whoever is named, and a log has it only as
/// the subject of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aim {
    /// The person.
    pub subject: Option<String>,
    /// The organization of the studio.
    pub organization: Option<String>,
}
