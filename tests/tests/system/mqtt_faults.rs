//! MQTT when things go wrong: retained and redelivered commands, a broker that goes, roles, wrong passwords.

use std::fs;

use bellwether_api::{Campaign, CampaignPage, CampaignState};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::mosquitto::Mosquitto;
use bellwether_tests::mqtt::{Login, Message, Mqtt};
use bellwether_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

struct Site {
    meters: Meters,
    broker: Mosquitto,
    manifest: String,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(version: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Mosquitto::start(folder.path());
        let flags = broker.flags(version);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let meters = Meters::on(Fleet::start_with(&flags), 4_000);
        meters.fleet.await_broker();
        let envelope = fs::read(&meters.manifest.path).expect("the envelope");
        meters.fleet.server.http().upload(Method::POST, "/v1/manifests", envelope);
        let manifest = hex::encode(meters.manifest.digest);
        Self { meters, broker, manifest, _folder: folder }
    }

    fn client(&self, user: &str) -> Mqtt {
        Mqtt::connect(&self.broker.login(user), user)
    }

    fn campaigns(&self) -> Vec<Campaign> {
        self.meters.fleet.server.http().read::<CampaignPage>("/v1/campaigns").campaigns
    }

    fn launch(&self) -> String {
        json!({"request_id": "launch", "manifest": self.manifest}).to_string()
    }

