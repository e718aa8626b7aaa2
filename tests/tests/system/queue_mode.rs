//! Devices in queue mode: nothing is sent to them while they sleep, and what waits goes out when they wake.

use bellwether_api::{Device, DeviceOutcome, Reading};
use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::http::Answer;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::open_metrics::Scrape;
use bellwether_tests::raw_device::{Line, RawDevice};
use bellwether_tests::wait;
use serde_json::{Value, json};

use crate::page::{Visit, watch_token};

/// The server believes in a window of two seconds.
const SHORT: [&str; 2] = ["--queue-mode-awake-s", "2"];

/// A device that listens for four seconds after an exchange, and is heard of every twenty.
const SLEEPY: [&str; 5] = ["--queue-mode", "--awake-s", "4", "--lifetime-s", "40"];

fn metric(fleet: &Fleet, name: &str, labels: &[(&str, &str)]) -> f64 {
    let answer = fleet.server.http_with(None).get("/metrics");
    let scrape = Scrape::parse(&answer.body).unwrap_or_else(|error| panic!("{error}"));
    scrape.value(name, labels).unwrap_or_default()
}

fn wait_asleep(fleet: &Fleet, name: &str) -> Device {
    let look = || Some(fleet.show(name)).filter(|one| one.queue_mode.as_ref().is_some_and(|it| it.asleep));
    wait::until(&format!("{name} that sleeps"), wait::LONG, look, || format!("{:#?}", fleet.show(name)))
}

fn read(fleet: &Fleet, name: &str) -> Answer {
    fleet.server.http().post("/v1/commands/devices/read", &json!({"endpoint": name, "path": "/3/0/3"}))
}

/// A read must be refused at once, with when the device can be asked.
fn must_refuse_to_read(fleet: &Fleet, name: &str) {
    let answer = read(fleet, name);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((answer.status, body["code"].as_str()), (503, Some("asleep")), "{body}");
    let message = body["message"].as_str().expect("a message");
    assert!(message.contains("asleep since 20") && message.contains("heard of by about 20"), "{message}");
    let wait_s = body["retry_after_s"].as_u64().expect("seconds");
    assert!(wait_s >= 1, "{body}");
    let said = fleet.cli.refused(&format!("device read {name} /3/0/3"));
    assert!(said.contains("in queue mode and asleep since"), "{said}");
}

/// The same over MQTT, and before whoever watches the page.
fn must_be_told_everywhere(fleet: &Fleet, name: &str) {
    let mut manager = Mqtt::connect(&Login::embedded(fleet.server.data()), "manager");
    let asked = json!({"request_id": "asleep", "endpoint": name, "path": "/3/0/3"});
    let reply = manager.ask_by_id("bellwether/v1/default/commands/devices/read", &asked);
    assert_eq!(reply["error"]["code"], "asleep", "{reply:#}");
    assert!(reply["error"]["retry_after_s"].as_u64().is_some_and(|wait_s| wait_s >= 1), "{reply:#}");
    let visit = Visit::logged_in(fleet, &watch_token(fleet));
    let shown = visit.get(&format!("/devices/{name}")).body;
    assert!(shown.contains("<span class=\"state\">asleep</span>"), "{shown}");
    let listed = visit.get(&format!("/fleet?q={name}")).body;
    assert!(listed.contains(">asleep<"), "{listed}");
}

fn explained(fleet: &Fleet, name: &str) -> String {
    fleet.cli.done(&format!("device explain {name}"))
}

/// A device that is no program of ours, registered with these words.
fn registered(meters: &Meters, name: &str, queries: &[&str]) -> (RawDevice, String) {
    let mut meter = meters.device(name);
    meter.line = Line::connect(meters.fleet.server.coaps(), name, meter.identity.psk());
    let mut request = Line::registration(name);
    request.query = [&[&*format!("ep={name}")], queries].concat().into_iter().map(str::to_owned).collect();
    let response = meter.line.send(request);
    assert_eq!(response.code, Code::CREATED);
    (meter, format!("/{}", response.location_path.join("/")))
}

#[test]
fn sleeping_agent_is_offered_when_it_wakes_and_nothing_was_sent_to_it_before() {
    let meters = Meters::on(Fleet::start_with(&SHORT), 20_000);
    let fleet = &meters.fleet;
    let mut agent = Agent::make(fleet, "meter-1", "meter", "1.0", "microcontroller");
    agent.switch_on(&SLEEPY);
    agent.wait_status("sleep", |status| status["queue_mode"]["asleep"] == true);
    let shown = fleet.show("meter-1");
    let queue = shown.queue_mode.expect("in queue mode");
    assert!(queue.asleep && queue.since.is_some() && queue.heard_by > queue.since, "{queue:?}");

    let campaign = meters.launch();
    must_refuse_to_read(fleet, "meter-1");
    assert!(explained(fleet, "meter-1").contains("it is offered when it wakes"));
    let why = fleet.cli.done(&format!("campaign explain {campaign}"));
    assert!(why.contains("1 of the waiting ones are asleep, and offered when they wake"), "{why}");
    assert!(why.contains("it is asleep: offered when it wakes"), "{why}");
    assert_eq!(fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Waiting);
    assert_eq!(agent.status()["queue_mode"]["times"], 1, "it has not woken meanwhile");

    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    let status = agent.status();
    assert_eq!(status["queue_mode"]["missed"], 0, "{status:#}");
    // Awake again, in its own time.
    let answer = wait::until(
        "an answer to a read",
        wait::LONG,
        || Some(read(fleet, "meter-1")).filter(|answer| answer.status == 200),
        || agent.tail(),
    );
    assert_eq!(answer.json::<Reading>().values[0].value, "2.0");
    assert_eq!(agent.status()["queue_mode"]["missed"], 0);
}

