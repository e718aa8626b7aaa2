//! The demos of twenty-four devices and of a fleet, as a user runs them.

use std::fs;
use std::time::Duration;

use bellwether_tests::images;
use bellwether_tests::program::{self, Program};

#[test]
fn each_of_24_devices_ends_as_its_fate_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let firmware = folder.path().join("firmware");
    fs::create_dir(&firmware).expect("made");
    let mut image = images::image(1, 30_000);
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        fs::write(firmware.join(format!("{version}.bin")), &image).expect("written");
        image = images::next_version(&image);
    }
    let mut command = program::system_command(&program::binary("bellwether-demo"));
    command.args(["--exit", "--devices", "24", "--images"]).arg(&firmware);
    command.arg("--data").arg(folder.path().join("data"));
    let log = folder.path().join("demo.log");
    let status = Program::start(command, &log).wait_end(LONG);
    let said = fs::read_to_string(&log).expect("a log");
    assert!(status.success(), "{said}");
    for fate in ["offered when it woke", "noticed it", "the self-test ended", "nothing was heard of it since"]
    {
        assert!(said.contains(fate), "{fate}: {said}");
    }
    assert_eq!(said.matches("an alarm").count(), 2, "{said}");
}

#[test]
fn fleet_in_one_process_is_updated_and_its_figures_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program::system_command(&program::binary("bellwether-demo"));
    command.args(["--exit", "--devices", "40"]).arg("--data").arg(folder.path().join("data"));
    let log = folder.path().join("demo.log");
    let status = Program::start(command, &log).wait_end(LONG);
    let said = fs::read_to_string(&log).expect("a log");
    assert!(status.success(), "{said}");
    for figure in [
        "40 of 40 updated",
        "33 of them behind gateways (1)",
        "devices a second",
        "36 deltas of",
        "4 full images of",
        "KiB by gateways",
        "server's memory",
    ] {
        assert!(said.contains(figure), "{figure}: {said}");
    }
    assert_eq!(
        fs::read_dir(folder.path().join("data/units")).expect("a folder").count(),
        0,
        "unit files stay"
    );
}

/// Twenty seconds where nothing else is at work.
const LONG: Duration = Duration::from_mins(5);
