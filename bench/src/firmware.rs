//! Which images the figures are about: yours, an open firmware's, and always one that is made up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bellwether_decide::version;
use sha2::{Digest, Sha256};

use crate::Failure;

/// Pairs of images, each of them a base and the target that follows it.
pub(crate) struct Firmware {
    pub(crate) pairs: Vec<Pair>,
    /// Where they come from, and what was left out.
    pub(crate) notes: Vec<String>,
}

/// Two versions of one firmware.
pub(crate) struct Pair {
    pub(crate) name: String,
    /// Whether it says nothing about how alike real versions are.
    pub(crate) is_made_up: bool,
    pub(crate) base: Vec<u8>,
    pub(crate) target: Vec<u8>,
}

impl Pair {
    /// Differs as a small change of a program does: a few bytes changed here and there, some inserted.
    pub(crate) fn made_up() -> Self {
        let base = noise(96 * 1024);
        let mut target = base.clone();
        target.iter_mut().step_by(1_999).for_each(|byte| *byte ^= 0x5a);
        target.splice(9_000..9_000, noise(700));
        Self { name: "made up".to_owned(), is_made_up: true, base, target }
    }
}

impl Firmware {
    /// Takes the folder's versions, or those of an open firmware, and a made-up pair beside them.
    pub(crate) fn choose(folder: Option<&Path>) -> Result<Self, Failure> {
        let mut firmware = Self { pairs: vec![Pair::made_up()], notes: Vec::new() };
        match folder {
            Some(folder) => firmware.add(folder)?,
            None if fetch(Path::new(FETCHED)) => firmware.add(Path::new(FETCHED))?,
            None => firmware.notes.push(
                "scripts/firmware.sh got no open firmware (offline, or not run in the sources' folder): the pair is \
                 made up, so its delta ratio says nothing about real firmware"
                    .to_owned(),
            ),
        }
        Ok(firmware)
    }

    /// The newest pair whose target is no larger; the made-up one where no other is so small.
    pub(crate) fn newest_within(&self, bytes: usize) -> Result<&Pair, Failure> {
        let newest = self.pairs.iter().rev().find(|pair| pair.target.len() <= bytes);
        newest.ok_or_else(|| "there is no pair of images that is small enough".into())
    }

    fn add(&mut self, folder: &Path) -> Result<(), Failure> {
        let mut versions = versions(folder)?;
        if versions.len() < 2 {
            let text = "holds no two images named by version (as 1.2.0.bin)";
            return Err(format!("{} {text}", folder.display()).into());
        }
        if versions.len() > VERSIONS_MAX {
            let left_out = versions.len() - VERSIONS_MAX;
            self.notes.push(format!("{}: the {left_out} oldest versions are left out", folder.display()));
            versions.drain(..left_out);
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        for pair in versions.windows(2) {
            let [(from, base), (to, target)] = pair else { continue };
            let (base, target) = (fs::read(base)?, fs::read(target)?);
            if base.len().max(target.len()) > IMAGE_BYTES_MAX {
                self.notes.push(format!("{name} {from} to {to} is left out: over {IMAGE_BYTES_MAX} bytes"));
                continue;
            }
            self.pairs.push(Pair { name: format!("{name} {from} to {to}"), is_made_up: false, base, target });
        }
        Ok(())
    }
}

/// Image files by version, the lowest first.
fn versions(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut versions = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(stem) = stem.filter(|stem| stem.starts_with(|first: char| first.is_ascii_digit())) {
            versions.push((stem.to_owned(), path.clone()));
        }
    }
    versions.sort_by(|(a, _), (b, _)| version::compare(a, b));
    Ok(versions)
}

fn fetch(folder: &Path) -> bool {
    let script = Command::new("scripts/firmware.sh").arg(folder).stdin(Stdio::null()).status();
    script.is_ok_and(|status| status.success())
}

/// Bytes that do not repeat and are the same in every run: a hash over a counter.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    (0u64..).flat_map(|number| Sha256::digest(number.to_be_bytes())).take(count).collect()
}

/// Where fetched images stay; git and `cargo clean` know the folder.
const FETCHED: &str = "target/bench/greatfet";
/// Versions of one folder: at up to eight seconds a MiB for a delta, the figures still come within three minutes.
const VERSIONS_MAX: usize = 6;
/// Larger images are left out for the same reason; most microcontrollers' are smaller.
const IMAGE_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_versions_are_paired_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["8.0.10.bin", "8.0.9.bin", "8.0.8.bin", "README.md"] {
            fs::write(folder.path().join(name), name).expect("written");
        }
        let firmware = Firmware::choose(Some(folder.path())).expect("three versions");
        let names: Vec<&str> = firmware.pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names.len(), 3);
        assert!(names[1].ends_with("8.0.8 to 8.0.9") && names[2].ends_with("8.0.9 to 8.0.10"), "{names:?}");
        assert_eq!(firmware.newest_within(10).expect("a pair").target, b"8.0.10.bin");
        assert_eq!(firmware.newest_within(9).expect("a pair").target, b"8.0.9.bin");
    }

    #[test]
    fn folder_with_one_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("1.0.bin"), "x").expect("written");
        assert!(Firmware::choose(Some(folder.path())).is_err());
    }
}
