//! A body of lines as spreadsheets write them: RFC 4180 in UTF-8, whose first line names the columns. Each line is read as
//! the JSON body of one row would be, by the same type: so it is bounded by the same bounds.
//!
//! ```
//! # use garde::Validate;
//! # use serde::Deserialize;
//! use watertight::argument::{Column, Lines, Prose, Slug};
//!
//! #[derive(Deserialize, Validate)]
//! struct New {
//!     #[garde(dive)]
//!     name: Prose<200>,
//!     #[serde(default)]
//!     #[garde(length(max = 32), dive)]
//!     skills: Vec<Slug<64>>,
//! }
//!
//! const COLUMNS: &[Column] = &[Column::new("name", "/name"), Column::new("skills", "/skills/-")];
//! let lines = Lines::read("name,skills\nAda,rigging look-dev\nBea,\n".as_bytes()).unwrap();
//! lines.expect(COLUMNS).unwrap();
//! let ada: New = lines.each().next().unwrap().read(COLUMNS, &[]).unwrap();
//! assert_eq!((&*ada.name, ada.skills.len()), ("Ada", 2));
//! ```
//!
//! What is absent: other separators than the comma, other encodings, and lines of another length than the first.

use csv::{ReaderBuilder, StringRecord, Trim};
use garde::Validate;
use serde::de::DeserializeOwned;
use watertight_terms::{Fault, FieldFault, problems};

use super::{
    Argument, Description, Input, fields_of, is_media, pointer_of,
    read::{self, Tree, echo},
};

/// A body has at most so many lines below its first.
const LINES_MOST: usize = 50_000;
/// And so many columns.
const COLUMNS_MOST: usize = 64;
/// A bad body is told so many of its faults.
const FAULTS_MOST: usize = 100;

/// A column: its name, and where in a row's JSON body its cells belong (RFC 6901). `/-` at the end makes a list of the
/// words of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// As the first line names it.
    pub name: &'static str,
    pointer: &'static str,
}

impl Column {
    /// A column whose cells belong there.
    pub const fn new(name: &'static str, pointer: &'static str) -> Self {
        Self { name, pointer }
    }
}

/// The lines of a body.
#[derive(Debug, Clone)]
pub struct Lines {
    header: StringRecord,
    /// Each with its number.
    records: Vec<(u64, StringRecord)>,
}

/// One line: its cells by the names of their columns.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    header: &'a StringRecord,
    number: u64,
    record: &'a StringRecord,
}

/// What is wrong with a line: in which column if it is one cell, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesFault {
    /// The line, the first of the body being 1.
    pub line: u64,
    /// The column.
    pub column: Option<String>,
    /// A stable word for it.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

impl LinesFault {
    /// The fault as a field of the body: `/lines/17/name`.
    pub fn field(&self) -> FieldFault {
        let column = self.column.as_deref().unwrap_or_default();
        let place = match self.column {
            None => format!("/lines/{}", self.line),
            Some(_) => format!("/lines/{}/{}", self.line, read::pointer_step(column)),
        };
        let whole = match self.column {
            None => format!("line {}: {}", self.line, self.detail),
            Some(_) => format!("line {}, column `{column}`: {}", self.line, self.detail),
        };
        FieldFault {
            pointer: place,
            code: self.code,
            detail: whole,
        }
    }
}

impl Argument for Lines {
    fn describe(description: &mut Description<'_>) {
        description.takes_lines();
    }

    fn take(input: &Input) -> Result<Self, Fault> {
        if !is_media(input, "text/csv") {
            let spoken = "send the body as `Content-Type: text/csv`";
            return Err(Fault::new(problems::WRONG_MEDIA, spoken));
        }
        Self::read(&input.body)
    }
}

