//! Recalls of releases, and who runs one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::release::Release;

/// Asks that nobody gets a release any more, or takes that back: `commands/releases/{recall,reinstate}`. A recall halts
/// the campaigns that lead to the release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallRelease {
    /// Chosen by the caller, 1 to 64 bytes: the same request again changes nothing, and another body under the same id
    /// is refused.
    pub request_id: String,
    /// Class name.
    pub class: String,
    /// Component name; absent: `app`.
    #[serde(default = "app")]
    pub component: String,
    /// Version as published.
    pub version: String,
    /// Why; kept in the ledger. At most 512 bytes.
    pub why: String,
    /// Who orders it, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// Asks which devices run a release: `commands/releases/who-runs`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskWhoRuns {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Class name.
    pub class: String,
    /// Component name; absent: `app`.
    #[serde(default = "app")]
    pub component: String,
    /// Version as published.
    pub version: String,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Devices in the page, 1 to 1000; absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of devices by name that run a release, as far as they have told or confirmed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct WhoRuns {
    /// Which release.
    pub release: Release,
    /// Devices that run it, over all pages.
    pub total: u64,
    /// Devices of the page.
    pub devices: Vec<RunningDevice>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}

/// A device that runs a release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct RunningDevice {
    /// Endpoint name.
    pub endpoint: String,
    /// Since when that is known.
    pub since: u64,
}

/// The component of manifests that name none.
fn app() -> String {
    "app".to_owned()
}
