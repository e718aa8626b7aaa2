//! Devices that were enrolled without security, over plain UDP.

use bellwether_net::coap::Code;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Identity, Line, RawDevice};

fn meters() -> Meters {
    Meters::on(Fleet::start_with(&["--coap", "127.0.0.1:0"]), 4_000)
}

fn enrol(meters: &Meters, name: &str, security: &str) -> Identity {
    let words = format!("device add {name} --class meter --security {security} --out {name}.unit");
    meters.fleet.cli.done(&words);
    let unit = meters.fleet.folder().join(format!("{name}.unit"));
    Identity::from_factory(&unit, "meter", images::digest(&meters.old))
}

#[test]
fn device_without_security_walks_to_its_update_over_plain_udp() {
    let meters = meters();
    let identity = enrol(&meters, "meter-1", "none");
    let line = Line::plain(meters.fleet.server.coap());
    line.register("meter-1");
    let mut meter = RawDevice { identity, line };
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert!(meters.fleet.track(&campaign, "meter-1").got.is_some());
}

#[test]
fn device_with_a_key_is_not_taken_without_it() {
    let meters = meters();
    enrol(&meters, "meter-1", "psk");
    let line = Line::plain(meters.fleet.server.coap());
    let refused = line.send(Line::registration("meter-1"));
    assert_eq!(refused.code, Code::FORBIDDEN);
    assert!(meters.fleet.show("meter-1").registered.is_none());
}

#[test]
fn device_without_security_has_no_dtls_key_that_works() {
    let meters = meters();
    let identity = enrol(&meters, "meter-1", "none");
    assert!(RawDevice::try_with(meters.fleet.server.coaps(), identity).is_err());
}

#[test]
fn enrolment_without_security_is_refused_while_plain_udp_is_off() {
    let fleet = Fleet::start();
    let refused = fleet.cli.refused("device add meter-1 --class meter --security none --out meter-1.unit");
    assert!(refused.contains("--coap"), "{refused}");
    assert!(!fleet.folder().join("meter-1.unit").exists());
}