    /// Gives an order by HTTP, which needs no broker.
    fn order(&self, verb: &str, number: u32) {
        let body = json!({"request_id": format!("{verb} {number}"), "campaign": "1"});
        let answer = self.meters.fleet.server.http().post(&format!("/v1/commands/campaigns/{verb}"), &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn topic(rest: &str) -> String {
    format!("bellwether/v1/default/{rest}")
}

#[test]
fn retained_command_is_refused_whenever_the_broker_brings_it() {
    for version in ["5", "3.1.1"] {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Mosquitto::start(folder.path());
        let mut manager = Mqtt::connect(&broker.login("manager"), "manager");
        manager.subscribe(&topic("replies/#"));
        let list = topic("commands/campaigns/list");
        manager.publish(&list, r#"{"request_id":"before"}"#, true);
        let flags = broker.flags(version);
        let mut fleet = Fleet::start_with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        fleet.await_broker();
        refused(&mut manager, "before");
        if version == "5" {
            // By 5 it is seen to be retained also while it passes; 3.1.1 marks only what was kept.
            manager.publish(&list, r#"{"request_id":"passing"}"#, true);
            refused(&mut manager, "passing");
        }
        // Taken back, it is neither brought again nor answered: the next question is answered first.
        manager.publish(&list, "", true);
        // Acknowledged in their order, so that the broker does not bring what the server has not acknowledged yet.
        manager.publish(&list, r#"{"request_id":"settled"}"#, false);
        let settled = topic("replies/settled");
        manager.wait("an answer", |one| one.topic == settled);
        fleet.server.kill9();
        fleet.server.restart();
        manager.publish(&list, r#"{"request_id":"after"}"#, false);
        let other = |one: &str| one.starts_with(&topic("replies")) && one != settled;
        let reply = manager.wait("a reply", |one| other(&one.topic)).json();
        assert_eq!(reply["ok"]["campaigns"], json!([]), "{version}: {reply:#}");
    }
}

fn refused(manager: &mut Mqtt, id: &str) {
    let reply = manager.wait("a refusal", |one| one.topic == topic(&format!("replies/{id}"))).json();
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("retain"), "{reply:#}");
}

#[test]
fn command_that_came_while_the_server_was_away_is_carried_out_once() {
    for version in ["5", "3.1.1"] {
        let mut site = Site::start(version);
        let _meter = site.meters.device("meter-1");
        let mut manager = site.client("manager");
        // The server's session stands once it has answered something.
        manager.ask_by_id(&topic("commands/campaigns/list"), &json!({"request_id": "first"}));
        site.meters.fleet.server.kill9();
        manager.subscribe(&topic("replies/#"));
        manager.publish(&topic("commands/campaigns/launch"), &site.launch(), false);
        manager.publish(&topic("commands/campaigns/launch"), &site.launch(), false);
        site.meters.fleet.server.restart();
        let replies: Vec<Value> = (0..2)
            .map(|_| manager.wait("a reply", |one| one.topic == topic("replies/launch")).json())
            .collect();
        assert_eq!(replies[0], replies[1], "{version}");
        assert_eq!(replies[0]["ok"]["id"], "1", "{version}");
        assert_eq!(site.campaigns().len(), 1, "{version}");
    }
}

// Wherever the server dies between taking a command and acknowledging it, the broker brings it again.
#[test]
fn server_that_is_killed_over_its_commands_launches_each_once() {
    let mut site = Site::start("5");
    let _meter = site.meters.device("meter-1");
    let mut manager = site.client("manager");
    manager.ask(&topic("commands/campaigns/list"), r#"{"request_id":"first"}"#);
    manager.subscribe(&topic("replies/#"));
    for round in 0..COMMANDS {
        let body = json!({"request_id": format!("r{round}"), "manifest": site.manifest});
        manager.publish(&topic("commands/campaigns/launch"), &body.to_string(), false);
        if round % 4 == 1 {
            site.meters.fleet.server.kill9();
            site.meters.fleet.server.restart();
        }
    }
    for round in 0..COMMANDS {
        manager.wait("a reply", |one| one.topic == topic(&format!("replies/r{round}")));
    }
    let ids: Vec<String> = site.campaigns().into_iter().map(|campaign| campaign.id).collect();
    assert_eq!(ids.len(), COMMANDS, "{ids:?}");
}

#[test]
fn events_while_the_broker_is_away_come_once_and_in_order_when_it_is_back() {
    let mut site = Site::start("5");
    let _meter = site.meters.device("meter-1");
    let mut observer = site.client("observer");
    observer.subscribe(&topic("campaigns/1/events"));
    site.client("manager").ask(&topic("commands/campaigns/launch"), &site.launch());
    let first = observer.wait("the launch", |one| one.json()["kind"] == "launched");
    for round in 0..3 {
        site.order("pause", round);
        // It saves its sessions, so that what comes before the observer is back waits for it.
        site.broker.stop();
        site.order("resume", round);
        site.broker.start_again();
    }
    site.order("cancel", 0);
    let last = observer.wait("the end", |one| one.json()["kind"] == "cancelled");
    let told: Vec<(u64, String)> =
        [&first].into_iter().chain(observer.so_far()).chain([&last]).map(event).collect();
    // What the server or the broker saw unacknowledged comes again with the same id, several in a row where several
    // were under way: new ones come in order.
    let mut events: Vec<(u64, String)> = Vec::new();
    for event in &told {
        if !events.contains(event) {
            events.push(event.clone());
        }
    }
    assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0), "out of order: {told:?}");
    let kinds: Vec<&str> = events.iter().map(|(_, kind)| kind.as_str()).collect();
    let orders = ["paused", "resumed"].repeat(3);
    assert_eq!(kinds, [&["launched"], &orders[..], &["cancelled"]].concat());
    assert_eq!(site.campaigns()[0].state, CampaignState::Cancelled);
}

fn event(message: &Message) -> (u64, String) {
    let json = message.json();
    (json["id"].as_u64().expect("an id"), json["kind"].as_str().expect("a kind").to_owned())
}

#[test]
fn killed_broker_that_forgot_everything_is_told_the_progress_again() {
    let mut site = Site::start("5");
    let _meter = site.meters.device("meter-1");
    site.client("manager").ask(&topic("commands/campaigns/launch"), &site.launch());
    site.broker.kill9();
    site.order("pause", 0);
    site.broker.start_again();
    let mut observer = site.client("observer");
    observer.subscribe(&topic("campaigns/1/progress"));
    observer.wait("the progress", |one| one.json()["campaign"]["state"] == "paused");
    // The broker forgot the server's subscription, too: commands are heard from when the server says that it is there.
    observer.subscribe(&topic("server/status"));
    observer.wait("the server's word", |one| one.json()["online"] == true);
    let mut manager = site.client("manager");
    let reply = manager.ask(&topic("commands/campaigns/resume"), r#"{"request_id":"r","campaign":"1"}"#);
    assert_eq!(reply["ok"]["state"], "running", "{reply:#}");
}

#[test]
fn observer_reads_and_can_not_command() {
    let site = Site::start("5");
    let _meter = site.meters.device("meter-1");
    let mut observer = site.client("observer");
    observer.subscribe(&topic("replies/#"));
    observer.subscribe(&topic("campaigns/#"));
    observer.publish(&topic("commands/campaigns/launch"), &site.launch(), false);
    let mut manager = site.client("manager");
    manager.subscribe(&topic("replies/#"));
    // What came behind the observer's command is answered: so that one never came.
    let reply = manager.ask(&topic("commands/campaigns/list"), r#"{"request_id":"list"}"#);
    assert_eq!(reply["ok"]["campaigns"], json!([]), "{reply:#}");
    let id = json!({"request_id": "by the manager", "manifest": site.manifest}).to_string();
    manager.ask(&topic("commands/campaigns/launch"), &id);
    observer.wait("progress", |one| one.topic.ends_with("/progress"));
    assert!(
        observer.so_far().iter().all(|one| !one.topic.contains("replies")),
        "replies are not for observers"
    );
    assert!(manager.so_far().iter().all(|one| one.topic != topic("replies/launch")));
    assert_eq!(site.campaigns().len(), 1);
}

#[test]
fn server_goes_on_with_a_wrong_password_and_says_it_once() {
    let site = Site::start("5");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "not the password").expect("written");
    let login = site.broker.login("server");
    let url = format!("mqtt://server@127.0.0.1:{}", login.port);
    let fleet = Fleet::start_with(&["--mqtt", &url, "--mqtt-password-file", &file.display().to_string()]);
    let warned = || fleet.server.said().matches("the broker can't be used").count();
    wait::until("a warning", wait::LONG, || (warned() > 0).then_some(()), || fleet.server.tail());
    // Several tries later, as mosquitto tells.
    let refused = || (site.broker.tail().matches("not authorised").count() >= 6).then_some(());
    wait::until("further tries", wait::LONG, refused, || site.broker.tail());
    assert_eq!(warned(), 1, "{}", fleet.server.tail());
    assert!(!fleet.server.said().contains("not the password"));
    assert_eq!(fleet.server.http().get("/health").status, 200);
}

#[test]
fn embedded_broker_lets_only_its_own_login_in_and_keeps_it_over_a_restart() {
    let mut fleet = Fleet::start_with(&["--mqtt-listen", "127.0.0.1:0"]);
    let login = Login::embedded(fleet.server.data());
    let rejected = |login: &Login, version: &str| {
        let mut publish = login.tool("mosquitto_pub", version);
        publish.args(["-t", "a", "-m", "b"]);
        !publish.output().expect("mosquitto_pub runs").status.success()
    };
    for version in ["311", "5"] {
        assert!(!rejected(&login, version), "the login of mqtt.json, {version}");
        assert!(rejected(&Login { password: "wrong".to_owned(), ..login.clone() }, version), "{version}");
        assert!(rejected(&Login { user: None, ..login.clone() }, version), "nobody, {version}");
    }
    fleet.server.kill9();
    fleet.server.restart();
    let again = Login::embedded(fleet.server.data());
    assert_eq!(
        (again.password.as_str(), again.user.as_ref()),
        (login.password.as_str(), login.user.as_ref())
    );
    assert!(!rejected(&again, "5"));
}

/// Commands in the round of kills: a few of them at each point of the server's life.
const COMMANDS: usize = 12;
