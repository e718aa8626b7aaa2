//! Which campaigns an outcome of a device counts in.

use super::stage::Track;
use super::{Campaign, CampaignId};
use crate::identity::Digest;

/// Names the campaigns in which an outcome of one device counts: the one that gave this grant; without a grant (0), or
/// where none is known to have given it, every campaign of the manifest that runs or is paused, else the newest of it.
///
/// Two campaigns may offer the same manifest, such as a second try after a halted one. A device has one answer for
/// both, so each of them must hear it, or one would wait for the device for ever.
#[must_use]
pub fn concerned(tracked: &[(Campaign, Track)], manifest: &Digest, grant: u64) -> Vec<CampaignId> {
    let of_manifest = || tracked.iter().filter(|(campaign, _)| campaign.manifest == *manifest);
    let gave = |track: &Track| grant != 0 && track.grant == grant;
    if let Some((campaign, _)) = of_manifest().find(|(_, track)| gave(track)) {
        return vec![campaign.id];
    }
    let live = of_manifest().filter(|(campaign, _)| campaign.state.is_live());
    let live: Vec<_> = live.map(|(campaign, _)| campaign.id).collect();
    if live.is_empty() {
        of_manifest().map(|(campaign, _)| campaign.id).max().into_iter().collect()
    } else {
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{CampaignState, Policy, Targets};

    const MANIFEST: Digest = [0xA1; 32];

    fn tracked(id: u64, state: CampaignState, grant: u64) -> (Campaign, Track) {
        let policy = Policy {
            in_flight_max: None,
            failure_per_mille_max: 100,
            failure_sample_min: 10,
            reseed: false,
            ask_go: false,
        };
        let (id, manifest, targets) = (CampaignId(id), MANIFEST, Targets::All);
        let campaign = Campaign { id, manifest, targets, policy, launched_at: 0, state };
        (campaign, Track { grant, ..Track::new("meter".to_owned(), 0) })
    }

    fn numbers(tracked: &[(Campaign, Track)], manifest: &Digest, grant: u64) -> Vec<u64> {
        concerned(tracked, manifest, grant).into_iter().map(|id| id.0).collect()
    }

    use CampaignState::{Cancelled, Finished, Paused, Running};

    #[test]
    fn grant_counts_where_it_was_given_whatever_became_of_that_campaign() {
        let both = [tracked(2, Cancelled, 0), tracked(1, Running, 7)];
        assert_eq!(numbers(&both, &MANIFEST, 7), [1]);
        let both = [tracked(2, Running, 0), tracked(1, Cancelled, 7)];
        assert_eq!(numbers(&both, &MANIFEST, 7), [1]);
    }

    #[test]
    fn outcome_without_a_grant_counts_in_every_campaign_of_the_manifest_that_is_not_over() {
        let all = [tracked(3, Paused, 0), tracked(2, Cancelled, 0), tracked(1, Running, 0)];
        assert_eq!(numbers(&all, &MANIFEST, 0), [3, 1]);
        assert_eq!(numbers(&all, &MANIFEST, 9), [3, 1]);
        assert!(numbers(&all, &[0; 32], 0).is_empty());
    }

    #[test]
    fn newest_campaign_counts_where_none_is_running() {
        let ended = [tracked(1, Cancelled, 5), tracked(2, Finished, 0)];
        assert_eq!(numbers(&ended, &MANIFEST, 0), [2]);
    }
}
