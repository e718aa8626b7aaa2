//! Which firmware the meters run: yours, an open one from a package registry, or one made up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bellwether_decide::version;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::process::open_log;

/// Versions of one firmware, lowest first; two at least.
#[derive(Debug)]
pub struct Firmware {
    /// Version and image file.
    pub versions: Vec<(String, PathBuf)>,
    /// Where it comes from, for people.
    pub source: String,
    /// Whether it was made up, so that its delta ratios mean nothing.
    pub made_up: bool,
}

/// Why a folder of images can't be used.
#[derive(Debug, Error)]
pub enum FirmwareError {
    /// It can't be read, or the made-up images can't be written.
    #[error("{path}: {source}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Too few versions.
    #[error("{path} holds {found} firmware images named by version (as 1.2.0.bin); two are needed at least")]
    TooFew {
        /// The folder.
        path: PathBuf,
        /// How many were found.
        found: usize,
    },
}

impl Firmware {
    /// Takes a folder of images named by their version, `1.10.0.bin`; the extension does not matter.
    ///
    /// # Errors
    ///
    /// [`FirmwareError`].
    pub fn from_folder(folder: &Path) -> Result<Self, FirmwareError> {
        let failed = |source| FirmwareError::Io { path: folder.to_owned(), source };
        let mut versions = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(version) = version_of(&path) {
                versions.push((version, path));
            }
        }
        versions.sort_by(|(a, _), (b, _)| version::compare(a, b));
        if versions.len() < 2 {
            return Err(FirmwareError::TooFew { path: folder.to_owned(), found: versions.len() });
        }
        Ok(Self { versions, source: folder.display().to_string(), made_up: false })
    }

    /// Takes the open firmware of a package registry, or makes one up where that can't be had; `log` says why.
    ///
    /// # Errors
    ///
    /// [`FirmwareError`] where nothing can be written.
    pub fn open_or_made_up(cache: &Path, log: &Path) -> Result<Self, FirmwareError> {
        let fetched = cache.join("greatfet");
        if fetch(&fetched, log) {
            let firmware = Self::from_folder(&fetched)?;
            return Ok(Self {
                source: "GreatFET (BSD-3-Clause), from the Python package index".to_owned(),
                ..firmware
            });
        }
        make_up(&cache.join("made-up"))
    }

    /// The version that a campaign brings.
    #[must_use]
    pub fn target(&self) -> &(String, PathBuf) {
        &self.versions[self.versions.len() - 1]
    }

    /// The version before the previous one, which meter-4 runs where it is there.
    #[must_use]
    pub fn older(&self) -> Option<&(String, PathBuf)> {
        self.versions.iter().rev().nth(2)
    }

    /// The version before it, which meter-1 to meter-3 run.
    #[must_use]
    pub fn previous(&self) -> &(String, PathBuf) {
        &self.versions[self.versions.len() - 2]
    }
}

/// Runs the script that fetches; `false` where it can't be run, or can't get what it wants.
fn fetch(folder: &Path, log: &Path) -> bool {
    let output = open_log(log).and_then(|out| Ok((out, open_log(log)?)));
    let Ok((out, err)) = output else { return false };
    let mut script = Command::new("scripts/firmware.sh");
    let status = script.arg(folder).stdin(Stdio::null()).stdout(out).stderr(err).status();
    status.is_ok_and(|status| status.success())
}

/// The file's stem, if it begins with a digit and has only what versions are written with.
fn version_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let is_version = stem.starts_with(|first: char| first.is_ascii_digit())
        && stem.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~".contains(c));
    (path.is_file() && is_version).then(|| stem.to_owned())
}

/// Makes three images that differ as a small change of a program does.
fn make_up(folder: &Path) -> Result<Firmware, FirmwareError> {
    let older = noise(MADE_UP_BYTES);
    let previous = changed(&older, 1_499, 21_000);
    let target = changed(&previous, 1_999, 9_000);
    fs::create_dir_all(folder).map_err(|source| FirmwareError::Io { path: folder.to_owned(), source })?;
    for (version, image) in [("1.0.0", &older), ("1.1.0", &previous), ("1.2.0", &target)] {
        let path = folder.join(format!("{version}.bin"));
        fs::write(&path, image).map_err(|source| FirmwareError::Io { path, source })?;
    }
    let firmware = Firmware::from_folder(folder)?;
    Ok(Firmware {
        source: "made up, since no open one could be fetched (logs/firmware.log)".to_owned(),
        made_up: true,
        ..firmware
    })
}

/// Changes a byte in every `step`, and inserts some at `at`, which must be within the image.
#[must_use]
pub fn changed(image: &[u8], step: usize, at: usize) -> Vec<u8> {
    let mut next = image.to_vec();
    for place in (0..next.len()).step_by(step) {
        next[place] ^= 0x5a;
    }
    next.splice(at..at, noise(INSERTED_BYTES));
    next
}

/// Makes bytes that do not repeat: a hash over a counter.
#[must_use]
pub fn noise(count: usize) -> Vec<u8> {
    let blocks = (0u64..).flat_map(|number| Sha256::digest(number.to_be_bytes()));
    blocks.take(count).collect()
}

const MADE_UP_BYTES: usize = 96 * 1024;
const INSERTED_BYTES: usize = 700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_sorted_by_number() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["8.0.10.bin", "8.0.9.bin", "8.0.8.bin", "README.md"] {
            fs::write(folder.path().join(name), name).expect("written");
        }
        let firmware = Firmware::from_folder(folder.path()).expect("three versions");
        let names: Vec<&str> = firmware.versions.iter().map(|(version, _)| version.as_str()).collect();
        assert_eq!(names, ["8.0.8", "8.0.9", "8.0.10"]);
    }

    #[test]
    fn folder_with_one_version_is_refused_with_what_was_found() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("1.0.bin"), "x").expect("written");
        assert!(matches!(Firmware::from_folder(folder.path()), Err(FirmwareError::TooFew { found: 1, .. })));
    }

    #[test]
    fn made_up_firmware_has_three_versions_that_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let firmware = make_up(folder.path()).expect("written");
        let read = |path: &PathBuf| fs::read(path).expect("there");
        let older = read(&firmware.older().expect("a third version").1);
        let (previous, target) = (read(&firmware.previous().1), read(&firmware.target().1));
        assert!(older != previous && previous != target && older != target);
    }
}
