//! The status file: how the gateway is, as JSON, replaced as a whole.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::counters::Counters;
use crate::disk::{self, Durable};
use crate::gateway::Gateway;
use crate::held::HeldBundle;

/// How a gateway is; never a secret.
#[derive(Debug, Serialize)]
pub struct Status<'g> {
    /// Name of the gateway.
    pub name: &'g str,
    /// Whether a session with the server stands.
    pub uplink: bool,
    /// Devices.
    pub children: Children,
    /// Bundles that are kept.
    pub bundles: Vec<BundleStatus>,
    /// What was counted since the process started.
    #[serde(flatten)]
    pub counters: &'g Counters,
    /// What waits in the outbox.
    pub outbox: OutboxStatus,
    /// Bytes of frames.
    pub cache: CacheStatus,
}

/// Devices.
#[derive(Debug, Serialize)]
pub struct Children {
    /// On the server's list.
    pub listed: usize,
    /// With a session.
    pub connected: usize,
}

/// One bundle.
#[derive(Debug, Serialize)]
pub struct BundleStatus {
    /// Name of the campaign.
    pub campaign: String,
    /// Edition of the bundle.
    pub edition: u64,
    /// Grants in it.
    pub grants: usize,
    /// Resources that its descriptors name.
    pub resources: usize,
    /// Those of them that are here as a whole: fetched, or read from the disk and verified.
    pub fetched: usize,
    /// Whether the campaign is withdrawn.
    pub withdrawn: bool,
    /// Until when it may be used, seconds since 1970.
    pub not_after: u64,
}

/// What waits in the outbox.
#[derive(Debug, Serialize)]
pub struct OutboxStatus {
    /// Reports that wait for the server.
    pub reports: usize,
    /// Receipts that wait for their devices.
    pub receipts: usize,
}

/// Bytes of frames.
#[derive(Debug, Serialize)]
pub struct CacheStatus {
    /// On disk.
    pub disk_bytes: u64,
    /// In memory.
    pub memory_bytes: u64,
}

impl<'g> Status<'g> {
    /// Reads how the gateway is.
    #[must_use]
    pub fn of(gateway: &'g Gateway, name: &'g str) -> Self {
        let bundles = gateway.shelf.all();
        let (reports, receipts) = gateway.outbox.len();
        Self {
            name,
            uplink: gateway.uplink.is_up(),
            children: Children { listed: gateway.family.len(), connected: gateway.connected() },
            bundles: bundles.iter().map(|bundle| BundleStatus::of(gateway, bundle)).collect(),
            counters: &gateway.counters,
            outbox: OutboxStatus { reports, receipts },
            cache: CacheStatus {
                disk_bytes: gateway.cache.disk_bytes(),
                memory_bytes: gateway.cache.memory_bytes(),
            },
        }
    }
}

impl BundleStatus {
    fn of(gateway: &Gateway, bundle: &HeldBundle) -> Self {
        let roots = bundle.descriptors.values().flat_map(|descriptor| &descriptor.roots);
        let roots: BTreeSet<_> = roots.collect();
        let fetched = roots.iter().filter(|root| gateway.cache.is_whole(root)).count();
        Self {
            campaign: bundle.campaign.clone(),
            edition: bundle.edition,
            grants: bundle.grants(),
            resources: roots.len(),
            fetched,
            withdrawn: bundle.withdrawn,
            not_after: bundle.not_after,
        }
    }
}

/// Writes the file whenever something has changed, until the task is dropped.
pub async fn run(gateway: Arc<Gateway>, name: String) {
    let Some(path) = gateway.config.status.clone() else { return };
    let mut written = Vec::new();
    loop {
        write(&gateway, &name, &path, &mut written);
        sleep(ROUND).await;
    }
}

fn write(gateway: &Gateway, name: &str, path: &Path, written: &mut Vec<u8>) {
    let Ok(text) = serde_json::to_vec_pretty(&Status::of(gateway, name)) else { return };
    if text == *written {
        return;
    }
    match disk::replace(path, &text, Durable::No) {
        Ok(()) => *written = text,
        // A gateway does not stop for a full disk of its observer.
        Err(error) => tracing::warn!(path = %path.display(), %error, "the status file can't be written"),
    }
}

/// Time between two looks.
const ROUND: Duration = Duration::from_millis(250);
