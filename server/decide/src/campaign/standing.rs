//! How a campaign stands in numbers: what can be known of a million devices without looking at each.

use std::collections::{BTreeMap, BTreeSet};

use super::progress::{ClassProgress, Outcomes, Progress};
use super::stage::{Stage, Track};
use super::{CampaignId, CampaignState};

/// How a campaign stands in numbers. Every device is in exactly one group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Where the campaign stands.
    pub state: CampaignState,
    /// How many devices are in each group; groups without one are left out.
    pub groups: BTreeMap<Group, u32>,
}

/// Devices of a campaign that nothing tells apart where they are counted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Group {
    /// Name of their class.
    pub class: String,
    /// How far they are.
    pub stage: Stage,
    /// Whether an update of them failed, however it went on.
    pub failed_once: bool,
    /// Why, of those that failed or were refused; cut to [`REASON_CHARS_MAX`].
    pub reason: Option<String>,
}

impl Group {
    /// Finds the group of a device.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        let tells_why = matches!(track.stage, Stage::Failed | Stage::Refused);
        Self {
            class: track.class.clone(),
            stage: track.stage,
            failed_once: track.failed_once,
            reason: track.reason.as_deref().filter(|_| tells_why).map(cut),
        }
    }
}

impl Standing {
    /// Counts the devices of a campaign by their tracks.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        let mut standing =
            Self { campaign: progress.campaign, state: progress.state, groups: BTreeMap::new() };
        standing.move_on(&Progress::new(progress.campaign), progress);
        standing
    }

    /// Takes over what became of some devices: `before` and `after` have the same ones, but for those that are new. The
    /// campaign's state is that of `after`.
    pub fn move_on(&mut self, before: &Progress, after: &Progress) {
        self.state = after.state;
        for (group, change) in changes(before, after) {
            let devices = self.groups.entry(group).or_default();
            *devices = devices.saturating_add_signed(i32::try_from(change).unwrap_or(i32::MAX));
        }
        self.groups.retain(|_, devices| *devices > 0);
    }

    /// Counts per class, by class name.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<String, ClassProgress> {
        let mut classes = BTreeMap::<String, ClassProgress>::new();
        for (group, devices) in &self.groups {
            let class = classes.entry(group.class.clone()).or_default();
            class.add(group.stage, group.reason.as_deref(), *devices);
        }
        classes
    }

    /// The classes that it has devices of.
    #[must_use]
    pub fn class_names(&self) -> BTreeSet<&str> {
        self.groups.keys().map(|group| group.class.as_str()).collect()
    }

    /// Counts the devices in some stages.
    #[must_use]
    pub fn count(&self, which: impl Fn(Stage) -> bool) -> u32 {
        self.sum(|group| which(group.stage))
    }

    /// Counts all devices.
    #[must_use]
    pub fn targeted(&self) -> u32 {
        self.sum(|_| true)
    }

    /// Devices that count against the limit of devices at a time.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.count(Stage::is_in_flight)
    }

    /// Devices that came to an end, with those whose update failed and who try again.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        let succeeded = self.count(Stage::has_succeeded);
        let failed = self.sum(|group| group.failed_once && !group.stage.has_succeeded());
        Outcomes { succeeded, failed }
    }

    /// Tells whether every device came to an end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.groups.keys().all(|group| group.stage.is_end())
    }

    fn sum(&self, which: impl Fn(&Group) -> bool) -> u32 {
        let counted = self.groups.iter().filter(|(group, _)| which(group));
        counted.fold(0, |sum, (_, devices)| sum.saturating_add(*devices))
    }
}

