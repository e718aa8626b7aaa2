//! The server killed with SIGKILL and started again: nothing acknowledged is lost, every device ends as it must.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bellwether_api::{Campaign, CampaignPage, CampaignState, Device, DeviceOutcome, Release};
use bellwether_manifests::message::{Moment, content_format};
use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Options, RawDevice, Said};
use bellwether_tests::rounds::rounds;
use bellwether_tests::wait;

#[test]
fn killed_server_gives_the_same_answers_and_receipts_again() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let address = meters.fleet.server.coaps();

    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    let answer = meter.send_request(&request.bytes);
    let Said::Grant(granted) = meter.identity.read(&request, &answer) else {
        panic!("no grant");
    };
    meters.fleet.kill_and_restart();
    meter.reconnect(address);
    assert_eq!(meter.send_request(&request.bytes).payload, answer.payload);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    assert!(meter.fetch(&granted).len() > 100);

    let moments =
        [(Moment::Decrypted, 0, DeviceOutcome::Ready), (Moment::Installed, 1, DeviceOutcome::Installed)];
    for (moment, index, outcome) in moments {
        let report = meter.identity.report(&granted, moment);
        let receipt = meter.report(&report);
        meters.fleet.kill_and_restart();
        meter.reconnect(address);
        assert_eq!(meter.report(&report), receipt);
        assert_eq!(meters.fleet.show("meter-1").index, index);
        assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, outcome);
    }
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

#[test]
fn killed_server_still_knows_a_clone_and_the_alarm_it_raised() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let address = meters.fleet.server.coaps();
    let stolen = meter.identity.clone();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    let mut clone = RawDevice::with(address, stolen);
    let Said::Prove(echo) = clone.ask(&meters.manifest.digest) else {
        panic!("the clone is not challenged");
    };
    meters.fleet.kill_and_restart();
    clone.reconnect(address);
    let proof = Options { echo: Some(echo), ..Options::default() };
    assert!(matches!(clone.ask_with(&meters.manifest.digest, &proof), Said::Refused(..)));
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone or rolled-back device"]);
}

#[test]
fn killed_server_offers_again_what_a_device_has_not_asked_about() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let envelope = meter.line.manifest();
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Offered);
    // A new line, which has heard nothing yet.
    meter.reconnect(meters.fleet.server.coaps());
    assert_eq!(meter.line.manifest(), envelope);
    meter.granted(&meters.manifest.digest);
}

#[test]
fn killed_server_keeps_everything_that_a_fleet_manager_was_told_is_done() {
    let mut meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.server.http().read::<Device>("/v1/devices/meter-1").class, "meter");

    meters.fleet.release("meter", "9.0", &[9; 5_000]);
    meters.fleet.kill_and_restart();
    let releases: Vec<Release> = meters.fleet.server.http().read("/v1/releases");
    assert_eq!(releases.first().map(|release| release.version.as_str()), Some("9.0"));

    let campaign = meters.fleet.launch(&meters.manifest, "--request-id once");
    meters.fleet.kill_and_restart();
    assert_eq!(meters.fleet.campaign(&campaign).state, CampaignState::Running);
    assert_eq!(meters.fleet.launch(&meters.manifest, "--request-id once"), campaign);

    meters.fleet.cli.done(&format!("campaign cancel {campaign}"));
    meters.fleet.kill_and_restart();
    let CampaignPage { campaigns, .. } = meters.fleet.server.http().read("/v1/campaigns");
    assert_eq!((campaigns.len(), campaigns[0].state), (1, CampaignState::Cancelled));
}

#[test]
fn killed_server_finishes_its_campaign_with_real_devices() {
    for round in rounds() {
        let fleet = Fleet::start_with(&["--ack-timeout-ms", "60"]);
        let mut meters = Meters::on(fleet, 200_000);
        let mut agents: Vec<_> =
            (1..=4).map(|number| slow_agent(&meters, &format!("meter-{number}"))).collect();
        let campaign = meters.fleet.launch(&meters.manifest, "--at-most 3");
        for agent in &mut agents {
            // One that has nothing to do notices a server without its session at its next sign of life, after 5 s.
            agent.switch_on(&["--exit-when-updated", "--ack-timeout-ms", "60", "--lifetime-s", "10"]);
        }
        let stages =
            [DeviceOutcome::Offered, DeviceOutcome::Granted, DeviceOutcome::Ready, DeviceOutcome::Installed];
        // Each round begins with another stage, and waits for so many devices.
        for step in 0..stages.len() {
            let stage = stages[(round + step) % stages.len()];
            let many = 1 + (round + step) % 3;
            kill_when(&mut meters, &campaign, stage, many);
        }
        for agent in &mut agents {
            assert!(agent.wait_end().success(), "{}", meters.fleet.story(&campaign, &agent.name));
        }
        let ended = meters.fleet.wait_state(&campaign, CampaignState::Finished);
        assert_eq!(ended.classes[0].installed, 4, "{ended:#?}");
        for agent in &agents {
            assert_eq!(meters.fleet.show(&agent.name).index, 1);
            assert!(meters.fleet.alarms(&agent.name).is_empty());
        }
    }
}

fn slow_agent(meters: &Meters, name: &str) -> Agent {
    Agent::make_without_patches(&meters.fleet, name, "meter", "1.0", "microcontroller")
}

