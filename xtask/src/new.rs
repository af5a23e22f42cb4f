//! `cargo x new resource NAME`: what somebody would touch by hand for a new resource, and no more.
//!
//! ```text
//! cargo x new resource equipment     one folder, one migration, one line of the register
//! cargo x accept                     every file that is derived from them
//! ```
//!
//! What comes out is whole: a list, a row, a policy, a table behind its wall. The tests that walk all
//! routes, actions and columns find it by themselves. What makes the resource its own is yours to add.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use crate::shop::{Shop, Trouble, say};

const FOLDER: &str = "studio/src/resources";
const REGISTER: &str = "studio/src/resources/mod.rs";
const MIGRATIONS: &str = "studio/migrations";
/// The name of a constraint is made of it, and PostgreSQL cuts names.
const LETTERS_MOST: usize = 30;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// A kind of row that every studio has its own of
    Resource(Resource),
}

#[derive(clap::Args)]
struct Resource {
    /// Its folder: a plural noun in snake_case
    name: String,
    /// One of them, where it is not the plural without its ending
    #[arg(long, value_name = "WORD")]
    noun: Option<String>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    plan: bool,
}

pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    let What::Resource(resource) = &arguments.what;
    let files = plan(&shop.root, &resource.name, resource.noun.as_deref())?;
    if !resource.plan {
        write(&shop.root, &files)?;
    }
    for file in &files {
        say(&file.path);
    }
    say(match resource.plan {
        true => "nothing was written",
        false => "now run `cargo x accept`, and read the difference",
    });
    Ok(())
}

/// A file as it will be.
#[derive(Debug)]
struct Written {
    path: String,
    text: String,
}

/// Every word that a template can ask for.
struct Words {
    plural: String,
    noun: String,
    entity: String,
    migration: String,
}

impl Words {
    fn fill(&self, template: &str) -> String {
        let spaced = self.plural.replace('_', " ");
        let first = capital(&spaced);
        [
            ("{{plural}}", self.plural.as_str()),
            ("{{plural_words}}", &spaced),
            ("{{Plural}}", &first),
            ("{{path}}", &self.plural.replace('_', "-")),
            ("{{noun}}", &self.noun),
            ("{{Entity}}", &self.entity),
            ("{{migration}}", &self.migration),
        ]
        .into_iter()
        .fold(template.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        })
    }
}

/// What is to be written for a resource of that name; nothing is, before all of it is known.
fn plan(root: &Path, name: &str, noun: Option<&str>) -> Result<Vec<Written>, Trouble> {
    let noun = noun.map_or_else(|| singular(name), str::to_owned);
    for word in [name, &noun] {
        check(word)?;
    }
    let register = read(root, REGISTER)?;
    let words = Words {
        plural: name.to_owned(),
        entity: pascal(&noun),
        migration: format!("{:04}_{name}", last_migration(root)? + 1),
        noun,
    };
    check_free(root, &register, &words)?;
    let folder = format!("{FOLDER}/{name}");
    let rust = |template: &str| formatted(&words.fill(template));
    let file = |path: String, text: String| Written { path, text };
    Ok(vec![
        file(
            format!("{folder}/mod.rs"),
            rust(include_str!("new/mod.rs.template"))?,
        ),
        file(
            format!("{folder}/handlers.rs"),
            rust(include_str!("new/handlers.rs.template"))?,
        ),
        file(
            format!("{folder}/policy.cedar"),
            words.fill(include_str!("new/policy.cedar.template")),
        ),
        file(
            format!("{folder}/schema.cedarschema"),
            words.fill(include_str!("new/schema.cedarschema.template")),
        ),
        file(
            format!("{MIGRATIONS}/{}.sql", words.migration),
            words.fill(include_str!("new/migration.sql.template")),
        ),
        file(REGISTER.to_owned(), with_line(&register, name)?),
    ])
}

/// Refuses what is no name: it becomes part of Rust, SQL, Cedar and URLs.
fn check(word: &str) -> Result<(), Trouble> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let well_formed = word.starts_with(|first: char| first.is_ascii_lowercase())
        && (3..=LETTERS_MOST).contains(&word.len())
        && word.split('_').all(is_part);
    if !well_formed {
        return Err(Trouble::Setup(format!(
            "`{word}` is no name of a resource: take 3 to {LETTERS_MOST} characters of `a-z 0-9 _`, as `equipment` or `time_off`"
        )));
    }
    if RESERVED.contains(&word) {
        return Err(Trouble::Setup(format!(
            "`{word}` means something else already; take another name"
        )));
    }
    Ok(())
}

/// Words of Rust, of the resources' own module, and of the policies.
const RESERVED: [&str; 51] = [
    "abstract", "async", "await", "become", "box", "break", "const", "continue", "crate", "dyn",
    "else", "enum", "extern", "false", "final", "for", "impl", "let", "loop", "macro", "match",
    "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct",
    "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield", "page", "register", "handlers", "actions", "service", "tenant",
];

