//! What gateways have seen of their devices. Nothing proves it, so it moves a campaign's plan and never an identity.

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::{CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_manifests::link::{Hint, HintKind};
use bellwether_manifests::message::List;
use bellwether_store::error::StoreError;
use lwm2m_rs::firmware::UpdateResult;

use crate::clock;
use crate::core::Core;
use crate::downlink;

impl Core {
    /// Writes down what a gateway has seen, where it is about a device of its list and a campaign that goes on.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the gateway tells it again.
    pub(crate) async fn take_hints(
        &self,
        gateway: &Endpoint,
        hints: &List<'_, Hint<'_>>,
    ) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for hint in hints {
            tracing::info!(%gateway, device = hint.endpoint, campaign = hint.campaign, what = ?hint.what, "a hint");
            if let Some(event) = self.event_of(gateway, &hint).await? {
                events.push(event);
            }
        }
        if !events.is_empty() {
            self.store.append(&self.tenant, &events).await?;
        }
        self.wake.notify_one();
        Ok(())
    }

    async fn event_of(&self, gateway: &Endpoint, hint: &Hint<'_>) -> Result<Option<Event>, StoreError> {
        let Ok(device) = Endpoint::try_from(hint.endpoint) else {
            return Ok(None);
        };
        let Ok(number) = hint.campaign.parse::<u64>() else {
            return Ok(None);
        };
        if !self.gateways.lists(gateway.as_str(), &device) {
            return Ok(None);
        }
        let Some(kind) = kind_of(gateway, hint) else {
            return Ok(None);
        };
        let campaign = self.store.campaign(&self.tenant, CampaignId(number)).await?;
        let goes_on = campaign.is_some_and(|campaign| campaign.state == CampaignState::Running);
        let event =
            Event { at: clock::now(), campaign: Some(CampaignId(number)), device: Some(device), kind };
        Ok(goes_on.then_some(event))
    }
}

/// What the ledger is told; nothing of a manifest that came to its device, which the device's own words will follow.
fn kind_of(gateway: &Endpoint, hint: &Hint<'_>) -> Option<EventKind> {
    match hint.what {
        HintKind::Pushed => None,
        HintKind::Unreached => {
            let reason = match hint.detail {
                "" => format!("the gateway {gateway} could not reach the device"),
                detail => format!("the gateway {gateway} could not reach the device: {detail}"),
            };
            Some(EventKind::OfferFailed { reason })
        }
        HintKind::Refused => {
            let result = hint.detail.parse().ok().and_then(|number: i64| UpdateResult::try_from(number).ok());
            let reason = result.and_then(downlink::refusal_text);
            Some(EventKind::Failed {
                grant: 0,
                reason: reason.unwrap_or_else(|| format!("the device refused the manifest, says {gateway}")),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(what: HintKind, detail: &str) -> Option<EventKind> {
        let gateway = Endpoint::try_from("gw-1").expect("a name");
        kind_of(&gateway, &Hint { campaign: "1", endpoint: "lamp-1", what, detail })
    }

    #[test]
    fn manifest_that_came_to_its_device_leaves_the_word_to_the_device() {
        assert_eq!(kind(HintKind::Pushed, ""), None);
    }

    #[test]
    fn unreached_device_is_offered_the_manifest_again_later() {
        let Some(EventKind::OfferFailed { reason }) = kind(HintKind::Unreached, "no answer") else {
            panic!("an offer that failed");
        };
        assert_eq!(reason, "the gateway gw-1 could not reach the device: no answer");
    }

    #[test]
    fn refusal_fails_the_device_with_the_reason_that_its_update_result_means() {
        let Some(EventKind::Failed { grant: 0, reason }) = kind(HintKind::Refused, "6") else {
            panic!("a failure without a grant");
        };
        assert!(reason.contains("not for this device"), "{reason}");
        let Some(EventKind::Failed { reason, .. }) = kind(HintKind::Refused, "nonsense") else {
            panic!("a failure all the same");
        };
        assert!(reason.contains("gw-1"), "{reason}");
    }
}
