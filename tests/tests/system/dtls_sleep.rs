//! Devices behind a router that forgets them, and whose server is stopped and started while they sleep.

use bellwether_api::{DeviceOutcome, Reading};
use bellwether_net::coap::{Code, Method, Request};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::open_metrics::Scrape;
use bellwether_tests::raw_device::Line;
use bellwether_tests::uplink::Uplink;
use bellwether_tests::wait;

/// Silence of a minute is long for these devices: what they send in a test, they send because of it.
const QUIET: [&str; 2] = ["--lifetime-s", "3600"];

fn scraped(fleet: &Fleet) -> Scrape {
    let answer = fleet.server.http_with(None).get("/metrics");
    Scrape::parse(&answer.body).unwrap_or_else(|error| panic!("{error}"))
}

/// A counter of the server; whole numbers all, though the format is of floats.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts in a test are small and positive"
)]
fn counted(fleet: &Fleet, name: &str, labels: &[(&str, &str)]) -> u64 {
    scraped(fleet).value(name, labels).unwrap_or_default() as u64
}

fn handshakes(fleet: &Fleet) -> u64 {
    let labels = [("door", "coaps"), ("outcome", "ok")];
    counted(fleet, "bellwether_handshakes_total", &labels)
}

fn turns(fleet: &Fleet, what: &str) -> u64 {
    let labels = [("door", "coaps"), ("what", what)];
    counted(fleet, "bellwether_session_turns_total", &labels)
}

fn wait_turns(fleet: &Fleet, what: &str, least: u64) {
    wait::until(what, wait::LONG, || (turns(fleet, what) >= least).then_some(()), || fleet.server.tail());
}

/// A fleet whose devices come over a line that can move them.
fn behind_a_router(bytes: usize, flags: &[&str]) -> (Uplink, Meters) {
    let uplink = Uplink::open();
    let uri = uplink.uri();
    let fleet = Fleet::start_with(&[&["--public-uri", uri.as_str()], flags].concat());
    uplink.lead_to(fleet.server.coaps());
    (uplink, Meters::on(fleet, bytes))
}

fn registered(agent: &mut Agent) {
    agent.switch_on(&QUIET);
    agent.wait_status("a registration", |status| status["registered"] == true);
}

#[test]
fn update_survives_a_router_that_forgets_its_device_all_the_time() {
    let (uplink, meters) = behind_a_router(300_000, &[]);
    let mut agent = Agent::make_without_patches(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    registered(&mut agent);
    // Mid-manifest, mid-frames; the last of it long before the image is there, for a device that moves while it shakes
    // hands has to do that once more.
    uplink.translate_every(20, 8);
    let campaign = meters.launch();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    assert!(turns(&meters.fleet, "moved") >= 6, "{} moves", turns(&meters.fleet, "moved"));
    // One when it was switched on, one when it started what was installed.
    assert!(handshakes(&meters.fleet) <= 2, "{} handshakes", handshakes(&meters.fleet));
}

#[test]
fn device_goes_on_without_a_handshake_after_its_server_was_stopped_and_started() {
    let (_uplink, mut meters) = behind_a_router(20_000, &["--hibernate-after-s", "1"]);
    let mut agent = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    registered(&mut agent);
    wait_turns(&meters.fleet, "hibernated", 1);
    assert_eq!(handshakes(&meters.fleet), 1);

    assert!(meters.fleet.server.stop().success());
    meters.fleet.server.restart();
    // The server speaks first, to a device that knows nothing of a restart.
    assert!(meters.fleet.show("meter-1").registered.is_some());
    let version: Reading = meters.fleet.cli.json("device read meter-1 /3/0/3");
    assert_eq!(version.values[0].value, "1.0");
    assert_eq!((handshakes(&meters.fleet), turns(&meters.fleet, "resumed")), (0, 1));

    let campaign = meters.launch();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    // The one that it makes when it starts what was installed.
    assert!(handshakes(&meters.fleet) <= 1);
}

#[test]
fn device_that_left_over_another_session_than_the_one_that_sleeps_is_not_back_after_a_crash() {
    let fleet = Fleet::start_with(&["--hibernate-after-s", "1"]);
    let mut meters = Meters::on(fleet, 20_000);
    let mut meter = meters.device("meter-1");
    wait_turns(&meters.fleet, "hibernated", 1);
    // As after its own reset: another session, and another registration.
    let line = Line::connect(meters.fleet.server.coaps(), "meter-1", meter.identity.psk());
    let location = line.register("meter-1");
    assert_eq!(line.send(Request::new(Method::Delete, &format!("/{location}"))).code, Code::DELETED);
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.show("meter-1").registered, None);

    // And by a session to another one's registration.
    meter.reconnect(meters.fleet.server.coaps());
    let location = meter.line.register("meter-1");
    wait_turns(&meters.fleet, "hibernated", 1);
    let line = Line::connect(meters.fleet.server.coaps(), "meter-1", meter.identity.psk());
    assert_eq!(line.send(Request::new(Method::Delete, &format!("/{location}"))).code, Code::DELETED);
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.show("meter-1").registered, None);
}

#[test]
fn sessions_that_are_awake_at_the_end_are_kept_for_the_next_start() {
    let (_uplink, mut meters) = behind_a_router(20_000, &[]);
    let mut agents: Vec<_> = (1..=3)
        .map(|n| Agent::make(&meters.fleet, &format!("meter-{n}"), "meter", "1.0", "microcontroller"))
        .collect();
    agents.iter_mut().for_each(registered);
    for round in 1..=2 {
        assert!(meters.fleet.server.stop().success());
        meters.fleet.server.restart();
        for n in 1..=3 {
            let version: Reading = meters.fleet.cli.json(&format!("device read meter-{n} /3/0/3"));
            assert_eq!(version.values[0].value, "1.0", "round {round}");
        }
        assert_eq!((handshakes(&meters.fleet), turns(&meters.fleet, "resumed")), (0, 3), "round {round}");
    }
    // What was awake when the power went is gone: the server says so, and the device comes again.
    meters.fleet.kill_and_restart();
    assert!(meters.fleet.show("meter-1").registered.is_none());
    assert_eq!(turns(&meters.fleet, "resumed"), 0);
}
