//! Why a device was updated, or not: sentences for people, in the order in which they help.

use crate::campaign::event::{By, Delivery, Event, EventKind};
use crate::campaign::progress::Progress;
use crate::campaign::stage::{Stage, Track};
use crate::campaign::{Campaign, CampaignId};
use crate::device::{Device, Endpoint};
use crate::eligibility::{self, Facts};
use crate::identity::{GrantState, IdentityState};
use crate::operator::Act;

/// One sentence, with the time that it speaks of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sentence {
    /// Seconds since 1970; `None` for what holds now.
    pub at: Option<u64>,
    /// The sentence, without a full stop.
    pub text: String,
}

/// What is known of a device.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// As it was asked for.
    pub endpoint: &'a Endpoint,
    /// Its enrolment; `None` if nobody enrolled it.
    pub device: Option<&'a Device>,
    /// The state of its identity.
    pub state: Option<&'a IdentityState>,
    /// All campaigns.
    pub campaigns: &'a [Campaign],
    /// Events in their order: those of this device, and those of the campaigns as a whole.
    pub events: &'a [Event],
}

/// Explains a device: first how it stands in each campaign and why, then its keys, then what happened.
#[must_use]
pub fn explain(known: &Known<'_>, now: u64) -> Vec<Sentence> {
    let Some(device) = known.device else {
        return vec![holds(format!("nobody enrolled a device named {}", known.endpoint))];
    };
    let mut sentences = Vec::new();
    if !device.enabled {
        sentences.push(holds("an operator switched updates off for this device".to_owned()));
    }
    if known.campaigns.is_empty() {
        sentences.push(holds("no campaign was launched yet".to_owned()));
    }
    sentences.extend(known.campaigns.iter().map(|campaign| in_campaign(known, device, campaign)));
    sentences.extend(known.state.into_iter().flat_map(|state| keys(state, now)));
    let own = known.events.iter().filter(|event| event.device.as_ref() == Some(known.endpoint));
    sentences.extend(own.map(|event| Sentence { at: Some(event.at), text: happened(event) }));
    sentences
}

fn in_campaign(known: &Known<'_>, device: &Device, campaign: &Campaign) -> Sentence {
    let progress = Progress::of(campaign.id, known.events);
    if let Some(track) = progress.tracks.get(known.endpoint) {
        return holds(format!("campaign {} ({}): {}", campaign.id.0, campaign.state.name(), standing(track)));
    }
    let alone = std::slice::from_ref(campaign);
    let facts =
        Facts { device: Some(device), manifest: &campaign.manifest, campaigns: alone, sent_before: false };
    let why = match eligibility::check(&facts).outcome {
        Ok(CampaignId(_)) => "it was launched before this device was enrolled".to_owned(),
        Err(refusal) => refusal.text().to_owned(),
    };
    holds(format!("campaign {} does not count this device: {why}", campaign.id.0))
}

/// Tells how a device stands in a campaign.
pub(crate) fn standing(track: &Track) -> String {
    let reason = track.reason.as_deref().unwrap_or("no reason given");
    match track.stage {
        Stage::Waiting if track.offers_failed > 0 => {
            format!("it was not reached ({reason}), {} time(s); it is offered again", track.offers_failed)
        }
        Stage::Waiting => "it waits for its turn, or for its next contact".to_owned(),
        Stage::Offered => "it was sent the manifest and has not asked yet".to_owned(),
        Stage::Asked => "it asked and has no grant yet".to_owned(),
        Stage::Downloading => format!("it fetches under grant {}", track.grant),
        Stage::Decrypted => "its new image stands verified, the swap is to come".to_owned(),
        Stage::Installed => "it runs the new image".to_owned(),
        Stage::Current => "it ran the target already".to_owned(),
        Stage::Failed => format!("its update failed: {reason}"),
        Stage::Refused => format!("its request was refused: {reason}"),
    }
}

