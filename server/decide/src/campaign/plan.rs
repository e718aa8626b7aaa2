//! The next step of a campaign.

use super::event::{By, Event, EventKind};
use super::lapse::Lapse;
use super::stage::{Stage, Track};
use super::standing::Standing;
use super::{CampaignId, CampaignState, Policy};
use crate::device::Endpoint;
use crate::queue_mode::Reach;
use std::collections::BTreeMap;

/// The next step of a campaign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plan {
    /// Send the manifest to these devices.
    Offer(Vec<Endpoint>),
    /// Stop: too many devices failed.
    Halt {
        /// Share of the ended devices that failed, in thousandths.
        failure_per_mille: u32,
    },
    /// Nothing to do before an event comes, or until this second if it says one.
    Wait {
        /// Seconds since 1970.
        until: Option<u64>,
    },
    /// Every device came to an end: write it down.
    Finish,
    /// The campaign is over.
    Over,
}

/// Plans the next step of a campaign.
///
/// `reachable` are devices of the campaign that can take a manifest now, in the order in which they should be served;
/// those that are not due are passed over. It need not be all of them: who is left out waits for another plan.
#[must_use]
pub fn plan(policy: &Policy, standing: &Standing, reachable: &[(Endpoint, Track)], now: u64) -> Plan {
    if standing.state != CampaignState::Running {
        return Plan::Over;
    }
    if let Some(failure_per_mille) = too_many_failures(policy, standing) {
        return Plan::Halt { failure_per_mille };
    }
    if standing.is_ended() {
        return Plan::Finish;
    }
    let offers = offers(policy, standing, reachable, now);
    if offers.is_empty() { Plan::Wait { until: next_due(reachable, now) } } else { Plan::Offer(offers) }
}

/// Tells how many devices may be brought into flight beside those that are.
#[must_use]
pub fn room(policy: &Policy, standing: &Standing) -> u32 {
    policy.in_flight_max.unwrap_or(u32::MAX).saturating_sub(standing.in_flight())
}

/// Tells whether the manifest may go out to a device, as far as the device is concerned.
#[must_use]
pub fn is_due(track: &Track, now: u64) -> bool {
    due(track, now).is_some_and(|at| at <= now)
}

/// Tells whether a device gives its place back: it was sent the manifest long ago, has not asked, and sleeps. Nobody else
/// waits for its place until it wakes.
#[must_use]
pub fn sleeps_over_its_offer(track: &Track, reach: Reach, now: u64) -> bool {
    track.stage == Stage::Offered && is_due(track, now) && reach == Reach::Asleep
}

/// Finds the devices that have asked, and of which nothing was heard for the whole life of a grant: what was given to
/// them last has ended, and nobody knows whether it came to them. One may be in no campaign's hand any more, such as
/// after the failure of an older grant, which does not count once there is a newer one.
///
/// Gives what is to be written down, by which they are offered the manifest again; whoever still works on it loses
/// nothing by that.
#[must_use]
pub fn lost(campaign: CampaignId, tracks: &BTreeMap<Endpoint, Track>, lapse: &Lapse) -> Vec<Event> {
    let is_lost = |track: &Track| {
        matches!(track.stage, Stage::Asked | Stage::Downloading) && lapse.has_ended(track.since)
    };
    let lost = tracks.iter().filter(|(_, track)| is_lost(track));
    let both =
        |(device, track): (&Endpoint, &Track)| put_back((campaign, device), track.grant, lapse.now, LOST);
    lost.take(OFFERS_MAX).flat_map(both).collect()
}

/// What is written down of a device of a campaign that the server puts back to the start, whatever became of its grant.
#[must_use]
pub fn put_back((campaign, device): (CampaignId, &Endpoint), grant: u64, at: u64, why: &str) -> [Event; 2] {
    let failed = EventKind::Failed { grant, reason: why.to_owned() };
    let by = By { who: Some("the server".to_owned()), why: Some(why.to_owned()), request: None };
    [failed, EventKind::Retried { by }].map(|kind| Event {
        at,
        campaign: Some(campaign),
        device: Some(device.clone()),
        kind,
    })
}

fn too_many_failures(policy: &Policy, standing: &Standing) -> Option<u32> {
    let outcomes = standing.outcomes();
    let ended = u64::from(outcomes.succeeded) + u64::from(outcomes.failed);
    let per_mille = (u64::from(outcomes.failed) * 1000).checked_div(ended)?;
    let full_sample = ended >= u64::from(policy.failure_sample_min);
    let too_many = full_sample && per_mille > u64::from(policy.failure_per_mille_max);
    too_many.then(|| u32::try_from(per_mille).unwrap_or(1000))
}

fn offers(policy: &Policy, standing: &Standing, reachable: &[(Endpoint, Track)], now: u64) -> Vec<Endpoint> {
    let mut room = room(policy, standing);
    let mut offers = Vec::new();
    for (endpoint, track) in reachable.iter().filter(|(_, track)| is_due(track, now)) {
        // One that was offered before holds its place in flight already.
        if !track.is_in_flight() {
            if room == 0 {
                continue;
            }
            room -= 1;
        }
        offers.push(endpoint.clone());
        if offers.len() == OFFERS_MAX {
            break;
        }
    }
    offers
}

