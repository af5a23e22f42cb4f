use unicode_normalization::is_nfc;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Longer than its bound.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// Empty where something is asked for.
    #[error("is empty")]
    Empty,
    /// A control character: U+0000 to U+001F, U+007F to U+009F, or a line separator.
    #[error("has a control character")]
    Control,
    /// Not in Unicode normalization form C.
    #[error("is not in Unicode normalization form C")]
    NotNormal,
}

/// Checks a text of one line: 1 to `longest` characters, NFC, no control characters, not blank.
///
/// Text is stored as given and escaped on the way out; it is refused rather than "cleaned".
///
/// ```
/// use watertight_terms::{TextFault, check_line};
/// assert_eq!(check_line("Zoë", 200), Ok(()));
/// assert_eq!(check_line("a\u{0}b", 200), Err(TextFault::Control));
/// assert_eq!(check_line("Zoe\u{308}", 200), Err(TextFault::NotNormal));
/// ```
pub fn check_line(text: &str, longest: usize) -> Result<(), TextFault> {
    if text.trim().is_empty() {
        return Err(TextFault::Empty);
    }
    check(text, longest, |_| false)
}

/// Checks a text of many lines: 0 to `longest` characters, NFC, no control characters but line
/// feed and tab.
pub fn check_prose(text: &str, longest: usize) -> Result<(), TextFault> {
    check(text, longest, |c| c == '\n' || c == '\t')
}

fn check(text: &str, longest: usize, allowed: impl Fn(char) -> bool) -> Result<(), TextFault> {
    // Bytes first: the count of characters of a huge text is not worth knowing.
    if text.len() > longest.saturating_mul(4) || text.chars().count() > longest {
        return Err(TextFault::TooLong(longest));
    }
    let is_separator = |c: char| c == '\u{2028}' || c == '\u{2029}';
    if text
        .chars()
        .any(|c| (c.is_control() || is_separator(c)) && !allowed(c))
    {
        return Err(TextFault::Control);
    }
    if !is_nfc(text) {
        return Err(TextFault::NotNormal);
    }
    Ok(())
}
