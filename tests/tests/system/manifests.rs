//! Manifests that a server passes on and a device does not follow.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;

#[test]
fn manifest_with_an_older_sequence_number_than_the_device_keeps_is_refused() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let (third, _) = meters.third();
    let mut meter = Agent::make(fleet, "meter-1", "meter", "1.0", "microcontroller");
    let campaign = fleet.launch(&third, "");
    meter.run_until_updated();
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);

    // Sequence number 2 after 3: back to an older version.
    let back = meters.launch();
    meter.switch_on(&["--exit-when-updated"]);
    assert_eq!(meter.wait_end().code(), Some(1), "{}", meter.tail());
    let track = fleet.wait_outcome(&back, "meter-1", DeviceOutcome::Failed);
    assert!(track.reason.is_some_and(|reason| !reason.is_empty()));
    let status = meter.status();
    assert_eq!((&status["running"]["version"], &status["result"]), (&"3.0".into(), &8.into()), "{status:#}");
    assert_eq!(status["asked"]["requests"], 0);
    assert_eq!(fleet.show("meter-1").index, 1);
}

#[test]
fn manifest_for_another_class_is_refused_by_the_device() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    fleet.release("pump", "1.0", &images::image(9, 5_000));
    let mut pump = Agent::make(fleet, "pump-1", "pump", "1.0", "microcontroller");
    let campaign = fleet.launch(&meters.manifest, "--device pump-1");
    pump.switch_on(&["--exit-when-updated"]);
    assert_eq!(pump.wait_end().code(), Some(1), "{}", pump.tail());
    let track = fleet.wait_outcome(&campaign, "pump-1", DeviceOutcome::Failed);
    assert!(track.reason.is_some_and(|reason| !reason.is_empty()));
    let status = pump.status();
    assert_eq!((&status["result"], &status["asked"]["requests"]), (&6.into(), &0.into()), "{status:#}");
    fleet.wait_state(&campaign, CampaignState::Finished);
}

#[test]
fn device_that_runs_the_target_already_says_so_and_changes_nothing() {
    let fleet = Fleet::start();
    let image = images::image(1, 5_000);
    fleet.release("meter", "1.0", &image);
    let manifest = fleet.manifest(2, &[("meter", "1.0")]);
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let campaign = fleet.launch(&manifest, "");
    meter.switch_on(&["--exit-when-updated"]);
    assert!(meter.wait_end().success(), "{}", meter.tail());
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::NothingToDo);
    assert_eq!(fleet.show("meter-1").index, 0);
}
