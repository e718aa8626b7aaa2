//! Plans that found something once.

use std::time::Duration;

use bellwether_tests::world::network::Conditions;
use bellwether_tests::world::plan::{Act, Crash, DevicePlan, Happening, Plan, PolicyPlan, Role};
use bellwether_tests::world::run::{self, Outcome};

/// One device without a gateway, and nothing that goes wrong.
fn quiet(image_bytes: usize) -> Plan {
    let device = DevicePlan {
        role: Role::Honest,
        gateway: None,
        patches: false,
        shares: false,
        lifetime_s: 300,
        on_after: Duration::ZERO,
        clock_steps: Vec::new(),
    };
    Plan {
        seed: 1,
        weather: Conditions::CALM,
        gateways: 0,
        devices: vec![device],
        image_bytes,
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
