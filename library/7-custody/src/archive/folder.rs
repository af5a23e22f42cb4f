//! Where archives are: a folder of the operator's, mode 0700, a file an archive, mode 0600.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use watertight_terms::{Random, TenantId};

use super::{ArchiveFault, Kind};

const PART: &str = ".part";

/// A folder of archives.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// An archive that is there.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Where.
    pub path: PathBuf,
    /// Its name, which says studio, time and kind.
    pub name: String,
    /// Which kind, where it has a name as [`Folder::begin`] gives one. The head is encrypted, with all that it says.
    pub kind: Option<Kind>,
    /// How many bytes.
    pub bytes: u64,
    /// When it was finished.
    pub finished_at: Timestamp,
}

/// An archive that is being written, under a name that is none. Locked, so that one whose writer was killed is known.
#[derive(Debug)]
pub struct Part {
    /// What is written to.
    pub file: File,
    folder: PathBuf,
    path: PathBuf,
    name: String,
}

impl Folder {
    /// A folder; made when it is needed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Begins an archive. What killed writers of this studio left is removed first.
    ///
    /// # Errors
    /// When the folder or a file cannot be made.
    pub fn begin(
        &self,
        studio: TenantId,
        kind: Kind,
        at: Timestamp,
        random: &Random,
    ) -> Result<Part, ArchiveFault> {
        let failed = |error| unusable(&self.0, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(failed)?;
        self.sweep(studio).map_err(failed)?;
        let stamp = at.strftime("%Y%m%dT%H%M%S.%3fZ");
        let name = format!("{studio}_{stamp}.{}.age", kind.as_str());
        let drawn = hex::encode(random.bytes::<8>());
        let path = self.0.join(format!(".{name}.{drawn}{PART}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Part {
            file,
            folder: self.0.clone(),
            path,
            name,
        })
    }

    /// The archives that are there, of that studio or of every one, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, studio: Option<TenantId>) -> Result<Vec<Kept>, ArchiveFault> {
        let failed = |error| unusable(&self.0, error);
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_asked = studio.is_none_or(|studio| name.starts_with(&format!("{studio}_")));
            if name.starts_with('.') || !name.ends_with(".age") || !is_asked {
                continue;
            }
            let data = entry.metadata().map_err(failed)?;
            all.push(Kept {
                path: entry.path(),
                kind: kind_of(&name),
                name,
                bytes: data.len(),
                finished_at: data.modified().map_err(failed).and_then(|at| {
                    Timestamp::try_from(at).map_err(|_| {
                        unusable(&self.0, io::Error::other("a time beyond the calendar"))
                    })
                })?,
            });
        }
        all.sort_by(|a, b| (a.finished_at, &a.name).cmp(&(b.finished_at, &b.name)));
        Ok(all)
    }

    /// When the newest archive of each studio was finished that brings it back: keys alone do not, nor does an incident's evidence.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self) -> Result<BTreeMap<TenantId, Timestamp>, ArchiveFault> {
        let kept = self.list(None)?.into_iter();
        let archives = kept.filter(|archive| archive.kind == Some(Kind::Data));
        // The oldest come first.
        let dated = archives.filter_map(|archive| {
            let (studio, _) = archive.name.split_once('_')?;
            Some((studio.parse().ok()?, archive.finished_at))
        });
        Ok(dated.collect())
    }

    /// What lets others than its owner at what is in the folder: names of what is too open, or another's.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn too_open(&self) -> Result<Vec<String>, ArchiveFault> {
        let failed = |error| unusable(&self.0, error);
        let ours = nix_owner();
        let data = fs::metadata(&self.0).map_err(failed)?;
        let mut open = Vec::new();
        if data.mode() & 0o077 != 0 || data.uid() != ours {
            open.push(".".to_owned());
        }
        for kept in self.list(None)? {
            let data = fs::metadata(&kept.path).map_err(failed)?;
            if data.mode() & 0o077 != 0 || data.uid() != ours {
                open.push(kept.name);
            }
        }
        Ok(open)
    }

    /// Removes parts that nobody writes.
    fn sweep(&self, studio: TenantId) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&format!(".{studio}_")) && name.ends_with(PART) {
                let file = File::open(entry.path())?;
                if file.try_lock().is_ok() {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

impl Part {
    /// Puts it under its name, once it is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(mut self) -> Result<PathBuf, ArchiveFault> {
        let done = self.folder.join(&self.name);
        let failed = |error| unusable(&done, error);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, &done).map_err(failed)?;
        self.path.clear();
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(done)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        // What was not finished is of no use to anybody.
        let _ = fs::remove_file(&self.path);
    }
}

/// `STUDIO_TIME.KIND.age`
fn kind_of(name: &str) -> Option<Kind> {
    let (name, kind) = name.strip_suffix(".age")?.rsplit_once('.')?;
    let (studio, at) = name.split_once('_')?;
    let is_ours = uuid::Uuid::try_parse(studio).is_ok() && at.ends_with('Z');
    let kinds = [Kind::Data, Kind::Keys, Kind::Evidence];
    let mut kinds = kinds.into_iter().filter(|known| known.as_str() == kind);
    is_ours.then(|| kinds.next()).flatten()
}

fn nix_owner() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn unusable(path: &Path, error: io::Error) -> ArchiveFault {
    ArchiveFault::File(format!("`{}` cannot be used", path.display()), error)
}
