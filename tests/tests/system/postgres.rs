//! The server on PostgreSQL: killed, with its data base killed, and taken over from a file.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_store::PostgresStore;
use bellwether_store::conformance::instance::Instance;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::{self, Program};
use bellwether_tests::raw_device::Options;
use bellwether_tests::wait;
use serde_json::json;

/// Runs `bellwether-server store` with a command and gives how it ended and what it said.
fn care(words: &[&str], data: &Path) -> (ExitStatus, String) {
    let mut command = program::command("bellwether-server");
    command.arg("store").arg(words[0]).arg("--data").arg(data).args(&words[1..]);
    Program::run(command)
}

fn fleet_on(instance: &Instance) -> (Fleet, String) {
    let url = instance.database();
    (Fleet::start_with(&["--store", &url]), url)
}

#[test]
fn data_base_that_is_killed_in_a_campaign_holds_it_up_and_loses_nothing() {
    let mut instance = Instance::start(true);
    let (fleet, _url) = fleet_on(&instance);
    let mut meters = Meters::on(fleet, 24_000);
    let mut asking = meters.device("asking");
    let mut reporting = meters.device("reporting");
    let campaign = meters.launch();
    let granted = reporting.granted(&meters.manifest.digest);
    let fetched = reporting.fetch(&granted);

    instance.kill9();
    let request = asking.identity.request(&meters.manifest.digest, &Options::default());
    let report = reporting.identity.report(&granted, Moment::Decrypted);
    for response in [asking.line.send_request(&request.bytes), reporting.line.send_report(&report.bytes)] {
        assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
        assert!(response.max_age.is_some_and(|seconds| seconds > 0), "{response:?}");
    }
    // What is in memory is still served.
    assert_eq!(reporting.fetch(&granted), fetched);
    let answer =
        meters.fleet.server.http().post("/v1/devices", &json!({"endpoint": "extra", "class": "meter"}));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("\"storage_away\""), "{answer:?}");
    let health = meters.fleet.server.http().get("/health/ready");
    assert!(health.status == 503 && health.body.contains("does not answer"), "{health:?}");
    assert!(
        meters.fleet.server.said().contains("the data base does not answer"),
        "{}",
        meters.fleet.server.tail()
    );

    instance.start_again();
    let look = || {
        let response = asking.line.send_request(&request.bytes);
        (response.code == Code::CHANGED).then_some(())
    };
    wait::until("a grant", wait::LONG, look, || meters.fleet.server.tail());
    let told = || meters.fleet.server.said().contains("takes writes again").then_some(());
    wait::until("a word about the data base", wait::LONG, told, || meters.fleet.server.tail());
    reporting.report(&report);
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.track(&campaign, "reporting").outcome, DeviceOutcome::Ready);
    assert_eq!(meters.fleet.track(&campaign, "asking").outcome, DeviceOutcome::Granted);
    assert!(!meters.fleet.server.said().contains("panicked"), "{}", meters.fleet.server.tail());
}

#[test]
fn real_devices_are_updated_while_server_and_data_base_are_killed_in_turn() {
    let mut instance = Instance::start(true);
    let (fleet, url) = fleet_on(&instance);
    let mut meters = Meters::on(fleet, 60_000);
    let mut agents: Vec<Agent> = (1..=3)
        .map(|number| {
            Agent::make(&meters.fleet, &format!("meter-{number}"), "meter", "1.0", "microcontroller")
        })
        .collect();
    let campaign = meters.launch();
    for agent in &mut agents {
        // Whose registration dies with the server makes it again at its next update: soon.
        agent.switch_on(&["--lifetime-s", "10"]);
    }
    for _ in 0..2 {
        instance.kill9();
        instance.start_again();
        meters.fleet.kill_and_restart();
    }
    for agent in &agents {
        meters.fleet.wait_outcome(&campaign, &agent.name, DeviceOutcome::Installed);
    }
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
    assert!(!meters.fleet.server.said().contains("panicked"), "{}", meters.fleet.server.tail());
    meters.fleet.server.stop();
    let (status, said) = care(&["check", "--store", &url], meters.fleet.server.data());
    assert!(
        status.success() && said.contains("3 devices") && said.contains("every image is whole"),
        "{said}"
    );
}

