//! What a process has in its folder, read also while it works there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// All bytes of all files below a folder, by file. One that goes while this reads, as a process at work renames and
/// removes its own, is left out.
///
/// # Panics
///
/// Where a file that is there can't be read.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            match fs::read(&path) {
                Ok(content) => files.push((path, content)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_go_while_they_are_read_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, inner) = (folder.path().join("kept"), folder.path().join("inner"));
        fs::create_dir(&inner).expect("a folder");
        fs::write(&kept, "here").expect("written");
        fs::write(inner.join("deep"), "there").expect("written");
        // To whoever reads it, a link that leads nowhere is a file that is gone.
        std::os::unix::fs::symlink(folder.path().join("gone"), folder.path().join("going")).expect("linked");
        let mut found = files(folder.path());
        found.sort();
        assert_eq!(found, [(inner.join("deep"), b"there".to_vec()), (kept, b"here".to_vec())]);
    }
}
