//! Devices in groups: their tags, and what they run.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_decide::tag::Tag;
use thiserror::Error;

use crate::Digest;
use crate::campaign::Command;
use crate::device::EnrolledDevice;
use crate::error::{StoreError, UpdateError};
use crate::operators::Contact;
use crate::tenant::Tenant;

/// Tags of devices, by device.
pub type Tags = BTreeMap<Endpoint, BTreeSet<Tag>>;

/// A change of the tags of some devices, and all that is written with it.
#[derive(Debug, Clone, Copy)]
pub struct Tagging<'a> {
    /// Which devices.
    pub devices: &'a [Endpoint],
    /// What is put to each of them.
    pub added: &'a [Tag],
    /// What is taken off each of them.
    pub removed: &'a [Tag],
    /// What the ledger gets.
    pub events: &'a [Event],
    /// The command that asked for it.
    pub command: &'a Command,
}

/// Why no tag was changed; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TagDevicesError {
    /// Nobody enrolled this device.
    #[error("no device named {0} is enrolled")]
    Missing(Endpoint),
    /// The device would have more than [`bellwether_decide::tag::TAGS_MAX`].
    #[error("{0} would have too many tags")]
    TooMany(Endpoint),
    /// See [`UpdateError`].
    #[error(transparent)]
    Update(#[from] UpdateError),
}

impl From<StoreError> for TagDevicesError {
    fn from(error: StoreError) -> Self {
        Self::Update(error.into())
    }
}

/// A tag with how many devices have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCount {
    /// The tag.
    pub tag: Tag,
    /// Devices that have it.
    pub devices: u64,
}

/// A device that runs an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which device.
    pub endpoint: Endpoint,
    /// Since when that is known, seconds since 1970.
    pub since: u64,
}

/// What is kept of a device beside its row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Background {
    /// The state of the identity of its name.
    pub state: Option<IdentityState>,
    /// When it was heard last.
    pub contact: Option<Contact>,
    /// The images of its components, by their numbers.
    pub running: Vec<(u64, Digest)>,
}

/// Keeps tags, and what devices run.
#[async_trait]
pub trait Fleets {
    /// Changes the tags of devices, all of them or none.
    ///
    /// # Errors
    ///
    /// See [`TagDevicesError`].
    async fn tag_devices(&self, tenant: &Tenant, tagging: Tagging<'_>) -> Result<(), TagDevicesError>;

    /// Reads the tags of devices; those without one are left out.
    async fn tags_of(&self, tenant: &Tenant, devices: &[Endpoint]) -> Result<Tags, StoreError>;

    /// Lists the tags that devices have, by name, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn tags(
        &self,
        tenant: &Tenant,
        after: Option<&Tag>,
        rows_max: u32,
    ) -> Result<Vec<TagCount>, StoreError>;

    /// Lists devices of a tag by endpoint, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn devices_tagged(
        &self,
        tenant: &Tenant,
        tag: &Tag,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError>;

    /// Keeps which image each component of a device runs; what is kept already is not written again. A device that
    /// nobody enrolled is passed over.
    async fn note_running(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        running: &[(u64, Digest)],
        at: u64,
    ) -> Result<(), StoreError>;

    /// Lists the devices of a class that run an image in any component, by endpoint, after the given one; at most
    /// `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`]. Decommissioned ones are left out.
    async fn who_runs(
        &self,
        tenant: &Tenant,
        class: &str,
        image: &Digest,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<Running>, StoreError>;

    /// Reads what is kept of devices beside their rows, in a few statements however many they are; those of which nothing
    /// is kept are left out.
    async fn backgrounds(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Background>, StoreError>;

    /// Reads from which image each of these devices asked for a delta last, as the ledger tells it. Reads all that it has of
    /// them: for devices that have told nothing else.
    async fn asked_from(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Digest>, StoreError>;

    /// Counts the devices of [`Fleets::who_runs`].
    async fn count_running(&self, tenant: &Tenant, class: &str, image: &Digest) -> Result<u64, StoreError>;
}
