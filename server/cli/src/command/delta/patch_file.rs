//! A patch as a file: before its bytes stand the sizes and digests that devices get from a signed manifest and a grant.

use bellwether_delta::{Algorithm, PatchError};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What a patch is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) old: Facts,
    pub(super) new: Facts,
}

/// An image's size, in bytes, and the first bytes of its SHA-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) size: u32,
    pub(super) digest: [u8; DIGEST_BYTES],
}

/// Why a file is no patch.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum HeaderError {
    /// It starts otherwise.
    #[error("is no patch of bellwether delta make")]
    Foreign,
    /// It ends in its header.
    #[error("is cut off")]
    CutOff,
    /// What it says can't be.
    #[error("{0}")]
    Malformed(#[from] PatchError),
}

impl Facts {
    /// Describes an image of at most 4 GiB.
    pub(super) fn of(image: &[u8]) -> Self {
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&Sha256::digest(image)[..DIGEST_BYTES]);
        Self { size: u32::try_from(image.len()).unwrap_or(u32::MAX), digest }
    }
}

impl Header {
    /// Reads a header, and returns the bytes of the patch behind it.
    pub(super) fn parse(file: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        if !file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]) {
            return Err(HeaderError::Foreign);
        }
        let (head, rest) = file.split_first_chunk::<HEADER_BYTES>().ok_or(HeaderError::CutOff)?;
        let word = |at: usize| head[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        let digest = |at: usize| head[at..].first_chunk().copied().unwrap_or_default();
        let algorithm = Algorithm::parse(word(4).cast_signed(), &[])?;
        let [old, new] = [8, 20].map(|at| Facts { size: word(at), digest: digest(at + 4) });
        Ok((Self { algorithm, old, new }, rest))
    }

    /// Writes the file of a patch.
    pub(super) fn before(&self, patch: &[u8]) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEADER_BYTES + patch.len());
        file.extend(MAGIC);
        file.extend(self.algorithm.0.to_le_bytes());
        for facts in [self.old, self.new] {
            file.extend(facts.size.to_le_bytes());
            file.extend(facts.digest);
        }
        file.extend(patch);
        file
    }
}

/// Digests are here to tell images apart, not to prove who made them: that is the manifest's.
pub(super) const DIGEST_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"BWD1";
/// Magic, algorithm, and size and digest of both images.
const HEADER_BYTES: usize = 4 + 4 + 2 * (4 + DIGEST_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_read_back_from_32_bytes() {
        let (old, new) = (Facts::of(b"old"), Facts::of(b"newer"));
        let header = Header { algorithm: Algorithm::ALL[0], old, new };
        let file = header.before(b"patch");
        assert_eq!(file.len(), 32 + 5);
        assert_eq!(Header::parse(&file), Ok((header, &b"patch"[..])));
        for length in 0..32 {
            assert_eq!(Header::parse(&file[..length]), Err(HeaderError::CutOff));
        }
        assert_eq!(Header::parse(b"BWX1"), Err(HeaderError::Foreign));
    }
}