fn next_due(reachable: &[(Endpoint, Track)], now: u64) -> Option<u64> {
    reachable.iter().filter_map(|(_, track)| due(track, now)).filter(|at| *at > now).min()
}

/// Gives the second from which the manifest may go out to a device; `None` if it has it or came to an end.
///
/// What happened in time to come was written down before the clock was set back. It is as good as long ago: else nothing
/// would go out until the clock is there again, which may take years.
fn due(track: &Track, now: u64) -> Option<u64> {
    match track.stage {
        Stage::Waiting | Stage::Offered if track.since > now => Some(now),
        Stage::Waiting if track.offers_failed == 0 => Some(0),
        Stage::Waiting => {
            let doublings = track.offers_failed.saturating_sub(1).min(RETRY_DOUBLINGS_MAX);
            Some(track.since.saturating_add(RETRY_S << doublings))
        }
        Stage::Offered => Some(track.since.saturating_add(OFFER_LIFETIME_S)),
        _ => None,
    }
}

/// Why a device is put back to the start.
const LOST: &str = "nothing was heard of it while its grant was valid";

/// Offers of one step: what a server writes down and starts without keeping others waiting.
pub const OFFERS_MAX: usize = 1000;

/// Wait after an offer that did not reach its device; doubled with each further one.
pub const RETRY_S: u64 = 15;

/// Doublings of [`RETRY_S`]: 15 s to 64 min.
pub const RETRY_DOUBLINGS_MAX: u32 = 8;

