//! Devices: enrolment and what is known of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a new device: `POST /v1/devices`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDevice {
    /// Endpoint name, which is the identity's name and the DTLS identity: 1 to 64 bytes.
    pub endpoint: String,
    /// Class name, as in the author's manifest.
    pub class: String,
    /// How it is reached.
    #[serde(default)]
    pub security: Security,
    /// Name of the gateway that it sends its update requests to.
    #[serde(default)]
    pub gateway: Option<String>,
    /// Updates until it needs a new seed, 1 to 4096; absent: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_length: Option<u16>,
}

/// Says how the datagrams of a device are protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// DTLS 1.2 with a pre-shared key.
    #[default]
    Psk,
    /// Plain UDP. Works only where the server's configuration opens a plain port.
    None,
}

/// Answers `POST /v1/devices`. The unit data is shown here and never again.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct NewDevice {
    /// What was enrolled.
    pub device: Device,
    /// The unit file's bytes in hexadecimal. Secret: seed and DTLS key are in it.
    pub unit: String,
}

impl core::fmt::Debug for NewDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NewDevice").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A device as the server knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Device {
    /// Endpoint name.
    pub endpoint: String,
    /// Class name.
    pub class: String,
    /// How it is reached.
    pub security: Security,
    /// The gateway that lists it.
    pub gateway: Option<String>,
    /// When it was enrolled.
    pub created: u64,
    /// Which seed: 0 from the factory.
    pub epoch: u16,
    /// How many updates it has confirmed in this epoch.
    pub index: u16,
    /// Whether it is registered right now, and from where.
    pub registered: Option<String>,
    /// Whether it listens, where it is registered in queue mode; absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<QueueMode>,
    /// Whether it has told in this registration what it is, so that a bundle for its gateway may have a grant for it.
    pub told: bool,
    /// What it said it runs, in its last request or report: digest in hexadecimal.
    pub runs: Option<String>,
    /// The version of that, where the catalogue knows it.
    pub version: Option<String>,
    /// What operators call the groups that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Number of its DTLS credential, 1 from the factory.
    #[serde(default)]
    pub credential: u64,
    /// Whether a new one waits for its first use.
    #[serde(default)]
    pub credential_waits: bool,
    /// Since when it waits; absent: none does, or the ledger was cut since. The one in force is taken all the while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_waits_since: Option<u64>,
    /// When it was decommissioned; absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decommissioned: Option<u64>,
    /// When it was heard last; absent: never yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<u64>,
    /// Last second in which an operator blocks it; absent: it is not blocked. 2^64 - 1: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<u64>,
}

/// Whether a device in queue mode listens: it switches its radio off between its messages, and nothing is sent to it then.
/// Times are seconds since 1970.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct QueueMode {
    /// Whether it is taken for asleep.
    pub asleep: bool,
    /// Since when it sleeps; absent: it is awake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Until when it is awake, where nothing comes of it before; absent: it sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// When it has to be heard of at the latest, to keep its registration; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<u64>,
}

/// Answers `GET /v1/devices/{endpoint}/explain`: the story of a device, oldest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// Endpoint name.
    pub endpoint: String,
    /// All of it, one sentence an entry: how it stands, what may be done, what happened.
    pub lines: Vec<String>,
    /// How it stands now.
    #[serde(default)]
    pub standing: Vec<String>,
    /// What it waits for, and what an operator can do.
    #[serde(default)]
    pub advice: Vec<String>,
    /// What happened to it, and to its campaigns as a whole, the oldest first; the latest 1000.
    #[serde(default)]
    pub events: Vec<crate::Event>,
}

/// Asks for a new DTLS credential: `POST /v1/devices/{endpoint}/credential`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceCredential {
    /// Chosen by the caller, 1 to 64 bytes: the same request again is given the same credential, and another body under the
    /// same id is refused.
    pub request_id: String,
    /// Whether the one in force is refused from now on; else it is taken until the new one was used.
    #[serde(default)]
    pub at_once: bool,
    /// Whether it may take the place of a new one that waits for its first use.
    #[serde(default)]
    pub again: bool,
    /// Why; kept in the ledger. At most 512 bytes.
    pub why: String,
    /// Who orders it, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// A new DTLS credential of a device.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct NewCredential {
    /// Endpoint name.
    pub endpoint: String,
    /// Its number.
    pub number: u64,
    /// The DTLS identity that goes with it.
    pub identity: String,
    /// A unit file's bytes in hexadecimal, with zeros for the seed, which the device has. Secret: the DTLS key is in it.
    pub unit: String,
}

impl core::fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NewCredential").field("identity", &self.identity).finish_non_exhaustive()
    }
}
