//! The update core as one state machine: what its other files do, done on one flash.
//!
//! It never waits and never sends. The agent asks [`Updater::work`] what is next, carries messages, and hands the
//! answers back. Every method that changes something writes the record once, before anything may be sent.

use super::anchors::KeptAnchors;
use super::boot::{BootError, BootState, BootStore, Image};
use super::bounded::Bounded;
use super::facts::{COMPONENTS_MAX, Facts};
use super::record::{
    Granted, ManifestRef, Outcome, Part, Place, Record, RecordError, RecordStore, Stage, State,
};
use super::request::Held;
use super::verify::{Against, Followed, Refused, verify};
use crate::platform::{Flash, Random, Region};
use bellwether_keys::chain::{ChainError, ChainLength};
use bellwether_keys::derive::DeriveError;
use bellwether_keys::mac::SealError;
use bellwether_keys::share::ShareError;
use bellwether_keys::{ContentKey, Seed};
use bellwether_manifests::cbor::told;
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::message::request::ECHO_BYTES_MAX;
use bellwether_manifests::message::verdict::TEXT_BYTES_MAX;
use bellwether_manifests::message::{Descriptor, Grant, MessageError};
use core::time::Duration;
use thiserror::Error;

/// The update core on one flash.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that is to be done, and none excludes another"
)]
pub struct Updater<'a, F, R> {
    pub(super) flash: F,
    pub(super) random: R,
    pub(super) facts: Facts<'a>,
    records: RecordStore,
    pub(super) record: &'a mut Record,
    pub(super) boots: BootStore,
    pub(super) boot: BootState,
    pub(super) kept_anchors: KeptAnchors<'a>,
    clock: Clock,
    /// The time floor that the flash holds.
    floor_kept: u64,
    pub(super) counter: u64,
    /// The request whose answer is awaited.
    pub(super) asked: Option<Asked>,
    /// What a "prove" verdict wants back in the next request, and at which place.
    pub(super) echo: Option<(Place, Bounded<ECHO_BYTES_MAX>)>,
    /// What a server said with its newest refusal.
    pub(super) refusal: Bounded<TEXT_BYTES_MAX>,
    /// The content key of the resource that is fetched, so that frames do not walk the key chain.
    pub(super) opened: Option<OpenedKey>,
    /// Whether the open grant must be asked for again.
    pub(super) ask_again: bool,
    /// Whether an answer had expired by the clock here, so that the next request tells what that clock says.
    pub(super) tells_clock: bool,
    /// Times in a row that the awaited frame came altered.
    pub(super) altered: u8,
    /// Slot of the report whose turn it is.
    pub(super) report_turn: usize,
    /// Whether the boot loader must run before anything else.
    pub(super) reboot: bool,
    /// Whether the older copy in flash still holds a seed that was replaced.
    pub(super) seed_replaced: bool,
}

/// What the update core keeps in RAM beside itself, given by the caller: 4 KiB, and the memory for a document that
/// replaces the unit file's anchors. A longer document is not taken; none has more than
/// [`super::anchors::ANCHORS_BYTES_MAX`].
///
/// `Memory<[u8; N]>` is one of a size that stands fast, and serves wherever a `Memory` is asked for.
#[derive(Clone, Debug)]
pub struct Memory<A: ?Sized = [u8]> {
    record: Record,
    anchors: A,
}

impl<const ANCHORS_BYTES: usize> Memory<[u8; ANCHORS_BYTES]> {
    /// Makes one for documents of at most so many bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            record: Record::factory(0, Seed::new([0; 32]), ChainLength::DEFAULT, 0),
            anchors: [0; ANCHORS_BYTES],
        }
    }
}

impl<const ANCHORS_BYTES: usize> Default for Memory<[u8; ANCHORS_BYTES]> {
    fn default() -> Self {
        Self::new()
    }
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) nonce: [u8; 8],
    pub(super) place: Place,
    pub(super) selector: [u8; 32],
    /// Whether it named the contents of the descriptor that is held, so that none need come.
    pub(super) holds: bool,
    /// Number of the grant for which it asked "go?".
    pub(super) go: Option<u64>,
}

/// The content key of one resource.
#[derive(Clone, Debug)]
pub(super) struct OpenedKey {
    /// Number of the grant.
    pub(super) grant: u64,
    /// Which of its resources.
    pub(super) resource: u8,
    pub(super) key: ContentKey,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// Nothing until a server speaks.
    Nothing,
    /// Send an update request, see [`Updater::ask`].
    Ask,
    /// Send an update request that asks "go?", see [`Updater::ask`]; it must reach a server.
    AskGo,
    /// The manifest failed before: it is asked for after the receipt of its failure report.
    AwaitReceipt,
    /// Fetch one frame, see [`Updater::frame_wanted`].
    Fetch,
    /// Decrypted and complete: see [`Updater::install`].
    Install,
    /// The image stands verified in the spare slot; a server says when to start it.
    AwaitExecute,
    /// Restart through the boot loader.
    Reboot,
}

