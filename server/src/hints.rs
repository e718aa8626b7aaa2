//! What gateways have seen of their devices. Nothing proves it, so it moves a campaign's plan and never an identity.

use std::collections::BTreeMap;

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_manifests::link::{Hint, HintKind};
use bellwether_manifests::message::List;
use bellwether_store::error::StoreError;
use lwm2m_rs::firmware::UpdateResult;

use crate::core::Core;
use crate::downlink;

impl Core {
    /// Writes down what a gateway has seen, where it is about a device of its list, and an offer that goes on.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the gateway tells it again.
    pub(crate) async fn take_hints(
        &self,
        gateway: &Endpoint,
        hints: &List<'_, Hint<'_>>,
    ) -> Result<(), StoreError> {
        let (mut events, mut known) = (Vec::new(), BTreeMap::new());
        for hint in hints {
            tracing::info!(%gateway, device = hint.endpoint, campaign = hint.campaign, what = ?hint.what, "a hint");
            let Some((device, campaign, kind)) = self.told(gateway, &hint) else { continue };
            if !known.contains_key(&device) {
                let tracked = self.store.campaigns_for(&self.tenant, &device).await?;
                known.insert(device.clone(), tracked);
            }
            let tracked = known.get_mut(&device).into_iter().flatten();
            let running = |one: &Campaign| one.id == campaign && one.state == CampaignState::Running;
            let mut track = tracked.filter(|(one, _)| running(one)).map(|(_, track)| track);
            if let Some(track) = track.next().filter(|track| is_credible(track, &kind)) {
                let at = self.now();
                track.apply(at, &kind);
                events.push(Event { at, campaign: Some(campaign), device: Some(device), kind });
            }
        }
        if !events.is_empty() {
            self.store.append(&self.tenant, &events).await?;
        }
        self.look_at(events.into_iter().filter_map(|event| event.device));
        Ok(())
    }

    /// What a hint is about, where it is about a device of the gateway's list.
    fn told(&self, gateway: &Endpoint, hint: &Hint<'_>) -> Option<(Endpoint, CampaignId, EventKind)> {
        let device = Endpoint::try_from(hint.endpoint).ok()?;
        let number = hint.campaign.parse().ok()?;
        self.gateways.lists(gateway.as_str(), &device).then_some(())?;
        Some((device, CampaignId(number), kind_of(gateway, hint)?))
    }
}

/// Tells whether a gateway can have seen this: of a device that the manifest was sent to, and that has not asked yet.
/// Each offer counts as not come through once, whatever a gateway tells how often.
fn is_credible(track: &Track, kind: &EventKind) -> bool {
    match track.stage {
        Stage::Offered => true,
        Stage::Waiting => track.offers_failed > 0 && matches!(kind, EventKind::Failed { .. }),
        _ => false,
    }
}

/// What the ledger is told; nothing of a manifest that came to its device, which the device's own words will follow.
fn kind_of(gateway: &Endpoint, hint: &Hint<'_>) -> Option<EventKind> {
    match hint.what {
        HintKind::Pushed => None,
        HintKind::Unreached => {
            // A gateway's own words go to the ledger and into tables; PostgreSQL takes no NUL.
            let detail = hint.detail.replace(char::is_control, " ");
            let reason = match &*detail {
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
    fn hint_counts_once_an_offer_and_only_before_the_device_has_asked() {
        let (unreached, refused) = (kind(HintKind::Unreached, ""), kind(HintKind::Refused, "6"));
        let (unreached, refused) = (unreached.expect("an event"), refused.expect("an event"));
        let credible = |track: &Track| [is_credible(track, &unreached), is_credible(track, &refused)];
        let mut track = Track::new("lamp".to_owned(), 1);
        assert_eq!(credible(&track), [false, false], "it was never offered");
        track.apply(2, &EventKind::Offered);
        assert_eq!(credible(&track), [true, true]);
        track.apply(3, &unreached);
        assert_eq!(credible(&track), [false, true], "the gateway has tried again");
        track.apply(4, &EventKind::Offered);
        track.apply(5, &EventKind::Asked);
        assert_eq!(credible(&track), [false, false], "it has the manifest");
    }

    #[test]
    fn unreached_device_is_offered_the_manifest_again_later() {
        let Some(EventKind::OfferFailed { reason }) = kind(HintKind::Unreached, "no answer") else {
            panic!("an offer that failed");
        };
        assert_eq!(reason, "the gateway gw-1 could not reach the device: no answer");
        let Some(EventKind::OfferFailed { reason }) = kind(HintKind::Unreached, "no\0answer\n") else {
            panic!("an offer that failed");
        };
        assert!(!reason.contains(char::is_control), "{reason:?}");
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
