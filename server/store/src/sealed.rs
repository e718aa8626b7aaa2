//! Bytes that the vault has encrypted.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Holds what the vault has sealed; the store cannot open it and never prints it.
///
/// Ciphertext is no secret by itself, yet it is wiped on drop and kept out of logs: a master key may leak later.
#[derive(Clone, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes bytes that are sealed already.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the sealed bytes, for the vault to open.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_sealed_blob_shows_its_length_only() {
        assert_eq!(format!("{:?}", Sealed::new(vec![0xAB; 3])), "Sealed(3 bytes)");
    }
}
