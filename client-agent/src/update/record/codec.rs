//! The bytes of the record.
//!
//! Version 1 had neither share nor keys of a place that was passed, and told of a report only whether it moved the
//! place; versions 1 and 2 had one component. They are still read, since devices in the field have them.

use super::{
    Granted, ManifestRef, Outcome, Part, PassedKeys, PendingReport, Place, Progress, REPORTS_MAX, Record,
    Stage, State,
};
use crate::update::bounded::Bounded;
use crate::update::facts::COMPONENTS_MAX;
use bellwether_keys::share::PrivateShare;
use bellwether_keys::{ChainLength, Secret, Seed};
use bellwether_manifests::cbor::{Full, Kind, Reader, Sink};
use bellwether_manifests::message::Moment;
use minicbor::Encoder;

pub(super) type Out<'a> = Encoder<Sink<'a>>;
type EncodeResult = Result<(), minicbor::encode::Error<Full>>;

pub(super) fn encode(e: &mut Out<'_>, record: &Record) -> EncodeResult {
    e.array(14)?.u8(VERSION)?;
    encode_place(e, record.place)?;
    e.bytes(record.seed.expose())?.u16(record.chain_length.get())?.bytes(&record.fork)?;
    e.array(COMPONENTS_MAX as u64)?;
    for sequence in record.manifest_sequences {
        e.u64(sequence)?;
    }
    e.u64(record.grant_highest)?.u64(record.counter_reserved)?;
    e.u64(record.time_floor)?.u64(record.anchors_edition)?;
    encode_secret(e, record.share.as_ref().map(PrivateShare::expose))?;
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

fn encode_secret(e: &mut Out<'_>, secret: Option<&[u8; 32]>) -> EncodeResult {
    match secret {
        None => e.null()?,
        Some(secret) => e.bytes(secret)?,
    };
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
            e.array(8)?;
            encode_manifest(e, &granted.manifest)?;
            encode_place(e, granted.place)?;
            e.u64(granted.number)?.bytes(granted.grant.as_slice())?.bytes(granted.descriptor.as_slice())?;
            encode_stage(e, &granted.stage)?;
            encode_secret(e, granted.keys.as_ref().map(|keys| keys.up.expose()))?;
            encode_secret(e, granted.keys.as_ref().map(|keys| keys.down.expose()))?;
        }
    }
    Ok(())
}

fn encode_manifest(e: &mut Out<'_>, manifest: &ManifestRef) -> EncodeResult {
    e.array(7)?.u8(manifest.half)?.u32(manifest.bytes)?.bytes(&manifest.digest)?;
    e.u64(manifest.sequence)?.bytes(manifest.reference.as_slice())?.bytes(manifest.path.as_slice())?;
    e.array(COMPONENTS_MAX as u64)?;
    for part in &manifest.parts {
        match part {
            None => e.null()?,
            Some(part) => e.array(2)?.u32(part.index)?.bytes(part.version.as_slice())?,
        };
    }
    Ok(())
}

fn encode_stage(e: &mut Out<'_>, stage: &Stage) -> EncodeResult {
    match stage {
        Stage::Accepted(progress) => {
            e.array(3)?.u8(progress.resource)?.u32(progress.frame)?.bytes(&progress.expected)?
        }
        Stage::Decrypted => e.u8(STAGE_DECRYPTED)?,
        Stage::Executed => e.u8(STAGE_EXECUTED)?,
        Stage::Trial => e.u8(STAGE_TRIAL)?,
    };
    Ok(())
}

fn encode_report(e: &mut Out<'_>, report: &PendingReport) -> EncodeResult {
    e.array(8)?.bytes(report.bytes.as_slice())?;
    encode_place(e, report.place)?;
    e.u64(report.grant)?.bytes(&report.manifest)?.bytes(report.path.as_slice())?;
    e.u8(report.moment as u8)?;
    match report.led_to {
        None => _ = e.null()?,
        Some(place) => encode_place(e, place)?,
    }
    encode_secret(e, report.receipt_key.as_ref().map(Secret::expose))
}

