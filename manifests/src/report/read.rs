//! Reading a report.

use super::{
    CAPABILITIES, COMPONENT, Claims, DIGEST, ENTRIES, Entry, NONCE, Outcome, REFERENCE, RESULT, RESULT_CODE,
    RESULT_REASON, RESULT_RECORD, Reason, Record, ReportError, SIZE, SuitReport, VERSION,
};
use crate::cbor::{CborError, KeyOrder, Kind, Reader};
use crate::manifest::{ComponentId, ManifestError, read_digest};

impl<'a> SuitReport<'a> {
    /// Reads a report.
    ///
    /// # Errors
    ///
    /// [`ReportError`]; a negative key that is not known is skipped, a positive one is an error.
    pub fn parse(report: &'a [u8]) -> Result<Self, ReportError> {
        let (mut reference, mut nonce, mut entries, mut outcome) = (None, None, None, None);
        let (mut reader, mut order) = (Reader::new(report), KeyOrder::default());
        for _ in 0..reader.map()? {
            match order.next(&mut reader)? {
                NONCE => nonce = Some(reader.bytes()?),
                ENTRIES => entries = Some(read_entries(&mut reader)?),
                RESULT => outcome = Some(read_outcome(&mut reader)?),
                // Told by the device in its answers; nothing here looks at it.
                CAPABILITIES => drop(reader.item()?),
                REFERENCE => reference = Some(read_reference(&mut reader)?),
                other => skip(other, &mut reader)?,
            }
        }
        reader.finish()?;
        let (manifest_uri, manifest) = reference.ok_or(ReportError::Missing(REFERENCE))?;
        let (entry_count, entries) = entries.ok_or(ReportError::Missing(ENTRIES))?;
        let outcome = outcome.ok_or(ReportError::Missing(RESULT))?;
        Ok(Self { manifest_uri, manifest, nonce, outcome, entries, entry_count })
    }

    /// Walks over claims and records.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut reader = Reader::new(self.entries);
        (0..self.entry_count).map_while(move |_| read_entry(&mut reader).ok())
    }

    /// Walks over the claims: what the components are now.
    pub fn claims(&self) -> impl Iterator<Item = Claims<'a>> + use<'a> {
        self.entries().filter_map(|entry| match entry {
            Entry::Claims(claims) => Some(claims),
            Entry::Record(_) => None,
        })
    }
}

fn skip(key: i64, reader: &mut Reader<'_>) -> Result<(), ReportError> {
    if key >= 0 {
        return Err(ReportError::Key(key));
    }
    reader.item()?;
    Ok(())
}

fn read_reference<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a [u8; 32]), ReportError> {
    reader.array_of(2)?;
    Ok((reader.text()?, digest(reader)?))
}

fn digest<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 32], ReportError> {
    read_digest(reader).map_err(|error| match error {
        ManifestError::Cbor(error) => ReportError::Cbor(error),
        _ => ReportError::DigestAlgorithm,
    })
}

fn embedded_digest(bytes: &[u8]) -> Result<&[u8; 32], ReportError> {
    let mut reader = Reader::new(bytes);
    let digest = digest(&mut reader)?;
    reader.finish()?;
    Ok(digest)
}

fn read_entries<'a>(reader: &mut Reader<'a>) -> Result<(usize, &'a [u8]), ReportError> {
    let count = reader.array()?;
    let start = reader.position();
    for _ in 0..count {
        read_entry(reader)?;
    }
    Ok((count, reader.since(start)))
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, ReportError> {
    match reader.kind()? {
        Kind::Map => read_claims(reader).map(Entry::Claims),
        _ => read_record(reader).map(Entry::Record),
    }
}

fn read_claims<'a>(reader: &mut Reader<'a>) -> Result<Claims<'a>, ReportError> {
    let (mut order, mut component) = (KeyOrder::default(), None);
    let (mut digest, mut size, mut version) = (None, None, None);
    for _ in 0..reader.map()? {
        match order.next(reader)? {
            COMPONENT => component = Some(ComponentId::read(reader)?),
            DIGEST => digest = Some(embedded_digest(reader.bytes()?)?),
            SIZE => size = Some(reader.uint()?),
            VERSION => version = Some(reader.bytes()?),
            // Any other property may be claimed; none is looked at.
            _ => drop(reader.item()?),
        }
    }
    let component = component.ok_or(ReportError::Missing(COMPONENT))?;
    Ok(Claims { component, digest, size, version })
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, ReportError> {
    reader.array_of(5)?;
    // The path to a dependency; ours have none.
    for _ in 0..reader.array()? {
        reader.uint()?;
    }
    let (section, offset, component) = (reader.int()?, reader.uint()?, reader.uint()?);
    let (mut order, mut digest) = (KeyOrder::default(), None);
    for _ in 0..reader.map()? {
        match order.next(reader)? {
            DIGEST => digest = Some(embedded_digest(reader.bytes()?)?),
            _ => drop(reader.item()?),
        }
    }
    Ok(Record { section, offset, component, digest })
}

fn read_outcome<'a>(reader: &mut Reader<'a>) -> Result<Outcome<'a>, ReportError> {
    if reader.kind()? == Kind::Bool {
        return if reader.bool()? { Ok(Outcome::Success) } else { Err(CborError::Type.into()) };
    }
    let (mut order, mut code, mut record, mut reason) = (KeyOrder::default(), None, None, None);
    for _ in 0..reader.map()? {
        match order.next(reader)? {
            RESULT_CODE => code = Some(reader.int()?),
            RESULT_RECORD => record = Some(read_record(reader)?),
            RESULT_REASON => reason = Some(read_reason(reader)?),
            other => skip(other, reader)?,
        }
    }
    Ok(Outcome::Failure {
        code: code.ok_or(ReportError::Missing(RESULT_CODE))?,
        record: record.ok_or(ReportError::Missing(RESULT_RECORD))?,
        reason: reason.ok_or(ReportError::Missing(RESULT_REASON))?,
    })
}

fn read_reason(reader: &mut Reader<'_>) -> Result<Reason, ReportError> {
    let code = reader.uint()?;
    match Reason::from_code(code) {
        Some(Reason::Ok) | None => Err(ReportError::Reason(code)),
        Some(reason) => Ok(reason),
    }
}
