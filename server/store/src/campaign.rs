//! Campaigns, how far their devices are, and the commands that launched them.
//!
//! How far a campaign and its devices are is a fold over the ledger ([`Progress`]). Whatever call appends events also
//! applies them to the kept fold, in the same commit, so that reading it never means reading the ledger.

use async_trait::async_trait;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
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

/// How many devices of a class are in a stage of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageCount {
    /// Name of the class.
    pub class: String,
    /// How far they are.
    pub stage: Stage,
    /// Why, of those that failed or were refused.
    pub reason: Option<String>,
    /// How many.
    pub devices: u32,
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
    /// heard of meanwhile is left alone. `decided`: the campaign as it was read then.
    async fn append_for_unmoved(
        &self,
        tenant: &Tenant,
        decided: &Progress,
        events: &[Event],
    ) -> Result<Vec<Event>, StoreError>;

    /// Carries an order out if the campaign is in the expected state: its events and its command in one commit.
    ///
    /// # Errors
    ///
    /// As [`Campaigns::move_campaign`].
    async fn order(&self, tenant: &Tenant, order: Ordered<'_>) -> Result<Launched, MoveError>;

    /// Reads how far a campaign and all its devices are.
    async fn progress(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Progress>, StoreError>;

    /// Lists campaigns by number, the latest first, before the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn latest_campaigns(
        &self,
        tenant: &Tenant,
        before: Option<CampaignId>,
        rows_max: u32,
    ) -> Result<Vec<Campaign>, StoreError>;

    /// Counts the devices of a campaign by class, stage and reason, without reading each.
    async fn stage_counts(&self, tenant: &Tenant, id: CampaignId) -> Result<Vec<StageCount>, StoreError>;

    /// Lists how far the devices of a campaign are, by name, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn tracks(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError>;

    /// Lists as [`Campaigns::tracks`] does, of the devices in these stages alone. Passes all others over, one by one.
    async fn tracks_in(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        stages: &[Stage],
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError>;

    /// Lists the campaigns that a device is a target of, the latest first; at most [`crate::bounds::LIST_ROWS_MAX`].
    async fn campaigns_for(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Vec<(Campaign, Track)>, StoreError>;
}
