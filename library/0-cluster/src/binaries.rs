use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::ClusterError;

/// The oldest major version that will do.
pub const OLDEST_MAJOR: u32 = 15;

/// What installs PostgreSQL on Debian: the version of the release, 15 or newer since Debian 12.
pub const INSTALL: &str = "apt-get install --yes --no-install-recommends postgresql";

/// A PostgreSQL that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder that has `initdb` and `postgres`.
    pub folder: PathBuf,
    /// Major and minor version, `(15, 13)`.
    pub version: (u32, u32),
}

/// Finds the PostgreSQL that a new cluster is made with: the one that `STUDIO_PG_BIN` names, else
/// the newest that Debian's packages installed, else one in `PATH`.
///
/// # Errors
/// When there is none of version 15 or newer; the message has the line that installs one.
pub fn find_binaries() -> Result<Binaries, ClusterError> {
    if let Some(folder) = env::var_os("STUDIO_PG_BIN") {
        // Named but wrong is an error: quietly using another server would hide the mistake.
        let folder = PathBuf::from(folder);
        return probe(&folder).ok_or(ClusterError::NotBinaries { folder });
    }
    installed().next().ok_or(ClusterError::Missing)
}

/// Finds the PostgreSQL for data that `made_by` made: that major version and no other can read it.
pub(crate) fn find_for(made_by: Option<(PathBuf, u32)>) -> Result<Binaries, ClusterError> {
    let preferred = find_binaries()?;
    let Some((folder, made_by)) = made_by else {
        return Ok(preferred);
    };
    if preferred.version.0 == made_by {
        return Ok(preferred);
    }
    installed()
        .find(|binaries| binaries.version.0 == made_by)
        .ok_or(ClusterError::OtherVersion { folder, made_by })
}

/// Every usable PostgreSQL of the system, the newest of Debian's first.
fn installed() -> impl Iterator<Item = Binaries> {
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    packaged.sort_by(|a, b| b.cmp(a));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = env::split_paths(&path).collect();
    packaged
        .into_iter()
        .map(|(_, folder)| folder)
        .chain(in_path)
        .filter_map(|folder| probe(&folder))
}

/// The binaries in `folder`, when there are any that will do.
fn probe(folder: &Path) -> Option<Binaries> {
    let folder = folder.canonicalize().ok()?;
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let version = parse_version(&String::from_utf8(output.stdout).ok()?)?;
    (version.0 >= OLDEST_MAJOR).then_some(Binaries { folder, version })
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split_whitespace();
    if words.next()? != "postgres" || words.next()? != "(PostgreSQL)" {
        return None;
    }
    let number = words.next()?;
    // `18beta1` has no minor yet.
    let (major, minor) = match number.split_once('.') {
        Some((major, minor)) => (major, minor.parse().unwrap_or(0)),
        None => (number, 0),
    };
    let digits = major.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((digits.parse().ok()?, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"),
            Some((15, 13))
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 17.0\n"), Some((17, 0)));
        assert_eq!(
            parse_version("postgres (PostgreSQL) 18beta1\n"),
            Some((18, 0))
        );
        assert_eq!(parse_version("postgres 15.13"), None);
        assert_eq!(parse_version(""), None);
    }
}
