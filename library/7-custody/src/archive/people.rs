//! Who may read archives, by age's X25519 keys: one a line, `#` begins a comment.

use age::{secrecy::ExposeSecret, x25519};

use super::ArchiveFault;

/// To whom an archive is encrypted: at least one.
#[derive(Debug, Clone)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Reads `age1…` lines.
    ///
    /// # Errors
    /// When a line is none, or there is none at all.
    pub fn parse(text: &str) -> Result<Self, ArchiveFault> {
        let mut all = Vec::new();
        for (number, line) in lines(text) {
            all.push(line.parse().map_err(|_| ArchiveFault::Recipient(number))?);
        }
        if all.is_empty() {
            return Err(ArchiveFault::NoRecipients);
        }
        Ok(Self(all))
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each as it is written, `age1…`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.0.iter().map(|one| one as &dyn age::Recipient)
    }
}

/// The secrets of recipients.
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// Reads `AGE-SECRET-KEY-1…` lines, as `age-keygen` writes them.
    ///
    /// # Errors
    /// When a line is none.
    pub fn parse(text: &str) -> Result<Self, ArchiveFault> {
        let parsed = lines(text)
            .map(|(number, line)| line.parse().map_err(|_| ArchiveFault::Identity(number)));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// One that is new.
    pub fn generate() -> Self {
        Self(vec![x25519::Identity::generate()])
    }

    /// Their public halves, a line each.
    pub fn recipients(&self) -> String {
        let all = self.0.iter().map(|one| format!("{}\n", one.to_public()));
        all.collect()
    }

    /// Themselves, a line each: for a file that nobody else reads.
    pub fn secrets(&self) -> zeroize::Zeroizing<String> {
        let all = self.0.iter();
        let all = all.map(|one| format!("{}\n", one.to_string().expose_secret()));
        zeroize::Zeroizing::new(all.collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|one| one as &dyn age::Identity)
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let all = text.lines().enumerate();
    all.map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}
