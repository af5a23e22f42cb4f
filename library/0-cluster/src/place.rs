use std::{
    env,
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use crate::{ClusterError, account::Account, files};

/// The port that names the socket; nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;

/// A socket's path is at most so long: the kernel takes 107, clients are less sure.
const SOCKET_BYTES_MOST: usize = 100;

/// Where the parts of a cluster are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The folder that was asked for: lock, log and notes of where the rest is.
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    password: PathBuf,
    pub(crate) socket: PathBuf,
}

/// Decides where the cluster of `folder` is and who runs it: in the folder, or where its user cannot enter that, elsewhere unless
/// it is to be `only_here`. The folder is locked.
pub(crate) fn settle(folder: &Path, only_here: bool) -> Result<(Place, Account), ClusterError> {
    let accounts = Account::candidates()?;
    let noted = noted_folder(folder, "elsewhere", &accounts);
    let base = noted.unwrap_or_else(|| folder.to_owned());
    let account = match fs::metadata(base.join("data")) {
        // Whoever made the data keeps it: `postgres` may have come to the machine since.
        Ok(data) => owner_of(data.uid(), &accounts).ok_or_else(|| ClusterError::Foreign {
            folder: base.join("data"),
            uid: data.uid(),
        })?,
        Err(_) => accounts.into_iter().next().ok_or(ClusterError::NoUser)?,
    };
    let base = if account.can_enter(&base) {
        base
    } else if only_here {
        let (folder, user) = (base, account.name);
        return Err(ClusterError::NotEnterable { folder, user });
    } else {
        make_noted_folder(folder, "elsewhere", &account)?
    };
    let place = Place {
        folder: folder.to_owned(),
        data: base.join("data"),
        password: base.join("password"),
        socket: base.join("socket"),
    };
    Ok((place, account))
}

impl Place {
    pub(crate) fn has_data(&self) -> bool {
        self.data.is_dir()
    }

    /// The major version that made the data, if there is any.
    pub(crate) fn made_by(&self) -> Result<Option<(PathBuf, u32)>, ClusterError> {
        if !self.has_data() {
            return Ok(None);
        }
        let text = files::read_private(&self.data.join("PG_VERSION"))?;
        let major = String::from_utf8_lossy(&text).trim().parse().ok();
        Ok(major.map(|major| (self.data.clone(), major)))
    }

    pub(crate) fn password(&self) -> Result<String, ClusterError> {
        let text = files::read_private(&self.password)?;
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// Draws the superuser's password and writes it where `initdb` reads it.
    pub(crate) fn draw_password(&self, account: &Account) -> Result<String, ClusterError> {
        let password = files::random_hex::<24>()?;
        files::write_private(&self.password, format!("{password}\n").as_bytes())?;
        files::give(&self.password, account)?;
        Ok(password)
    }

    pub(crate) fn password_file(&self) -> &Path {
        &self.password
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Makes an empty folder for the socket.
    pub(crate) fn make_socket_folder(&self, account: &Account) -> Result<(), ClusterError> {
        files::make_private(&self.socket, account)
    }

    /// This place with its socket under the temporary directory where no client could use the path.
    pub(crate) fn with_plain_socket(mut self, account: &Account) -> Result<Self, ClusterError> {
        if is_plain(&self.socket) {
            return Ok(self);
        }
        let accounts = std::slice::from_ref(account);
        let folder = match noted_folder(&self.folder, "socket-elsewhere", accounts) {
            Some(folder) => folder,
            None => make_noted_folder(&self.folder, "socket-elsewhere", account)?,
        };
        self.socket = folder.join("socket");
        Ok(self)
    }

    /// Removes everything but the lock, which is still held, and the log, which may say why.
    pub(crate) fn remove(&self) -> Result<(), ClusterError> {
        files::remove_folder(&self.data)?;
        let removed = match self.data.parent() {
            Some(elsewhere) if elsewhere != self.folder => {
                files::remove_folder(elsewhere)?;
                fs::remove_file(self.folder.join("elsewhere"))
            }
            _ => fs::remove_file(&self.password),
        };
        match removed {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ClusterError::io("clear", &self.folder, source))
            }
            _ => Ok(()),
        }
    }

    /// Removes the folder of the socket. What cannot be removed is made anew by the next start.
    pub(crate) fn clear_socket(&self) {
        let _ = files::remove_folder(&self.socket);
        let note = self.folder.join("socket-elsewhere");
        if let (true, Some(folder)) = (note.exists(), self.socket.parent()) {
            let _ = fs::remove_dir(folder);
            let _ = fs::remove_file(note);
        }
    }
}

/// The folder that the note `name` leads to, if it is still there and still ours: the temporary
/// directory is cleared by the machine and written by everybody.
fn noted_folder(folder: &Path, name: &str, accounts: &[Account]) -> Option<PathBuf> {
    let noted = fs::read(folder.join(name)).ok()?;
    let noted = PathBuf::from(OsString::from_vec(noted));
    let found = fs::symlink_metadata(&noted).ok()?;
    let private = found.is_dir() && found.mode().trailing_zeros() >= 6;
    (private && owner_of(found.uid(), accounts).is_some()).then_some(noted)
}

/// Makes a folder under the temporary directory, and the note `name` that leads to it.
fn make_noted_folder(
    folder: &Path,
    name: &str,
    account: &Account,
) -> Result<PathBuf, ClusterError> {
    let unique = format!("watertight-{}", files::random_hex::<8>()?);
    let elsewhere = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .filter(|temporary| account.can_enter(temporary))
        .map(|temporary| temporary.join(&unique))
        .find(|elsewhere| is_plain(&elsewhere.join("socket")))
        .ok_or_else(|| ClusterError::NoTemporary {
            folder: folder.to_owned(),
            user: account.name.clone(),
        })?;
    files::make_private(&elsewhere, account)?;
    files::write_private(&folder.join(name), elsewhere.as_os_str().as_bytes())?;
    Ok(elsewhere)
}

fn owner_of(uid: u32, accounts: &[Account]) -> Option<Account> {
    accounts.iter().find(|account| account.uid == uid).cloned()
}

/// Whether a socket in this folder can be used: clients read a comma as the end of one host.
fn is_plain(socket_folder: &Path) -> bool {
    let socket = socket_folder.join(format!(".s.PGSQL.{PORT}"));
    let socket = socket.as_os_str().as_bytes();
    socket.len() <= SOCKET_BYTES_MOST && !socket.contains(&b',')
}

/// A path as a parameter of a URL.
pub(crate) fn percent_encoded(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_for_urls() {
        assert_eq!(
            percent_encoded(Path::new("/a b/ü&c=d_e-1.x~")),
            "%2Fa%20b%2F%C3%BC%26c%3Dd_e-1.x~"
        );
    }

    #[test]
    fn a_socket_of_a_hundred_bytes_can_be_used_and_a_longer_one_not() {
        let name = "/.s.PGSQL.5432".len();
        let folder = |bytes: usize| PathBuf::from(format!("/{}", "x".repeat(bytes - 1)));
        assert!(is_plain(&folder(100 - name)));
        assert!(!is_plain(&folder(101 - name)));
        assert!(!is_plain(Path::new("/a,b")));
    }
}
