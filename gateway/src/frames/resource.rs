//! One resource in memory: its verified bytes, its file, and who wants how much of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bellwether_manifests::message::Digest;
use tokio::sync::Notify;

use super::FetchError;
use super::body::{Altered, Body, Piece};

/// One resource in memory.
#[derive(Debug)]
pub struct Resource {
    root: Digest,
    body: RwLock<Body>,
    /// `None`: the disk refused, or room was needed; the resource is served from memory alone.
    file: Mutex<Option<File>>,
    progress: Mutex<Progress>,
    /// The progress is another one. It wakes who waits in the order in which they came.
    moved: Notify,
    /// How far devices want it, in bytes.
    asked: AtomicU64,
    /// A device wants more than before.
    wanted: Notify,
    /// Whether all of it is wanted, at a pace.
    pub(super) ahead: AtomicBool,
    /// Bytes per second of that pace; 0: as fast as it goes.
    pub(super) pace: AtomicU64,
    /// Whether somebody is fetching.
    pub(super) flying: AtomicBool,
}

/// How far a resource is there, and how fetching it failed last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Verified bytes.
    pub verified: u64,
    /// Whether that is all.
    pub complete: bool,
    /// Flights that failed.
    pub failures: u64,
    /// Why the last of them did.
    pub failure: Option<FetchError>,
}

impl Resource {
    pub(super) fn new(body: Body, file: Option<File>) -> Self {
        let progress = Progress { verified: body.len(), complete: body.is_complete(), ..Progress::default() };
        Self {
            root: *body.root(),
            body: RwLock::new(body),
            file: Mutex::new(file),
            progress: Mutex::new(progress),
            moved: Notify::new(),
            asked: AtomicU64::new(0),
            wanted: Notify::new(),
            ahead: AtomicBool::new(false),
            pace: AtomicU64::new(0),
            flying: AtomicBool::new(false),
        }
    }

    /// The name.
    #[must_use]
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// Gives block `number` of `size` bytes, if it is there.
    #[must_use]
    pub fn piece(&self, number: u32, size: usize) -> Piece {
        self.body.read().unwrap_or_else(PoisonError::into_inner).piece(number, size)
    }

    /// Verified bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is there yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of all bytes, once it is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let body = self.body.read().unwrap_or_else(PoisonError::into_inner);
        body.is_complete().then(|| body.len())
    }

    /// Says how far a device wants it, in bytes.
    pub(super) fn want(&self, bytes: u64) {
        self.asked.fetch_max(bytes, Ordering::SeqCst);
        self.wanted.notify_one();
    }

    /// Waits until a device wants more.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// How far devices want it, in bytes.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Tells how far it is there.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.locked()
    }

    /// Waits until it is as far as is wanted.
    pub(super) async fn comes_to(&self, wanted: impl Fn(&Progress) -> bool) -> Progress {
        loop {
            let mut moved = pin!(self.moved.notified());
            // From here on no move is missed.
            moved.as_mut().enable();
            let progress = self.progress();
            if wanted(&progress) {
                return progress;
            }
            moved.await;
        }
    }

    pub(super) fn fail(&self, failure: FetchError) {
        {
            let mut progress = self.locked();
            progress.failures += 1;
            progress.failure = Some(failure);
        }
        self.moved.notify_waiters();
    }

    /// Takes the next bytes once they are verified; gives the offset at which they stand.
    ///
    /// # Errors
    ///
    /// [`Altered`] if they are not what the chain announces.
    pub(super) fn append(&self, bytes: &[u8], more: bool) -> Result<u64, Altered> {
        let mut body = self.body.write().unwrap_or_else(PoisonError::into_inner);
        let at = body.len();
        body.append(bytes, more)?;
        Ok(at)
    }

    /// Writes bytes to the file, if there still is one.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().map_or(Ok(()), |file| file.write_all_at(bytes, at))
    }

    /// Goes on without the disk; what is there stays, and is verified when it is read.
    pub(super) fn leave_disk(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Wakes all who wait for bytes.
    pub(super) fn tell(&self) {
        let (verified, complete) = {
            let body = self.body.read().unwrap_or_else(PoisonError::into_inner);
            (body.len(), body.is_complete())
        };
        {
            let mut progress = self.locked();
            progress.verified = verified;
            progress.complete = complete;
        }
        self.moved.notify_waiters();
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn is_flying(&self) -> bool {
        self.flying.load(Ordering::Acquire)
    }
}
