//! The server dies right before and right after each of its commits, one in each run, and everything ends well.

use std::time::Duration;

use bellwether_tests::world::network::Conditions;
use bellwether_tests::world::plan::{Act, Crash, DevicePlan, Happening, Plan, PolicyPlan, Role};
use bellwether_tests::world::run;

#[test]
fn server_that_dies_at_any_commit_loses_nothing_that_it_acknowledged() {
    let (mut runs, mut failed) = (0, Vec::new());
    for nth in (1..).step_by(stride()) {
        let mut crashes = 0;
        for crash in [Crash::Before(nth), Crash::After(nth)] {
            let outcome = run::run(&plan(crash), 0);
            (runs, crashes) = (runs + 1, crashes + outcome.figures.crashes);
            failed.extend(outcome.broken.into_iter().map(|what| format!("{crash:?}: {what}")));
        }
        if crashes == 0 {
            break;
        }
    }
    println!("{runs} runs");
    assert!(runs > 4, "the server makes commits");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn device_whose_grant_ended_before_it_might_start_is_not_waited_for() {
    let mut failed = Vec::new();
    for nth in FIRST_COMMITS {
        let plan = clock_jumps_while_the_server_is_dead(nth);
        let outcome = run::run(&plan, 0);
        failed.extend(outcome.broken.into_iter().map(|what| format!("after {nth}: {what}")));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The server dies after the n-th commit, and comes back with every grant ended by its clock.
fn clock_jumps_while_the_server_is_dead(nth: u64) -> Plan {
    let mut plan = plan(Crash::After(nth));
    plan.gateways = 0;
    plan.devices.truncate(1);
    plan.happenings = vec![
        (Duration::ZERO, Happening::ServerCrash(Crash::After(nth), Duration::from_secs(30))),
        (Duration::from_secs(20), Happening::ServerClock(86_400)),
    ];
    plan
}

/// A device of its own and one behind a gateway, two campaigns, a pause, and newer anchors.
fn plan(crash: Crash) -> Plan {
    let device = |gateway, shares| DevicePlan {
        role: Role::Honest,
        gateway,
        patches: true,
        shares,
        lifetime_s: 120,
        queue_mode: false,
        on_after: Duration::ZERO,
        clock_steps: Vec::new(),
    };
    let order = |at_s, act| (Duration::from_secs(at_s), Happening::Operator(act));
    Plan {
        seed: 1,
        weather: Conditions::CALM,
        gateways: 1,
        devices: vec![device(None, true), device(Some(0), false)],
        image_bytes: 3_000,
        components: 1,
        policy: PolicyPlan { at_most: None, reseed: false, ask_go: true },
        happenings: vec![
            (Duration::ZERO, Happening::ServerCrash(crash, Duration::from_secs(5))),
            order(2, Act::Anchors),
            order(40, Act::Second),
            order(45, Act::Pause),
            order(55, Act::Resume),
        ],
        storm: Duration::from_secs(150),
    }
}

/// Every how manieth commit is tried.
#[expect(clippy::disallowed_methods, reason = "how long it may take is said by the environment")]
fn stride() -> usize {
    std::env::var("COMMITS_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(STRIDE)
}

/// Commits after which the image of a device is written, and not started.
const FIRST_COMMITS: [u64; 2] = [4, 5];

/// Of every run of the tests; 1 tries all.
const STRIDE: usize = 12;
