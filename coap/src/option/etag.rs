//! Entity-tag option value (RFC 7252 §5.10.6).

use core::fmt;
use thiserror::Error;

/// Entity-tag: 1 ..= 8 opaque bytes that differ when the representation differs.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ETag {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
}

/// An entity-tag of a length that the option does not allow.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("entity-tag is {bytes} bytes long, 1 to 8 are allowed")]
pub struct ETagError {
    /// The length offered, in bytes.
    pub bytes: usize,
}

impl ETag {
    const BYTES_MAX: usize = 8; // RFC 7252 §5.10, table 4

    /// Takes 1 ..= 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ETagError`] for any other length.
    pub fn new(value: &[u8]) -> Result<Self, ETagError> {
        if value.is_empty() || value.len() > Self::BYTES_MAX {
            return Err(ETagError { bytes: value.len() });
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..value.len()].copy_from_slice(value);
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        Ok(Self { bytes, length })
    }

    /// Returns the bytes of the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({:02x?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_to_eight_bytes_are_an_etag() {
        assert_eq!(ETag::new(&[]), Err(ETagError { bytes: 0 }));
        assert_eq!(ETag::new(&[7; 9]), Err(ETagError { bytes: 9 }));
        assert_eq!(ETag::new(&[7, 0]).unwrap().as_bytes(), [7, 0]);
        assert_ne!(ETag::new(&[7, 0]), ETag::new(&[7]));
    }
}
