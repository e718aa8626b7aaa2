//! Releases, manifests and anchors: what may run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version of a component for a class.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Release {
    /// Class name.
    pub class: String,
    /// Component name.
    pub component: String,
    /// Version as published, `2.1.0`.
    pub version: String,
    /// SHA-256 of the image, in hexadecimal.
    pub digest: String,
    /// Bytes of the image.
    pub size: u64,
    /// When it was published.
    pub published: u64,
    /// When it was recalled, if it was: nobody gets it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<u64>,
    /// Why it was recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_why: Option<String>,
}

/// A manifest that the server has verified and keeps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Manifest {
    /// The digest in its authentication block, in hexadecimal: its name here.
    pub digest: String,
    /// Rises with every manifest of an author.
    pub sequence_number: u64,
    /// Bytes of the envelope.
    pub size: u64,
    /// Where devices ask.
    pub request_identifier: String,
    /// What it serves.
    pub classes: Vec<ManifestClass>,
    /// When it was published.
    pub published: u64,
}

/// One class in a manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ManifestClass {
    /// The class name, where a device or a release of that class is known; else the class id.
    pub class: String,
    /// SHA-256 of the image to install, in hexadecimal.
    pub digest: String,
    /// Bytes of that image.
    pub size: u64,
    /// The version of that image, where the catalogue has it.
    pub version: Option<String>,
}

/// The document that says whom devices believe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Anchors {
    /// Rises with every replacement.
    pub edition: u64,
    /// The vendor id, in hexadecimal.
    pub vendor: String,
    /// Whether this server's distributor key is listed.
    pub lists_this_distributor: bool,
}

/// Frames of one resource that left the server since it started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct FrameCount {
    /// Digest of its first frame, in hexadecimal: the name under which it is fetched.
    pub root: String,
    /// Frames that it has.
    pub frames: u64,
    /// Frames sent, by DTLS identity; one that was asked for twice counts twice.
    pub sent: BTreeMap<String, u64>,
}
