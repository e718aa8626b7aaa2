//! What an operator may ask of a campaign, from where, and what it becomes.

use super::event::{By, Event, EventKind};
use super::progress::Progress;
use super::stage::Stage;
use super::{CampaignId, CampaignState};
use crate::device::Endpoint;
use thiserror::Error;

/// What an operator asks of a campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Stop for a while: nothing is offered, granted or started.
    Pause,
    /// Go on where it was paused.
    Resume,
    /// End it.
    Cancel,
    /// Put what failed or was refused back to the start.
    RetryFailed,
}

/// Why an order is not carried out; nothing was changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OrderError {
    /// Look how it stands, and ask for what can be done from there.
    #[error("campaign {} is {}, it can't be {}; {}", .campaign.0, .state.name(), .order.done(), advice(*.order, *.state))]
    NotFromHere {
        /// Which campaign.
        campaign: CampaignId,
        /// Where it stands.
        state: CampaignState,
        /// What was asked.
        order: Order,
    },
    /// There is nothing to try again.
    #[error("no device of campaign {} failed or was refused, so there is nothing to try again", .campaign.0)]
    NothingFailed {
        /// Which campaign.
        campaign: CampaignId,
    },
}

impl Order {
    /// Gives the verb as interfaces write it; never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::RetryFailed => "retry-failed",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Cancel => "cancelled",
            Self::RetryFailed => "tried again",
        }
    }

    fn is_allowed_from(self, state: CampaignState) -> bool {
        use CampaignState::{Finished, Halted, Paused, Running};
        match self {
            Self::Pause => state == Running,
            Self::Resume => state == Paused,
            Self::Cancel => matches!(state, Running | Paused | Halted),
            // A cancelled campaign was ended for good: launch another one.
            Self::RetryFailed => matches!(state, Running | Paused | Halted | Finished),
        }
    }

    /// Decides what an order makes of a campaign: the events to write, from which its new state follows. Of its devices
    /// `progress` needs those alone that failed or were refused, and these for [`Order::RetryFailed`].
    ///
    /// # Errors
    ///
    /// [`OrderError`] where the campaign's state forbids it, or there is nothing to do.
    pub fn decide(self, progress: &Progress, by: By, now: u64) -> Result<Vec<Event>, OrderError> {
        let (campaign, state) = (progress.campaign, progress.state);
        if !self.is_allowed_from(state) {
            return Err(OrderError::NotFromHere { campaign, state, order: self });
        }
        let event = |device, kind| Event { at: now, campaign: Some(campaign), device, kind };
        let whole = |kind| Ok(vec![event(None, kind)]);
        match self {
            Self::Pause => whole(EventKind::Paused { by }),
            Self::Resume => whole(EventKind::Resumed { by }),
            Self::Cancel => whole(EventKind::Cancelled { by }),
            Self::RetryFailed => {
                let again = |device| event(Some(device), EventKind::Retried { by: By::default() });
                let devices: Vec<Event> = failed(progress).cloned().map(again).collect();
                // One that was halted by a recall may have none: it goes on with those that wait.
                if devices.is_empty() && state != CampaignState::Halted {
                    return Err(OrderError::NothingFailed { campaign });
                }
                let whole = event(None, EventKind::Retried { by });
                Ok(std::iter::once(whole).chain(devices).collect())
            }
        }
    }
}

fn failed(progress: &Progress) -> impl Iterator<Item = &Endpoint> {
    let ended_badly =
        progress.tracks.iter().filter(|(_, track)| matches!(track.stage, Stage::Failed | Stage::Refused));
    ended_badly.map(|(endpoint, _)| endpoint)
}

