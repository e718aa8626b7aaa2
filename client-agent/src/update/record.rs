//! The one flash record: everything of an update that must survive a power cut.
//!
//! It is written whole, by [`RecordStore::save`], at each step: a confirming report, the place, the fork head and
//! the grant's state move in one write.
//!
//! Source: protocol.md §3, "What the device keeps". The private share and several components are not kept yet: a
//! grant that needs them is refused before anything is written.

use super::boot::VERSION_BYTES_MAX;
use super::bounded::Bounded;
use super::journal::{COPY_BYTES_MAX, Journal, JournalError};
use crate::platform::{Flash, Region};
use bellwether_keys::fork::{self, ForkHead};
use bellwether_keys::{ChainLength, Seed};
use bellwether_manifests::message::{self, Moment};
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};
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
    /// Sequence number of the newest manifest that was installed.
    pub manifest_sequence: u64,
    /// Highest number of a grant that was kept.
    pub grant_highest: u64,
    /// First request counter that was not reserved yet; see [`COUNTER_STEP`].
    pub counter_reserved: u64,
    /// Seconds since 1970 that have passed for certain.
    pub time_floor: u64,
    /// Edition of the anchors that are believed.
    pub anchors_edition: u64,
    /// How far the update is.
    pub state: State,
    /// Reports without a receipt, oldest first.
    pub reports: [Option<PendingReport>; REPORTS_MAX],
    /// How the last update ended.
    pub outcome: Outcome,
}

/// Which key of which epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
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
    /// Version of its image as text, empty where it does not tell.
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
    /// How far the resource is.
    pub stage: Stage,
}

/// How far the resource of an open grant is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Being fetched; frames before `Progress::frame` are in the spare slot.
    Accepted(Progress),
    /// The image stands in the spare slot and its digest is right.
    Decrypted,
    /// It was, or is about to be, booted on trial.
    Trial,
}

