//! Wire types of HTTP and MQTT: what the command line and every other fleet manager's tool speak.
//!
//! Bytes are hexadecimal text, times are seconds since 1970 (UTC), shares are per mille. Unknown fields in
//! a request are refused by name, so a misspelt policy never runs as the default.
//!
//! This crate knows nothing of the server: no decision, no store, no secret but the unit data that
//! `POST /v1/devices` answers once and `GET /v1/imports/{id}/units` until it was received.

mod alarm;
mod campaign;
mod command;
mod device;
mod error;
mod event;
mod fleet;
mod gateway;
mod import;
mod reading;
mod recall;
mod release;
mod status;

pub use alarm::Alarm;
pub use campaign::{
    Campaign, CampaignDevice, CampaignState, ClassProgress, DeviceOutcome, DevicesOfCampaign, Got,
    LaunchCampaign, Policy, Targets,
};
pub use command::{
    AskDevice, CampaignExplanation, CampaignPage, DevicePage, ExplainCampaign, ListCampaigns, ListDevices,
    NotDone, OrderCampaign, OrderDevice, Reply, ResyncAll, Resynced,
};
pub use device::{
    AddDevice, Device, Explanation, NewCredential, NewDevice, QueueMode, ReplaceCredential, Security,
};
pub use error::{ErrorBody, ErrorCode};
pub use event::{Event, EventPage, LedgerCut, ListEvents, Progress, Registration, ServerStatus};
pub use fleet::{DecommissionDevice, DeviceTags, ListTags, TagCount, TagDevices, TagPage, TaggedDevices};
pub use gateway::{AddGateway, Gateway, NewGateway};
pub use import::{
    CheckImport, ExportPage, ImportFault, ImportFaults, ImportRow, ImportState, ImportedUnit, ListedDevice,
    StageImport, UnitPage, UnitsReceived,
};
pub use reading::{ReadDevice, ReadValue, Reading, ValueKind};
pub use recall::{AskWhoRuns, RecallRelease, RunningDevice, WhoRuns};
pub use release::{Anchors, FrameCount, Manifest, ManifestClass, Release};
pub use status::{Check, CheckState, Distributor, Health, Liveness, Readiness};

/// Where the interface begins: `/v1/devices`, `/v1/campaigns`, and so on.
pub const PREFIX: &str = "/v1";
