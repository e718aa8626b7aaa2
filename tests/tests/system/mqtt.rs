//! Campaigns over MQTT: commands, replies and events, through mosquitto and through the embedded broker.

use std::fs;

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_manifests::message::Moment;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::{Fleet, Manifest};
use bellwether_tests::meters::Meters;
use bellwether_tests::mosquitto::Mosquitto;
use bellwether_tests::mqtt::{Login, Message, Mqtt};
use bellwether_tests::program::Program;
use bellwether_tests::raw_device::Said;
use bellwether_tests::{images, wait};
use reqwest::Method;
use serde_json::{Value, json};

/// A fleet of meters whose server speaks with a broker.
struct Site {
    meters: Meters,
    broker: Option<Mosquitto>,
    folder: tempfile::TempDir,
}

impl Site {
    fn mosquitto(version: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Mosquitto::start(folder.path());
        let flags = broker.flags(version);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let meters = Meters::on(Fleet::start_with(&flags), IMAGE_BYTES);
        meters.fleet.await_broker();
        Self { meters, broker: Some(broker), folder }
    }

    fn embedded() -> Self {
        let meters = Meters::on(Fleet::start_with(&["--mqtt-listen", "127.0.0.1:0"]), IMAGE_BYTES);
        Self { meters, broker: None, folder: tempfile::tempdir().expect("a folder") }
    }

    fn login(&self) -> Login {
        match &self.broker {
            Some(mosquitto) => mosquitto.login("manager"),
            None => Login::embedded(self.meters.fleet.server.data()),
        }
    }

    fn manager(&self) -> Mqtt {
        Mqtt::connect(&self.login(), "manager")
    }
}

fn published(fleet: &Fleet, manifest: &Manifest) -> String {
    let envelope = fs::read(&manifest.path).expect("the envelope");
    let answer = fleet.server.http().upload(Method::POST, "/v1/manifests", envelope);
    assert_eq!(answer.status, 200, "{}", answer.body);
    hex::encode(manifest.digest)
}

fn topic(rest: &str) -> String {
    format!("bellwether/v1/default/{rest}")
}

fn launch(manager: &mut Mqtt, manifest: &str) -> String {
    let body = json!({"request_id": "launch", "manifest": manifest, "who": "kim"});
    let reply = manager.ask_by_id(&topic("commands/campaigns/launch"), &body);
    assert_eq!(reply["request_id"], "launch", "{reply:#}");
    assert_eq!(reply["ok"]["state"], "running", "{reply:#}");
    reply["ok"]["id"].as_str().expect("a campaign").to_owned()
}

fn order(manager: &mut Mqtt, verb: &str, campaign: &str) -> Value {
    let body = json!({"request_id": format!("{verb} {campaign}"), "campaign": campaign, "who": "kim", "why": "a test"});
    manager.ask(&topic(&format!("commands/campaigns/{verb}")), &body.to_string())
}

fn wait_progress(manager: &mut Mqtt, campaign: &str, state: &str) -> Value {
    let progress = topic(&format!("campaigns/{campaign}/progress"));
    let is_so = |one: &Message| one.topic == progress && one.json()["campaign"]["state"] == state;
    manager.wait(&format!("progress: {state}"), is_so).json()
}

/// Launched, offered, granted, installed, finished: as replies and events tell it.
fn walk(site: &Site) {
    let mut meter = site.meters.device("meter-1");
    let manifest = published(&site.meters.fleet, &site.meters.manifest);
    let mut manager = site.manager();
    manager.subscribe(&topic("campaigns/#"));
    manager.subscribe(&topic("devices/#"));
    let campaign = launch(&mut manager, &manifest);
    let offered = || (!meter.line.heard().manifests.is_empty()).then_some(());
    wait::until("an offer", wait::LONG, offered, || site.meters.fleet.server.tail());
    let granted = meter.granted(&site.meters.manifest.digest);
    meter.install(&granted, site.meters.new_digest());
    let ended = wait_progress(&mut manager, &campaign, "finished");
    assert_eq!(ended["campaign"]["classes"][0]["installed"], 1, "{ended:#}");

    let of_device = topic(&format!("campaigns/{campaign}/devices/meter-1"));
    manager.wait("the end in the device's own topic", |one| {
        one.topic == topic("devices/meter-1/update") && one.json()["kind"] == "installed"
    });
    let events: Vec<Value> =
        manager.so_far().iter().filter(|one| one.topic == of_device).map(Message::json).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    let walked: Vec<&str> = kinds.iter().copied().filter(|kind| *kind != "decrypted").collect();
    assert_eq!(walked, ["targeted", "offered", "asked", "resolved", "installed"]);
    let ids: Vec<u64> = events.iter().filter_map(|event| event["id"].as_u64()).collect();
    assert!(ids.is_sorted() && ids.len() == events.len(), "{ids:?}");
    assert!(events.iter().any(|event| event["bytes"].as_u64().is_some_and(|bytes| bytes > 0)));

    // Whoever comes later is told at once how it stands.
    let mut late = Mqtt::connect(&site.login(), "late");
    late.subscribe(&topic(&format!("campaigns/{campaign}/progress")));
    let retained = late.wait("retained progress", |one| one.retain).json();
    assert_eq!(retained["campaign"]["state"], "finished");
    late.subscribe(&topic("server/status"));
    assert_eq!(late.wait("the server's status", |one| one.topic.ends_with("status")).json()["online"], true);
}

