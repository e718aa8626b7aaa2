//! Processes that are told to stop, at a bad moment: while they start.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use bellwether_tests::program::Program;
use bellwether_tests::server;
use bellwether_tests::site::Site;
use bellwether_tests::wait;

#[test]
fn server_told_to_stop_while_it_starts_stops_in_good_order() {
    let folder = tempfile::Builder::new().prefix("bellwether-test-").tempdir().expect("a folder");
    let mut start = server::command(&folder.path().join("server"));
    let told = format!("kill -TERM $PPID; echo {}", "07".repeat(32));
    start.args(["--mqtt", "off", "--master-key-command", &told]);
    let (status, said) = Program::run(start);
    assert!(status.success(), "{status}\n{said}");
}

#[test]
fn gateway_told_to_stop_while_it_starts_stops_in_good_order() {
    let mut site = Site::new();
    assert!(site.gateway.stop().success());
    let unit = fs::read(site.gateway.unit()).expect("a unit file");
    fs::remove_file(site.gateway.unit()).expect("removed");
    // A gateway reads it only as it is written.
    let made = Command::new("mkfifo").arg(site.gateway.unit()).status().expect("mkfifo runs");
    assert!(made.success());
    let mut gateway = Program::start(site.gateway.command(), site.gateway.log());
    let mut pipe = File::options().write(true).open(site.gateway.unit()).expect("a reader");
    gateway.terminate();
    pipe.write_all(&unit).expect("a gateway that still reads");
    drop(pipe);
    let status = gateway.wait_end(wait::LONG);
    assert!(status.success(), "{status}\n{}", gateway.tail());
}
