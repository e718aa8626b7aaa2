//! Devices and their identities.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::alarm::{AlarmKey, Occurrence};
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::identity::IdentityState;

use crate::Digest;
use crate::campaign::Command;
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
    /// Number of its DTLS credential: 1 from the factory.
    pub credential: u64,
    /// The credential after that, sealed, which waits for its first use.
    pub next_credential: Option<Sealed>,
    /// When it was decommissioned, seconds since 1970: its keys are gone, its name stays taken.
    pub retired_at: Option<u64>,
}

/// How a device's datagrams are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// DTLS with a pre-shared key.
    Psk {
        /// The key, sealed; independent of the seed. Empty once the device was decommissioned.
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
    /// The seed of the epoch that it starts in, sealed.
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
    /// Its keys, by epoch; at most [`crate::bounds::EPOCHS_MAX`], the newest.
    pub keys: Vec<EpochKeys>,
    /// Its state, with the revision to expect in the next [`Transition`].
    pub state: IdentityState,
}

/// The keys of one epoch of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochKeys {
    /// Which seed: 0 from the factory.
    pub epoch: u16,
    /// The seed, sealed; `None` once it was destroyed.
    pub seed: Option<Sealed>,
    /// The sparse links of its chain, sealed.
    pub links: Sealed,
}

/// What a [`Transition`] does to the keys of its identity.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyStep<'a> {
    /// Keys of further epochs; those of one that is kept already are never replaced.
    pub added: &'a [EpochKeys],
    /// Destroys the seeds of this epoch and of all before it; their links stay.
    pub destroyed_up_to: Option<u16>,
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
    /// What becomes of the identity's keys.
    pub keys: KeyStep<'a>,
    /// The operator's command that the step carries out.
    pub command: Option<&'a Command>,
    /// What the device runs now, where the step says so.
    pub running: Option<NowRuns<'a>>,
    /// What the device is given by the step.
    pub gives: Option<Gives<'a>>,
}

/// Images that a step gives to the device of its identity, as far as nobody has forbidden it since the caller looked.
#[derive(Debug, Clone, Copy)]
pub struct Gives<'a> {
    /// The campaign that gives them: it has to run, or to be finished, since that still serves who asks again.
    pub campaign: CampaignId,
    /// The images; none of them may be a recalled release of the device's class.
    pub images: &'a [Digest],
}

/// What a device runs from a step of one of its identities on.
#[derive(Debug, Clone, Copy)]
pub struct NowRuns<'a> {
    /// Which device.
    pub endpoint: &'a Endpoint,
    /// Images by component; of those that are not named nothing changes.
    pub components: &'a [(u64, Digest)],
    /// Since when that is known, seconds since 1970.
    pub since: u64,
}

impl<'a> Transition<'a> {
    /// Makes a step to this state that writes nothing else.
    #[must_use]
    pub fn new(expected_revision: u64, state: &'a IdentityState) -> Self {
        let keys = KeyStep { added: &[], destroyed_up_to: None };
        Self {
            expected_revision,
            state,
            events: &[],
            alarms: &[],
            keys,
            command: None,
            running: None,
            gives: None,
        }
    }
}

/// What operators said about the whole store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restores {
    /// How often it was restored from a backup.
    pub count: u64,
    /// Last second in which the places that devices prove are taken, seconds since 1970; 0: none are.
    pub resync_until: u64,
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

/// Why a device that was given up has no outcome in a campaign.
pub const GIVEN_UP: &str = "the device was decommissioned";

/// All that giving a device up writes, in one commit.
#[derive(Debug, Clone, Copy)]
pub struct Retirement<'a> {
    /// When, seconds since 1970.
    pub at: u64,
    /// What the ledger gets.
    pub events: &'a [Event],
    /// The command that asked for it.
    pub command: &'a Command,
}

/// A new DTLS credential of a device, and all that is written with it.
#[derive(Debug, Clone, Copy)]
pub struct NewCredential<'a> {
    /// Its number: one more than that in force.
    pub number: u64,
    /// The key, sealed.
    pub sealed: &'a Sealed,
    /// Whether the one in force is destroyed now; else once this one was used.
    pub at_once: bool,
    /// What the ledger gets.
    pub events: &'a [Event],
    /// The command that asked for it.
    pub command: &'a Command,
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
    /// [`UpdateError::Missing`] if there is no such device, or it was given up.
    async fn set_device_enabled(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        enabled: bool,
    ) -> Result<(), UpdateError>;

    /// Gives a device up: destroys its seeds, links and DTLS credentials, forgets its sleeping sessions and unit files
    /// that are due, and takes it off the list of its gateway. Its name stays taken, its identity is read by nobody, and a
    /// campaign that waits for it is told that it is refused.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Missing`] if there is no such device or it was given up before, [`UpdateError::CommandKept`].
    async fn retire_device(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        retirement: Retirement<'_>,
    ) -> Result<(), UpdateError>;

    /// Keeps a new DTLS credential of a device; another one that was not used yet is replaced.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Conflict`] if the credential in force is not the one before it, [`UpdateError::Missing`] for a
    /// device without a key or that was given up, [`UpdateError::CommandKept`].
    async fn add_credential(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        credential: NewCredential<'_>,
    ) -> Result<(), UpdateError>;

    /// Puts the waiting DTLS credential of a device in force and destroys the one before it; tells whether it was this
    /// call that did.
    async fn use_credential(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        number: u64,
        events: &[Event],
    ) -> Result<bool, StoreError>;

    /// Reads when the newest DTLS credential of each of these devices was made, as the ledger tells it, in seconds since
    /// 1970; those of whose it tells nothing are left out. Reads all that operators did to them: for devices that have one
    /// that waits.
    async fn credentials_made(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, u64>, StoreError>;

    /// Reads one identity with its sealed secrets.
    async fn identity(&self, tenant: &Tenant, id: &Endpoint) -> Result<Option<Identity>, StoreError>;

    /// Reads the identities that a device holds, ordered by name.
    async fn identities_of(&self, tenant: &Tenant, endpoint: &Endpoint) -> Result<Vec<Identity>, StoreError>;

    /// Writes a transition: state, keys, events, alarms and command, all or nothing, on disk when it returns.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Conflict`] if another revision than the expected one is kept: read, decide again.
    /// [`UpdateError::NotRaised`] if the new state's revision is not above it. [`UpdateError::EpochKept`] and
    /// [`UpdateError::CommandKept`] if what is added is there already. [`UpdateError::Forbidden`] if its campaign was
    /// stopped, or a release that it gives was recalled: read, decide again. [`UpdateError::Missing`].
    async fn update_identity(
        &self,
        tenant: &Tenant,
        id: &Endpoint,
        transition: Transition<'_>,
    ) -> Result<Updated, UpdateError>;

    /// Reads what operators said about the whole store.
    async fn restores(&self, tenant: &Tenant) -> Result<Restores, StoreError>;

    /// Counts one more restore, sets until when proved places are taken, and writes events and command with it.
    ///
    /// # Errors
    ///
    /// [`UpdateError::CommandKept`] if the command was carried out before.
    async fn add_restore(
        &self,
        tenant: &Tenant,
        resync_until: u64,
        events: &[Event],
        command: &Command,
    ) -> Result<Restores, UpdateError>;
}

impl Identity {
    /// Finds the keys of an epoch, if they are kept.
    #[must_use]
    pub fn epoch(&self, epoch: u16) -> Option<&EpochKeys> {
        self.keys.iter().find(|keys| keys.epoch == epoch)
    }
}
