//! Devices and their identities.

use async_trait::async_trait;
use bellwether_decide::alarm::{AlarmKey, Occurrence};
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::identity::IdentityState;

use crate::error::{AddError, StoreError, UpdateError};
use crate::gateway::GatewayLink;
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A device as it is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledDevice {
    /// What decisions need of it.
    pub device: Device,
    /// Domain name of its vendor, as in its author's manifests.
    pub vendor: String,
    /// How it speaks to the server.
    pub security: Security,
    /// The gateway that lists it, if one does.
    pub link: Option<GatewayLink>,
}

/// How a device's datagrams are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// DTLS with a pre-shared key.
    Psk {
        /// The key, sealed; independent of the seed.
        credential: Sealed,
    },
    /// None: enrolled so on purpose.
    None,
}

/// An identity to be added with its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdentity {
    /// Its name.
    pub id: Endpoint,
    /// Links in its key chain, 1 to 4096.
    pub chain_length: u16,
    /// The seed, sealed.
    pub seed: Sealed,
    /// The sparse links of the chain, sealed.
    pub links: Sealed,
    /// Where it starts.
    pub state: IdentityState,
}

/// An identity as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub id: Endpoint,
    /// The device that holds it.
    pub endpoint: Endpoint,
    /// Links in its key chain.
    pub chain_length: u16,
    /// The seed, sealed.
    pub seed: Sealed,
    /// The sparse links of the chain, sealed.
    pub links: Sealed,
    /// Its state, with the revision to expect in the next [`Transition`].
    pub state: IdentityState,
}

/// One step of an identity and all that has to be written with it.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    /// Revision of the state that the decision was made on.
    pub expected_revision: u64,
    /// The new state; its revision is above the expected one.
    pub state: &'a IdentityState,
    /// What the ledger gets, in this order.
    pub events: &'a [Event],
    /// Alarms that the step raises.
    pub alarms: &'a [Occurrence],
}

/// What a committed [`Transition`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// Revision that is kept now.
    pub revision: u64,
    /// Highest sequence number of the ledger after it.
    pub seq: u64,
    /// Alarms that were new for their day; each has left an event.
    pub alarms_new: Vec<AlarmKey>,
}

/// Keeps devices and identities.
#[async_trait]
pub trait Devices {
    /// Adds a device and its first identity in one commit.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if the endpoint or the identity is there already or a gateway has the name,
    /// [`StoreError::OutOfBounds`] for blobs past their bounds, [`StoreError::NoParent`] if the gateway of its link is
    /// not there.
    async fn add_device(
        &self,
        tenant: &Tenant,
        device: &EnrolledDevice,
        identity: &NewIdentity,
    ) -> Result<(), AddError>;

    /// Adds a list of devices, each with its first identity, in one commit: all of them, or none.
    ///
    /// # Errors
    ///
    /// As [`Devices::add_device`].
    async fn add_devices(
        &self,
        tenant: &Tenant,
        devices: &[(EnrolledDevice, NewIdentity)],
    ) -> Result<(), AddError>;

    /// Reads one device.
    async fn device(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Option<EnrolledDevice>, StoreError>;

    /// Lists devices by endpoint, after the given one; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn devices(
        &self,
        tenant: &Tenant,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError>;

    /// Reads the devices of a list in a few statements, ordered by endpoint; names that nobody enrolled are left out.
    async fn devices_named(
        &self,
        tenant: &Tenant,
        endpoints: &[Endpoint],
    ) -> Result<Vec<EnrolledDevice>, StoreError>;

    /// Switches a device on or off.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such device.
    async fn set_device_enabled(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        enabled: bool,
    ) -> Result<(), UpdateError>;

    /// Reads one identity with its sealed secrets.
    async fn identity(&self, tenant: &Tenant, id: &Endpoint) -> Result<Option<Identity>, StoreError>;

    /// Reads the identities that a device holds, ordered by name.
    async fn identities_of(&self, tenant: &Tenant, endpoint: &Endpoint) -> Result<Vec<Identity>, StoreError>;

    /// Writes a transition: state, events and alarms, all or nothing, on disk when it returns.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Conflict`] if another revision than the expected one is kept: read, decide again.
    /// [`UpdateError::NotRaised`] if the new state's revision is not above it. [`UpdateError::Missing`].
    async fn update_identity(
        &self,
        tenant: &Tenant,
        id: &Endpoint,
        transition: Transition<'_>,
    ) -> Result<Updated, UpdateError>;
}
