//! Reports at the real server: well-formed, altered, replayed, of others.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_keys::mac;
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_tests::meters::Meters;

#[test]
fn altered_report_gets_no_receipt_and_moves_nothing() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let report = meter.identity.report(&granted, Moment::Installed);
    for at in 0..report.bytes.len() {
        let mut altered = report.bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let response = meter.line.send_report(&altered);
        assert_eq!(response.code.class(), 4, "byte {at}: {response:?}");
        assert!(response.payload.is_empty(), "byte {at}");
    }
    for length in 0..report.bytes.len() {
        let response = meter.line.send_report(&report.bytes[..length]);
        assert_eq!(response.code, Code::BAD_REQUEST, "{length} bytes");
    }
    assert_eq!(meters.fleet.show("meter-1").index, 0);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
    meter.report(&report);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
}

// Row 10.
#[test]
fn replayed_report_gets_the_same_receipt_and_counts_once() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let decrypted = meter.identity.report(&granted, Moment::Decrypted);
    let installed = meter.identity.report(&granted, Moment::Installed);
    let receipts = [meter.report(&decrypted), meter.report(&installed)];
    meter.reconnect(meters.fleet.server.coaps());
    assert_eq!([meter.report(&decrypted), meter.report(&installed)], receipts);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

#[test]
fn report_of_one_device_sent_by_another_moves_nothing() {
    let meters = Meters::new();
    let (mut one, other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    let granted = one.granted(&meters.manifest.digest);
    let report = one.identity.report(&granted, Moment::Installed);
    assert_eq!(other.line.send_report(&report.bytes).code, Code::UNAUTHORIZED);
    assert_eq!(meters.fleet.show("meter-1").index, 0);
    one.report(&report);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
}

#[test]
fn report_in_the_name_of_another_moves_nothing() {
    let meters = Meters::new();
    let (mut one, mut other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    let granted = one.granted(&meters.manifest.digest);
    other.identity.name = "meter-1".to_owned();
    let forged = other.identity.report(&granted, Moment::Installed);
    assert_eq!(other.line.send_report(&forged.bytes).code, Code::UNAUTHORIZED);
    assert_eq!(one.line.send_report(&forged.bytes).code, Code::UNAUTHORIZED);
    assert_eq!(meters.fleet.show("meter-1").index, 0);
}

#[test]
fn receipt_of_one_report_is_none_of_another_or_at_another_device() {
    let meters = Meters::new();
    let (mut one, other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    let granted = one.granted(&meters.manifest.digest);
    let report = one.identity.report(&granted, Moment::Decrypted);
    let receipt = one.report(&report);
    let next = one.identity.report(&granted, Moment::Installed);
    assert!(mac::open_receipt(&one.identity.down(0), &next.digest, &receipt).is_err());
    assert!(mac::open_receipt(&other.identity.down(0), &report.digest, &receipt).is_err());
    for at in 0..receipt.len() {
        let mut altered = receipt.clone();
        altered[at] ^= 1 << (at % 8);
        let opened = mac::open_receipt(&one.identity.down(0), &report.digest, &altered);
        assert!(opened.is_err(), "byte {at}");
    }
}

// Row 13.
#[test]
fn confirmation_of_a_grant_that_was_never_given_is_kept_and_moves_nothing() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let digest = meters.manifest.digest;
    let invented = meter.identity.report_on(0, granted.number + 1, &digest, Moment::Installed);
    let receipt = meter.report(&invented);
    assert_eq!(meter.report(&invented), receipt);
    assert_eq!(meters.fleet.show("meter-1").index, 0);
}

// Row 8, row 4.
#[test]
fn failure_closes_the_grant_is_told_and_the_device_may_ask_again() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let first = meter.granted(&meters.manifest.digest);
    let failed = meter.identity.report(&first, Moment::Failed);
    meter.report(&failed);
    let track = meters.fleet.track(&campaign, "meter-1");
    assert_eq!(track.outcome, DeviceOutcome::Failed);
    assert!(track.reason.is_some_and(|reason| reason.contains("OperationFailed")));
    meters.fleet.wait_state(&campaign, CampaignState::Finished);

    let second = meter.granted(&meters.manifest.digest);
    assert!(second.number > first.number);
    meter.install(&second, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
}

#[test]
fn report_to_another_path_is_not_found() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let report = meter.identity.report(&granted, Moment::Decrypted);
    let format = bellwether_manifests::message::content_format::REPORT;
    assert_eq!(meter.line.post("/u", format, &report.bytes).code, Code::NOT_FOUND);
    assert_eq!(meter.line.post("/u/r", 42, &report.bytes).code, Code::NOT_FOUND);
    assert_eq!(meter.line.post("/u/r", format, &vec![0x5a; 300_000]).code, Code::REQUEST_ENTITY_TOO_LARGE);
    meter.report(&report);
}
