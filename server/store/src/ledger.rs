//! The ledger: what happened, in order, for good.

use async_trait::async_trait;
use bellwether_decide::alarm::{AlarmKey, Occurrence};
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;

use crate::error::StoreError;
use crate::tenant::Tenant;

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its number: rises by one per event of the tenant, the first is 1.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

/// Whose events to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of the tenant.
    All,
    /// Those of one campaign.
    Campaign(CampaignId),
    /// Those of one campaign as a whole: launched, paused, finished; none of its devices.
    Whole(CampaignId),
    /// Those of one device, over all campaigns.
    Device(&'a Endpoint),
    /// What people did: orders, enrolments, publications.
    Acts,
}

/// An alarm as it is kept: once per kind, subject and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAlarm {
    /// Under what it is counted.
    pub key: AlarmKey,
    /// How often it was raised that day.
    pub count: u64,
    /// First time, seconds since 1970.
    pub first_at: u64,
    /// The latest occurrence.
    pub latest: Occurrence,
}

/// Keeps events and alarms.
#[async_trait]
pub trait Ledger {
    /// Appends events in order and returns the number of the last; on disk when it returns.
    ///
    /// An empty list writes nothing and returns the highest number so far, 0 for an empty ledger.
    async fn append(&self, tenant: &Tenant, events: &[Event]) -> Result<u64, StoreError>;

    /// Reads events with numbers above `since` in order; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn events(
        &self,
        tenant: &Tenant,
        scope: Scope<'_>,
        since: u64,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Reads the last events, in order; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn latest_events(
        &self,
        tenant: &Tenant,
        scope: Scope<'_>,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Counts occurrences of alarms, and returns the keys that were new for their day; each of those leaves an event.
    async fn raise(&self, tenant: &Tenant, occurrences: &[Occurrence]) -> Result<Vec<AlarmKey>, StoreError>;

    /// Lists alarms, the latest day first; at most `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    ///
    /// `before` is the key of the last alarm of the page before.
    async fn alarms(
        &self,
        tenant: &Tenant,
        before: Option<&AlarmKey>,
        rows_max: u32,
    ) -> Result<Vec<KeptAlarm>, StoreError>;
}
