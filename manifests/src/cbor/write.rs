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
    let mut count = Count(0);
    minicbor::encode(value, &mut count).map_err(|_| EncodeError::Invalid)?;
    Ok(count.0)
}

/// Writes `value` to the start of `buffer` and returns the number of bytes.
///
/// # Errors
///
/// [`EncodeError::Space`] if it does not fit, [`EncodeError::Invalid`] if it cannot be encoded.
pub fn write_into(value: &impl Encode<()>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    let space = buffer.len();
    let mut rest = buffer;
    match minicbor::encode(value, &mut rest) {
        Ok(()) => Ok(space - rest.len()),
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
    let mut digest = Sink(Sha256::new());
    minicbor::encode(value, &mut digest).map_err(|_| EncodeError::Invalid)?;
    Ok(digest.0.finalize().into())
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

struct Count(usize);

impl Write for Count {
    type Error = core::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0 += bytes.len();
        Ok(())
    }
}

struct Sink(Sha256);

impl Write for Sink {
    type Error = core::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.update(bytes);
        Ok(())
    }
}
