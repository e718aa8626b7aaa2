//! The one flash record: everything of an update that must survive a power cut.
//!
//! It is written whole, by [`RecordStore::save`], at each step: a confirming report, the place, the fork head and
//! the grant's state move in one write.
//!
//! Source: protocol.md §3, "What the device keeps".

mod codec;

use super::boot::VERSION_BYTES_MAX;
use super::bounded::Bounded;
use super::facts::COMPONENTS_MAX;
use super::journal::{BODY_AT, BODY_BYTES_MAX, COPY_BYTES_MAX, Journal, JournalError};
use crate::platform::{Flash, Region};
use bellwether_keys::fork::{self, ForkHead};
use bellwether_keys::share::PrivateShare;
use bellwether_keys::{ChainLength, Secret, Seed};
use bellwether_manifests::cbor::Sink;
use bellwether_manifests::message::{self, Moment};
use minicbor::Encoder;
use thiserror::Error;
use zeroize::Zeroizing;

/// What the device keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Which key of the identity is next.
    pub place: Place,
    /// The seed of the place's epoch.
    pub seed: Seed,
    /// Indices of the epoch.
    pub chain_length: ChainLength,
    /// Digest chain over the confirming reports.
    pub fork: ForkHead,
    /// Sequence number of the newest manifest that was installed, by component.
    pub manifest_sequences: [u64; COMPONENTS_MAX],
    /// Highest number of a grant that was kept.
    pub grant_highest: u64,
    /// First request counter that was not reserved yet; see [`COUNTER_STEP`].
    pub counter_reserved: u64,
    /// Seconds since 1970 that have passed for certain.
    pub time_floor: u64,
    /// Edition of the anchors under which all of this was last checked.
    pub anchors_edition: u64,
    /// This side's share for the next seed, from the request that told its public half until the place moves.
    pub share: Option<PrivateShare>,
    /// How far the update is.
    pub state: State,
    /// Reports without a receipt, oldest first.
    pub reports: [Option<PendingReport>; REPORTS_MAX],
    /// How the last update ended.
    pub outcome: Outcome,
}

/// Which key of which epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Number of the seed.
    pub epoch: u16,
    /// Updates that were confirmed in it.
    pub index: u16,
}

/// How far the update is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one record, and no allocator to move its parts to")]
pub enum State {
    /// No manifest is worked on.
    None,
    /// A manifest is stored and no grant was accepted for it.
    Stored(ManifestRef),
    /// A grant was accepted.
    Granted(Granted),
}

/// Where a verified manifest lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestRef {
    /// Half of [`Region::Manifest`]: 0 or 1.
    pub half: u8,
    /// Bytes of the envelope.
    pub bytes: u32,
    /// Digest of its authentication block.
    pub digest: [u8; 32],
    /// Its sequence number.
    pub sequence: u64,
    /// URI that names it in reports.
    pub reference: Bounded<REFERENCE_BYTES_MAX>,
    /// Path of its request identifier.
    pub path: Bounded<PATH_BYTES_MAX>,
    /// What it has for each component of this device; `None` where nothing.
    pub parts: [Option<Part>; COMPONENTS_MAX],
}

/// What a manifest has for one component of this device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Index of the component in the manifest.
    pub index: u32,
    /// Version of its image as text, empty where the manifest does not tell.
    pub version: Bounded<VERSION_BYTES_MAX>,
}

/// An open grant and what was done with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Granted {
    /// The manifest that it is for.
    pub manifest: ManifestRef,
    /// The place whose key authenticates and unwraps it.
    pub place: Place,
    /// Number of the grant.
    pub number: u64,
    /// The grant as it came.
    pub grant: Bounded<GRANT_BYTES_MAX>,
    /// The descriptor as it came.
    pub descriptor: Bounded<DESCRIPTOR_BYTES_MAX>,
    /// How far its resources are.
    pub stage: Stage,
    /// Keys of the grant's place, where the seed of its epoch is gone: a report is still owed under them.
    pub keys: Option<PassedKeys>,
}

/// Keys of a place whose seed is gone. They open nothing but that place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PassedKeys {
    /// Under which its reports are.
    pub up: Secret<32>,
    /// Under which its receipts are.
    pub down: Secret<32>,
}

/// How far the resources of an open grant are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Being fetched; resources before `Progress::resource`, and its frames before `Progress::frame`, are in the spare
    /// slots.
    Accepted(Progress),
    /// The images stand in the spare slots and their digests are right.
    Decrypted,
    /// The same, and it may be started as soon as a server says "go".
    Executed,
    /// They were, or are about to be, booted on trial.
    Trial,
}