#[test]
fn server_that_was_killed_still_knows_who_sleeps_and_offers_at_its_next_word() {
    let flags = [&SHORT[..], &["--hibernate-after-s", "1"]].concat();
    let mut meters = Meters::on(Fleet::start_with(&flags), 20_000);
    let mut agent = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    agent.switch_on(&SLEEPY);
    agent.wait_status("sleep", |status| status["queue_mode"]["asleep"] == true);
    let labels = [("door", "coaps"), ("what", "hibernated")];
    wait::until(
        "a session that sleeps",
        wait::LONG,
        || (metric(&meters.fleet, "bellwether_session_turns_total", &labels) > 0.0).then_some(()),
        || meters.fleet.server.tail(),
    );
    let campaign = meters.launch();
    let before = meters.fleet.show("meter-1").queue_mode.expect("in queue mode");
    meters.fleet.kill_and_restart();
    let after = meters.fleet.show("meter-1").queue_mode.expect("still in queue mode");
    assert!(after.asleep && after.since.abs_diff_of(before.since) <= 2, "{before:?}, {after:?}");
    must_refuse_to_read(&meters.fleet, "meter-1");
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    assert_eq!(agent.status()["queue_mode"]["missed"], 0);
}

trait AbsDiff {
    fn abs_diff_of(self, other: Self) -> u64;
}

impl AbsDiff for Option<u64> {
    fn abs_diff_of(self, other: Self) -> u64 {
        self.expect("a time").abs_diff(other.expect("a time"))
    }
}

#[test]
fn client_of_1_0_and_of_1_1_says_in_its_own_way_that_it_sleeps_and_any_word_of_it_wakes_it() {
    let flags = [&SHORT[..], &["--mqtt-listen", "127.0.0.1:0"]].concat();
    let meters = Meters::on(Fleet::start_with(&flags), 20_000);
    let fleet = &meters.fleet;
    let (old, location) = registered(&meters, "meter-1", &["lt=3600", "lwm2m=1.0", "b=UQ"]);
    let (new, _) = registered(&meters, "meter-2", &["lt=3600", "lwm2m=1.1", "b=U", "Q"]);
    let mut always = meters.device("meter-3");
    for (meter, name) in [(&old, "meter-1"), (&new, "meter-2")] {
        wait_asleep(fleet, name);
        meter.line.listen(false);
    }
    assert!(fleet.show("meter-3").queue_mode.is_none());
    assert!((metric(fleet, "bellwether_registrations_in_queue_mode", &[]) - 2.0).abs() < 0.5);

    // The first in line sleep, and hold no place: the third is served.
    let campaign = fleet.launch(&meters.manifest, "--at-most 1");
    always.line.manifest();
    for (meter, name) in [(&old, "meter-1"), (&new, "meter-2")] {
        must_refuse_to_read(fleet, name);
        assert_eq!(fleet.track(&campaign, name).outcome, DeviceOutcome::Waiting);
        must_be_told_everywhere(fleet, name);
        assert_eq!(meter.line.missed(), 0, "{name}");
    }
    always.granted(&meters.manifest.digest);
    fleet.cli.done(&format!("campaign cancel {campaign}"));

    let campaign = meters.launch();
    old.line.listen(true);
    assert_eq!(old.line.send(Request::new(Method::Post, &location)).code, Code::CHANGED);
    old.line.manifest();
    // What it asks for is of no use, and says that it listens.
    new.line.listen(true);
    assert_eq!(new.line.send(Request::new(Method::Post, "/dp")).code, Code::NOT_FOUND);
    new.line.manifest();
    assert_eq!((old.line.missed(), new.line.missed()), (0, 0));
    let woken = metric(fleet, "bellwether_queue_mode_total", &[("what", "woken")]);
    assert!((woken - 2.0).abs() < 0.5, "{woken}");
    let text = Response::new(Code::CONTENT).with_payload(0, b"1.0".to_vec());
    new.line.has("3/0/3", text);
    new.line.send(Request::new(Method::Post, "/dp"));
    let answer = read(fleet, "meter-2");
    assert_eq!(answer.json::<Reading>().values[0].value, "1.0");
    assert!(fleet.track(&campaign, "meter-2").outcome == DeviceOutcome::Offered);
}

#[test]
fn device_that_does_not_acknowledge_sleeps_at_once_and_its_offer_is_no_failure() {
    let meters = Meters::on(Fleet::start(), 20_000);
    let fleet = &meters.fleet;
    let (meter, _) = registered(&meters, "meter-1", &["lt=3600", "lwm2m=1.1", "b=U", "Q"]);
    // For the server it would be awake for a minute and a half.
    meter.line.listen(false);
    assert!(!fleet.show("meter-1").queue_mode.expect("in queue mode").asleep);
    let campaign = meters.launch();
    wait_asleep(fleet, "meter-1");
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Waiting);
    assert!(meter.line.missed() > 0, "it was sent, before anybody knew");
    let told = explained(fleet, "meter-1");
    assert!(told.contains("slept before the manifest came to it"), "{told}");
    assert!(!told.contains("was not reached"), "{told}");
    meter.line.listen(true);
    meter.line.send(Request::new(Method::Post, "/dp"));
    meter.line.manifest();
    fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Offered);
}
