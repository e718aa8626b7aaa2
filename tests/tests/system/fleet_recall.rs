//! Releases that nobody gets any more, and who runs one.

use bellwether_api::{Campaign, CampaignState, DeviceOutcome, Release, WhoRuns};
use bellwether_store::campaign::Command;
use bellwether_store::catalogue::{Catalogue as _, Recall, Recalling};
use bellwether_store::{SqliteStore, Tenant};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::raw_device::{RawDevice, Said};
use bellwether_tests::wait;
use serde_json::json;

fn runs(fleet: &Fleet, version: &str) -> Vec<String> {
    let found: WhoRuns = fleet.cli.json(&format!("release who-runs {version} --class meter"));
    assert_eq!(found.total, found.devices.len() as u64);
    assert_eq!((found.release.version.as_str(), found.next), (version, None));
    found.devices.into_iter().map(|one| one.endpoint).collect()
}

#[test]
fn recalled_release_goes_to_nobody_until_it_is_reinstated() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let mut updated = Agent::make(fleet, "meter-1", "meter", "1.0", "microcontroller");
    let unit = fleet.device("meter-2", "meter");
    let old = images::digest(&meters.old);
    let mut waiting = RawDevice::telling(fleet.server.coaps(), &unit, "meter", old);
    let mut granted = meters.device("meter-3");
    fleet.wait_told("meter-2");
    assert_eq!(runs(fleet, "1.0"), ["meter-2"]);
    let id = meters.launch();
    granted.granted(&meters.manifest.digest);
    updated.run_until_updated();
    fleet.wait_outcome(&id, "meter-1", DeviceOutcome::Installed);

    fleet.cli.done("release recall 2.0 --class meter --why flickers --who kim");
    let halted = fleet.campaign(&id);
    assert_eq!(halted.state, CampaignState::Halted);
    assert_eq!(halted.reason.as_deref(), Some("app 2.0 for meter was recalled: flickers"));
    for device in [&mut waiting, &mut granted] {
        let said = device.ask(&meters.manifest.digest);
        let Said::Refused(RELEASE_RECALLED, text) = said else { panic!("{said:?}") };
        assert!(text.contains("was recalled"), "{text}");
    }
    let refused = fleet.track(&id, "meter-2");
    assert_eq!(refused.outcome, DeviceOutcome::Refused);
    assert!(refused.reason.is_some_and(|reason| reason.contains("was recalled")));
    assert_eq!(runs(fleet, "2.0"), ["meter-1"]);
    let path = meters.manifest.path.display();
    for order in [format!("campaign launch --manifest {path}"), format!("campaign retry-failed {id}")] {
        let refused = fleet.cli.refused(&order);
        assert!(refused.contains("app 2.0 for meter was recalled: flickers"), "{order}: {refused}");
    }
    let twice = fleet.cli.refused("release recall 2.0 --class meter --why again");
    assert!(twice.contains("was recalled before"), "{twice}");
    let listed: Vec<Release> = fleet.cli.json("release list");
    let why =
        |version| listed.iter().find(|one| one.version == version).expect("listed").recalled_why.clone();
    assert_eq!((why("1.0"), why("2.0").as_deref()), (None, Some("flickers")));
    let told = fleet.cli.done("audit list");
    assert!(told.contains("app 2.0 for meter was recalled") && told.contains("by kim: flickers"), "{told}");

    fleet.cli.done("release reinstate 2.0 --class meter --why harmless");
    let again = fleet.cli.refused("release reinstate 2.0 --class meter --why harmless");
    assert!(again.contains("is not recalled"), "{again}");
    assert_eq!(fleet.campaign(&id).state, CampaignState::Halted, "until somebody lets it go on");
    fleet.cli.done(&format!("campaign retry-failed {id}"));
    for device in [&mut waiting, &mut granted] {
        let granted = device.granted(&meters.manifest.digest);
        device.install(&granted, meters.new_digest());
    }
    fleet.wait_state(&id, CampaignState::Finished);
    assert_eq!(runs(fleet, "2.0"), ["meter-1", "meter-2", "meter-3"]);
    assert_eq!(runs(fleet, "1.0"), [""; 0]);
}

