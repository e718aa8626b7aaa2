//! Why the devices of a campaign are not done, in sentences.

use super::stage::{Stage, Track};
use super::standing::Standing;
use super::{Campaign, CampaignState};
use crate::explain;

/// Tells why a device has not come to its update; `None` where it runs it.
///
/// `reachable` says whether the device is registered now.
#[must_use]
pub fn not_done(campaign: &Campaign, track: &Track, reachable: bool) -> Option<String> {
    if matches!(track.stage, Stage::Installed | Stage::Current) {
        return None;
    }
    let mut sentence = explain::standing(track);
    if track.is_ended() {
        return Some(sentence);
    }
    if let Some(stopped) = stopped(campaign.state, track) {
        sentence.push_str("; ");
        sentence.push_str(stopped);
    }
    if !reachable {
        sentence.push_str("; it is not registered now");
    }
    Some(sentence)
}

fn stopped(state: CampaignState, track: &Track) -> Option<&'static str> {
    let loading = track.stage == Stage::Downloading;
    match state {
        CampaignState::Paused if loading => Some("the campaign is paused, so it will not start the image"),
        CampaignState::Paused => Some("the campaign is paused"),
        CampaignState::Halted => Some("the campaign was halted"),
        CampaignState::Cancelled => Some("the campaign was cancelled"),
        CampaignState::Running | CampaignState::Finished => None,
    }
}

/// Tells how a campaign stands as a whole, a sentence a line: its state, then the counts.
///
/// `away`: how many of the waiting devices are not registered now, where that was counted.
#[must_use]
pub fn standing(standing: &Standing, away: Option<u32>) -> Vec<String> {
    let done = standing.count(Stage::has_succeeded);
    let mut lines = vec![
        format!("campaign {} is {}", standing.campaign.0, standing.state.name()),
        format!("{done} of {} device(s) run their update", standing.targeted()),
    ];
    let mut say = |count: u32, what: &str| {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    };
    say(standing.in_flight(), "at work");
    say(standing.count(|stage| stage == Stage::Waiting), "waiting");
    say(away.unwrap_or(0), "of the waiting ones are not registered now");
    say(standing.count(|stage| matches!(stage, Stage::Failed | Stage::Refused)), "failed or were refused");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::progress::Progress;
    use crate::campaign::{CampaignId, Policy, Targets};
    use crate::device::Endpoint;

    fn campaign(state: CampaignState) -> Campaign {
        let policy = Policy {
            in_flight_max: None,
            failure_per_mille_max: 100,
            failure_sample_min: 10,
            reseed: false,
            ask_go: false,
        };
        let (id, manifest, targets) = (CampaignId(3), [1; 32], Targets::All);
        Campaign { id, manifest, targets, policy, launched_at: 0, state }
    }

    fn track(stage: Stage) -> Track {
        Track { stage, ..Track::new("meter".to_owned(), 1) }
    }

    #[test]
    fn device_that_runs_its_update_needs_no_sentence() {
        for stage in [Stage::Installed, Stage::Current] {
            assert_eq!(not_done(&campaign(CampaignState::Running), &track(stage), true), None);
        }
    }

    #[test]
    fn waiting_device_is_told_with_what_it_waits_for() {
        let said = |state, reachable| {
            not_done(&campaign(state), &track(Stage::Waiting), reachable).expect("a reason")
        };
        assert_eq!(said(CampaignState::Running, true), "it waits for its turn, or for its next contact");
        assert!(said(CampaignState::Running, false).ends_with("; it is not registered now"));
        assert!(said(CampaignState::Paused, true).ends_with("; the campaign is paused"));
    }

    #[test]
    fn failure_is_told_with_its_own_reason_alone() {
        let failed = Track { reason: Some("digest differs".to_owned()), ..track(Stage::Failed) };
        let said = not_done(&campaign(CampaignState::Paused), &failed, false);
        assert_eq!(said.as_deref(), Some("its update failed: digest differs"));
    }

    #[test]
    fn counts_leave_out_what_there_is_none_of() {
        let name = |text: &str| Endpoint::try_from(text).expect("a name");
        let mut progress = Progress::new(CampaignId(3));
        for (endpoint, stage) in [("a", Stage::Installed), ("b", Stage::Waiting), ("c", Stage::Failed)] {
            progress.tracks.insert(name(endpoint), track(stage));
        }
        let told = standing(&Standing::of(&progress), Some(1));
        let expected = [
            "campaign 3 is running",
            "1 of 3 device(s) run their update",
            "1 waiting",
            "1 of the waiting ones are not registered now",
            "1 failed or were refused",
        ];
        assert_eq!(told, expected);
    }
}
