//! How far one device is in a campaign: a state machine that late and repeated events cannot disturb.

use super::event::EventKind;

/// How far a device is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// A target; the manifest has not gone out, or did not reach it.
    Waiting,
    /// The manifest went out to it.
    Offered,
    /// It asked, and has no grant yet.
    Asked,
    /// It has a grant.
    Downloading,
    /// Its new image stands verified in the spare slot.
    Decrypted,
    /// It runs the new image.
    Installed,
    /// It ran the target before it was asked to.
    Current,
    /// Its update failed.
    Failed,
    /// Its request was refused.
    Refused,
}

/// How likely it is that a device which a campaign is at work on has that campaign's manifest: it has room for one alone.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Claim {
    /// It was sent the manifest; another one may have taken its place.
    Sent,
    /// It was given a grant as well, which came ahead.
    Given,
    /// It asked: it works for this campaign.
    Asked,
}

/// What a campaign knows of one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    /// Name of its class.
    pub class: String,
    /// How far it is.
    pub stage: Stage,
    /// When it came there, seconds since 1970; for [`Stage::Offered`] the last offer.
    pub since: u64,
    /// Highest grant number that it got in this campaign; 0: none.
    pub grant: u64,
    /// Offers that did not reach it, since the last one that did.
    pub offers_failed: u32,
    /// Whether an update of it failed, however it went on.
    pub failed_once: bool,
    /// Why it failed, was refused, or was not reached, for people.
    pub reason: Option<String>,
}

impl Track {
    /// Starts the track of a target.
    #[must_use]
    pub fn new(class: String, at: u64) -> Self {
        let (stage, since) = (Stage::Waiting, at);
        Self { class, stage, since, grant: 0, offers_failed: 0, failed_once: false, reason: None }
    }

    /// Takes one event of this device; one that comes late or twice changes nothing.
    pub fn apply(&mut self, at: u64, event: &EventKind) {
        if self.stage == Stage::Installed {
            return;
        }
        match event {
            EventKind::Offered => self.offered(at),
            EventKind::OfferFailed { reason } => self.offer_failed(at, reason),
            EventKind::OfferWaits => self.offer_waits(at),
            EventKind::Asked => self.asked(at),
            EventKind::Resolved { grant, .. } if *grant > self.grant => self.resolved(*grant, at),
            EventKind::AlreadyCurrent => self.enter(Stage::Current, at),
            // Of whichever grant: newer ones may have been made ahead, and never have reached it.
            EventKind::Decrypted { .. } if self.stage != Stage::Failed => self.enter(Stage::Decrypted, at),
            EventKind::Installed { .. } => self.enter(Stage::Installed, at),
            EventKind::Failed { grant, reason } if self.fails(*grant) => {
                self.failed_once = true;
                self.enter(Stage::Failed, at);
                self.reason = Some(reason.clone());
            }
            EventKind::Refused { reason } => self.refused(at, reason),
            EventKind::Retried { .. } => self.retried(at),
            _ => {}
        }
    }

