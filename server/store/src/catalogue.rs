//! Manifests, releases and the resources made from them.

use async_trait::async_trait;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;
use bellwether_decide::release::{Class, Release, ReleaseId};

use crate::Digest;
use crate::campaign::Command;
use crate::error::{AddError, StoreError, UpdateError};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A verified manifest as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest in its authentication block.
    pub digest: Digest,
    /// Its manifest sequence number.
    pub sequence: u64,
    /// When it was uploaded, seconds since 1970.
    pub uploaded_at: u64,
    /// The signed envelope, unchanged.
    pub envelope: Vec<u8>,
}

/// A manifest without its bytes, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    /// The digest in its authentication block.
    pub digest: Digest,
    /// Its manifest sequence number.
    pub sequence: u64,
    /// When it was uploaded, seconds since 1970.
    pub uploaded_at: u64,
    /// Length of the envelope.
    pub envelope_bytes: u64,
}

/// A release to be catalogued; its bytes are in [`crate::images::Images`] already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRelease {
    /// Domain name of the vendor.
    pub vendor: String,
    /// Name of the class.
    pub class_name: String,
    /// Both as UUIDs.
    pub class: Class,
    /// Component id as in the manifest: its segments.
    pub component: Vec<Vec<u8>>,
    /// Version as its author wrote it.
    pub version: String,
    /// SHA-256 of the plaintext image.
    pub digest: Digest,
    /// Length of the plaintext image in bytes.
    pub size: u64,
    /// Whether the class is marked for plaintext images.
    pub open: bool,
    /// When it was published, seconds since 1970.
    pub published_at: u64,
}

/// A release as it is catalogued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CataloguedRelease {
    /// What decisions need of it.
    pub release: Release,
    /// Domain name of the vendor.
    pub vendor: String,
    /// Name of the class.
    pub class_name: String,
    /// When it was published, seconds since 1970.
    pub published_at: u64,
    /// That nobody gets it any more, if it was recalled.
    pub recalled: Option<Recall>,
}

/// That a release was recalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// When, seconds since 1970.
    pub at: u64,
    /// Why.
    pub why: String,
}

/// A recall, or its end, and all that is written with it.
#[derive(Debug, Clone, Copy)]
pub struct Recalling<'a> {
    /// Which release.
    pub release: ReleaseId,
    /// The recall; `None` takes it back.
    pub recall: Option<&'a Recall>,
    /// What the ledger gets.
    pub events: &'a [Event],
    /// The command that asked for it.
    pub command: &'a Command,
}

/// Names one resource: what it leads to, from what, for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceKey {
    /// Digest of the image that the device ends with.
    pub target: Digest,
    /// What a delta starts from; `None` for a full image.
    pub base: Option<Base>,
    /// For whom it is encrypted.
    pub mode: Mode,
}

/// What a delta starts from and how it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Base {
    /// Digest of the image that must be running.
    pub digest: Digest,
    /// Number of the patch algorithm.
    pub algorithm: i64,
}

/// For whom a resource is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mode {
    /// For all: one ciphertext, the key wrapped per device.
    Shared,
    /// For one identity alone.
    Individual(Endpoint),
    /// Not at all: plaintext for classes that are marked open.
    Open,
}

/// A made resource; its bytes are in [`crate::images::Images`] already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Digest of the bytes as carried.
    pub content: Digest,
    /// Length of the bytes as carried.
    pub content_size: u64,
    /// Digest after decryption, before patching.
    pub plain: Digest,
    /// Length after decryption, before patching.
    pub plain_size: u64,
    /// Length of the image that the device ends with.
    pub target_size: u64,
    /// Bytes of a frame's block.
    pub block: u32,
    /// Digest of the first frame.
    pub root: Digest,
    /// How it is encrypted; `None` exactly in [`Mode::Open`].
    pub encryption: Option<Encryption>,
    /// How it is applied; `None` exactly for a full image.
    pub patch: Option<Patch>,
    /// When it was made, seconds since 1970.
    pub made_at: u64,
}

/// How a resource is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// COSE number of the content algorithm.
    pub algorithm: i64,
    /// The content key, sealed.
    pub key: Sealed,
    /// Initialisation vector, not secret.
    pub iv: Vec<u8>,
}

/// What a device needs to know before it applies a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Length of the base.
    pub base_size: u64,
    /// RAM in bytes that applying takes.
    pub ram: u64,
    /// Parameters of the algorithm.
    pub parameters: Vec<u8>,
}

/// Keeps manifests, releases and resources.
#[async_trait]
pub trait Catalogue {
    /// Adds a manifest.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if its digest is kept already.
    async fn add_manifest(&self, tenant: &Tenant, manifest: &Manifest) -> Result<(), AddError>;

    /// Reads one manifest.
    async fn manifest(&self, tenant: &Tenant, digest: &Digest) -> Result<Option<Manifest>, StoreError>;

    /// Lists manifests, the highest sequence number first; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn manifests(&self, tenant: &Tenant, rows_max: u32) -> Result<Vec<ManifestSummary>, StoreError>;

    /// Adds a release and returns its number.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if the class has this version, or this image, of the component already.
    async fn add_release(&self, tenant: &Tenant, release: &NewRelease) -> Result<ReleaseId, AddError>;

    /// Lists releases by number, after the given one; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn releases(
        &self,
        tenant: &Tenant,
        after: Option<ReleaseId>,
        rows_max: u32,
    ) -> Result<Vec<CataloguedRelease>, StoreError>;

    /// Reads the releases whose images have one of these digests, in a few statements, ordered by number.
    async fn releases_with(
        &self,
        tenant: &Tenant,
        digests: &[Digest],
    ) -> Result<Vec<CataloguedRelease>, StoreError>;

    /// Reads the latest releases of one class, the highest number first; at most [`crate::bounds::LIST_ROWS_MAX`].
    async fn releases_of(&self, tenant: &Tenant, class: &Class)
    -> Result<Vec<CataloguedRelease>, StoreError>;

    /// Recalls a release, or takes its recall back.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] where it is not there or stands so already, [`UpdateError::CommandKept`] where the command
    /// was carried out before.
    async fn set_recall(&self, tenant: &Tenant, recalling: Recalling<'_>) -> Result<(), UpdateError>;

    /// Adds a resource, unless one has this key already, and returns the one that is kept.
    ///
    /// Of two builders that race, both get the key and the bytes of the first.
    async fn put_resource(
        &self,
        tenant: &Tenant,
        key: &ResourceKey,
        resource: &Resource,
    ) -> Result<Resource, StoreError>;

    /// Replaces a resource whose bytes are lost, and returns the one that is kept.
    ///
    /// Replaces only while `lost` is still the kept content: of two builders that race, the second gets the first's.
    /// A key that is not there is added.
    async fn replace_resource(
        &self,
        tenant: &Tenant,
        key: &ResourceKey,
        lost: &Digest,
        resource: &Resource,
    ) -> Result<Resource, StoreError>;

    /// Reads the resource of a key.
    async fn resource(&self, tenant: &Tenant, key: &ResourceKey) -> Result<Option<Resource>, StoreError>;

    /// Lists the made resources that lead to a target, the latest first; at most [`crate::bounds::LIST_ROWS_MAX`].
    async fn resources_to(
        &self,
        tenant: &Tenant,
        target: &Digest,
    ) -> Result<Vec<(ResourceKey, Resource)>, StoreError>;

    /// Finds a resource by the digest of its first frame.
    async fn resource_by_root(&self, tenant: &Tenant, root: &Digest) -> Result<Option<Resource>, StoreError>;
}
