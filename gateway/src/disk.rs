//! Files of the data folder: its owner's alone, replaced as a whole, durable where it is asked for.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Whether a file must be on the disk before the call returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durable {
    /// It survives a power cut from here on.
    Yes,
    /// It survives the end of the process; a power cut may leave the file before.
    No,
}

/// Makes a folder with all above it, mode 0700; one that is there is left as it is.
///
/// # Errors
///
/// What the system says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Keeps other gateways off the folder until the file is dropped; `None` where one is at work there.
///
/// # Errors
///
/// What the system says.
pub fn lock(folder: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Replaces a file as a whole, mode 0600: a reader and a crash see the old one or the new.
///
/// # Errors
///
/// What the system says; the old file stands then.
pub fn replace(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let temporary = path.with_extension(TEMPORARY);
    write_beside(&temporary, bytes, durable).inspect_err(|_| {
        // The error says more than a failure to clear up after it; a full disk needs the room.
        let _ = fs::remove_file(&temporary);
    })?;
    fs::rename(&temporary, path)?;
    if durable == Durable::Yes { sync_folder(path) } else { Ok(()) }
}

fn write_beside(temporary: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    Ok(())
}

/// Reads a file of at most `bytes_max` bytes; `None` where there is none.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::FileTooLarge`] for a larger one.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
}

/// Takes a file away; one that is not there is no error.
///
/// # Errors
///
/// What the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives names and contents of the regular files in `folder`, by name; what can't be read is logged and left out.
///
/// # Errors
///
/// If the folder can't be read.
pub fn read_all(folder: &Path, bytes_max: u64) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        if path.extension().is_some_and(|extension| extension == TEMPORARY) || !path.is_file() {
            continue;
        }
        match read(&path, bytes_max) {
            Ok(Some(bytes)) => files.push((name, bytes)),
            Ok(None) => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "a kept file can't be read"),
        }
    }
    files.sort();
    Ok(files)
}

/// Takes away, in a folder and those below it, what replacing a file has left that the end of a process cut short;
/// nobody may be writing there.
///
/// # Errors
///
/// What the system says.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sweep(&path)?;
        } else if path.extension().is_some_and(|extension| extension == TEMPORARY) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Makes the entry of a file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Extension of files that are being written.
const TEMPORARY: &str = "new";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn replaced_file_is_read_back_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one", Durable::Yes).unwrap();
        replace(&path, b"two", Durable::No).unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_all(folder.path(), 10).unwrap(), [("a".to_owned(), b"two".to_vec())]);
    }

    #[test]
    fn replacement_that_was_cut_short_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("outbox");
        make_folder(&below).unwrap();
        replace(&below.join("7"), b"kept", Durable::No).unwrap();
        for half in [folder.path().join("children.new"), below.join("8.new")] {
            fs::write(half, b"half").unwrap();
        }
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read_all(&below, 10).unwrap(), [("7".to_owned(), b"kept".to_vec())]);
    }

    #[test]
    fn folder_is_its_owners_alone_and_locked_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        make_folder(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let held = lock(&folder).unwrap();
        assert!(held.is_some());
        assert!(lock(&folder).unwrap().is_none());
        drop(held);
        assert!(lock(&folder).unwrap().is_some());
    }
}
