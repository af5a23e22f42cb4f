use super::{
    Finding,
    tree::{Tree, dependencies},
};

/// Every member takes the workspace's lints.
pub(super) fn share_the_lints(tree: &Tree) -> Vec<Finding> {
    tree.members()
        .filter(|(_, manifest)| {
            let lints = manifest.get("lints");
            let shared = lints.and_then(|lints| lints.get("workspace")?.as_bool());
            shared != Some(true)
        })
        .map(|(file, _)| Finding {
            path: file.path.clone(),
            line: 0,
            message: "lacks `[lints] workspace = true`: cargo does not warn when a member is \
                      checked by no lint"
                .into(),
        })
        .collect()
}

/// No member names a version.
pub(super) fn inherit_their_dependencies(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, manifest) in tree.members() {
        for dependency in dependencies(&manifest)
            .into_iter()
            .filter(|one| !one.inherited)
        {
            findings.push(Finding {
                path: file.path.clone(),
                line: 0,
                message: format!(
                    "`{}` is not inherited: every dependency stands in the root manifest once, \
                     with its reason; write `workspace = true` here",
                    dependency.name
                ),
            });
        }
    }
    findings
}

/// Every dependency of the workspace says on its line why it is there.
pub(super) fn give_a_reason(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file("Cargo.toml") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (line, text) in file.lines() {
        if text.starts_with('[') {
            in_dependencies = text.trim() == "[workspace.dependencies]";
        }
        let is_entry = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_ours = text.contains("path = ");
        let reason = text.rsplit_once(" # ").map_or("", |(_, reason)| reason);
        if in_dependencies && is_entry && !is_ours && reason.trim().is_empty() {
            findings.push(Finding {
                path: file.path.clone(),
                line,
                message: "gives no reason: whoever reviews the next update needs to know what the \
                          dependency is for; end the line with `# …`"
                    .into(),
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::trial::flaw_and_fix, *};

    #[test]
    fn a_member_without_the_lints_is_found() {
        for flaw in [
            "[package]\nname = \"a\"\n",
            "[package]\nname = \"a\"\n[lints]\nworkspace = false\n",
        ] {
            flaw_and_fix(
                share_the_lints,
                &[("a/Cargo.toml", flaw)],
                "[lints] workspace = true",
                &[(
                    "a/Cargo.toml",
                    "[package]\nname = \"a\"\n[lints]\nworkspace = true\n",
                )],
            );
        }
    }

    #[test]
    fn a_version_in_a_member_is_found() {
        let manifest = |line: &str| format!("[package]\nname = \"a\"\n[dependencies]\n{line}\n");
        for flaw in [
            "b = \"1\"",
            "b = { version = \"1\" }",
            "b = { path = \"../b\" }",
        ] {
            flaw_and_fix(
                inherit_their_dependencies,
                &[("a/Cargo.toml", &manifest(flaw))],
                "`b` is not inherited",
                &[(
                    "a/Cargo.toml",
                    &manifest("b = { workspace = true, optional = true }"),
                )],
            );
        }
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let ours = "[workspace.dependencies]\na = { path = \"a\", version = \"1\" }\n";
        let flaw = format!("{ours}b = \"1\"\n\n[profile.dev]\ndebug = false\n");
        let fix =
            format!("{ours}b = \"1\" # reads what a writes\n\n[profile.dev]\ndebug = false\n");
        flaw_and_fix(
            give_a_reason,
            &[("Cargo.toml", &flaw)],
            "gives no reason",
            &[("Cargo.toml", &fix)],
        );
    }
}
