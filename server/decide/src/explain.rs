//! The story of a device in sentences for people: how it stands, what may be done, and what happened.

use crate::advice::advice;
use crate::campaign::event::{By, Delivery, Event, EventKind};
use crate::campaign::stage::{Stage, Track};
use crate::campaign::{Campaign, CampaignId};
use crate::device::{Device, Endpoint};
use crate::eligibility::{self, Facts};
use crate::identity::{GrantState, IdentityState};
use crate::operator::Act;
use crate::queue_mode::Listening;

/// The story of a device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Story {
    /// How it stands now: the device itself, then each campaign, then its keys.
    pub standing: Vec<String>,
    /// What it waits for, and what an operator can do.
    pub advice: Vec<String>,
    /// What happened, the oldest first.
    pub happened: Vec<Sentence>,
}

/// One sentence, with the time that it speaks of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sentence {
    /// Seconds since 1970.
    pub at: u64,
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
    /// Whether it is there, and when it was.
    pub seen: Seen<'a>,
    /// Campaigns, each with how far the device is in it, where it is a target.
    pub campaigns: &'a [(Campaign, Option<Track>)],
    /// Events in their order: those of this device, and those of the campaigns as a whole.
    pub events: &'a [Event],
}

/// Whether a device is there, and when it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Where it is registered from now, `address:port`.
    pub registered: Option<&'a str>,
    /// Whether it listens, where it is registered.
    pub listening: Listening,
    /// Seconds since it was heard last, and where it was then.
    pub heard: Option<(u64, &'a str)>,
    /// The gateway that lists it, and whether that one is here.
    pub gateway: Option<(&'a str, bool)>,
}

/// Explains a device.
#[must_use]
pub fn explain(known: &Known<'_>, now: u64) -> Story {
    let Some(device) = known.device else {
        let standing = vec![format!("nobody enrolled a device named {}", known.endpoint)];
        return Story { standing, ..Story::default() };
    };
    let mut standing = vec![format!("it is enrolled as a device of class {}", device.class)];
    standing.extend(presence(&known.seen));
    if !device.enabled {
        standing.push("an operator switched updates off for this device".to_owned());
    }
    if known.campaigns.is_empty() {
        standing.push("it is a target of no campaign".to_owned());
    }
    standing.extend(
        known.campaigns.iter().map(|(campaign, track)| in_campaign(device, campaign, track.as_ref())),
    );
    standing.extend(known.state.into_iter().flat_map(|state| keys(state, now)));
    standing.extend(clock_went_back(known, now));
    let happened = |event: &Event| Sentence { at: event.at, text: happened(event) };
    let happened =
        known.events.iter().filter(|event| concerns(event, known.endpoint)).map(happened).collect();
    Story { standing, advice: advice(known, now), happened }
}

/// Tells that this server's clock went back since it dealt with the device, which goes on from what the clock said then:
/// it ignores what ends earlier, and has to ask again with its own time.
fn clock_went_back(known: &Known<'_>, now: u64) -> Option<String> {
    let own = known.events.iter().filter(|event| event.device.as_ref() == Some(known.endpoint));
    let behind = own.map(|event| event.at).max()?.saturating_sub(now);
    (behind > CLOCK_BEHIND_S_MAX).then(|| {
        format!(
            "this server's clock went back: its clock is up to {behind} s ahead, and its grants end by that; set the \
             server's clock right"
        )
    })
}

/// Whether an event belongs into the story of a device: its own, or of a campaign as a whole.
fn concerns(event: &Event, endpoint: &Endpoint) -> bool {
    event.device.as_ref().is_none_or(|device| device == endpoint)
}

fn presence(seen: &Seen<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match (seen.registered, seen.heard) {
        (Some(address), _) => format!("it is registered, from {address}"),
        (None, Some((ago, address))) => {
            format!("it is not registered; it was heard last {} ago, from {address}", duration(ago))
        }
        (None, None) => "it is not registered, and was never heard".to_owned(),
    });
    lines.extend(seen.registered.and_then(|_| listens(seen.listening)));
    if let Some((gateway, is_here)) = seen.gateway {
        let is = if is_here { "is here" } else { "is away" };
        lines.push(format!("its gateway {gateway} {is}"));
    }
    lines
}

/// Tells whether a device in queue mode listens; `None` of any other.
fn listens(listening: Listening) -> Option<String> {
    match listening {
        Listening::Always => None,
        Listening::Awake { left_s } => {
            Some(format!("it is in queue mode, and awake for another {}", duration(left_s)))
        }
        Listening::Asleep { for_s } => Some(format!(
            "it is in queue mode, and asleep for {}: nothing is sent to it until it wakes",
            duration(for_s)
        )),
    }
}

