//! Campaigns, how far their devices are, and the commands that launched them.
//!
//! How far a campaign and its devices are is a fold over the ledger ([`Progress`]). Whatever call appends events also
//! applies them to the kept fold, in the same commit, so that reading it never means reading the ledger.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::campaign::event::{Delivery, Event};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use thiserror::Error;

use crate::Digest;
use crate::error::{AddError, StoreError};
use crate::tenant::Tenant;

/// All that launching a campaign writes, in one commit.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The campaign, under a number from [`Campaigns::next_campaign_id`]; its state is where it starts.
    pub campaign: &'a Campaign,
    /// What the ledger gets, in this order: `Launched`, and one `Targeted` per device that its targets are now. One that was
    /// given up since they were chosen is refused behind them.
    pub events: &'a [Event],
    /// The command that asked for it, if it has a request id.
    pub command: Option<&'a Command>,
}

/// A command that was carried out, with its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The idempotency key that the caller chose.
    pub request_id: String,
    /// SHA-256 of the command's body.
    pub body: Digest,
    /// What was answered, given again to a repetition.
    pub reply: Vec<u8>,
    /// When it was carried out, seconds since 1970.
    pub at: u64,
}

/// All that an order to a campaign writes, in one commit.
#[derive(Debug, Clone, Copy)]
pub struct Ordered<'a> {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Where it stood when the order was decided on.
    pub expected: CampaignState,
    /// What the ledger gets. A device that is to try again and was given up is refused behind it.
    pub events: &'a [Event],
    /// The command that asked for it.
    pub command: &'a Command,
}

/// What became of a launch or an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launched {
    /// It is written down.
    New {
        /// Highest sequence number of the ledger after it.
        seq: u64,
    },
    /// The same command was carried out before; nothing was written.
    Repeated {
        /// What was answered then.
        reply: Vec<u8>,
    },
    /// The request id was used for a command with another body; nothing was written.
    OtherBody,
}

/// Why a campaign was not moved; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MoveError {
    /// Someone moved it first. Read again, decide again.
    #[error("the campaign is {}", found.name())]
    Conflict {
        /// Where it stands now.
        found: CampaignState,
    },
    /// There is no such campaign.
    #[error("there is no such campaign")]
    Missing,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running campaign that is at work on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    /// Which device.
    pub endpoint: Endpoint,
    /// Which campaign.
    pub campaign: CampaignId,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// How far the device is.
    pub track: Track,
}

/// What a device was given under a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Number of the grant.
    pub grant: u64,
    /// Whole image or delta.
    pub delivery: Delivery,
    /// Bytes as carried.
    pub bytes: u64,
}

/// Keeps campaigns.
#[async_trait]
pub trait Campaigns {
    /// Draws the number of the next campaign; numbers begin at 1 and are never given twice.
    async fn next_campaign_id(&self, tenant: &Tenant) -> Result<CampaignId, StoreError>;

    /// Writes a campaign, its events and its command in one commit.
    ///
    /// # Errors
    ///
    /// [`AddError::Exists`] if the number is taken, [`StoreError::NoParent`] if the manifest or a targeted device is not
    /// there.
    async fn launch(&self, tenant: &Tenant, launch: Launch<'_>) -> Result<Launched, AddError>;

    /// Finds what was answered to a request id.
    async fn command(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Command>, StoreError>;

    /// Reads one campaign.
    async fn campaign(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Campaign>, StoreError>;

    /// Lists campaigns by number, after the given one, in one state or all; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn campaigns(
        &self,
        tenant: &Tenant,
        state: Option<CampaignState>,
        after: Option<CampaignId>,
        rows_max: u32,
    ) -> Result<Vec<Campaign>, StoreError>;

    /// Appends events if the campaign is in the expected state, and returns its state after them.
    ///
    /// # Errors
    ///
    /// [`MoveError::Conflict`] if it is in another state, [`MoveError::Missing`].
    async fn move_campaign(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        expected: CampaignState,
        events: &[Event],
    ) -> Result<CampaignState, MoveError>;

    /// Appends those of the events whose devices are where they were when it was decided on them, and gives these: who was
    /// heard of meanwhile is left alone. `decided`: where they were then.
    async fn append_for_unmoved(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        decided: &BTreeMap<Endpoint, Track>,
        events: &[Event],
    ) -> Result<Vec<Event>, StoreError>;

    /// Carries an order out if the campaign is in the expected state: its events and its command in one commit.
    ///
    /// # Errors
    ///
    /// As [`Campaigns::move_campaign`].
    async fn order(&self, tenant: &Tenant, order: Ordered<'_>) -> Result<Launched, MoveError>;

    /// Reads how far a campaign and all its devices are: a row a device, so nothing that is done while a server works.
    async fn progress(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Progress>, StoreError>;

    /// Lists campaigns by number, the latest first, before the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn latest_campaigns(
        &self,
        tenant: &Tenant,
        before: Option<CampaignId>,
        rows_max: u32,
    ) -> Result<Vec<Campaign>, StoreError>;

    /// Reads how a campaign stands in numbers, which are kept: a row a group, however many devices it has.
    async fn standing(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Standing>, StoreError>;

    /// Lists how far the devices of a campaign are, by name, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn tracks(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError>;

    /// Lists as [`Campaigns::tracks`] does, of the devices in these stages alone, without looking at any other: at most
    /// `rows_max` rows a stage are read.
    async fn tracks_in(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        stages: &[Stage],
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError>;

    /// Reads how far these devices are in a campaign; those that are no targets of it are left out.
    async fn tracks_of(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Track>, StoreError>;

    /// Lists the devices of a campaign that a gateway lists and that count against the limit of devices at a time, by
    /// endpoint: at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn in_flight_behind(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        gateway: &Endpoint,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError>;

    /// Lists the running campaigns that are at work on these devices, but this one.
    async fn at_work_on(
        &self,
        tenant: &Tenant,
        but: CampaignId,
        devices: &[Endpoint],
    ) -> Result<Vec<AtWork>, StoreError>;

    /// Reads what devices were given in a campaign, as the ledger tells it: of each of these pairs of device and grant,
    /// where it is there.
    async fn given(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        grants: &[(Endpoint, u64)],
    ) -> Result<BTreeMap<Endpoint, Given>, StoreError>;

    /// Lists the campaigns that a device is a target of and that matter to it now, the latest first: those that run or are
    /// paused, and those in which its image is there to be started. At most [`crate::bounds::LIST_ROWS_MAX`].
    async fn campaigns_for(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Vec<(Campaign, Track)>, StoreError> {
        self.campaigns_about(tenant, endpoint, &[]).await
    }

    /// Lists those of [`Campaigns::campaigns_for`], and every other one of the device that brings one of these manifests,
    /// however it ended.
    async fn campaigns_about(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        manifests: &[Digest],
    ) -> Result<Vec<(Campaign, Track)>, StoreError>;

    /// Lists all campaigns that a device ever was a target of, the latest first; at most
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn campaigns_ever(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Vec<(Campaign, Track)>, StoreError>;
}
