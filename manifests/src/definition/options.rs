//! Options of a definition: how the request is to be made, and who may answer.

use super::{DefinitionError, skip_option};
use crate::cbor::{KeyOrder, Kind, Reader};
use crate::cose::PublicKey;
use crate::manifest::read_digest;

/// How the request is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// 1: whether FETCH is preferred to POST.
    pub fetch: bool,
    /// 3: how the request is authenticated: 0 channel, 1 Mac0, 2 Sign1.
    pub authentication: Option<u64>,
    /// 4: most bytes of an inline resource.
    pub inline_bytes_max: Option<u64>,
    /// 5: first and longest wait between requests, in seconds.
    pub retry_s: Option<(u64, u64)>,
    signers: Option<&'a [u8]>,
    manifests: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DefinitionError> {
        let (mut options, mut order) = (Self::default(), KeyOrder::default());
        for _ in 0..reader.map()? {
            match order.next(reader)? {
                1 => options.fetch = up_to(1, reader, 1)? == 1,
                // Not used any more: grants need no nonce, verdicts always have one.
                2 => drop(reader.bool()?),
                3 => options.authentication = Some(up_to(2, reader, 3)?),
                4 => options.inline_bytes_max = Some(reader.uint()?),
                5 => {
                    reader.array_of(2)?;
                    options.retry_s = Some((reader.uint()?, reader.uint()?));
                }
                6 => options.signers = Some(checked_list(reader, |reader| read_signer(reader).map(drop))?),
                7 => options.manifests = Some(checked_list(reader, read_manifest)?),
                other => skip_option(other, reader)?,
            }
        }
        Ok(options)
    }

    /// Tells whether a descriptor may be signed by `key`: option 6 can narrow the distributors down.
    #[must_use]
    pub fn allows_signer(&self, key: &PublicKey) -> bool {
        let Some(signers) = self.signers else {
            return true;
        };
        let mut reader = Reader::new(signers);
        let count = reader.array().unwrap_or(0);
        (0..count).map_while(|_| read_signer(&mut reader).ok()).any(|signer| match signer {
            Signer::Kid(kid) => kid == key.kid(),
            Signer::Key(encoded) => encoded == key.encode(),
        })
    }

    /// Walks over the digests of manifests that a resource of kind 3 may be (option 7).
    pub fn manifests(&self) -> impl Iterator<Item = &'a [u8; 32]> + use<'a> {
        let mut reader = Reader::new(self.manifests.unwrap_or(&[0x80]));
        let count = reader.array().unwrap_or(0);
        (0..count).map_while(move |_| read_digest(&mut reader).ok())
    }
}

enum Signer<'a> {
    Kid(&'a [u8]),
    Key(&'a [u8]),
}

fn read_signer<'a>(reader: &mut Reader<'a>) -> Result<Signer<'a>, DefinitionError> {
    match reader.kind()? {
        Kind::Map => Ok(Signer::Key(reader.item()?)),
        _ => Ok(Signer::Kid(reader.bytes()?)),
    }
}

fn read_manifest(reader: &mut Reader<'_>) -> Result<(), DefinitionError> {
    read_digest(reader).map(drop).map_err(|_| DefinitionError::Option(7))
}

fn up_to(max: u64, reader: &mut Reader<'_>, key: i64) -> Result<u64, DefinitionError> {
    let value = reader.uint()?;
    if value <= max { Ok(value) } else { Err(DefinitionError::Option(key)) }
}

/// Reads a non-empty array whose elements `read` accepts, and gives its bytes.
fn checked_list<'a>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<(), DefinitionError>,
) -> Result<&'a [u8], DefinitionError> {
    let start = reader.position();
    let count = reader.array()?;
    if count == 0 {
        return Err(DefinitionError::Items);
    }
    (0..count).try_for_each(|_| read(reader))?;
    Ok(reader.since(start))
}
