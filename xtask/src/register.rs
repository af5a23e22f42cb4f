//! The register of resources, `studio/src/resources/register.rs`: one line a folder that `mod.rs`
//! names and that has a policy. Derived, so that adding a resource is one `pub mod` line.

use std::fs;

use crate::{
    shop::{Shop, Trouble},
    tidy::{Finding, Tree},
};

const FOLDER: &str = "studio/src/resources";

/// Writes the register anew.
pub(crate) fn accept(shop: &Shop) -> Result<(), Trouble> {
    let tree = Tree::read(&shop.root)?;
    let path = shop.root.join(FOLDER).join("register.rs");
    fs::write(&path, text(&tree))
        .map_err(|error| Trouble::Setup(format!("`{}`: {error}", path.display())))
}

/// Rule: the register is what the folders make of it.
pub(crate) fn is_current(tree: &Tree) -> Vec<Finding> {
    let path = format!("{FOLDER}/register.rs");
    let register = tree.files.iter().find(|file| file.path == path);
    let stale = register.filter(|register| register.text != text(tree));
    stale
        .map(|_| Finding {
            path,
            line: 0,
            message: "does not list the resources that `mod.rs` names; run `cargo x accept`".into(),
        })
        .into_iter()
        .collect()
}

fn text(tree: &Tree) -> String {
    let has_policy = |folder: &str| {
        let policy = format!("{FOLDER}/{folder}/policy.cedar");
        tree.files.iter().any(|file| file.path == policy)
    };
    let module = format!("{FOLDER}/mod.rs");
    let module = tree.files.iter().find(|file| file.path == module);
    let mut folders: Vec<&str> = module
        .into_iter()
        .flat_map(|module| module.text.lines())
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|folder| has_policy(folder))
        .collect();
    folders.sort_unstable();
    let lines: String = folders
        .iter()
        .map(|folder| format!("    (\"{folder}\", super::{folder}::RESOURCE),\n"))
        .collect();
    format!(
        "// Written by `cargo x accept` from the folders that `mod.rs` names.\n\n\
         use super::Registered;\n\n\
         /// Every resource, by the name of its folder.\n\
         pub(super) const REGISTER: &[(&str, Registered)] = &[\n{lines}];\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::trial::{flaw_and_fix, tree};

    #[test]
    fn a_resource_is_its_line_and_its_policy() {
        let module = "pub mod page;\nmod register;\npub mod studio;\npub mod artists;\n";
        let files = |register| {
            [
                ("studio/src/resources/mod.rs", module),
                ("studio/src/resources/artists/policy.cedar", ""),
                ("studio/src/resources/studio/policy.cedar", ""),
                ("studio/src/resources/register.rs", register),
            ]
        };
        let fresh = text(&tree(&files("")));
        assert!(fresh.contains("(\"artists\", super::artists::RESOURCE),\n    (\"studio\","));
        assert!(!fresh.contains("page"));
        flaw_and_fix(
            is_current,
            &files("stale"),
            "cargo x accept",
            &files(&fresh),
        );
    }
}
