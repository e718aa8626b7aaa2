//! Plans that found something once.

use std::time::Duration;

use bellwether_tests::world::network::Conditions;
use bellwether_tests::world::plan::{Act, Crash, DevicePlan, Happening, Plan, PolicyPlan, Role, Who};
use bellwether_tests::world::run::{self, Outcome};

/// One device without a gateway, and nothing that goes wrong.
fn quiet(image_bytes: usize) -> Plan {
    let device = DevicePlan {
        role: Role::Honest,
        gateway: None,
        patches: false,
        shares: false,
        lifetime_s: 300,
        queue_mode: false,
        on_after: Duration::ZERO,
        clock_steps: Vec::new(),
    };
    Plan {
        seed: 1,
        weather: Conditions::CALM,
        gateways: 0,
        devices: vec![device],
        image_bytes,
        components: 1,
        policy: PolicyPlan::default(),
        happenings: Vec::new(),
        storm: Duration::from_mins(2),
    }
}

fn run(plan: &Plan) -> Outcome {
    let outcome = run::run(plan, 2_000);
    assert_eq!(outcome.broken, [""; 0], "{}", outcome.tail.join("\n"));
    outcome
}

#[test]
fn world_in_which_nothing_goes_wrong_ends_updated() {
    let outcome = run(&quiet(20_000));
    assert_eq!((outcome.figures.updated, outcome.figures.lost), (1, 0));
}

#[test]
fn device_in_queue_mode_is_offered_the_campaign_that_began_in_its_sleep_once_it_wakes() {
    let second = (Duration::from_mins(5), Happening::Operator(Act::Second));
    let mut plan = Plan { happenings: vec![second], storm: Duration::from_mins(10), ..quiet(20_000) };
    (plan.devices[0].lifetime_s, plan.devices[0].queue_mode) = (900, true);
    let outcome = run(&plan);
    assert_eq!(outcome.figures.updated, 1);
    // It renews its registration a long exchange before the end, and nobody reaches it before.
    assert!(outcome.figures.seconds > 800, "{} s", outcome.figures.seconds);
    let failed = |line: &&String| line.contains("not reached") || line.contains("slept before");
    assert_eq!(outcome.explained.iter().find(failed), None, "{:#?}", outcome.explained);
}

// The device gave up what it had half done, and reported a failure.
#[test]
fn second_campaign_waits_until_the_first_is_done_with_a_device() {
    let slow = Conditions { delay_least_ms: 500, delay_most_ms: 500, ..Conditions::CALM };
    let second = (Duration::from_secs(10), Happening::Operator(Act::Second));
    let outcome = run(&Plan { weather: slow, happenings: vec![second], ..quiet(30_000) });
    assert_eq!(outcome.figures.updated, 1);
    assert!(outcome.explained.iter().all(|line| !line.contains("failed")), "{:#?}", outcome.explained);
}

// Its grant was lost in a crash, and it was told "later" until that expired.
#[test]
fn device_whose_grant_was_lost_in_a_crash_gets_it_before_another_campaign_comes() {
    let crash = |commits| {
        (Duration::from_millis(1), Happening::ServerCrash(Crash::After(commits), Duration::from_mins(1)))
    };
    let second = (Duration::from_millis(2), Happening::Operator(Act::Second));
    for commits in 1..12 {
        let outcome = run(&Plan { happenings: vec![crash(commits), second], ..quiet(4_000) });
        assert!(outcome.figures.seconds < 1_800, "{commits}: {:?}", outcome.figures);
    }
}

/// Links on which every datagram takes so long.
fn slow(delay_ms: u64) -> Conditions {
    Conditions { delay_least_ms: delay_ms, delay_most_ms: delay_ms, ..Conditions::CALM }
}

// It found every grant expired by its own clock, and asked for ever.
#[test]
fn device_whose_clock_is_days_ahead_is_updated() {
    let mut plan = quiet(4_000);
    plan.devices[0].clock_steps = vec![(Duration::from_millis(600), 3 * DAY)];
    plan.weather = slow(200);
    assert_eq!(run(&plan).figures.updated, 1);
}

