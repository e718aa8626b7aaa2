//! What a campaign has come to: a fold over its events.

use super::event::{Event, EventKind};
use super::stage::{Stage, Track};
use super::{CampaignId, CampaignState};
use crate::device::Endpoint;
use std::collections::BTreeMap;

/// What a campaign has come to. Every device is in exactly one stage, so nothing is counted twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Where the campaign stands.
    pub state: CampaignState,
    /// Its devices.
    pub tracks: BTreeMap<Endpoint, Track>,
}

/// Counts of one class: how many devices are in each stage.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClassProgress {
    /// Devices of the class that the campaign is for; the sum of all below.
    pub targeted: u32,
    /// Without the manifest.
    pub waiting: u32,
    /// With the manifest.
    pub offered: u32,
    /// Asked, without a grant yet.
    pub asked: u32,
    /// With a grant.
    pub downloading: u32,
    /// With the image verified in the spare slot.
    pub decrypted: u32,
    /// Running the image.
    pub installed: u32,
    /// Which ran the target before.
    pub current: u32,
    /// Failed.
    pub failed: u32,
    /// Refused.
    pub refused: u32,
    /// Why, for those that failed or were refused. At most [`REASONS_MAX`] and "other reasons".
    pub reasons: BTreeMap<String, u32>,
}

impl Progress {
    /// Starts the progress of a campaign without events.
    #[must_use]
    pub fn new(campaign: CampaignId) -> Self {
        Self { campaign, state: CampaignState::Running, tracks: BTreeMap::new() }
    }

    /// Folds the events of a campaign, in their order; those of others are passed over.
    #[must_use]
    pub fn of<'a>(campaign: CampaignId, events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut progress = Self::new(campaign);
        for event in events {
            progress.apply(event);
        }
        progress
    }

    /// Takes one event.
    pub fn apply(&mut self, event: &Event) {
        if event.campaign != Some(self.campaign) {
            return;
        }
        match (&event.device, &event.kind) {
            (Some(device), EventKind::Targeted { class }) => {
                let track = || Track::new(class.clone(), event.at);
                self.tracks.entry(device.clone()).or_insert_with(track);
            }
            (Some(device), kind) => {
                if let Some(track) = self.tracks.get_mut(device) {
                    track.apply(event.at, kind);
                }
            }
            (None, kind) => self.apply_to_campaign(kind),
        }
    }

    /// Counts per class, by class name.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<String, ClassProgress> {
        let mut classes = BTreeMap::<String, ClassProgress>::new();
        for track in self.tracks.values() {
            classes.entry(track.class.clone()).or_default().count(track);
        }
        classes
    }

    fn apply_to_campaign(&mut self, kind: &EventKind) {
        self.state = match (self.state, kind) {
            (CampaignState::Running, EventKind::Halted { .. })
            | (CampaignState::Running | CampaignState::Paused, EventKind::Recalled { .. }) => {
                CampaignState::Halted
            }
            (CampaignState::Running, EventKind::Finished) => CampaignState::Finished,
            (CampaignState::Running, EventKind::Paused { .. }) => CampaignState::Paused,
            (CampaignState::Paused, EventKind::Resumed { .. }) => CampaignState::Running,
            // What is tried again runs; one that is paused waits to be resumed.
            (CampaignState::Halted | CampaignState::Finished, EventKind::Retried { .. }) => {
                CampaignState::Running
            }
            // An operator's word ends a halted campaign for good; a finished one has nothing to end.
            (
                CampaignState::Running | CampaignState::Paused | CampaignState::Halted,
                EventKind::Cancelled { .. },
            ) => CampaignState::Cancelled,
            (state, _) => state,
        };
    }
}

/// How the devices of a campaign ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcomes {
    /// Run the target.
    pub succeeded: u32,
    /// Failed, and do not run it.
    pub failed: u32,
}

impl ClassProgress {
    fn count(&mut self, track: &Track) {
        self.add(track.stage, track.reason.as_deref(), 1);
    }

    /// Counts devices that are in a stage, and why, where they failed or were refused.
    pub fn add(&mut self, stage: Stage, reason: Option<&str>, devices: u32) {
        self.targeted = self.targeted.saturating_add(devices);
        let of_stage = self.of(stage);
        *of_stage = of_stage.saturating_add(devices);
        if !matches!(stage, Stage::Failed | Stage::Refused) {
            return;
        }
        let reason = reason.unwrap_or("no reason given");
        let known = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(reason);
        let reason = if known { reason } else { "other reasons" };
        let of_reason = self.reasons.entry(reason.to_owned()).or_default();
        *of_reason = of_reason.saturating_add(devices);
    }

    fn of(&mut self, stage: Stage) -> &mut u32 {
        match stage {
            Stage::Waiting => &mut self.waiting,
            Stage::Offered => &mut self.offered,
            Stage::Asked => &mut self.asked,
            Stage::Downloading => &mut self.downloading,
            Stage::Decrypted => &mut self.decrypted,
            Stage::Installed => &mut self.installed,
            Stage::Current => &mut self.current,
            Stage::Failed => &mut self.failed,
            Stage::Refused => &mut self.refused,
        }
    }
}

