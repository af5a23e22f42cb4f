use watertight_terms::Fault;

/// Why an archive is not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// There is nobody to encrypt to.
    #[error("no recipients: name at least one `age1…` in the file of `[backup] recipients_file`")]
    NoRecipients,
    /// There is no folder.
    #[error("name the folder of the archives: `[backup] folder`")]
    NoFolder,
    /// A line is no recipient.
    #[error("line {0} of the recipients is none of age's X25519 (`age1…`)")]
    Recipient(usize),
    /// A line is no identity.
    #[error("line {0} of the identities is none of age's X25519 (`AGE-SECRET-KEY-1…`)")]
    Identity(usize),
    /// None of the identities opens it.
    #[error("no identity that was given opens this archive; give one of its studio's recipients")]
    NotForUs,
    /// It was changed, cut off, or is something else.
    #[error("this is no whole archive: {0}; take another one")]
    Broken(&'static str),
    /// Nobody here signed it.
    #[error(
        "the manifest is not signed with a key of this installation; take one that was written here"
    )]
    Unsigned,
    /// The file system.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The database.
    #[error("{0}")]
    Database(Fault),
}

impl From<Fault> for ArchiveFault {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}