#[test]
fn paused_campaign_is_halted_by_a_recall_and_goes_on_though_nobody_was_refused() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let id = meters.launch();
    meters.fleet.cli.done(&format!("campaign pause {id}"));
    let body = json!({"request_id": "r1", "class": "meter", "version": "2.0", "why": "flickers"});
    let path = "/v1/commands/releases/recall";
    let recalled: Release = meters.fleet.server.http().post(path, &body).json();
    assert!(recalled.recalled.is_some());
    let again: Release = meters.fleet.server.http().post(path, &body).json();
    assert_eq!(again, recalled, "the same request is carried out once");
    meters.fleet.kill_and_restart();
    let fleet = &meters.fleet;
    assert_eq!(fleet.campaign(&id).state, CampaignState::Halted);
    fleet.cli.refused(&format!("campaign resume {id}"));
    meter.reconnect(fleet.server.coaps());
    let missing = fleet.cli.refused("release recall 9.9 --class meter --why typo");
    assert!(missing.contains("there is no release app 9.9 for meter"), "{missing}");

    fleet.cli.done("release reinstate 2.0 --class meter --why harmless");
    fleet.cli.done(&format!("campaign retry-failed {id}"));
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    fleet.wait_state(&id, CampaignState::Finished);
}

// The server may end between the recall and the end of the campaigns that it ends; devices that work on what they were given
// keep a campaign from offering anything, so that it did not look.
#[test]
fn campaign_that_a_recall_had_no_time_to_halt_is_halted_after_a_restart() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let id = meters.launch();
    meter.granted(&meters.manifest.digest);
    meters.fleet.server.stop();
    let database = meters.fleet.server.data().join("bellwether.db");
    wait::soon("a recall", async {
        let store = SqliteStore::open(&database).await.expect("opened");
        let recall = Recall { at: 1, why: "flickers".to_owned() };
        let command = Command { request_id: "r1".to_owned(), body: [1; 32], reply: Vec::new(), at: 1 };
        let releases = store.releases(&Tenant::default(), None, 10).await.expect("read");
        let release = releases.iter().find(|one| one.release.version == "2.0").expect("published").release.id;
        let recalling = Recalling { release, recall: Some(&recall), events: &[], command: &command };
        store.set_recall(&Tenant::default(), recalling).await.expect("recalled");
        store.close().await;
    });
    meters.fleet.server.restart();
    let halted = meters.fleet.wait_state(&id, CampaignState::Halted);
    assert_eq!(halted.reason.as_deref(), Some("app 2.0 for meter was recalled: flickers"));
}

#[test]
fn campaign_for_another_class_of_the_manifest_goes_on() {
    let fleet = Fleet::start();
    let image = images::image(1, 24_000);
    for (class, version) in [("lamp", "2.0"), ("meter", "2.0")] {
        fleet.release(class, version, &image);
    }
    let manifest = fleet.manifest(2, &[("lamp", "2.0"), ("meter", "2.0")]);
    let mut lamp = fleet.raw("lamp-1", "lamp", b"old");
    let mut meter = fleet.raw("meter-1", "meter", b"old");
    let (lamps, both) = (fleet.launch(&manifest, "--class lamp"), fleet.launch(&manifest, ""));
    fleet.cli.done("release recall 2.0 --class meter --why flickers");
    assert_eq!(fleet.campaign(&lamps).state, CampaignState::Running);
    assert_eq!(fleet.campaign(&both).state, CampaignState::Halted);
    lamp.granted(&manifest.digest);
    // The same bytes under the other class's name stand there still.
    lamp.granted(&manifest.digest);
    assert!(matches!(meter.ask(&manifest.digest), Said::Refused(RELEASE_RECALLED, _)));
}