/// Kills the server once so many devices are that far, starts it again, and compares what it knows.
fn kill_when(meters: &mut Meters, campaign: &str, stage: DeviceOutcome, many: usize) {
    let far = |campaign: &Campaign| {
        campaign.devices.iter().filter(|device| rank(device.outcome) >= rank(stage)).count() >= many
    };
    let fleet = &meters.fleet;
    let look = || Some(fleet.campaign(campaign)).filter(far);
    let before =
        wait::until(&format!("{many} devices at {stage:?}"), wait::LONG, look, || fleet.server.tail());
    let indices: Vec<u16> = before.devices.iter().map(|device| fleet.show(&device.endpoint).index).collect();
    meters.fleet.kill_and_restart();
    let fleet = &meters.fleet;
    let after = fleet.campaign(campaign);
    for ((before, after), index) in before.devices.iter().zip(&after.devices).zip(indices) {
        assert_eq!(before.endpoint, after.endpoint);
        assert!(rank(after.outcome) >= rank(before.outcome), "{before:?} became {after:?}");
        assert!(fleet.show(&after.endpoint).index >= index, "{}", after.endpoint);
    }
}

/// Order in which a device that fares well comes through the outcomes.
fn rank(outcome: DeviceOutcome) -> usize {
    let way = [
        DeviceOutcome::Waiting,
        DeviceOutcome::Offered,
        DeviceOutcome::Granted,
        DeviceOutcome::Ready,
        DeviceOutcome::Installed,
    ];
    way.iter().position(|one| *one == outcome).unwrap_or_else(|| panic!("a device is {outcome:?}"))
}

#[test]
fn killed_server_acknowledged_nothing_that_it_forgot_to_many_devices_at_once() {
    for round in rounds() {
        let mut meters = Meters::new();
        let address = meters.fleet.server.coaps();
        let mut devices: Vec<_> = (0..8).map(|number| meters.device(&format!("meter-{number}"))).collect();
        let campaign = meters.launch();
        let (manifest, acknowledged) = (meters.manifest.digest, Arc::<AtomicUsize>::default());
        let threads: Vec<_> = devices
            .drain(..)
            .map(|device| {
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || go_through(device, address, &manifest, &acknowledged))
            })
            .collect();
        // Of 24 in all.
        for kill in [3, 9, 15, 21] {
            let enough = || (acknowledged.load(Ordering::SeqCst) >= kill + round % 4).then_some(());
            wait::until("acknowledgements", PERSISTENCE, enough, || meters.fleet.server.tail());
            meters.fleet.kill_and_restart();
        }
        for thread in threads {
            let (mut device, kept) = thread.join().expect("a device that came through");
            device.reconnect(address);
            for (bytes, receipt) in kept {
                assert_eq!(device.line.send_report(&bytes).payload, receipt);
            }
            let name = &device.identity.name;
            assert_eq!(meters.fleet.show(name).index, 1);
            assert!(meters.fleet.alarms(name).is_empty());
        }
        let ended = meters.fleet.wait_state(&campaign, CampaignState::Finished);
        assert_eq!(ended.classes[0].installed, 8, "{ended:#?}");
    }
}

/// Reports with the receipts that they got.
pub(super) type Kept = Vec<(Vec<u8>, Vec<u8>)>;

/// Goes from question to confirmation through whatever happens to the server.
pub(super) fn go_through(
    mut device: RawDevice,
    server: SocketAddr,
    manifest: &[u8; 32],
    acknowledged: &AtomicUsize,
) -> (RawDevice, Kept) {
    let request = device.identity.request(manifest, &Options::default());
    let answer = persist(&mut device, server, "/u", content_format::REQUEST, &request.bytes);
    acknowledged.fetch_add(1, Ordering::SeqCst);
    let said = device.identity.read(&request, &answer);
    let Said::Grant(granted) = said else {
        panic!("{} got no grant: {said:?}", device.identity.name);
    };
    let mut kept = Kept::new();
    for moment in [Moment::Decrypted, Moment::Installed] {
        let report = device.identity.report(&granted, moment);
        let receipt = persist(&mut device, server, "/u/r", content_format::REPORT, &report.bytes);
        device.identity.check_receipt(&report, &receipt.payload);
        acknowledged.fetch_add(1, Ordering::SeqCst);
        if moment == Moment::Installed {
            device.identity.confirm(&report);
        }
        kept.push((report.bytes, receipt.payload));
    }
    (device, kept)
}

/// Sends a message until it is answered, over as many sessions as it takes.
fn persist(device: &mut RawDevice, server: SocketAddr, path: &str, format: u16, body: &[u8]) -> Response {
    let what = format!("an answer to {}", device.identity.name);
    wait::until(
        &what,
        PERSISTENCE,
        || {
            let request = Request::new(Method::Post, path).with_payload(format, body.to_vec());
            match device.line.try_send(request) {
                Ok(response) if response.code == Code::CHANGED => Some(response),
                Ok(response) => panic!("{}: {response:?}", device.identity.name),
                Err(_) => {
                    if let Ok(again) = RawDevice::try_with(server, device.identity.clone()) {
                        *device = again;
                    }
                    None
                }
            }
        },
        String::new,
    )
}

/// What one answer takes at the most: five kills, each of which a device that had its request acknowledged notices only
/// after half a minute, with a start of the server and a session after it.
const PERSISTENCE: Duration = Duration::from_mins(5);
