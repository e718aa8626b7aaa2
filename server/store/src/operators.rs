//! What people need who run the server: how much there is, who was heard when.

use async_trait::async_trait;
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::device::Endpoint;

use crate::error::StoreError;
use crate::tenant::Tenant;

/// How much there is, for gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Number of the last event; 0 for an empty ledger.
    pub events: u64,
    /// Devices that are enrolled.
    pub devices: u64,
    /// Gateways that are enrolled.
    pub gateways: u64,
    /// Devices by stage, of campaigns that are running or paused: the newest [`FIGURED_CAMPAIGNS_MAX`] of them.
    pub stages: Vec<(CampaignId, Stage, u64)>,
}

/// When a device was heard last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Which device.
    pub endpoint: Endpoint,
    /// When it registered last, seconds since 1970; 0: not known, and leaves what is kept.
    pub registered_at: u64,
    /// When it was heard last, seconds since 1970.
    pub heard_at: u64,
    /// Where it was then, `address:port`.
    pub address: String,
}

/// Keeps what people need who run the server.
#[async_trait]
pub trait Operators {
    /// Counts what there is.
    async fn figures(&self, tenant: &Tenant) -> Result<Figures, StoreError>;

    /// Keeps when devices were heard, in one commit; an earlier time than the kept one changes nothing.
    async fn put_contacts(&self, tenant: &Tenant, contacts: &[Contact]) -> Result<(), StoreError>;

    /// Reads when a device was heard last.
    async fn contact(&self, tenant: &Tenant, endpoint: &Endpoint) -> Result<Option<Contact>, StoreError>;
}

/// Campaigns whose devices are counted by stage: who runs more at once looks at them one by one.
pub const FIGURED_CAMPAIGNS_MAX: u32 = 50;
