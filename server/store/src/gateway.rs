//! Gateways and the devices that each of them lists.

use async_trait::async_trait;
use bellwether_decide::campaign::{CampaignId, CampaignState};
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

/// The newest bundle of a campaign that a gateway may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBundle {
    /// The gateway.
    pub gateway: Endpoint,
    /// The campaign.
    pub campaign: CampaignId,
    /// What became of the campaign.
    pub state: CampaignState,
    /// Its edition.
    pub edition: u64,
    /// Until when it can be used, seconds since 1970.
    pub not_after: u64,
    /// Whether the gateway has dropped it.
    pub withdrawn: bool,
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

    /// Keeps that a gateway is about to get a bundle with the next edition, which is returned; rows that are past their
    /// time at `at` go.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such gateway, [`StoreError::NoParent`] if there is no such campaign.
    async fn put_bundle(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        campaign: CampaignId,
        not_after: u64,
        at: u64,
    ) -> Result<u64, UpdateError>;

    /// Keeps that a gateway has dropped the bundle of this edition; a newer one stays.
    async fn withdraw_bundle(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        campaign: CampaignId,
        edition: u64,
    ) -> Result<(), StoreError>;

    /// Lists what gateways may hold at `at`, with what became of its campaign, by gateway and campaign; at most
    /// [`crate::bounds::LIST_ROWS_MAX`] rows of campaigns that go on and were withdrawn, or ended and were not, or, with
    /// a name, all of that gateway.
    async fn bundles(
        &self,
        tenant: &Tenant,
        name: Option<&Endpoint>,
        at: u64,
    ) -> Result<Vec<KeptBundle>, StoreError>;
}
