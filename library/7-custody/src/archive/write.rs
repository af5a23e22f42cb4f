use std::io::Write;

use age::{Encryptor, stream::StreamWriter};
use watertight_ledger::sign_text;
use watertight_terms::{Fault, KeyRing};

use super::{
    ArchiveFault, Head, Manifest, Recipients, Sum,
    format::{Counting, LINE_BYTES, Line, ROW, origin},
};

/// How hard zstd tries; its own usual level.
const LEVEL: i32 = 3;

/// Writes an archive. What reaches `W` is encrypted, from its first byte on.
pub struct Writer<W: Write> {
    out: zstd::Encoder<'static, StreamWriter<W>>,
    head: Head,
    sums: Vec<Sum>,
    counting: Option<Counting>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(to: W, recipients: &Recipients, head: Head) -> Result<Self, ArchiveFault> {
        let encryptor = Encryptor::with_recipients(recipients.iter());
        let encryptor = encryptor.map_err(|_| ArchiveFault::NoRecipients)?;
        let out = encryptor.wrap_output(to).map_err(unwritten)?;
        let out = zstd::Encoder::new(out, LEVEL).map_err(unwritten)?;
        let mut writer = Self {
            out,
            head: head.clone(),
            sums: Vec::new(),
            counting: None,
        };
        writer.line(&Line::Archive(head))?;
        Ok(writer)
    }

    /// Goes on with a table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn table(&mut self, name: &str) -> Result<(), ArchiveFault> {
        self.end_table();
        self.counting = Some(Counting::new(name.to_owned()));
        self.line(&Line::Table(name.to_owned()))
    }

    /// Adds a row of that table.
    ///
    /// # Errors
    /// When it cannot be written, or is longer than any can be read again.
    pub fn row(&mut self, row: &str) -> Result<(), ArchiveFault> {
        let counting = self.counting.as_mut();
        let counting =
            counting.ok_or_else(|| Fault::bug("a row of an archive before its table"))?;
        if row.len() >= LINE_BYTES || row.contains('\n') {
            return Err(Fault::bug("a row of an archive that is no line").into());
        }
        counting.row(row);
        let out = &mut self.out;
        out.write_all(&[ROW])
            .and_then(|()| out.write_all(row.as_bytes()))
            .and_then(|()| out.write_all(b"\n"))
            .map_err(unwritten)
    }

    /// Ends it with the manifest, signed with the current key of the ring `checkpoint`. Gives what it was written to.
    ///
    /// # Errors
    /// When it cannot be written or signed.
    pub fn finish(
        mut self,
        checkpoint: Option<String>,
        ring: &KeyRing,
    ) -> Result<(W, Manifest), ArchiveFault> {
        self.end_table();
        let manifest = Manifest {
            head: self.head.clone(),
            sums: std::mem::take(&mut self.sums),
            checkpoint,
        };
        let text = json(&manifest)?;
        let note = sign_text(ring, &origin(manifest.head.studio), &text)?;
        self.line(&Line::Manifest(note))?;
        let out = self.out.finish().map_err(unwritten)?;
        let to = out.finish().map_err(unwritten)?;
        Ok((to, manifest))
    }

    fn end_table(&mut self) {
        self.sums.extend(self.counting.take().map(Counting::sum));
    }

    fn line(&mut self, line: &Line) -> Result<(), ArchiveFault> {
        let text = json(line)?;
        writeln!(self.out, "{text}").map_err(unwritten)
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::bug(format!("an archive's line: {error}")))
}

fn unwritten(error: std::io::Error) -> ArchiveFault {
    ArchiveFault::File("the archive cannot be written".to_owned(), error)
}
