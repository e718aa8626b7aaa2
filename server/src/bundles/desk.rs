//! Which bundle may go to which gateway now. Pure.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::device::Endpoint;
use bellwether_store::gateway::KeptBundle;

/// What is on its way to which gateway, and what rests after a refusal.
#[derive(Debug, Default)]
pub struct BundleDesk(Mutex<HashMap<(Endpoint, CampaignId), Until>>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    /// One is on its way; another one goes after it, if it was asked for.
    Sent { again: bool },
    /// One has just gone; another one goes a moment after it, if it was asked for.
    Gone { again: bool },
    /// It was not taken; the next may go from this second on.
    Second(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claim {
    Granted,
    Queued,
    Resting,
}

impl BundleDesk {
    /// Claims the way to a gateway for a campaign. While one is on its way, another is asked for after it.
    pub(super) fn claim(&self, gateway: &Endpoint, campaign: CampaignId, now: u64) -> Claim {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (gateway.clone(), campaign);
        match desk.get(&key) {
            Some(Until::Sent { .. }) => {
                desk.insert(key, Until::Sent { again: true });
                Claim::Queued
            }
            Some(Until::Gone { .. }) => {
                desk.insert(key, Until::Gone { again: true });
                Claim::Queued
            }
            Some(Until::Second(second)) if *second > now => Claim::Resting,
            _ => {
                desk.insert(key, Until::Sent { again: false });
                Claim::Granted
            }
        }
    }

    /// Claims the way for what takes a bundle back, which goes at once behind one that has gone.
    pub(super) fn claim_at_once(&self, gateway: &Endpoint, campaign: CampaignId, now: u64) -> bool {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (gateway.clone(), campaign);
        let is_free = match desk.get(&key) {
            Some(Until::Sent { .. }) => false,
            Some(Until::Second(second)) => *second <= now,
            Some(Until::Gone { .. }) | None => true,
        };
        if is_free {
            desk.insert(key, Until::Sent { again: false });
        }
        is_free
    }

    /// Notes that a bundle came to its gateway. What is asked for within a moment goes with the next one: each has all that
    /// the gateway is to hold.
    pub(super) fn gone(&self, gateway: &Endpoint, campaign: CampaignId) {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (gateway.clone(), campaign);
        let again = desk.get(&key) == Some(&Until::Sent { again: true });
        desk.insert(key, Until::Gone { again });
    }

    /// Frees the way a moment later; tells whether another one was asked for meanwhile.
    pub(super) fn follows(&self, gateway: &Endpoint, campaign: CampaignId) -> bool {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (gateway.clone(), campaign);
        let Some(Until::Gone { again }) = desk.get(&key).copied() else { return false };
        desk.remove(&key);
        again
    }

    /// Tells whether a bundle of the campaign could go to the gateway now: none is on its way, and it does not rest.
    pub(super) fn may_send(&self, kept: &KeptBundle, now: u64) -> bool {
        let desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match desk.get(&(kept.gateway.clone(), kept.campaign)) {
            Some(Until::Sent { .. }) => false,
            Some(Until::Second(second)) => *second <= now,
            // It goes a moment later.
            Some(Until::Gone { .. }) | None => true,
        }
    }

    /// Frees the way, at once or after a rest; tells whether another was asked for meanwhile.
    pub(super) fn free(&self, gateway: &Endpoint, campaign: CampaignId, rests_until: Option<u64>) -> bool {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (gateway.clone(), campaign);
        let was = match rests_until {
            Some(second) => desk.insert(key, Until::Second(second)),
            None => desk.remove(&key),
        };
        was == Some(Until::Sent { again: true })
    }

    /// Ends the rests of a gateway: it came back, or its anchors are new.
    pub(super) fn wake(&self, gateway: &Endpoint) {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desk.retain(|(of, _), until| of != gateway || !matches!(until, Until::Second(_)));
    }
}

#[cfg(test)]
mod tests {
    use bellwether_decide::campaign::CampaignState;

    use super::*;

    const ONE: CampaignId = CampaignId(1);

    fn gateway() -> Endpoint {
        Endpoint::try_from("gw-1").expect("a name")
    }

    fn kept() -> KeptBundle {
        let state = CampaignState::Running;
        KeptBundle { gateway: gateway(), campaign: ONE, state, edition: 1, not_after: 9, withdrawn: false }
    }

    #[test]
    fn bundle_that_is_asked_for_while_one_is_on_its_way_goes_after_it() {
        let desk = BundleDesk::default();
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Granted);
        assert_eq!(desk.claim(&gateway(), CampaignId(2), 5), Claim::Granted);
        assert!(!desk.free(&gateway(), CampaignId(2), None));
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Queued);
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Queued);
        assert!(desk.free(&gateway(), ONE, None));
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Granted);
    }

    #[test]
    fn bundles_that_are_asked_for_within_a_moment_go_as_one_and_what_takes_them_back_goes_at_once() {
        let desk = BundleDesk::default();
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Granted);
        assert!(!desk.claim_at_once(&gateway(), ONE, 5), "one is on its way");
        desk.gone(&gateway(), ONE);
        assert!(!desk.follows(&gateway(), ONE), "none was asked for");
        desk.claim(&gateway(), ONE, 5);
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Queued);
        desk.gone(&gateway(), ONE);
        desk.wake(&gateway());
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Queued);
        assert!(desk.follows(&gateway(), ONE));
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Granted);
        assert!(!desk.may_send(&kept(), 5), "one is on its way");
        desk.gone(&gateway(), ONE);
        assert!(desk.may_send(&kept(), 5), "a gateway that comes back gets another one, a moment later");
        assert!(desk.claim_at_once(&gateway(), ONE, 5));
        assert!(!desk.follows(&gateway(), ONE), "the one that is taken back does not follow");
        assert_eq!(desk.claim(&gateway(), ONE, 5), Claim::Queued, "until it is");
    }

    #[test]
    fn bundle_that_was_not_taken_rests_until_its_time_or_until_its_gateway_comes_back() {
        let desk = BundleDesk::default();
        desk.claim(&gateway(), ONE, 5);
        assert!(!desk.free(&gateway(), ONE, Some(35)));
        assert_eq!(desk.claim(&gateway(), ONE, 34), Claim::Resting);
        assert_eq!(desk.claim(&gateway(), ONE, 35), Claim::Granted);
        desk.free(&gateway(), ONE, Some(65));
        desk.wake(&gateway());
        assert_eq!(desk.claim(&gateway(), ONE, 36), Claim::Granted);
    }
}
