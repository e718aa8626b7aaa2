//! The bytes of the record.

use super::{
    Granted, ManifestRef, Outcome, PendingReport, Place, Progress, REPORTS_MAX, Record, Stage, State,
};
use crate::update::bounded::Bounded;
use bellwether_keys::{ChainLength, Seed};
use bellwether_manifests::message::Moment;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};

pub(super) type Out<'a> = Encoder<Cursor<&'a mut [u8]>>;
type EncodeResult = Result<(), minicbor::encode::Error<EndOfSlice>>;

pub(super) fn encode(e: &mut Out<'_>, record: &Record) -> EncodeResult {
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
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
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

/// The layout of the body. Never reuse a number.
const VERSION: u8 = 1;
const STAGE_DECRYPTED: u8 = 32;
const STAGE_TRIAL: u8 = 33;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
