//! Why the devices of a campaign are not done, in sentences.

use super::stage::{Stage, Track};
use super::standing::Standing;
use super::{Campaign, CampaignState};
use crate::explain;
use crate::queue_mode::Reach;

/// Tells why a device has not come to its update; `None` where it runs it.
///
/// `reach` says whether the device is registered now, and listens.
#[must_use]
pub fn not_done(campaign: &Campaign, track: &Track, reach: Reach) -> Option<String> {
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
    sentence.push_str(match (reach, track.stage) {
        (Reach::Here, _) => "",
        (Reach::Asleep, Stage::Waiting | Stage::Offered) => "; it is asleep: offered when it wakes",
        (Reach::Asleep, _) => "; it is asleep: it goes on when it wakes",
        (Reach::Away, _) => "; it is not registered now",
    });
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

/// Waiting devices of a campaign that can't be offered anything now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Absent {
    /// Not registered.
    pub away: u32,
    /// Registered in queue mode, and asleep.
    pub asleep: u32,
}

/// Tells how a campaign stands as a whole, a sentence a line: its state, then the counts.
///
/// `absent`: how many of the waiting devices can't be offered anything now, where that was counted.
#[must_use]
pub fn standing(standing: &Standing, absent: Option<Absent>) -> Vec<String> {
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
    let absent = absent.unwrap_or_default();
    say(absent.away, "of the waiting ones are not registered now");
    say(absent.asleep, "of the waiting ones are asleep, and offered when they wake");
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
            assert_eq!(not_done(&campaign(CampaignState::Running), &track(stage), Reach::Here), None);
        }
    }

    #[test]
    fn waiting_device_is_told_with_what_it_waits_for() {
        let said =
            |state, reach| not_done(&campaign(state), &track(Stage::Waiting), reach).expect("a reason");
        assert_eq!(
            said(CampaignState::Running, Reach::Here),
            "it waits for its turn, or for its next contact"
        );
        assert!(said(CampaignState::Running, Reach::Away).ends_with("; it is not registered now"));
        assert!(
            said(CampaignState::Running, Reach::Asleep).ends_with("; it is asleep: offered when it wakes")
        );
        assert!(said(CampaignState::Paused, Reach::Here).ends_with("; the campaign is paused"));
    }

    #[test]
    fn device_that_sleeps_at_its_work_is_told_so() {
        let said = not_done(&campaign(CampaignState::Running), &track(Stage::Downloading), Reach::Asleep);
        assert!(said.expect("a reason").ends_with("; it is asleep: it goes on when it wakes"));
    }

    #[test]
    fn failure_is_told_with_its_own_reason_alone() {
        let failed = Track { reason: Some("digest differs".to_owned()), ..track(Stage::Failed) };
        let said = not_done(&campaign(CampaignState::Paused), &failed, Reach::Away);
        assert_eq!(said.as_deref(), Some("its update failed: digest differs"));
    }

    #[test]
    fn counts_leave_out_what_there_is_none_of() {
        let name = |text: &str| Endpoint::try_from(text).expect("a name");
        let mut progress = Progress::new(CampaignId(3));
        for (endpoint, stage) in [("a", Stage::Installed), ("b", Stage::Waiting), ("c", Stage::Failed)] {
            progress.tracks.insert(name(endpoint), track(stage));
        }
        let told = standing(&Standing::of(&progress), Some(Absent { away: 1, asleep: 2 }));
        let expected = [
            "campaign 3 is running",
            "1 of 3 device(s) run their update",
            "1 waiting",
            "1 of the waiting ones are not registered now",
            "2 of the waiting ones are asleep, and offered when they wake",
            "1 failed or were refused",
        ];
        assert_eq!(told, expected);
    }
}