/// Why the update core cannot go on. Restart the device; the record tells where to go on.
///
/// Of eight bytes where the flash's errors are small, so that it comes back in registers.
#[derive(Debug, Error)]
pub enum UpdateError<E> {
    /// The flash failed.
    #[error("flash failed")]
    Flash(#[source] E),
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError<E>),
    /// The boot state cannot be read or written.
    #[error(transparent)]
    Boot(#[from] BootError<E>),
    /// The anchors are older than those that were believed before.
    #[error("the anchors have edition {found}, edition {kept} was believed before")]
    OldAnchors {
        /// Edition of the anchors; 65,535 for a later one.
        found: u16,
        /// Edition in the record; 65,535 for a later one.
        kept: u16,
    },
    /// The components that the shell names are more than are kept, or come twice, or the flash was prepared with fewer.
    /// Prepare it for this device.
    #[error("the components are not those that the flash was prepared for")]
    Components,
    /// The key chain has no key at the place in the record.
    #[error("the key chain has no such key")]
    Chain(#[from] ChainError),
    /// No key can be derived for the identity.
    #[error("no key can be derived")]
    Derive(#[from] DeriveError),
    /// A message does not fit its bounds. A bound in this program is wrong.
    #[error("a message does not fit")]
    Seal(#[from] SealError),
    /// The record holds a grant or descriptor that cannot be read.
    #[error("the record holds a message that cannot be read")]
    Kept(#[from] MessageError),
    /// No share for the next seed can be made or agreed on: randomness or record are broken.
    #[error("no share for the next seed")]
    Share(#[from] ShareError),
    /// The key of a place is gone with its seed. A rule in this program is wrong.
    #[error("the key of a passed place is gone with its seed")]
    KeyGone,
    /// The caller's buffer is smaller than a manifest.
    #[error("the buffer is smaller than the manifest")]
    Buffer,
}

impl<'a, F: Flash, R: Random> Updater<'a, F, R> {
    /// Reads the flash and settles a trial that was under way.
    ///
    /// The boot loader ran before: what the boot state calls active is what runs. Nothing of what `memory` holds is
    /// believed. `uptime` may count from anywhere.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn start(
        flash: F,
        random: R,
        facts: Facts<'a>,
        memory: &'a mut Memory,
        uptime: Duration,
    ) -> Result<Self, UpdateError<F::Error>> {
        let mut updater = Self::unread(flash, random, facts, memory);
        updater.read(uptime)?;
        Ok(updater)
    }

    /// Makes one that has read nothing of the flash: nothing but [`Updater::read`] may be asked of it.
    ///
    /// [`Updater::start`] is both in one. By themselves they are for a shell that moves it to its place before the flash is
    /// read.
    #[must_use]
    pub fn unread(flash: F, random: R, facts: Facts<'a>, memory: &'a mut Memory) -> Self {
        Self {
            flash,
            random,
            facts,
            records: RecordStore::new(),
            counter: 0,
            record: &mut memory.record,
            boots: BootStore::new(),
            boot: BootState::factory([]),
            kept_anchors: KeptAnchors::unread(&mut memory.anchors),
            floor_kept: 0,
            clock: Clock { floor: 0, since: Duration::ZERO },
            asked: None,
            echo: None,
            refusal: Bounded::EMPTY,
            opened: None,
            ask_again: false,
            tells_clock: false,
            altered: 0,
            report_turn: 0,
            reboot: false,
            seed_replaced: false,
        }
    }

    /// Reads the flash in place, as [`Updater::start`] does.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`]; nothing may be asked of it then.
    // By itself: what it reads into is large, and would else lie on the stack of whoever calls it for as long as that runs.
    #[inline(never)]
    pub fn read(&mut self, uptime: Duration) -> Result<(), UpdateError<F::Error>> {
        self.records.load_into(&mut self.flash, self.record)?;
        self.boot = self.boots.load(&mut self.flash)?;
        if !self.facts.has_sound_components() || self.boot.count() < self.facts.components.len() {
            return Err(UpdateError::Components);
        }
        self.counter = self.record.counter_reserved;
        self.clock = Clock { floor: self.record.time_floor, since: uptime };
        self.floor_kept = self.record.time_floor;
        self.kept_anchors.load(&mut self.flash)?;
        self.clock.raise(self.newest_signed(), uptime);
        self.compare_anchors()?;
        self.settle_trial()
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Tells what is next.
    #[must_use]
    pub fn work(&self) -> Work {
        if self.reboot {
            return Work::Reboot;
        }
        let trial = matches!(self.record.state, State::Granted(Granted { stage: Stage::Trial, .. }));
        match &self.record.state {
            State::Stored(manifest) if self.record.owes_failure_of(&manifest.digest) => Work::AwaitReceipt,
            State::Stored(_) => Work::Ask,
            State::Granted(_) if !trial && (self.ask_again || self.must_enforce_anchors()) => Work::Ask,
            State::Granted(Granted { stage: Stage::Accepted(_), .. }) => {
                if self.is_fetched() {
                    Work::Install
                } else {
                    Work::Fetch
                }
            }
            State::Granted(Granted { stage: Stage::Decrypted, .. }) => Work::AwaitExecute,
            State::Granted(Granted { stage: Stage::Executed, .. }) => Work::AskGo,
            State::None | State::Granted(Granted { stage: Stage::Trial, .. }) => Work::Nothing,
        }
    }

    /// Gives the record.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.record
    }

    /// Gives the image that the first component runs.
    #[must_use]
    pub fn running(&self) -> &Image {
        self.running_of(0)
    }

    /// Gives the image that a component runs; an empty one past the components of this device.
    #[must_use]
    pub fn running_of(&self, component: usize) -> &Image {
        // `start` refuses a boot state without an active image of each component.
        self.boot.running(component).unwrap_or(&NO_IMAGE)
    }

    /// Walks over the resources of the open grant.
    pub fn resources(&self) -> impl Iterator<Item = GrantedFor> {
        let granted = self.record.granted();
        let descriptor = granted.and_then(|granted| granted.descriptor().ok());
        let resources = descriptor.into_iter().flat_map(|descriptor| descriptor.resources);
        resources.filter_map(move |resource| {
            Some(GrantedFor {
                component: granted?.component(resource.component)?,
                base: resource.patch.map(|patch| *patch.precursor),
                content_bytes: resource.content_bytes,
            })
        })
    }

    /// Gives what a server said with its newest refusal, in its words.
    #[must_use]
    pub fn refusal(&self) -> &str {
        self.refusal.as_text()
    }

    /// Gives what the device is.
    #[must_use]
    pub fn facts(&self) -> &Facts<'a> {
        &self.facts
    }

    /// Gives how many bytes a manifest may have.
    #[must_use]
    pub fn manifest_bytes_max(&self) -> u32 {
        self.flash.bytes(Region::Manifest) / 2
    }

    /// Tells the time that has passed for certain, in seconds since 1970.
    #[must_use]
    pub fn now(&self, uptime: Duration) -> u64 {
        self.clock.now(uptime)
    }

    /// Draws a byte for a jitter.
    pub fn jitter(&mut self) -> u8 {
        let mut byte = [0];
        self.random.fill(&mut byte);
        byte[0]
    }

    /// Raises the time floor by what the server said in a message of ours.
    ///
    /// Source: protocol.md §3, "Time": at most 400 days beyond the newest signed time.
    pub(super) fn believe_time(&mut self, now: u64, uptime: Duration) {
        let highest = self.newest_signed().saturating_add(BELIEVED_S_MAX);
        self.raise_floor(now.min(highest), uptime);
    }

    /// Raises the time floor by a time that is believed.
    pub(super) fn raise_floor(&mut self, time: u64, uptime: Duration) {
        self.clock.raise(time, uptime);
        self.record.time_floor = self.record.time_floor.max(time);
    }

    /// Writes the time floor where it has come far since it was written: a power cut takes back what lies between.
    pub(super) fn keep_floor(&mut self) -> Result<(), UpdateError<F::Error>> {
        if self.record.time_floor.saturating_sub(self.floor_kept) < FLOOR_STEP_S {
            return Ok(());
        }
        self.save()
    }

    fn newest_signed(&self) -> u64 {
        self.facts.built.max(self.anchors().issued())
    }

    pub(super) fn save(&mut self) -> Result<(), UpdateError<F::Error>> {
        self.records.save(&mut self.flash, self.record)?;
        self.floor_kept = self.record.time_floor;
        if self.seed_replaced {
            // The other copy is the one before, with the seed that is gone: it goes there as well.
            self.records.save(&mut self.flash, self.record)?;
            self.seed_replaced = false;
        }
        Ok(())
    }

    /// The slot of a component that does not run.
    pub(super) fn spare(&self, component: usize) -> Region {
        self.boot.active(component).other().region(component)
    }

    pub(super) fn spare_bytes(&self, component: usize) -> u32 {
        if component < self.facts.components.len() { self.flash.bytes(self.spare(component)) } else { 0 }
    }

    /// What each component holds.
    pub(super) fn held_images(&self) -> [Held<'_>; COMPONENTS_MAX] {
        core::array::from_fn(|component| Held {
            running: self.running_of(component),
            slot_bytes: self.spare_bytes(component),
        })
    }

    /// Verifies an envelope for this device.
    pub(super) fn examine<'e>(
        &self,
        envelope: &'e [u8],
        uptime: Duration,
    ) -> Result<Followed<'e>, Refused<'e>> {
        verify(
            envelope,
            &Against {
                facts: &self.facts,
                anchors: self.anchors(),
                held: self.held_images(),
                sequences: self.record.manifest_sequences,
                now: self.now(uptime),
            },
        )
    }

    /// Reads the manifest that is worked on into `scratch`.
    pub(super) fn load_manifest<'s>(
        &mut self,
        manifest: &ManifestRef,
        scratch: &'s mut [u8],
    ) -> Result<&'s [u8], UpdateError<F::Error>> {
        let into = scratch.get_mut(..manifest.bytes as usize).ok_or(UpdateError::Buffer)?;
        let offset = u32::from(manifest.half) * self.manifest_bytes_max();
        self.flash.read(Region::Manifest, offset, into).map_err(UpdateError::Flash)?;
        Ok(into)
    }

    /// Ends the work on a manifest and remembers how.
    pub(super) fn close(&mut self, outcome: Outcome) {
        self.record.state = State::None;
        self.record.outcome = outcome;
        self.asked = None;
        self.echo = None;
        self.opened = None;
        self.ask_again = false;
        self.altered = 0;
    }

    /// Stops at anchors older than those that counted before. Newer ones are enforced before the work goes on; where
    /// there is none, they are noted at once.
    fn compare_anchors(&mut self) -> Result<(), UpdateError<F::Error>> {
        let (found, kept) = (self.anchors_edition(), self.record.anchors_edition);
        if found < kept {
            return Err(UpdateError::OldAnchors { found: told(found), kept: told(kept) });
        }
        if found > kept && self.record.state == State::None {
            self.record.anchors_edition = found;
            self.save()?;
        }
        Ok(())
    }
}

impl Granted {
    /// Reads the grant; its MAC was verified before it was kept.
    pub(super) fn grant(&self) -> Result<Grant<'_>, MessageError> {
        Grant::decode(attached_payload(self.grant.as_slice())?)
    }

