//! The catalogue of releases.

use crate::identity::Digest;

/// Number of a release in the catalogue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReleaseId(pub u64);

/// Class of devices that a release is for: vendor and class id are UUIDs, as in manifests.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Class {
    /// Vendor id.
    pub vendor: [u8; 16],
    /// Class id.
    pub class: [u8; 16],
}

/// A version of a component for a class.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Release {
    /// Its number.
    pub id: ReleaseId,
    /// Class that it is for.
    pub class: Class,
    /// Component id as in the manifest: its segments.
    pub component: Vec<Vec<u8>>,
    /// Version as its author wrote it; ordered by [`crate::version::compare`].
    pub version: String,
    /// SHA-256 of the plaintext image.
    pub digest: Digest,
    /// Length of the plaintext image in bytes.
    pub size: u64,
    /// Whether the class is marked for plaintext images (devices that know only LwM2M).
    pub open: bool,
}
