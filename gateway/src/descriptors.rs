//! Descriptors that passed through, verified and kept: what a device needs beside its grant while the server is away.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::message::Digest;
use sha2::{Digest as _, Sha256};

use crate::counters::Counters;
use crate::disk::{self, Durable};
use crate::held::HeldDescriptor;
use crate::recent::Recent;

/// Descriptors by manifest and selector, in memory and on disk; the oldest make room.
#[derive(Debug)]
pub struct Descriptors {
    folder: PathBuf,
    kept: Mutex<Recent<Name, Arc<HeldDescriptor>>>,
    counters: Arc<Counters>,
}

/// Digest of the manifest and hash of the selector.
type Name = (Digest, Digest);

impl Descriptors {
    /// Reads what is kept and drops what the anchors don't believe.
    ///
    /// # Errors
    ///
    /// What the system says if the folder can't be made or read.
    pub fn open(folder: &Path, anchors: &[u8], counters: Arc<Counters>) -> io::Result<Self> {
        disk::make_folder(folder)?;
        let kept = Mutex::new(Recent::new(DESCRIPTORS_MAX));
        let descriptors = Self { folder: folder.to_owned(), kept, counters };
        let anchors = Anchors::initial(anchors).ok();
        for (name, bytes) in disk::read_all(folder, FILE_BYTES_MAX)? {
            match anchors.as_ref().and_then(|anchors| HeldDescriptor::read(&bytes, anchors)) {
                Some(held) if file_name(&name_of(&held)) == name => descriptors.put(held),
                _ => descriptors.refused(disk::remove(&folder.join(name))),
            }
        }
        Ok(descriptors)
    }

    /// Keeps a descriptor that a distributor of `anchors` has signed. Gives its roots if it was not kept before.
    #[must_use]
    pub fn keep(&self, message: &[u8], anchors: &[u8]) -> Option<Vec<Digest>> {
        // One serves many devices: it is verified once.
        if self.locked().values().any(|known| known.message == message) {
            return None;
        }
        let held = Anchors::initial(anchors).ok().and_then(|anchors| HeldDescriptor::read(message, &anchors));
        let Some(held) = held else {
            self.counters.malformed.one();
            return None;
        };
        let roots = held.roots.clone();
        self.refused(disk::replace(&self.path(&name_of(&held)), message, Durable::No));
        self.put(held);
        Some(roots)
    }

    /// Finds a descriptor.
    #[must_use]
    pub fn get(&self, manifest: &Digest, selector: &Digest) -> Option<Arc<HeldDescriptor>> {
        self.locked().get(&(*manifest, *selector)).map(Arc::clone)
    }

    /// Roots of all that are kept.
    #[must_use]
    pub fn roots(&self) -> Vec<Digest> {
        self.locked().values().flat_map(|held| held.roots.iter().copied()).collect()
    }

    /// Drops what the anchors, which have replaced others, don't believe any more.
    pub fn verify_again(&self, anchors: &[u8]) {
        let Ok(anchors) = Anchors::initial(anchors) else { return };
        let mut gone = Vec::new();
        self.locked().retain(|name, held| {
            let believed = HeldDescriptor::read(&held.message, &anchors).is_some();
            if !believed {
                gone.push(*name);
            }
            believed
        });
        for name in gone {
            self.refused(disk::remove(&self.path(&name)));
        }
    }

    fn put(&self, held: HeldDescriptor) {
        let dropped = self.locked().put(name_of(&held), Arc::new(held));
        for name in dropped {
            self.refused(disk::remove(&self.path(&name)));
        }
    }

    fn refused(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.counters.disk_errors.one();
            tracing::error!(%error, "the disk refuses a descriptor");
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(file_name(name))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Recent<Name, Arc<HeldDescriptor>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(held: &HeldDescriptor) -> Name {
    (held.manifest, held.selector)
}

fn file_name((manifest, selector): &Name) -> String {
    hex::encode(&Sha256::new().chain_update(manifest).chain_update(selector).finalize()[..16])
}

/// Descriptors that are kept, about 600 bytes each.
const DESCRIPTORS_MAX: usize = 1_024;

/// Bytes of a file: a descriptor fits an answer.
const FILE_BYTES_MAX: u64 = bellwether_manifests::message::answer::ANSWER_BYTES_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn descriptor_is_there_after_a_restart_as_long_as_it_is_believed() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let descriptors = Descriptors::open(folder.path(), &anchors, Arc::default()).unwrap();
        assert_eq!(descriptors.keep(&world.descriptor(1), &anchors), Some(vec![world.root()]));
        assert_eq!(descriptors.keep(&world.descriptor(1), &anchors), None);
        let again = Descriptors::open(folder.path(), &anchors, Arc::default()).unwrap();
        assert!(again.get(&world.manifest(), &world.selector_hash()).is_some());
        again.verify_again(&testing::anchors_with(2, 1, 9));
        assert!(again.get(&world.manifest(), &world.selector_hash()).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn descriptor_of_a_stranger_is_not_kept() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let descriptors = Descriptors::open(folder.path(), &anchors, Arc::default()).unwrap();
        assert_eq!(descriptors.keep(&world.descriptor(9), &anchors), None);
        assert_eq!(descriptors.counters.malformed.get(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
