//! The server away: what the gateway does from its bundle, and what becomes of it when the server is back.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_tests::agent::Agent;
use bellwether_tests::site::Site;
use bellwether_tests::wait;

#[test]
fn device_is_served_from_its_bundle_while_the_server_is_away_and_known_as_updated_later() {
    let site = Site::new();
    let mut meter = site.known_agent("meter-1");
    let campaign = site.meters.launch();
    site.wait_prefetched();
    site.uplink.cut();
    let passed = site.uplink.counts();

    meter.switch_on(&[]);
    let digest = hex::encode(site.meters.new_digest());
    meter.wait_status("the new image, with reports that wait", |status| {
        status["running"]["digest"] == digest && status["reports_waiting"] != 0
    });
    assert_eq!(meter.status()["registered"], false);
    let counts = site.uplink.counts();
    assert_eq!((counts.up, counts.down), (passed.up, passed.down));
    let fleet = &site.meters.fleet;
    assert_ne!(fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Installed);
    assert_eq!(fleet.show("meter-1").index, 0);

    site.uplink.mend();
    meter.wait_status("the receipt of its last report", |status| status["updated"] == true);
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    fleet.wait_state(&campaign, CampaignState::Finished);
    assert_eq!(fleet.show("meter-1").index, 1);
    assert!(fleet.alarms("meter-1").is_empty());
}

#[test]
fn report_reaches_the_server_though_its_device_is_off_by_then() {
    let site = Site::new();
    let mut meter = site.known_agent("meter-1");
    let campaign = site.meters.launch();
    site.wait_prefetched();
    site.uplink.cut();
    meter.switch_on(&[]);
    let digest = hex::encode(site.meters.new_digest());
    meter.wait_status("the new image", |status| status["running"]["digest"] == digest);
    site.wait_reports(1);
    meter.kill9();
    site.uplink.mend();
    let fleet = &site.meters.fleet;
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Ready);
    // Back again, it hears that its first report arrived, and sends the second.
    meter.forget_status();
    meter.switch_on(&[]);
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    meter.wait_status("no report that waits", |status| {
        status["registered"] == true && status["reports_waiting"] == 0
    });
    assert_eq!(fleet.show("meter-1").index, 1);
    assert!(fleet.alarms("meter-1").is_empty());
}

#[test]
fn uplink_that_flaps_ends_with_every_device_updated() {
    let site = Site::with(120_000, &[]);
    let mut meters: Vec<Agent> = (1..=3).map(|number| site.agent(&format!("meter-{number}"))).collect();
    let campaign = site.meters.launch();
    for meter in &mut meters {
        meter.switch_on(&["--exit-when-updated"]);
    }
    for flap in 1..=4u64 {
        // A part of the image each time; then nothing until devices and gateway have tried in vain.
        site.wait_sent(flap * 20);
        site.uplink.cut();
        let lost = site.uplink.counts().lost;
        let tried = || (site.uplink.counts().lost >= lost + 4).then_some(());
        wait::until("datagrams that are lost", wait::LONG, tried, || site.gateway.tail());
        site.uplink.mend();
    }
    for meter in &mut meters {
        site.ends_well(meter, &campaign);
    }
    site.meters.fleet.wait_state(&campaign, CampaignState::Finished);
}

#[test]
fn server_that_is_killed_and_comes_back_finds_its_gateway_again() {
    let mut site = Site::new();
    let mut meter = site.known_agent("meter-1");
    let campaign = site.meters.launch();
    site.wait_prefetched();
    site.meters.fleet.server.kill9();
    meter.switch_on(&["--exit-when-updated"]);
    site.wait_reports(1);
    site.meters.fleet.server.restart();
    site.ends_well(&mut meter, &campaign);
}