/// Time after which a device that was offered the manifest and did not ask is offered it again: a slow transfer of a
/// manifest of 16 KiB over a lossy link takes less, and the server may have died before it went out.
pub const OFFER_LIFETIME_S: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::progress::Progress;

    const NOW: u64 = 10_000;

    #[test]
    fn clock_that_was_set_back_keeps_no_offer_waiting() {
        let mut progress = progress(&[Stage::Offered, Stage::Waiting, Stage::Asked]);
        for track in progress.tracks.values_mut() {
            (track.since, track.offers_failed) = (NOW + 86_400, 1);
        }
        assert_eq!(planned(&ALL, &progress), Plan::Offer(vec![name(0), name(1)]));
    }

    const POLICY: Policy = Policy {
        in_flight_max: Some(2),
        failure_per_mille_max: 100,
        failure_sample_min: 10,
        reseed: false,
        ask_go: false,
    };
    const ALL: Policy = Policy { in_flight_max: None, ..POLICY };

    fn name(number: usize) -> Endpoint {
        Endpoint::try_from(format!("device-{number:04}")).expect("a name")
    }

    fn progress(stages: &[Stage]) -> Progress {
        let mut progress = Progress::new(CampaignId(1));
        for (number, stage) in stages.iter().enumerate() {
            let failed_once = *stage == Stage::Failed;
            let track = Track { stage: *stage, failed_once, ..Track::new("meter".to_owned(), NOW) };
            progress.tracks.insert(name(number), track);
        }
        progress
    }

    fn planned(policy: &Policy, progress: &Progress) -> Plan {
        let reachable: Vec<_> = progress.tracks.keys().cloned().collect();
        planned_for(policy, progress, &reachable, NOW)
    }

    fn planned_for(policy: &Policy, progress: &Progress, reachable: &[Endpoint], now: u64) -> Plan {
        let tracked = |one: &Endpoint| Some((one.clone(), progress.tracks.get(one)?.clone()));
        let reachable: Vec<_> = reachable.iter().filter_map(tracked).collect();
        plan(policy, &Standing::of(progress), &reachable, now)
    }

    /// What becomes of a device of which something was heard last so many seconds ago, where a grant lives for an hour.
    #[test]
    fn device_that_sleeps_over_its_offer_gives_its_place_back_and_nobody_else_does() {
        let progress = progress(&[Stage::Offered, Stage::Waiting, Stage::Asked, Stage::Downloading]);
        let gives_back = |device, reach, after_s| {
            sleeps_over_its_offer(&progress.tracks[&name(device)], reach, NOW + after_s)
        };
        assert!(gives_back(0, Reach::Asleep, OFFER_LIFETIME_S + 1));
        assert!(!gives_back(0, Reach::Asleep, 0), "it may ask yet");
        for reach in [Reach::Here, Reach::Away] {
            assert!(!gives_back(0, reach, OFFER_LIFETIME_S + 1), "{reach:?}: it is offered it again");
        }
        for other in 1..4 {
            assert!(!gives_back(other, Reach::Asleep, OFFER_LIFETIME_S + 1), "it has no offer to answer");
        }
    }

    fn after_silence(stage: Stage, silent_s: i64) -> Stage {
        let mut progress = progress(&[stage]);
        let now = NOW.saturating_add_signed(silent_s);
        let lapse = Lapse { now, running_s: 3_601, stepped_s: None, grant_lifetime_s: 3_600 };
        for event in lost(progress.campaign, &progress.tracks, &lapse) {
            let track = event.device.and_then(|device| progress.tracks.get_mut(&device)).unwrap();
            track.apply(event.at, &event.kind);
        }
        let track = &progress.tracks[&name(0)];
        assert!(!track.failed_once, "nothing is wrong with it");
        track.stage
    }

    #[test]
    fn device_that_was_silent_for_the_life_of_its_grant_is_put_back() {
        for stage in [Stage::Asked, Stage::Downloading] {
            assert_eq!(after_silence(stage, 3_601), Stage::Waiting);
            assert_eq!(after_silence(stage, 3_600), stage, "its grant may be on its way still");
            assert_eq!(after_silence(stage, -9_000), Stage::Waiting, "the clock was set back");
        }
    }

    #[test]
    fn device_that_was_not_given_anything_or_has_told_more_is_not_put_back() {
        let others = [Stage::Waiting, Stage::Offered, Stage::Decrypted, Stage::Installed, Stage::Refused];
        for stage in others {
            assert_eq!(after_silence(stage, 1_000_000), stage);
        }
    }

    #[test]
    fn offers_only_what_in_flight_limit_leaves_room_for() {
        let progress = progress(&[Stage::Downloading, Stage::Waiting, Stage::Waiting]);
        assert_eq!(planned(&POLICY, &progress), Plan::Offer(vec![name(1)]));
    }

    #[test]
    fn offers_to_all_without_limit_up_to_one_step() {
        let progress = progress(&[Stage::Waiting; OFFERS_MAX + 1]);
        let Plan::Offer(offers) = planned(&ALL, &progress) else { panic!("no offer") };
        assert_eq!(offers.len(), OFFERS_MAX);
    }

    #[test]
    fn waits_while_the_limit_is_reached() {
        let progress = progress(&[Stage::Asked, Stage::Decrypted, Stage::Waiting]);
        assert_eq!(planned(&POLICY, &progress), Plan::Wait { until: None });
    }

    #[test]
    fn devices_that_cannot_be_reached_or_are_no_targets_are_passed_over() {
        let progress = progress(&[Stage::Waiting, Stage::Waiting]);
        assert_eq!(planned_for(&ALL, &progress, &[name(1), name(77)], NOW), Plan::Offer(vec![name(1)]));
        assert_eq!(planned_for(&ALL, &progress, &[], NOW), Plan::Wait { until: None });
    }

    #[test]
    fn halts_when_failure_rate_passes_limit_on_full_sample() {
        let mut stages = vec![Stage::Installed; 8];
        stages.extend([Stage::Failed, Stage::Failed, Stage::Waiting]);
        assert_eq!(planned(&POLICY, &progress(&stages)), Plan::Halt { failure_per_mille: 200 });
    }

    #[test]
    fn goes_on_at_exactly_the_limit_and_below_the_sample() {
        let mut stages = vec![Stage::Installed; 9];
        stages.extend([Stage::Failed, Stage::Waiting]);
        assert_eq!(planned(&POLICY, &progress(&stages)), Plan::Offer(vec![name(10)]));
        let small = [Stage::Failed, Stage::Failed, Stage::Waiting];
        assert_eq!(planned(&POLICY, &progress(&small)), Plan::Offer(vec![name(2)]));
    }

    #[test]
    fn finishes_when_every_device_came_to_an_end() {
        let ended = [Stage::Installed, Stage::Current, Stage::Refused, Stage::Failed];
        assert_eq!(planned(&POLICY, &progress(&ended)), Plan::Finish);
    }

    #[test]
    fn campaign_that_was_cancelled_offers_nothing() {
        let progress = Progress { state: CampaignState::Cancelled, ..progress(&[Stage::Waiting]) };
        assert_eq!(planned(&POLICY, &progress), Plan::Over);
    }

    #[test]
    fn offer_that_did_not_reach_is_repeated_after_doubled_waits() {
        let mut progress = progress(&[Stage::Waiting]);
        for (failures, wait) in [(1, RETRY_S), (2, RETRY_S * 2), (100, RETRY_S << RETRY_DOUBLINGS_MAX)] {
            progress.tracks.entry(name(0)).and_modify(|track| track.offers_failed = failures);
            assert_eq!(planned(&ALL, &progress), Plan::Wait { until: Some(NOW + wait) });
            let offered = planned_for(&ALL, &progress, &[name(0)], NOW + wait);
            assert_eq!(offered, Plan::Offer(vec![name(0)]));
        }
    }

    #[test]
    fn device_that_was_offered_and_never_asked_is_offered_again_without_taking_room() {
        let progress = progress(&[Stage::Offered, Stage::Offered]);
        assert_eq!(planned(&POLICY, &progress), Plan::Wait { until: Some(NOW + OFFER_LIFETIME_S) });
        let reachable = [name(0), name(1)];
        let later = planned_for(&POLICY, &progress, &reachable, NOW + OFFER_LIFETIME_S);
        assert_eq!(later, Plan::Offer(reachable.to_vec()));
    }
}
