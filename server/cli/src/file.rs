//! Files that commands read and leave. What is there already is not overwritten, but for an earlier state of the same.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

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

/// Reads a file, a pipe, or standard input where the path is `-`, of at most `bytes_max`.
///
/// # Errors
///
/// [`Failure::File`] names it.
pub(crate) fn read_at_most(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::file(path, error);
    if !is_pipe(path) && path.is_dir() {
        return Err(Failure::file(path, "is no file"));
    }
    let source: Box<dyn Read> =
        if is_pipe(path) { Box::new(std::io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut content = Vec::new();
    source.take(bytes_max + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > bytes_max {
        return Err(Failure::file(path, format!("is larger than {bytes_max} bytes, the most that is read")));
    }
    Ok(content)
}

/// Writes a new file and waits until it is on disk: it is there whole, or not at all.
///
/// # Errors
///
/// [`Failure::File`], also where something of that name is there already.
pub(crate) fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    write_new_unsynced(path, bytes, access)?;
    // Without it the name may be lost with the power.
    sync_folder(folder_of(path));
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a new file as [`write_new`] does; its name is on disk once [`sync_folder`] was called.
///
/// # Errors
///
/// As [`write_new`].
pub(crate) fn write_new_unsynced(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    let draft = draft(path, bytes, access)?;
    draft.persist_noclobber(path).map_err(|error| not_made(path, &error.error))?;
    Ok(())
}

/// Puts a file in the place of another: whatever happens, one of the two is there whole. The caller has looked that nobody
/// misses the other.
///
/// # Errors
///
/// [`Failure::File`].
pub(crate) fn replace_unsynced(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    let draft = draft(path, bytes, access)?;
    draft.persist(path).map(drop).map_err(|error| Failure::file(path, error.error))
}

/// Writes a file without a name beside where it is to be; it goes away unless it gets one.
fn draft(path: &Path, bytes: &[u8], access: Access) -> Result<NamedTempFile, Failure> {
    let mode = match access {
        Access::Secret => 0o600,
        Access::Public => 0o666,
    };
    let failed = |error| Failure::file(path, error);
    let mut draft = tempfile::Builder::new()
        .prefix(".bellwether-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))
        .map_err(failed)?;
    draft.write_all(bytes).and_then(|()| draft.as_file().sync_all()).map_err(failed)?;
    Ok(draft)
}

/// Has the names in a folder on disk. Some file systems have no such thing; the files are there anyhow.
pub(crate) fn sync_folder(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).unwrap_or_default();
}

/// Writes a new file as [`write_new`] does, or to standard output where the path is `-`.
///
/// # Errors
///
/// [`Failure::File`], also where something of that name is there already.
pub(crate) fn write_output(path: &Path, bytes: &[u8], access: Access) -> Result<(), Failure> {
    if !is_pipe(path) {
        return write_new(path, bytes, access);
    }
    let mut output = std::io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| Failure::file(path, error))
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
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
pub(crate) const BYTES_MAX: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
