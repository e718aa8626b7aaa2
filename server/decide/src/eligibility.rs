//! Whether a device may have an update at all: named conditions, each with its reason.
//!
//! Decided before any resource is made. That this identity did not get the update before is row 7 of
//! [`crate::key_index`] for requests; here it keeps a campaign from offering in vain.

use crate::campaign::{Campaign, CampaignId, CampaignState};
use crate::device::Device;
use crate::identity::Digest;
use crate::refusal::Refusal;

/// A condition that a device has to meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// The identity is enrolled.
    KnownIdentity,
    /// Updates are switched on for the device.
    DeviceEnabled,
    /// A campaign offers the manifest.
    ManifestOffered,
    /// Such a campaign is for this device.
    Targeted,
    /// Such a campaign was neither cancelled nor halted, and is not paused.
    CampaignOpen,
    /// The identity did not get this update before.
    NotSentBefore,
}

/// A condition with how it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which.
    pub condition: Condition,
    /// Why it is not met; `None` if it is.
    pub unmet: Option<Refusal>,
    /// One sentence for the operator.
    pub reason: String,
}

/// Findings in the order in which they were checked; the first that is not met ends the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Eligibility {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The campaign that the update belongs to, if every condition is met; else the first unmet one's refusal.
    pub outcome: Result<CampaignId, Refusal>,
}

/// What the decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The enrolled device; `None` if nobody enrolled it.
    pub device: Option<&'a Device>,
    /// Digest of the manifest that it asks for, or that is to be offered.
    pub manifest: &'a Digest,
    /// All campaigns, or those of this manifest.
    pub campaigns: &'a [Campaign],
    /// Whether this identity confirmed this manifest and may not have it again.
    pub sent_before: bool,
}

/// Checks the conditions one after the other, up to the first that is not met.
#[must_use]
pub fn check(facts: &Facts<'_>) -> Eligibility {
    let mut findings = Vec::new();
    let outcome = conditions(facts, &mut findings);
    Eligibility { findings, outcome }
}

fn conditions(facts: &Facts<'_>, findings: &mut Vec<Finding>) -> Result<CampaignId, Refusal> {
    let mut require = |condition, met: bool, refusal: Refusal, when_met: String| {
        let reason = if met { when_met } else { refusal.text().to_owned() };
        findings.push(Finding { condition, unmet: (!met).then_some(refusal), reason });
        if met { Ok(()) } else { Err(refusal) }
    };
    let known = facts.device.is_some();
    require(
        Condition::KnownIdentity,
        known,
        Refusal::UnknownIdentity,
        "the identity is enrolled".to_owned(),
    )?;
    let device = facts.device.ok_or(Refusal::UnknownIdentity)?;
    let enabled = "updates are switched on for the device".to_owned();
    require(Condition::DeviceEnabled, device.enabled, Refusal::DeviceDisabled, enabled)?;

    let offering: Vec<_> = facts.campaigns.iter().filter(|one| one.manifest == *facts.manifest).collect();
    let count = format!("{} campaign(s) offer this manifest", offering.len());
    require(Condition::ManifestOffered, !offering.is_empty(), Refusal::NoCampaign, count)?;
    let chosen =
        offering.into_iter().filter(|one| one.targets.include(device)).max_by_key(|one| preference(one));
    let targeted = chosen.map(|one| format!("campaign {} is for this device", one.id.0)).unwrap_or_default();
    require(Condition::Targeted, chosen.is_some(), Refusal::NotTargeted, targeted)?;
    let campaign = chosen.ok_or(Refusal::NotTargeted)?;

    let closed = closed(campaign.state);
    let open = format!("campaign {} is {}", campaign.id.0, campaign.state.name());
    let refusal = closed.unwrap_or(Refusal::CampaignCancelled);
    require(Condition::CampaignOpen, closed.is_none(), refusal, open)?;
    let unsent = "the identity did not get this update before".to_owned();
    require(Condition::NotSentBefore, !facts.sent_before, Refusal::AlreadySent, unsent)?;
    Ok(campaign.id)
}

/// Finds the campaign that an update of this manifest belongs to, among those that a device is a target of.
#[must_use]
pub fn preferred<'a>(
    manifest: &Digest,
    campaigns: impl Iterator<Item = &'a Campaign>,
) -> Option<&'a Campaign> {
    campaigns.filter(|one| one.manifest == *manifest).max_by_key(|one| preference(one))
}

/// A running campaign before a paused one, before a finished one, before one that ended early; then the newest.
fn preference(campaign: &Campaign) -> (u8, CampaignId) {
    let state = match campaign.state {
        CampaignState::Running => 3,
        CampaignState::Paused => 2,
        CampaignState::Finished => 1,
        CampaignState::Halted | CampaignState::Cancelled => 0,
    };
    (state, campaign.id)
}

