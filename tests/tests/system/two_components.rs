//! Devices with two components, an application and a radio: one manifest, one grant, one trial, one report.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::{Fleet, Manifest, VENDOR};
use bellwether_tests::images;

/// Right after the flash writes of an update, in their order.
const POINTS: [&str; 6] = ["manifest-stored", "granted", "frame:1", "decrypted", "trial", "confirmed"];

/// A server whose author may sign for applications and radios.
fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.cli.done(&format!(
        "keys anchors --vendor {VENDOR} --root root.key --author author.pub --distributor distributor.pub \
         --component app --component radio --edition 2 --out both.cose"
    ));
    fleet.cli.done("keys trust both.cose");
    fleet
}

fn publish_radio(fleet: &Fleet, version: &str, image: &[u8]) {
    let name = format!("radio-{version}.bin");
    fleet.put(&name, image);
    fleet.cli.done(&format!("release publish {name} --class gate --version {version} --component radio"));
}

/// A device whose application is 1.0 and whose radio is 0.9, an image that nobody published.
fn gate(fleet: &Fleet, name: &str, kind: &str, radio: &[u8]) -> Agent {
    fleet.put("radio-0.9.bin", radio);
    let radio = format!("radio={}:0.9", fleet.folder().join("radio-0.9.bin").display());
    Agent::flashed(fleet, &fleet.device(name, "gate"), (name, "gate", "1.0", kind), &["--component", &radio])
}

fn manifest(fleet: &Fleet, sequence: u64, app: &str, radio: &str) -> Manifest {
    let radio = format!("--image gate/radio=radio-{radio}.bin:{radio}");
    fleet.manifest_with(sequence, &[("gate", app)], &radio)
}

/// Version of each component, and what it got last.
fn components(agent: &Agent) -> Vec<(String, Option<String>)> {
    let status = agent.status();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let components = status["components"].as_array().expect("components").iter();
    components
        .map(|one| (text(&one["running"]["version"]).expect("a version"), text(&one["got"]["kind"])))
        .collect()
}

fn is(version: &str, kind: Option<&str>) -> (String, Option<String>) {
    (version.to_owned(), kind.map(str::to_owned))
}

/// Applications of versions 1.0 and 2.0, radios of 1.1 and 1.2.
fn published(fleet: &Fleet) {
    let (app, radio) = (images::image(1, 30_000), images::image(2, 12_000));
    fleet.release("gate", "1.0", &app);
    fleet.release("gate", "2.0", &images::next_version(&app));
    publish_radio(fleet, "1.1", &radio);
    publish_radio(fleet, "1.2", &images::next_version(&radio));
}

#[test]
fn two_components_are_updated_by_a_delta_and_a_full_image_and_then_one_of_them_alone() {
    let fleet = fleet();
    published(&fleet);
    let mut gate = gate(&fleet, "gate-1", "microcontroller", &images::image(3, 12_000));
    let campaign = fleet.launch(&manifest(&fleet, 2, "2.0", "1.1"), "");
    gate.run_until_updated();
    fleet.wait_state(&campaign, CampaignState::Finished);
    assert_eq!(components(&gate), [is("2.0", Some("delta")), is("1.1", Some("full"))]);
    assert_eq!(fleet.show("gate-1").index, 1);

    let campaign = fleet.launch(&manifest(&fleet, 3, "2.0", "1.2"), "");
    gate.run_until_updated();
    fleet.wait_outcome(&campaign, "gate-1", DeviceOutcome::Installed);
    assert_eq!(components(&gate), [is("2.0", None), is("1.2", Some("delta"))]);
    let shown = fleet.show("gate-1");
    assert_eq!((shown.index, shown.version.as_deref()), (2, Some("2.0")), "the application's version");
    assert!(fleet.alarms("gate-1").is_empty());
}

#[test]
fn two_components_are_both_rolled_back_where_the_second_one_fails_its_self_test() {
    let fleet = fleet();
    fleet.release("gate", "1.0", &images::program("1.0", 0, 20_000));
    fleet.release("gate", "2.0", &images::program("2.0", 0, 20_000));
    publish_radio(&fleet, "1.1", &images::program("1.1", 7, 9_000));
    let mut gate = gate(&fleet, "gate-1", "linux", &images::program("0.9", 0, 9_000));
    let campaign = fleet.launch(&manifest(&fleet, 2, "2.0", "1.1"), "");
    gate.switch_on(&["--exit-when-updated"]);
    assert_eq!(gate.wait_end().code(), Some(1), "{}", gate.tail());
    let versions: Vec<_> = components(&gate).into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, ["1.0", "0.9"]);
    assert_eq!(gate.status()["says"], "lamp firmware 1.0 shines");
    fleet.wait_outcome(&campaign, "gate-1", DeviceOutcome::Failed);
    assert_eq!(fleet.show("gate-1").index, 0);
}

#[test]
fn two_components_end_updated_after_the_device_was_cut_off_at_every_point() {
    let fleet = fleet();
    published(&fleet);
    let mut gate = gate(&fleet, "gate-1", "microcontroller", &images::image(3, 12_000));
    let campaign = fleet.launch(&manifest(&fleet, 2, "2.0", "1.1"), "");
    for point in POINTS {
        gate.run_until(point);
    }
    gate.run_until_updated();
    fleet.wait_outcome(&campaign, "gate-1", DeviceOutcome::Installed);
    let versions: Vec<_> = components(&gate).into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, ["2.0", "1.1"]);
    assert_eq!(fleet.show("gate-1").index, 1);
    assert!(fleet.alarms("gate-1").is_empty());
}
