//! New seeds: by campaign, at the end of the chain, with and without shares; rows 9, 12, 13 and 16.

use bellwether_decide::device::Endpoint;
use bellwether_keys::PrivateShare;
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_store::device::Devices;
use bellwether_store::{SqliteStore, Tenant};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Granted, Options, RawDevice, Said};
use bellwether_tests::wait;

fn share() -> PrivateShare {
    PrivateShare::from_random([0x21; 32]).expect("a scalar")
}

/// Asks with a share of the device, and must be granted.
fn granted_with_share(meter: &mut RawDevice, meters: &Meters) -> Granted {
    let share = Some(share().public().expect("a point"));
    match meter.ask_with(&meters.manifest.digest, &Options { share, ..Options::default() }) {
        Said::Grant(granted) => *granted,
        other => panic!("no grant: {other:?}"),
    }
}

// Rows 9 and 16.
#[test]
fn campaign_that_reseeds_leads_to_the_next_epoch_and_on_from_there() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.fleet.launch(&meters.manifest, "--reseed");
    let granted = meter.granted(&meters.manifest.digest);
    assert!(granted.reseed && granted.server_share.is_none());
    assert_eq!(meter.fetch(&granted).len() as u64, granted.content_bytes);
    let old = meter.identity.clone();
    meter.install_reseeding(&granted, meters.new_digest(), None);
    let shown = meters.fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 0));

    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    let granted = meter.granted(&third.digest);
    meter.install(&granted, image);
    let shown = meters.fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 1));
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());

    // The old seed opens nothing more; what it signs is still told apart from what nobody signed.
    let mut clone = RawDevice::with(meters.fleet.server.coaps(), old);
    assert!(matches!(clone.prove(&third.digest), Said::Refused(IDENTITY_IN_DOUBT, _)));
}

// Rows 9 and 16.
#[test]
fn with_shares_the_grant_is_signed_and_the_old_seed_does_not_lead_to_the_next() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.fleet.launch(&meters.manifest, "--reseed");
    let granted = granted_with_share(&mut meter, &meters);
    assert!(granted.reseed && granted.server_share.is_some());
    let mut thief = RawDevice::with(meters.fleet.server.coaps(), meter.identity.clone());
    meter.install_reseeding(&granted, meters.new_digest(), Some(&share()));
    let shown = meters.fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 0));

    // Who saw the old seed computes another one.
    let _ = thief.identity.report(&granted, Moment::Decrypted);
    let guessed = thief.identity.report(&granted, Moment::Installed);
    thief.identity.reseed(&guessed, None);
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    assert_eq!(thief.ask(&third.digest), Said::Code(Code::UNAUTHORIZED));

    let granted = meter.granted(&third.digest);
    meter.install(&granted, image);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

// Row 12.
#[test]
fn lost_confirmation_of_a_reseeding_grant_is_made_up_for_under_the_next_seed() {
    for with_share in [false, true] {
        let meters = Meters::new();
        let mut meter = meters.device("meter-1");
        meters.fleet.launch(&meters.manifest, "--reseed");
        let granted = if with_share {
            granted_with_share(&mut meter, &meters)
        } else {
            meter.granted(&meters.manifest.digest)
        };
        let before = meter.identity.clone();
        let lost = meter.identity.report(&granted, Moment::Installed);
        let ours = share();
        meter.identity.reseed(&lost, granted.server_share.as_deref().map(|theirs| (&ours, theirs)));
        meter.identity.runs = meters.new_digest();
        let (third, image) = meters.third();
        meters.fleet.launch(&third, "");
        let unconfirmed = Options { unconfirmed: Some((granted.number, lost.digest)), ..Options::default() };

        if with_share {
            // A thief of the old seed claims a report of its own, under the seed that it can compute.
            let mut thief = RawDevice::with(meters.fleet.server.coaps(), before.clone());
            let invented = thief.identity.report(&granted, Moment::Installed);
            thief.identity.reseed(&invented, None);
            let claim =
                Options { unconfirmed: Some((granted.number, invented.digest)), ..Options::default() };
            assert_eq!(thief.ask_with(&third.digest, &claim), Said::Code(Code::UNAUTHORIZED));
            assert_eq!(meters.fleet.show("meter-1").epoch, 0);
        }
        let Said::Grant(next) = meter.ask_with(&third.digest, &unconfirmed) else {
            panic!("the device is not followed");
        };
        let shown = meters.fleet.show("meter-1");
        assert_eq!((shown.epoch, shown.index), (1, 0));
        // The report comes late, under the old seed, whose links are kept.
        let response = meter.line.send_report(&lost.bytes);
        assert_eq!(response.code, Code::CHANGED);
        before.check_receipt(&lost, &response.payload);
        meter.install(&next, image);
        assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
    }
}

