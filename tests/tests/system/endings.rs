//! Campaigns come to their end, also where a device has nothing to say to them.

use std::path::PathBuf;

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_keys::unit::UnitData;
use bellwether_manifests::envelope::Envelope;
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::{Fleet, Manifest, VENDOR};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{RawDevice, Said};

/// A meter that was updated by a campaign of its own.
fn updated(meters: &Meters) -> RawDevice {
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
    meter
}

// Row 7: nothing.
#[test]
fn second_campaign_of_a_manifest_ends_for_a_device_that_has_it() {
    let meters = Meters::new();
    let mut meter = updated(&meters);
    let again = meters.launch();
    assert_eq!(meter.ask(&meters.manifest.digest), Said::Nothing);
    meters.fleet.wait_outcome(&again, "meter-1", DeviceOutcome::NothingToDo);
    meters.fleet.wait_state(&again, CampaignState::Finished);
}

// Row 7: already sent.
#[test]
fn second_campaign_of_a_manifest_ends_for_a_device_that_went_back() {
    let meters = Meters::new();
    let mut meter = updated(&meters);
    meter.identity.runs = images::digest(&meters.old);
    let again = meters.launch();
    assert!(matches!(meter.ask(&meters.manifest.digest), Said::Refused(ALREADY_SENT, _)));
    let track = meters.fleet.wait_outcome(&again, "meter-1", DeviceOutcome::Refused);
    assert!(track.reason.is_some_and(|reason| reason.contains("before")));
    meters.fleet.wait_state(&again, CampaignState::Finished);
}

#[test]
fn two_campaigns_of_a_manifest_both_end_with_the_device_that_runs_its_target() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meter.identity.runs = meters.new_digest();
    let campaigns = [meters.launch(), meters.launch()];
    assert_eq!(meter.ask(&meters.manifest.digest), Said::Nothing);
    for campaign in campaigns {
        meters.fleet.wait_state(&campaign, CampaignState::Finished);
    }
}

#[test]
fn report_counts_in_the_campaign_that_gave_the_grant() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let first = meters.launch();
    let cancelled = meters.launch();
    meters.fleet.cli.done(&format!("campaign cancel {cancelled}"));
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meters.fleet.wait_outcome(&first, "meter-1", DeviceOutcome::Installed);
    meters.fleet.wait_state(&first, CampaignState::Finished);
}

#[test]
fn device_that_does_not_believe_the_author_counts_as_failed() {
    let meters = Meters::new();
    let unit = unit_of_other_roots(&meters.fleet, "meter-1");
    let mut meter = Agent::flashed(&meters.fleet, &unit, ("meter-1", "meter", "1.0", "microcontroller"), &[]);
    let manifest = by_another_author(&meters);
    let campaign = meters.fleet.launch(&manifest, "");
    meter.switch_on(&[]);
    let track = meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Failed);
    assert!(track.reason.is_some_and(|reason| reason.contains("author")));
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
}

#[test]
fn device_comes_to_believe_a_new_author_by_the_anchors_that_replace_its_own() {
    let meters = Meters::new();
    let mut meter = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    let manifest = by_another_author(&meters);
    let campaign = meters.fleet.launch(&manifest, "");
    meter.switch_on(&[]);
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    meter.wait_status("the second edition", |status| status["anchors_edition"] == 2);
}

/// Enrols a device whose factory gave it anchors of other roots, which no edition of the server's can replace.
fn unit_of_other_roots(fleet: &Fleet, name: &str) -> PathBuf {
    let path = fleet.device(name, "meter");
    fleet.cli.done("keys new stranger.key");
    fleet.cli.done(&format!(
        "keys anchors --vendor {VENDOR} --root stranger.key --author author.pub --distributor distributor.pub \
         --out stranger.cose"
    ));
    let bytes = std::fs::read(&path).expect("the unit file");
    let anchors = std::fs::read(fleet.folder().join("stranger.cose")).expect("the anchors");
    let unit = UnitData { anchors: &anchors, ..UnitData::decode(&bytes).expect("unit data") };
    std::fs::write(&path, &*unit.encode().expect("encoded")).expect("written");
    path
}

