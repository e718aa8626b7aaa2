//! Real devices and a real server with somebody between them who holds the DTLS keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bellwether_api::DeviceOutcome;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meddler::{Fate, Half, Matter, Meddler, Passing};
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::Identity;
use bellwether_tests::wait;

/// A fleet of meters whose devices call somebody else.
struct Between {
    meters: Meters,
    meddler: Meddler,
}

impl Between {
    fn new() -> Self {
        let meddler = Meddler::open();
        let fleet = Fleet::start_with(&["--public-uri", &meddler.uri()]);
        meddler.stand_before(fleet.server.coaps());
        Self { meters: Meters::on(fleet, 24_000), meddler }
    }

    fn agent(&self, name: &str) -> Agent {
        let agent = Agent::make_without_patches(&self.meters.fleet, name, "meter", "1.0", "microcontroller");
        let unit = self.meters.fleet.folder().join(format!("{name}.unit"));
        let identity = Identity::from_factory(&unit, "meter", [0; 32]);
        self.meddler.admit(name, identity.psk());
        agent
    }

    /// The device must end updated, and known as such.
    fn ends_well(&self, agent: &mut Agent, campaign: &str) {
        agent.run_until_updated();
        self.meters.fleet.wait_outcome(campaign, &agent.name, DeviceOutcome::Installed);
        assert_eq!(self.meters.fleet.show(&agent.name).index, 1);
        assert!(self.meters.fleet.alarms(&agent.name).is_empty());
    }
}

/// Flips one bit of every message of this kind, the first `times` times.
fn alter(matter: Matter, half: Half, times: usize) -> (Arc<AtomicUsize>, impl FnMut(Passing<'_>) -> Fate) {
    let altered = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&altered);
    let rule = move |passing: Passing<'_>| {
        if (passing.matter, passing.half) == (matter, half)
            && !passing.body.is_empty()
            && count.load(Ordering::SeqCst) < times
        {
            let done = count.fetch_add(1, Ordering::SeqCst);
            // Another place each time: the tag at the end, the head, the middle.
            let length = passing.body.len();
            let at = [length - 1, 3, length / 2][done % 3];
            passing.body[at] ^= 0x20;
        }
        Fate::Pass
    };
    (altered, rule)
}

#[test]
fn altered_frame_is_asked_for_again_alone() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    let (altered, rule) = alter(Matter::Frame(7), Half::Response, 2);
    between.meddler.rule(rule);
    between.ends_well(&mut meter, &campaign);
    assert_eq!(altered.load(Ordering::SeqCst), 2);
    let asked = |number| between.meddler.count("meter-1", Matter::Frame(number), Half::Request);
    let counts: Vec<usize> = (0..20).map(asked).collect();
    let expected: Vec<usize> = (0..20).map(|number| if number == 7 { 3 } else { 1 }).collect();
    assert_eq!(counts, expected);
}

#[test]
fn altered_question_gets_no_answer_and_the_device_asks_again() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    let (altered, rule) = alter(Matter::Question, Half::Request, 3);
    between.meddler.rule(rule);
    between.ends_well(&mut meter, &campaign);
    assert_eq!(altered.load(Ordering::SeqCst), 3);
}

#[test]
fn altered_answer_is_not_followed_and_the_device_asks_again() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    let (altered, rule) = alter(Matter::Question, Half::Response, 3);
    between.meddler.rule(rule);
    between.ends_well(&mut meter, &campaign);
    assert_eq!(altered.load(Ordering::SeqCst), 3);
}

#[test]
fn altered_reports_and_receipts_are_sent_again_until_they_are_right() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    let (reports, mut alter_reports) = alter(Matter::Report, Half::Request, 2);
    let (receipts, mut alter_receipts) = alter(Matter::Report, Half::Response, 2);
    between.meddler.rule(move |passing: Passing<'_>| match passing.half {
        Half::Request => alter_reports(passing),
        Half::Response => alter_receipts(passing),
    });
    between.ends_well(&mut meter, &campaign);
    assert_eq!((reports.load(Ordering::SeqCst), receipts.load(Ordering::SeqCst)), (2, 2));
}

#[test]
fn lost_answers_receipts_and_executes_are_made_up_for() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    let lost = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&lost);
    let mut seen = Vec::new();
    between.meddler.rule(move |passing: Passing<'_>| {
        let once = (passing.matter, passing.half);
        let loses = matches!(
            once,
            (Matter::Question | Matter::Report | Matter::Manifest | Matter::Frame(3 | 19), Half::Response)
                | (Matter::Execute, Half::Request)
        );
        if loses && !seen.contains(&once) {
            seen.push(once);
            count.fetch_add(1, Ordering::SeqCst);
            return Fate::Lose;
        }
        Fate::Pass
    });
    between.ends_well(&mut meter, &campaign);
    assert_eq!(lost.load(Ordering::SeqCst), 6);
}

