//! What a message says about its key, before anything is verified.

use super::{MessageError, Place, read_version, whole};
use crate::cbor::{CborError, Kind, Reader, told};

/// What stands at the beginning of a message. **Not verified**: good for choosing the key and nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peek<'a> {
    /// Kind of an answer: 0 grant, 1 to 8 verdict; `None` for the other messages, which have none.
    pub kind: Option<u64>,
    /// The key that the message claims to be under.
    pub place: Place<'a>,
}

/// Peeks into an attached COSE message: request, grant, verdict or receipt, with a MAC or signed.
///
/// # Errors
///
/// [`MessageError`] if there is no version 1 message with a place.
pub fn peek_cose(message: &[u8]) -> Result<Peek<'_>, MessageError> {
    peek(attached_payload(message)?)
}

/// Peeks into the bare bytes of a message: the payload of a COSE message, or a report.
///
/// # Errors
///
/// [`MessageError`] if there is no version 1 message with a place.
pub fn peek(message: &[u8]) -> Result<Peek<'_>, MessageError> {
    let mut reader = Reader::new(message);
    reader.array()?;
    read_version(&mut reader)?;
    let kind = if reader.kind()? == Kind::Uint { Some(reader.uint()?) } else { None };
    Ok(Peek { kind, place: Place::read(&mut reader)? })
}

/// Payload of a tagged `COSE_Mac0` or `COSE_Sign1`, whatever its headers are. **Not verified.**
///
/// # Errors
///
/// [`MessageError::Kind`] for another tag, [`MessageError::Cbor`] for another form.
pub fn attached_payload(message: &[u8]) -> Result<&[u8], MessageError> {
    whole(message, |reader| {
        match reader.tag()? {
            MAC0_TAG | SIGN1_TAG => {}
            other => return Err(MessageError::Kind(told(other))),
        }
        reader.array_of(4)?;
        reader.bytes()?;
        if reader.kind()? != Kind::Map {
            return Err(CborError::Type.into());
        }
        reader.item()?;
        let payload = reader.bytes()?;
        reader.bytes()?;
        Ok(payload)
    })
}

// RFC 9052 §2.
const MAC0_TAG: u64 = 17;
const SIGN1_TAG: u64 = 18;