/// Different reasons that are counted apart per class: what a person reads at a glance.
pub const REASONS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::event::By;
    use proptest::prelude::*;

    const CAMPAIGN: CampaignId = CampaignId(1);

    fn of_device(name: &str, kind: EventKind) -> Event {
        let device = Some(Endpoint::try_from(name).expect("a name"));
        Event { at: 0, campaign: Some(CAMPAIGN), device, kind }
    }

    fn of_campaign(kind: EventKind) -> Event {
        Event { at: 0, campaign: Some(CAMPAIGN), device: None, kind }
    }

    fn targeted(name: &str, class: &str) -> Event {
        of_device(name, EventKind::Targeted { class: class.to_owned() })
    }

    fn failed(name: &str, reason: &str) -> Event {
        of_device(name, EventKind::Failed { grant: 0, reason: reason.to_owned() })
    }

    #[test]
    fn counts_are_per_class_and_stage() {
        let events = [
            targeted("lamp-1", "lamp"),
            targeted("meter-1", "meter"),
            targeted("meter-2", "meter"),
            of_device("meter-1", EventKind::Offered),
            of_device("lamp-1", EventKind::Installed { grant: 1 }),
        ];
        let classes = Progress::of(CAMPAIGN, &events).classes();
        assert_eq!((classes["lamp"].targeted, classes["lamp"].installed), (1, 1));
        assert_eq!(
            (classes["meter"].targeted, classes["meter"].offered, classes["meter"].waiting),
            (2, 1, 1)
        );
    }

    #[test]
    fn reasons_are_counted_with_their_devices() {
        let events = [
            targeted("a", "meter"),
            targeted("b", "meter"),
            failed("a", "digest differs"),
            failed("b", "digest differs"),
            failed("b", "another one for the same device"),
        ];
        let classes = Progress::of(CAMPAIGN, &events).classes();
        assert_eq!(classes["meter"].reasons, BTreeMap::from([("digest differs".to_owned(), 2)]));
    }

    #[test]
    fn events_of_devices_that_were_not_targeted_and_of_other_campaigns_do_not_count() {
        let other = Event { campaign: Some(CampaignId(2)), ..targeted("a", "meter") };
        let events = [other, of_device("b", EventKind::Offered)];
        assert_eq!(Progress::of(CAMPAIGN, &events), Progress::new(CAMPAIGN));
    }

    #[test]
    fn cancelled_campaign_is_neither_halted_nor_finished_afterwards() {
        let halted = of_campaign(EventKind::Halted { failure_per_mille: 500 });
        let cancelled = of_campaign(EventKind::Cancelled { by: By::default() });
        let finished = of_campaign(EventKind::Finished);
        let state = |events: &[Event]| Progress::of(CAMPAIGN, events).state;
        assert_eq!(state(&[cancelled.clone(), halted.clone(), finished.clone()]), CampaignState::Cancelled);
        assert_eq!(state(&[halted, cancelled.clone()]), CampaignState::Cancelled);
        assert_eq!(state(&[finished, cancelled]), CampaignState::Finished);
    }

    #[test]
    fn reasons_past_the_limit_are_counted_together() {
        let names: Vec<_> = (0..REASONS_MAX + 5).map(|number| format!("device-{number:03}")).collect();
        let targeted = names.iter().map(|name| targeted(name, "meter"));
        let failed = names.iter().map(|name| failed(name, name));
        let events: Vec<_> = targeted.chain(failed).collect();
        let reasons = &Progress::of(CAMPAIGN, &events).classes()["meter"].reasons;
        assert_eq!((reasons.len(), reasons["other reasons"]), (REASONS_MAX + 1, 5));
    }

    fn kind() -> impl Strategy<Value = EventKind> {
        let grant = 0_u64..4;
        prop_oneof![
            Just(EventKind::Offered),
            Just(EventKind::Asked),
            Just(EventKind::AlreadyCurrent),
            Just(EventKind::OfferFailed { reason: "unreached".to_owned() }),
            Just(EventKind::OfferWaits),
            Just(EventKind::Refused { reason: "no".to_owned() }),
            grant.clone().prop_map(|grant| EventKind::Resolved {
                delivery: super::super::event::Delivery::Full,
                grant,
                content: [0; 32],
                bytes: 1
            }),
            grant.clone().prop_map(|grant| EventKind::Decrypted { grant }),
            grant.clone().prop_map(|grant| EventKind::Installed { grant }),
            grant.prop_map(|grant| EventKind::Failed { grant, reason: "broken".to_owned() }),
        ]
    }

    proptest! {
        #[test]
        fn any_order_with_repetitions_keeps_each_device_in_one_stage(
            events in prop::collection::vec((0_usize..3, kind()), 0..40),
        ) {
            let names = ["a", "b", "c"];
            let mut progress = Progress::new(CAMPAIGN);
            for name in names {
                progress.apply(&targeted(name, "meter"));
            }
            for (device, kind) in events {
                let event = of_device(names[device], kind);
                progress.apply(&event);
                let once = progress.clone();
                progress.apply(&event);
                let counts = |progress: &Progress| {
                    let mut classes = progress.classes();
                    classes.remove("meter").unwrap_or_default()
                };
                let class = counts(&progress);
                // An event that arrives twice counts once.
                prop_assert_eq!(&class, &counts(&once));
                let sum = class.waiting + class.offered + class.asked + class.downloading + class.decrypted
                    + class.installed + class.current + class.failed + class.refused;
                prop_assert_eq!(sum, 3);
            }
        }
    }
}