#[test]
fn last_link_of_a_chain_is_left_by_a_new_seed_alone() {
    let meters = Meters::new();
    let mut meter = meters.device_of_chain("meter-1", 2);
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    assert!(!granted.reseed);
    meter.install(&granted, meters.new_digest());
    for (sequence, epoch) in [(3, 1), (5, 2)] {
        let (last, image) = meters.version(sequence, "");
        meters.fleet.launch(&last, "");
        let granted = meter.granted(&last.digest);
        meter.install_reseeding(&granted, image, None);
        assert_eq!(meters.fleet.show("meter-1").epoch, epoch);
        let (first, image) = meters.version(sequence + 1, "");
        meters.fleet.launch(&first, "");
        let granted = meter.granted(&first.digest);
        assert!(!granted.reseed);
        meter.install(&granted, image);
        assert_eq!(meters.fleet.show("meter-1").index, 1);
    }
}

/// Which epochs of a device have a seed in the database, of a server that is stopped.
fn seeds_kept(fleet: &Fleet, device: &str) -> Vec<(u16, bool)> {
    let path = fleet.server.data().join("bellwether.db");
    let id = Endpoint::try_from(device).expect("a name");
    let identity = wait::soon("the identity", async {
        let store = SqliteStore::open(&path).await.expect("the database");
        let identity = store.identity(&Tenant::default(), &id).await.expect("read").expect("enrolled");
        store.close().await;
        identity
    });
    identity.keys.iter().map(|keys| (keys.epoch, keys.seed.is_some())).collect()
}

// Row 16.
#[test]
fn old_seed_is_in_the_database_until_the_first_message_under_the_next_one() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.fleet.launch(&meters.manifest, "--reseed");
    let granted = meter.granted(&meters.manifest.digest);
    meter.install_reseeding(&granted, meters.new_digest(), None);
    meters.fleet.server.stop();
    assert_eq!(seeds_kept(&meters.fleet, "meter-1"), [(0, true), (1, true)]);
    meters.fleet.server.restart();
    meter.reconnect(meters.fleet.server.coaps());
    let (third, _) = meters.third();
    meters.fleet.launch(&third, "");
    meter.granted(&third.digest);
    meters.fleet.server.stop();
    assert_eq!(seeds_kept(&meters.fleet, "meter-1"), [(0, false), (1, true)]);
}

#[test]
fn real_device_sends_its_share_and_goes_to_a_seed_that_nobody_else_has() {
    let fleet = Fleet::start();
    let old = images::image(1, 20_000);
    let new = images::next_version(&old);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &new);
    fleet.release("meter", "3.0", &images::next_version(&new));
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let second = fleet.manifest(2, &[("meter", "2.0")]);
    fleet.launch(&second, "--reseed");
    let flags = ["--share", "always", "--exit-when-updated"];
    meter.switch_on(&flags);
    assert_eq!(meter.wait_end().code(), Some(0), "{}", meter.tail());
    assert_eq!(fleet.show("meter-1").epoch, 1);
    meter.forget_status();
    let third = fleet.manifest(3, &[("meter", "3.0")]);
    fleet.launch(&third, "");
    meter.switch_on(&flags);
    assert_eq!(meter.wait_end().code(), Some(0), "{}", meter.tail());
    let shown = fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 1));
    assert!(fleet.alarms("meter-1").is_empty());
}

#[test]
fn real_device_goes_to_a_new_seed_and_is_updated_under_it() {
    let fleet = Fleet::start();
    let old = images::image(1, 20_000);
    let new = images::next_version(&old);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &new);
    fleet.release("meter", "3.0", &images::next_version(&new));
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let second = fleet.manifest(2, &[("meter", "2.0")]);
    fleet.launch(&second, "--reseed");
    meter.run_until_updated();
    let shown = fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 0));
    let third = fleet.manifest(3, &[("meter", "3.0")]);
    fleet.launch(&third, "");
    meter.run_until_updated();
    let shown = fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 1));
    assert!(fleet.alarms("meter-1").is_empty());
}

// Row 9. At the last link the device sends its share without being told to.
#[test]
fn real_device_leaves_the_last_link_of_its_chain_by_a_new_seed() {
    let meters = Meters::new();
    meters.fleet.cli.done("device add meter-1 --class meter --chain-length 1 --out meter-1.unit");
    let unit = meters.fleet.folder().join("meter-1.unit");
    let mut meter = Agent::flashed(&meters.fleet, &unit, ("meter-1", "meter", "1.0", "microcontroller"), &[]);
    meters.launch();
    meter.run_until_updated();
    let shown = meters.fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 0));
}

/// Number of a refusal on the wire.
const IDENTITY_IN_DOUBT: i64 = 1;
