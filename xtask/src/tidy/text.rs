use super::{
    Finding,
    tree::{File, Tree},
};

/// A file that a reader must hold in the head has at most so many lines.
const LINES_MOST: usize = 700;

/// The kinds of files that people write and read.
const WRITTEN: [&str; 8] = ["rs", "sql", "md", "toml", "cedar", "py", "sh", "css"];

// In two parts, or these rules would find themselves.
const ALLOWS: [&str; 2] = [concat!("#[", "allow("), concat!("#![", "allow(")];
const OPEN: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];
const MACHINE: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

/// Finds each line of a file of which `is_flaw` is true.
fn lines(file: &File, is_flaw: impl Fn(&str) -> bool, message: &str) -> Vec<Finding> {
    file.lines()
        .filter(|(_, text)| is_flaw(text))
        .map(|(line, _)| Finding {
            path: file.path.clone(),
            line,
            message: message.to_owned(),
        })
        .collect()
}

/// A lint is switched off with `expect`, which complains when it is needed no more.
pub(super) fn expects_instead_of_allowing(tree: &Tree) -> Vec<Finding> {
    let rust = tree.files.iter().filter(|file| file.is("rs"));
    rust.flat_map(|file| {
        lines(
            file,
            |text| ALLOWS.iter().any(|allow| text.contains(allow)),
            "switches a lint off for good: write `#[expect(lint, reason = \"…\")]`, which says \
             why and fails once it is needless",
        )
    })
    .collect()
}

/// Nothing is left for later in the text: later is an issue, with an owner.
pub(super) fn leaves_nothing_open(tree: &Tree) -> Vec<Finding> {
    let is_open = |text: &str| OPEN.iter().any(|mark| has_word(text, mark));
    let files = tree
        .files
        .iter()
        .filter(|file| WRITTEN.iter().any(|kind| file.is(kind)));
    files
        .flat_map(|file| {
            lines(
                file,
                is_open,
                "leaves something open: do it now, or open an issue and say here what is absent",
            )
        })
        .collect()
}

/// No path of somebody's machine is in the tree.
pub(super) fn names_no_machine(tree: &Tree) -> Vec<Finding> {
    let is_machine = |text: &str| MACHINE.iter().any(|path| has_path(text, path));
    tree.files
        .iter()
        .flat_map(|file| {
            lines(
                file,
                is_machine,
                "names a folder of one machine: it is on no other; take a path from the root of \
                 the repository, the environment or a temporary directory",
            )
        })
        .collect()
}

/// A file is short enough to be read at one sitting.
pub(super) fn fits_in_a_head(tree: &Tree) -> Vec<Finding> {
    let written = tree
        .files
        .iter()
        .filter(|file| WRITTEN.iter().any(|kind| file.is(kind)));
    written
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MOST)
        .map(|(file, lines)| Finding {
            path: file.path.clone(),
            line: 0,
            message: format!(
                "has {lines} lines: a wall is read before it is trusted, and nobody reads more \
                 than {LINES_MOST}; split it by what changes together"
            ),
        })
        .collect()
}

/// Whether `word` is in the text as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|part| part.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|part| part.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Whether an absolute path that begins with `path` is in the text.
fn has_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text.get(..at).and_then(|part| part.chars().next_back());
        // A letter, dot or brace before it makes it the middle of another path.
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}~/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::trial::flaw_and_fix, *};

    #[test]
    fn an_allowed_lint_is_found() {
        for allow in ALLOWS {
            let flaw = format!("{allow}dead_code)]\nfn a() {{}}\n");
            flaw_and_fix(
                expects_instead_of_allowing,
                &[("a/src/lib.rs", &flaw)],
                "#[expect(",
                &[(
                    "a/src/lib.rs",
                    "#[expect(dead_code, reason = \"b\")]\nfn a() {}\n",
                )],
            );
        }
    }

    #[test]
    fn an_open_end_is_found() {
        for mark in OPEN {
            let mark = mark.trim_end_matches(':');
            let flaw = format!("// {mark}: later\n");
            let near_miss = format!("const NOT_{mark}S: u8 = 1;\n");
            flaw_and_fix(
                leaves_nothing_open,
                &[("a/src/lib.rs", &flaw)],
                "leaves something open",
                &[("a/src/lib.rs", &near_miss)],
            );
        }
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        for path in MACHINE {
            let flaw = format!("read(\"{path}me/file\")\n");
            let near_miss = format!("[a](docs{path}file.md) and https://example.org/v1{path}a\n");
            flaw_and_fix(
                names_no_machine,
                &[("docs/a.md", &flaw)],
                "one machine",
                &[("docs/a.md", &near_miss)],
            );
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        let lines = |count| "// a line\n".repeat(count);
        flaw_and_fix(
            fits_in_a_head,
            &[
                ("a.rs", &lines(LINES_MOST + 1)),
                ("Cargo.lock", &lines(9_000)),
            ],
            "has 701 lines",
            &[("a.rs", &lines(LINES_MOST)), ("Cargo.lock", &lines(9_000))],
        );
    }
}
