//! The rooms of one gateway and what they share.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bellwether_manifests::message::Digest;
use bellwether_net::{Machine, PskTable, SessionId, ShardHandle};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::children::{ChildrenError, Family};
use crate::clock;
use crate::config::Config;
use crate::counters::Counters;
use crate::descriptors::Descriptors;
use crate::disk;
use crate::executes::Executes;
use crate::frames::Frames;
use crate::frames::cache::{CacheBounds, FrameCache};
use crate::held::{HeldBundle, HeldDescriptor};
use crate::hints::HintQueue;
use crate::notes::Notes;
use crate::outbox::Outbox;
use crate::push::Pushes;
use crate::shelf::{Shelf, ShelfError};
use crate::trust::{Trust, TrustError};
use crate::uplink::Uplink;

/// Everything a task needs.
pub struct Gateway {
    /// Wall clock, randomness, threads for work that takes long, sockets.
    pub machine: Arc<dyn Machine>,
    /// What it was told.
    pub config: Config,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// The way up.
    pub uplink: Arc<Uplink>,
    /// Whose signatures it believes.
    pub trust: Trust,
    /// Its devices.
    pub family: Family,
    /// Its bundles.
    pub shelf: Shelf,
    /// What it remembers of each device.
    pub notes: Notes,
    /// Reports that wait.
    pub outbox: Outbox,
    /// Frames.
    pub frames: Arc<Frames>,
    /// The cache behind them.
    pub cache: Arc<FrameCache>,
    /// What the server is to be told.
    pub hints: HintQueue,
    /// Who is connected.
    pub connected: Mutex<HashMap<String, Session>>,
    /// What was pushed.
    pub pushes: Mutex<Pushes>,
    /// Who was told to start an image.
    executes: Mutex<Executes>,
    /// Something changed that a push may follow from.
    pub push_wake: Notify,
    /// A report waits, or the server is back.
    pub outbox_wake: Notify,
    /// A bundle came, or the server is back: there may be something to fetch ahead.
    pub ahead_wake: Notify,
    /// The server's list of children must be read again.
    pub children_wake: Notify,
    /// Descriptors that passed through.
    pub descriptors: Descriptors,
    /// Roots of descriptors that passed through and are still to be fetched ahead.
    passed_roots: Mutex<Vec<Digest>>,
}

/// A device's newest session.
#[derive(Clone)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// The socket.
    pub shard: ShardHandle,
    /// When the device was last heard to be there.
    pub heard: Instant,
}

