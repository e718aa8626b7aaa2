//! A gateway that lies. It holds the links of its devices, and stands between them and what is true.
//!
//! Whatever it does, its devices notice or go on, at the worst with the server itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwether_api::DeviceOutcome;
use bellwether_tests::agent::Agent;
use bellwether_tests::meddler::{Fate, Half, Matter, Meddler, Passing};
use bellwether_tests::raw_device::Identity;
use bellwether_tests::site::Site;

/// A site whose devices call somebody who passes on, to and from the real gateway, what it likes.
struct Lies {
    site: Site,
    liar: Meddler,
}

impl Lies {
    fn new() -> Self {
        let liar = Meddler::open();
        let site = Site::called(&liar.uri());
        liar.stand_before(site.gateway.coaps());
        Self { site, liar }
    }

    fn agent(&self, name: &str) -> Agent {
        let agent = self.site.agent(name);
        let unit = self.site.meters.fleet.folder().join(format!("{name}.unit"));
        self.liar.admit(name, Identity::from_factory(&unit, "meter", [0; 32]).link_psk());
        agent
    }

    /// The device must end updated, and known as such, without an alarm.
    fn ends_well(&self, agent: &mut Agent, campaign: &str) {
        agent.switch_on(&["--exit-when-updated"]);
        self.site.ends_well(agent, campaign);
    }

    /// How many frames the server itself sent a device.
    fn sent_directly(&self, device: &str) -> u64 {
        let sent = self.site.meters.fleet.frames_sent();
        sent.iter().filter_map(|one| one.sent.get(device)).sum()
    }
}

/// Counts how often a rule did what it is for.
fn counted() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    (Arc::clone(&count), count)
}

#[test]
fn frames_that_a_gateway_alters_are_fetched_from_the_server() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    let (altered, count) = counted();
    lies.liar.rule(move |passing: Passing<'_>| {
        if matches!((passing.matter, passing.half), (Matter::Frame(_), Half::Response))
            && !passing.body.is_empty()
        {
            passing.body[5] ^= 1;
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &campaign);
    assert!(altered.load(Ordering::SeqCst) > 0);
    assert!(lies.sent_directly("meter-1") > 0);
}

#[test]
fn one_altered_frame_is_asked_for_again_and_the_gateway_goes_on_serving() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    let (altered, count) = counted();
    lies.liar.rule(move |passing: Passing<'_>| {
        let this = (passing.matter, passing.half) == (Matter::Frame(7), Half::Response);
        if this && !passing.body.is_empty() && count.load(Ordering::SeqCst) == 0 {
            passing.body[5] ^= 1;
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &campaign);
    assert_eq!((altered.load(Ordering::SeqCst), lies.sent_directly("meter-1")), (1, 0));
}

#[test]
fn gateway_that_withholds_everything_but_the_manifest_does_not_stop_the_update() {
    for withheld in [Half::Request, Half::Response] {
        let lies = Lies::new();
        let mut meter = lies.agent("meter-1");
        let campaign = lies.site.meters.launch();
        lies.liar.rule(move |passing: Passing<'_>| {
            // While it is there, manifests are its to push.
            let passes = matches!(passing.matter, Matter::Hello | Matter::Manifest);
            let lost = !passes && passing.half == withheld;
            if lost { Fate::Lose } else { Fate::Pass }
        });
        lies.ends_well(&mut meter, &campaign);
        assert!(lies.sent_directly("meter-1") > 0);
    }
}

#[test]
fn gateway_that_withholds_the_manifest_is_gone_around_once_it_says_that_it_could_not_bring_it() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    lies.liar.rule(|passing: Passing<'_>| match passing.matter {
        Matter::Manifest => Fate::Lose,
        _ => Fate::Pass,
    });
    lies.ends_well(&mut meter, &campaign);
}

#[test]
fn gateway_that_is_late_with_everything_only_delays() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    lies.liar.rule(|passing: Passing<'_>| match passing.matter {
        Matter::Frame(_) => Fate::Pass,
        _ => Fate::Late(Duration::from_millis(700)),
    });
    lies.ends_well(&mut meter, &campaign);
}

#[test]
fn answers_that_a_gateway_swaps_between_two_devices_are_followed_by_neither() {
    let lies = Lies::new();
    let mut meters = [lies.agent("meter-1"), lies.agent("meter-2")];
    let campaign = lies.site.meters.launch();
    let (swapped, count) = counted();
    let mut first = None::<(String, Vec<u8>)>;
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) != (Matter::Question, Half::Response) || passing.body.len() < 300 {
            return Fate::Pass;
        }
        match &first {
            // The first device waits; the other one gets its grant.
            None => {
                first = Some((passing.device.to_owned(), passing.body.clone()));
                Fate::Lose
            }
            Some((device, grant)) => {
                if device != passing.device {
                    count.fetch_add(1, Ordering::SeqCst);
                    passing.body.clone_from(grant);
                }
                Fate::Pass
            }
        }
    });
    for meter in &mut meters {
        meter.switch_on(&["--exit-when-updated"]);
    }
    for meter in &mut meters {
        lies.site.ends_well(meter, &campaign);
    }
    assert!(swapped.load(Ordering::SeqCst) > 0);
}

