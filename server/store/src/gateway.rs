//! Gateways and the devices that each of them lists.

use async_trait::async_trait;
use bellwether_decide::device::Endpoint;

use crate::device::EnrolledDevice;
use crate::error::{AddError, StoreError, UpdateError};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A gateway as it is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name, which is its DTLS identity with the server; no device has it.
    pub name: Endpoint,
    /// Where its devices call it.
    pub uri: String,
    /// The key between it and the server, sealed.
    pub psk: Sealed,
    /// Edition of the last bundle that was made for it.
    pub bundle_edition: u64,
    /// Edition of the list of its devices.
    pub children_edition: u64,
    /// When it was enrolled, seconds since 1970.
    pub added_at: u64,
}

/// The link between a device and the gateway that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLink {
    /// The gateway.
    pub gateway: Endpoint,
    /// The key between the two, sealed; independent of the seed.
    pub psk: Sealed,
}

/// Keeps gateways.
#[async_trait]
pub trait Gateways {
    /// Adds a gateway.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if a gateway or a device has the name, [`StoreError::OutOfBounds`] for values past their
    /// bounds.
    async fn add_gateway(&self, tenant: &Tenant, gateway: &Gateway) -> Result<(), AddError>;

    /// Reads one gateway.
    async fn gateway(&self, tenant: &Tenant, name: &Endpoint) -> Result<Option<Gateway>, StoreError>;

    /// Lists gateways by name, after the given one; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn gateways(
        &self,
        tenant: &Tenant,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<Gateway>, StoreError>;

    /// Removes a gateway in one commit with the links of its devices, which stay enrolled.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such gateway.
    async fn remove_gateway(&self, tenant: &Tenant, name: &Endpoint) -> Result<(), UpdateError>;

    /// Lists the devices of a gateway by endpoint, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn children(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError>;

    /// Takes a device out of the list of its gateway; the list gets a new edition.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such device, or no gateway lists it.
    async fn detach(&self, tenant: &Tenant, endpoint: &Endpoint, at: u64) -> Result<(), UpdateError>;

    /// Raises the edition of a gateway's bundles and returns it, on disk: at least `at`, above the last.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such gateway.
    async fn next_bundle_edition(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        at: u64,
    ) -> Result<u64, UpdateError>;
}