/// Where fetching goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Which resource of the grant; their number once all are fetched.
    pub resource: u8,
    /// Next frame of it.
    pub frame: u32,
    /// Digest that it must have.
    pub expected: [u8; 32],
}

/// A report that waits for its receipt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PendingReport {
    /// The report as it is sent.
    pub bytes: Bounded<REPORT_BYTES_MAX>,
    /// The place that it speaks of.
    pub place: Place,
    /// The grant that it speaks of; 0 for a refused manifest.
    pub grant: u64,
    /// Manifest that it speaks of.
    pub manifest: [u8; 32],
    /// Path of that manifest's request identifier.
    pub path: Bounded<PATH_BYTES_MAX>,
    /// Which moment.
    pub moment: Moment,
    /// Where it moved the place to; `None` where it did not, or where an operator has moved the place on since.
    pub led_to: Option<Place>,
    /// Key of its receipt, where the seed of its epoch is gone.
    pub receipt_key: Option<Secret<32>>,
}

impl PendingReport {
    /// One that says nothing yet.
    const EMPTY: Self = Self {
        bytes: Bounded::EMPTY,
        place: Place { epoch: 0, index: 0 },
        grant: 0,
        manifest: [0; 32],
        path: Bounded::EMPTY,
        moment: Moment::Failed,
        led_to: None,
        receipt_key: None,
    };
}

/// How the last update ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// LwM2M Update Result: 0 where none is known.
    pub result: u8,
    /// Reason of a refused verdict, as the server numbers it.
    pub refused: Option<i64>,
}

impl Place {
    /// Gives the place as messages carry it.
    #[must_use]
    pub fn of(self, id: &str) -> message::Place<'_> {
        message::Place { id, epoch: self.epoch, index: self.index }
    }
}

impl Record {
    /// Makes the record of a device that leaves the factory.
    #[must_use]
    pub fn factory(epoch: u16, seed: Seed, chain_length: ChainLength, time_floor: u64) -> Self {
        Self {
            place: Place { epoch, index: 0 },
            seed,
            chain_length,
            fork: fork::FIRST,
            manifest_sequences: [0; COMPONENTS_MAX],
            grant_highest: 0,
            counter_reserved: 1,
            time_floor,
            anchors_edition: 0,
            share: None,
            state: State::None,
            reports: [const { None }; REPORTS_MAX],
            outcome: Outcome::default(),
        }
    }

    /// Adds an empty report, to be filled in its place; `None` where no slot is free, and then nothing changed.
    pub fn new_report(&mut self) -> Option<&mut PendingReport> {
        let free = self.reports.iter_mut().find(|slot| slot.is_none())?;
        Some(free.insert(PendingReport::EMPTY))
    }

    /// Drops the report that was added last.
    pub(super) fn drop_newest_report(&mut self) {
        if let Some(newest) = self.reports.iter_mut().rfind(|slot| slot.is_some()) {
            *newest = None;
        }
    }

    /// Drops the report at `slot` and moves the later ones up.
    pub fn drop_report(&mut self, slot: usize) {
        if slot < REPORTS_MAX {
            self.reports[slot] = None;
            self.reports[slot..].rotate_left(1);
        }
    }

    /// Tells whether another report may be owed.
    #[must_use]
    pub fn has_free_report(&self) -> bool {
        self.reports.iter().any(Option::is_none)
    }

    /// Tells whether a failure report about this manifest waits for its receipt.
    #[must_use]
    pub fn owes_failure_of(&self, manifest: &[u8; 32]) -> bool {
        let failed = |report: &PendingReport| report.moment == Moment::Failed && report.manifest == *manifest;
        self.reports.iter().flatten().any(failed)
    }

    /// Gives the manifest that is worked on.
    #[must_use]
    pub fn manifest(&self) -> Option<&ManifestRef> {
        match &self.state {
            State::None => None,
            State::Stored(manifest) => Some(manifest),
            State::Granted(granted) => Some(&granted.manifest),
        }
    }

    /// Opens a grant for the manifest that is worked on, whose parts are still to be set; a descriptor that is held stays.
    /// `None` where there is no manifest.
    pub(super) fn open_grant(&mut self) -> Option<&mut Granted> {
        if let State::Stored(manifest) = &self.state {
            let manifest = manifest.clone();
            self.state = State::Granted(Granted {
                manifest,
                place: self.place,
                number: 0,
                grant: Bounded::EMPTY,
                descriptor: Bounded::EMPTY,
                stage: Stage::Decrypted,
                keys: None,
            });
        }
        match &mut self.state {
            State::Granted(granted) => Some(granted),
            State::None | State::Stored(_) => None,
        }
    }

