//! Whom to push which manifest to, and when. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_manifests::message::Digest;
use bellwether_net::SessionId;

use crate::held::HeldBundle;

/// What was pushed to whom.
#[derive(Debug, Default)]
pub struct Pushes {
    /// By endpoint: a device takes one manifest at a time.
    in_flight: HashMap<String, Push>,
    done: HashMap<(String, Digest), Done>,
}

/// One manifest on its way to one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Push {
    /// Name of the campaign.
    pub campaign: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Endpoint of the device.
    pub endpoint: String,
    /// Its session.
    pub session: SessionId,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The device took the manifest.
    Taken,
    /// The device refused the manifest, and will again.
    Refused,
    /// The device was not reached, or could not take it now.
    Unreached,
}

#[derive(Clone, Copy, Debug)]
struct Done {
    session: SessionId,
    outcome: Outcome,
    tries: u32,
    at: u64,
}

impl Pushes {
    /// Plans what goes out now and counts it as on its way.
    ///
    /// `connected` gives a device's session, `has_asked` whether it asked about a manifest.
    pub fn plan(
        &mut self,
        bundles: &[Arc<HeldBundle>],
        connected: impl Fn(&str) -> Option<SessionId>,
        has_asked: impl Fn(&str, &Digest) -> bool,
        now: u64,
    ) -> Vec<Push> {
        let mut planned = Vec::new();
        for bundle in bundles.iter().filter(|bundle| bundle.is_current(now) && bundle.policy.is_open(now)) {
            for endpoint in &bundle.policy.push {
                if self.in_flight.len() >= PUSHES_MAX
                    || self.of_campaign(bundle) >= bundle.policy.devices_at_a_time
                {
                    break;
                }
                let Some(session) = connected(endpoint) else { continue };
                if !self.is_due(endpoint, &bundle.manifest, session, now)
                    || has_asked(endpoint, &bundle.manifest)
                {
                    continue;
                }
                let push = Push {
                    campaign: bundle.campaign.clone(),
                    manifest: bundle.manifest,
                    endpoint: endpoint.clone(),
                    session,
                };
                self.in_flight.insert(endpoint.clone(), push.clone());
                planned.push(push);
            }
        }
        planned
    }

    /// Takes what became of a push.
    pub fn finish(&mut self, push: &Push, outcome: Outcome, now: u64) {
        self.in_flight.remove(&push.endpoint);
        let key = (push.endpoint.clone(), push.manifest);
        let before = self.done.get(&key).filter(|done| done.session == push.session);
        let tries = before.map_or(1, |done| done.tries + 1);
        self.done.insert(key, Done { session: push.session, outcome, tries, at: now });
    }

    /// Forgets what no bundle names any more.
    pub fn retain(&mut self, bundles: &[Arc<HeldBundle>]) {
        self.done.retain(|(_, manifest), _| bundles.iter().any(|bundle| bundle.manifest == *manifest));
    }

    fn of_campaign(&self, bundle: &HeldBundle) -> usize {
        self.in_flight.values().filter(|push| push.campaign == bundle.campaign).count()
    }

    fn is_due(&self, endpoint: &str, manifest: &Digest, session: SessionId, now: u64) -> bool {
        if self.in_flight.contains_key(endpoint) {
            return false;
        }
        match self.done.get(&(endpoint.to_owned(), *manifest)) {
            None => true,
            Some(done) => match done.outcome {
                Outcome::Refused => false,
                // It may have lost the manifest as it lost the session.
                Outcome::Taken => done.session != session,
                Outcome::Unreached => {
                    let wait = if done.tries < TRIES_MAX { RETRY_S } else { RETRY_LONGEST_S };
                    done.session != session || now.abs_diff(done.at) >= wait
                }
            },
        }
    }
}

/// Manifests on their way at the same time, whatever the policies say: some kilobytes each.
const PUSHES_MAX: usize = 32;

/// Times that a manifest is pushed to a device in one session at short waits.
const TRIES_MAX: u32 = 3;

/// Seconds between two of them.
const RETRY_S: u64 = 60;

