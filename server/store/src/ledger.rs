//! The ledger: what happened, in order; the oldest part may be removed once it was exported.

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

/// How the ledger was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The event from which on the ledger is whole; of those before it some are gone.
    pub kept_from: u64,
    /// When that event, or the first one behind it that is there, happened, in seconds since 1970.
    pub kept_since: u64,
    /// When events were removed last, seconds since 1970.
    pub cut_at: u64,
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

    /// Finds where the ledger is to be cut so that what happened before a time goes: the number of the first event that
    /// stays, 0 where all do. Times are seconds since 1970.
    ///
    /// What stands behind an event that is to be kept stays too. A time after `now`, of a clock that was wrong, says nothing:
    /// such an event goes with those behind it.
    async fn old_until(&self, tenant: &Tenant, before: u64, now: u64) -> Result<u64, StoreError>;

    /// Reads events with numbers above `since` and below `until` that nothing needs any more, in order: those of campaigns
    /// that go on, or were halted and may go on, are left out. At most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn unneeded_events(
        &self,
        tenant: &Tenant,
        since: u64,
        until: u64,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Removes these events in one commit, and notes that the ledger is whole behind the last of them; returns how many it
    /// removed. What is needed after all stays, as does the last event of the ledger. `at` is seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfBounds`] for more than [`crate::bounds::LIST_ROWS_MAX`].
    async fn remove_events(&self, tenant: &Tenant, numbers: &[u64], at: u64) -> Result<u64, StoreError>;

    /// Tells how the ledger was cut last; `None`: it was not.
    async fn cut(&self, tenant: &Tenant) -> Result<Option<Cut>, StoreError>;

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
