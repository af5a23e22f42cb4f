//! Checkpoints outside the database: a folder a studio, in it a file a day.
//!
//! Whoever can rewrite the whole database cannot rewrite these. A file is replaced only by a
//! checkpoint of a log that was found to go on from it; the last of each day stays. Where retention has
//! removed entries, `removed` has what stands for them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::civil::Date;
use watertight_terms::TenantId;

use crate::{note, tree::Hash};

/// The file of what stands for removed entries.
const REMOVED: &str = "removed";

/// The folder of checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct Outside(PathBuf);

impl Outside {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    fn of(&self, tenant: TenantId) -> PathBuf {
        self.0.join(tenant.to_string())
    }

    /// The newest checkpoint of a studio's log: its size and root.
    pub(crate) fn newest(&self, tenant: TenantId) -> io::Result<Option<(u64, Hash)>> {
        let Some((path, text)) = notes(&self.of(tenant))?.pop() else {
            return Ok(None);
        };
        let broken = || io::Error::other(format!("`{}` is no checkpoint", path.display()));
        note::read(&text, tenant).map(Some).ok_or_else(broken)
    }

    /// What stands for removed entries.
    pub(crate) fn removed(&self, tenant: TenantId) -> io::Result<Option<String>> {
        Ok(removed(&self.of(tenant))?.map(|(_, note)| note))
    }

    /// Writes the checkpoint of a day, durably and at once.
    pub(crate) fn write(&self, tenant: TenantId, day: Date, note: &str) -> io::Result<()> {
        self.write_named(tenant, &day.to_string(), note)
    }

    /// Writes what stands for removed entries, in the same way.
    pub(crate) fn write_removed(&self, tenant: TenantId, note: &str) -> io::Result<()> {
        self.write_named(tenant, REMOVED, note)
    }

    fn write_named(&self, tenant: TenantId, name: &str, note: &str) -> io::Result<()> {
        let folder = self.of(tenant);
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        let temporary = folder.join(format!(".{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&folder)?.sync_all()
    }
}

/// The checkpoints in a studio's folder, oldest first: their files and texts. None where there is no
/// such folder.
///
/// # Errors
/// When a file cannot be read.
pub fn notes(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = listed
        .map(|file| file.map(|file| file.path()))
        .collect::<io::Result<Vec<_>>>()?;
    let is_day = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<Date>().is_ok())
    };
    paths.retain(is_day);
    paths.sort();
    let read = |path: PathBuf| fs::read_to_string(&path).map(|text| (path, text));
    paths.into_iter().map(read).collect()
}

/// What stands for removed entries in a studio's folder: its file and text.
///
/// # Errors
/// When the file cannot be read.
pub fn removed(folder: &Path) -> io::Result<Option<(PathBuf, String)>> {
    let path = folder.join(REMOVED);
    match fs::read_to_string(&path) {
        Ok(note) => Ok(Some((path, note))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