impl Lines {
    /// Reads a body.
    ///
    /// # Errors
    /// Malformed, when it is not UTF-8, a line is of another length than the first, or a column is named twice; invalid,
    /// when it has too many lines or columns.
    pub fn read(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body)
            .map_err(|_| malformed(vec![whole(1, "malformed", "the body is not UTF-8")]))?;
        // Spreadsheets begin with a mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = ReaderBuilder::new()
            .trim(Trim::Headers)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(unreadable)?.clone();
        if header.len() > COLUMNS_MOST {
            let detail = format!("there are more than {COLUMNS_MOST} columns");
            return Err(invalid(vec![whole(1, "invalid", &detail)]));
        }
        let mut records = Vec::new();
        for record in reader.into_records() {
            let record = record.map_err(unreadable)?;
            let number = number_of(&record, text);
            if records.len() == LINES_MOST {
                let detail = format!("there are more than {LINES_MOST} lines; send them in parts");
                return Err(invalid(vec![whole(number, "invalid", &detail)]));
            }
            records.push((number, record));
        }
        Ok(Self { header, records })
    }

    /// Refuses columns that are not known, that are there twice, and a body without the first of those that are known:
    /// that one names the row.
    ///
    /// # Errors
    /// Malformed: says which and why.
    pub fn expect(&self, known: &[Column]) -> Result<(), Fault> {
        let names = || known.iter().map(|column| column.name);
        let mut faults = Vec::new();
        for (place, name) in self.header.iter().enumerate() {
            let detail = if !names().any(|known| known == name) {
                let known = names().collect::<Vec<_>>().join("`, `");
                format!("there is no such column; there are `{known}`")
            } else if self.header.iter().take(place).any(|other| other == name) {
                "the column is there twice".to_owned()
            } else {
                continue;
            };
            faults.push(cell(1, &echo(name), "unknown-column", &detail));
        }
        if let Some(first) = known.first()
            && !self.has(first.name)
        {
            faults.push(cell(
                1,
                first.name,
                "missing-column",
                "the column is missing",
            ));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(malformed(faults)),
        }
    }

    /// Whether there is a column of that name.
    pub fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// How many lines there are below the first.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The lines, in their order.
    pub fn each(&self) -> impl Iterator<Item = Line<'_>> {
        let header = &self.header;
        self.records.iter().map(move |(number, record)| Line {
            header,
            number: *number,
            record,
        })
    }
}

impl<'a> Line<'a> {
    /// Which line it is, the first of the body being 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The cell in that column, if something stands in it.
    pub fn cell(&self, column: &str) -> Option<&'a str> {
        let place = self.header.iter().position(|name| name == column)?;
        let text = unguarded(self.record.get(place)?);
        (!text.is_empty()).then_some(text)
    }

    /// Reads the line as the JSON body of one row: an empty cell is a field that is not there. `given` stands in place of
    /// the cells of the columns that it names.
    ///
    /// # Errors
    /// What is wrong with each of its cells.
    pub fn read<T>(
        &self,
        columns: &[Column],
        given: &[(&str, String)],
    ) -> Result<T, Vec<LinesFault>>
    where
        T: DeserializeOwned + Validate<Context = ()>,
    {
        let mut fields = Vec::new();
        for column in columns {
            let instead = given.iter().find(|(name, _)| *name == column.name);
            let text = match instead {
                Some((_, text)) => Some(text.as_str()),
                None => self.cell(column.name),
            };
            if let Some(text) = text {
                put(&mut fields, column.pointer, text);
            }
        }
        let body: T = read::read(Tree::Object(fields))
            .map_err(|fault| vec![self.fault(columns, fault.in_body())])?;
        match body.validate() {
            Ok(()) => Ok(body),
            Err(report) => {
                let fields = fields_of(&report, pointer_of).into_iter();
                Err(fields.map(|field| self.fault(columns, field)).collect())
            }
        }
    }

    /// A fault of the row's JSON body as one of the line.
    pub fn fault(&self, columns: &[Column], field: FieldFault) -> LinesFault {
        let of = |column: &&Column| {
            let pointer = column.pointer.trim_end_matches("/-");
            field.pointer.starts_with(pointer) || pointer.starts_with(&field.pointer)
        };
        // The longest: `/from/part` before `/from`.
        let nearest = columns.iter().filter(of).max_by_key(|column| {
            let common = column.pointer.bytes().zip(field.pointer.bytes());
            common.take_while(|(one, other)| one == other).count()
        });
        LinesFault {
            line: self.number(),
            column: nearest
                .filter(|_| !field.pointer.is_empty())
                .map(|column| column.name.to_owned()),
            code: field.code,
            detail: field.detail,
        }
    }
}

/// What an export guards, so that no spreadsheet takes it for a formula, is as it was.
fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@', '\t', '\r']) => rest,
        _ => text,
    }
}