#[test]
fn campaign_whose_author_is_believed_no_more_does_not_keep_others_waiting() {
    let mut meters = Meters::new();
    let unit = meters.fleet.device("meter-1", "meter");
    meters.launch();
    let manifest = by_another_author(&meters);
    // The manifest of the first campaign is verified anew, and refused.
    meters.fleet.kill_and_restart();
    let runs = images::digest(&meters.old);
    let _first = RawDevice::switch_on(meters.fleet.server.coaps(), &unit, "meter", runs);
    let mut second = meters.device("meter-2");
    meters.fleet.launch(&manifest, "--device meter-2");
    assert_eq!(second.line.manifest(), std::fs::read(&manifest.path).expect("the envelope"));
    assert!(matches!(second.ask(&manifest.digest), Said::Grant(_)));
}

/// Gives the server anchors with another author alone, and a manifest of that author's for version 2.0.
fn by_another_author(meters: &Meters) -> Manifest {
    let cli = &meters.fleet.cli;
    cli.done("keys new other.key");
    cli.done(&format!(
        "keys anchors --vendor {VENDOR} --edition 2 --root root.key --author other.pub \
         --distributor distributor.pub --out second.cose"
    ));
    cli.done("keys trust second.cose");
    let make = format!(
        "manifest make --vendor {VENDOR} --sequence 9 --image meter=meter-2.0.bin:2.0 --out other.suit"
    );
    cli.done(&make);
    cli.done("manifest sign other.suit --key other.key --out other-signed.suit");
    let path = meters.fleet.folder().join("other-signed.suit");
    let envelope = std::fs::read(&path).expect("the envelope");
    let digest = *Envelope::parse(&envelope).expect("an envelope").digest();
    Manifest { path, digest }
}

// Row 5.
#[test]
fn grant_is_given_again_after_a_base_was_published_that_would_make_a_delta() {
    let fleet = Fleet::start();
    let old = images::image(1, 24_000);
    fleet.release("meter", "2.0", &images::next_version(&old));
    let manifest = fleet.manifest(2, &[("meter", "2.0")]);
    let mut meter = fleet.raw("meter-1", "meter", &old);
    fleet.launch(&manifest, "");
    let first = meter.granted(&manifest.digest);
    assert!(!first.delta);
    fleet.release("meter", "1.0", &old);
    let again = meter.granted(&manifest.digest);
    assert_eq!((again.number, again.content, again.delta), (first.number, first.content, false));
    assert_eq!(images::digest(&meter.fetch(&again)), first.installed);
}

// Row 6.
#[test]
fn lost_or_damaged_content_is_made_anew_under_a_new_grant() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let address = meters.fleet.server.coaps();
    let mut granted = meter.granted(&meters.manifest.digest);
    let spoil: [fn(&std::path::Path); 2] = [
        |file| std::fs::write(file, b"rotten").expect("written"),
        |file| std::fs::remove_file(file).expect("removed"),
    ];
    for spoil in spoil {
        let name = hex::encode(granted.content);
        spoil(&meters.fleet.server.data().join("images").join(&name[..2]).join(&name));
        meters.fleet.kill_and_restart();
        meter.reconnect(address);
        assert_eq!(meter.line.block(&granted.location, 0).code, Code::NOT_FOUND);
        let next = meter.granted(&meters.manifest.digest);
        assert!(next.number > granted.number && next.content != granted.content);
        assert!(meter.fetch(&next).len() > 100);
        granted = next;
    }
}

#[test]
fn image_of_a_halted_campaign_is_not_started() {
    let meters = Meters::new();
    let mut devices: Vec<_> = (1..=2).map(|number| meters.device(&format!("meter-{number}"))).collect();
    let campaign = meters.fleet.launch(&meters.manifest, "--abort-at 0 --abort-after 1");
    let granted: Vec<_> = devices.iter_mut().map(|device| device.granted(&meters.manifest.digest)).collect();
    let failed = devices[0].identity.report(&granted[0], Moment::Failed);
    devices[0].report(&failed);
    meters.fleet.wait_state(&campaign, CampaignState::Halted);
    let decrypted = devices[1].identity.report(&granted[1], Moment::Decrypted);
    devices[1].report(&decrypted);
    // An Execute would leave before the answers to these.
    for _ in 0..2 {
        devices[1].line.register("meter-2");
    }
    assert_eq!(devices[1].line.heard().executes, 0);
}

/// Number of a refusal on the wire.
const ALREADY_SENT: i64 = 2;