#[test]
fn recalls_come_over_mqtt_and_who_runs_comes_in_pages() {
    let fleet = Fleet::start_with(&["--mqtt-listen", "127.0.0.1:0"]);
    let image = images::image(1, 24_000);
    fleet.release("meter", "1.0", &image);
    let _devices = ["meter-1", "meter-2", "meter-3"].map(|name| {
        let unit = fleet.device(name, "meter");
        let device = RawDevice::telling(fleet.server.coaps(), &unit, "meter", images::digest(&image));
        fleet.wait_told(name);
        device
    });
    let mut manager = Mqtt::connect(&Login::embedded(fleet.server.data()), "manager");
    let mut ask = |verb: &str, body: serde_json::Value| {
        manager.ask(&format!("bellwether/v1/default/commands/releases/{verb}"), &body.to_string())
    };
    let recall = json!({"request_id": "r1", "class": "meter", "version": "1.0", "why": "flickers"});
    assert_eq!(ask("recall", recall)["ok"]["recalled_why"], "flickers");
    let page = json!({"class": "meter", "version": "1.0", "limit": 2});
    let first = ask("who-runs", page);
    assert_eq!(
        (&first["ok"]["total"], &first["ok"]["devices"][1]["endpoint"]),
        (&json!(3), &json!("meter-2"))
    );
    let page = json!({"class": "meter", "version": "1.0", "limit": 2, "after": first["ok"]["next"]});
    let last = ask("who-runs", page);
    assert_eq!(last["ok"]["devices"][0]["endpoint"], "meter-3");
    assert_eq!(last["ok"]["next"], serde_json::Value::Null);
}

/// Number of the refusal on the wire.
const RELEASE_RECALLED: i64 = 23;

#[test]
fn device_goes_back_to_the_image_of_before_under_a_higher_number() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let first = fleet.manifest(1, &[("meter", "1.0")]);
    let mut meter = Agent::make(fleet, "meter-1", "meter", "1.0", "microcontroller");
    meter.switch_on(&[]);
    let forth = meters.launch();
    fleet.wait_outcome(&forth, "meter-1", DeviceOutcome::Installed);
    assert_eq!(fleet.show("meter-1").version.as_deref(), Some("2.0"));
    fleet.cli.done("release recall 2.0 --class meter --why flickers");

    // No key of ours signs what somebody else wrote into a file.
    let path = first.path.display();
    let mut altered = std::fs::read(&first.path).expect("the envelope");
    let at = altered.windows(32).position(|bytes| *bytes == images::digest(&meters.old)).expect("the image");
    altered[at] ^= 1;
    fleet.put("altered.suit", &altered);
    fleet.cli.done("keys new other.key");
    for (words, wrong) in [
        ("altered.suit --sequence 3 --key author.key".to_owned(), "differs"),
        ("altered.suit --sequence 3 --key author.key --anchors anchors.cose".to_owned(), "differs"),
        (format!("{path} --sequence 3 --key other.key"), "is not signed by the key in other.key"),
        (format!("{path} --sequence 1 --key author.key"), "--sequence must be above 1"),
    ] {
        let refused = fleet.cli.refused(&format!("release return {words} --out back.suit"));
        assert!(refused.contains(wrong), "{words}: {refused}");
        assert!(!fleet.folder().join("back.suit").exists(), "{words}");
    }
    // Whoever takes over from another author names the anchors that list both; devices then want an author of theirs.
    fleet.cli.done(&format!(
        "release return {path} --sequence 9 --key other.key --anchors anchors.cose --out others.suit"
    ));
    let refused = fleet.cli.refused("campaign launch --manifest others.suit");
    assert!(refused.contains("author"), "{refused}");

    fleet.cli.done(&format!("release return {path} --sequence 3 --key author.key --out back.suit"));
    let back = fleet.cli.json::<Campaign>("campaign launch --manifest back.suit").id;
    fleet.wait_outcome(&back, "meter-1", DeviceOutcome::Installed);
    assert_eq!(fleet.show("meter-1").version.as_deref(), Some("1.0"));
    assert_eq!(runs(fleet, "1.0"), ["meter-1"]);
    assert_eq!(runs(fleet, "2.0"), [""; 0]);
    assert!(fleet.alarm_kinds("meter-1").is_empty(), "{:?}", fleet.alarms("meter-1"));
}
