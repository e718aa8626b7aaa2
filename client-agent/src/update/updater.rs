//! The update core as one state machine: what its other files do, done on one flash.
//!
//! It never waits and never sends. The agent asks [`Updater::work`] what is next, carries messages, and hands the
//! answers back. Every method that changes something writes the record once, before anything may be sent.

use super::boot::{BootError, BootState, BootStore, Image, Slot};
use super::bounded::Bounded;
use super::facts::Facts;
use super::record::{Granted, ManifestRef, Outcome, Place, Record, RecordError, RecordStore, Stage, State};
use super::verify::{Against, Followed, Refused, verify};
use crate::platform::{Flash, Random, Region};
use bellwether_keys::ContentKey;
use bellwether_keys::chain::{self, ChainError};
use bellwether_keys::derive::DeriveError;
use bellwether_keys::mac::SealError;
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
    /// Whether the boot loader must run before anything else.
    pub(super) reboot: bool,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) nonce: [u8; 8],
    pub(super) place: Place,
    pub(super) selector: [u8; 32],
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// Nothing until a server speaks.
    Nothing,
    /// Send an update request, see [`Updater::ask`].
    Ask,
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
        let clock = Clock { floor: record.time_floor.max(newest_signed(&facts)), since: uptime };
        let mut updater = Self {
            flash,
            random,
            facts,
            records,
            counter: record.counter_reserved,
            record,
            boots,
            boot,
            clock,
            asked: None,
            echo: None,
            refusal: Bounded::EMPTY,
            opened: None,
            ask_again: false,
            altered: 0,
            reboot: false,
        };
        updater.take_anchors()?;
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
        match &self.record.state {
            State::Stored(_) => Work::Ask,
            State::Granted(_) if self.ask_again => Work::Ask,
            State::Granted(Granted { stage: Stage::Accepted(_), .. }) => {
                if self.is_fetched() {
                    Work::Install
                } else {
                    Work::Fetch
                }
            }
            State::Granted(Granted { stage: Stage::Decrypted, .. }) => Work::AwaitExecute,
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
        let highest = newest_signed(&self.facts).saturating_add(BELIEVED_S_MAX);
        self.clock.raise(now.min(highest), uptime);
        self.record.time_floor = self.record.time_floor.max(now.min(highest));
    }

    pub(super) fn save(&mut self) -> Result<(), UpdateError<F::Error>> {
        Ok(self.records.save(&mut self.flash, &self.record)?)
    }

    /// Computes the chain's link at a place of this epoch.
    pub(super) fn link(&self, place: Place) -> Result<chain::Link, ChainError> {
        chain::link(&self.record.seed, place.index, self.record.chain_length)
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

    fn take_anchors(&mut self) -> Result<(), UpdateError<F::Error>> {
        let (found, kept) = (self.facts.anchors.edition(), self.record.anchors_edition);
        if found < kept {
            return Err(UpdateError::OldAnchors { found, kept });
        }
        if found > kept {
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

fn newest_signed(facts: &Facts<'_>) -> u64 {
    facts.built.max(facts.anchors.issued())
}

/// Source: protocol.md §3, "Time": 400 days.
const BELIEVED_S_MAX: u64 = 400 * 86_400;

const NO_IMAGE: Image = Image { digest: [0; 32], bytes: 0, version: Bounded::EMPTY };