impl Session {
    /// A device that is switched off ends no session; one that is there says so every minute.
    fn is_live(&self) -> bool {
        clock::steady().saturating_duration_since(self.heard) < LIVE
    }
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data folder can't be used.
    #[error("the data folder can't be used")]
    Folder(#[from] io::Error),
    /// Give the gateway a right unit file.
    #[error("the anchors are not readable")]
    Trust(#[from] TrustError),
    /// The kept list of children is damaged; take the file away, and the server gives it again.
    #[error("the kept list of children can't be used")]
    Children(#[from] ChildrenError),
    /// The kept bundles can't be read.
    #[error("the kept bundles can't be used")]
    Shelf(#[from] ShelfError),
}

impl Gateway {
    /// Reads what is kept.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what to do.
    pub fn open(
        machine: Arc<dyn Machine>,
        config: Config,
        unit_anchors: &[u8],
        keys: Arc<PskTable>,
        cache: Arc<FrameCache>,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let data = config.data.clone();
        let trust = Trust::open(&data.join("anchors"), unit_anchors)?;
        let uplink = Arc::new(Uplink::new(config.answer_wait()));
        let frames =
            Frames::new(Arc::clone(&machine), Arc::clone(&cache), Arc::clone(&uplink), Arc::clone(&counters));
        let frames = Arc::new(frames);
        let kept = data.join("descriptors");
        let descriptors = Descriptors::open(&kept, &trust.document(), Arc::clone(&counters))?;
        let gateway = Self {
            machine,
            family: Family::open(&data.join("children"), keys)?,
            shelf: Shelf::open(&data.join("bundles"), &trust.document())?,
            notes: Notes::open(&data.join("devices"), Arc::clone(&counters))?,
            outbox: Outbox::open(&data)?,
            trust,
            uplink,
            frames,
            cache,
            counters,
            config,
            hints: HintQueue::default(),
            connected: Mutex::default(),
            pushes: Mutex::default(),
            executes: Mutex::default(),
            push_wake: Notify::new(),
            outbox_wake: Notify::new(),
            ahead_wake: Notify::new(),
            children_wake: Notify::new(),
            descriptors,
            passed_roots: Mutex::default(),
        };
        for bundle in gateway.shelf.all() {
            gateway.announce(&bundle);
        }
        for root in gateway.descriptors.roots() {
            gateway.frames.announce(root);
        }
        Ok(gateway)
    }

    /// Opens the frame cache of a data folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open_cache(data: &Path, cache_mib: u64, counters: &Arc<Counters>) -> io::Result<Arc<FrameCache>> {
        disk::make_folder(data)?;
        let bounds = CacheBounds { disk_bytes_max: cache_mib << 20, memory_bytes_max: MEMORY_BYTES_MAX };
        Ok(Arc::new(FrameCache::open(&data.join("frames"), bounds, Arc::clone(counters))?))
    }

    fn announce(&self, bundle: &HeldBundle) {
        for root in bundle.descriptors.values().flat_map(|descriptor| &descriptor.roots) {
            self.frames.announce(*root);
        }
    }

    /// Acts on a bundle that is kept from now on.
    pub fn welcome(&self, bundle: &HeldBundle) {
        self.announce(bundle);
        if bundle.names.iter().any(|name| !self.family.has(name)) {
            self.children_wake.notify_one();
        }
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner).retain(&self.shelf.all());
        self.push_wake.notify_one();
        self.ahead_wake.notify_one();
    }

    /// Finds a verified descriptor that fits, of a bundle or one that passed through: the two may differ, where the
    /// server has made a resource anew.
    #[must_use]
    pub fn descriptor(
        &self,
        manifest: &Digest,
        selector: &Digest,
        fits: impl Fn(&HeldDescriptor) -> bool,
    ) -> Option<Arc<HeldDescriptor>> {
        let passed = self.descriptors.get(manifest, selector).filter(|passed| fits(passed));
        passed.or_else(|| self.shelf.descriptor(manifest, selector, fits).map(Arc::new))
    }

    /// Keeps a descriptor that passed through, if a distributor that is believed has signed it.
    pub fn keep_descriptor(&self, message: &[u8]) {
        let Some(roots) = self.descriptors.keep(message, &self.trust.document()) else { return };
        for root in roots {
            self.frames.announce(root);
            self.fetch_later(root);
        }
        self.ahead_wake.notify_one();
    }

    /// Remembers a root that is to be fetched ahead.
    pub fn fetch_later(&self, root: Digest) {
        let mut passed = self.passed_roots.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push(root);
        passed.truncate(PASSED_MAX);
    }

    /// Drops what was signed by somebody whom the newest anchors don't name any more.
    ///
    /// # Errors
    ///
    /// [`ShelfError`] if bundles can't be verified or taken away.
    pub fn verify_again(&self) -> Result<(), ShelfError> {
        let document = self.trust.document();
        self.descriptors.verify_again(&document);
        self.shelf.verify_again(&document)
    }

    /// Takes the roots of descriptors that passed through since the last call.
    #[must_use]
    pub fn passed_roots(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.passed_roots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest session of a device.
    #[must_use]
    pub fn session(&self, endpoint: &str) -> Option<Session> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned()
    }

    /// The newest session of a device that was heard lately.
    #[must_use]
    pub fn reachable(&self, endpoint: &str) -> Option<Session> {
        self.session(endpoint).filter(Session::is_live)
    }

    /// Who was told to start an image.
    pub fn executes(&self) -> MutexGuard<'_, Executes> {
        self.executes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of devices that were heard lately.
    #[must_use]
    pub fn connected(&self) -> usize {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.values().filter(|session| session.is_live()).count()
    }

    /// Closes the sessions of devices that are no children any more and forgets what was kept of them.
    pub fn part_with(&self, gone: &[String]) {
        for name in gone {
            let session = self.connected.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            if let Some(session) = session {
                session.shard.close(session.id);
            }
        }
        if !gone.is_empty() {
            self.notes.retain(|name| self.family.has(name));
            self.executes().retain(|name| self.family.has(name));
            self.frames.retain_children(|name| self.family.has(name));
        }
    }

    /// Tells the time of the wall clock, in seconds since 1970. It may be wrong by years.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.machine.now()
    }

    /// Adds up to half of `wait` at random.
    #[must_use]
    pub fn jittered(&self, wait: Duration) -> Duration {
        clock::jittered(&*self.machine, wait)
    }

    /// The wait after which something is tried again, at first.
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        self.config.ack_timeout()
    }

    /// Waits between tries: from the first wait to a minute with the usual `ACK_TIMEOUT` of two seconds.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.first_wait(), self.first_wait() * 30)
    }
}

/// Memory for frames that are served: eight images of 4 MiB, or hundreds of deltas.
const MEMORY_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Time for which a device counts as there: three hellos.
const LIVE: Duration = Duration::from_mins(3);

/// Roots that wait to be fetched ahead: two updates of eight resources for each of 64 devices.
const PASSED_MAX: usize = 1_024;