    /// Tells whether the device came to an end, good or bad.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stage.is_end()
    }

    /// Tells whether the device counts against the limit of devices at a time.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.stage.is_in_flight()
    }

    /// Tells what the campaign's claim on the device is; `None` where it is not at work on it.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        match self.stage {
            Stage::Asked | Stage::Downloading | Stage::Decrypted => Some(Claim::Asked),
            Stage::Offered if self.grant != 0 => Some(Claim::Given),
            Stage::Offered => Some(Claim::Sent),
            _ => None,
        }
    }

    fn offered(&mut self, at: u64) {
        if matches!(self.stage, Stage::Waiting | Stage::Offered) {
            self.enter(Stage::Offered, at);
        }
    }

    fn offer_failed(&mut self, at: u64, reason: &str) {
        // A device that asked has the manifest, whatever became of its acknowledgement.
        if matches!(self.stage, Stage::Waiting | Stage::Offered) {
            self.offers_failed = self.offers_failed.saturating_add(1);
            self.enter(Stage::Waiting, at);
            self.reason = Some(reason.to_owned());
        }
    }

    /// Back to the start without a failure: a device in queue mode that sleeps is not one that can't be reached, and holds
    /// no place among those at work meanwhile.
    fn offer_waits(&mut self, at: u64) {
        if self.stage == Stage::Offered {
            self.offers_failed = 0;
            self.enter(Stage::Waiting, at);
        }
    }

    fn asked(&mut self, at: u64) {
        if matches!(self.stage, Stage::Waiting | Stage::Offered | Stage::Refused | Stage::Failed) {
            self.offers_failed = 0;
            self.enter(Stage::Asked, at);
        }
    }

    fn resolved(&mut self, grant: u64, at: u64) {
        self.grant = grant;
        if self.stage == Stage::Downloading {
            // It is waited for as long as the newest one is good.
            self.since = at;
        }
        // A device that has not asked was given it ahead: the manifest may still be on its way to it. One whose image
        // stands may have been given it ahead, too; should it have asked, it reports the image of this one as well.
        if !matches!(self.stage, Stage::Waiting | Stage::Offered | Stage::Decrypted) {
            self.enter(Stage::Downloading, at);
        }
    }

    fn refused(&mut self, at: u64, reason: &str) {
        // One that has a grant is not stopped by a refusal: a clone may have asked in its name.
        if matches!(self.stage, Stage::Waiting | Stage::Offered | Stage::Asked) {
            self.enter(Stage::Refused, at);
            self.reason = Some(reason.to_owned());
        }
    }

    /// Back to the start, and what went before no longer counts as a failure.
    fn retried(&mut self, at: u64) {
        if matches!(self.stage, Stage::Failed | Stage::Refused) {
            self.failed_once = false;
            self.offers_failed = 0;
            self.enter(Stage::Waiting, at);
        }
    }

    /// A failure counts for the newest grant; for an older one where the newer may have been made ahead, and never have
    /// reached it; for none (0) only where none was given, or none was asked for. Elsewhere it may be of before a retry;
    /// a device that has really given up is put back once the newest grant has ended (`plan::lost`).
    fn fails(&self, grant: u64) -> bool {
        let unasked = matches!(self.stage, Stage::Waiting | Stage::Offered);
        let overtaken = unasked || (grant != 0 && self.stage == Stage::Decrypted);
        (grant >= self.grant || overtaken) && !matches!(self.stage, Stage::Current | Stage::Failed)
    }

    fn enter(&mut self, stage: Stage, at: u64) {
        if self.stage != stage || stage == Stage::Offered {
            self.since = at;
        }
        self.stage = stage;
        self.reason = None;
    }
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Offered,
        Self::Asked,
        Self::Downloading,
        Self::Decrypted,
        Self::Installed,
        Self::Current,
        Self::Failed,
        Self::Refused,
    ];

    /// Tells whether it is an end, good or bad.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Installed | Self::Current | Self::Failed | Self::Refused)
    }

    /// Tells whether a device there runs the target.
    #[must_use]
    pub fn has_succeeded(self) -> bool {
        matches!(self, Self::Installed | Self::Current)
    }

    /// Tells whether a device there counts against the limit of devices at a time.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Offered | Self::Asked | Self::Downloading | Self::Decrypted)
    }

    /// Gives the name that stands in interfaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Asked => "asked",
            Self::Downloading => "downloading",
            Self::Decrypted => "decrypted",
            Self::Installed => "installed",
            Self::Current => "current",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::event::{By, Delivery};

    fn resolved(grant: u64) -> EventKind {
        EventKind::Resolved { delivery: Delivery::Full, grant, content: [0; 32], bytes: 1 }
    }

    fn failed(grant: u64) -> EventKind {
        EventKind::Failed { grant, reason: "digest differs".to_owned() }
    }

    fn refused() -> EventKind {
        EventKind::Refused { reason: "no".to_owned() }
    }

    fn retried() -> EventKind {
        EventKind::Retried { by: By::default() }
    }

    fn unreached() -> EventKind {
        EventKind::OfferFailed { reason: "no answer".to_owned() }
    }

    fn after(events: &[EventKind]) -> Track {
        let mut track = Track::new("meter".to_owned(), 0);
        for (at, event) in (1..).zip(events) {
            track.apply(at, event);
        }
        track
    }

    use EventKind::{AlreadyCurrent, Asked, Decrypted, Installed, Offered};

    #[test]
    fn whole_walk_passes_every_stage() {
        let walk = [Offered, Asked, resolved(5), Decrypted { grant: 5 }, Installed { grant: 5 }];
        let stages: Vec<_> = (0..=walk.len()).map(|length| after(&walk[..length]).stage).collect();
        let expected = [
            Stage::Waiting,
            Stage::Offered,
            Stage::Asked,
            Stage::Downloading,
            Stage::Decrypted,
            Stage::Installed,
        ];
        assert_eq!(stages, expected);
    }

    #[test]
    fn grant_that_is_given_ahead_leaves_the_device_offered() {
        let ahead = [Offered, resolved(5)];
        assert_eq!((after(&ahead).stage, after(&ahead).grant), (Stage::Offered, 5));
        assert_eq!(after(&[Offered, resolved(5), unreached()]).stage, Stage::Waiting);
        assert_eq!(after(&[Offered, resolved(5), failed(0)]).stage, Stage::Failed);
        assert_eq!(after(&[Offered, resolved(5), Decrypted { grant: 5 }]).stage, Stage::Decrypted);
    }

    #[test]
    fn claim_on_a_device_grows_with_what_is_known_of_its_work_and_ends_with_it() {
        let claim = |events: &[EventKind]| after(events).claim();
        assert_eq!(claim(&[]), None);
        assert_eq!(claim(&[Offered]), Some(Claim::Sent));
        assert_eq!(claim(&[Offered, resolved(5)]), Some(Claim::Given));
        assert_eq!(claim(&[Offered, Asked, resolved(5), Decrypted { grant: 5 }]), Some(Claim::Asked));
        assert_eq!(claim(&[Offered, Asked, resolved(5), Installed { grant: 5 }]), None);
        assert!(Claim::Sent < Claim::Given && Claim::Given < Claim::Asked);
    }

    #[test]
    fn nothing_undoes_installed() {
        for late in [Offered, unreached(), Asked, resolved(9), AlreadyCurrent, failed(9), refused()] {
            let track = after(&[Offered, Asked, resolved(5), Installed { grant: 5 }, late.clone()]);
            assert_eq!((track.stage, track.since), (Stage::Installed, 4), "{late:?}");
        }
    }

    #[test]
    fn installed_counts_though_decrypted_never_came() {
        assert_eq!(after(&[Offered, Asked, resolved(5), Installed { grant: 5 }]).stage, Stage::Installed);
    }

    #[test]
    fn image_of_an_older_grant_counts_for_newer_ones_are_made_ahead_and_may_never_reach_it() {
        let (took, newer) = (Decrypted { grant: 5 }, resolved(6));
        let ahead = [Offered, resolved(5), newer.clone(), took.clone()];
        assert_eq!((after(&ahead).stage, after(&ahead).grant), (Stage::Decrypted, 6));
        assert_eq!(after(&[Asked, resolved(5), newer.clone(), took.clone()]).stage, Stage::Decrypted);
        assert_eq!(after(&[Asked, resolved(5), took, newer]).stage, Stage::Decrypted);
    }

    #[test]
    fn failure_of_an_older_grant_counts_where_newer_ones_were_made_ahead() {
        let ahead = [Offered, resolved(5), resolved(6), failed(5)];
        assert_eq!(after(&ahead).stage, Stage::Failed);
        let on_trial = [Offered, resolved(5), resolved(6), Decrypted { grant: 5 }, failed(5)];
        assert_eq!(after(&on_trial).stage, Stage::Failed);
        let refused_by_result = [Offered, resolved(5), Decrypted { grant: 5 }, failed(0)];
        assert_eq!(after(&refused_by_result).stage, Stage::Decrypted);
    }

    #[test]
    fn repeated_resolution_does_not_undo_decrypted() {
        assert_eq!(after(&[Asked, resolved(5), Decrypted { grant: 5 }, resolved(5)]).stage, Stage::Decrypted);
    }

    #[test]
    fn newer_grant_renews_the_time_of_a_device_that_works_on_an_older_one_and_a_repeated_one_does_not() {
        assert_eq!(after(&[Asked, resolved(5), resolved(6)]).since, 3);
        assert_eq!(after(&[Asked, resolved(5), resolved(5), resolved(4)]).since, 2);
        assert_eq!(after(&[Asked, resolved(5), Decrypted { grant: 5 }, resolved(6)]).since, 3);
    }

    #[test]
    fn failure_of_an_older_grant_does_not_count() {
        assert_eq!(after(&[Asked, resolved(5), resolved(6), failed(5)]).stage, Stage::Downloading);
    }

    #[test]
    fn refused_manifest_fails_a_device_without_grant_only() {
        assert_eq!(after(&[Offered, failed(0)]).stage, Stage::Failed);
        assert_eq!(after(&[Offered, Asked, resolved(5), failed(0)]).stage, Stage::Downloading);
    }

    #[test]
    fn device_that_failed_can_ask_again_and_stays_marked() {
        let track = after(&[Asked, resolved(5), failed(5), Asked, resolved(6), Installed { grant: 6 }]);
        assert_eq!((track.stage, track.failed_once, track.reason), (Stage::Installed, true, None));
    }

    #[test]
    fn refusal_does_not_stop_a_device_that_has_a_grant() {
        assert_eq!(after(&[Asked, resolved(5), refused()]).stage, Stage::Downloading);
        assert_eq!(after(&[Asked, refused()]).stage, Stage::Refused);
    }

    #[test]
    fn retried_device_waits_again_and_no_longer_counts_as_failed() {
        for ending in [failed(5), refused()] {
            let track = after(&[Asked, ending, retried()]);
            assert_eq!((track.stage, track.failed_once, track.reason), (Stage::Waiting, false, None));
        }
    }

    #[test]
    fn retrying_leaves_devices_alone_that_are_at_work_or_done() {
        assert_eq!(after(&[Asked, resolved(5), retried()]).stage, Stage::Downloading);
        assert_eq!(after(&[AlreadyCurrent, retried()]).stage, Stage::Current);
        assert_eq!(after(&[Asked, resolved(5), Installed { grant: 5 }, retried()]).stage, Stage::Installed);
    }

    #[test]
    fn failure_of_the_grant_before_the_retry_does_not_come_back() {
        let track =
            after(&[Asked, resolved(5), failed(5), retried(), Offered, Asked, resolved(6), failed(5)]);
        assert_eq!((track.stage, track.failed_once), (Stage::Downloading, false));
    }

    #[test]
    fn offer_that_fails_waits_again_unless_the_device_asked() {
        let track = after(&[Offered, unreached()]);
        assert_eq!((track.stage, track.offers_failed, track.since), (Stage::Waiting, 1, 2));
        assert_eq!(after(&[Offered, Asked, unreached()]).stage, Stage::Asked);
    }

    #[test]
    fn offer_that_waits_for_a_sleeping_device_is_no_failure_unless_the_device_asked() {
        let track = after(&[Offered, unreached(), Offered, EventKind::OfferWaits]);
        assert_eq!((track.stage, track.offers_failed, track.since), (Stage::Waiting, 0, 4));
        assert!(!track.is_in_flight() && !track.failed_once && track.reason.is_none());
        assert_eq!(after(&[Offered, Asked, EventKind::OfferWaits]).stage, Stage::Asked);
        let told = after(&[Offered, unreached(), EventKind::OfferWaits]);
        assert_eq!((told.offers_failed, told.since), (1, 2), "none is under way");
    }

    #[test]
    fn repeated_failure_keeps_the_time_of_the_first() {
        assert_eq!(after(&[Asked, resolved(5), failed(5), failed(5)]).since, 3);
    }
}