#[test]
fn grants_and_descriptors_that_a_gateway_mixes_are_not_followed() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let first = lies.site.meters.launch();
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let keep = Arc::clone(&kept);
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Question, Half::Response) {
            keep.lock().expect("kept").clone_from(passing.body);
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &first);
    // The next answer has this grant with that descriptor, then that grant with this descriptor.
    let (third, digest) = lies.site.meters.third();
    let next = lies.site.meters.fleet.launch(&third, "");
    let (mixed, count) = counted();
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Question, Half::Response) && passing.body.len() > 300 {
            let old = kept.lock().expect("kept").clone();
            let done = count.fetch_add(1, Ordering::SeqCst);
            *passing.body = mix(&old, passing.body, done % 2 == 0);
        }
        Fate::Pass
    });
    meter.run_until_updated();
    let fleet = &lies.site.meters.fleet;
    fleet.wait_outcome(&next, "meter-1", DeviceOutcome::Installed);
    assert_eq!(meter.status()["running"]["digest"], hex::encode(digest));
    assert!(mixed.load(Ordering::SeqCst) > 0);
    assert!(fleet.alarms("meter-1").is_empty());
}

/// One answer's grant with the other's descriptor.
fn mix(old: &[u8], new: &[u8], old_grant: bool) -> Vec<u8> {
    use bellwether_manifests::message::Answer;
    let (old, new) = (Answer::decode(old).expect("an answer"), Answer::decode(new).expect("an answer"));
    let mixed = if old_grant {
        Answer { message: old.message, descriptor: new.descriptor }
    } else {
        Answer { message: new.message, descriptor: old.descriptor }
    };
    bellwether_manifests::cbor::to_vec(&mixed).expect("encoded")
}

#[test]
fn replayed_grant_of_a_gateway_does_not_move_a_device_that_has_confirmed_it() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    let (replayed, count) = counted();
    let mut first = None::<Vec<u8>>;
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Question, Half::Response) {
            match &first {
                None => first = Some(passing.body.clone()),
                Some(grant) => {
                    count.fetch_add(1, Ordering::SeqCst);
                    passing.body.clone_from(grant);
                }
            }
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &campaign);
    let (third, digest) = lies.site.meters.third();
    let next = lies.site.meters.fleet.launch(&third, "");
    meter.run_until_updated();
    lies.site.meters.fleet.wait_outcome(&next, "meter-1", DeviceOutcome::Installed);
    assert_eq!(meter.status()["running"]["digest"], hex::encode(digest));
    assert!(replayed.load(Ordering::SeqCst) > 0);
}

#[test]
fn nothing_to_do_that_a_gateway_invents_ends_nothing() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    // It runs version 1.0: the server itself says that there is nothing to do, once.
    let stay = lies.site.meters.fleet.manifest(1, &[("meter", "1.0")]);
    let campaign = lies.site.meters.fleet.launch(&stay, "");
    let verdict = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&verdict);
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Question, Half::Response) {
            kept.lock().expect("kept").clone_from(passing.body);
        }
        Fate::Pass
    });
    meter.switch_on(&["--exit-when-updated"]);
    assert!(meter.wait_end().success(), "{}", meter.tail());
    lies.site.meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::NothingToDo);
    // Now there is something, and the gateway says that there is not: as it was said before, and altered.
    let campaign = lies.site.meters.launch();
    let (invented, count) = counted();
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Question, Half::Response) {
            passing.body.clone_from(&verdict.lock().expect("kept"));
            if count.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                let last = passing.body.len() - 1;
                passing.body[last] ^= 1;
            }
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &campaign);
    assert!(invented.load(Ordering::SeqCst) > 0);
}

#[test]
fn receipts_that_a_gateway_invents_settle_nothing() {
    let lies = Lies::new();
    let mut meter = lies.agent("meter-1");
    let campaign = lies.site.meters.launch();
    let (invented, count) = counted();
    lies.liar.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (Matter::Report, Half::Response) && !passing.body.is_empty() {
            count.fetch_add(1, Ordering::SeqCst);
            let last = passing.body.len() - 1;
            passing.body[last] ^= 1;
        }
        Fate::Pass
    });
    lies.ends_well(&mut meter, &campaign);
    assert!(invented.load(Ordering::SeqCst) > 0);
}
