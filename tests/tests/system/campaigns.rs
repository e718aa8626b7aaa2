//! Campaigns as devices feel them: pace, cancel, halt.

use bellwether_api::{Campaign, CampaignState, DeviceOutcome};
use bellwether_manifests::message::Moment;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{RawDevice, Said};

fn three(meters: &Meters) -> Vec<RawDevice> {
    (1..=3).map(|number| meters.device(&format!("meter-{number}"))).collect()
}

fn in_flight(campaign: &Campaign) -> u64 {
    let class = &campaign.classes[0];
    class.offered + class.granted + class.ready
}

#[test]
fn cancelled_campaign_gives_no_grants_and_takes_what_is_done() {
    let meters = Meters::new();
    let mut devices = three(&meters);
    let campaign = meters.launch();
    let granted = devices[0].granted(&meters.manifest.digest);
    let begun = devices[1].granted(&meters.manifest.digest);
    meters.fleet.cli.done(&format!("campaign cancel {campaign}"));

    for device in &mut devices[1..] {
        let said = device.ask(&meters.manifest.digest);
        assert!(matches!(said, Said::Refused(CAMPAIGN_CANCELLED, _)), "{said:?}");
    }
    // The device's word is the truth: it runs the image.
    devices[0].install(&granted, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Installed);
    devices[1].install(&begun, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-2").index, 1);
    assert_eq!(meters.fleet.campaign(&campaign).state, CampaignState::Cancelled);
    let again = meters.fleet.cli.refused(&format!("campaign cancel {campaign}"));
    assert!(again.contains("is cancelled"), "{again}");
}

#[test]
fn at_most_one_device_is_at_work_at_a_time() {
    let meters = Meters::new();
    let mut devices = three(&meters);
    let campaign = meters.fleet.launch(&meters.manifest, "--at-most 1");
    for done in 0..3 {
        let offered = bellwether_tests::wait::until(
            "an offer",
            bellwether_tests::wait::LONG,
            || devices.iter().position(|device| !device.line.heard().manifests.is_empty()),
            || meters.fleet.server.tail(),
        );
        let mut device = devices.remove(offered);
        assert_eq!(in_flight(&meters.fleet.campaign(&campaign)), 1);
        let granted = device.granted(&meters.manifest.digest);
        let decrypted = device.identity.report(&granted, Moment::Decrypted);
        device.report(&decrypted);
        assert_eq!(in_flight(&meters.fleet.campaign(&campaign)), 1);
        let others = devices.iter().filter(|other| !other.line.heard().manifests.is_empty()).count();
        assert_eq!(others, 0, "offered beside {}, after {done}", device.identity.name);
        let installed = device.identity.report(&granted, Moment::Installed);
        device.report(&installed);
    }
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
}

#[test]
fn campaign_halts_at_its_share_of_failures() {
    let meters = Meters::new();
    let mut devices = three(&meters);
    let campaign = meters.fleet.launch(&meters.manifest, "--abort-at 40 --abort-after 2");
    let granted: Vec<_> = devices.iter_mut().map(|device| device.granted(&meters.manifest.digest)).collect();
    devices[0].install(&granted[0], meters.new_digest());
    assert_eq!(meters.fleet.campaign(&campaign).state, CampaignState::Running);
    let failed = devices[1].identity.report(&granted[1], Moment::Failed);
    devices[1].report(&failed);
    let halted = meters.fleet.wait_state(&campaign, CampaignState::Halted);
    assert!(halted.reason.is_some_and(|reason| reason.contains("failed")));
    for device in &mut devices[1..] {
        let said = device.ask(&meters.manifest.digest);
        assert!(matches!(said, Said::Refused(CAMPAIGN_HALTED, _)), "{said:?}");
    }
}

#[test]
fn failures_below_the_share_do_not_halt() {
    let meters = Meters::new();
    let mut devices = three(&meters);
    let campaign = meters.fleet.launch(&meters.manifest, "--abort-at 50 --abort-after 2");
    let granted: Vec<_> = devices.iter_mut().map(|device| device.granted(&meters.manifest.digest)).collect();
    devices[0].install(&granted[0], meters.new_digest());
    let failed = devices[1].identity.report(&granted[1], Moment::Failed);
    devices[1].report(&failed);
    devices[2].install(&granted[2], meters.new_digest());
    let ended = meters.fleet.wait_state(&campaign, CampaignState::Finished);
    assert_eq!((ended.classes[0].installed, ended.classes[0].failed), (2, 1));
}

// Row 6.
#[test]
fn device_with_an_open_grant_is_told_to_finish_it_first() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let first = meter.granted(&meters.manifest.digest);
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    assert!(matches!(meter.ask(&third.digest), Said::Later(_)));
    meter.install(&first, meters.new_digest());
    let next = meter.granted(&third.digest);
    meter.install(&next, image);
    assert_eq!(meters.fleet.show("meter-1").index, 2);
}

/// Numbers of refusals on the wire.
const CAMPAIGN_CANCELLED: i64 = 13;
const CAMPAIGN_HALTED: i64 = 14;
