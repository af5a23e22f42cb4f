//! `docs/asvs.md`: every requirement of OWASP ASVS 5.0 that applies (`docs/asvs.csv`), and how it is met.
//!
//! A test that shows one says so in a line before it, `// asvs: V3.4.1 V3.4.4`. What no test can show
//! stands with its reason in `docs/asvs.toml`; whatever is in neither is open.

use std::{collections::BTreeMap, fs};

use crate::{
    shop::{Shop, Trouble},
    tidy::{Finding, Tree},
};

const REQUIREMENTS: &str = "docs/asvs.csv";
const REASONS: &str = "docs/asvs.toml";
const PAGE: &str = "docs/asvs.md";
const MARK: &str = "// asvs: ";

/// Writes the page anew.
pub(crate) fn accept(shop: &Shop) -> Result<(), Trouble> {
    let tree = Tree::read(&shop.root)?;
    let path = shop.path(PAGE);
    fs::write(&path, page(&tree))
        .map_err(|error| Trouble::Setup(format!("`{}`: {error}", path.display())))
}

/// Rule: the page is what marks and reasons make of it, and each of them is of a requirement.
pub(crate) fn is_current(tree: &Tree) -> Vec<Finding> {
    let Some(written) = tree.file(PAGE) else {
        return Vec::new();
    };
    let known = requirements(tree);
    let is_known = |id: &str| known.iter().any(|requirement| requirement.id == id);
    let mut findings = Vec::new();
    let mut finding = |path: &str, line, message: String| {
        findings.push(Finding {
            path: path.to_owned(),
            line,
            message,
        });
    };
    for mark in marks(tree) {
        if !is_known(mark.id) {
            let why = format!("`{}` is no requirement of {REQUIREMENTS}", mark.id);
            finding(mark.path, mark.line, why);
        }
    }
    for id in reasons(tree).keys().filter(|id| !is_known(id)) {
        finding(
            REASONS,
            0,
            format!("`{id}` is no requirement of {REQUIREMENTS}"),
        );
    }
    if written.text != page(tree) {
        finding(
            PAGE,
            0,
            "is not what marks and reasons make of it; run `cargo x accept`".to_owned(),
        );
    }
    findings
}

struct Requirement {
    id: String,
    level: String,
    text: String,
}

fn requirements(tree: &Tree) -> Vec<Requirement> {
    let lines = tree.file(REQUIREMENTS).into_iter();
    let lines = lines.flat_map(|file| file.text.lines()).skip(1);
    lines
        .filter_map(|line| {
            let mut fields = fields(line).into_iter();
            Some(Requirement {
                id: fields.next()?,
                level: fields.next()?,
                text: fields.next()?,
            })
        })
        .collect()
}

/// The fields of a line of CSV: quotes hold commas, and two of them are one.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

/// A requirement that a test says it shows.
struct Mark<'t> {
    id: &'t str,
    path: &'t str,
    line: usize,
    test: &'t str,
}

fn marks(tree: &Tree) -> Vec<Mark<'_>> {
    let mut marks = Vec::new();
    for file in tree.files.iter().filter(|file| file.is("rs")) {
        let mut waiting = Vec::new();
        for (line, text) in file.lines() {
            let text = text.trim_start();
            if let Some(ids) = text.strip_prefix(MARK) {
                waiting.extend(ids.split_whitespace().map(|id| (line, id)));
            } else if let Some((_, rest)) = text.split_once("fn ") {
                let test = rest.split(['(', '<']).next().unwrap_or_default();
                let path = file.path.as_str();
                marks.extend(waiting.drain(..).map(|(line, id)| Mark {
                    id,
                    path,
                    line,
                    test,
                }));
            }
        }
    }
    marks
}

/// Why no test shows a requirement: whose it is, and a sentence.
fn reasons(tree: &Tree) -> BTreeMap<String, (&'static str, String)> {
    let table = tree
        .file(REASONS)
        .and_then(|file| file.text.parse::<toml::Table>().ok());
    let table = table.unwrap_or_default();
    let mut reasons = BTreeMap::new();
    for whose in ["design", "deployer"] {
        let section = table.get(whose).and_then(toml::Value::as_table);
        for (id, why) in section.into_iter().flatten() {
            let why = why.as_str().unwrap_or_default().to_owned();
            reasons.insert(id.clone(), (whose, why));
        }
    }
    reasons
}

fn page(tree: &Tree) -> String {
    let (marks, reasons) = (marks(tree), reasons(tree));
    let (mut rows, mut counts) = (String::new(), BTreeMap::<&str, usize>::new());
    for Requirement { id, level, text } in requirements(tree) {
        let mut tests: Vec<String> = marks
            .iter()
            .filter(|mark| mark.id == id)
            .map(|mark| format!("`{}` in `{}`", mark.test, mark.path))
            .collect();
        tests.sort_unstable();
        tests.dedup();
        let (state, how) = match reasons.get(&id) {
            _ if !tests.is_empty() => ("met", tests.join(", ")),
            Some((whose, why)) => (*whose, why.clone()),
            None => ("open", String::new()),
        };
        *counts.entry(state).or_default() += 1;
        rows += &format!("| {id} | {level} | {text} | {state} | {how} |\n");
    }
    let count = |state: &str| counts.get(state).copied().unwrap_or(0);
    format!(
        "# OWASP ASVS 5.0\n\n\
         The requirements that apply, and how each is met: by tests that are named, by design where no test can show it, by whoever \
         deploys\nit, or not yet. Written by `cargo x accept` from `{REQUIREMENTS}`, `{REASONS}` and the marks of tests.\n\n\
         {} met, {} by design, {} the deployer's, {} open.\n\n\
         | requirement | level | what | state | how |\n| --- | --- | --- | --- | --- |\n{rows}",
        count("met"),
        count("design"),
        count("deployer"),
        count("open"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::trial::{flaw_and_fix, tree};

    const CSV: (&str, &str) = (
        REQUIREMENTS,
        "id,level,what,rest\nV1.1.1,2,\"one, two\",x\nV1.1.2,1,three,y\n",
    );
    const TEST: (&str, &str) = (
        "a/tests/b.rs",
        "// asvs: V1.1.1\n#[test]\nfn it_holds() {}\n",
    );

    #[test]
    fn a_mark_names_its_test_and_what_has_none_is_open() {
        let page = page(&tree(&[CSV, TEST]));
        assert!(
            page.contains("| V1.1.1 | 2 | one, two | met | `it_holds` in `a/tests/b.rs` |"),
            "{page}"
        );
        assert!(page.contains("| V1.1.2 | 1 | three | open |  |"), "{page}");
        assert!(
            page.contains("1 met, 0 by design, 0 the deployer's, 1 open"),
            "{page}"
        );
    }

    #[test]
    fn a_page_that_is_not_current_and_a_mark_of_nothing_are_found() {
        let good = page(&tree(&[CSV, TEST]));
        flaw_and_fix(
            is_current,
            &[CSV, TEST, (PAGE, "old")],
            "accept",
            &[CSV, TEST, (PAGE, &good)],
        );
        let nothing = ("a/tests/c.rs", "// asvs: V9.9.9\nfn it() {}\n");
        let found = is_current(&tree(&[CSV, TEST, nothing, (PAGE, &good)]));
        assert!(
            found.len() == 1 && found[0].message.contains("no requirement"),
            "{found:?}"
        );
    }
}
