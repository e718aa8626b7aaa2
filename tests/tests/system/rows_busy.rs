//! Row 6: an open grant of another manifest, and which one goes first. Row 17: "go?".

use bellwether_manifests::message::Moment;
use bellwether_tests::agent::Agent;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Options, Said};

// Row 6.
#[test]
fn device_with_an_open_grant_is_told_later_unless_the_other_manifest_is_more_urgent() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let first = meter.granted(&meters.manifest.digest);
    let (usual, _) = meters.version(3, "");
    meters.fleet.launch(&usual, "");
    assert!(matches!(meter.ask(&usual.digest), Said::Later(_)));
    let (urgent, image) = meters.version(4, "--priority -1");
    meters.fleet.launch(&urgent, "");
    let granted = meter.granted(&urgent.digest);
    assert!(granted.number > first.number);
    // The one that is open now is the more urgent.
    assert!(matches!(meter.ask(&meters.manifest.digest), Said::Later(_)));
    meter.install(&granted, image);
}

// Row 17.
#[test]
fn go_is_given_for_the_open_grant_but_not_while_paused_and_stop_once_its_campaign_was_cancelled() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.fleet.launch(&meters.manifest, "--ask-go");
    let granted = meter.granted(&meters.manifest.digest);
    assert!(granted.ask_go);
    let decrypted = meter.identity.report(&granted, Moment::Decrypted);
    meter.report(&decrypted);
    let digest = meters.manifest.digest;
    let go = |number| Options { go: Some(number), ..Options::default() };
    assert_eq!(meter.ask_with(&digest, &go(granted.number)), Said::Go(granted.number));
    // A number that is not the open grant's.
    assert_eq!(meter.ask_with(&digest, &go(granted.number + 1)), Said::Stop(granted.number + 1));
    assert_eq!(meter.ask_with(&digest, &go(granted.number)), Said::Go(granted.number));
    // While it is paused nobody starts, and nothing is lost.
    meters.fleet.cli.done(&format!("campaign pause {campaign}"));
    assert!(matches!(meter.ask_with(&digest, &go(granted.number)), Said::Later(_)));
    meters.fleet.cli.done(&format!("campaign resume {campaign}"));
    assert_eq!(meter.ask_with(&digest, &go(granted.number)), Said::Go(granted.number));
    meters.fleet.cli.done(&format!("campaign cancel {campaign}"));
    assert_eq!(meter.ask_with(&digest, &go(granted.number)), Said::Stop(granted.number));
    // Closed for good: it is not given again, and the device was not moved.
    assert!(matches!(meter.ask(&digest), Said::Refused(CAMPAIGN_CANCELLED, _)));
    assert_eq!(meters.fleet.show("meter-1").index, 0);
}

/// Number of a refusal on the wire.
const CAMPAIGN_CANCELLED: i64 = 13;

// Row 17.
#[test]
fn real_device_asks_before_it_starts_also_after_its_power_was_cut_in_between() {
    let meters = Meters::new();
    let mut meter = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    meters.fleet.launch(&meters.manifest, "--ask-go");
    meter.run_until("go-wanted");
    meter.run_until_updated();
    assert!(meters.fleet.alarms("meter-1").is_empty());
}