/// Refuses what is there already: a folder, a module, a noun or an entity of the policies.
fn check_free(root: &Path, register: &str, words: &Words) -> Result<(), Trouble> {
    let taken = |what: String| {
        Err(Trouble::Setup(format!(
            "there is {what} already; take another name, or another `--noun`"
        )))
    };
    let named = |line: &str| module(line) == Some(words.plural.as_str());
    if root.join(FOLDER).join(&words.plural).exists() || register.lines().any(named) {
        return taken(format!("a module `{}`", words.plural));
    }
    let mut schemas = vec![root.join(FOLDER).join("schema.cedarschema")];
    for entry in list(&root.join(FOLDER))? {
        schemas.push(entry.join("schema.cedarschema"));
    }
    for schema in schemas.iter().filter(|schema| schema.exists()) {
        let text = fs::read_to_string(schema).map_err(|error| unreadable(schema, error))?;
        let entity = format!("entity {}", words.entity);
        let is_entity = |line: &str| {
            let rest = line.strip_prefix(&entity);
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        };
        if text.lines().any(is_entity) {
            return taken(format!("an entity `{}` in the policies", words.entity));
        }
        if text.contains(&format!("\"{}.", words.noun)) {
            return taken(format!("an action of a `{}`", words.noun));
        }
    }
    Ok(())
}

/// The register with the line of a resource, where the formatter would put it.
fn with_line(register: &str, name: &str) -> Result<String, Trouble> {
    let mut lines: Vec<&str> = register.lines().collect();
    let first = lines.iter().position(|line| module(line).is_some());
    let first = first.ok_or_else(|| Trouble::Setup(format!("`{REGISTER}` names no module")))?;
    let rest = lines.iter().skip(first);
    let later = rest
        .take_while(|line| module(line).is_some_and(|other| other < name))
        .count();
    let line = format!("pub mod {name};");
    lines.insert(first + later, &line);
    Ok(lines.join("\n") + "\n")
}

/// The name of the module that a line declares.
fn module(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix(';')
}

fn last_migration(root: &Path) -> Result<u32, Trouble> {
    let paths = list(&root.join(MIGRATIONS))?;
    let number = |path: &std::path::PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.split('_').next()?.parse().ok()
    };
    Ok(paths.iter().filter_map(number).max().unwrap_or(0))
}

/// `bookings` is `booking`, `companies` is `company`, `equipment` is itself.
fn singular(plural: &str) -> String {
    let endings = [
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("ss", "ss"),
        ("s", ""),
    ];
    let found = endings
        .into_iter()
        .find_map(|(ending, instead)| Some((plural.strip_suffix(ending)?, instead)));
    found.map_or_else(
        || plural.to_owned(),
        |(stem, instead)| format!("{stem}{instead}"),
    )
}

fn pascal(noun: &str) -> String {
    noun.split('_').map(capital).collect()
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1.min(word.len()));
    first.to_ascii_uppercase() + rest
}

/// As the formatter would have it: where a line breaks depends on the length of the name.
fn formatted(text: &str) -> Result<String, Trouble> {
    let trouble = |error: std::io::Error| Trouble::setup("cannot run `rustfmt`", error);
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(trouble)?;
    if let Some(mut input) = rustfmt.stdin.take() {
        input.write_all(text.as_bytes()).map_err(trouble)?;
    }
    let output = rustfmt.wait_with_output().map_err(trouble)?;
    match (output.status.success(), String::from_utf8(output.stdout)) {
        (true, Ok(text)) => Ok(text),
        _ => Err(Trouble::Setup(
            "`rustfmt` does not read the template".into(),
        )),
    }
}

/// Writes all of them, or takes back what was written.
fn write(root: &Path, files: &[Written]) -> Result<(), Trouble> {
    let register = read(root, REGISTER)?;
    for (number, file) in files.iter().enumerate() {
        if let Err(trouble) = write_one(root, file) {
            for written in files.iter().take(number) {
                let _ = fs::remove_file(root.join(&written.path));
            }
            let _ = fs::write(root.join(REGISTER), register);
            return Err(trouble);
        }
    }
    Ok(())
}

fn write_one(root: &Path, file: &Written) -> Result<(), Trouble> {
    let path = root.join(&file.path);
    let unwritable =
        |error| Trouble::setup(format_args!("`{}` cannot be written", file.path), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(unwritable)?;
    }
    fs::write(&path, &file.text).map_err(unwritable)
}

fn list(folder: &Path) -> Result<Vec<std::path::PathBuf>, Trouble> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(folder, error))
}

