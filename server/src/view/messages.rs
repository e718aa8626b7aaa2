//! Events of the ledger as messages: to which topics, and what they say. Pure.

use bellwether_api as api;
use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::explain;
use bellwether_store::ledger::Recorded;

use super::topics::Topics;

/// One message to publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// Gives the messages of one event; the same bytes to each topic that it concerns.
pub(super) fn messages(topics: &Topics, recorded: &Recorded) -> Vec<Outgoing> {
    let payload = serde_json::to_vec(&told(recorded)).unwrap_or_default();
    let outgoing = |topic| Outgoing { topic, payload: payload.clone() };
    addressed(topics, &recorded.event).into_iter().map(outgoing).collect()
}

fn addressed(topics: &Topics, event: &Event) -> Vec<String> {
    if let EventKind::AlarmRaised { kind, .. } = &event.kind {
        return vec![topics.alarm(*kind)];
    }
    match (event.campaign, &event.device) {
        (Some(campaign), Some(device)) => {
            vec![topics.campaign_device(campaign, device), topics.device_update(device)]
        }
        (Some(campaign), None) => vec![topics.campaign_events(campaign)],
        (None, Some(device)) => vec![topics.device_update(device)],
        (None, None) => Vec::new(),
    }
}

/// Tells one event as interfaces have it.
pub(crate) fn told(recorded: &Recorded) -> api::Event {
    let Recorded { seq, event } = recorded;
    let mut told = api::Event {
        id: *seq,
        at: event.at,
        kind: event.kind.name().to_owned(),
        text: explain::happened(event),
        campaign: event.campaign.map(|campaign| campaign.0.to_string()),
        endpoint: event.device.as_ref().map(ToString::to_string),
        grant: None,
        bytes: None,
        reason: None,
        who: None,
        why: None,
        request_id: None,
    };
    if let Some(By { who, why, request }) = event.kind.by().cloned() {
        (told.who, told.why, told.request_id) = (who, why, request);
    }
    match &event.kind {
        EventKind::Resolved { grant, bytes, .. } => (told.grant, told.bytes) = (Some(*grant), Some(*bytes)),
        EventKind::Decrypted { grant } | EventKind::Installed { grant } => told.grant = Some(*grant),
        EventKind::Failed { grant, reason } => {
            told.grant = (*grant != 0).then_some(*grant);
            told.reason = Some(reason.clone());
        }
        EventKind::OfferFailed { reason } | EventKind::Refused { reason } => {
            told.reason = Some(reason.clone());
        }
        EventKind::AlarmRaised { cause, .. } => told.reason = Some(cause.clone()),
        // The kind and the sentence say it all.
        _ => {}
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_decide::alarm::AlarmKind;
    use bellwether_decide::campaign::CampaignId;
    use bellwether_decide::device::Endpoint;
    use bellwether_store::Tenant;
    use serde_json::{Value, json};

    fn sent(campaign: Option<u64>, device: Option<&str>, kind: EventKind) -> Vec<(String, Value)> {
        let device = device.map(|name| Endpoint::try_from(name).expect("a name"));
        let event = Event { at: 5, campaign: campaign.map(CampaignId), device, kind };
        let messages = messages(&Topics::new(&Tenant::default()), &Recorded { seq: 9, event });
        let read = |one: Outgoing| (one.topic, serde_json::from_slice(&one.payload).expect("JSON"));
        messages.into_iter().map(read).collect()
    }

    #[test]
    fn event_of_a_device_goes_to_its_campaign_and_to_itself_with_one_id() {
        let reason = "digest differs".to_owned();
        let sent = sent(Some(3), Some("meter-1"), EventKind::Failed { grant: 7, reason });
        let expected = json!({
            "id": 9, "at": 5, "kind": "failed", "campaign": "3", "endpoint": "meter-1", "grant": 7,
            "reason": "digest differs", "text": "campaign 3: reported that grant 7 failed: digest differs",
        });
        assert_eq!(
            sent[0],
            ("bellwether/v1/default/campaigns/3/devices/meter-1".to_owned(), expected.clone())
        );
        assert_eq!(sent[1], ("bellwether/v1/default/devices/meter-1/update".to_owned(), expected));
    }

    #[test]
    fn order_is_told_with_who_and_why() {
        let by = By {
            who: Some("kim".to_owned()),
            why: Some("storm".to_owned()),
            request: Some("r-1".to_owned()),
        };
        let sent = sent(Some(3), None, EventKind::Paused { by });
        assert_eq!(sent[0].0, "bellwether/v1/default/campaigns/3/events");
        assert_eq!((&sent[0].1["who"], &sent[0].1["why"]), (&json!("kim"), &json!("storm")));
        assert_eq!(sent[0].1["request_id"], json!("r-1"));
    }

    #[test]
    fn alarm_goes_to_the_topic_of_its_kind() {
        let kind = EventKind::AlarmRaised { kind: AlarmKind::CloneOrRolledBack, cause: "seen".to_owned() };
        let sent = sent(None, Some("meter-1"), kind);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].0, "bellwether/v1/default/alarms/clone-or-rolled-back-device");
        assert_eq!((&sent[0].1["endpoint"], &sent[0].1["reason"]), (&json!("meter-1"), &json!("seen")));
    }

    #[test]
    fn event_that_concerns_nobody_is_not_sent() {
        assert!(sent(None, None, EventKind::Finished).is_empty());
    }
}
