//! The walk: one signed manifest for two classes, one campaign, real devices, and a copy of one of them.

use bellwether_api::{CampaignState, DeviceOutcome, Got};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::{images, program};

/// A program of this workspace as an image, without what only a debugger reads.
fn lamp(fleet: &Fleet, name: &str) -> Vec<u8> {
    let stripped = fleet.folder().join(name);
    let mut strip = std::process::Command::new("strip");
    let status = strip.arg("-o").arg(&stripped).arg(program::binary(name)).status().expect("strip runs");
    assert!(status.success());
    std::fs::read(stripped).expect("the image")
}

#[test]
fn lamp_is_updated_whole_meter_by_a_delta_and_its_copy_is_found_out() {
    let fleet = Fleet::start();
    let old = images::image(1, 60_000);
    fleet.release("lamp", "1.0.0", &lamp(&fleet, "lamp-v1"));
    fleet.release("lamp", "2.0.0", &lamp(&fleet, "lamp-v2"));
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &images::next_version(&old));
    let manifest = fleet.manifest(2, &[("lamp", "2.0.0"), ("meter", "2.0")]);
    let mut lamp = Agent::make_without_patches(&fleet, "lamp-1", "lamp", "1.0.0", "linux");
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let campaign = fleet.launch(&manifest, "");

    lamp.switch_on(&[]);
    meter.run_until("manifest-stored");
    let mut copy = meter.clone_as("copy");
    meter.run_until_updated();
    lamp.wait_status("the new lamp", |status| status["says"] == "lamp firmware 2.0.0 shines");

    let ended = fleet.wait_state(&campaign, CampaignState::Finished);
    let got = |name: &str| {
        let device = ended.devices.iter().find(|device| device.endpoint == name).expect("a device");
        assert_eq!(device.outcome, DeviceOutcome::Installed, "{name}");
        device.got.clone().expect("a grant")
    };
    assert!(matches!(got("lamp-1"), Got::Full { .. }));
    let Got::Delta { base, bytes } = got("meter-1") else {
        panic!("the meter got no delta");
    };
    assert!(base == "1.0" && bytes < 6_000, "delta from {base} of {bytes} bytes");
    assert_eq!(fleet.show("lamp-1").version.as_deref(), Some("2.0.0"));
    assert_eq!(fleet.show("meter-1").version.as_deref(), Some("2.0"));
    assert!(fleet.alarms("meter-1").is_empty());

    copy.switch_on(&["--exit-when-updated"]);
    assert_eq!(copy.wait_end().code(), Some(1), "{}", copy.tail());
    let status = copy.status();
    assert_eq!((&status["verdict"], &status["refused"]), (&"refused".into(), &1.into()), "{status:#}");
    assert_eq!((&status["asked"]["requests"], &status["got"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(status["running"]["version"], "1.0");
    assert_eq!(fleet.alarm_kinds("meter-1"), ["clone or rolled-back device"]);
    assert_eq!(fleet.show("meter-1").index, 1);
}

#[test]
fn device_is_told_to_start_its_image_only_after_it_has_its_receipt() {
    let fleet = Fleet::start();
    let old = images::image(1, 20_000);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &images::next_version(&old));
    let manifest = fleet.manifest(2, &[("meter", "2.0")]);
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    fleet.launch(&manifest, "");
    meter.run_until_updated();
    // A device that boots without its receipt reports the same again.
    assert_eq!(meter.said().matches("Reporting(Decrypted)").count(), 1, "{}", meter.said());
}

#[test]
fn image_that_fails_its_self_test_is_rolled_back_and_reported() {
    let fleet = Fleet::start();
    fleet.release("lamp", "1.0.0", &images::program("1.0.0", 0, 20_000));
    fleet.release("lamp", "2.0.0", &images::program("2.0.0", 7, 20_000));
    let manifest = fleet.manifest(2, &[("lamp", "2.0.0")]);
    let mut lamp = Agent::make(&fleet, "lamp-1", "lamp", "1.0.0", "linux");
    let campaign = fleet.launch(&manifest, "");
    lamp.switch_on(&["--exit-when-updated"]);
    assert_eq!(lamp.wait_end().code(), Some(1), "{}", lamp.tail());
    let status = lamp.status();
    assert_eq!(
        (&status["running"]["version"], &status["result"]),
        (&"1.0.0".into(), &8.into()),
        "{status:#}"
    );
    let track = fleet.wait_outcome(&campaign, "lamp-1", DeviceOutcome::Failed);
    assert!(track.reason.is_some());
    assert_eq!(fleet.show("lamp-1").index, 0);

    // A better image mends it.
    fleet.release("lamp", "3.0.0", &images::program("3.0.0", 0, 20_000));
    let better = fleet.manifest(3, &[("lamp", "3.0.0")]);
    let campaign = fleet.launch(&better, "");
    lamp.run_until_updated();
    fleet.wait_outcome(&campaign, "lamp-1", DeviceOutcome::Installed);
    assert_eq!(fleet.show("lamp-1").index, 1);
}
