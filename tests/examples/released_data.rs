//! Makes what this version leaves to the next one, for `tests/tests/system/upgrade.rs`: the data folder of a stopped
//! server with a campaign under way, the same in PostgreSQL, and the flashes of its devices.
//!
//! Usage: `released_data FILE.tar.gz`, once for every release whose schema differs from that of the one before, with the
//! programs of that release built beside it. Keys and tokens in it are of no fleet but this one.

#![expect(clippy::expect_used, reason = "it stops at the first thing that is not as it must be")]

use std::fs;
use std::path::Path;
use std::process::Command;

use bellwether_api::DeviceOutcome;
use bellwether_store::conformance::instance::Instance;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::{self, Program};

fn main() {
    let file = std::env::args().nth(1).expect("usage: released_data FILE.tar.gz");
    let mut fleet = Fleet::start_with(&["--coaps", COAPS]);
    fleet.cli.done("gateway add site-1 --uri coaps://127.0.0.1:5684 --out site-1.unit");
    let meters = Meters::on(fleet, IMAGE_BYTES);
    let mut done = meter(&meters, "meter-1");
    meter(&meters, "meter-2");
    let campaign = meters.launch();
    meter(&meters, "meter-3");
    meters.fleet.cli.done("device block meter-3 --who installer --why spare");
    done.run_until_updated();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    fleet = meters.fleet;
    assert!(fleet.server.stop().success(), "{}", fleet.server.tail());
    dump(fleet.folder(), fleet.server.data());
    pack(fleet.folder(), &file);
}

/// Enrols a meter that runs version 1.0, with slots that just hold an image and a patch.
fn meter(meters: &Meters, name: &str) -> Agent {
    let unit = meters.fleet.device(name, "meter");
    let flags = ["--slot-bytes", SLOT_BYTES];
    Agent::flashed(&meters.fleet, &unit, (name, "meter", "1.0", "microcontroller"), &flags)
}

/// Takes a copy of the data to PostgreSQL and writes that as text.
fn dump(folder: &Path, data: &Path) {
    let (instance, copy) = (Instance::start(false), folder.join("copy"));
    let url = instance.database();
    ran(Command::new("cp").arg("-a").arg(data).arg(&copy));
    let mut command = program::command("bellwether-server");
    command.args(["store", "copy", "--to", &url, "--data"]).arg(&copy);
    let (status, said) = Program::run(command);
    assert!(status.success(), "{said}");
    // Rows as statements: what psql takes beside them differs from version to version.
    let dumped = Command::new("pg_dump").args(["--no-owner", "--inserts", "--dbname", &url]).output();
    let dumped = dumped.expect("pg_dump");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8(dumped.stdout).expect("text");
    let kept = text.lines().filter(|line| !line.starts_with(['\\', '-']) && !line.is_empty());
    fs::write(folder.join("postgres.sql"), kept.collect::<Vec<_>>().join("\n")).expect("written");
}

fn pack(folder: &Path, file: &str) {
    let names = ["server", "postgres.sql", "author.key", "meter-1.flash", "meter-2.flash"];
    ran(Command::new("tar")
        .args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--exclude=listening.json", "--exclude=connection-ids.key", "--file", file, "--directory"])
        .arg(folder)
        .args(names));
}

fn ran(command: &mut Command) {
    let status = command.status().expect("it can be run");
    assert!(status.success(), "{command:?}");
}

/// Devices know it from their unit files, so the server that goes on must listen there as well: an address of loopback
/// that nothing else uses.
const COAPS: &str = "127.83.7.1:5684";
/// A handful of frames.
const IMAGE_BYTES: usize = 3_000;
const SLOT_BYTES: &str = "16384";