/// A finished campaign still serves its devices: one that failed may ask again.
fn closed(state: CampaignState) -> Option<Refusal> {
    match state {
        CampaignState::Running | CampaignState::Finished => None,
        CampaignState::Paused => Some(Refusal::CampaignPaused),
        CampaignState::Halted => Some(Refusal::CampaignHalted),
        CampaignState::Cancelled => Some(Refusal::CampaignCancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Policy, Targets};
    use crate::device::Endpoint;

    const MANIFEST: Digest = [0xA1; 32];

    fn device() -> Device {
        let endpoint = Endpoint::try_from("meter-1").expect("a name");
        Device { endpoint, class: "meter".to_owned(), enabled: true, added_at: 0 }
    }

    fn campaign(id: u64, state: CampaignState) -> Campaign {
        let policy = Policy {
            in_flight_max: None,
            failure_per_mille_max: 100,
            failure_sample_min: 10,
            reseed: false,
            ask_go: false,
        };
        Campaign {
            id: CampaignId(id),
            manifest: MANIFEST,
            targets: Targets::All,
            policy,
            launched_at: 0,
            state,
        }
    }

    fn outcome(device: Option<&Device>, campaigns: &[Campaign]) -> Result<CampaignId, Refusal> {
        let eligibility = check(&Facts { device, manifest: &MANIFEST, campaigns, sent_before: false });
        let unmet = eligibility.findings.iter().find_map(|finding| finding.unmet);
        assert_eq!(unmet, eligibility.outcome.err(), "the outcome is the first unmet condition");
        eligibility.outcome
    }

    #[test]
    fn enrolled_device_in_a_running_campaign_is_eligible() {
        assert_eq!(outcome(Some(&device()), &[campaign(1, CampaignState::Running)]), Ok(CampaignId(1)));
    }

    #[test]
    fn unknown_identity_is_not() {
        assert_eq!(outcome(None, &[campaign(1, CampaignState::Running)]), Err(Refusal::UnknownIdentity));
    }

    #[test]
    fn disabled_device_is_not() {
        let device = Device { enabled: false, ..device() };
        assert_eq!(
            outcome(Some(&device), &[campaign(1, CampaignState::Running)]),
            Err(Refusal::DeviceDisabled)
        );
    }

    #[test]
    fn manifest_without_campaign_is_refused() {
        let other = Campaign { manifest: [9; 32], ..campaign(1, CampaignState::Running) };
        assert_eq!(outcome(Some(&device()), &[other]), Err(Refusal::NoCampaign));
    }

    #[test]
    fn device_outside_the_targets_is_refused() {
        let other = Campaign {
            targets: Targets::Classes(vec!["lamp".to_owned()]),
            ..campaign(1, CampaignState::Running)
        };
        assert_eq!(outcome(Some(&device()), &[other]), Err(Refusal::NotTargeted));
    }

    #[test]
    fn cancelled_and_halted_campaigns_refuse_with_their_reason() {
        let cancelled = campaign(1, CampaignState::Cancelled);
        let halted = campaign(2, CampaignState::Halted);
        assert_eq!(
            outcome(Some(&device()), std::slice::from_ref(&cancelled)),
            Err(Refusal::CampaignCancelled)
        );
        assert_eq!(outcome(Some(&device()), &[cancelled, halted]), Err(Refusal::CampaignHalted));
    }

    #[test]
    fn paused_campaign_refuses_unless_another_of_the_manifest_runs() {
        let paused = campaign(2, CampaignState::Paused);
        assert_eq!(outcome(Some(&device()), std::slice::from_ref(&paused)), Err(Refusal::CampaignPaused));
        let finished = campaign(3, CampaignState::Finished);
        assert_eq!(outcome(Some(&device()), &[finished, paused.clone()]), Err(Refusal::CampaignPaused));
        let running = campaign(1, CampaignState::Running);
        assert_eq!(outcome(Some(&device()), &[running, paused]), Ok(CampaignId(1)));
    }

    #[test]
    fn running_campaign_counts_before_a_newer_cancelled_one() {
        let campaigns = [campaign(1, CampaignState::Running), campaign(2, CampaignState::Cancelled)];
        assert_eq!(outcome(Some(&device()), &campaigns), Ok(CampaignId(1)));
    }

    #[test]
    fn finished_campaign_still_serves_a_device_that_asks_again() {
        assert_eq!(outcome(Some(&device()), &[campaign(1, CampaignState::Finished)]), Ok(CampaignId(1)));
    }

    #[test]
    fn update_that_was_sent_before_is_refused_last_with_every_condition_listed() {
        let campaigns = [campaign(1, CampaignState::Running)];
        let facts =
            Facts { device: Some(&device()), manifest: &MANIFEST, campaigns: &campaigns, sent_before: true };
        let eligibility = check(&facts);
        assert_eq!(eligibility.outcome, Err(Refusal::AlreadySent));
        assert_eq!(eligibility.findings.len(), 6);
    }
}
