//! What a patch says of itself, for those who hold a patch alone.

use crate::digest::ImageDigest;
use crate::error::PatchError;
use crate::fields::Architecture;
use crate::format::Profile;
use crate::header::{Header, VERSION};
use crate::order::Layout;

/// Header of a patch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outline {
    /// Version of the format.
    pub version: u8,
    /// RAM that applying takes.
    pub profile: Profile,
    /// What the code was taken to be made for.
    pub architecture: Architecture,
    /// Size of the base, in bytes.
    pub base_size: u32,
    /// Size of the target, in bytes.
    pub target_size: u32,
    /// SHA-256 of the base, as far as the patch has it.
    pub base_digest: ImageDigest,
    /// The target's.
    pub target_digest: ImageDigest,
    /// Where base and target share a slot: how.
    pub layout: Option<Layout>,
    /// Size of the header, in bytes.
    pub header_bytes: usize,
}

impl Outline {
    /// Reads the header of a patch.
    ///
    /// # Errors
    ///
    /// [`PatchError::Header`], [`PatchError::ImageTooLarge`], [`PatchError::Incomplete`] where the patch ends in it.
    pub fn parse(patch: &[u8]) -> Result<Self, PatchError> {
        let mut header = Header::empty();
        let header_bytes = header.read_from(patch)?.ok_or(PatchError::Incomplete { produced: 0 })?;
        Ok(Self {
            version: VERSION,
            profile: header.tables.profile,
            architecture: header.architecture,
            base_size: header.base_size,
            target_size: header.target_size,
            base_digest: header.base_digest,
            target_digest: header.target_digest,
            layout: header.layout,
            header_bytes,
        })
    }
}
