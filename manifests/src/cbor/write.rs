//! Writing values into buffers, vectors and digests.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use minicbor::encode::{Encode, Encoder, Error, Write};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Why a value was not written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EncodeError {
    /// The buffer is too small for the message.
    #[error("buffer is too small for the message")]
    Space,
    /// The value breaks a bound of its own structure, so that no reader would take it.
    #[error("value breaks a bound of its structure")]
    Invalid,
}

/// Number of bytes that `value` takes when encoded.
///
/// # Errors
///
/// [`EncodeError::Invalid`] if it cannot be encoded.
pub fn encoded_len(value: &impl Encode<()>) -> Result<usize, EncodeError> {
    write_to(value, Sink { to: To::Nowhere, written: 0 })
}

/// Writes `value` to the start of `buffer` and returns the number of bytes.
///
/// # Errors
///
/// [`EncodeError::Space`] if it does not fit, [`EncodeError::Invalid`] if it cannot be encoded.
pub fn write_into(value: &impl Encode<()>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    write_to(value, Sink::new(buffer))
}

fn write_to(value: &impl Encode<()>, sink: Sink<'_>) -> Result<usize, EncodeError> {
    let mut encoder = Encoder::new(sink);
    match value.encode(&mut encoder, &mut ()) {
        Ok(()) => Ok(encoder.writer().written()),
        Err(error) if error.is_write() => Err(EncodeError::Space),
        Err(_) => Err(EncodeError::Invalid),
    }
}

/// Writes `value` into a new vector.
///
/// # Errors
///
/// [`EncodeError::Invalid`] if it cannot be encoded.
#[cfg(feature = "alloc")]
pub fn to_vec(value: &impl Encode<()>) -> Result<Vec<u8>, EncodeError> {
    minicbor::to_vec(value).map_err(|_| EncodeError::Invalid)
}

/// SHA-256 of the encoded `value`, without holding the encoding.
///
/// # Errors
///
/// [`EncodeError::Invalid`] if it cannot be encoded.
pub fn digest_of(value: &impl Encode<()>) -> Result<[u8; 32], EncodeError> {
    let mut digest = Sha256::new();
    write_to(value, Sink { to: To::Digest(&mut digest), written: 0 })?;
    Ok(digest.finalize().into())
}

/// Bytes that are encoded already and are written as they are.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(pub &'a [u8]);

impl<C> Encode<C> for Raw<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        write_raw(encoder, self.0)
    }
}

/// Writes bytes that are encoded already.
pub(crate) fn write_raw<W: Write>(encoder: &mut Encoder<W>, item: &[u8]) -> Result<(), Error<W::Error>> {
    encoder.writer_mut().write_all(item).map_err(Error::write)
}

/// Writes `value` as a byte string that contains its encoding.
pub(crate) fn write_embedded<W: Write>(
    encoder: &mut Encoder<W>,
    value: &impl Encode<()>,
) -> Result<(), Error<W::Error>> {
    let length = encoded_len(value).map_err(|_| Error::message("embedded value breaks a bound"))?;
    encoder.bytes_len(length as u64)?;
    value.encode(encoder, &mut ())
}

/// Where an encoding goes: into a buffer, into a digest, or nowhere, so that its bytes are counted.
///
/// It is one type for all three, since encoders are generic over it: a device would have the code of each message three
/// times.
pub struct Sink<'a> {
    to: To<'a>,
    written: usize,
}

enum To<'a> {
    Nowhere,
    Buffer(&'a mut [u8]),
    Digest(&'a mut Sha256),
}

/// The buffer has no room for more.
#[derive(Clone, Copy, Debug, Error)]
#[error("buffer is full")]
pub struct Full;

impl<'a> Sink<'a> {
    /// Writes to the start of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { to: To::Buffer(buffer), written: 0 }
    }

    /// Number of bytes that were written.
    #[must_use]
    pub const fn written(&self) -> usize {
        self.written
    }
}

impl Write for Sink<'_> {
    type Error = Full;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.written.checked_add(bytes.len()).ok_or(Full)?;
        match &mut self.to {
            To::Nowhere => {}
            To::Buffer(buffer) => buffer.get_mut(self.written..end).ok_or(Full)?.copy_from_slice(bytes),
            To::Digest(digest) => digest.update(bytes),
        }
        self.written = end;
        Ok(())
    }
}
