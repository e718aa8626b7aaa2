//! How far the ledger was handed to the outside.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::tenant::Tenant;

/// Keeps how far events were published, so that each is handed over at least once, and after a restart from where the
/// last acknowledgement stood.
#[async_trait]
pub trait Publications {
    /// Reads the number of the last event that a broker has acknowledged; 0 before the first.
    async fn published(&self, tenant: &Tenant) -> Result<u64, StoreError>;

    /// Moves it on; a lower number than the one that is kept changes nothing.
    async fn set_published(&self, tenant: &Tenant, seq: u64) -> Result<(), StoreError>;
}
