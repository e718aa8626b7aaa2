//! The frames on disk, and of the resources that are in use in memory.
//!
//! A file is the verified bytes of one resource from its beginning, named by the root; nothing else is written down.
//! It is verified whenever it is read, so a file that was torn, altered or exchanged costs its end and no more. What
//! is in memory was verified on its way in, and is served from there.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bellwether_manifests::message::Digest;

use super::body::{Altered, Body};
use super::resource::Resource;
use crate::counters::Counters;
use crate::disk;

/// All resources, bounded in bytes on disk and in memory.
#[derive(Debug)]
pub struct FrameCache {
    folder: PathBuf,
    bounds: CacheBounds,
    index: Mutex<Index>,
    /// One file is read and verified at a time; who asks for the same one meanwhile finds it done.
    reading: Mutex<()>,
    counters: Arc<Counters>,
}

/// Bytes that the cache may take.
#[derive(Clone, Copy, Debug)]
pub struct CacheBounds {
    /// On disk.
    pub disk_bytes_max: u64,
    /// In memory, beside the one resource that is served last.
    pub memory_bytes_max: u64,
}

#[derive(Debug, Default)]
struct Index {
    entries: HashMap<Digest, Entry>,
    disk_bytes: u64,
    uses: u64,
}

#[derive(Debug, Default)]
struct Entry {
    disk_bytes: u64,
    /// Rises with every use of any resource: the lowest was not used for the longest time.
    used: u64,
    /// Whether all of it is known to be there and right.
    whole: bool,
    open: Option<Arc<Resource>>,
}

impl FrameCache {
    /// Opens the folder; what is there is verified when it is used first.
    ///
    /// # Errors
    ///
    /// What the system says if the folder can't be made or read.
    pub fn open(folder: &Path, bounds: CacheBounds, counters: Arc<Counters>) -> io::Result<Self> {
        disk::make_folder(folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            match entry.file_name().to_str().and_then(root_of) {
                Some(root) if metadata.is_file() => found.push((metadata.modified()?, root, metadata.len())),
                _ => tracing::warn!(path = %entry.path().display(), "no file of the frame cache, left alone"),
            }
        }
        found.sort();
        let mut index = Index::default();
        for (_, root, bytes) in found {
            let used = index.next_use();
            index.disk_bytes += bytes;
            index.entries.insert(root, Entry { disk_bytes: bytes, used, ..Entry::default() });
        }
        let cache = Self {
            folder: folder.to_owned(),
            bounds,
            index: Mutex::new(index),
            reading: Mutex::default(),
            counters,
        };
        cache.make_room(0, None);
        Ok(cache)
    }

    /// Finds a resource in memory, without touching the disk.
    #[must_use]
    pub fn in_memory(&self, root: &Digest) -> Option<Arc<Resource>> {
        let mut index = self.locked();
        let used = index.next_use();
        let entry = index.entries.get_mut(root)?;
        let resource = entry.open.clone()?;
        entry.used = used;
        Some(resource)
    }

    /// Whether anything of the resource is kept.
    #[must_use]
    pub fn holds(&self, root: &Digest) -> bool {
        let index = self.locked();
        let entry = index.entries.get(root);
        entry.is_some_and(|entry| {
            entry.disk_bytes > 0 || entry.open.as_ref().is_some_and(|open| !open.is_empty())
        })
    }

    /// Whether a resource is here from its first frame to its last, as far as it was looked at since the process
    /// started; not counted as a use of it.
    #[must_use]
    pub fn is_whole(&self, root: &Digest) -> bool {
        self.locked().entries.get(root).is_some_and(|entry| entry.whole)
    }

