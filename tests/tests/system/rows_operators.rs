//! What operators allow: reissue (row 7), forward (row 18), block and unblock.

use bellwether_api::{Device, Explanation};
use bellwether_manifests::message::Moment;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{RawDevice, Said};
use serde_json::json;

// Row 18.
#[test]
fn device_restored_from_a_copy_is_told_to_go_on_by_an_operators_leave() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let copy = meter.identity.clone();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());

    let mut restored = RawDevice::with(meters.fleet.server.coaps(), copy);
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    assert!(matches!(restored.prove(&third.digest), Said::Refused(IDENTITY_IN_DOUBT, _)));
    meters.fleet.cli.done("device forward meter-1 --why flash-restored --for 1h");
    let said = restored.prove(&third.digest);
    let Said::Forward { index, fork, grant } = said else { panic!("not let on: {said:?}") };
    assert_eq!((index, fork, grant), (1, meter.identity.fork, granted.number));
    restored.identity.go_on(index, fork);

    // Its counter was taken with the proof; what it counted before it lost its state may be a replay.
    let granted = match restored.ask(&third.digest) {
        Said::Grant(granted) => granted,
        Said::Prove(_) => {
            let said = restored.prove(&third.digest);
            let Said::Grant(granted) = said else { panic!("no grant: {said:?}") };
            granted
        }
        other => panic!("no grant: {other:?}"),
    };
    restored.install(&granted, image);
    assert_eq!(meters.fleet.show("meter-1").index, 2);
}

// Row 18.
#[test]
fn real_device_whose_flash_was_restored_from_a_copy_goes_on_by_an_operators_leave() {
    let fleet = Fleet::start();
    let old = images::image(1, 20_000);
    let new = images::next_version(&old);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &new);
    fleet.release("meter", "3.0", &images::next_version(&new));
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let mut restored = meter.clone_as("restored");
    let second = fleet.manifest(2, &[("meter", "2.0")]);
    fleet.launch(&second, "");
    meter.run_until_updated();
    assert_eq!(fleet.show("meter-1").index, 1);

    fleet.cli.done("device forward meter-1 --why flash-restored");
    let third = fleet.manifest(3, &[("meter", "3.0")]);
    fleet.launch(&third, "");
    restored.run_until_updated();
    assert_eq!(fleet.show("meter-1").index, 2);
    assert!(fleet.alarms("meter-1").is_empty());
}

// Row 7.
#[test]
fn update_that_was_confirmed_is_granted_once_more_by_an_operators_reissue() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let refused = meters.fleet.cli.refused("device reissue meter-1 --why bench");
    assert!(refused.contains("never confirmed"), "{refused}");
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    // Reflashed on the bench: it runs the old image again, at its place.
    meter.identity.runs = images::digest(&meters.old);
    assert!(matches!(meter.ask(&meters.manifest.digest), Said::Refused(ALREADY_SENT, _)));
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["repeated request"]);

    meters.fleet.cli.done("device reissue meter-1 --why bench");
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meter.identity.runs = images::digest(&meters.old);
    assert!(matches!(meter.ask(&meters.manifest.digest), Said::Refused(ALREADY_SENT, _)));
}

#[test]
fn blocked_device_gets_nothing_is_shown_so_and_its_reports_count() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let shown: Device = meters.fleet.cli.json("device block meter-1 --why stolen --who kim");
    assert_eq!(shown.blocked_until, Some(u64::MAX));
    assert!(matches!(meter.ask(&meters.manifest.digest), Said::Refused(BLOCKED, _)));
    let story = meters.fleet.cli.done("device explain meter-1");
    assert!(story.contains("an operator blocks it") && story.contains("by kim: stolen"), "{story}");

    meter.install(&granted, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    assert!(matches!(meter.ask(&third.digest), Said::Refused(BLOCKED, _)));
    let shown: Device = meters.fleet.cli.json("device unblock meter-1 --why found");
    assert_eq!(shown.blocked_until, None);
    let granted = meter.granted(&third.digest);
    meter.install(&granted, image);
}

#[test]
fn same_order_again_is_carried_out_once_and_another_body_is_refused() {
    let meters = Meters::new();
    let _meter = meters.device("meter-1");
    let http = meters.fleet.server.http();
    let order = |why: &str| json!({"request_id": "r-1", "endpoint": "meter-1", "why": why});
    let path = "/v1/commands/devices/block";
    let first = http.post(path, &order("stolen"));
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(http.post(path, &order("stolen")).status, 200);
    assert_eq!(http.post(path, &order("lost")).status, 409);
    let as_another_verb = http.post("/v1/commands/devices/unblock", &order("stolen"));
    assert_eq!(as_another_verb.status, 409, "{}", as_another_verb.body);
    let story: Explanation = meters.fleet.cli.json("device explain meter-1");
    let blocked = story.events.iter().filter(|event| event.kind == "blocked");
    assert_eq!(blocked.count(), 1, "{story:#?}");
}

#[test]
fn order_that_is_out_of_bounds_names_its_field() {
    let meters = Meters::new();
    let _meter = meters.device("meter-1");
    let http = meters.fleet.server.http();
    for (verb, body, named, status) in [
        ("block", json!({"request_id": "a", "endpoint": "meter-1"}), "why", 400),
        ("block", json!({"request_id": "b", "endpoint": "meter-1", "why": ""}), "why", 400),
        ("block", json!({"request_id": "c", "endpoint": "meter-1", "why": "x", "until": 5}), "until", 400),
        (
            "block",
            json!({"request_id": "d", "endpoint": "meter-1", "why": "x", "manifest": "00"}),
            "manifest",
            400,
        ),
        ("block", json!({"request_id": "e", "endpoint": "meter-9", "why": "x"}), "meter-9", 404),
        ("block", json!({"request_id": "f", "endpoint": "meter-1", "why": "x", "for": 1}), "for", 400),
        ("resync-all", json!({"request_id": "g", "why": "x", "until": 5}), "until", 400),
    ] {
        let refused = http.post(&format!("/v1/commands/devices/{verb}"), &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.body);
        assert!(refused.body.contains(named), "{body}: {}", refused.body);
    }
    assert_eq!(meters.fleet.show("meter-1").blocked_until, None);
}

// Row 18: a leave is for the device that was seen; without one the alarm stands.
#[test]
fn forward_is_not_given_over_an_epoch_that_was_opened_with_shares() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.fleet.launch(&meters.manifest, "--reseed");
    let copy = meter.identity.clone();
    let ours = bellwether_keys::PrivateShare::from_random([7; 32]).expect("a scalar");
    let share = Some(ours.public().expect("a point"));
    let options = bellwether_tests::raw_device::Options { share, ..Default::default() };
    let Said::Grant(granted) = meter.ask_with(&meters.manifest.digest, &options) else {
        panic!("no grant");
    };
    let decrypted = meter.identity.report(&granted, Moment::Decrypted);
    meter.report(&decrypted);
    let installed = meter.identity.report(&granted, Moment::Installed);
    meter.report(&installed);
    meters.fleet.cli.done("device forward meter-1 --why flash-restored");
    let mut restored = RawDevice::with(meters.fleet.server.coaps(), copy);
    let said = restored.prove(&meters.manifest.digest);
    assert!(matches!(said, Said::Refused(IDENTITY_IN_DOUBT, _)), "{said:?}");
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone or rolled-back device"]);
}

/// Numbers of refusals on the wire.
const IDENTITY_IN_DOUBT: i64 = 1;
const ALREADY_SENT: i64 = 2;
const BLOCKED: i64 = 6;
