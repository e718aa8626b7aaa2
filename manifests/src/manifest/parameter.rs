//! Parameters that commands set. An unknown one makes the manifest invalid.
//!
//! Source: draft-ietf-suit-manifest-37 §8.4.8; 4, 27 and 28 from draft-ietf-suit-update-management; -257 is our own.

use super::{ManifestError, read_digest};
use crate::cbor::{KeyOrder, Reader};
use crate::version::VersionMatch;

/// Label of the characteristic definition (profile P), our own private parameter.
pub const CHARACTERISTICS: i64 = -257;
/// Label of the fetch arguments, which carry the definition in profile S.
pub const FETCH_ARGUMENTS: i64 = 25;

/// One parameter and its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parameter<'a> {
    /// 1: `UUIDv5` of the vendor's domain.
    VendorId(&'a [u8; 16]),
    /// 2: `UUIDv5` of the class within the vendor.
    ClassId(&'a [u8; 16]),
    /// 3: SHA-256 of the installed image.
    ImageDigest(&'a [u8; 32]),
    /// 4: seconds since 1970 after which the manifest must not be used.
    UseBefore(u64),
    /// 5: slot that the component must be in.
    ComponentSlot(u64),
    /// 12: whether commands must be run in order. They always are.
    StrictOrder(bool),
    /// 13: whether a failed condition only ends the sequence.
    SoftFailure(bool),
    /// 14: bytes of the installed image.
    ImageSize(u64),
    /// 21: resource request identifier.
    Uri(&'a str),
    /// 24: UUID of one device.
    DeviceId(&'a [u8; 16]),
    /// 25: arguments for fetch; a map with the characteristic definition under 1 (profile S).
    FetchArguments(&'a [u8]),
    /// 27: how urgent the update is; smaller is more urgent. No condition looks at it here.
    UpdatePriority(i64),
    /// 28: version of the installed image, or what one is compared with. No condition looks at it here.
    Version(VersionMatch<'a>),
    /// -257: characteristic definition (profile P).
    Characteristics(&'a [u8]),
}

/// The pairs of one override-parameters directive.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    reader: Reader<'a>,
    order: KeyOrder,
    left: usize,
}

impl<'a> Parameters<'a> {
    /// Takes the encoded map, which the reader of the command walked over.
    pub(super) fn new(map: &'a [u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(map);
        let left = reader.map()?;
        Ok(Self { reader, order: KeyOrder::default(), left })
    }

    fn read(&mut self) -> Result<Parameter<'a>, ManifestError> {
        let reader = &mut self.reader;
        Ok(match self.order.next(reader)? {
            1 => Parameter::VendorId(reader.bytes_exact()?),
            2 => Parameter::ClassId(reader.bytes_exact()?),
            3 => Parameter::ImageDigest(embedded_digest(reader.bytes()?)?),
            4 => Parameter::UseBefore(reader.uint()?),
            5 => Parameter::ComponentSlot(reader.uint()?),
            12 => Parameter::StrictOrder(reader.bool()?),
            13 => Parameter::SoftFailure(reader.bool()?),
            14 => Parameter::ImageSize(reader.uint()?),
            21 => Parameter::Uri(reader.text()?),
            24 => Parameter::DeviceId(reader.bytes_exact()?),
            FETCH_ARGUMENTS => Parameter::FetchArguments(reader.bytes()?),
            27 => Parameter::UpdatePriority(reader.int()?),
            28 => Parameter::Version(VersionMatch::parse(reader.bytes()?)?),
            CHARACTERISTICS => Parameter::Characteristics(reader.bytes()?),
            other => return Err(ManifestError::Parameter(other)),
        })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

fn embedded_digest(bytes: &[u8]) -> Result<&[u8; 32], ManifestError> {
    let mut reader = Reader::new(bytes);
    let digest = read_digest(&mut reader)?;
    reader.finish()?;
    Ok(digest)
}