    /// Brings a resource into memory: reads and verifies what the disk has, or starts with nothing. It waits for the
    /// disk. `now` is what the file system is told of the use.
    #[must_use]
    pub fn bring(&self, root: &Digest, now: SystemTime) -> Arc<Resource> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resource) = self.in_memory(root) {
            return resource;
        }
        let (body, file) = self.read(root, now);
        let resource = Arc::new(Resource::new(body, file));
        let mut index = self.locked();
        let used = index.next_use();
        let entry = index.entries.entry(*root).or_default();
        let bytes = if resource.is_on_disk() { resource.len() } else { 0 };
        let before = std::mem::replace(&mut entry.disk_bytes, bytes);
        entry.used = used;
        entry.whole = resource.total().is_some();
        entry.open = Some(Arc::clone(&resource));
        index.disk_bytes = index.disk_bytes - before + bytes;
        self.close_idle(&mut index, root);
        resource
    }

    fn read(&self, root: &Digest, now: SystemTime) -> (Body, Option<File>) {
        match self.read_file(root, now) {
            Ok((body, file)) => (body, Some(file)),
            Err(error) => {
                self.refused(root, &error);
                (Body::new(*root), None)
            }
        }
    }

    fn read_file(&self, root: &Digest, now: SystemTime) -> io::Result<(Body, File)> {
        let path = self.path(root);
        let mut open = OpenOptions::new();
        let file = open.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok((Body::new(*root), file));
        }
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(RESOURCE_BYTES_MAX);
        let mut kept = vec![0; length];
        file.read_exact_at(&mut kept, 0)?;
        let (body, intact) = Body::load(*root, kept);
        if !intact {
            self.counters.frames.altered_disk.one();
            tracing::warn!(
                root = hex::encode(root),
                from = body.len(),
                "a kept file was altered; its end is cut"
            );
        }
        if body.len() != metadata.len() {
            file.set_len(body.len())?;
        }
        file.set_modified(now)?;
        Ok((body, file))
    }

    /// Takes the next bytes of a resource, once they are verified; the disk may refuse them, memory does not.
    ///
    /// # Errors
    ///
    /// [`Altered`] if they are not what the chain announces.
    pub fn append(&self, resource: &Resource, bytes: &[u8], more: bool) -> Result<(), Altered> {
        let at = resource.append(bytes, more)?;
        self.write(resource, bytes, at);
        if !more && let Some(entry) = self.locked().entries.get_mut(resource.root()) {
            entry.whole = true;
        }
        resource.tell();
        Ok(())
    }

    fn write(&self, resource: &Resource, bytes: &[u8], at: u64) {
        if !resource.is_on_disk() {
            return;
        }
        if !self.make_room(bytes.len() as u64, Some(resource.root())) {
            tracing::warn!(root = hex::encode(resource.root()), "no room on disk: served from memory alone");
            return resource.leave_disk();
        }
        match resource.write(bytes, at) {
            Ok(()) => {
                let mut index = self.locked();
                if let Some(entry) = index.entries.get_mut(resource.root()) {
                    entry.disk_bytes += bytes.len() as u64;
                    index.disk_bytes += bytes.len() as u64;
                }
            }
            Err(error) => {
                self.refused(resource.root(), &error);
                resource.leave_disk();
            }
        }
    }

    fn refused(&self, root: &Digest, error: &io::Error) {
        self.counters.disk_errors.one();
        tracing::error!(root = hex::encode(root), %error, "the disk refuses frames; they are served from memory");
    }

    /// Forgets a resource of which nothing has come.
    pub fn forget_empty(&self, root: &Digest) {
        let mut index = self.locked();
        let is_empty = |entry: &Entry| entry.open.as_ref().is_some_and(|resource| resource.is_empty());
        if index.entries.get(root).is_some_and(is_empty) {
            index.remove(root);
            drop(index);
            self.unlink(root);
        }
    }

    /// Makes room for `more` bytes: the resources go that were not used for the longest time, those that are being
    /// fetched last, `keep` never. `false` if that is not enough.
    fn make_room(&self, more: u64, keep: Option<&Digest>) -> bool {
        loop {
            let victim = {
                let mut index = self.locked();
                if index.disk_bytes + more <= self.bounds.disk_bytes_max {
                    return true;
                }
                let victim = index.longest_unused(keep);
                if let Some(root) = &victim {
                    index.remove_from_disk(root);
                }
                victim
            };
            match victim {
                Some(root) => self.unlink(&root),
                None => return false,
            }
        }
    }

    fn unlink(&self, root: &Digest) {
        if let Err(error) = disk::remove(&self.path(root)) {
            self.refused(root, &error);
        }
    }

    /// Lets resources out of memory that nobody fetches, the longest unused first.
    fn close_idle(&self, index: &mut Index, keep: &Digest) {
        while index.memory_bytes() > self.bounds.memory_bytes_max {
            let idle = index
                .entries
                .iter()
                .filter(|(root, entry)| {
                    *root != keep && entry.open.as_ref().is_some_and(|open| !open.is_flying())
                })
                .min_by_key(|(_, entry)| entry.used)
                .map(|(root, _)| *root);
            let Some(root) = idle else { return };
            index.close(&root);
        }
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.locked().disk_bytes
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.locked().memory_bytes()
    }

    fn path(&self, root: &Digest) -> PathBuf {
        self.folder.join(hex::encode(root))
    }

    fn locked(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn memory_bytes(&self) -> u64 {
        self.entries.values().filter_map(|entry| entry.open.as_ref()).map(|open| open.len()).sum()
    }

    fn longest_unused(&self, keep: Option<&Digest>) -> Option<Digest> {
        let is_flying = |entry: &Entry| entry.open.as_ref().is_some_and(|open| open.is_flying());
        let on_disk = self.entries.iter().filter(|(root, entry)| Some(*root) != keep && entry.disk_bytes > 0);
        on_disk.min_by_key(|(_, entry)| (is_flying(entry), entry.used)).map(|(root, _)| *root)
    }

    /// Takes a resource off the disk's books; one in memory lives on there.
    fn remove_from_disk(&mut self, root: &Digest) {
        let Some(entry) = self.entries.get_mut(root) else { return };
        self.disk_bytes -= std::mem::take(&mut entry.disk_bytes);
        match &entry.open {
            Some(open) => open.leave_disk(),
            None => drop(self.entries.remove(root)),
        }
    }

    fn close(&mut self, root: &Digest) {
        if let Some(entry) = self.entries.get_mut(root) {
            let closed = entry.open.take();
            // What the disk refused is gone now.
            entry.whole &= closed.is_none_or(|resource| resource.is_on_disk());
            if entry.disk_bytes == 0 {
                self.entries.remove(root);
            }
        }
    }

    fn remove(&mut self, root: &Digest) {
        if let Some(entry) = self.entries.remove(root) {
            self.disk_bytes -= entry.disk_bytes;
        }
    }
}