/// Reads what [`encode`] wrote, of this version or one before, in place; the CRC has been checked, so anything odd means a
/// later version, and the record is then of no use.
pub(super) fn decode_into(record: &mut Record, bytes: &[u8]) -> Option<()> {
    let d = &mut Reader::new(bytes);
    let elements = d.array().ok()?;
    let version = match (d.u8().ok()?, elements) {
        (VERSION, 14) => Version::Current,
        (VERSION_2, 14) => Version::Second,
        (VERSION_1, 13) => Version::First,
        _ => return None,
    };
    record.place = decode_place(d)?;
    record.seed = Seed::new(*d.bytes_exact().ok()?);
    record.chain_length = ChainLength::try_from(d.uint().ok()?).ok()?;
    record.fork = *d.bytes_exact().ok()?;
    record.manifest_sequences = decode_sequences(d, version)?;
    record.grant_highest = d.uint().ok()?;
    record.counter_reserved = d.uint().ok()?;
    record.time_floor = d.uint().ok()?;
    record.anchors_edition = d.uint().ok()?;
    record.share = match version {
        Version::First => None,
        Version::Second | Version::Current => match decode_secret(d)? {
            None => None,
            Some(secret) => Some(PrivateShare::from_random(*secret.expose()).ok()?),
        },
    };
    decode_state(d, version, record)?;
    decode_reports(d, version, record)?;
    record.outcome = decode_outcome(d)?;
    d.finish().ok()
}

/// Which layout is read.
#[derive(Clone, Copy)]
enum Version {
    First,
    Second,
    Current,
}

/// Reads an array with an element for each component; a program that has more of them wrote more.
fn by_component<T>(
    d: &mut Reader<'_>,
    into: &mut [T; COMPONENTS_MAX],
    mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
) -> Option<()> {
    let count = d.array().ok()?;
    for element in into.get_mut(..count)? {
        *element = read(d)?;
    }
    Some(())
}

fn decode_sequences(d: &mut Reader<'_>, version: Version) -> Option<[u64; COMPONENTS_MAX]> {
    let mut sequences = [0; COMPONENTS_MAX];
    match version {
        Version::First | Version::Second => sequences[0] = d.uint().ok()?,
        Version::Current => by_component(d, &mut sequences, |d| d.uint().ok())?,
    }
    Some(sequences)
}

#[expect(clippy::option_option, reason = "the outer tells of a later version, the inner of no secret")]
fn decode_secret(d: &mut Reader<'_>) -> Option<Option<Secret<32>>> {
    if d.nil().ok()? {
        return Some(None);
    }
    Some(Some(Secret::new(*d.bytes_exact().ok()?)))
}

fn array(d: &mut Reader<'_>, length: usize) -> Option<()> {
    d.array_of(length).ok()
}

fn decode_place(d: &mut Reader<'_>) -> Option<Place> {
    array(d, 2)?;
    Some(Place { epoch: d.u16().ok()?, index: d.u16().ok()? })
}

fn decode_state(d: &mut Reader<'_>, version: Version, record: &mut Record) -> Option<()> {
    let elements = d.array().ok()?;
    record.state = match elements {
        0 => State::None,
        _ => State::Stored(decode_manifest(d, version)?),
    };
    match (elements, version) {
        (0 | 1, _) => Some(()),
        (6, Version::First) | (8, Version::Second | Version::Current) => {
            decode_granted(d, version, record.open_grant()?)
        }
        _ => None,
    }
}

/// Reads what a grant has beside its manifest.
fn decode_granted(d: &mut Reader<'_>, version: Version, granted: &mut Granted) -> Option<()> {
    granted.place = decode_place(d)?;
    granted.number = d.uint().ok()?;
    granted.grant.set(d.bytes().ok()?)?;
    granted.descriptor.set(d.bytes().ok()?)?;
    granted.stage = decode_stage(d, version)?;
    granted.keys = match version {
        Version::First => None,
        Version::Second | Version::Current => decode_keys(d)?,
    };
    Some(())
}

