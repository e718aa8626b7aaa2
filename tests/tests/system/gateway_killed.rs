//! The gateway killed with SIGKILL and started again: it goes on where it was, and loses nothing that it took.

use bellwether_api::DeviceOutcome;
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_tests::agent::Agent;
use bellwether_tests::rounds::rounds;
use bellwether_tests::site::{GATEWAY, Site};

#[test]
fn killed_gateway_goes_on_in_the_middle_of_a_transfer() {
    for round in rounds() {
        let mut site = Site::with(200_000, &[]);
        let mut meters: Vec<Agent> = (1..=2).map(|number| site.agent(&format!("meter-{number}"))).collect();
        let campaign = site.meters.launch();
        for meter in &mut meters {
            meter.switch_on(&["--exit-when-updated"]);
        }
        for kill in 1..=3 {
            site.wait_sent(kill * 40 + u64::try_from(round).expect("few") % 7);
            site.gateway.kill_and_restart();
        }
        for meter in &mut meters {
            site.ends_well(meter, &campaign);
        }
        // What was on its disk was not fetched again: at most what was under way at each kill.
        let sent = site.sent();
        assert!(sent.sent[GATEWAY] <= sent.frames + 3 * FRAMES_UNDER_WAY, "{sent:?}");
    }
}

#[test]
fn killed_gateway_still_serves_what_it_has_and_fetches_none_of_it_again() {
    let mut site = Site::new();
    let mut first = site.agent("meter-1");
    let mut second = site.agent("meter-2");
    let campaign = site.meters.launch();
    first.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut first, &campaign);
    site.gateway.kill_and_restart();
    second.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut second, &campaign);
    let sent = site.sent();
    assert_eq!((sent.sent.len(), sent.sent[GATEWAY]), (1, sent.frames), "{sent:?}");
}

#[test]
fn killed_gateway_still_holds_the_reports_that_it_took() {
    let mut site = Site::new();
    let identity = site.identity("meter-1");
    let campaign = site.meters.launch();
    let mut meter = site.connect(identity);
    let granted = meter.granted_soon(&site.meters.manifest.digest);
    site.uplink.cut();
    let reports =
        [Moment::Decrypted, Moment::Installed].map(|moment| meter.identity.report(&granted, moment));
    for report in &reports {
        assert_eq!(meter.line.send_report(&report.bytes).code, Code::SERVICE_UNAVAILABLE);
    }
    site.wait_reports(2);
    site.gateway.kill_and_restart();
    site.wait_reports(2);
    site.uplink.mend();
    let fleet = &site.meters.fleet;
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    assert_eq!(fleet.show("meter-1").index, 1);
    site.wait_reports(0);
    // The receipts are the device's when it asks again.
    let mut meter = site.connect(meter.identity);
    for report in &reports {
        meter.report(report);
    }
    assert!(fleet.alarms("meter-1").is_empty());
}

#[test]
fn killed_gateway_still_holds_its_bundle() {
    let mut site = Site::new();
    let mut meter = site.known_agent("meter-1");
    let campaign = site.meters.launch();
    site.wait_prefetched();
    site.uplink.cut();
    site.gateway.kill_and_restart();
    meter.switch_on(&["--exit-when-updated"]);
    site.wait_reports(1);
    site.uplink.mend();
    site.ends_well(&mut meter, &campaign);
}

/// Frames that may have been asked for and not yet stood on the disk.
const FRAMES_UNDER_WAY: u64 = 8;