fn root_of(name: &str) -> Option<Digest> {
    let mut root = [0; 32];
    hex::decode_to_slice(name, &mut root).ok()?;
    Some(root)
}

/// Bytes of one resource with its digests: the image of a Linux device, far beyond a microcontroller's.
pub const RESOURCE_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::body::FETCH_BYTES;
    use bellwether_manifests::frame::FrameChain;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn cache(folder: &Path, disk_bytes_max: u64) -> FrameCache {
        let bounds = CacheBounds { disk_bytes_max, memory_bytes_max: 4_096 };
        FrameCache::open(folder, bounds, Arc::default()).unwrap()
    }

    fn content(n: u8) -> (Digest, Vec<u8>) {
        let chain_of = vec![n; 3_000];
        let chain = FrameChain::build(&chain_of, 992).unwrap();
        (chain.root(), chain.framed())
    }

    fn fill(cache: &FrameCache, n: u8, blocks: usize) -> Digest {
        let (root, framed) = content(n);
        let resource = cache.bring(&root, NOW);
        let all = framed.chunks(FETCH_BYTES).count();
        for (at, block) in framed.chunks(FETCH_BYTES).enumerate().take(blocks) {
            cache.append(&resource, block, at + 1 < all).unwrap();
        }
        root
    }

    #[test]
    fn what_was_taken_survives_the_end_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let root = fill(&cache(folder.path(), 1 << 20), 1, 2);
        let again = cache(folder.path(), 1 << 20);
        assert!(again.in_memory(&root).is_none());
        assert_eq!(again.bring(&root, NOW).len(), 2_048);
        assert_eq!(again.disk_bytes(), 2_048);
    }

    #[test]
    fn file_altered_on_disk_is_cut_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let root = fill(&cache(folder.path(), 1 << 20), 1, 9);
        let path = folder.path().join(hex::encode(root));
        let mut bytes = fs::read(&path).unwrap();
        bytes[1_500] ^= 1;
        fs::write(&path, bytes).unwrap();
        let again = cache(folder.path(), 1 << 20);
        assert_eq!(again.bring(&root, NOW).len(), 1_024);
        assert_eq!(again.counters.frames.altered_disk.get(), 1);
        assert_eq!(fs::metadata(&path).unwrap().len(), 1_024);
    }

    #[test]
    fn longest_unused_resource_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 8_000);
        let (first, second) = (fill(&cache, 1, 9), fill(&cache, 2, 9));
        assert!(cache.in_memory(&first).is_some());
        let third = fill(&cache, 3, 9);
        let there = |root: &Digest| folder.path().join(hex::encode(root)).exists();
        assert_eq!([first, second, third].map(|root| there(&root)), [true, false, true]);
        assert!(cache.disk_bytes() <= 8_000);
    }

    #[test]
    fn resource_larger_than_the_cache_is_served_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 2_000);
        let root = fill(&cache, 1, 9);
        assert!(cache.in_memory(&root).unwrap().total().is_some());
        assert!(cache.disk_bytes() <= 2_000);
    }

    #[test]
    fn memory_is_bounded_beside_the_newest_resource() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 1 << 20);
        let first = fill(&cache, 1, 9);
        fill(&cache, 2, 9);
        fill(&cache, 3, 9);
        assert!(cache.in_memory(&first).is_none());
        assert!(cache.holds(&first));
        assert!(cache.bring(&first, NOW).total().is_some());
        assert!(cache.memory_bytes() <= 2 * 4_096);
    }

    #[test]
    fn full_disk_is_counted_and_the_resource_served_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (root, _) = content(1);
        // Every write to this device says that no space is left.
        std::os::unix::fs::symlink("/dev/full", folder.path().join(hex::encode(root))).unwrap();
        let cache = cache(folder.path(), 1 << 20);
        fill(&cache, 1, 9);
        assert!(cache.in_memory(&root).unwrap().total().is_some());
        assert_eq!(cache.counters.disk_errors.get(), 1);
        assert_eq!(cache.disk_bytes(), 0);
    }

    #[test]
    fn resource_of_which_nothing_came_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 1 << 20);
        let root = [9; 32];
        let _ = cache.bring(&root, NOW);
        cache.forget_empty(&root);
        assert!(!cache.holds(&root));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