    /// Gives the open grant.
    #[must_use]
    pub fn granted(&self) -> Option<&Granted> {
        match &self.state {
            State::Granted(granted) => Some(granted),
            State::None | State::Stored(_) => None,
        }
    }
}

/// The record and its place in flash.
#[derive(Debug)]
pub struct RecordStore {
    journal: Journal,
}

/// Why the record could not be read or written.
#[derive(Debug, Error)]
pub enum RecordError<E> {
    /// The flash failed; restart the device.
    #[error("record: flash failed")]
    Flash(#[source] E),
    /// No valid copy: the flash was never prepared, or both copies are damaged. Prepare it anew.
    #[error("the flash holds no valid record; prepare it with a unit file")]
    Missing,
    /// A copy has a right checksum and cannot be read: it is of a later version. Do not overwrite it.
    #[error("the record is of a version that this program cannot read")]
    Foreign,
    /// A bound in this program is wrong.
    #[error("the record does not fit its flash copy")]
    TooLong,
}

impl RecordStore {
    /// Names the record of a flash.
    #[must_use]
    pub const fn new() -> Self {
        Self { journal: Journal::new(Region::Record) }
    }

    /// Reads the newest valid record.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    pub fn load<F: Flash>(&mut self, flash: &mut F) -> Result<Record, RecordError<F::Error>> {
        let mut record = Record::factory(0, Seed::new([0; 32]), ChainLength::DEFAULT, 0);
        self.load_into(flash, &mut record)?;
        Ok(record)
    }

    /// Reads the newest valid record in place, since it is large to move.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]; the record is then of no use.
    // By itself, so that its buffer is on the stack for no longer than it reads.
    #[inline(never)]
    pub fn load_into<F: Flash>(
        &mut self,
        flash: &mut F,
        record: &mut Record,
    ) -> Result<(), RecordError<F::Error>> {
        let mut body = Zeroizing::new([0; BODY_BYTES_MAX]);
        let length = self.journal.load(flash, &mut body[..])?.ok_or(RecordError::Missing)?;
        codec::decode_into(record, &body[..length]).ok_or(RecordError::Foreign)
    }

    /// Writes the record, in one write.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    // As above.
    #[inline(never)]
    pub fn save<F: Flash>(&mut self, flash: &mut F, record: &Record) -> Result<(), RecordError<F::Error>> {
        let mut copy = Zeroizing::new([0; COPY_BYTES_MAX]);
        let mut e = Encoder::new(Sink::new(&mut copy[BODY_AT..BODY_AT + BODY_BYTES_MAX]));
        codec::encode(&mut e, record).map_err(|_| RecordError::TooLong)?;
        let length = e.writer().written();
        Ok(self.journal.store_in_place(flash, &mut copy[..], length)?)
    }
}

impl Default for RecordStore {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> From<JournalError<E>> for RecordError<E> {
    fn from(error: JournalError<E>) -> Self {
        match error {
            JournalError::Flash(error) => Self::Flash(error),
            JournalError::TooLong(_) => Self::TooLong,
        }
    }
}

/// Counters taken from the record at a time, so that a request costs no flash write.
///
/// Source: protocol.md §3, "counter (in steps of 64)".
pub const COUNTER_STEP: u64 = 64;

/// Reports that wait for a receipt. Source: protocol.md §3, "at most two".
pub const REPORTS_MAX: usize = 2;

/// Bytes of a grant: one resource needs about 280 with a short name, 64 more with the longest; a signature in place of
/// the MAC 43 more, the two shares 152, a second resource 140.
pub const GRANT_BYTES_MAX: usize = 704;

/// Bytes of a descriptor: one delta needs about 565, a second one 280, and paths to the frames.
pub const DESCRIPTOR_BYTES_MAX: usize = 1024;

/// Bytes of a report: about 270 with a short name and manifest URI.
pub const REPORT_BYTES_MAX: usize = 640;

/// Bytes of a request identifier's path; a manifest with a longer one is refused.
pub const PATH_BYTES_MAX: usize = 64;

/// Bytes of the URI that names a manifest; one with a longer one is refused, since reports repeat it.
pub const REFERENCE_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use std::{format, vec};