    /// Reads the descriptor; its signature was verified before it was kept.
    pub(super) fn descriptor(&self) -> Result<Descriptor<'_>, MessageError> {
        Descriptor::decode(attached_payload(self.descriptor.as_slice())?)
    }

    /// Finds the component of this device that has this index in the manifest.
    pub(super) fn component(&self, index: u32) -> Option<usize> {
        let is_it = |part: &Option<Part>| part.as_ref().is_some_and(|part| part.index == index);
        self.manifest.parts.iter().position(is_it)
    }
}

/// What was granted for one component.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrantedFor {
    /// Number of the component, as in [`Facts::components`].
    pub component: usize,
    /// Digest of the base of a delta; `None` for a full image.
    pub base: Option<[u8; 32]>,
    /// Bytes that are fetched, without digests of frames.
    pub content_bytes: u64,
}

/// Seconds since 1970 as a lower bound that counts on.
#[derive(Clone, Copy, Debug)]
struct Clock {
    floor: u64,
    since: Duration,
}

impl Clock {
    fn now(&self, uptime: Duration) -> u64 {
        self.floor.saturating_add(uptime.saturating_sub(self.since).as_secs())
    }

    fn raise(&mut self, floor: u64, uptime: Duration) {
        if floor > self.now(uptime) {
            *self = Self { floor, since: uptime };
        }
    }
}

/// Source: protocol.md §3, "Time": 400 days.
const BELIEVED_S_MAX: u64 = 400 * 86_400;

/// By how much the time floor in memory may be ahead of the one in flash: a day costs one write a day at the most, and is
/// short beside the life of a grant.
pub(super) const FLOOR_STEP_S: u64 = 86_400;

pub(super) const NO_IMAGE: Image = Image { digest: [0; 32], bytes: 0, version: Bounded::EMPTY };
