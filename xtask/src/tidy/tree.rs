use std::{
    fs,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use crate::shop::Trouble;

/// Folders that are not part of the repository.
const NOT_OURS: [&str; 5] = [".git", ".studio", "target", "node_modules", "__pycache__"];

/// The text files of the repository.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// One text file, by its path from the root with `/`.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|e| e == extension)
    }

    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub(crate) fn manifest(&self) -> Option<toml::Table> {
        self.text.parse().ok()
    }

    /// Its lines, numbered as an editor numbers them.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

impl Tree {
    /// Reads the tree under `root`. What is not UTF-8 is not text.
    pub(crate) fn read(root: &Path) -> Result<Self, Trouble> {
        let is_ours = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            !(entry.file_type().is_dir() && NOT_OURS.contains(&&*name))
        };
        let mut files = Vec::new();
        for entry in WalkDir::new(root)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(is_ours)
        {
            let entry = entry.map_err(|error| Trouble::setup("cannot read the tree", error))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = relative(entry.path(), root);
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(File { path, text });
            }
        }
        Ok(Self { files })
    }

    /// The manifests of the workspace's members, with the file each stands in.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&File, toml::Table)> {
        self.files
            .iter()
            .filter(|file| file.path.ends_with("/Cargo.toml"))
            .filter_map(|file| Some((file, file.manifest()?)))
            .filter(|(_, manifest)| manifest.contains_key("package"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn relative(path: &Path, root: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).unwrap_or(path).into();
    path.to_string_lossy().into_owned()
}

/// A dependency of a member.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only where a feature asks for it, or only in tests: a release does not have it.
    pub(crate) set_apart: bool,
    /// With the workspace's version and features.
    pub(crate) inherited: bool,
}

/// Every dependency of a manifest, of whatever kind and for whatever target.
pub(crate) fn dependencies(manifest: &toml::Table) -> Vec<Dependency> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(|table| table.values());
    let tables = targets
        .filter_map(toml::Value::as_table)
        .chain([manifest])
        .flat_map(|table| {
            KINDS
                .iter()
                .filter_map(|kind| Some((*kind, table.get(*kind)?)))
        })
        .filter_map(|(kind, table)| Some((kind, table.as_table()?)));
    tables
        .flat_map(|(kind, table)| table.iter().map(move |(key, value)| (kind, key, value)))
        .map(|(kind, key, value)| {
            let member = |name: &str| value.get(name);
            let is_true = |name| member(name).and_then(toml::Value::as_bool) == Some(true);
            let renamed = member("package").and_then(toml::Value::as_str);
            Dependency {
                name: renamed.unwrap_or(key).to_owned(),
                set_apart: is_true("optional") || kind == "dev-dependencies",
                inherited: is_true("workspace"),
            }
        })
        .collect()
}
