//! What the server tells over MQTT by itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::campaign::Campaign;

/// One thing that happened, as the ledger has it.
///
/// Topics: `campaigns/<campaign>/events`, `campaigns/<campaign>/devices/<endpoint>`, `devices/<endpoint>/update` and
/// `alarms/<kind>`, at `QoS` 1. An event may come more than once, then with the same `id`; within a campaign the ids rise.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Its number in the ledger.
    pub id: u64,
    /// When.
    pub at: u64,
    /// `offered`, `resolved`, `installed` and so on; more kinds may come.
    pub kind: String,
    /// The same in a sentence.
    pub text: String,
    /// In which campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// To which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Number of the grant that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    /// Bytes that the device fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why, of failures and refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why it was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The request by which it was ordered, as the log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Asks for a page of the ledger: `GET /v1/events`, `commands/events/list`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// For the reply's topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Only events after this one; absent: from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Events in a page, 1 to 1000; absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those of this campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Only those of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only what people did: orders, enrolments, publications; with a campaign: what concerns it as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts: Option<bool>,
}

/// A page of the ledger, the oldest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// What to give as `since` for the next page; absent: there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// How the ledger was cut, where events after `since` are gone from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<LedgerCut>,
}

/// How the ledger was cut: old events were exported to files of the server and removed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct LedgerCut {
    /// The event from which on the ledger is whole; before it stand only events of campaigns that went on.
    pub kept_from: u64,
    /// When that event happened, seconds since 1970.
    pub kept_since: u64,
    /// When events were removed last, seconds since 1970.
    pub cut_at: u64,
}

/// How a campaign goes: `campaigns/<campaign>/progress`, retained; the latest one counts, those between may be left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// Number of the last event in the ledger that it counts in.
    pub as_of: u64,
    /// The campaign without its devices.
    pub campaign: Campaign,
}

/// A device came or went: `devices/<endpoint>/registration`. Not from the ledger: one may be lost with a connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Registration {
    /// Endpoint name.
    pub endpoint: String,
    /// Whether it can be reached now.
    pub registered: bool,
    /// Where it is, while it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When.
    pub at: u64,
}

/// Whether the server is there: `server/status`, retained; the broker says `online: false` when it is lost.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ServerStatus {
    /// Whether it is.
    pub online: bool,
}