#[expect(clippy::option_option, reason = "the outer tells of a later version, the inner of no keys")]
fn decode_keys(d: &mut Reader<'_>) -> Option<Option<PassedKeys>> {
    Some(match (decode_secret(d)?, decode_secret(d)?) {
        (None, None) => None,
        (Some(up), Some(down)) => Some(PassedKeys { up, down }),
        _ => return None,
    })
}

fn decode_manifest(d: &mut Reader<'_>, version: Version) -> Option<ManifestRef> {
    array(d, 7)?;
    Some(ManifestRef {
        half: d.u8().ok()?,
        bytes: d.u32().ok()?,
        digest: *d.bytes_exact().ok()?,
        sequence: d.uint().ok()?,
        reference: Bounded::copy_of(d.bytes().ok()?)?,
        path: Bounded::copy_of(d.bytes().ok()?)?,
        parts: decode_parts(d, version)?,
    })
}

fn decode_parts(d: &mut Reader<'_>, version: Version) -> Option<[Option<Part>; COMPONENTS_MAX]> {
    let mut parts = [const { None }; COMPONENTS_MAX];
    match version {
        Version::First | Version::Second => {
            parts[0] = Some(Part { index: 0, version: Bounded::copy_of(d.bytes().ok()?)? });
        }
        Version::Current => by_component(d, &mut parts, decode_part)?,
    }
    Some(parts)
}

#[expect(
    clippy::option_option,
    reason = "the outer tells of a later version, the inner of nothing for a component"
)]
fn decode_part(d: &mut Reader<'_>) -> Option<Option<Part>> {
    if d.nil().ok()? {
        return Some(None);
    }
    array(d, 2)?;
    Some(Some(Part { index: d.u32().ok()?, version: Bounded::copy_of(d.bytes().ok()?)? }))
}

fn decode_stage(d: &mut Reader<'_>, version: Version) -> Option<Stage> {
    if d.kind().ok()? == Kind::Uint {
        return match d.u8().ok()? {
            STAGE_DECRYPTED => Some(Stage::Decrypted),
            STAGE_EXECUTED => Some(Stage::Executed),
            STAGE_TRIAL => Some(Stage::Trial),
            _ => None,
        };
    }
    let resource = match version {
        Version::First | Version::Second => {
            array(d, 2)?;
            0
        }
        Version::Current => {
            array(d, 3)?;
            d.u8().ok()?
        }
    };
    let (frame, expected) = (d.u32().ok()?, *d.bytes_exact().ok()?);
    Some(Stage::Accepted(Progress { resource, frame, expected }))
}

fn decode_reports(d: &mut Reader<'_>, version: Version, record: &mut Record) -> Option<()> {
    array(d, REPORTS_MAX)?;
    record.reports = [const { None }; REPORTS_MAX];
    let mut is_last = false;
    for _ in 0..REPORTS_MAX {
        if d.nil().ok()? {
            is_last = true;
        } else if is_last {
            // They are kept without gaps.
            return None;
        } else {
            decode_report(d, version, record.new_report()?)?;
        }
    }
    Some(())
}

fn decode_report(d: &mut Reader<'_>, version: Version, report: &mut PendingReport) -> Option<()> {
    array(d, if matches!(version, Version::First) { 7 } else { 8 })?;
    report.bytes.set(d.bytes().ok()?)?;
    report.place = decode_place(d)?;
    report.grant = d.uint().ok()?;
    report.manifest = *d.bytes_exact().ok()?;
    report.path.set(d.bytes().ok()?)?;
    report.moment = Moment::try_from(d.u8().ok()?).ok()?;
    report.led_to = decode_led_to(d, version, report.place)?;
    report.receipt_key = match version {
        Version::First => None,
        Version::Second | Version::Current => decode_secret(d)?,
    };
    Some(())
}

/// A program that wrote version 1 did not re-seed: its confirming reports led to the next index.
#[expect(clippy::option_option, reason = "the outer tells of a later version, the inner of no place")]
fn decode_led_to(d: &mut Reader<'_>, version: Version, from: Place) -> Option<Option<Place>> {
    Some(match version {
        Version::First => {
            let next = Place { index: from.index.saturating_add(1), ..from };
            d.bool().ok()?.then_some(next)
        }
        Version::Second | Version::Current if d.nil().ok()? => None,
        Version::Second | Version::Current => Some(decode_place(d)?),
    })
}

