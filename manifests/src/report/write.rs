//! Writing a report, without allocating.

use super::{
    COMPONENT, Claims, DIGEST, ENTRIES, Entry, NONCE, Outcome, REFERENCE, RESULT, RESULT_CODE, RESULT_REASON,
    RESULT_RECORD, Record, ReportDraft, SIZE, VERSION,
};
use crate::cbor::write_raw;
use crate::manifest::SHA_256;
use minicbor::encode::{Encode, Error, Write};
use minicbor::{Encoder, data::Int};

impl<C> Encode<C> for ReportDraft<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.map(3 + u64::from(self.nonce.is_some()))?;
        if let Some(nonce) = self.nonce {
            key(encoder, NONCE)?.bytes(nonce)?;
        }
        key(encoder, ENTRIES)?.array(self.entries.len() as u64)?;
        for entry in self.entries {
            match entry {
                Entry::Claims(claims) => write_claims(encoder, claims)?,
                Entry::Record(record) => write_record(encoder, record)?,
            }
        }
        key(encoder, RESULT)?;
        write_outcome(encoder, &self.outcome)?;
        key(encoder, REFERENCE)?.array(2)?.str(self.manifest_uri)?;
        write_digest(encoder, self.manifest)
    }
}

fn write_claims<W: Write>(encoder: &mut Encoder<W>, claims: &Claims<'_>) -> Result<(), Error<W::Error>> {
    let present = [claims.digest.is_some(), claims.size.is_some(), claims.version.is_some()];
    encoder.map(1 + present.iter().map(|present| u64::from(*present)).sum::<u64>())?;
    key(encoder, COMPONENT)?;
    write_raw(encoder, claims.component.encoded())?;
    if let Some(digest) = claims.digest {
        write_embedded_digest(encoder, digest)?;
    }
    if let Some(size) = claims.size {
        key(encoder, SIZE)?.u64(size)?;
    }
    if let Some(version) = claims.version {
        key(encoder, VERSION)?.bytes(version)?;
    }
    Ok(())
}

fn write_record<W: Write>(encoder: &mut Encoder<W>, record: &Record<'_>) -> Result<(), Error<W::Error>> {
    encoder.array(5)?.array(0)?.i64(record.section)?.u64(record.offset)?.u64(record.component)?;
    encoder.map(u64::from(record.digest.is_some()))?;
    match record.digest {
        Some(digest) => write_embedded_digest(encoder, digest),
        None => Ok(()),
    }
}

fn write_outcome<W: Write>(encoder: &mut Encoder<W>, outcome: &Outcome<'_>) -> Result<(), Error<W::Error>> {
    match outcome {
        Outcome::Success => encoder.bool(true).map(drop),
        Outcome::Failure { code, record, reason } => {
            key(encoder.map(3)?, RESULT_CODE)?.i64(*code)?;
            key(encoder, RESULT_RECORD)?;
            write_record(encoder, record)?;
            key(encoder, RESULT_REASON)?.u8(reason.code()).map(drop)
        }
    }
}

fn write_embedded_digest<W: Write>(
    encoder: &mut Encoder<W>,
    digest: &[u8; 32],
) -> Result<(), Error<W::Error>> {
    // [-16, h'…']: 4 bytes of heads before the digest.
    key(encoder, DIGEST)?.bytes_len(4 + 32)?;
    write_digest(encoder, digest)
}

fn write_digest<W: Write>(encoder: &mut Encoder<W>, digest: &[u8; 32]) -> Result<(), Error<W::Error>> {
    encoder.array(2)?.i64(SHA_256)?.bytes(digest).map(drop)
}

fn key<W: Write>(encoder: &mut Encoder<W>, key: i64) -> Result<&mut Encoder<W>, Error<W::Error>> {
    encoder.int(Int::from(key))
}
