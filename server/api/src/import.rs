//! Devices in bulk: lists that are enrolled at once, and their unit files.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::device::Security;

/// A device as a list has it: what an export gives and an import takes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedDevice {
    /// Endpoint name, which is the identity's name and the DTLS identity: 1 to 64 bytes.
    pub endpoint: String,
    /// Class name, as in the author's manifest.
    pub class: String,
    /// How it is reached.
    #[serde(default)]
    pub security: Security,
    /// Name of the gateway that it sends its update requests to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Updates until it needs a new seed, 1 to 4096; absent: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_length: Option<u16>,
    /// What operators call the groups that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A device with its line in the list, by which faults name it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRow {
    /// Its line, from 1 on; the lines of an import rise.
    pub line: u64,
    /// The device.
    pub device: ListedDevice,
}

/// Asks whether devices could be enrolled: `POST /v1/imports/check`. Nothing is written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckImport {
    /// 1 to 1000 of them.
    pub rows: Vec<ImportRow>,
}

/// What is wrong with a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ImportFaults {
    /// In the order of the lines; none: all of them could be enrolled.
    pub faults: Vec<ImportFault>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ImportFault {
    /// Which line.
    pub line: u64,
    /// For people.
    pub reason: String,
}

/// Sends a piece of a list: `PUT /v1/imports/{id}/rows`. Nobody is enrolled before the import is committed. The same piece
/// again changes nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageImport {
    /// SHA-256 by which the caller names the list, in hexadecimal: another list under the same id is refused.
    pub content: String,
    /// Devices of the whole list, 1 to 1,000,000.
    pub lines: u64,
    /// 1 to 1000 of them.
    pub rows: Vec<ImportRow>,
}

/// How far an import is: `GET /v1/imports/{id}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ImportState {
    /// Its name, as the caller chose it.
    pub id: String,
    /// SHA-256 by which the caller names the list, in hexadecimal.
    pub content: String,
    /// Devices of the whole list.
    pub lines: u64,
    /// Devices that came so far; 0 once they are enrolled.
    pub staged: u64,
    /// The last line that came so far; 0 once they are enrolled.
    pub staged_to: u64,
    /// When all of them were enrolled; absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<u64>,
    /// Unit files that were not received yet.
    pub due: u64,
}

/// Unit files that were not received yet, by line: `GET /v1/imports/{id}/units`. Secret: seeds and keys are in them.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct UnitPage {
    /// Unit files.
    pub units: Vec<ImportedUnit>,
}

/// A unit file.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct ImportedUnit {
    /// Line of the device in its list.
    pub line: u64,
    /// Endpoint name.
    pub endpoint: String,
    /// Its bytes in hexadecimal; absent: the device has another seed since, so it has its unit file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl core::fmt::Debug for UnitPage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UnitPage({} unit files)", self.units.len())
    }
}

impl core::fmt::Debug for ImportedUnit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ImportedUnit").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Says which unit files were received and are on disk: `POST /v1/imports/{id}/received`. They are not given again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitsReceived {
    /// Those of all lines up to this one.
    pub up_to: u64,
}

/// A page of devices as an import takes them, by name: `commands/devices/export`. Decommissioned ones are left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ExportPage {
    /// Devices.
    pub devices: Vec<ListedDevice>,
    /// What to ask with as `after`; absent at the end.
    pub next: Option<String>,
}
