//! What became of a grant, as the device tells it.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::{Digest, MessageError, Part, Place, bound, read_version, refuse, whole};
use crate::cbor::{self, EncodeError, Reader};

/// Report: an authenticated `SUIT_Report` and what binds it to its grant.
///
/// The authenticated message within covers the other elements as external data, see [`Report::head`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report<'a> {
    /// Place of the grant.
    pub place: Place<'a>,
    /// Number of the grant; 0: none was given, the manifest was refused.
    pub grant: u64,
    /// What is reported.
    pub moment: Moment,
    /// Makes every report another one.
    pub random: &'a [u8; 16],
    /// COSE message over a `SUIT_Report`: with a MAC under the up key of the place, or signed by the device key.
    pub report: &'a [u8],
}

/// What is reported.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// The new image is decrypted and verified in the spare slot.
    Decrypted = 1,
    /// The new image runs and is confirmed.
    Installed = 2,
    /// The update failed.
    Failed = 3,
}

/// The elements of a report before its last one, encoded; the head byte says 8 elements.
///
/// The external data of the message within are [`super::word::REPORT`] and these bytes.
#[derive(Clone, Copy, Debug)]
pub struct ReportHead {
    bytes: [u8; HEAD_BYTES_MAX],
    length: usize,
}

impl ReportHead {
    /// The encoded elements.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<'a> Report<'a> {
    /// Reads an encoded report.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        whole(bytes, |reader| {
            reader.array_of(ELEMENTS)?;
            read_version(reader)?;
            let report = Self {
                place: Place::read(reader)?,
                grant: reader.uint()?,
                moment: Moment::read(reader)?,
                random: reader.bytes_exact()?,
                report: reader.bytes()?,
            };
            bound(report.report.len() <= REPORT_BYTES_MAX, Part::Report)?;
            Ok(report)
        })
    }

    /// Encodes the elements before the last one, which the message within covers.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] for a place that breaks a bound; one that was decoded does not.
    pub fn head(&self) -> Result<ReportHead, EncodeError> {
        let mut bytes = [0; HEAD_BYTES_MAX];
        let length = cbor::write_into(&Head(self), &mut bytes)?;
        Ok(ReportHead { bytes, length })
    }

    /// SHA-256 of the encoded report: what names it in receipts and in the fork head.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if the report breaks a bound; one that was decoded does not.
    pub fn digest(&self) -> Result<Digest, EncodeError> {
        cbor::digest_of(self)
    }
}

impl<C> Encode<C> for Report<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, context: &mut C) -> Result<(), Error<W::Error>> {
        bound(self.report.len() <= REPORT_BYTES_MAX, Part::Report).map_err(refuse)?;
        Head(self).encode(encoder, context)?;
        encoder.bytes(self.report)?.ok()
    }
}

struct Head<'a>(&'a Report<'a>);

impl<C> Encode<C> for Head<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.array(ELEMENTS as u64)?.u64(super::VERSION)?;
        self.0.place.write(encoder)?;
        encoder.u64(self.0.grant)?.u8(self.0.moment as u8)?.bytes(self.0.random)?.ok()
    }
}

impl Moment {
    fn read(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        match reader.uint()? {
            1 => Ok(Self::Decrypted),
            2 => Ok(Self::Installed),
            3 => Ok(Self::Failed),
            _ => Err(MessageError::Bound(Part::Moment)),
        }
    }
}

impl TryFrom<u8> for Moment {
    type Error = MessageError;

    fn try_from(number: u8) -> Result<Self, MessageError> {
        Self::read(&mut Reader::new(&[number]))
    }
}

/// Elements of a report.
const ELEMENTS: usize = 8;

/// Bytes of the elements before the last: 1 + 1, name 66, epoch and index 6, grant 9, moment 1, random 17.
const HEAD_BYTES_MAX: usize = 101;

/// Bytes of the authenticated `SUIT_Report`: records of 8 components with room for capabilities.
pub const REPORT_BYTES_MAX: usize = 2048;
