//! A DTLS credential that takes another's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bellwether_api::EventPage;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::program::{self, Program};
use bellwether_tests::wait;
use serde_json::json;

use super::page::Visit;

/// Gives a device that is off the credential of a unit file.
fn put(agent: &Agent, unit: &Path) {
    let mut command = program::command("bellwether-agent");
    command.arg("credential").arg("--unit").arg(unit).arg("--flash").arg(agent.flash());
    let (status, said) = Program::run(command);
    assert!(status.success(), "{said}");
}

fn wait_registered(fleet: &Fleet, name: &str) {
    let look = || fleet.show(name).registered.map(|_| ());
    wait::until("a registration", wait::LONG, look, || fleet.server.tail());
}

fn wait_gone(fleet: &Fleet, name: &str) {
    let look = || fleet.show(name).registered.is_none().then_some(());
    wait::until("the end of a registration", wait::LONG, look, || fleet.server.tail());
}

/// Handshakes of names that open nothing.
fn unknown(fleet: &Fleet) -> u64 {
    let text = fleet.server.http().get("/metrics").body;
    let line =
        text.lines().find(|line| line.contains("handshakes_total{") && line.contains("unknown_identity"));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |number| number.parse().expect("a number"))
}

fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.release("meter", "1.0", &images::image(1, 4_000));
    fleet
}

fn kinds(fleet: &Fleet) -> Vec<String> {
    let page: EventPage = fleet.server.http().read("/v1/events?endpoint=meter-1");
    page.events.into_iter().map(|event| event.kind).filter(|kind| kind.starts_with("credential")).collect()
}

#[test]
fn credential_is_taken_until_the_new_one_was_used_and_its_copy_is_refused_then() {
    let mut fleet = fleet();
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let mut copy = meter.clone_as("copy");
    meter.switch_on(&[]);
    wait_registered(&fleet, "meter-1");
    fleet.cli.done("device credential replace meter-1 --why rotation --who kim --out new.unit");
    let unit = fleet.folder().join("new.unit");
    assert_eq!(fs::metadata(&unit).expect("a file").permissions().mode() & 0o777, 0o600);
    let shown = fleet.show("meter-1");
    assert_eq!((shown.credential, shown.credential_waits), (1, true));
    let since = shown.credential_waits_since.expect("since when");
    assert!(since >= shown.created, "{shown:?}");
    let page = Visit::logged_in(&fleet, &fleet.server.token()).get("/devices/meter-1").body;
    assert!(page.contains("number 1 works until number 2 is used, which waits for it since 20"), "{page}");
    let again = fleet.cli.refused("device credential replace meter-1 --why rotation --out other.unit");
    assert!(
        again.contains("waits for its first use") && !fleet.folder().join("other.unit").exists(),
        "{again}"
    );

    // The one in force is, over a kill of the server too.
    meter.kill9();
    fleet.kill_and_restart();
    meter.switch_on(&[]);
    wait_registered(&fleet, "meter-1");
    meter.kill9();
    put(&meter, &unit);
    let before = unknown(&fleet);
    meter.switch_on(&[]);
    let look = || (fleet.show("meter-1").credential == 2).then_some(());
    wait::until("the new credential", wait::LONG, look, || fleet.server.tail());
    wait_registered(&fleet, "meter-1");
    let used = fleet.show("meter-1");
    assert_eq!((used.credential_waits, used.credential_waits_since), (false, None));
    assert_eq!(kinds(&fleet), ["credential_replaced", "credential_used"]);

    // Whoever copied the device before has a key that opens nothing; the device goes on.
    copy.switch_on(&[]);
    let refused = || (unknown(&fleet) > before).then_some(());
    wait::until("a refused handshake", wait::LONG, refused, || fleet.server.tail());
    copy.kill9();
    fleet.kill_and_restart();
    meter.kill9();
    meter.switch_on(&[]);
    wait_registered(&fleet, "meter-1");
    assert_eq!(fleet.show("meter-1").credential, 2);
    fleet.cli.done("device decommission meter-1 --why scrapped");
    wait_gone(&fleet, "meter-1");
    let gone = fleet.cli.refused("device credential replace meter-1 --why rotation --out gone.unit");
    assert!(gone.contains("was decommissioned"), "{gone}");
}

#[test]
fn credential_that_is_replaced_at_once_ends_its_sessions() {
    let fleet = fleet();
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    meter.switch_on(&[]);
    wait_registered(&fleet, "meter-1");
    let before = unknown(&fleet);
    fleet.cli.done("device credential replace meter-1 --why lost --out first.unit");
    fleet.cli.done("device credential replace meter-1 --why lost --again --out second.unit");
    fleet.cli.done("device credential replace meter-1 --why stolen --at-once --out third.unit");
    let refused = || (unknown(&fleet) > before).then_some(());
    wait::until("a refused handshake", wait::LONG, refused, || fleet.server.tail());
    let shown = fleet.show("meter-1");
    assert_eq!((shown.credential, shown.credential_waits), (2, false));
    meter.kill9();
    put(&meter, &fleet.folder().join("third.unit"));
    meter.switch_on(&[]);
    wait_registered(&fleet, "meter-1");
    let stranger = fleet.cli.refused("device credential replace nobody --why lost --out nobody.unit");
    assert!(stranger.contains("no device named nobody"), "{stranger}");
}

#[test]
fn same_request_is_given_the_same_credential_as_long_as_it_is_kept() {
    let fleet = fleet();
    fleet.device("meter-1", "meter");
    let http = fleet.server.http();
    let ask = |id: &str, again: bool| {
        http.post("/v1/devices/meter-1/credential", &json!({"request_id": id, "why": "lost", "again": again}))
    };
    let first = ask("r1", false);
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(ask("r1", false).body, first.body);
    assert_eq!(ask("r1", true).status, 409, "another request");
    let second = ask("r2", true);
    assert!(second.status == 200 && second.body != first.body);
    assert_eq!(fleet.show("meter-1").credential, 1);
}
