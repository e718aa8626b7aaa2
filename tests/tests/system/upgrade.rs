//! What a release before this one has left, taken over: `fixtures/schema-7.tar.gz`, made by `examples/released_data.rs`.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use bellwether_api::{CampaignPage, CampaignState, Device, DeviceOutcome};
use bellwether_store::conformance::instance::Instance;
use bellwether_store::{PostgresStore, SqliteStore};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::wait;
use tempfile::TempDir;

use super::page::Visit;

/// The devices of the archive know one address of their server, so one test at a time has it.
static ADDRESS: Mutex<()> = Mutex::new(());

fn unpacked() -> TempDir {
    let folder = Fleet::new_folder();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/schema-7.tar.gz");
    let mut command = Command::new("tar");
    command.args(["--extract", "--preserve-permissions", "--no-same-owner", "--file"]).arg(archive);
    let status = command.arg("--directory").arg(folder.path()).status().expect("tar runs");
    assert!(status.success(), "the archive can't be unpacked");
    folder
}

/// The campaign of the archive goes on, its devices are served, and the next campaign reaches them all.
fn goes_on(fleet: &Fleet) {
    let page: CampaignPage = fleet.server.http().read("/v1/campaigns");
    let campaign = &page.campaigns.first().expect("the campaign of before").id;
    assert_eq!(fleet.campaign(campaign).state, CampaignState::Running);
    assert_eq!(fleet.track(campaign, "meter-1").outcome, DeviceOutcome::Installed);
    let devices: Vec<Device> = fleet.server.http().read("/v1/devices");
    let names: Vec<&str> = devices.iter().map(|device| device.endpoint.as_str()).collect();
    assert_eq!(names, ["meter-1", "meter-2", "meter-3"]);
    shows_what_ran(fleet);

    let mut late = Agent::kept(fleet.folder(), "meter-2");
    late.switch_on(&[]);
    fleet.wait_outcome(campaign, "meter-2", DeviceOutcome::Installed);
    fleet.wait_state(campaign, CampaignState::Finished);

    let mut early = Agent::kept(fleet.folder(), "meter-1");
    early.switch_on(&[]);
    fleet.release("meter", "3.0", &images::image(3, 3_000));
    let manifest = fleet.manifest(3, &[("meter", "3.0")]);
    let next = fleet.launch(&manifest, "--device meter-1 --device meter-2");
    for name in ["meter-1", "meter-2"] {
        fleet.wait_outcome(&next, name, DeviceOutcome::Installed);
        assert!(fleet.alarm_kinds(name).is_empty(), "{:?}", fleet.alarms(name));
    }
    assert!(!fleet.server.said().contains("panicked"), "{}", fleet.server.tail());
}

/// The page shows what devices ran before any of them has spoken to this server: the ledger of before tells it.
fn shows_what_ran(fleet: &Fleet) {
    let visit = Visit::logged_in(fleet, &fleet.server.token());
    let figures = || visit.get("/fleet/figures").body;
    let look = || figures().contains("2.0: 1 now").then_some(());
    wait::until("the version that was installed before", wait::LONG, look, figures);
}

/// Whether the server says that it brought the schema up to date, exactly where there is a newer one.
fn told_of(fleet: &Fleet, from: i64, known: i64) {
    let said = fleet.server.said();
    let told = said.contains(&format!("from schema {from} to {known}"));
    assert_eq!(told, known > from, "{said}");
}

#[test]
fn data_folder_of_an_earlier_release_is_taken_over_and_its_campaign_goes_on() {
    let _alone = ADDRESS.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = unpacked();
    let database = folder.path().join("server/bellwether.db");
    let before = wait::soon("the schema", SqliteStore::schema(&database)).expect("a database of ours");
    assert_eq!(before.found, Some(7));
    let mut fleet = Fleet::resume(folder, &["--coaps", COAPS]);
    told_of(&fleet, 7, before.known);
    goes_on(&fleet);
    assert!(fleet.server.stop().success());
    let after = wait::soon("the schema", SqliteStore::schema(&database)).expect("a database of ours");
    assert_eq!(after.found, Some(after.known));
}

#[test]
fn data_base_of_an_earlier_release_is_taken_over_and_its_campaign_goes_on() {
    let _alone = ADDRESS.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, instance) = (unpacked(), Instance::start(false));
    let url = instance.database();
    let text = std::fs::read_to_string(folder.path().join("postgres.sql")).expect("the data base as text");
    instance.sql(url.rsplit('/').next().expect("a name"), &text);
    std::fs::remove_file(folder.path().join("server/bellwether.db")).expect("removed");
    let before = wait::soon("the schema", PostgresStore::schema(&url)).expect("a data base of ours");
    assert_eq!(before.found, Some(1));
    let fleet = Fleet::resume(folder, &["--coaps", COAPS, "--store", &url]);
    told_of(&fleet, 1, before.known);
    goes_on(&fleet);
}

/// Where the devices of the archive call.
const COAPS: &str = "127.83.7.1:5684";
