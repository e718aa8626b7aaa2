//! Orders about devices in groups, and devices that are given up.

use bellwether_api::{CampaignState, Device, DeviceOutcome, TaggedDevices};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use serde_json::json;

#[test]
fn devices_are_listed_and_updated_by_their_tags() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    for name in ["meter-1", "meter-2", "meter-3"] {
        fleet.enrol(name, "meter");
    }
    fleet.cli.done("device tag add roof meter-1 meter-2 --why survey");
    fleet.cli.done("device tag add ring=1 meter-2 meter-3");
    let tagged: TaggedDevices = fleet.cli.json("device tag remove roof meter-1");
    assert_eq!(tagged.devices[0].tags, [""; 0]);
    let roof: Vec<Device> = fleet.cli.json("device list --tag roof");
    assert_eq!(roof.iter().map(|one| one.endpoint.as_str()).collect::<Vec<_>>(), ["meter-2"]);
    assert_eq!(roof[0].tags, ["ring=1", "roof"]);
    let counted: serde_json::Value = fleet.cli.json("device tag list");
    assert_eq!(counted, json!([{"tag": "ring=1", "devices": 2}, {"tag": "roof", "devices": 1}]));

    let both = fleet.launch(&meters.manifest, "--tag ring=1,roof");
    let campaign = fleet.campaign(&both);
    assert_eq!(campaign.devices.iter().map(|one| one.endpoint.as_str()).collect::<Vec<_>>(), ["meter-2"]);
    let none = fleet.cli.refused("device list --tag <script>");
    assert!(none.contains("tag: a tag holds '<'"), "{none}");
    let long = fleet.cli.refused(&format!("device tag add {} meter-1", "x".repeat(65)));
    assert!(long.contains("65 bytes long, at most 64"), "{long}");
    let stranger = fleet.cli.refused("device tag add roof meter-1 nobody");
    assert!(stranger.contains("no device named nobody"), "{stranger}");
    assert!(fleet.show("meter-1").tags.is_empty(), "none of them, where one can't be");
    let told = fleet.cli.done("audit list --device meter-1");
    assert!(told.contains("was tagged roof") && told.contains("survey"), "{told}");
}

#[test]
fn device_that_is_given_up_is_refused_and_its_campaigns_go_on_without_it() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let mut one = meters.device("meter-1");
    let other = meters.device("meter-2");
    let id = meters.launch();
    let granted = one.granted(&meters.manifest.digest);
    let body = json!({"request_id": "gone-1", "endpoint": "meter-2", "why": "scrapped", "who": "kim"});
    let path = "/v1/commands/devices/decommission";
    let given_up: Device = fleet.server.http().post(path, &body).json();
    assert!(given_up.decommissioned.is_some());
    assert_eq!(given_up.registered, None, "its session has ended");
    drop(other);
    let again: Device = fleet.server.http().post(path, &body).json();
    assert_eq!(again.decommissioned, given_up.decommissioned);
    one.install(&granted, meters.new_digest());
    let ended = fleet.wait_state(&id, CampaignState::Finished);
    let outcome = ended.devices.iter().find(|device| device.endpoint == "meter-2").expect("a target");
    assert_eq!(outcome.outcome, DeviceOutcome::Refused);
    assert_eq!(outcome.reason.as_deref(), Some("the device was decommissioned"));

    let twice = fleet.cli.refused("device decommission meter-2 --why twice");
    assert!(twice.contains("was decommissioned before"), "{twice}");
    let taken = fleet.cli.refused("device add meter-2 --class meter --out again.unit");
    assert!(taken.contains("enrolled already"), "{taken}");
    let launched = fleet
        .cli
        .refused(&format!("campaign launch --manifest {} --device meter-2", meters.manifest.path.display()));
    assert!(launched.contains("meter-2 was decommissioned"), "{launched}");
    assert!(fleet.cli.done("device list").contains("decommissioned"));
    assert!(fleet.cli.done("device explain meter-2").contains("its keys are gone by kim: scrapped"));
}

#[test]
fn tags_come_over_mqtt_as_well() {
    let fleet = Fleet::start_with(&["--mqtt-listen", "127.0.0.1:0"]);
    fleet.enrol("lamp-1", "lamp");
    let mut manager = Mqtt::connect(&Login::embedded(fleet.server.data()), "manager");
    let asked = json!({"request_id": "t1", "endpoints": ["lamp-1"], "add": ["roof"]});
    let reply = manager.ask("bellwether/v1/default/commands/devices/tag", &asked.to_string());
    assert_eq!(reply["ok"]["devices"][0]["tags"], json!(["roof"]));
    let listed = manager.ask("bellwether/v1/default/commands/devices/list", r#"{"tag":"roof"}"#);
    assert_eq!(listed["ok"]["devices"][0]["endpoint"], "lamp-1");
}