fn read(root: &Path, path: &str) -> Result<String, Trouble> {
    let path = root.join(path);
    fs::read_to_string(&path).map_err(|error| unreadable(&path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> Trouble {
    Trouble::setup(format_args!("`{}` cannot be read", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree that has what a resource is added to.
    struct Trial(std::path::PathBuf);

    impl Trial {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("new-{name}-{}", std::process::id()));
            let trial = Self(root);
            for (path, text) in [
                (
                    REGISTER,
                    "//! Nouns.\n\npub mod artists;\npub mod page;\nmod register;\npub mod studio;\n\nuse x;\n",
                ),
                (
                    "studio/src/resources/schema.cedarschema",
                    "entity Studio;\nentity Member {\n};\n",
                ),
                (
                    "studio/src/resources/artists/schema.cedarschema",
                    "entity Artist {\n};\naction \"artist.view\" appliesTo {\n};\n",
                ),
                ("studio/migrations/0002_operators.sql", ""),
                ("studio/migrations/0011_members.sql", ""),
            ] {
                let (path, text) = (path.to_owned(), text.to_owned());
                write_one(&trial.0, &Written { path, text }).unwrap();
            }
            trial
        }

        fn files(&self) -> Vec<String> {
            let files = walkdir::WalkDir::new(&self.0)
                .sort_by_file_name()
                .into_iter();
            let files = files
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_file());
            files
                .map(|entry| {
                    entry
                        .path()
                        .strip_prefix(&self.0)
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect()
        }
    }

    impl Drop for Trial {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_resource_is_a_folder_a_migration_and_a_line() {
        let trial = Trial::new("whole");
        let before = trial.files();
        let files = plan(&trial.0, "equipment", None).unwrap();
        assert_eq!(trial.files(), before, "a plan writes nothing");
        write(&trial.0, &files).unwrap();
        let added: Vec<String> = trial
            .files()
            .into_iter()
            .filter(|file| !before.contains(file))
            .collect();
        assert_eq!(
            added,
            [
                "studio/migrations/0012_equipment.sql",
                "studio/src/resources/equipment/handlers.rs",
                "studio/src/resources/equipment/mod.rs",
                "studio/src/resources/equipment/policy.cedar",
                "studio/src/resources/equipment/schema.cedarschema",
            ]
        );
        assert_eq!(
            read(&trial.0, REGISTER).unwrap(),
            "//! Nouns.\n\npub mod artists;\npub mod equipment;\npub mod page;\nmod register;\npub mod studio;\n\nuse x;\n"
        );
        for file in &files {
            assert!(!file.text.contains("{{"), "{}", file.path);
            assert!(file.text.contains("quipment"), "{}", file.path);
        }
        let again = plan(&trial.0, "equipment", None).unwrap_err().to_string();
        assert!(again.contains("a module `equipment`"), "{again}");
    }

    #[test]
    fn a_line_stands_where_the_formatter_puts_it() {
        let register = "mod b;\npub mod d;\n\npub mod later;\n";
        for (name, first) in [
            ("aaa", "pub mod aaa;"),
            ("ccc", "mod b;"),
            ("eee", "mod b;"),
        ] {
            let text = with_line(register, name).unwrap();
            let block: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
            assert_eq!(block[0], first);
            let mut sorted = block.clone();
            sorted.sort_by_key(|line| module(line).unwrap());
            assert_eq!(block, sorted);
        }
    }

    #[test]
    fn what_is_no_name_or_is_taken_is_refused_and_nothing_is_written() {
        let trial = Trial::new("refused");
        let before = trial.files();
        let long = "a".repeat(31);
        for (name, noun, why) in [
            ("Equipment", None, "no name of a resource"),
            ("equipment-sets", None, "no name of a resource"),
            ("_equipment", None, "no name of a resource"),
            ("two__words", None, "no name of a resource"),
            ("../outside", None, "no name of a resource"),
            ("it", None, "no name of a resource"),
            ("9lives", None, "no name of a resource"),
            (&long, None, "no name of a resource"),
            ("equipment", Some("Thing; DROP"), "no name of a resource"),
            ("match", None, "means something else"),
            ("types", None, "means something else"),
            ("page", None, "means something else"),
            ("studio", None, "a module `studio`"),
            ("artists", None, "a module `artists`"),
            ("people", Some("artist"), "an entity `Artist`"),
            ("members", None, "an entity `Member`"),
        ] {
            let refused = plan(&trial.0, name, noun).unwrap_err();
            assert!(matches!(refused, Trouble::Setup(_)));
            assert!(refused.to_string().contains(why), "{name}: {refused}");
        }
        assert_eq!(trial.files(), before);
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_written() {
        let trial = Trial::new("half");
        let before = (trial.files(), read(&trial.0, REGISTER).unwrap());
        let mut files = plan(&trial.0, "equipment", None).unwrap();
        // A file where a folder would have to be.
        files[4].path = "studio/migrations/0002_operators.sql/0012_equipment.sql".to_owned();
        assert!(write(&trial.0, &files).is_err());
        assert_eq!((trial.files(), read(&trial.0, REGISTER).unwrap()), before);
    }

    #[test]
    fn one_of_many_is_found() {
        for (plural, one, entity) in [
            ("bookings", "booking", "Booking"),
            ("companies", "company", "Company"),
            ("boxes", "box", "Box"),
            ("dresses", "dress", "Dress"),
            ("glass", "glass", "Glass"),
            ("time_off", "time_off", "TimeOff"),
            ("legal_holds", "legal_hold", "LegalHold"),
        ] {
            assert_eq!(
                (
                    singular(plural).as_str(),
                    pascal(&singular(plural)).as_str()
                ),
                (one, entity)
            );
        }
    }
}