#[test]
fn store_in_a_file_is_taken_over_and_its_devices_go_on() {
    let instance = Instance::start(false);
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let (url, data) = (instance.database(), meters.fleet.server.data().to_owned());

    let (status, said) = care(&["copy", "--to", &url], &data);
    assert!(!status.success() && said.contains("another server"), "{said}");
    meters.fleet.server.stop();
    let (status, said) = care(&["check"], &data);
    assert!(status.success() && said.contains("1 devices"), "{said}");
    let (status, said) = care(&["copy", "--to", "sqlite"], &data);
    assert!(!status.success() && said.contains("postgres://"), "{said}");
    let (status, said) = care(&["copy", "--to", &url], &data);
    assert!(status.success() && said.contains("read back the same"), "{said}");
    assert!(!data.join("bellwether.db").exists() && data.join("bellwether.db.copied").exists());

    meters.fleet.server.restart_with(&["--store", &url]);
    meter.reconnect(meters.fleet.server.coaps());
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    meter.install(&granted, meters.new_digest());
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Installed);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());

    meters.fleet.server.stop();
    fs::rename(data.join("bellwether.db.copied"), data.join("bellwether.db")).expect("moved");
    let (status, said) = care(&["copy", "--to", &url], &data);
    assert!(!status.success() && said.contains("not empty"), "{said}");
    assert!(data.join("bellwether.db").exists(), "what was not copied is moved");
}

#[test]
fn server_says_why_it_does_not_start_on_a_data_base() {
    let instance = Instance::start(false);
    let foreign = instance.database();
    instance.sql(foreign.rsplit('/').next().expect("a name"), "CREATE TABLE invoice (number BIGINT)");
    let cases = [
        (instance.url("nowhere"), "createdb"),
        ("postgres://bell:s3cret@127.0.0.1:1/fleet".to_owned(), "at 127.0.0.1:1 could not be opened"),
        ("mysql://bell:s3cret@db/fleet".to_owned(), "postgres://USER@HOST"),
        (foreign, "not one of this server"),
    ];
    for (url, why) in cases {
        let folder = Fleet::new_folder();
        let mut command = bellwether_tests::server::command(folder.path());
        command.args(["--mqtt", "off", "--store", &url]);
        let (status, said) = Program::run(command);
        assert!(!status.success() && said.contains(why) && !said.contains("s3cret"), "{url}: {said}");
    }
}

#[test]
fn data_folder_with_a_file_is_not_left_behind_for_a_data_base() {
    let instance = Instance::start(false);
    let mut meters = Meters::new();
    meters.fleet.server.stop();
    let mut command = bellwether_tests::server::command(meters.fleet.server.data());
    command.args(["--mqtt", "off", "--store", &instance.database()]);
    let (status, said) = Program::run(command);
    assert!(!status.success() && said.contains("store copy"), "{said}");
    let (status, said) =
        care(&["copy", "--store", &instance.database(), "--to", "x"], meters.fleet.server.data());
    assert!(!status.success(), "{said}");
}

#[test]
fn server_whose_data_base_another_one_took_over_ends_and_says_so() {
    let instance = Instance::start(false);
    let (fleet, url) = fleet_on(&instance);
    let name = url.rsplit('/').next().expect("a name");
    instance.sql(
        name,
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database \
         WHERE locktype = 'advisory' AND datname = current_database()",
    );
    let _other = wait::soon("the lease", PostgresStore::serve(&url)).expect("free");
    let told = || fleet.server.said().contains("another server works on the data base now").then_some(());
    wait::until("an end", wait::LONG, told, || fleet.server.tail());
    let gone = || fleet.server.http().try_post("/v1/devices", &json!({})).is_none().then_some(());
    wait::until("no answer", wait::LONG, gone, || fleet.server.tail());
}
