//! The update core as one state machine: what its other files do, done on one flash.
//!
//! It never waits and never sends. The agent asks [`Updater::work`] what is next, carries messages, and hands the
//! answers back. Every method that changes something writes the record once, before anything may be sent.

use super::anchors::KeptAnchors;
use super::boot::{BootError, BootState, BootStore, Image, Slot};
use super::bounded::Bounded;
use super::facts::Facts;
use super::record::{Granted, ManifestRef, Outcome, Place, Record, RecordError, RecordStore, Stage, State};
use super::verify::{Against, Followed, Refused, verify};
use crate::platform::{Flash, Random, Region};
use bellwether_keys::ContentKey;
use bellwether_keys::chain::ChainError;
use bellwether_keys::derive::DeriveError;
use bellwether_keys::mac::SealError;
use bellwether_keys::share::ShareError;
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::message::request::ECHO_BYTES_MAX;
use bellwether_manifests::message::verdict::TEXT_BYTES_MAX;
use bellwether_manifests::message::{Descriptor, Grant, MessageError};
use core::time::Duration;
use thiserror::Error;

/// The update core on one flash.
#[derive(Debug)]
pub struct Updater<'a, F, R> {
    pub(super) flash: F,
    pub(super) random: R,
    pub(super) facts: Facts<'a>,
    records: RecordStore,
    pub(super) record: Record,
    pub(super) boots: BootStore,
    pub(super) boot: BootState,
    pub(super) kept_anchors: KeptAnchors,
    clock: Clock,
    pub(super) counter: u64,
    /// The request whose answer is awaited.
    pub(super) asked: Option<Asked>,
    /// What a "prove" verdict wants back in the next request, and at which place.
    pub(super) echo: Option<(Place, Bounded<ECHO_BYTES_MAX>)>,
    /// What a server said with its newest refusal.
    pub(super) refusal: Bounded<TEXT_BYTES_MAX>,
    /// The content key of the grant with this number, so that frames do not walk the key chain.
    pub(super) opened: Option<(u64, ContentKey)>,
    /// Whether the open grant must be asked for again.
    pub(super) ask_again: bool,
    /// Times in a row that the awaited frame came altered.
    pub(super) altered: u8,
    /// Slot of the report whose turn it is.
    pub(super) report_turn: usize,
    /// Whether the boot loader must run before anything else.
    pub(super) reboot: bool,
    /// Whether the older copy in flash still holds a seed that was replaced.
    pub(super) seed_replaced: bool,
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
        /// Edition of the anchors.
        found: u64,
        /// Edition in the record.
        kept: u64,
    },
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
    /// The boot loader ran before: what the boot state calls active is what runs. `uptime` may count from anywhere.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn start(
        flash: F,
        random: R,
        facts: Facts<'a>,
        uptime: Duration,
    ) -> Result<Self, UpdateError<F::Error>> {
        let (mut flash, mut records, mut boots) = (flash, RecordStore::new(), BootStore::new());
        let record = records.load(&mut flash)?;
        let boot = boots.load(&mut flash)?;
        let clock = Clock { floor: record.time_floor, since: uptime };
        let mut updater = Self {
            flash,
            random,
            facts,
            records,
            counter: record.counter_reserved,
            record,
            boots,
            boot,
            kept_anchors: KeptAnchors::EMPTY,
            clock,
            asked: None,
            echo: None,
            refusal: Bounded::EMPTY,
            opened: None,
            ask_again: false,
            altered: 0,
            report_turn: 0,
            reboot: false,
            seed_replaced: false,
        };
        updater.kept_anchors.load(&mut updater.flash)?;
        updater.clock.raise(updater.newest_signed(), uptime);
        updater.compare_anchors()?;
        updater.settle_trial()?;
        Ok(updater)
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
        &self.record
    }

    /// Gives the image that runs.
    #[must_use]
    pub fn running(&self) -> &Image {
        // `start` refuses a boot state without an active image.
        self.boot.image(self.boot.active).unwrap_or(&NO_IMAGE)
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

    fn newest_signed(&self) -> u64 {
        self.facts.built.max(self.anchors().issued())
    }

    pub(super) fn save(&mut self) -> Result<(), UpdateError<F::Error>> {
        self.records.save(&mut self.flash, &self.record)?;
        if self.seed_replaced {
            // The other copy is the one before, with the seed that is gone: it goes there as well.
            self.records.save(&mut self.flash, &self.record)?;
            self.seed_replaced = false;
        }
        Ok(())
    }

    pub(super) fn spare(&self) -> Slot {
        self.boot.active.other()
    }

    pub(super) fn spare_bytes(&self) -> u32 {
        self.flash.bytes(self.spare().region())
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
                running: self.running(),
                sequence: self.record.manifest_sequence,
                now: self.now(uptime),
                slot_bytes: self.spare_bytes(),
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
            return Err(UpdateError::OldAnchors { found, kept });
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

const NO_IMAGE: Image = Image { digest: [0; 32], bytes: 0, version: Bounded::EMPTY };
