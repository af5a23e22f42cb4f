use std::io::{self, BufRead, BufReader, Read};

use age::{DecryptError, Decryptor};
use watertight_ledger::open_text;
use watertight_terms::KeyRing;

use super::{
    ArchiveFault, Head, Identities, Manifest,
    format::{Counting, FORMAT, LINE_BYTES, Line, ROW, origin},
};

/// A window of so many bits is all that a reader gives memory for; ours need less.
const WINDOW_LOG: u32 = 23;

/// What a reader meets, in the order of the file.
#[derive(Debug)]
pub enum Seen<'a> {
    /// The first line. Nothing is verified yet but that it was encrypted to us.
    Head(&'a Head),
    /// A row of a table.
    Row {
        /// `schema.table`.
        table: &'a str,
        /// The row as JSON.
        row: &'a str,
    },
}

/// Reads an archive to its end, and gives its manifest: signed with a key of the ring `checkpoint`, and counts and
/// digests are what was read. What `see` was given before is to be believed only then; nothing of it is to be kept
/// where this fails.
///
/// # Errors
/// When it is not for us, not whole, not signed, or `see` failed.
pub fn read(
    from: impl Read,
    identities: &Identities,
    ring: &KeyRing,
    mut see: impl FnMut(Seen<'_>) -> Result<(), ArchiveFault>,
) -> Result<Manifest, ArchiveFault> {
    let mut lines = open(from, identities)?;
    let head = match lines.next_line()? {
        Some(Found::Line(Line::Archive(head))) if head.format == FORMAT => head,
        _ => return Err(ArchiveFault::Broken("it does not begin as one")),
    };
    see(Seen::Head(&head))?;
    let mut sums = Vec::new();
    let mut table: Option<(String, Counting)> = None;
    let note = loop {
        match lines.next_line()? {
            Some(Found::Row(row)) => {
                let (name, counting) = table
                    .as_mut()
                    .ok_or(ArchiveFault::Broken("a row stands before its table"))?;
                counting.row(row);
                see(Seen::Row { table: name, row })?;
            }
            Some(Found::Line(Line::Table(name))) => {
                let before = table.replace((name.clone(), Counting::new(name)));
                sums.extend(before.map(|(_, counting)| counting.sum()));
            }
            Some(Found::Line(Line::Manifest(note))) => break note,
            Some(Found::Line(Line::Archive(_))) => {
                return Err(ArchiveFault::Broken("it begins twice"));
            }
            None => return Err(ArchiveFault::Broken("it ends before its manifest")),
        }
    };
    sums.extend(table.map(|(_, counting)| counting.sum()));
    if lines.next_line()?.is_some() {
        return Err(ArchiveFault::Broken("something follows its manifest"));
    }
    let text = open_text(ring, &origin(head.studio), &note).ok_or(ArchiveFault::Unsigned)?;
    let manifest: Manifest = serde_json::from_str(text.trim_end())
        .map_err(|_| ArchiveFault::Broken("its manifest cannot be read"))?;
    let named = head.tables.iter().map(|table| &table.table);
    if manifest.head != head
        || manifest.sums != sums
        || !named.eq(sums.iter().map(|sum| &sum.table))
    {
        return Err(ArchiveFault::Broken(
            "its rows are not those of its manifest",
        ));
    }
    Ok(manifest)
}

/// A line as it was found.
enum Found<'a> {
    Row(&'a str),
    Line(Line),
}

struct Lines<R: BufRead> {
    from: R,
    line: Vec<u8>,
}

fn open(from: impl Read, identities: &Identities) -> Result<Lines<impl BufRead>, ArchiveFault> {
    let decryptor = Decryptor::new_buffered(BufReader::new(from)).map_err(undecrypted)?;
    let stream = decryptor.decrypt(identities.iter()).map_err(undecrypted)?;
    let mut zstd = zstd::Decoder::new(stream).map_err(unread)?;
    zstd.window_log_max(WINDOW_LOG).map_err(unread)?;
    Ok(Lines {
        from: BufReader::new(zstd),
        line: Vec::new(),
    })
}

impl<R: BufRead> Lines<R> {
    fn next_line(&mut self) -> Result<Option<Found<'_>>, ArchiveFault> {
        self.line.clear();
        let most = LINE_BYTES as u64 + 2;
        let mut bounded = self.from.by_ref().take(most);
        if bounded.read_until(b'\n', &mut self.line).map_err(unread)? == 0 {
            return Ok(None);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(ArchiveFault::Broken("a line has no end"));
        }
        let text = std::str::from_utf8(&self.line);
        let text = text.map_err(|_| ArchiveFault::Broken("a line is no text"))?;
        match text.strip_prefix(char::from(ROW)) {
            Some(row) => Ok(Some(Found::Row(row))),
            None => serde_json::from_str(text)
                .map(|line| Some(Found::Line(line)))
                .map_err(|_| ArchiveFault::Broken("a line is unknown")),
        }
    }
}

fn undecrypted(error: DecryptError) -> ArchiveFault {
    match error {
        DecryptError::NoMatchingKeys => ArchiveFault::NotForUs,
        DecryptError::Io(error) => unread(error),
        _ => ArchiveFault::Broken("it is not encrypted as one"),
    }
}

/// What is read is decrypted, decompressed and counted on the way: nearly all that goes wrong was done to the bytes.
fn unread(error: io::Error) -> ArchiveFault {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            ArchiveFault::File("the archive cannot be read".to_owned(), error)
        }
        _ => ArchiveFault::Broken("it was changed or cut off"),
    }
}
