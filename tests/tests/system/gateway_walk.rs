//! Devices behind a gateway: the whole update through it, one download for all, and what happens without it.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_manifests::link::GatewayUnit;
use bellwether_net::coap::Code;
use bellwether_tests::agent::Agent;
use bellwether_tests::raw_device::{Line, Options};
use bellwether_tests::site::{GATEWAY, Site};

#[test]
fn device_behind_a_gateway_is_updated_through_it() {
    let site = Site::new();
    let mut meter = site.agent("meter-1");
    let campaign = site.meters.launch();
    meter.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut meter, &campaign);
    site.meters.fleet.wait_state(&campaign, CampaignState::Finished);
    let sent = site.sent();
    assert_eq!((sent.sent.len(), sent.sent[GATEWAY]), (1, sent.frames), "{sent:?}");
}

#[test]
fn ten_devices_behind_a_gateway_take_one_download_from_the_server() {
    let site = Site::new();
    let mut meters: Vec<Agent> = (1..=10).map(|number| site.agent(&format!("meter-{number}"))).collect();
    let campaign = site.meters.launch();
    for meter in &mut meters {
        meter.switch_on(&["--exit-when-updated"]);
    }
    for meter in &mut meters {
        site.ends_well(meter, &campaign);
    }
    let ended = site.meters.fleet.wait_state(&campaign, CampaignState::Finished);
    assert_eq!(ended.classes[0].installed, 10);
    let sent = site.sent();
    assert_eq!((sent.sent.len(), sent.sent[GATEWAY]), (1, sent.frames), "{sent:?}");
}

#[test]
fn device_whose_gateway_is_off_goes_to_the_server() {
    let mut site = Site::new();
    site.gateway.kill9();
    let mut meter = site.agent("meter-1");
    let campaign = site.meters.launch();
    meter.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut meter, &campaign);
    let sent = site.meters.fleet.frames_sent();
    assert!(sent.iter().any(|one| one.sent.get("meter-1") == Some(&one.frames)), "{sent:?}");
    assert!(sent.iter().all(|one| !one.sent.contains_key(GATEWAY)), "{sent:?}");
}

#[test]
fn device_that_another_gateway_lists_is_not_taken() {
    let site = Site::new();
    let mut other = site.meters.fleet.gateway("gateway-2");
    other.start();
    let meter = site.identity("meter-1");
    let psk = meter.link_psk();
    let refused = Line::try_connect(other.coaps(), &meter.name, psk);
    assert!(refused.is_err());
    // Where it belongs it is taken, so it was not for its key.
    site.connect(meter);
}

#[test]
fn gateway_that_does_not_list_a_device_may_not_ask_or_report_for_it() {
    let site = Site::new();
    let fleet = &site.meters.fleet;
    let mut meter = site.identity("meter-1");
    let campaign = site.meters.launch();
    let other = fleet.gateway("gateway-2");
    let unit = std::fs::read(other.unit()).expect("its unit file");
    let unit = GatewayUnit::decode(&unit).expect("a gateway's unit file");
    let line = Line::connect(fleet.server.coaps(), unit.name, unit.psk.to_vec());
    let request = meter.request(&site.meters.manifest.digest, &Options::default());
    let answer = line.send_request(&request.bytes);
    assert!(answer.payload.is_empty() && answer.code != Code::CHANGED, "{answer:?}");
    assert_ne!(fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    // By its own gateway it is granted.
    let mut meter = site.connect(meter);
    meter.granted_soon(&site.meters.manifest.digest);
}
