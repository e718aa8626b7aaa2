//! Files that commands read and leave. What is there already is never overwritten.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    /// Its owner alone.
    Secret,
    /// Whom the process's umask lets.
    Public,
}

/// Reads a file of at most [`BYTES_MAX`].
///
/// # Errors
///
/// [`Failure::File`] names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::file(path, error))?;
    if !metadata.is_file() {
        return Err(Failure::file(path, "is no file"));
    }
    if metadata.len() > BYTES_MAX {
        return Err(Failure::file(
            path,
            format!("is larger than {BYTES_MAX} bytes, the most that a server takes"),
        ));
    }
    std::fs::read(path).map_err(|error| Failure::file(path, error))
}

/// Writes a new file and waits until it is on disk.
///
/// # Errors
///
/// [`Failure::File`], also where something of that name is there already.
pub(crate) fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    let mode = match access {
        Access::Secret => 0o600,
        Access::Public => 0o666,
    };
    let mut open = OpenOptions::new();
    let mut file =
        open.write(true).create_new(true).mode(mode).open(path).map_err(|error| not_made(path, &error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| Failure::file(path, error))
}

/// Says why a file was not made.
pub(crate) fn not_made(path: &Path, error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::AlreadyExists {
        return Failure::file(
            path,
            "exists already and is not overwritten; choose another name, or remove it first",
        );
    }
    Failure::file(path, error)
}

/// The server's bound for a body: the largest image, 32 MiB.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn existing_file_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write_new(&path, b"first", Access::Public).expect("new");
        let error = write_new(&path, b"second", Access::Public).expect_err("there already");
        assert!(error.to_string().contains("not overwritten"), "{error}");
        assert_eq!(std::fs::read(&path).expect("there"), b"first");
    }

    #[test]
    fn secret_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write_new(&path, b"x", Access::Secret).expect("new");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn folder_is_not_read_as_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).is_err());
    }
}
