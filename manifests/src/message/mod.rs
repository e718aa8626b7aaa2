//! Bellwether's own messages, version 1: question, answer, report and receipt.
//!
//! Every type borrows from the bytes it was read from and can be written back to exactly these bytes. Reading is
//! strict: deterministic CBOR, known version, bounded counts; a positive option that is not known refuses the
//! message, a negative one is skipped (but written back). What is read here is *not verified*: whoever believes a
//! message gets it from the code that checked its MAC or signature.

pub mod algorithm;
pub mod answer;
pub mod bundle;
pub mod descriptor;
pub mod grant;
pub mod list;
pub mod options;
mod part;
pub mod peek;
pub mod place;
#[cfg(feature = "alloc")]
pub mod predict;
pub mod receipt;
pub mod report;
pub mod request;
pub mod selector;
pub mod verdict;

use minicbor::encode::{Encoder, Error, Write};
use thiserror::Error;

use crate::cbor::{self, CborError, Kind, Reader, told};

pub use answer::Answer;
pub use bundle::{Bundle, Policy};
pub use descriptor::{Chain, Descriptor, Patch, Resource, ResourceKind};
pub use grant::{Confirm, Grant, GrantOptions, GrantedResource, Wrapped};
pub use list::List;
pub use options::Skipped;
pub use part::Part;
pub use peek::Peek;
pub use place::Place;
pub use receipt::Receipt;
pub use report::{Moment, Report};
pub use request::{RequestOptions, UpdateRequest};
pub use selector::{Answers, ScopeAnswers, Selector, StableAnswers};
pub use verdict::{Detail, Later, Verdict, Window};

/// SHA-256 digest.
pub type Digest = [u8; 32];

/// Why bytes are not a message of this version, or a message must not be written.
///
/// Of four bytes, since it goes through many hands on a small device: a number past 65,535 is told as that.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not the deterministic CBOR that was expected. Drop the message.
    #[error("message is not the expected deterministic CBOR")]
    Cbor(#[from] CborError),
    /// The sender speaks another version.
    #[error("version {0} is not known")]
    Version(u16),
    /// Another kind of message, or a kind that is not known.
    #[error("kind {0} is not expected")]
    Kind(u16),
    /// An option that must be understood is not.
    #[error("option {0} is not known")]
    UnknownOption(u16),
    /// A value is outside what the structure allows.
    #[error("{0} is out of its bounds")]
    Bound(Part),
}

/// Reads the version, the first element of every message.
pub(crate) fn read_version(reader: &mut Reader<'_>) -> Result<(), MessageError> {
    match reader.uint()? {
        VERSION => Ok(()),
        other => Err(MessageError::Version(told(other))),
    }
}

/// Reads a value with `read` and refuses bytes after it.
pub(crate) fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, MessageError>,
) -> Result<T, MessageError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Reads any map that stands for a `COSE_Key`; its parameters are for who uses the key to check.
pub(crate) fn read_key<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], MessageError> {
    if reader.kind()? != Kind::Map {
        return Err(CborError::Type.into());
    }
    let key = reader.item()?;
    if key.len() > KEY_BYTES_MAX { Err(MessageError::Bound(Part::Key)) } else { Ok(key) }
}

/// Writes a `COSE_Key` that is encoded already, if it would be read back.
pub(crate) fn write_key<W: Write>(encoder: &mut Encoder<W>, key: &[u8]) -> Result<(), Error<W::Error>> {
    match whole(key, read_key) {
        Ok(key) => cbor::write_raw(encoder, key),
        Err(error) => Err(refuse(error)),
    }
}

/// Turns the breach of a bound into an error of the encoder.
pub(crate) fn refuse<E>(_: MessageError) -> Error<E> {
    Error::message("value breaks a bound of its structure")
}

/// `Ok` if `holds`, else the bound of `part` is broken.
pub(crate) const fn bound(holds: bool, part: Part) -> Result<(), MessageError> {
    if holds { Ok(()) } else { Err(MessageError::Bound(part)) }
}

/// Version of all messages here.
pub const VERSION: u64 = 1;

/// Bytes of a `COSE_Key` in an option. A P-256 key takes 75, one with key id and operations less than 150.
pub const KEY_BYTES_MAX: usize = 256;

/// Words that keep the kinds apart: they start the external data of every MAC and signature.
pub mod word {
    /// Followed by the request identifier as in the manifest, without `cd=`.
    pub const REQUEST: &[u8] = b"bw1 request";
    /// Followed by the bytes of the report before its last element.
    pub const REPORT: &[u8] = b"bw1 report";
    /// Descriptor.
    pub const DESCRIPTOR: &[u8] = b"bw1 descriptor";
    /// Grant.
    pub const GRANT: &[u8] = b"bw1 grant";
    /// Verdict.
    pub const VERDICT: &[u8] = b"bw1 verdict";
    /// Receipt.
    pub const RECEIPT: &[u8] = b"bw1 receipt";
    /// Bundle for gateways and carriers.
    pub const BUNDLE: &[u8] = b"bw1 bundle";
    /// Anchors.
    pub const ANCHORS: &[u8] = b"bw1 anchors";
}

/// CoAP Content-Formats, from the range for experiments (RFC 7252 §12.3). Never reorder.
pub mod content_format {
    /// Update request.
    pub const REQUEST: u16 = 65100;
    /// Answer: grant or verdict, and descriptor.
    pub const ANSWER: u16 = 65101;
    /// Descriptor alone.
    pub const DESCRIPTOR: u16 = 65102;
    /// Report.
    pub const REPORT: u16 = 65103;
    /// Receipt.
    pub const RECEIPT: u16 = 65104;
    /// Bundle for gateways and carriers.
    pub const BUNDLE: u16 = 65105;
    /// Anchors.
    pub const ANCHORS: u16 = 65106;
}