/// Paused: no offer, "later" for whoever asks, no start; resumed: all of it. Then failed, retried, cancelled.
fn orders(site: &Site) {
    let mut meters: Vec<_> = (1..=2).map(|number| site.meters.device(&format!("meter-{number}"))).collect();
    let manifest = published(&site.meters.fleet, &site.meters.manifest);
    let digest = site.meters.manifest.digest;
    let mut manager = site.manager();
    manager.subscribe(&topic("campaigns/+/events"));
    let campaign = launch(&mut manager, &manifest);
    let first = meters[0].granted(&digest);

    assert_eq!(order(&mut manager, "pause", &campaign)["ok"]["state"], "paused");
    let paused = manager.wait("the pause", |one| one.json()["kind"] == "paused").json();
    assert_eq!((&paused["who"], &paused["why"]), (&json!("kim"), &json!("a test")));
    assert!(matches!(meters[1].ask(&digest), Said::Later(_)));
    let decrypted = meters[0].identity.report(&first, Moment::Decrypted);
    meters[0].report(&decrypted);
    assert_eq!(meters[0].line.heard().executes, 0, "started while paused");
    let why = manager.ask(&topic("commands/campaigns/explain"), &json!({"campaign": campaign}).to_string());
    assert_eq!(why["ok"]["lines"][0], format!("campaign {campaign} is paused"), "{why:#}");
    assert!(why["ok"]["devices"][0]["why"].as_str().is_some_and(|why| why.contains("paused")), "{why:#}");

    assert_eq!(order(&mut manager, "resume", &campaign)["ok"]["state"], "running");
    let started = || (meters[0].line.heard().executes > 0).then_some(());
    wait::until("a start", wait::LONG, started, || site.meters.fleet.server.tail());
    let second = meters[1].granted(&digest);
    let failed = meters[1].identity.report(&second, Moment::Failed);
    meters[1].report(&failed);
    site.meters.fleet.wait_outcome(&campaign, "meter-2", DeviceOutcome::Failed);
    let retried = order(&mut manager, "retry-failed", &campaign);
    assert_eq!(retried["ok"]["state"], "running", "{retried:#}");
    let offers = meters[1].line.heard().manifests.len();
    let again = || (meters[1].line.heard().manifests.len() > offers).then_some(());
    if site.meters.fleet.track(&campaign, "meter-2").outcome == DeviceOutcome::Waiting {
        wait::until("another offer", wait::LONG, again, || site.meters.fleet.server.tail());
    }

    assert_eq!(order(&mut manager, "cancel", &campaign)["ok"]["state"], "cancelled");
    let late = manager.ask(
        &topic("commands/campaigns/pause"),
        &json!({"request_id": "late", "campaign": campaign}).to_string(),
    );
    assert_eq!(late["error"]["code"], "conflict");
    assert!(late["error"]["message"].as_str().is_some_and(|text| text.contains("is cancelled")), "{late:#}");
    let listed = manager.ask(&topic("commands/campaigns/list"), r#"{"state":"cancelled"}"#);
    assert_eq!(listed["ok"]["campaigns"][0]["id"], campaign.as_str());
}

/// What is wrong is named; nothing is done.
fn bad_input(site: &Site) {
    let _meter = site.meters.device("meter-1");
    let manifest = published(&site.meters.fleet, &site.meters.manifest);
    let mut manager = site.manager();
    let commands = topic("commands/campaigns/launch");
    let mut refused = |topic: &str, body: &str| {
        let reply = manager.ask(topic, body);
        let message = reply["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}: {reply:#}"));
        message.to_owned()
    };
    assert!(refused(&commands, "{").contains("EOF"));
    assert!(refused(&commands, r#"{"request_id":"a","manifest":"00","colour":1}"#).contains("colour"));
    assert!(refused(&commands, r#"{"request_id":"a","manifest":7}"#).starts_with("manifest: "));
    assert!(refused(&commands, &json!({"manifest": manifest}).to_string()).contains("request_id"));
    let policy = json!({"request_id": "a", "manifest": manifest, "policy": {"at_most": -1}});
    assert!(refused(&commands, &policy.to_string()).starts_with("policy.at_most: "));
    assert!(refused(&topic("commands/campaigns/explode"), "{}").contains("campaigns/launch"));
    let long = json!({"request_id": "a", "manifest": "x".repeat(70_000)});
    assert!(refused(&commands, &long.to_string()).contains("65536"));
    assert!(campaigns(site).is_empty());
}

fn campaigns(site: &Site) -> Vec<bellwether_api::Campaign> {
    site.meters.fleet.server.http().read::<bellwether_api::CampaignPage>("/v1/campaigns").campaigns
}

/// The same again is answered as the first time; the same id for something else is refused.
fn repetitions(site: &Site) {
    let _meter = site.meters.device("meter-1");
    let manifest = published(&site.meters.fleet, &site.meters.manifest);
    let mut manager = site.manager();
    let campaign = launch(&mut manager, &manifest);
    let pause = order(&mut manager, "pause", &campaign);
    assert_eq!(launch(&mut manager, &manifest), campaign);
    assert_eq!(order(&mut manager, "pause", &campaign), pause);
    let same_id = json!({"request_id": "launch", "campaign": campaign}).to_string();
    let other = manager.ask(&topic("commands/campaigns/cancel"), &same_id);
    assert_eq!(other["error"]["code"], "conflict", "{other:#}");
    assert_eq!(campaigns(site).len(), 1);
    // HTTP shares the request ids with MQTT.
    let http = site.meters.fleet.server.http();
    let again: Value = http
        .post("/v1/campaigns", &json!({"request_id": "launch", "manifest": manifest, "who": "kim"}))
        .json();
    assert_eq!(again["id"], campaign.as_str());
    assert_eq!(campaigns(site)[0].state, CampaignState::Paused);
}

#[test]
fn campaign_walks_through_mosquitto() {
    walk(&Site::mosquitto("5"));
}

#[test]
fn campaign_walks_through_mosquitto_by_mqtt_3() {
    walk(&Site::mosquitto("3.1.1"));
}

#[test]
fn campaign_walks_through_the_embedded_broker() {
    walk(&Site::embedded());
}

#[test]
fn orders_are_carried_out_through_mosquitto() {
    orders(&Site::mosquitto("5"));
}

#[test]
fn orders_are_carried_out_through_the_embedded_broker() {
    orders(&Site::embedded());
}

#[test]
fn bad_input_is_named_through_mosquitto() {
    bad_input(&Site::mosquitto("5"));
}

#[test]
fn bad_input_is_named_through_the_embedded_broker() {
    bad_input(&Site::embedded());
}

#[test]
fn repetitions_change_nothing_through_mosquitto() {
    repetitions(&Site::mosquitto("5"));
}

#[test]
fn repetitions_change_nothing_through_the_embedded_broker() {
    repetitions(&Site::embedded());
}

#[test]
fn tools_that_speak_mqtt_3_get_replies_by_their_request_id() {
    for (site, version) in
        [(Site::mosquitto("5"), "311"), (Site::embedded(), "311"), (Site::mosquitto("3.1.1"), "5")]
    {
        let _meter = site.meters.device("meter-1");
        let manifest = published(&site.meters.fleet, &site.meters.manifest);
        let login = site.login();
        let log = site.folder.path().join("replies.log");
        let mut listen = login.tool("mosquitto_sub", version);
        listen.args(["-v", "-t", &topic("replies/#"), "-t", &topic("server/status")]);
        let listener = Program::start(listen, &log);
        let said = |what: &str| {
            let look = || listener.said().contains(what).then_some(());
            wait::until(what, wait::LONG, look, || listener.tail());
        };
        // Its subscriptions stand once the retained status has come.
        said("online");
        let publish = |verb: &str, body: &str| {
            let mut publish = login.tool("mosquitto_pub", version);
            publish.args(["-t", &topic(&format!("commands/campaigns/{verb}")), "-m", body]);
            assert!(publish.status().expect("mosquitto_pub runs").success());
        };
        publish("launch", &json!({"request_id": "l-1", "manifest": manifest}).to_string());
        said("replies/l-1 {\"request_id\":\"l-1\",\"ok\":{");
        publish("pause", r#"{"request_id":"p-1","campaign":"1"}"#);
        said("replies/p-1 {\"request_id\":\"p-1\",\"ok\":{");
        publish("pause", "no JSON");
        said("replies {\"error\":{\"code\":\"invalid\"");
    }
}

#[test]
fn real_agent_is_updated_by_a_campaign_over_mqtt() {
    let site = Site::mosquitto("5");
    let fleet = &site.meters.fleet;
    let old = images::program("1.0.0", 0, 20_000);
    fleet.release("lamp", "1.0.0", &old);
    fleet.release("lamp", "2.0.0", &images::program("2.0.0", 0, 20_000));
    let manifest = published(fleet, &fleet.manifest(3, &[("lamp", "2.0.0")]));
    let mut lamp = Agent::make(fleet, "lamp-1", "lamp", "1.0.0", "linux");
    let mut manager = site.manager();
    manager.subscribe(&topic("devices/lamp-1/registration"));
    manager.subscribe(&topic("campaigns/+/progress"));
    lamp.switch_on(&[]);
    let came = manager.wait("its registration", |one| one.topic.ends_with("registration")).json();
    assert_eq!((&came["endpoint"], &came["registered"]), (&json!("lamp-1"), &json!(true)));
    let campaign = launch(&mut manager, &manifest);
    let ended = wait_progress(&mut manager, &campaign, "finished");
    assert_eq!(ended["campaign"]["classes"][0]["installed"], 1, "{ended:#}");
    assert_eq!(fleet.show("lamp-1").version.as_deref(), Some("2.0.0"));
}

/// Images of the meters here: a frame or two.
const IMAGE_BYTES: usize = 4_000;