// The device goes on from the time that the server told it, and found every grant of the hour before expired.
#[test]
fn device_of_a_server_whose_clock_goes_back_by_days_is_updated() {
    let mut plan = quiet(4_000);
    plan.happenings = vec![
        (Duration::ZERO, Happening::ServerClock(30 * 86_400)),
        (Duration::from_mins(1), Happening::ServerClock(-30 * 86_400)),
        (Duration::from_secs(61), Happening::Operator(Act::Second)),
    ];
    assert_eq!(run(&plan).figures.updated, 1);
}

// The manifest of the second campaign took the place of the first one's, whose grant was on its way: the first campaign
// waited for ever.
#[test]
fn device_that_registers_anew_is_offered_the_first_of_two_campaigns_alone() {
    let mut plan = quiet(7_501);
    plan.seed = 2081;
    plan.weather = Conditions {
        loss_permille: 300,
        duplicate_permille: 100,
        reorder_permille: 200,
        delay_least_ms: 80,
        delay_most_ms: 180,
        late_most_ms: 50,
    };
    (plan.devices[0].shares, plan.devices[0].lifetime_s, plan.policy.ask_go) = (true, 588, true);
    plan.happenings = vec![
        (Duration::from_millis(1_321), Happening::PowerCutAfter(0, 1)),
        (Duration::from_millis(25_712), Happening::Rebind(0)),
        (Duration::from_millis(38_734), Happening::PowerCutAfter(0, 1)),
        (Duration::from_millis(40_925), Happening::Operator(Act::Anchors)),
        (Duration::from_millis(65_535), Happening::Operator(Act::Second)),
    ];
    plan.storm = Duration::from_secs(165);
    let outcome = run(&plan);
    assert!(outcome.figures.seconds < 1_800, "neither waited for the end of a grant: {:?}", outcome.figures);
}

// Both had offered it their manifests, one of them before it was paused: the second took the place of the first, whose
// grant was on its way, and was put off until that had ended.
#[test]
fn device_that_two_campaigns_wait_for_is_offered_the_first_alone_when_it_registers() {
    let mut plan = quiet(4_000);
    plan.weather = slow(200);
    plan.happenings = vec![
        (Duration::from_millis(1_900), Happening::Outage(Who::Device(0), Duration::from_secs(38))),
        (Duration::from_secs(5), Happening::Operator(Act::Pause)),
        (Duration::from_secs(10), Happening::Operator(Act::Second)),
        (Duration::from_secs(15), Happening::PowerCut(0)),
        (Duration::from_secs(20), Happening::Operator(Act::Resume)),
    ];
    let outcome = run(&plan);
    assert!(outcome.figures.seconds < 1_800, "neither waited for the end of a grant: {:?}", outcome.figures);
}

// They were brought to it when it registered, over a link that was dead, and never again: it asked for a grant that it
// could not take without them.
#[test]
fn device_that_newer_anchors_did_not_reach_gets_them_when_it_is_heard_again() {
    let mut plan = quiet(4_000);
    plan.happenings = vec![
        (Duration::from_millis(1), Happening::Operator(Act::Pause)),
        (Duration::from_secs(20), Happening::Outage(Who::Device(0), Duration::from_mins(5))),
        (Duration::from_secs(30), Happening::Operator(Act::Anchors)),
        (Duration::from_secs(330), Happening::Operator(Act::Resume)),
    ];
    plan.devices[0].lifetime_s = 900;
    plan.storm = Duration::from_secs(340);
    assert_eq!(run(&plan).figures.updated, 1);
}

#[test]
fn server_that_was_stopped_and_started_speaks_first_to_a_device_that_has_slept_for_an_hour() {
    let mut plan = quiet(4_000);
    plan.devices[0].lifetime_s = 86_400;
    plan.happenings = vec![
        (Duration::from_mins(20), Happening::ServerCrash(Crash::Stop, Duration::from_mins(1))),
        (HOUR, Happening::Operator(Act::Second)),
    ];
    plan.storm = HOUR;
    let outcome = run(&plan);
    assert_eq!(outcome.figures.updated, 1);
    assert!(outcome.figures.wakings > 0);
    let soon = HOUR + Duration::from_mins(1) + LINGER;
    assert!(Duration::from_secs(outcome.figures.seconds) < soon, "{:?}", outcome.figures);
}