#[test]
fn answers_swapped_between_two_devices_are_followed_by_neither() {
    let between = Between::new();
    let mut meters = [between.agent("meter-1"), between.agent("meter-2")];
    let campaign = between.meters.launch();
    let (mut first, mut swaps) = (None::<(String, Vec<u8>)>, 0);
    let swapped = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&swapped);
    between.meddler.rule(move |passing: Passing<'_>| {
        if (passing.matter, passing.half) != (Matter::Question, Half::Response) || passing.body.len() < 300 {
            return Fate::Pass;
        }
        match &first {
            // The first device waits; its grant goes to the other one.
            None => {
                first = Some((passing.device.to_owned(), passing.body.clone()));
                Fate::Lose
            }
            Some((device, grant)) if device != passing.device && swaps < 2 => {
                swaps += 1;
                count.fetch_add(1, Ordering::SeqCst);
                passing.body.clone_from(grant);
                Fate::Pass
            }
            Some(_) => Fate::Pass,
        }
    });
    for meter in &mut meters {
        meter.switch_on(&["--exit-when-updated"]);
    }
    for meter in &mut meters {
        assert!(meter.wait_end().success(), "{}", meter.tail());
        between.meters.fleet.wait_outcome(&campaign, &meter.name, DeviceOutcome::Installed);
        assert_eq!(between.meters.fleet.show(&meter.name).index, 1);
    }
    assert_eq!(swapped.load(Ordering::SeqCst), 2);
}

#[test]
fn verdicts_altered_replayed_and_of_others_are_not_followed() {
    let between = Between::new();
    let mut meters = [between.agent("meter-1"), between.agent("meter-2")];
    // Both run version 1.0: there is nothing to do.
    let stay = between.meters.fleet.manifest(1, &[("meter", "1.0")]);
    let campaign = between.meters.fleet.launch(&stay, "");
    let verdict = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&verdict);
    between.meddler.rule(move |passing: Passing<'_>| {
        if (passing.device, passing.matter, passing.half) == ("meter-1", Matter::Question, Half::Response) {
            kept.lock().expect("kept").clone_from(passing.body);
        }
        Fate::Pass
    });
    for meter in &mut meters {
        meter.switch_on(&["--exit-when-updated"]);
        assert!(meter.wait_end().success(), "{}", meter.tail());
        between.meters.fleet.wait_outcome(&campaign, &meter.name, DeviceOutcome::NothingToDo);
    }
    // Now there is, but the first answers are the verdict of before, as it was and altered.
    let campaign = between.meters.launch();
    for meter in &mut meters {
        let (told, mut times) = (Arc::clone(&verdict), 0);
        let forged = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&forged);
        between.meddler.rule(move |passing: Passing<'_>| {
            if (passing.matter, passing.half) == (Matter::Question, Half::Response) && times < 3 {
                passing.body.clone_from(&told.lock().expect("kept"));
                let at = [None, Some(passing.body.len() - 1), Some(passing.body.len() / 2)][times];
                if let Some(at) = at {
                    passing.body[at] ^= 1;
                }
                times += 1;
                count.fetch_add(1, Ordering::SeqCst);
            }
            Fate::Pass
        });
        between.ends_well(meter, &campaign);
        assert_eq!(forged.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn receipts_of_other_reports_and_devices_settle_nothing() {
    let between = Between::new();
    let mut meters = [between.agent("meter-1"), between.agent("meter-2")];
    let campaign = between.meters.launch();
    let first = Arc::<Mutex<Option<Vec<u8>>>>::default();
    for meter in &mut meters {
        // The first receipt ever passes; after it, each report gets that one twice before its own.
        let (first, mut times) = (Arc::clone(&first), 0);
        let forged = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&forged);
        between.meddler.rule(move |passing: Passing<'_>| {
            if (passing.matter, passing.half) == (Matter::Report, Half::Response) {
                let mut first = first.lock().expect("kept");
                match &*first {
                    None => *first = Some(passing.body.clone()),
                    Some(receipt) if times < 2 => {
                        times += 1;
                        count.fetch_add(1, Ordering::SeqCst);
                        passing.body.clone_from(receipt);
                    }
                    Some(_) => {}
                }
            }
            Fate::Pass
        });
        between.ends_well(meter, &campaign);
        assert_eq!(forged.load(Ordering::SeqCst), 2);
        assert_eq!(between.meddler.count(&meter.name, Matter::Report, Half::Request), 4);
    }
}

#[test]
fn altered_manifest_is_refused_with_result_5_and_nothing_is_asked() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    between.meters.launch();
    let (_, rule) = alter(Matter::Manifest, Half::Request, usize::MAX);
    between.meddler.rule(rule);
    meter.switch_on(&["--exit-when-updated"]);
    assert_eq!(meter.wait_end().code(), Some(1), "{}", meter.tail());
    let status = meter.status();
    assert_eq!((&status["result"], &status["asked"]["requests"]), (&5.into(), &0.into()), "{status:#}");
    assert_eq!(between.meddler.count("meter-1", Matter::Question, Half::Request), 0);
    assert_eq!(between.meddler.count("meter-1", Matter::Report, Half::Request), 0);
}

#[test]
fn replayed_grant_does_not_move_a_device_that_has_confirmed_it() {
    let between = Between::new();
    let mut meter = between.agent("meter-1");
    let campaign = between.meters.launch();
    // Every answer after the first is the first once more.
    let replays = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&replays);
    let mut first = None::<Vec<u8>>;
    between.meddler.rule(move |passing: Passing<'_>| {
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
    between.ends_well(&mut meter, &campaign);
    let (third, _) = between.meters.third();
    let next = between.meters.fleet.launch(&third, "");
    meter.switch_on(&[]);
    let replayed = || (replays.load(Ordering::SeqCst) >= 2).then_some(());
    wait::until("replayed answers", wait::LONG, replayed, || meter.tail());
    assert_eq!(meter.status()["running"]["version"], "2.0");
    meter.kill9();
    between.meddler.rule(|_| Fate::Pass);
    meter.run_until_updated();
    between.meters.fleet.wait_outcome(&next, "meter-1", DeviceOutcome::Installed);
    assert_eq!(between.meters.fleet.show("meter-1").index, 2);
}