/// Where fetching goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Next frame.
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
    /// Whether it moved the place.
    pub confirming: bool,
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
            manifest_sequence: 0,
            grant_highest: 0,
            counter_reserved: 1,
            time_floor,
            anchors_edition: 0,
            state: State::None,
            reports: [const { None }; REPORTS_MAX],
            outcome: Outcome::default(),
        }
    }

    /// Adds a report; false where no slot is free, and then nothing changed.
    pub fn push_report(&mut self, report: PendingReport) -> bool {
        let Some(free) = self.reports.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        *free = Some(report);
        true
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

    /// Gives the manifest that is worked on.
    #[must_use]
    pub fn manifest(&self) -> Option<&ManifestRef> {
        match &self.state {
            State::None => None,
            State::Stored(manifest) => Some(manifest),
            State::Granted(granted) => Some(&granted.manifest),
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
        Self { journal: Journal::new(Region::Record, COPY_BYTES_MAX) }
    }

    /// Reads the newest valid record.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    pub fn load<F: Flash>(&mut self, flash: &mut F) -> Result<Record, RecordError<F::Error>> {
        let mut body = Zeroizing::new([0; COPY_BYTES_MAX]);
        let length = self.journal.load(flash, &mut body)?.ok_or(RecordError::Missing)?;
        decode(&body[..length]).ok_or(RecordError::Foreign)
    }

    /// Writes the record, in one write.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    pub fn save<F: Flash>(&mut self, flash: &mut F, record: &Record) -> Result<(), RecordError<F::Error>> {
        let mut body = Zeroizing::new([0; COPY_BYTES_MAX]);
        let mut e = Encoder::new(Cursor::new(&mut body[..]));
        encode(&mut e, record).map_err(|_| RecordError::TooLong)?;
        let length = e.writer().position();
        Ok(self.journal.store(flash, &body[..length])?)
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

type Out<'a> = Encoder<Cursor<&'a mut [u8]>>;
type EncodeResult = Result<(), minicbor::encode::Error<EndOfSlice>>;

fn encode(e: &mut Out<'_>, record: &Record) -> EncodeResult {
    e.array(13)?.u8(VERSION)?;
    encode_place(e, record.place)?;
    e.bytes(record.seed.expose())?.u16(record.chain_length.get())?.bytes(&record.fork)?;
    e.u64(record.manifest_sequence)?.u64(record.grant_highest)?.u64(record.counter_reserved)?;
    e.u64(record.time_floor)?.u64(record.anchors_edition)?;
    encode_state(e, &record.state)?;
    e.array(REPORTS_MAX as u64)?;
    for report in &record.reports {
        match report {
            None => _ = e.null()?,
            Some(report) => encode_report(e, report)?,
        }
    }
    e.array(2)?.u8(record.outcome.result)?.encode(record.outcome.refused)?;
    Ok(())
}

fn encode_place(e: &mut Out<'_>, place: Place) -> EncodeResult {
    e.array(2)?.u16(place.epoch)?.u16(place.index)?;
    Ok(())
}

fn encode_state(e: &mut Out<'_>, state: &State) -> EncodeResult {
    match state {
        State::None => _ = e.array(0)?,
        State::Stored(manifest) => {
            e.array(1)?;
            encode_manifest(e, manifest)?;
        }
        State::Granted(granted) => {
            e.array(6)?;
            encode_manifest(e, &granted.manifest)?;
            encode_place(e, granted.place)?;
            e.u64(granted.number)?.bytes(granted.grant.as_slice())?.bytes(granted.descriptor.as_slice())?;
            encode_stage(e, &granted.stage)?;
        }
    }
    Ok(())
}

fn encode_manifest(e: &mut Out<'_>, manifest: &ManifestRef) -> EncodeResult {
    e.array(7)?.u8(manifest.half)?.u32(manifest.bytes)?.bytes(&manifest.digest)?;
    e.u64(manifest.sequence)?.bytes(manifest.reference.as_slice())?.bytes(manifest.path.as_slice())?;
    e.bytes(manifest.version.as_slice())?;
    Ok(())
}

fn encode_stage(e: &mut Out<'_>, stage: &Stage) -> EncodeResult {
    match stage {
        Stage::Accepted(progress) => e.array(2)?.u32(progress.frame)?.bytes(&progress.expected)?,
        Stage::Decrypted => e.u8(STAGE_DECRYPTED)?,
        Stage::Trial => e.u8(STAGE_TRIAL)?,
    };
    Ok(())
}

fn encode_report(e: &mut Out<'_>, report: &PendingReport) -> EncodeResult {
    e.array(7)?.bytes(report.bytes.as_slice())?;
    encode_place(e, report.place)?;
    e.u64(report.grant)?.bytes(&report.manifest)?.bytes(report.path.as_slice())?;
    e.u8(report.moment as u8)?.bool(report.confirming)?;
    Ok(())
}

/// Reads what [`encode`] wrote; the CRC has been checked, so anything odd means another version.
fn decode(bytes: &[u8]) -> Option<Record> {
    let d = &mut Decoder::new(bytes);
    array(d, 13)?;
    if d.u8().ok()? != VERSION {
        return None;
    }
    let record = Record {
        place: decode_place(d)?,
        seed: Seed::new(d.bytes().ok()?.try_into().ok()?),
        chain_length: ChainLength::try_from(d.u64().ok()?).ok()?,
        fork: d.bytes().ok()?.try_into().ok()?,
        manifest_sequence: d.u64().ok()?,
        grant_highest: d.u64().ok()?,
        counter_reserved: d.u64().ok()?,
        time_floor: d.u64().ok()?,
        anchors_edition: d.u64().ok()?,
        state: decode_state(d)?,
        reports: decode_reports(d)?,
        outcome: decode_outcome(d)?,
    };
    (d.position() == bytes.len()).then_some(record)
}

fn array(d: &mut Decoder<'_>, length: u64) -> Option<()> {
    (d.array().ok()?? == length).then_some(())
}

fn decode_place(d: &mut Decoder<'_>) -> Option<Place> {
    array(d, 2)?;
    Some(Place { epoch: d.u16().ok()?, index: d.u16().ok()? })
}

fn decode_state(d: &mut Decoder<'_>) -> Option<State> {
    Some(match d.array().ok()?? {
        0 => State::None,
        1 => State::Stored(decode_manifest(d)?),
        6 => State::Granted(Granted {
            manifest: decode_manifest(d)?,
            place: decode_place(d)?,
            number: d.u64().ok()?,
            grant: Bounded::copy_of(d.bytes().ok()?)?,
            descriptor: Bounded::copy_of(d.bytes().ok()?)?,
            stage: decode_stage(d)?,
        }),
        _ => return None,
    })
}

fn decode_manifest(d: &mut Decoder<'_>) -> Option<ManifestRef> {
    array(d, 7)?;
    Some(ManifestRef {
        half: d.u8().ok()?,
        bytes: d.u32().ok()?,
        digest: d.bytes().ok()?.try_into().ok()?,
        sequence: d.u64().ok()?,
        reference: Bounded::copy_of(d.bytes().ok()?)?,
        path: Bounded::copy_of(d.bytes().ok()?)?,
        version: Bounded::copy_of(d.bytes().ok()?)?,
    })
}

fn decode_stage(d: &mut Decoder<'_>) -> Option<Stage> {
    if d.datatype().ok()? == minicbor::data::Type::U8 {
        return match d.u8().ok()? {
            STAGE_DECRYPTED => Some(Stage::Decrypted),
            STAGE_TRIAL => Some(Stage::Trial),
            _ => None,
        };
    }
    array(d, 2)?;
    Some(Stage::Accepted(Progress { frame: d.u32().ok()?, expected: d.bytes().ok()?.try_into().ok()? }))
}

fn decode_reports(d: &mut Decoder<'_>) -> Option<[Option<PendingReport>; REPORTS_MAX]> {
    array(d, REPORTS_MAX as u64)?;
    let mut reports = [const { None }; REPORTS_MAX];
    for report in &mut reports {
        if d.datatype().ok()? == minicbor::data::Type::Null {
            d.null().ok()?;
        } else {
            *report = Some(decode_report(d)?);
        }
    }
    Some(reports)
}

fn decode_report(d: &mut Decoder<'_>) -> Option<PendingReport> {
    array(d, 7)?;
    Some(PendingReport {
        bytes: Bounded::copy_of(d.bytes().ok()?)?,
        place: decode_place(d)?,
        grant: d.u64().ok()?,
        manifest: d.bytes().ok()?.try_into().ok()?,
        path: Bounded::copy_of(d.bytes().ok()?)?,
        moment: Moment::try_from(d.u8().ok()?).ok()?,
        confirming: d.bool().ok()?,
    })
}

fn decode_outcome(d: &mut Decoder<'_>) -> Option<Outcome> {
    array(d, 2)?;
    Some(Outcome { result: d.u8().ok()?, refused: d.decode().ok()? })
}

/// Counters taken from the record at a time, so that a request costs no flash write.
///
/// Source: protocol.md §3, "counter (in steps of 64)".
pub const COUNTER_STEP: u64 = 64;

/// Reports that wait for a receipt. Source: protocol.md §3, "at most two".
pub const REPORTS_MAX: usize = 2;

/// Bytes of a grant: one resource needs about 280 with a short name, 64 more with the longest.
pub const GRANT_BYTES_MAX: usize = 512;

/// Bytes of a descriptor: one delta needs about 565, and paths to the frames.
pub const DESCRIPTOR_BYTES_MAX: usize = 1024;

/// Bytes of a report: about 270 with a short name and manifest URI.
pub const REPORT_BYTES_MAX: usize = 640;

/// Bytes of a request identifier's path; a manifest with a longer one is refused.
pub const PATH_BYTES_MAX: usize = 64;

/// Bytes of the URI that names a manifest; one with a longer one is refused, since reports repeat it.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// The layout of the body. Never reuse a number.
const VERSION: u8 = 1;
const STAGE_DECRYPTED: u8 = 32;
const STAGE_TRIAL: u8 = 33;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use proptest::prelude::*;
    use std::{format, vec};

    fn manifest() -> ManifestRef {
        ManifestRef {
            half: 1,
            bytes: 477,
            digest: [7; 32],
            sequence: u64::MAX,
            reference: Bounded::copy_of(&[b'r'; REFERENCE_BYTES_MAX]).unwrap(),
            path: Bounded::copy_of(&[b'/'; PATH_BYTES_MAX]).unwrap(),
            version: Bounded::copy_of(&[b'1'; VERSION_BYTES_MAX]).unwrap(),
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
            confirming: true,
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
        })
    }

    /// A record in which every part is as long as it may be.
    fn fullest() -> Record {
        let mut record =
            Record::factory(u16::MAX, Seed::new([3; 32]), ChainLength::try_from(4096).unwrap(), u64::MAX);
        record.state = granted(Stage::Accepted(Progress { frame: u32::MAX, expected: [8; 32] }));
        record.reports = [Some(report(REPORT_BYTES_MAX)), Some(report(REPORT_BYTES_MAX))];
        record.outcome = Outcome { result: 8, refused: Some(i64::MIN) };
        for number in [
            &mut record.manifest_sequence,
            &mut record.grant_highest,
            &mut record.counter_reserved,
            &mut record.anchors_edition,
        ] {
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
        for state in
            [State::None, State::Stored(manifest()), granted(Stage::Decrypted), granted(Stage::Trial)]
        {
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
        assert!(!record.push_report(report(1)));
        assert_eq!(record, fullest());
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
        assert!(text.contains("[redacted]") && text.contains("512 of 512 bytes"), "{text}");
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