    fn manifest() -> ManifestRef {
        ManifestRef {
            half: 1,
            bytes: 477,
            digest: [7; 32],
            sequence: u64::MAX,
            reference: Bounded::copy_of(&[b'r'; REFERENCE_BYTES_MAX]).unwrap(),
            path: Bounded::copy_of(&[b'/'; PATH_BYTES_MAX]).unwrap(),
            parts: core::array::from_fn(|_| {
                let version = Bounded::copy_of(&[b'1'; VERSION_BYTES_MAX]).unwrap();
                Some(Part { index: u32::MAX, version })
            }),
        }
    }

    fn report(length: usize) -> PendingReport {
        PendingReport {
            bytes: Bounded::copy_of(&vec![0xA5; length]).unwrap(),
            place: Place { epoch: 1, index: 1023 },
            grant: u64::MAX,
            manifest: [9; 32],
            path: Bounded::copy_of(&[b'/'; PATH_BYTES_MAX]).unwrap(),
            moment: Moment::Installed,
            led_to: Some(Place { epoch: u16::MAX, index: u16::MAX }),
            receipt_key: Some(Secret::new([0xC5; 32])),
        }
    }

    fn granted(stage: Stage) -> State {
        State::Granted(Granted {
            manifest: manifest(),
            place: Place { epoch: 1, index: 1023 },
            number: u64::MAX,
            grant: Bounded::copy_of(&[1; GRANT_BYTES_MAX]).unwrap(),
            descriptor: Bounded::copy_of(&[2; DESCRIPTOR_BYTES_MAX]).unwrap(),
            stage,
            keys: Some(PassedKeys { up: Secret::new([0xC6; 32]), down: Secret::new([0xC7; 32]) }),
        })
    }

    /// A record in which every part is as long as it may be.
    pub(super) fn fullest() -> Record {
        let mut record =
            Record::factory(u16::MAX, Seed::new([3; 32]), ChainLength::try_from(4096).unwrap(), u64::MAX);
        record.state =
            granted(Stage::Accepted(Progress { resource: u8::MAX, frame: u32::MAX, expected: [8; 32] }));
        record.reports = [Some(report(REPORT_BYTES_MAX)), Some(report(REPORT_BYTES_MAX))];
        record.outcome = Outcome { result: 8, refused: Some(i64::MIN) };
        record.share = Some(PrivateShare::from_random([4; 32]).unwrap());
        record.manifest_sequences = [u64::MAX; COMPONENTS_MAX];
        for number in [&mut record.grant_highest, &mut record.counter_reserved, &mut record.anchors_edition] {
            *number = u64::MAX;
        }
        record
    }

    fn comes_back(record: &Record) {
        let mut flash = MemoryFlash::new(0);
        RecordStore::new().save(&mut flash, record).unwrap();
        assert_eq!(RecordStore::new().load(&mut flash).unwrap(), *record);
    }

    #[test]
    fn record_with_every_part_at_its_bound_fits_and_comes_back() {
        comes_back(&fullest());
    }

    #[test]
    fn every_state_comes_back() {
        for state in [
            State::None,
            State::Stored(manifest()),
            granted(Stage::Decrypted),
            granted(Stage::Executed),
            granted(Stage::Trial),
        ] {
            let mut record = Record::factory(0, Seed::new([3; 32]), ChainLength::DEFAULT, 1);
            record.state = state;
            comes_back(&record);
        }
    }

    #[test]
    fn flash_without_record_says_that_it_must_be_prepared() {
        let missing = RecordStore::new().load(&mut MemoryFlash::new(0));
        assert!(matches!(missing, Err(RecordError::Missing)));
    }

    #[test]
    fn third_report_finds_no_slot_and_changes_nothing() {
        let mut record = fullest();
        assert!(record.new_report().is_none());
        assert_eq!(record, fullest());
        record.drop_newest_report();
        *record.new_report().unwrap() = report(3);
        assert_eq!(record.reports, [Some(report(REPORT_BYTES_MAX)), Some(report(3))]);
    }

    #[test]
    fn dropping_the_first_report_moves_the_second_up() {
        let mut record = fullest();
        record.reports[1] = Some(report(5));
        record.drop_report(0);
        assert_eq!(record.reports, [Some(report(5)), None]);
    }

    #[test]
    fn printed_record_shows_neither_seed_nor_grant() {
        let text = format!("{:?}", fullest());
        assert!(text.contains("[redacted]") && text.contains("704 of 704 bytes"), "{text}");
        assert!(!text.contains("197, 197") && !text.contains("198, 198"), "{text}");
    }
}
