//! Campaigns: launch, progress, outcome.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a campaign: `POST /v1/campaigns`, `commands/campaigns/launch`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchCampaign {
    /// Chosen by the caller, 1 to 64 bytes: the same request again gives the same campaign, and another
    /// body under the same id is refused.
    pub request_id: String,
    /// Digest of a published manifest, in hexadecimal.
    pub manifest: String,
    /// Which devices.
    #[serde(default)]
    pub targets: Targets,
    /// How fast, and when to stop.
    #[serde(default)]
    pub policy: Policy,
    /// Who asks, as they say themselves; kept in the ledger. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why; kept in the ledger. At most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Chooses devices; names of devices go with neither classes nor tags. Everything empty: every device of the classes that the manifest serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Class names.
    pub classes: Vec<String>,
    /// Endpoint names.
    pub endpoints: Vec<String>,
    /// Tags: devices that have all of them. With class names: devices of these classes among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Paces a campaign.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Devices at work at the same time; absent: all at once.
    pub at_most: Option<u32>,
    /// Stops offering once more than this share of the finished devices failed; absent: never.
    pub abort_failed_per_mille: Option<u16>,
    /// Finished devices that are needed before the share counts; absent: 1.
    pub abort_sample_min: Option<u32>,
    /// Gives every device a new epoch of keys with its update.
    #[serde(skip_serializing_if = "is_unset")]
    pub reseed: bool,
    /// Lets devices ask before they start the new image, and start only on the server's word.
    #[serde(skip_serializing_if = "is_unset")]
    pub ask_go: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unset(flag: &bool) -> bool {
    !flag
}

/// A campaign with its progress: `GET /v1/campaigns/{id}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Campaign {
    /// Its name.
    pub id: String,
    /// Digest of its manifest, in hexadecimal.
    pub manifest: String,
    /// How it stands.
    pub state: CampaignState,
    /// Why it halted, where it did.
    pub reason: Option<String>,
    /// When it was launched.
    pub created: u64,
    /// How it goes, a row a class.
    pub classes: Vec<ClassProgress>,
    /// How it goes, a row a device, ordered by endpoint: a page of them. Empty in lists.
    pub devices: Vec<CampaignDevice>,
    /// Where the next page of devices begins, as `after`; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which devices of a campaign are shown with it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevicesOfCampaign {
    /// `next` of the page before.
    pub after: Option<String>,
    /// Devices in the page, 1 to 1000; absent: 1000.
    pub limit: Option<u32>,
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// Offers go out as its policy allows.
    Running,
    /// Stopped for a while, by a person or because the anchors do not allow its manifest any more: nothing is offered,
    /// granted or started.
    Paused,
    /// Too many failed: no new offers.
    Halted,
    /// Ended by a person: no new offers, no new grants.
    Cancelled,
    /// Every device has an end.
    Finished,
}

/// Counts of one class. `targeted` is the sum; the others never count a device twice.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ClassProgress {
    /// Class name.
    pub class: String,
    /// Devices in the campaign.
    pub targeted: u64,
    /// Not yet offered.
    pub waiting: u64,
    /// Have the manifest.
    pub offered: u64,
    /// Have a grant and fetch.
    pub granted: u64,
    /// Slot verified, not yet confirmed.
    pub ready: u64,
    /// Run the new image.
    pub installed: u64,
    /// Failed, rolled back, or refused.
    pub failed: u64,
}

/// One device in a campaign.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct CampaignDevice {
    /// Endpoint name.
    pub endpoint: String,
    /// Class name.
    pub class: String,
    /// How far it is.
    pub outcome: DeviceOutcome,
    /// What it was given, once it was.
    pub got: Option<Got>,
    /// Why not, where it failed; what it waits for, where it waits.
    pub reason: Option<String>,
}

/// How far a device is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceOutcome {
    /// Not yet offered.
    Waiting,
    /// Has the manifest.
    Offered,
    /// Has a grant.
    Granted,
    /// Slot verified.
    Ready,
    /// Runs the new image, by its own authenticated report.
    Installed,
    /// Failed or rolled back, by its own authenticated report.
    Failed,
    /// Was told that there is nothing for it.
    Refused,
    /// Runs the target already.
    NothingToDo,
}

/// What a device was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Got {
    /// The whole image, encrypted.
    Full {
        /// Bytes as carried.
        bytes: u64,
    },
    /// A delta, encrypted.
    Delta {
        /// Version of the base, where the catalogue has it; else its digest.
        base: String,
        /// Bytes as carried.
        bytes: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_policy_is_refused_by_its_name() {
        let body = r#"{"request_id":"r","manifest":"00","policy":{"at_mots":3}}"#;
        let error = serde_json::from_str::<LaunchCampaign>(body).expect_err("unknown field");
        assert!(error.to_string().contains("at_mots"), "{error}");
    }

    #[test]
    fn launch_without_policy_means_all_at_once() {
        let launch: LaunchCampaign =
            serde_json::from_str(r#"{"request_id":"r","manifest":"00"}"#).expect("valid");
        assert_eq!(launch.policy, Policy::default());
        assert_eq!(launch.targets, Targets::default());
    }
}
