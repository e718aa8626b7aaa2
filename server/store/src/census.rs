//! How many devices run what, and since when: counted from the ledger as it grows, so that nobody who watches a fleet
//! reads all of it.

use async_trait::async_trait;
use bellwether_decide::device::Endpoint;

use crate::Digest;
use crate::error::StoreError;
use crate::tenant::Tenant;

/// What a device was seen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Which device.
    pub endpoint: Endpoint,
    /// Name of its class.
    pub class: String,
    /// Digest of its image.
    pub image: Digest,
    /// When it was seen, seconds since 1970.
    pub at: u64,
    /// Whether it only counts where nothing is known of the device: the base that it asked from.
    pub at_first: bool,
}

/// A step of counting: what a stretch of the ledger tells.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The event up to which was counted before.
    pub after: u64,
    /// The event up to which is counted with this.
    pub until: u64,
    /// What devices were seen to run, in the order of the ledger.
    pub ran: &'a [Ran],
}

/// What is asked of a census.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The first hour, counted from 1970, that is told apart from those before it.
    pub from_hour: u64,
    /// Times, seconds since 1970, the latest first: devices heard since each are counted.
    pub heard_since: Vec<u64>,
}

/// Devices that came in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Name of their class.
    pub class: String,
    /// The hour, counted from 1970; the first one asked for has all that came before.
    pub hour: u64,
    /// How many.
    pub devices: u64,
}

/// How many more devices (or fewer) run an image after an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Name of their class.
    pub class: String,
    /// Digest of the image.
    pub image: Digest,
    /// The hour, counted from 1970; the first one asked for has all that was before.
    pub hour: u64,
    /// How many.
    pub devices: i64,
}

/// How many devices there are and what they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Devices by class and hour in which they came, ordered by both.
    pub enrolled: Vec<Enrolled>,
    /// What they run, ordered by class and hour.
    pub changes: Vec<Change>,
    /// Devices heard since each of the times.
    pub heard: Vec<u64>,
}

/// Counts what devices run.
#[async_trait]
pub trait Censuses {
    /// Reads up to which event of the ledger is counted; 0: nothing is.
    async fn counted(&self, tenant: &Tenant) -> Result<u64, StoreError>;

    /// Counts a stretch of the ledger; `false`, and nothing is written, where it does not begin where the last one ended.
    async fn count(&self, tenant: &Tenant, counted: Counted<'_>) -> Result<bool, StoreError>;

    /// Reads how many devices there are and what they run. Reads an index entry a device: for a fleet of 100,000 some
    /// tens of milliseconds.
    async fn census(&self, tenant: &Tenant, asked: &Asked) -> Result<Census, StoreError>;
}

/// Seconds of the hours by which is counted.
pub const HOUR_S: u64 = 3_600;
