//! Row 13: a server that was restored from a backup, and devices that are ahead of it.

use std::path::{Path, PathBuf};

use bellwether_api::Resynced;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::Said;

/// A copy of a data folder, as a backup makes one of a server that is stopped.
struct Backup(PathBuf);

impl Backup {
    fn take(fleet: &mut Fleet) -> Self {
        fleet.server.stop();
        let backup = Self(fleet.folder().join("backup"));
        copy(fleet.server.data(), &backup.0);
        fleet.server.restart();
        backup
    }

    fn put_back(&self, fleet: &mut Fleet) {
        fleet.server.stop();
        std::fs::remove_dir_all(fleet.server.data()).expect("removed");
        copy(&self.0, fleet.server.data());
        fleet.server.restart();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn device_ahead_of_a_restored_server_waits_for_its_resync_and_goes_on() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let backup = Backup::take(&mut meters.fleet);
    meter.reconnect(meters.fleet.server.coaps());
    meter.install(&granted, meters.new_digest());
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    let granted = meter.granted(&third.digest);
    meter.install(&granted, image);
    assert_eq!(meters.fleet.show("meter-1").index, 2);

    backup.put_back(&mut meters.fleet);
    meter.reconnect(meters.fleet.server.coaps());
    assert_eq!(meters.fleet.show("meter-1").index, 0);
    let (fourth, image) = meters.version(4, "");
    meters.fleet.launch(&fourth, "");
    let said = meter.prove(&fourth.digest);
    assert!(matches!(said, Said::Refused(AHEAD_OF_SERVER, _)), "{said:?}");
    let alarms = meters.fleet.alarms("meter-1");
    assert_eq!((alarms.len(), alarms[0].kind.as_str()), (1, "ahead of the server"));
    assert!(alarms[0].text.contains("index 2"), "{}", alarms[0].text);
    assert_eq!(meters.fleet.show("meter-1").index, 0, "a proof alone moved the identity");

    meters.fleet.cli.done("device resync meter-1 --why restored --who kim");
    let said = meter.prove(&fourth.digest);
    let Said::Grant(granted) = said else { panic!("not taken: {said:?}") };
    assert_eq!(granted.index, 2);
    meter.install(&granted, image);
    assert_eq!(meters.fleet.show("meter-1").index, 3);
    let story = meters.fleet.cli.done("device explain meter-1");
    assert!(story.contains("taken where it proves to stand by an operator by kim: restored"), "{story}");
}

#[test]
fn leave_for_one_device_is_used_up_once_and_is_none_for_another() {
    let meters = Meters::new();
    let (mut one, mut other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    meters.fleet.cli.done("device resync meter-1 --why bench");
    other.identity.index = 3;
    assert!(matches!(other.prove(&meters.manifest.digest), Said::Refused(AHEAD_OF_SERVER, _)));
    one.identity.index = 3;
    assert!(matches!(one.prove(&meters.manifest.digest), Said::Grant(_)));
    one.identity.index = 7;
    assert!(matches!(one.prove(&meters.manifest.digest), Said::Refused(AHEAD_OF_SERVER, _)));
}

#[test]
fn after_a_restore_everyone_is_challenged_once_and_taken_where_it_stands() {
    let mut meters = Meters::new();
    let (mut ahead, mut level) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    let backup = Backup::take(&mut meters.fleet);
    for meter in [&mut ahead, &mut level] {
        meter.reconnect(meters.fleet.server.coaps());
    }
    let granted = ahead.granted(&meters.manifest.digest);
    ahead.install(&granted, meters.new_digest());

    backup.put_back(&mut meters.fleet);
    for meter in [&mut ahead, &mut level] {
        meter.reconnect(meters.fleet.server.coaps());
    }
    let order = "device resync --all --why restored --until 9000000000 --request-id r-1";
    for _ in 0..2 {
        let done: Resynced = meters.fleet.cli.json(order);
        assert_eq!((done.restores, done.until), (1, 9_000_000_000));
    }
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    for (meter, index) in [(&mut ahead, 1), (&mut level, 0)] {
        let said = meter.prove(&third.digest);
        let Said::Grant(granted) = said else { panic!("{}: {said:?}", meter.identity.name) };
        assert_eq!(granted.index, index);
        meter.install(&granted, image);
        let (name, next) = (meter.identity.name.clone(), index + 1);
        assert_eq!(meters.fleet.show(&name).index, next);
        assert!(meters.fleet.alarm_kinds(&name).is_empty());
    }
}

#[test]
fn device_that_went_to_a_new_seed_since_the_backup_is_taken_there() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let backup = Backup::take(&mut meters.fleet);
    meter.reconnect(meters.fleet.server.coaps());
    meters.fleet.launch(&meters.manifest, "--reseed");
    let granted = meter.granted(&meters.manifest.digest);
    meter.install_reseeding(&granted, meters.new_digest(), None);

    backup.put_back(&mut meters.fleet);
    meter.reconnect(meters.fleet.server.coaps());
    let (third, image) = meters.third();
    meters.fleet.launch(&third, "");
    assert!(matches!(meter.prove(&third.digest), Said::Refused(AHEAD_OF_SERVER, _)));
    assert_eq!(meters.fleet.show("meter-1").epoch, 0);
    meters.fleet.cli.done("device resync meter-1 --why restored");
    let said = meter.prove(&third.digest);
    let Said::Grant(granted) = said else { panic!("not taken: {said:?}") };
    meter.install(&granted, image);
    let shown = meters.fleet.show("meter-1");
    assert_eq!((shown.epoch, shown.index), (1, 1));
}

#[test]
fn real_device_goes_on_after_its_resync() {
    let mut fleet = Fleet::start();
    let old = images::image(1, 20_000);
    let new = images::next_version(&old);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &new);
    let manifest = fleet.manifest(2, &[("meter", "2.0")]);
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let backup = Backup::take(&mut fleet);
    fleet.launch(&manifest, "");
    meter.run_until_updated();
    assert_eq!(fleet.show("meter-1").index, 1);

    backup.put_back(&mut fleet);
    fleet.cli.done("device resync meter-1 --why restored");
    fleet.release("meter", "3.0", &images::next_version(&new));
    let third = fleet.manifest(3, &[("meter", "3.0")]);
    fleet.launch(&third, "");
    meter.run_until_updated();
    assert_eq!(fleet.show("meter-1").index, 2);
}

/// Number of a refusal on the wire.
const AHEAD_OF_SERVER: i64 = 3;