fn decode_outcome(d: &mut Reader<'_>) -> Option<Outcome> {
    array(d, 2)?;
    let result = d.u8().ok()?;
    let refused = if d.nil().ok()? { None } else { Some(d.int().ok()?) };
    Some(Outcome { result, refused })
}

/// The layout of the body. Never reuse a number.
const VERSION: u8 = 3;
const VERSION_2: u8 = 2;
const VERSION_1: u8 = 1;
const STAGE_DECRYPTED: u8 = 32;
const STAGE_TRIAL: u8 = 33;
const STAGE_EXECUTED: u8 = 34;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Into a record that was full of something else.
    fn decode(bytes: &[u8]) -> Option<Record> {
        let mut record = super::super::tests::fullest();
        decode_into(&mut record, bytes)?;
        Some(record)
    }

    /// Written by the first program: a grant being fetched, and two reports of its place, of which the first moved it.
    const FIRST: &[u8] = include_bytes!("vectors/version-1.cbor");

    /// Written by the second one: the same, with a share and with keys of places that were passed.
    const SECOND: &[u8] = include_bytes!("vectors/version-2.cbor");

    #[test]
    fn record_of_version_1_is_read() {
        let record = decode(FIRST).unwrap();
        assert_eq!(record.place, Place { epoch: u16::MAX, index: 0 });
        assert_eq!((record.seed, record.share), (Seed::new([3; 32]), None));
        let State::Granted(granted) = record.state else { panic!("{:?}", record.state) };
        assert_eq!(
            (granted.grant.as_slice(), granted.descriptor.as_slice()),
            (&b"grant"[..], &b"descriptor"[..])
        );
        assert_eq!(
            granted.stage,
            Stage::Accepted(Progress { resource: 0, frame: u32::MAX, expected: [8; 32] })
        );
        assert_eq!((granted.manifest.path.as_text(), granted.keys), ("/u", None));
        let reports = record.reports.map(Option::unwrap);
        assert_eq!(reports[0].led_to, Some(Place { epoch: 1, index: 1024 }));
        assert_eq!((reports[1].led_to, reports[1].moment), (None, Moment::Decrypted));
        assert!(reports.iter().all(|report| report.receipt_key.is_none()));
        assert_eq!((record.outcome.result, record.outcome.refused), (8, Some(i64::MIN)));
    }

    #[test]
    fn record_of_version_2_is_read_as_one_of_a_device_with_one_component() {
        let record = decode(SECOND).unwrap();
        assert_eq!(record.manifest_sequences, core::array::from_fn(|at| if at == 0 { 77 } else { 0 }));
        assert!(record.share.is_some());
        let State::Granted(granted) = record.state else { panic!("{:?}", record.state) };
        assert_eq!(
            granted.stage,
            Stage::Accepted(Progress { resource: 0, frame: u32::MAX, expected: [8; 32] })
        );
        let [Some(part), rest @ ..] = &granted.manifest.parts else { panic!("no part") };
        assert_eq!((part.index, part.version.as_text()), (0, "2.0.0"));
        assert!(rest.iter().all(Option::is_none));
        assert!(granted.keys.is_some());
        let reports = record.reports.map(Option::unwrap);
        assert_eq!(reports[0].led_to, Some(Place { epoch: u16::MAX, index: u16::MAX }));
        assert_eq!((reports[1].led_to, reports[1].moment), (None, Moment::Decrypted));
        assert!(reports[0].receipt_key.is_some() && reports[1].receipt_key.is_none());
    }

    #[test]
    fn record_of_a_later_version_is_not_read() {
        for before in [FIRST, SECOND] {
            let mut later = before.to_vec();
            later[1] = VERSION + 1;
            assert_eq!(decode(&later), None);
        }
        // The elements of one version under the number of another.
        for (before, number) in [(FIRST, 2), (FIRST, 3), (SECOND, 1), (SECOND, 3)] {
            let mut other = before.to_vec();
            other[1] = number;
            assert_eq!(decode(&other), None);
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