/// Tells how many more devices (or fewer) each group has after some moved on; groups that nothing changes are left out.
#[must_use]
pub fn changes(before: &Progress, after: &Progress) -> BTreeMap<Group, i64> {
    let mut changes = BTreeMap::<Group, i64>::new();
    for (device, track) in &after.tracks {
        let was = before.tracks.get(device);
        if was == Some(track) {
            continue;
        }
        if let Some(was) = was {
            *changes.entry(Group::of(was)).or_default() -= 1;
        }
        *changes.entry(Group::of(track)).or_default() += 1;
    }
    changes.retain(|_, change| *change != 0);
    changes
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

/// Characters by which reasons are told apart: two sentences, and no more than what a data base takes as part of a key.
pub const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::event::{By, Event, EventKind};
    use crate::device::Endpoint;
    use proptest::prelude::*;

    const CAMPAIGN: CampaignId = CampaignId(1);

    fn event(device: &str, kind: EventKind) -> Event {
        let device = Some(Endpoint::try_from(device).expect("a name"));
        Event { at: 0, campaign: Some(CAMPAIGN), device, kind }
    }

    fn failed(device: &str) -> Event {
        event(device, EventKind::Failed { grant: 7, reason: "digest differs".to_owned() })
    }

    fn targeted(device: &str) -> Event {
        event(device, EventKind::Targeted { class: "meter".to_owned() })
    }

    #[test]
    fn device_that_tries_again_still_counts_as_failed_until_it_succeeds() {
        let mut events = vec![targeted("a"), failed("a"), event("a", EventKind::Asked)];
        let outcomes = |events: &[Event]| Standing::of(&Progress::of(CAMPAIGN, events)).outcomes();
        assert_eq!(outcomes(&events), Outcomes { succeeded: 0, failed: 1 });
        events.push(event("a", EventKind::Installed { grant: 7 }));
        assert_eq!(outcomes(&events), Outcomes { succeeded: 1, failed: 0 });
    }

    #[test]
    fn device_that_is_put_back_leaves_the_group_of_its_reason() {
        let before = Progress::of(CAMPAIGN, &[targeted("a"), targeted("b"), failed("a"), failed("b")]);
        let mut after = before.clone();
        after.apply(&event("b", EventKind::Retried { by: By::default() }));
        let mut standing = Standing::of(&before);
        standing.move_on(&before, &after);
        assert_eq!(standing, Standing::of(&after));
        let meters = &standing.classes()["meter"];
        assert_eq!((meters.failed, meters.waiting, meters.reasons["digest differs"]), (1, 1, 1));
    }

    #[test]
    fn reason_of_any_length_is_counted_under_its_beginning() {
        let reason = "ä".repeat(REASON_CHARS_MAX + 1);
        let long = event("a", EventKind::Failed { grant: 0, reason });
        let standing = Standing::of(&Progress::of(CAMPAIGN, &[targeted("a"), long]));
        let counted = standing.classes()["meter"].reasons.keys().next().map(|reason| reason.chars().count());
        assert_eq!(counted, Some(REASON_CHARS_MAX));
    }

    fn kind() -> impl Strategy<Value = EventKind> {
        let reason = || "a".to_owned();
        prop_oneof![
            Just(EventKind::Offered),
            Just(EventKind::Asked),
            Just(EventKind::AlreadyCurrent),
            Just(EventKind::Decrypted { grant: 1 }),
            Just(EventKind::Installed { grant: 1 }),
            Just(EventKind::OfferFailed { reason: reason() }),
            Just(EventKind::OfferWaits),
            Just(EventKind::Refused { reason: reason() }),
            Just(EventKind::Failed { grant: 1, reason: reason() }),
            Just(EventKind::Retried { by: By::default() }),
        ]
    }

    proptest! {
        #[test]
        fn numbers_that_moved_on_are_those_of_a_count_from_scratch(
            events in prop::collection::vec((0_usize..3, kind()), 0..40),
        ) {
            let names = ["a", "b", "c"];
            let mut progress = Progress::new(CAMPAIGN);
            let mut standing = Standing::of(&progress);
            let named = names.iter().map(|name| targeted(name));
            let moved = events.into_iter().map(|(device, kind)| event(names[device], kind));
            for event in named.chain(moved) {
                let before = progress.clone();
                progress.apply(&event);
                standing.move_on(&before, &progress);
                prop_assert_eq!(&standing, &Standing::of(&progress));
                prop_assert_eq!(standing.classes(), progress.classes());
                prop_assert_eq!(standing.targeted() as usize, progress.tracks.len());
            }
        }
    }
}
