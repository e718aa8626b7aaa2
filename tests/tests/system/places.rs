//! Devices that are not where the server has them in their key chain: behind, ahead, on another branch.

use bellwether_manifests::message::Moment;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Identity, Options, RawDevice, Said};

/// A clone of a device, on a line of its own.
fn clone_of(meters: &Meters, identity: &Identity) -> RawDevice {
    RawDevice::with(meters.fleet.server.coaps(), identity.clone())
}

// Rows 14 and 18.
#[test]
fn clone_below_the_index_is_challenged_proves_it_and_gets_nothing() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let stolen = meter.identity.clone();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());

    let mut clone = clone_of(&meters, &stolen);
    let Said::Prove(echo) = clone.ask(&meters.manifest.digest) else {
        panic!("the clone is not challenged");
    };
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty(), "an unproved request raised an alarm");
    let proof = Options { echo: Some(echo.clone()), ..Options::default() };
    let said = clone.ask_with(&meters.manifest.digest, &proof);
    assert!(matches!(said, Said::Refused(IDENTITY_IN_DOUBT, _)), "{said:?}");
    let alarms = meters.fleet.alarms("meter-1");
    assert_eq!((alarms.len(), alarms[0].kind.as_str()), (1, "clone or rolled-back device"));
    assert_eq!(alarms[0].addresses.len(), 2, "{:?}", alarms[0].addresses);

    // The echo was good once; the honest device is not disturbed.
    assert!(matches!(clone.ask_with(&meters.manifest.digest, &proof), Said::Prove(next) if next != echo));
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    let granted = meter.granted(&third.digest);
    meter.install(&granted, image);
    assert_eq!(meters.fleet.show("meter-1").index, 2);
}

#[test]
fn echo_of_another_devices_challenge_is_as_none() {
    let meters = Meters::new();
    let (mut one, mut other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    let stolen = [one.identity.clone(), other.identity.clone()];
    for device in [&mut one, &mut other] {
        let granted = device.granted(&meters.manifest.digest);
        device.install(&granted, meters.new_digest());
    }
    let [mut one, mut other] = stolen.map(|identity| clone_of(&meters, &identity));
    let Said::Prove(echo) = one.ask(&meters.manifest.digest) else {
        panic!("the clone is not challenged");
    };
    let borrowed = Options { echo: Some(echo), ..Options::default() };
    assert!(matches!(other.ask_with(&meters.manifest.digest, &borrowed), Said::Prove(_)));
    assert!(meters.fleet.alarm_kinds("meter-2").is_empty());
}

// Row 12.
#[test]
fn lost_confirmation_is_made_up_for_by_the_next_request() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let decrypted = meter.identity.report(&granted, Moment::Decrypted);
    meter.report(&decrypted);
    let lost = meter.identity.report(&granted, Moment::Installed);
    meter.identity.confirm(&lost);
    meter.identity.runs = meters.new_digest();

    let (third, _) = meters.third();
    meters.fleet.launch(&third, "");
    let unconfirmed = Options { unconfirmed: Some((granted.number, lost.digest)), ..Options::default() };
    let Said::Grant(next) = meter.ask_with(&third.digest, &unconfirmed) else {
        panic!("the device is not followed");
    };
    assert_eq!((next.index, meters.fleet.show("meter-1").index), (1, 1));

    meter.report(&lost);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert_eq!(
        meters.fleet.track(&campaign, "meter-1").outcome,
        bellwether_api::DeviceOutcome::Installed,
        "the late report counts"
    );
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

// Row 15.
#[test]
fn claimed_confirmation_with_another_fork_head_is_a_clone() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let mut overheard = meter.identity.clone();
    // It knows seed, grant and place, but never saw the report.
    overheard.index = 1;
    overheard.fork = [9; 8];
    let mut clone = clone_of(&meters, &overheard);
    let (third, _) = meters.third();
    meters.fleet.launch(&third, "");
    let guess = Options { unconfirmed: Some((granted.number, [9; 32])), ..Options::default() };
    let said = clone.ask_with(&third.digest, &guess);
    assert!(matches!(said, Said::Refused(IDENTITY_IN_DOUBT, _)), "{said:?}");
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone"]);
    assert_eq!(meters.fleet.show("meter-1").index, 0);
}

// Row 15.
#[test]
fn two_devices_that_both_confirmed_are_told_apart_by_their_fork_heads() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let mut clone = clone_of(&meters, &meter.identity);
    meter.install(&granted, meters.new_digest());
    // The clone opened the same grant and confirmed where nobody listened.
    let _ = clone.identity.report(&granted, Moment::Decrypted);
    let _ = clone.identity.report(&granted, Moment::Decrypted);
    let unheard = clone.identity.report(&granted, Moment::Installed);
    clone.identity.confirm(&unheard);
    clone.identity.counter += 10;
    let (third, _) = meters.third();
    meters.fleet.launch(&third, "");
    let said = clone.ask(&third.digest);
    assert!(matches!(said, Said::Refused(IDENTITY_IN_DOUBT, _)), "{said:?}");
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone"]);
    meter.granted(&third.digest);
}

// Row 11.
#[test]
fn second_confirming_report_is_receipted_moves_nothing_and_raises_an_alarm() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let mut clone = clone_of(&meters, &meter.identity);
    meter.install(&granted, meters.new_digest());
    let _ = clone.identity.report(&granted, Moment::Decrypted);
    let _ = clone.identity.report(&granted, Moment::Decrypted);
    let second = clone.identity.report(&granted, Moment::Installed);
    clone.report(&second);
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone"]);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
}

// Row 13.
#[test]
fn device_further_ahead_than_any_grant_is_challenged_and_refused() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    meter.identity.index = 5;
    let Said::Prove(echo) = meter.ask(&meters.manifest.digest) else {
        panic!("it is not challenged");
    };
    let proof = Options { echo: Some(echo), ..Options::default() };
    let said = meter.ask_with(&meters.manifest.digest, &proof);
    assert!(matches!(said, Said::Refused(AHEAD_OF_SERVER, _)), "{said:?}");
    // The identity itself goes on where it stood.
    meter.identity.index = 0;
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, images::digest(&meters.new));
}

/// Numbers of refusals on the wire.
const IDENTITY_IN_DOUBT: i64 = 1;
const AHEAD_OF_SERVER: i64 = 3;
