//! SHA-256 of images, whole or shortened.

use sha2::{Digest, Sha256};

/// What a patch says of the SHA-256 of an image: its first eight bytes where a manifest has the others, else all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageDigest {
    bytes: [u8; DIGEST_BYTES_MAX],
    is_full: bool,
}

/// Bytes of a SHA-256, of which a short digest has the first.
pub(crate) const DIGEST_BYTES_MAX: usize = 32;
const SHORT_BYTES: usize = 8;

impl ImageDigest {
    pub(crate) const fn full(bytes: [u8; DIGEST_BYTES_MAX]) -> Self {
        Self { bytes, is_full: true }
    }

    pub(crate) fn short(first: [u8; SHORT_BYTES]) -> Self {
        let mut bytes = [0; DIGEST_BYTES_MAX];
        bytes[..SHORT_BYTES].copy_from_slice(&first);
        Self { bytes, is_full: false }
    }

    /// Digest of an image.
    #[cfg(any(test, feature = "make"))]
    pub(crate) fn of(image: &[u8], is_full: bool) -> Self {
        let mut digest = Self::full(Sha256::digest(image).into());
        if !is_full {
            digest.bytes[SHORT_BYTES..].fill(0);
            digest.is_full = false;
        }
        digest
    }

    /// Returns the bytes that are known: eight or 32.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (short, _) = self.bytes.split_at(SHORT_BYTES);
        if self.is_full { &self.bytes } else { short }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Says whether what was hashed has this digest, and starts the hash anew.
    pub(crate) fn ends(&self, hash: &mut Sha256) -> bool {
        hash.finalize_reset().starts_with(self.bytes())
    }
}