#[test]
fn device_that_went_on_since_a_backup_is_updated_by_the_server_that_was_restored_from_it() {
    let restore = |at_s| (Duration::from_secs(at_s), Happening::Restore(Duration::from_secs(30)));
    let second = |at_s| (Duration::from_secs(at_s), Happening::Operator(Act::Second));
    for happenings in [
        // Between its installed image and the next campaign.
        vec![(Duration::from_millis(1), Happening::Backup), restore(90), second(180)],
        // Between its image was verified and started: nobody would say to a campaign of the backup that it runs.
        vec![(Duration::from_secs(3), Happening::Backup), restore(90)],
        // After the next campaign, which has to be launched again for a device that it has updated.
        vec![(Duration::from_mins(1), Happening::Backup), second(61), restore(180)],
    ] {
        let outcome = run(&Plan { happenings, storm: Duration::from_mins(4), ..quiet(4_000) });
        assert_eq!((outcome.figures.restores, outcome.figures.updated), (1, 1));
    }
}

// Both were offered it by its gateway, the first one's bundle was taken back when that was paused, and the second one's
// grant came ahead. Resumed, the first took the place of what the device was fetching, since it was launched first.
#[test]
fn device_that_fetches_for_the_second_campaign_is_not_offered_the_first_one_again() {
    let mut plan = quiet(28_000);
    (plan.gateways, plan.weather, plan.storm) = (1, slow(500), Duration::from_mins(4));
    (plan.devices[0].gateway, plan.devices[0].on_after) = (Some(0), Duration::from_secs(34));
    plan.happenings = vec![
        (Duration::from_secs(12), Happening::Operator(Act::Pause)),
        (Duration::from_secs(24), Happening::Operator(Act::Second)),
        // The first one's offer is old enough to be made again.
        (Duration::from_secs(48), Happening::ServerClock(3_700)),
        (Duration::from_secs(52), Happening::Operator(Act::Resume)),
    ];
    let outcome = run(&plan);
    let explained = outcome.explained.join("\n");
    assert!(!explained.contains("OperationFailed"), "{explained}");
    assert_eq!(outcome.figures.updated, 1, "{explained}");
}

// The campaign of the backup waited for the end of a grant that the device had used long ago, and one that was cancelled
// said for good that the device was at work.
#[test]
fn restored_campaign_counts_a_device_that_tells_that_it_runs_the_image_already() {
    let happenings = vec![
        (Duration::from_millis(1_500), Happening::Backup),
        (Duration::from_secs(90), Happening::Restore(Duration::from_secs(30))),
    ];
    let running = Plan { happenings, storm: Duration::from_mins(4), ..quiet(4_000) };
    let outcome = run(&running);
    assert_eq!((outcome.figures.restores, outcome.figures.updated), (1, 1));
    assert!(outcome.figures.seconds < 1_800, "it waited for the end of the grant: {:?}", outcome.figures);
    let mut cancelled = running;
    cancelled.happenings.push((Duration::from_mins(3), Happening::Operator(Act::Cancel)));
    assert_eq!(run(&cancelled).figures.restores, 1);
}

// The server on the backup knows no such grant and says "stop": nothing is reported after that, and the campaign waited
// for a device that had given its image up.
#[test]
fn device_that_is_not_let_go_by_a_restored_server_is_offered_its_image_again() {
    let mut plan = quiet(4_000);
    (plan.policy.ask_go, plan.weather, plan.storm) = (true, slow(200), Duration::from_mins(2));
    let mut stopped = 0;
    for restored_ms in (2_000..9_000).step_by(250) {
        plan.happenings = vec![
            (Duration::from_millis(1), Happening::Backup),
            (Duration::from_millis(restored_ms), Happening::Restore(Duration::from_secs(1))),
        ];
        let outcome = run(&plan);
        let explained = outcome.explained.join("\n");
        assert_eq!(outcome.figures.updated, 1, "restored after {restored_ms} ms: {explained}");
        assert!(outcome.figures.seconds < 1_800, "restored after {restored_ms} ms: {:?}", outcome.figures);
        stopped += u64::from(explained.contains("had ended before it might start"));
    }
    assert!(stopped > 0, "none of them asked for a grant that the server does not know");
}

const HOUR: Duration = Duration::from_hours(1);

/// Time that a run looks on once all has ended.
const LINGER: Duration = Duration::from_mins(5);

const DAY: Duration = Duration::from_hours(24);
