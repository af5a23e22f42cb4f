/// Bounds that more than one room keeps. Each room has its own beside the code that keeps them.
#[derive(Debug, Clone, Copy)]
pub struct Limits;

impl Limits {
    /// A session token is at most so long, in bytes.
    pub const TOKEN_BYTES: usize = 8 * 1024;
    /// A page of a list has at most so many rows.
    pub const PAGE_ROWS: u32 = 100;
    /// A page of a list has so many rows when nothing is said.
    pub const PAGE_ROWS_DEFAULT: u32 = 50;
    /// A cursor is at most so long, in bytes: it holds a name.
    pub const CURSOR_BYTES: usize = 2_048;
    /// A name has at most so many characters.
    pub const NAME_CHARS: usize = 200;
    /// Notes have at most so many characters.
    pub const NOTES_CHARS: usize = 10_000;
    /// A context is good for so many seconds after it was signed: it is bound at once.
    pub const CONTEXT_LIFE_S: i64 = 10;
}
