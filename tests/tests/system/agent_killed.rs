//! Devices killed with SIGKILL, or cut off by themselves at a point of their update, and switched on again.

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::rounds::rounds;
use bellwether_tests::wait;

/// Right after the flash writes of an update, in their order; the image has 25 frames.
const POINTS: [&str; 9] = [
    "manifest-stored",
    "granted",
    "frame:0",
    "frame:1",
    "frame:12",
    "frame:24",
    "decrypted",
    "trial",
    "confirmed",
];

/// A meter that takes full images only.
fn meter(meters: &Meters, name: &str) -> Agent {
    Agent::make_without_patches(&meters.fleet, name, "meter", "1.0", "microcontroller")
}

fn updated(fleet: &Fleet, campaign: &str, agent: &Agent) {
    fleet.wait_outcome(campaign, &agent.name, DeviceOutcome::Installed);
    assert_eq!(fleet.show(&agent.name).index, 1, "{}", agent.name);
    assert!(fleet.alarms(&agent.name).is_empty(), "{:?}", fleet.alarms(&agent.name));
}

#[test]
fn killed_device_ends_updated_from_every_point() {
    let meters = Meters::new();
    let mut agents: Vec<_> =
        (0..POINTS.len()).map(|number| meter(&meters, &format!("meter-{number}"))).collect();
    let campaign = meters.launch();
    for (agent, point) in agents.iter_mut().zip(POINTS) {
        agent.run_until(point);
        agent.run_until_updated();
        assert_eq!(agent.status()["running"]["version"], "2.0", "after {point}");
        updated(&meters.fleet, &campaign, agent);
    }
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
}

#[test]
fn killed_device_ends_updated_after_it_was_cut_off_at_all_points_in_a_row() {
    let meters = Meters::new();
    let mut agent = meter(&meters, "meter-1");
    let campaign = meters.launch();
    // The last frame and the decryption are one step: a device cut off after the one has done the other.
    for point in POINTS.into_iter().filter(|point| *point != "frame:24") {
        agent.run_until(point);
    }
    agent.run_until_updated();
    updated(&meters.fleet, &campaign, &agent);
}

#[test]
fn killed_device_with_a_delta_ends_updated_from_every_point() {
    let meters = Meters::new();
    let points = ["manifest-stored", "granted", "frame:0", "decrypted", "trial", "confirmed"];
    let make = |name: &&str| {
        let name = format!("meter-{}", name.replace(':', "-"));
        Agent::make(&meters.fleet, &name, "meter", "1.0", "microcontroller")
    };
    let mut agents: Vec<_> = points.iter().map(make).collect();
    let campaign = meters.launch();
    for (agent, point) in agents.iter_mut().zip(points) {
        agent.run_until(point);
        agent.run_until_updated();
        updated(&meters.fleet, &campaign, agent);
    }
}

#[test]
fn killed_device_whose_image_is_a_program_ends_updated() {
    let fleet = Fleet::start();
    fleet.release("lamp", "1.0.0", &images::program("1.0.0", 0, 20_000));
    fleet.release("lamp", "2.0.0", &images::program("2.0.0", 0, 20_000));
    let manifest = fleet.manifest(2, &[("lamp", "2.0.0")]);
    let mut lamp = Agent::make(&fleet, "lamp-1", "lamp", "1.0.0", "linux");
    let campaign = fleet.launch(&manifest, "");
    for point in ["granted", "decrypted", "trial", "confirmed"] {
        lamp.run_until(point);
    }
    lamp.switch_on(&[]);
    fleet.wait_outcome(&campaign, "lamp-1", DeviceOutcome::Installed);
    lamp.wait_status("the new lamp", |status| status["says"] == "lamp firmware 2.0.0 shines");
    updated(&fleet, &campaign, &lamp);
}

#[test]
fn killed_device_fetches_only_what_it_has_not_stored() {
    let meters = Meters::on(Fleet::start(), 200_000);
    let mut agent = meter(&meters, "meter-1");
    meters.launch();
    agent.run_until("frame:150");
    agent.run_until_updated();
    // 202 frames in all; 51 are left.
    let fetched = agent.status()["traffic"]["application_in"].as_u64().expect("bytes");
    assert!((51 * 1_024..70 * 1_024).contains(&fetched), "{fetched} bytes");
}

#[test]
fn killed_device_ends_updated_whenever_it_was_killed() {
    for round in rounds() {
        let meters = Meters::on(Fleet::start(), 400_000);
        let mut agent = meter(&meters, "meter-1");
        let campaign = meters.launch();
        // The status is written every 64 frames.
        let bytes =
            |status: &serde_json::Value| status["traffic"]["application_in"].as_u64().unwrap_or_default();
        let limit = 1_000 * u64::try_from(round * 37 % 60).expect("small");
        kill_when(&mut agent, |status| status["registered"] == true);
        kill_when(&mut agent, |status| status["state"] == "downloading");
        kill_when(&mut agent, |status| bytes(status) > limit);
        kill_when(&mut agent, |status| bytes(status) > 64_000 + limit);
        kill_when(&mut agent, |status| status["state"] == "downloaded");
        kill_when(&mut agent, |status| status["state"] == "updating");
        kill_when(&mut agent, |status| status["running"]["version"] == "2.0");
        agent.switch_on(&[]);
        updated(&meters.fleet, &campaign, &agent);
    }
}

/// Switches the device on, and cuts its power as soon as it tells this, or that its update is over.
fn kill_when(agent: &mut Agent, is_so: impl Fn(&serde_json::Value) -> bool) {
    agent.forget_status();
    agent.switch_on(&[]);
    let over = |status: &serde_json::Value| {
        status["running"]["version"] == "2.0"
            && status["reports_waiting"] == 0
            && status["registered"] == true
    };
    let look = || Some(agent.status()).filter(|status| is_so(status) || over(status));
    wait::until("the moment to kill", wait::LONG, look, || agent.tail());
    agent.kill9();
}
