//! Anchors documents, and what the server has generated for itself.

use async_trait::async_trait;

use crate::error::{AddError, StoreError};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// An anchors document: whom devices believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchors {
    /// Its edition; a higher one replaces a lower one.
    pub edition: u64,
    /// The signed document, unchanged.
    pub document: Vec<u8>,
    /// When it was stored, seconds since 1970.
    pub stored_at: u64,
}

/// Keeps anchors and settings.
#[async_trait]
pub trait Settings {
    /// Adds an edition of the anchors.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if this edition or a higher one is kept.
    async fn add_anchors(&self, tenant: &Tenant, anchors: &Anchors) -> Result<(), AddError>;

    /// Reads the highest edition.
    async fn anchors(&self, tenant: &Tenant) -> Result<Option<Anchors>, StoreError>;

    /// Reads the editions above the given one, in order; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn anchors_since(
        &self,
        tenant: &Tenant,
        edition: u64,
        rows_max: u32,
    ) -> Result<Vec<Anchors>, StoreError>;

    /// Keeps a setting unless the name has a value already, and returns the value that is kept.
    async fn put_setting(&self, tenant: &Tenant, name: &str, value: &Sealed) -> Result<Sealed, StoreError>;

    /// Reads a setting.
    async fn setting(&self, tenant: &Tenant, name: &str) -> Result<Option<Sealed>, StoreError>;

    /// Writes something down that nobody reads, and so finds out whether the disk takes writes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] with a [`StorageFault`](crate::StorageFault) among its causes.
    async fn try_write(&self, tenant: &Tenant) -> Result<(), StoreError>;
}
