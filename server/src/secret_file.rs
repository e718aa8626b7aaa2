//! Small secrets in files of their own: readable by their owner alone, made once, written whole.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

/// Why a secret file can't be used.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// Others than its owner can read it.
    #[error(
        "{} can be read by others (mode {mode:o}): run chmod 600 on it, and change what it holds if others had access",
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refuses to read it.
    #[error(
        "{} can't be read ({source}): it has to be a file of the user that runs the server, mode 600 (chown, chmod 600)",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system refuses to write it.
    #[error("{} can't be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Reads the text of a secret file, without its line end; `None` where there is no such file.
///
/// # Errors
///
/// [`SecretFileError::TooOpen`] where group or others have any right on it, [`SecretFileError::Unreadable`].
pub fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SecretFileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(path, source)),
    };
    let mode = file.metadata().map_err(|source| unreadable(path, source))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(|source| unreadable(path, source))?;
    Ok(Some(Zeroizing::new(text.trim_end().to_owned())))
}

/// Writes a secret file whole, mode 0600, durable before it returns: a crash leaves the old one or the new.
///
/// # Errors
///
/// [`SecretFileError::Io`].
pub fn write(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let temporary = path.with_extension(TEMPORARY);
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    let written = open.open(&temporary).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder(path)
    });
    written.map_err(|source| failed(path, source))
}

/// Takes away what writes have left in a folder that the end of a process cut short; nobody may be writing there.
///
/// # Errors
///
/// What the system says.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == TEMPORARY) && path.is_file() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes the entry of a file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn unreadable(path: &Path, source: io::Error) -> SecretFileError {
    SecretFileError::Unreadable { path: path.to_owned(), source }
}

fn failed(path: &Path, source: io::Error) -> SecretFileError {
    SecretFileError::Io { path: path.to_owned(), source }
}

/// Extension of files that are being written.
const TEMPORARY: &str = "new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_whose_writing_was_cut_short_is_swept_and_all_else_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["master.new", "master.key", "news"] {
            std::fs::write(dir.path().join(name), "half").expect("written");
        }
        sweep(dir.path()).expect("swept");
        assert!(!dir.path().join("master.new").exists());
        assert!(dir.path().join("master.key").exists() && dir.path().join("news").exists());
    }

    #[test]
    fn written_secret_is_read_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        write(&path, "swordfish").expect("written");
        assert_eq!(read(&path).expect("read").expect("there").as_str(), "swordfish");
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        write(&path, "swordfish").expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(read(&path), Err(SecretFileError::TooOpen { mode: 0o640, .. })));
    }

    #[test]
    fn missing_secret_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(read(&dir.path().join("none")).expect("no error").is_none());
    }
}
