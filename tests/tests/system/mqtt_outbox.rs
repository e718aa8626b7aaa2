//! What is kept for a broker that does not take it: nothing is lost, in order, and what comes twice has the same id.

use std::collections::BTreeMap;
use std::fs;

use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::mosquitto::Mosquitto;
use bellwether_tests::mqtt::{Message, Mqtt};
use bellwether_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

struct Site {
    meters: Meters,
    broker: Mosquitto,
    observer: Mqtt,
    _folder: tempfile::TempDir,
}

impl Site {
    /// A server with its broker, campaigns that go on, and an observer who has seen their launch.
    fn start(campaigns: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Mosquitto::start(folder.path());
        let flags = broker.flags("5");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let meters = Meters::on(Fleet::start_with(&flags), 4_000);
        meters.fleet.await_broker();
        let envelope = fs::read(&meters.manifest.path).expect("the envelope");
        meters.fleet.server.http().upload(Method::POST, "/v1/manifests", envelope);
        meters.fleet.device("meter-1", "meter");
        let mut observer = Mqtt::connect(&broker.login("observer"), "observer");
        observer.subscribe("bellwether/v1/default/campaigns/+/events");
        let mut site = Self { meters, broker, observer, _folder: folder };
        for campaign in 1..=campaigns {
            let manifest = hex::encode(site.meters.manifest.digest);
            site.post("launch", &json!({"request_id": format!("launch {campaign}"), "manifest": manifest}));
            let id = campaign.to_string();
            site.observer.wait("a launch", |one| is(one, &id, "launched"));
        }
        site
    }

    fn post(&self, verb: &str, body: &Value) {
        let answer = self.meters.fleet.server.http().post(&format!("/v1/commands/campaigns/{verb}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Pauses and resumes a campaign in turns; `number` counts the orders.
    fn order(&self, campaign: u64, number: u64) {
        let verb = if number.is_multiple_of(2) { "pause" } else { "resume" };
        let (id, why) = (format!("{campaign} {number}"), number.to_string());
        self.post(verb, &json!({"request_id": id, "campaign": campaign.to_string(), "why": why}));
    }

    /// Reads a figure of the server.
    fn figure(&self, name: &str) -> f64 {
        let text = self.meters.fleet.server.http().get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.expect("the figure").parse().expect("a number")
    }

    /// Waits until something lies before the broker that it has not read.
    fn wait_sent(&self) {
        let port = format!(":{:04X} ", self.broker.login("observer").port);
        let unread = || {
            let rows = fs::read_to_string("/proc/net/tcp").expect("the sockets");
            let is_unread = |row: &str| {
                let columns: Vec<&str> = row.split_whitespace().collect();
                let local = columns.get(1).is_some_and(|local| format!("{local} ").ends_with(&port));
                let queued = columns.get(4).and_then(|queues| queues.split_once(':'));
                local && columns.get(3) == Some(&"01") && queued.is_some_and(|(_, read)| read != "00000000")
            };
            rows.lines().any(is_unread).then_some(())
        };
        wait::until("something sent to the broker", wait::LONG, unread, || self.meters.fleet.server.tail());
    }
}

fn is(message: &Message, campaign: &str, kind: &str) -> bool {
    let json = message.json();
    json["campaign"] == campaign && json["kind"] == kind
}

/// Orders as they were told first, by campaign; what came again must be the same, byte by byte.
fn orders(told: &[Message]) -> BTreeMap<String, Vec<u64>> {
    let mut payloads: BTreeMap<u64, &str> = BTreeMap::new();
    let mut orders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut last = 0;
    for message in told {
        let json = message.json();
        let id = json["id"].as_u64().expect("an id");
        if let Some(before) = payloads.insert(id, &message.payload) {
            assert_eq!(before, message.payload, "another event under the same id");
            continue;
        }
        assert!(id > last, "event {id} is told for the first time after {last}");
        last = id;
        if let Some(number) = json["why"].as_str() {
            let of_campaign = orders.entry(json["campaign"].as_str().expect("a campaign").to_owned());
            of_campaign.or_default().push(number.parse().expect("a number"));
        }
    }
    orders
}

#[test]
fn events_of_a_server_that_is_killed_before_the_broker_took_them_come_after_its_restart() {
    let mut site = Site::start(1);
    for round in 0..ROUNDS {
        site.broker.freeze();
        site.order(1, 2 * round);
        site.wait_sent();
        // The broker has the event before it, or a part of it, and the server no word of that.
        site.meters.fleet.server.kill9();
        site.broker.go_on();
        site.meters.fleet.server.restart();
        site.order(1, 2 * round + 1);
        let last = (2 * round + 1).to_string();
        let came = || site.observer.so_far().iter().any(|one| one.json()["why"] == last).then_some(());
        wait::until("the order after the restart", wait::LONG, came, String::new);
    }
    let told = site.observer.so_far().to_vec();
    let expected: Vec<u64> = (0..2 * ROUNDS).collect();
    assert_eq!(orders(&told), BTreeMap::from([("1".to_owned(), expected)]));
}

#[test]
fn thousand_events_of_a_long_outage_come_in_order_for_each_campaign() {
    let mut site = Site::start(CAMPAIGNS);
    site.broker.stop();
    for number in 0..ORDERS {
        for campaign in 1..=CAMPAIGNS {
            site.order(campaign, number);
        }
        // It dies in the middle, too.
        if number == ORDERS / 2 {
            site.meters.fleet.kill_and_restart();
        }
    }
    assert!(site.figure("bellwether_mqtt_outbox_events") >= 1_000.0);
    site.broker.start_again();
    let end = (ORDERS - 1).to_string();
    let ended = |site: &mut Site| {
        let ends = site.observer.so_far().iter().filter(|one| one.json()["why"] == end).count();
        (ends as u64 >= CAMPAIGNS).then_some(())
    };
    let tail = site.meters.fleet.server.tail();
    wait::until("the last orders", wait::LONG, || ended(&mut site), || tail.clone());
    let expected: Vec<u64> = (0..ORDERS).collect();
    let told = orders(site.observer.so_far());
    assert_eq!(told.len() as u64, CAMPAIGNS);
    for (campaign, numbers) in told {
        assert_eq!(numbers, expected, "campaign {campaign}");
    }
    let empty = || (site.figure("bellwether_mqtt_outbox_events") == 0.0).then_some(());
    wait::until("an empty outbox", wait::LONG, empty, || site.meters.fleet.server.tail());
}

#[test]
fn registration_that_happened_while_the_broker_was_away_is_told_when_it_is_back() {
    let mut site = Site::start(1);
    site.observer.subscribe("bellwether/v1/default/devices/+/registration");
    site.broker.stop();
    let _meter = site.meters.device("meter-2");
    site.broker.start_again();
    let registration = site.observer.wait("the registration", |one| one.topic.ends_with("/registration"));
    assert_eq!(registration.json()["endpoint"], "meter-2");
    assert_eq!(registration.json()["registered"], true);
}

const ROUNDS: u64 = 3;
const CAMPAIGNS: u64 = 3;

/// With the campaigns' number more than two pages of the outbox.
const ORDERS: u64 = 340;
