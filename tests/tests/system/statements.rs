//! What lists of the fleet and campaigns ask of the data base: as many statements for a hundred devices as for a few, and
//! for the numbers of a campaign none of its devices.

use std::collections::BTreeSet;

use bellwether_api::{Campaign, CampaignExplanation, CampaignPage, CampaignState, DevicePage};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::RawDevice;
use serde_json::json;

/// A fleet of meters whose server says each statement that it makes; all but one are away.
fn told_of(devices: usize) -> (Meters, RawDevice) {
    let meters = Meters::on(Fleet::start_with(&["--log", "info,sqlx::query=debug"]), 2_000);
    let lines = (0..devices).map(|number| format!("away-{number:04},meter,roof\n"));
    let list: String = std::iter::once("endpoint,class,tags\n".to_owned()).chain(lines).collect();
    meters.fleet.put("fleet.csv", list.as_bytes());
    meters.fleet.cli.done("device import fleet.csv --units units");
    let device = meters.device("here-1");
    (meters, device)
}

/// The statements that a server has said since it had said so much.
fn said_since(fleet: &Fleet, before: usize) -> Vec<String> {
    let said = fleet.server.said();
    let lines = said[before..].lines().filter(|line| line.contains("sqlx::query"));
    lines.map(str::to_owned).collect()
}

/// How many statements name one of these tables, made while something is done.
fn count<T>(fleet: &Fleet, tables: &[&str], act: impl FnOnce() -> T) -> (T, usize) {
    let before = fleet.server.said().len();
    let done = act();
    let said = said_since(fleet, before);
    let names = |line: &&String| tables.iter().any(|table| line.contains(&format!("FROM {table} ")));
    (done, said.iter().filter(names).count())
}

/// Rows that statements about a table gave, by what they say themselves.
fn rows(lines: &[String], table: &str) -> u64 {
    let of_table = lines.iter().filter(|line| line.contains(&format!("FROM {table} ")));
    let rows = of_table
        .filter_map(|line| line.split_once("rows_returned=")?.1.split(' ').next()?.parse::<u64>().ok());
    rows.sum()
}

#[test]
fn page_of_devices_is_read_in_as_many_statements_however_long_it_is() {
    let (meters, _device) = told_of(120);
    let of_devices = ["device", "identity", "contact", "device_tag", "running", "release"];
    let list = |limit: u32| {
        let asked = json!({"limit": limit});
        count(&meters.fleet, &of_devices, || {
            let page: DevicePage =
                meters.fleet.server.http().post("/v1/commands/devices/list", &asked).json();
            assert_eq!(page.devices.len(), limit as usize);
            assert_eq!(page.devices[0].tags, ["roof"]);
        })
        .1
    };
    let (few, many) = (list(2), list(120));
    assert!(few > 0 && many <= few, "{few} statements for 2 devices, {many} for 120");
    assert!(many <= STATEMENTS_MAX, "{many}");
}

#[test]
fn numbers_of_a_campaign_are_told_without_a_look_at_its_devices() {
    let (meters, _device) = told_of(60);
    let fleet = &meters.fleet;
    let id = meters.launch();
    let targeted = |campaign: &Campaign| campaign.classes.iter().map(|class| class.targeted).sum::<u64>();
    // The campaign itself looks at those that wait; so nothing else is at work while it is paused.
    fleet.cli.done(&format!("campaign pause {id}"));
    fleet.wait_state(&id, CampaignState::Paused);
    let (page, looked) =
        count(fleet, &["track"], || fleet.server.http().read::<CampaignPage>("/v1/campaigns"));
    assert_eq!((targeted(&page.campaigns[0]), looked), (61, 0));

    let before = fleet.server.said().len();
    let first: Campaign = fleet.server.http().read(&format!("/v1/campaigns/{id}?limit=10"));
    assert_eq!((targeted(&first), first.devices.len(), first.next.is_some()), (61, 10, true));
    assert_eq!(rows(&said_since(fleet, before), "track"), 10);

    let mut names: BTreeSet<String> = first.devices.into_iter().map(|one| one.endpoint).collect();
    let mut next = first.next;
    while let Some(after) = next {
        let page: Campaign = fleet.server.http().read(&format!("/v1/campaigns/{id}?limit=10&after={after}"));
        names.extend(page.devices.into_iter().map(|one| one.endpoint));
        next = page.next;
    }
    assert_eq!(names.len(), 61, "pages leave somebody out");

    let asked = json!({"campaign": id, "limit": 5});
    let told: CampaignExplanation = fleet.server.http().post("/v1/commands/campaigns/explain", &asked).json();
    assert_eq!((told.devices.len(), told.next.is_some()), (5, true));
    assert!(told.lines.iter().any(|line| line.contains("of 61 device(s)")), "{:?}", told.lines);
}

#[test]
fn campaign_that_waits_for_devices_that_are_away_looks_at_few_rows_a_second() {
    let (meters, mut device) = told_of(60);
    let fleet = &meters.fleet;
    let id = fleet.launch(&meters.manifest, "--at-most 1");
    device.granted(&meters.manifest.digest);
    let before = fleet.server.said().len();
    // Reports of the one that is here wake the campaign again and again, and there is no room for another one.
    for _ in 0..20 {
        device.ask(&meters.manifest.digest);
    }
    let looked_at = rows(&said_since(fleet, before), "track");
    assert!(looked_at < 60, "{looked_at} rows were read, though nobody else could be offered anything");
    assert_eq!(fleet.campaign(&id).state, CampaignState::Running);
}

/// Device rows, tags, states, contacts, images, releases of images, their versions, and what silent ones asked from.
const STATEMENTS_MAX: usize = 8;