/// Seconds between two more: a device that is busy for long, as before the receipts that it waits for, may keep its
/// session for weeks.
const RETRY_LONGEST_S: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, BundleOf, NOW};
    use bellwether_manifests::anchors::Anchors;
    use bellwether_manifests::message::Window;

    fn bundle(of: &BundleOf<'_>) -> Vec<Arc<HeldBundle>> {
        let document = testing::anchors(1, 1);
        let anchors = Anchors::initial(&document).unwrap();
        let message = testing::World::new().bundle(of);
        vec![Arc::new(HeldBundle::read(&message, &anchors).unwrap())]
    }

    fn all_in(session: u64) -> impl Fn(&str) -> Option<SessionId> {
        move |_| Some(SessionId(session))
    }

    fn nobody(_: &str, _: &Digest) -> bool {
        false
    }

    const THREE: BundleOf<'_> = BundleOf { push: &["a", "b", "c"], at_a_time: 2, ..BundleOf::DEFAULT };

    #[test]
    fn no_more_devices_at_a_time_than_the_policy_says() {
        let (mut pushes, bundles) = (Pushes::default(), bundle(&THREE));
        let first = pushes.plan(&bundles, all_in(1), nobody, NOW);
        assert_eq!(first.iter().map(|push| push.endpoint.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(pushes.plan(&bundles, all_in(1), nobody, NOW).is_empty());
        pushes.finish(&first[0], Outcome::Taken, NOW);
        assert_eq!(pushes.plan(&bundles, all_in(1), nobody, NOW)[0].endpoint, "c");
    }

    #[test]
    fn device_that_comes_back_without_having_asked_gets_the_manifest_again() {
        let (mut pushes, bundles) =
            (Pushes::default(), bundle(&BundleOf { push: &["a"], ..BundleOf::DEFAULT }));
        let push = pushes.plan(&bundles, all_in(1), nobody, NOW);
        pushes.finish(&push[0], Outcome::Taken, NOW);
        assert!(pushes.plan(&bundles, all_in(1), nobody, NOW).is_empty());
        assert!(pushes.plan(&bundles, all_in(2), |_, _| true, NOW).is_empty());
        assert_eq!(pushes.plan(&bundles, all_in(2), nobody, NOW).len(), 1);
    }

    #[test]
    fn device_that_refused_is_left_alone_and_one_not_reached_is_tried_again_later() {
        let (mut pushes, bundles) = (Pushes::default(), bundle(&THREE));
        let first = pushes.plan(&bundles, all_in(1), nobody, NOW);
        pushes.finish(&first[0], Outcome::Refused, NOW);
        pushes.finish(&first[1], Outcome::Unreached, NOW);
        let next = pushes.plan(&bundles, all_in(1), nobody, NOW + RETRY_S);
        assert_eq!(next.iter().map(|push| push.endpoint.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        for _ in 0..TRIES_MAX {
            pushes.finish(&next[0], Outcome::Unreached, NOW);
        }
        pushes.finish(&next[1], Outcome::Taken, NOW);
        assert!(pushes.plan(&bundles, all_in(1), nobody, NOW + 10 * RETRY_S).is_empty());
        assert_eq!(pushes.plan(&bundles, all_in(2), nobody, NOW).len(), 2);
    }

    #[test]
    fn device_that_was_busy_at_every_try_of_a_session_gets_the_manifest_an_hour_later() {
        let (mut pushes, bundles) =
            (Pushes::default(), bundle(&BundleOf { push: &["a"], ..BundleOf::DEFAULT }));
        let push = pushes.plan(&bundles, all_in(1), nobody, NOW);
        for _ in 0..2 * TRIES_MAX {
            pushes.finish(&push[0], Outcome::Unreached, NOW);
        }
        assert!(pushes.plan(&bundles, all_in(1), nobody, NOW + 10 * RETRY_S).is_empty());
        assert_eq!(pushes.plan(&bundles, all_in(1), nobody, NOW + RETRY_LONGEST_S), push);
    }

    #[test]
    fn nothing_is_pushed_outside_windows_or_from_a_withdrawn_or_expired_bundle() {
        let mut pushes = Pushes::default();
        let mut plan = |of: &BundleOf<'_>, now| pushes.plan(&bundle(of), all_in(1), nobody, now).len();
        // NOW is 00:00:12 of a Thursday.
        let closed = [Window { start_s: 3_600, duration_s: 60, weekdays: 0x7f }];
        assert_eq!(plan(&BundleOf { windows: &closed, ..THREE }, NOW), 0);
        assert_eq!(plan(&BundleOf { at_a_time: 0, ..THREE }, NOW), 0);
        assert_eq!(plan(&THREE, testing::NOT_AFTER + 1), 0);
        let second = NOW % 86_400;
        assert_eq!(plan(&BundleOf { windows: &closed, ..THREE }, NOW - second + 3_600), 2);
    }

    #[test]
    fn what_is_not_connected_is_waited_for() {
        let (mut pushes, bundles) = (Pushes::default(), bundle(&THREE));
        let only_c = |name: &str| (name == "c").then_some(SessionId(1));
        assert_eq!(pushes.plan(&bundles, only_c, nobody, NOW)[0].endpoint, "c");
    }
}