fn keys(state: &IdentityState, now: u64) -> Vec<Sentence> {
    let place = state.place;
    let mut sentences = vec![holds(format!(
        "its identity stands at epoch {}, index {}: {} update(s) confirmed",
        place.epoch,
        place.index,
        state.confirmed.len()
    ))];
    if let Some(open) = state.open_grant() {
        let written = if open.state == GrantState::Decrypted { ", whose image is written" } else { "" };
        let end = if now > open.not_after { "expired" } else { "valid" };
        sentences.push(holds(format!("grant {}{written} is open and {end}", open.number)));
    }
    if state.is_blocked(now) {
        sentences
            .push(holds("an operator blocks it: every request is refused, reports still count".to_owned()));
    }
    sentences.extend(permits(state, now).map(holds));
    if state.proves.iter().any(|prove| now <= prove.expires) {
        sentences.push(holds("it was challenged, and the proof is still to come".to_owned()));
    }
    sentences
}

/// What operators allowed and the device has not made use of yet.
fn permits(state: &IdentityState, now: u64) -> impl Iterator<Item = String> {
    let holds = |until: u64| until >= now;
    let permits = &state.permits;
    let resync = permits.resync_until.filter(|until| holds(*until));
    let forward = permits.forward.filter(|permit| holds(permit.until));
    let reissues = permits.reissue.len();
    let told = [
        resync.map(|_| "if it proves to be ahead of the server, it is taken where it stands".to_owned()),
        forward.map(|_| "if it proves to have lost its state, it is told to go on".to_owned()),
        (reissues > 0).then(|| format!("{reissues} update(s) that it confirmed may be granted once more")),
    ];
    told.into_iter().flatten()
}

/// Tells one event in a sentence.
#[must_use]
pub fn happened(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::Launched { targeted, by } => format!("launched for {targeted} device(s){}", said(by)),
        EventKind::Targeted { class } => format!("became a target, as a device of class {class}"),
        EventKind::Offered => "was sent the manifest".to_owned(),
        EventKind::OfferFailed { reason } => format!("was not reached: {reason}"),
        EventKind::Asked => "asked".to_owned(),
        EventKind::Resolved { delivery, grant, bytes, .. } => {
            format!("got grant {grant} for {} of {bytes} bytes", delivered(*delivery))
        }
        EventKind::AlreadyCurrent => "ran the target already".to_owned(),
        EventKind::Decrypted { grant } => format!("reported the image of grant {grant} written and verified"),
        EventKind::Installed { grant } => format!("reported that it runs the image of grant {grant}"),
        EventKind::Failed { grant: 0, reason } => format!("refused the manifest: {reason}"),
        EventKind::Failed { grant, reason } => format!("reported that grant {grant} failed: {reason}"),
        EventKind::Refused { reason } => format!("was refused: {reason}"),
        EventKind::Cancelled { by } => format!("cancelled{}", said(by)),
        EventKind::Paused { by } => format!("paused{}", said(by)),
        EventKind::Resumed { by } => format!("resumed{}", said(by)),
        EventKind::Retried { by } => format!("put back to be tried again{}", said(by)),
        EventKind::Halted { failure_per_mille } => format!("halted at {failure_per_mille} ‰ failures"),
        EventKind::Finished => "finished".to_owned(),
        EventKind::Operated { act, by, .. } => format!("{} by an operator{}", operated(*act), said(by)),
        EventKind::Done { deed, by } => format!("{}{}", deed.text(), said(by)),
        EventKind::AlarmRaised { kind, cause } => format!("alarm \"{}\": {cause}", kind.name()),
    };
    match event.campaign {
        Some(campaign) => format!("campaign {}: {what}", campaign.0),
        None => what,
    }
}

fn operated(act: Act) -> &'static str {
    match act {
        Act::Resync => "was let be taken where it proves to stand",
        Act::Reissue => "was let have a confirmed update once more",
        Act::Forward => "was let go on from where the server stands",
        Act::Block => "was blocked",
        Act::Unblock => "was unblocked",
    }
}

fn said(by: &By) -> String {
    let who = by.who.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
    let why = by.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    who + &why
}

fn delivered(delivery: Delivery) -> String {
    match delivery {
        Delivery::Full => "the full image".to_owned(),
        Delivery::Delta { base, .. } => {
            format!("a delta from base {:02x}{:02x}{:02x}{:02x}", base[0], base[1], base[2], base[3])
        }
    }
}

