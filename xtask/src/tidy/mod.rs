//! The house rules, as code. Each says what it found, why that is a rule, and what to do instead.

use std::fmt;

mod members;
mod rooms;
mod text;
mod tree;

pub(crate) use tree::Tree;

use crate::{
    asvs, register,
    shop::{Shop, Trouble, say},
};

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 13] = [
    rooms::import_downwards,
    rooms::know_no_web,
    rooms::prove_alone,
    rooms::keep_their_capability,
    members::share_the_lints,
    members::inherit_their_dependencies,
    members::give_a_reason,
    text::expects_instead_of_allowing,
    text::leaves_nothing_open,
    text::names_no_machine,
    text::fits_in_a_head,
    register::is_current,
    asvs::is_current,
];

/// Checks the checkout.
pub(crate) fn run(shop: &Shop) -> Result<(), Trouble> {
    let tree = Tree::read(&shop.root)?;
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.iter().for_each(say);
    if findings.is_empty() {
        let (rules, files) = (RULES.len(), tree.files.len());
        say(format_args!("tidy: {rules} rules over {files} files"));
        return Ok(());
    }
    Err(Trouble::Finding(format!(
        "{} house rules are broken",
        findings.len()
    )))
}

#[cfg(test)]
pub(crate) mod trial {
    use super::{Finding, Rule, tree::File, tree::Tree};

    /// A tree of these files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        });
        Tree {
            files: files.collect(),
        }
    }

    /// The rule finds the flaw once, says why, and is silent about the fix.
    #[track_caller]
    pub(crate) fn flaw_and_fix(rule: Rule, flaw: &[(&str, &str)], why: &str, fix: &[(&str, &str)]) {
        let found = rule(&tree(flaw));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found.iter().all(|one| one.message.contains(why)),
            "{found:?}"
        );
        assert_eq!(rule(&tree(fix)), Vec::<Finding>::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_from_disk_without_what_is_not_ours() {
        let root = std::env::temp_dir().join(format!("tidy-{}", std::process::id()));
        for (path, text) in [
            ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("target/debug/generated.rs", "// of cargo\n"),
            (".git/config", "of git\n"),
            ("docs/a.md", "text\n"),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(root.join("docs/picture.png"), [0xff, 0xfe]).unwrap();
        let tree = Tree::read(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let paths: Vec<&str> = tree.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["a/Cargo.toml", "docs/a.md"]);
        assert_eq!(tree.members().count(), 1);
    }

    #[test]
    fn a_finding_names_its_place() {
        let mut finding = Finding {
            path: "a.rs".into(),
            line: 3,
            message: "why".into(),
        };
        assert_eq!(finding.to_string(), "a.rs:3: why");
        finding.line = 0;
        assert_eq!(finding.to_string(), "a.rs: why");
    }
}