/// Writes a time span by its two largest units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn in_campaign(device: &Device, campaign: &Campaign, track: Option<&Track>) -> String {
    if let Some(track) = track {
        return format!("campaign {} ({}): {}", campaign.id.0, campaign.state.name(), standing(track));
    }
    let alone = std::slice::from_ref(campaign);
    let facts =
        Facts { device: Some(device), manifest: &campaign.manifest, campaigns: alone, sent_before: false };
    let why = match eligibility::check(&facts).outcome {
        Ok(CampaignId(_)) => "it was launched before this device was enrolled".to_owned(),
        Err(refusal) => refusal.text().to_owned(),
    };
    format!("campaign {} does not count this device: {why}", campaign.id.0)
}

/// Tells how a device stands in a campaign.
pub(crate) fn standing(track: &Track) -> String {
    let reason = track.reason.as_deref().map_or_else(|| "no reason given".to_owned(), meaning);
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

fn keys(state: &IdentityState, now: u64) -> Vec<String> {
    let place = state.place;
    let mut sentences = vec![format!(
        "its identity stands at epoch {}, index {}: {} update(s) confirmed",
        place.epoch,
        place.index,
        state.confirmed.len()
    )];
    if let Some(open) = state.open_grant() {
        let written = if open.state == GrantState::Decrypted { ", whose image is written" } else { "" };
        let end = if now > open.not_after { "expired" } else { "valid" };
        sentences.push(format!("grant {}{written} is open and {end}", open.number));
    }
    if state.is_blocked(now) {
        sentences.push("an operator blocks it: every request is refused, reports still count".to_owned());
    }
    sentences.extend(permits(state, now));
    if state.proves.iter().any(|prove| now <= prove.expires) {
        sentences.push("it was challenged, and the proof is still to come".to_owned());
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
        EventKind::OfferWaits => {
            "slept before the manifest came to it: it is offered when it wakes".to_owned()
        }
        EventKind::Asked => "asked".to_owned(),
        EventKind::Resolved { delivery, grant, bytes, .. } => {
            format!("got grant {grant} for {} of {bytes} bytes", delivered(*delivery))
        }
        EventKind::AlreadyCurrent => "ran the target already".to_owned(),
        EventKind::Decrypted { grant } => format!("reported the image of grant {grant} written and verified"),
        EventKind::Installed { grant } => format!("reported that it runs the image of grant {grant}"),
        EventKind::Failed { grant: 0, reason } => format!("refused the manifest: {reason}"),
        EventKind::Failed { grant, reason } => {
            format!("reported that grant {grant} failed: {}", meaning(reason))
        }
        EventKind::Refused { reason } => format!("was refused: {reason}"),
        EventKind::Cancelled { by } => format!("cancelled{}", said(by)),
        EventKind::Paused { by } => format!("paused{}", said(by)),
        EventKind::Resumed { by } => format!("resumed{}", said(by)),
        EventKind::Retried { by } => format!("put back to be tried again{}", said(by)),
        EventKind::Halted { failure_per_mille } => format!("halted at {failure_per_mille} ‰ failures"),
        EventKind::Recalled { release, by } => format!("halted, since {release} was recalled{}", said(by)),
        EventKind::Finished => "finished".to_owned(),
        EventKind::Operated { act, by, .. } => format!("{} by an operator{}", operated(*act), said(by)),
        EventKind::Fitted { row } => format!("{} (row {})", row.text(), row.name()),
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

/// Says what the name of a reason means that a device reported, where it is one.
fn meaning(reason: &str) -> String {
    let meant = match reason {
        "CborParse" => "it could not read the manifest",
        "CoseUnsupported" | "AlgorithmUnsupported" => {
            "it does not know how the manifest is signed or encrypted"
        }
        "Unauthorised" => "a signature, a MAC or a decryption was wrong, or of nobody whom it believes",
        "CommandUnsupported" | "ComponentUnsupported" | "ParameterUnsupported" => {
            "the manifest asks for something that this device can't do"
        }
        "ComponentUnauthorised" => "the signer may not touch this component",
        "SeveringUnsupported" => "a part of the manifest is missing or differs",
        "ConditionFailed" => {
            "a condition was not met: another class, another base image, or another digest than announced"
        }
        "OperationFailed" => "fetching, patching, writing or starting the image failed; it runs the old one",
        _ => return reason.to_owned(),
    };
    format!("{reason}: {meant}")
}

/// Seconds by which a clock that is kept in step may be set back: what a time service corrects without harm to anybody.
const CLOCK_BEHIND_S_MAX: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::AlarmKind;
    use crate::campaign::progress::Progress;
    use crate::campaign::{CampaignState, Policy, Targets};
    use crate::deed::Deed;
    use crate::key_index::Row;

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
        let seen = Seen::default();
        let track = |one: &Campaign| Progress::of(one.id, events).tracks.get(&endpoint).cloned();
        let campaigns: Vec<_> = campaigns.iter().map(|one| (one.clone(), track(one))).collect();
        let known =
            Known { endpoint: &endpoint, device, state: Some(&state), seen, campaigns: &campaigns, events };
        let story = explain(&known, 0);
        let happened = story.happened.into_iter().map(|sentence| sentence.text);
        // How it is enrolled and seen stands in a test of its own.
        story.standing.into_iter().filter(|line| !line.starts_with("it is ")).chain(happened).collect()
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
        assert_eq!(told.last().map(String::as_str), Some("alarm \"clone or rolled-back device\": seen"));
    }

    #[test]
    fn device_that_heard_a_later_time_than_now_is_said_to_be_ahead() {
        let ahead = |at, device| {
            let events = [Event { device, ..event(at, EventKind::Asked) }];
            told(Some(&self::device()), &[], &events).into_iter().any(|line| line.contains("clock"))
        };
        assert!(ahead(61, Some(endpoint())));
        assert!(!ahead(60, Some(endpoint())), "a time service may correct as much");
        assert!(!ahead(9_000, Endpoint::try_from("lamp-1").ok()), "another one heard it");
    }

    #[test]
    fn sleeping_device_is_told_as_one_that_is_offered_when_it_wakes() {
        let (endpoint, device) = (endpoint(), device());
        let running = campaign(Targets::All, CampaignState::Running);
        let campaigns = [(running, Some(Track::new("meter".to_owned(), 1)))];
        let story = |listening| {
            let seen = Seen { registered: Some("192.0.2.1:5684"), listening, ..Seen::default() };
            let (campaigns, events) = (&campaigns[..], &[][..]);
            let known =
                Known { endpoint: &endpoint, device: Some(&device), state: None, seen, campaigns, events };
            explain(&known, 10)
        };
        let asleep = story(Listening::Asleep { for_s: 3_700 });
        assert_eq!(
            asleep.standing[2],
            "it is in queue mode, and asleep for 1 h 1 min: nothing is sent to it until it wakes"
        );
        assert_eq!(asleep.advice, ["it sleeps: it is offered when it wakes, by the end of its registration"]);
        let awake = story(Listening::Awake { left_s: 90 });
        assert_eq!(awake.standing[2], "it is in queue mode, and awake for another 1 min");
        assert!(awake.advice[0].starts_with("it waits for its turn"), "{:?}", awake.advice);
        assert!(!story(Listening::Always).standing.iter().any(|line| line.contains("queue")));
    }

    #[test]
    fn events_of_other_devices_are_left_out() {
        let other = Event { device: Endpoint::try_from("lamp-1").ok(), ..event(1, EventKind::Asked) };
        assert_eq!(told(Some(&device()), &[], &[other]).len(), 1);
    }

    /// Everything that can be told of one device, in the words in which people read it.
    #[test]
    fn whole_story_is_told_in_order() {
        let by = |request: &str| By {
            who: Some("kim".to_owned()),
            why: Some("storm".to_owned()),
            request: Some(request.to_owned()),
        };
        let own = |at, kind| Event { campaign: None, ..event(at, kind) };
        let whole = |at, kind| Event { device: None, ..event(at, kind) };
        let class = || "meter".to_owned();
        let enrolled = Deed::DeviceEnrolled { class: class(), gateway: Some("gw-1".to_owned()) };
        let alarm =
            EventKind::AlarmRaised { kind: AlarmKind::AheadOfServer, cause: "it proved index 4".to_owned() };
        let failed = EventKind::Failed { grant: 7, reason: "ConditionFailed".to_owned() };
        let resolved =
            EventKind::Resolved { delivery: Delivery::Full, grant: 7, content: [0; 32], bytes: 24_000 };
        let events = [
            own(1, EventKind::Done { deed: enrolled, by: by("r-1") }),
            whole(2, EventKind::Launched { targeted: 1, by: by("r-2") }),
            event(2, EventKind::Targeted { class: class() }),
            event(3, EventKind::Offered),
            event(4, EventKind::Asked),
            event(4, resolved),
            event(5, failed),
            own(6, EventKind::Fitted { row: Row::R13 }),
            own(6, alarm),
            whole(7, EventKind::Paused { by: by("r-3") }),
        ];
        let (state, endpoint, device) = (IdentityState::new(0), endpoint(), device());
        let campaign = campaign(Targets::All, CampaignState::Paused);
        let track = Progress::of(campaign.id, &events).tracks.get(&endpoint).cloned();
        let campaigns = [(campaign, track)];
        let seen =
            Seen { heard: Some((7_300, "192.0.2.1:5684")), gateway: Some(("gw-1", true)), ..Seen::default() };
        let known = Known {
            endpoint: &endpoint,
            device: Some(&device),
            state: Some(&state),
            seen,
            campaigns: &campaigns,
            events: &events,
        };
        let story = explain(&known, 10);
        let happened: Vec<_> = story.happened.iter().map(|one| format!("{} {}", one.at, one.text)).collect();
        let told =
            [story.standing.join("\n"), story.advice.join("\n"), happened.join("\n")].join("\n\n") + "\n";
        assert_eq!(told, include_str!("explain_golden.txt"));
    }
}
