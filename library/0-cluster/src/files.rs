use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown},
    path::{Path, PathBuf, absolute},
};

use nix::fcntl::OFlag;

use crate::{ClusterError, account::Account};

/// Makes the folder of a cluster where there is none, and returns its real path.
///
/// Its mode lets PostgreSQL's user pass through and see nothing: what is in it has modes of its
/// own.
pub(crate) fn make_folder(folder: &Path) -> Result<PathBuf, ClusterError> {
    let failed = |source| ClusterError::io("make the folder", folder, source);
    let folder = absolute(folder).map_err(failed)?;
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o711).create(&folder) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => return Err(failed(source)),
        _ => {}
    }
    folder.canonicalize().map_err(failed)
}

/// Makes `folder` anew, empty, with mode 0700, for `account`.
pub(crate) fn make_private(folder: &Path, account: &Account) -> Result<(), ClusterError> {
    remove_folder(folder)?;
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|source| ClusterError::io("make the folder", folder, source))?;
    give(folder, account)
}

/// Makes `account` the owner of `path`.
pub(crate) fn give(path: &Path, account: &Account) -> Result<(), ClusterError> {
    if !account.other {
        return Ok(());
    }
    chown(path, Some(account.uid), Some(account.gid))
        .map_err(|source| ClusterError::io("change the owner of", path, source))
}

/// Removes a folder and what is in it; it is fine when there is none.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), ClusterError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ClusterError::io("remove the folder", folder, source))
        }
        _ => Ok(()),
    }
}

/// Opens a file that only its owner may read, empty, for writing.
///
/// A link is not followed: the folder may belong to PostgreSQL's user while this process is root.
pub(crate) fn open_private(path: &Path) -> Result<File, ClusterError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(|source| ClusterError::io("write", path, source))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<(), ClusterError> {
    open_private(path)?
        .write_all(text)
        .map_err(|source| ClusterError::io("write", path, source))
}

/// Reads a small file, following no link, for the same reason.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, ClusterError> {
    const BYTES_MOST: u64 = 64 * 1024;
    let read = || {
        let mut bytes = Vec::new();
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)?
            .take(BYTES_MOST)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| ClusterError::io("read", path, source))
}

/// `N` random bytes in hexadecimal digits, from the operating system.
pub(crate) fn random_hex<const N: usize>() -> Result<String, ClusterError> {
    let mut bytes = [0_u8; N];
    let source = "/dev/urandom";
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| ClusterError::io("read", source, error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The right to run the cluster of a folder. The kernel takes it back when the process ends in
/// whatever way, so there is no stale lock.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn take(folder: &Path) -> Result<Self, ClusterError> {
        let path = folder.join("lock");
        let failed = |source| ClusterError::io("lock", &path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
            Err(fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                let pid = match pid.trim() {
                    "" => "unknown".to_owned(),
                    pid => pid.to_owned(),
                };
                let folder = folder.to_owned();
                return Err(ClusterError::AlreadyRunning { folder, pid });
            }
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(file))
    }

    /// Gives it back now: a child that another thread forks this moment still has the file open,
    /// and closing it alone would leave the lock to that child until its exec.
    pub(crate) fn release(&self) {
        // Closing the file, which follows, releases it as well.
        let _ = self.0.unlock();
    }
}
