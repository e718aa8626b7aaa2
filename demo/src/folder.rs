//! The demo's folder: cleared of what an earlier run left, never of anything else.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::console::TEMPORARY;

/// A folder of this run alone, for as long as this value lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Held locked.
    _marker: File,
}

/// Why a folder can't be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Something else is in it.
    #[error("{} holds something that is not the demo's; name an empty or a new folder with --data", .0.display())]
    Foreign(PathBuf),
    /// Another demo runs in it.
    #[error("another demo runs in {}; end it, or name another folder with --data", .0.display())]
    InUse(PathBuf),
    /// It can't be made, read or cleared.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl DataFolder {
    /// Makes the folder, or clears it where the marker in it says that it is the demo's; fetched firmware stays.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; nothing was removed then, but for [`FolderError::Io`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let marker = mark(&path)?;
        clear(&path)?;
        for folder in FOLDERS {
            let folder = path.join(folder);
            fs::create_dir(&folder).map_err(|source| FolderError::Io { path: folder, source })?;
        }
        Ok(Self { path, _marker: marker })
    }

    /// Gives its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder that stays from run to run.
    #[must_use]
    pub fn firmware(&self) -> PathBuf {
        self.path.join(FIRMWARE)
    }

    /// Names a process's log.
    #[must_use]
    pub fn log(&self, process: &str) -> PathBuf {
        self.path.join("logs").join(format!("{process}.log"))
    }
}

/// Opens and locks the marker; only in an empty folder is one made.
fn mark(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(MARKER);
    let failed = |source| FolderError::Io { path: path.clone(), source };
    let is_empty = fs::read_dir(folder).map_err(failed)?.next().is_none();
    if is_empty {
        fs::write(&path, MARK).map_err(failed)?;
    }
    match fs::read_to_string(&path) {
        Ok(text) if text == MARK => {}
        _ => return Err(FolderError::Foreign(folder.to_owned())),
    }
    let marker = File::open(&path).map_err(failed)?;
    match marker.try_lock() {
        Ok(()) => Ok(marker),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn clear(folder: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name() == MARKER || entry.file_name() == FIRMWARE {
            continue;
        }
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        let path = entry.path();
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|source| FolderError::Io { path, source })?;
    }
    Ok(())
}

const MARKER: &str = ".bellwether-demo";
const MARK: &str = "The Bellwether demo clears this folder at each run.\n";
const FIRMWARE: &str = "firmware";
const FOLDERS: [&str; 5] = ["keys", "images", "devices", "logs", TEMPORARY];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_an_earlier_run_is_cleared_but_for_fetched_firmware() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("demo-data");
        let first = DataFolder::open(&path).expect("new");
        fs::create_dir(first.firmware()).expect("made");
        fs::write(first.path().join("keys/root.key"), "secret").expect("written");
        fs::write(first.path().join("fleet.suit"), "old").expect("written");
        drop(first);
        let second = DataFolder::open(&path).expect("cleared");
        assert!(!second.path().join("fleet.suit").exists());
        assert!(!second.path().join("keys/root.key").exists());
        assert!(second.firmware().exists());
    }

    #[test]
    fn folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let thesis = folder.path().join("thesis.txt");
        fs::write(&thesis, "years of work").expect("written");
        assert!(matches!(DataFolder::open(folder.path()), Err(FolderError::Foreign(_))));
        assert!(thesis.exists());
    }

    #[test]
    fn two_demos_do_not_share_a_folder() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("demo-data");
        let _first = DataFolder::open(&path).expect("new");
        assert!(matches!(DataFolder::open(&path), Err(FolderError::InUse(_))));
    }
}
