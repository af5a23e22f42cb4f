use std::{collections::BTreeSet, fs, iter::Peekable, str::SplitWhitespace};

use serde::Deserialize;

use crate::shop::{Shop, Trouble, read, run as run_command, say};

/// What cargo says of the packages.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    /// The registry or repository; none for a package of this workspace.
    source: Option<String>,
    dependencies: Vec<Requirement>,
}

#[derive(Deserialize)]
struct Requirement {
    name: String,
    req: String,
    path: Option<String>,
}

/// Checks licences, sources and versions of every dependency against `deny.toml`: with cargo-deny
/// where it is installed, else with the part of it that is here.
pub(crate) fn run(shop: &Shop) -> Result<(), Trouble> {
    if shop.has(&mut shop.cargo("deny")) {
        say("using cargo-deny");
        let mut deny = shop.cargo("deny");
        return run_command(deny.args(["check", "bans", "licenses", "sources"]));
    }
    let allowed = allowed(shop)?;
    let mut metadata = shop.cargo("metadata");
    metadata.args(["--format-version", "1", "--all-features", "--locked"]);
    let Metadata { packages } = serde_json::from_str(&read(&mut metadata)?)
        .map_err(|error| Trouble::setup("cannot read what cargo says of the packages", error))?;
    let findings: BTreeSet<String> = packages
        .iter()
        .flat_map(|package| examine(package, &allowed))
        .collect();
    say(format_args!(
        "cargo-deny is not installed: used the built-in check on {} packages",
        packages.len()
    ));
    if findings.is_empty() && !packages.is_empty() {
        return Ok(());
    }
    findings.iter().for_each(say);
    Err(Trouble::Finding(format!(
        "{} findings; replace the dependency, or add to deny.toml with a reason",
        findings.len()
    )))
}

/// The licences that `deny.toml` allows.
fn allowed(shop: &Shop) -> Result<BTreeSet<String>, Trouble> {
    let unreadable = |error: &dyn std::fmt::Display| Trouble::setup("cannot read deny.toml", error);
    let text = fs::read_to_string(shop.path("deny.toml")).map_err(|error| unreadable(&error))?;
    let table: toml::Table = text.parse().map_err(|error| unreadable(&error))?;
    let allow = table
        .get("licenses")
        .and_then(|licenses| licenses.get("allow"))
        .and_then(toml::Value::as_array)
        .ok_or_else(|| unreadable(&"it has no list `licenses.allow`"))?;
    Ok(allow
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

/// What is wrong with one package.
fn examine(package: &Package, allowed: &BTreeSet<String>) -> Vec<String> {
    let name = &package.name;
    let mut findings = Vec::new();
    match &package.license {
        Some(expression) if is_allowed(expression, allowed) => {}
        Some(expression) => findings.push(format!("{name}: the licence is `{expression}`")),
        None => findings.push(format!("{name}: it names no licence")),
    }
    match &package.source {
        Some(source) if source.ends_with("/crates.io-index") => {}
        Some(source) => findings.push(format!("{name}: it comes from `{source}`")),
        None => {
            let any = |one: &&Requirement| one.req == "*" && one.path.is_none();
            for Requirement { name: other, .. } in package.dependencies.iter().filter(any) {
                findings.push(format!("{name}: any version of {other} would do"));
            }
        }
    }
    findings
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old way to say OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    // Words that are left over make the whole unreadable, and so not allowed.
    either(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = Peekable<SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = either(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(name) = words.next() else {
        return false;
    };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allowed.contains(&format!("{name} WITH {exception}")),
        None => allowed.contains(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> BTreeSet<String> {
        ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn an_expression_is_met_or_not() {
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only/MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT AND ISC", true),
            ("(MIT OR GPL-3.0-only) AND ISC", true),
            ("ISC AND (GPL-3.0-only OR Zlib)", false),
            ("Zlib OR MIT AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT WITH something-else", false),
            ("(MIT", false),
            ("MIT ISC", false),
            ("MIT OR", true),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed()), met, "{expression}");
        }
    }

    #[test]
    fn a_package_is_examined() {
        let examined = |package: &str| {
            let package = serde_json::from_str(package).unwrap();
            examine(&package, &allowed()).join("; ")
        };
        let fine = r#"{"name": "a", "license": "MIT", "dependencies": [],
                       "source": "registry+https://example.org/crates.io-index"}"#;
        assert_eq!(examined(fine), "");
        for (flaw, why) in [
            (fine.replace("MIT", "SSPL-1.0"), "`SSPL-1.0`"),
            (fine.replace("\"MIT\"", "null"), "names no licence"),
            (
                fine.replace("registry+", "git+")
                    .replace("crates.io-index", "a"),
                "comes from `git+",
            ),
            (
                r#"{"name": "a", "license": "MIT", "source": null,
                    "dependencies": [{"name": "b", "req": "*"}]}"#
                    .to_owned(),
                "any version of b",
            ),
        ] {
            let found = examined(&flaw);
            assert!(found.contains(why), "{flaw}: {found}");
        }
        let near_miss = r#"{"name": "a", "license": "MIT", "source": null,
                            "dependencies": [{"name": "b", "req": "*", "path": "b"}]}"#;
        assert_eq!(examined(near_miss), "");
    }
}
