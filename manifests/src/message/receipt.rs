//! The server's authenticated acknowledgement of a report.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::{Digest, MessageError, Place, read_version, whole};

/// Receipt: with a MAC under the down key of the report's place. The same report always gets the same bytes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt<'a> {
    /// Place of the report.
    pub place: Place<'a>,
    /// SHA-256 of the encoded report.
    pub report: &'a Digest,
    /// Time of the server, seconds since 1970.
    pub now: u64,
}

impl<'a> Receipt<'a> {
    /// Reads the payload of a receipt.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        whole(bytes, |reader| {
            reader.array_of(6)?;
            read_version(reader)?;
            Ok(Self { place: Place::read(reader)?, report: reader.bytes_exact()?, now: reader.uint()? })
        })
    }
}

impl<C> Encode<C> for Receipt<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.array(6)?.u64(super::VERSION)?;
        self.place.write(encoder)?;
        encoder.bytes(self.report)?.u64(self.now)?.ok()
    }
}