fn advice(order: Order, state: CampaignState) -> &'static str {
    match (order, state) {
        (_, CampaignState::Cancelled) => "launch another one",
        (Order::Resume, CampaignState::Halted) => {
            "put its failed devices back with retry-failed, or cancel it"
        }
        (Order::Resume, CampaignState::Running) | (Order::Pause, CampaignState::Paused) => {
            "nothing is to be done"
        }
        (_, CampaignState::Finished) => {
            "launch another one, or put its failed devices back with retry-failed"
        }
        _ => "look at it with explain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::stage::Track;
    use crate::campaign::standing::Standing;
    use CampaignState::{Cancelled, Finished, Halted, Paused, Running};

    const STATES: [CampaignState; 5] = [Running, Paused, Halted, Cancelled, Finished];

    fn name(text: &str) -> Endpoint {
        Endpoint::try_from(text).expect("a name")
    }

    fn progress(state: CampaignState, stages: &[(&str, Stage)]) -> Progress {
        let track =
            |stage| Track { stage, failed_once: stage == Stage::Failed, ..Track::new("meter".to_owned(), 1) };
        let tracks = stages.iter().map(|(endpoint, stage)| (name(endpoint), track(*stage))).collect();
        Progress { campaign: CampaignId(7), state, tracks }
    }

    fn after(order: Order, state: CampaignState) -> Option<CampaignState> {
        let mut progress = progress(state, &[("a", Stage::Failed)]);
        let events = order.decide(&progress, By::default(), 5).ok()?;
        for event in &events {
            progress.apply(event);
        }
        Some(progress.state)
    }

    #[test]
    fn every_order_from_every_state_is_carried_out_or_refused() {
        let row = |order| STATES.map(|state| after(order, state));
        assert_eq!(row(Order::Pause), [Some(Paused), None, None, None, None]);
        assert_eq!(row(Order::Resume), [None, Some(Running), None, None, None]);
        assert_eq!(row(Order::Cancel), [Some(Cancelled), Some(Cancelled), Some(Cancelled), None, None]);
        let retried = [Some(Running), Some(Paused), Some(Running), None, Some(Running)];
        assert_eq!(row(Order::RetryFailed), retried);
    }

    #[test]
    fn refusal_says_where_the_campaign_stands_and_what_can_be_done() {
        let refused = |order: Order, state| {
            order.decide(&progress(state, &[]), By::default(), 5).expect_err("refused").to_string()
        };
        assert_eq!(
            refused(Order::Pause, Finished),
            "campaign 7 is finished, it can't be paused; launch another one, or put its failed devices back with \
             retry-failed"
        );
        assert!(refused(Order::Resume, Halted).contains("retry-failed"));
        assert!(refused(Order::RetryFailed, Cancelled).ends_with("launch another one"));
        assert!(refused(Order::RetryFailed, Finished).contains("nothing to try again"));
    }

    #[test]
    fn only_failed_and_refused_devices_are_put_back() {
        let stages = [
            ("done", Stage::Installed),
            ("failed", Stage::Failed),
            ("loading", Stage::Downloading),
            ("refused", Stage::Refused),
        ];
        let mut progress = progress(Halted, &stages);
        let by = By { who: Some("kim".to_owned()), ..By::default() };
        let events = Order::RetryFailed.decide(&progress, by.clone(), 5).expect("allowed");
        assert_eq!(events[0].kind, EventKind::Retried { by });
        let devices: Vec<_> = events.iter().filter_map(|event| event.device.clone()).collect();
        assert_eq!(devices, [name("failed"), name("refused")]);
        for event in &events {
            progress.apply(event);
        }
        let now = |endpoint| progress.tracks[&name(endpoint)].stage;
        assert_eq!(
            ["done", "failed", "loading", "refused"].map(now),
            [Stage::Installed, Stage::Waiting, Stage::Downloading, Stage::Waiting]
        );
        assert_eq!(Standing::of(&progress).outcomes().failed, 0);
    }

    #[test]
    fn halted_campaign_goes_on_though_none_of_its_devices_failed() {
        let mut progress = progress(Running, &[("a", Stage::Waiting)]);
        let recalled = EventKind::Recalled { release: "app 2.0 for meter".to_owned(), by: By::default() };
        progress.apply(&Event { at: 4, campaign: Some(CampaignId(7)), device: None, kind: recalled });
        assert_eq!(progress.state, Halted);
        for event in Order::RetryFailed.decide(&progress, By::default(), 5).expect("allowed") {
            progress.apply(&event);
        }
        assert_eq!(progress.state, Running);
    }

    #[test]
    fn names_and_words_of_orders_differ() {
        let orders = [Order::Pause, Order::Resume, Order::Cancel, Order::RetryFailed];
        for (position, order) in orders.iter().enumerate() {
            assert!(
                orders[..position]
                    .iter()
                    .all(|other| other.name() != order.name() && other.done() != order.done())
            );
        }
    }
}
