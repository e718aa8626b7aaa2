//! Devices in groups: tags, and devices that are given up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks to change the tags of devices, of all or none: `commands/devices/tag`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagDevices {
    /// Chosen by the caller, 1 to 64 bytes: the same request again changes nothing, and another body under the same id
    /// is refused.
    pub request_id: String,
    /// Endpoint names, 1 to 500.
    pub endpoints: Vec<String>,
    /// Tags to put to each of them: 1 to 64 bytes, letters, digits and `-_.:/=@+`; a device has at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Tags to take off each of them; one that a device does not have is passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Who asks, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why; kept in the ledger. At most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Answers `commands/devices/tag`: the devices as they are tagged now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct TaggedDevices {
    /// In the order in which they were named.
    pub devices: Vec<DeviceTags>,
}

/// The tags of a device.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DeviceTags {
    /// Endpoint name.
    pub endpoint: String,
    /// Its tags, by name.
    pub tags: Vec<String>,
}

/// Asks for the tags that devices have: `commands/devices/tags`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListTags {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Tags in the page, 1 to 1000; absent: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of tags by name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct TagPage {
    /// Tags.
    pub tags: Vec<TagCount>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}

/// A tag with how many devices have it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct TagCount {
    /// The tag.
    pub tag: String,
    /// Devices that have it.
    pub devices: u64,
}

/// Asks to give a device up: `commands/devices/decommission`. Its keys are destroyed, its sessions end, its name stays
/// taken; there is no way back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecommissionDevice {
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
}
