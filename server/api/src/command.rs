//! Commands: one type a verb, the same over MQTT and HTTP, and the shape of their replies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::campaign::{Campaign, CampaignState, DeviceOutcome};
use crate::device::Device;
use crate::error::ErrorBody;

/// Asks to pause, resume, cancel or retry a campaign: `commands/campaigns/{pause,resume,cancel,retry-failed}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderCampaign {
    /// Chosen by the caller, 1 to 64 bytes: the same request again gives the same reply and changes nothing, and
    /// another body under the same id is refused.
    pub request_id: String,
    /// The campaign's name.
    pub campaign: String,
    /// Who asks, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why; kept in the ledger. At most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An operator's order about one device: `commands/devices/{resync,reissue,forward,block,unblock}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderDevice {
    /// Chosen by the caller, 1 to 64 bytes: the same request again changes nothing, and another body under the same id
    /// is refused.
    pub request_id: String,
    /// Endpoint name.
    pub endpoint: String,
    /// Why; kept in the ledger. At most 512 bytes.
    pub why: String,
    /// Who orders it, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Last second in which it holds. Absent: `resync` and `forward` hold for a day, `block` for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Of `reissue`: digest of the manifest; absent: the one that the device confirmed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// Says that the database was restored from a backup: `commands/devices/resync-all`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResyncAll {
    /// Chosen by the caller, 1 to 64 bytes: the same request again changes nothing.
    pub request_id: String,
    /// Why; kept in the ledger. At most 512 bytes.
    pub why: String,
    /// Who orders it, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Last second in which the places that devices prove are taken; absent: two days from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Answers `commands/devices/resync-all`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Resynced {
    /// How often the database was restored, as far as operators said so.
    pub restores: u64,
    /// Last second in which the places that devices prove are taken.
    pub until: u64,
}

/// Asks for a page of campaigns: `commands/campaigns/list`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListCampaigns {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Only those that stand so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<CampaignState>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Campaigns in the page, 1 to 1000; absent: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of campaigns, the oldest first, without their devices.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct CampaignPage {
    /// Campaigns.
    pub campaigns: Vec<Campaign>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}

/// Asks why devices of a campaign are not done: `commands/campaigns/explain`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainCampaign {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The campaign's name.
    pub campaign: String,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Devices in the page, 1 to 1000; absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Tells how a campaign stands and why its devices are not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct CampaignExplanation {
    /// The campaign's name.
    pub campaign: String,
    /// How it stands as a whole, and what was ordered by whom: one sentence an entry.
    pub lines: Vec<String>,
    /// Devices that do not run their update, by name.
    pub devices: Vec<NotDone>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}

/// A device that does not run its update.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct NotDone {
    /// Endpoint name.
    pub endpoint: String,
    /// How far it is.
    pub outcome: DeviceOutcome,
    /// Why not, in a sentence.
    pub why: String,
}

/// Asks for a page of devices: `commands/devices/list`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListDevices {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Devices in the page, 1 to 1000; absent: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// A page of devices by name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DevicePage {
    /// Devices.
    pub devices: Vec<Device>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}

/// Asks about one device: `commands/devices/{show,explain}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskDevice {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Endpoint name.
    pub endpoint: String,
}

/// What a command is answered with over MQTT. Over HTTP, `ok` is the body, and `error` the body of a refusal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Reply {
    /// The request id of the command, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What was asked for, where it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<serde_json::Value>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}