/// Puts a text where a pointer says.
fn put(fields: &mut Vec<(String, Tree)>, pointer: &str, text: &str) {
    let (name, rest) = match pointer.trim_start_matches('/').split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (pointer.trim_start_matches('/'), None),
    };
    let value = match rest {
        None => Tree::Word(text.to_owned()),
        Some("-") => {
            let words = text.split_whitespace();
            Tree::List(words.map(|word| Tree::Word(word.to_owned())).collect())
        }
        Some(rest) => {
            if let Some((_, Tree::Object(inner))) =
                fields.iter_mut().find(|(known, _)| known == name)
            {
                return put(inner, rest, text);
            }
            let mut inner = Vec::new();
            put(&mut inner, rest, text);
            Tree::Object(inner)
        }
    };
    fields.push((name.to_owned(), value));
}

/// On which line a record begins. The reader stops before the second half of `\r\n`, and has not counted it then.
fn number_of(record: &StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else {
        return 0;
    };
    let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let is_between = text.as_bytes().get(at) == Some(&b'\n');
    position.line() + u64::from(is_between)
}

fn unreadable(error: csv::Error) -> Fault {
    let line = error.position().map_or(1, csv::Position::line);
    let detail = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} cells where the first line has {expected_len}"),
        _ => "it cannot be read".to_owned(),
    };
    malformed(vec![whole(line, "malformed", &detail)])
}

fn whole(line: u64, code: &'static str, detail: &str) -> LinesFault {
    LinesFault {
        line,
        column: None,
        code,
        detail: detail.to_owned(),
    }
}

fn cell(line: u64, column: &str, code: &'static str, detail: &str) -> LinesFault {
    LinesFault {
        column: Some(column.to_owned()),
        ..whole(line, code, detail)
    }
}

fn malformed(faults: Vec<LinesFault>) -> Fault {
    let spoken = "the lines cannot be read; see `errors`";
    Fault::new(problems::MALFORMED, spoken).fields(fields(&faults))
}

fn invalid(faults: Vec<LinesFault>) -> Fault {
    let spoken = "the lines are against a bound; see `errors`";
    Fault::new(problems::INVALID, spoken).fields(fields(&faults))
}

fn fields(faults: &[LinesFault]) -> Vec<FieldFault> {
    faults
        .iter()
        .take(FAULTS_MOST)
        .map(LinesFault::field)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> (String, String) {
        let fault = Lines::read(body).unwrap_err();
        let field = &fault.field_faults()[0];
        (field.pointer.clone(), field.detail.clone())
    }

    #[test]
    fn cells_are_found_by_the_names_of_their_columns() {
        let text = "\u{feff}name, notes\r\n\"Zoë, \"\"Z\"\"\",'=1+1\r\nBea,'tis\r\n";
        let lines = Lines::read(text.as_bytes()).unwrap();
        let mut each = lines.each();
        let zoe = each.next().unwrap();
        assert_eq!((zoe.number(), zoe.cell("name")), (2, Some("Zoë, \"Z\"")));
        assert_eq!(zoe.cell("notes"), Some("=1+1"), "an export's guard");
        assert_eq!(each.next().unwrap().cell("notes"), Some("'tis"));
        assert_eq!(zoe.cell("email"), None);
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        assert_eq!(refused(b"a,b\n1,2\n1\n").0, "/lines/3");
        assert_eq!(
            refused(b"a,b\n1,2,3\n").1,
            "line 2: it has 3 cells where the first line has 2"
        );
        assert_eq!(refused(&[b'a', 0xff]).0, "/lines/1");
        let many = format!("a\n{}", "1\n".repeat(LINES_MOST + 1));
        assert_eq!(
            refused(many.as_bytes()).0,
            format!("/lines/{}", LINES_MOST + 2)
        );
        let wide = ["a"; COLUMNS_MOST + 1].join(",");
        assert_eq!(refused(wide.as_bytes()).0, "/lines/1");
    }

    #[test]
    fn a_column_is_known_and_there_once_and_the_first_is_there() {
        const KNOWN: &[Column] = &[Column::new("key", "/key"), Column::new("name", "/name")];
        let expect = |text: &str| {
            let fault = Lines::read(text.as_bytes()).unwrap().expect(KNOWN);
            let fault = fault.err().map(|fault| fault.field_faults().to_vec());
            let fields = fault.into_iter().flatten();
            fields.map(|field| field.pointer).collect::<Vec<_>>()
        };
        assert_eq!(expect("key,name\n"), Vec::<String>::new());
        assert_eq!(expect("name,key\n"), Vec::<String>::new());
        assert_eq!(expect("key,Name\n"), ["/lines/1/Name"]);
        assert_eq!(expect("key,key\n"), ["/lines/1/key"]);
        assert_eq!(expect("name\n"), ["/lines/1/key"]);
    }
}