fn holds(text: String) -> Sentence {
    Sentence { at: None, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::AlarmKind;
    use crate::campaign::{CampaignState, Policy, Targets};

    fn endpoint() -> Endpoint {
        Endpoint::try_from("meter-1").expect("a name")
    }

    fn device() -> Device {
        Device { endpoint: endpoint(), class: "meter".to_owned(), enabled: true, added_at: 0 }
    }

    fn campaign(targets: Targets, state: CampaignState) -> Campaign {
        let policy = Policy {
            in_flight_max: None,
            failure_per_mille_max: 100,
            failure_sample_min: 10,
            reseed: false,
            ask_go: false,
        };
        Campaign { id: CampaignId(1), manifest: [1; 32], targets, policy, launched_at: 0, state }
    }

    fn event(at: u64, kind: EventKind) -> Event {
        Event { at, campaign: Some(CampaignId(1)), device: Some(endpoint()), kind }
    }

    fn told(device: Option<&Device>, campaigns: &[Campaign], events: &[Event]) -> Vec<String> {
        let state = IdentityState::new(0);
        let endpoint = endpoint();
        let known = Known { endpoint: &endpoint, device, state: Some(&state), campaigns, events };
        explain(&known, 0).into_iter().map(|sentence| sentence.text).collect()
    }

    #[test]
    fn unknown_device_is_said_to_be_unknown() {
        assert_eq!(told(None, &[], &[]), ["nobody enrolled a device named meter-1"]);
    }

    #[test]
    fn disabled_device_outside_the_targets_gets_both_reasons_first() {
        let device = Device { enabled: false, ..device() };
        let told = told(Some(&device), &[campaign(Targets::All, CampaignState::Running)], &[]);
        assert_eq!(told[0], "an operator switched updates off for this device");
        assert_eq!(
            told[1],
            "campaign 1 does not count this device: updates are switched off for this device"
        );
    }

    #[test]
    fn device_of_another_class_learns_that_the_campaign_is_not_for_it() {
        let campaign = campaign(Targets::Classes(vec!["lamp".to_owned()]), CampaignState::Running);
        let told = told(Some(&device()), &[campaign], &[]);
        assert_eq!(
            told[0],
            "campaign 1 does not count this device: no campaign offers this manifest to this device"
        );
    }

    #[test]
    fn failure_is_told_with_its_reason_and_the_way_there_in_order() {
        let delivery = Delivery::Delta { base: [0xAB; 32], algorithm: 1 };
        let events = [
            event(1, EventKind::Targeted { class: "meter".to_owned() }),
            event(2, EventKind::Offered),
            event(3, EventKind::Asked),
            event(4, EventKind::Resolved { delivery, grant: 9, content: [0; 32], bytes: 90 }),
            event(5, EventKind::Failed { grant: 9, reason: "digest differs".to_owned() }),
        ];
        let told = told(Some(&device()), &[campaign(Targets::All, CampaignState::Running)], &events);
        let expected = [
            "campaign 1 (running): its update failed: digest differs",
            "its identity stands at epoch 0, index 0: 0 update(s) confirmed",
            "campaign 1: became a target, as a device of class meter",
            "campaign 1: was sent the manifest",
            "campaign 1: asked",
            "campaign 1: got grant 9 for a delta from base abababab of 90 bytes",
            "campaign 1: reported that grant 9 failed: digest differs",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn alarm_is_told_with_its_cause_though_it_belongs_to_no_campaign() {
        let kind = EventKind::AlarmRaised { kind: AlarmKind::CloneOrRolledBack, cause: "seen".to_owned() };
        let alarm = Event { campaign: None, ..event(1, kind) };
        let told = told(Some(&device()), &[], &[alarm]);
        assert_eq!(told[0], "no campaign was launched yet");
        assert_eq!(told.last().map(String::as_str), Some("alarm \"clone or rolled-back device\": seen"));
    }

    #[test]
    fn events_of_other_devices_are_left_out() {
        let other = Event { device: Endpoint::try_from("lamp-1").ok(), ..event(1, EventKind::Asked) };
        assert_eq!(told(Some(&device()), &[], &[other]).len(), 2);
    }
}
