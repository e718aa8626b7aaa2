//! Devices in bulk: lists that are enrolled whole or not at all, and unit files that are handed out until they were
//! received.

use std::os::unix::fs::PermissionsExt;

use bellwether_api::{Device, EventPage, ImportState, UnitPage};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::raw_device::RawDevice;
use serde_json::{Value, json};

fn list(lines: &[&str]) -> Vec<u8> {
    let header = "\u{feff}endpoint,class,tags,chain_length";
    let mut list = [&[header], lines].concat().join("\r\n");
    list.push_str("\r\n");
    list.into_bytes()
}

#[test]
fn devices_of_a_list_are_enrolled_and_their_unit_files_work() {
    let fleet = Fleet::start();
    fleet.put("fleet.csv", &list(&["lamp-1,lamp,roof ring=1,64", "\"lamp-2\",lamp,,", "m/3,meter,roof,"]));
    let dry: Value = fleet.cli.json("device import fleet.csv --dry-run");
    assert_eq!((&dry["devices"], &dry["dry_run"]), (&json!(3), &json!(true)));
    assert!(fleet.cli.json::<Vec<Device>>("device list").is_empty());
    let done: Value = fleet.cli.json("device import fleet.csv --units units");
    assert_eq!((&done["devices"], &done["unit_files"]), (&json!(3), &json!(3)));

    let units = fleet.folder().join("units");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&units), mode(&units.join("lamp-1.unit"))), (0o700, 0o600));
    assert!(units.join("m%2F3.unit").exists());
    let device = RawDevice::switch_on(
        fleet.server.coaps(),
        &units.join("lamp-1.unit"),
        "lamp",
        images::digest(b"anything"),
    );
    drop(device);
    assert_eq!(fleet.show("lamp-1").tags, ["ring=1", "roof"]);
    let told: EventPage = fleet.server.http().read("/v1/events?endpoint=lamp-2");
    assert_eq!(told.events[0].kind, "device_enrolled");

    let again: Value = fleet.cli.json("device import fleet.csv --units units");
    assert_eq!(again["unit_files"], json!(0), "handed out twice");
    let exported = fleet.cli.done("device export");
    let expected = "endpoint,class,security,gateway,chain_length,tags\nlamp-1,lamp,psk,,64,ring=1 roof\n\
                    lamp-2,lamp,psk,,1024,\nm/3,meter,psk,,1024,roof\n";
    assert_eq!(exported.trim_end(), expected.trim_end());
    let roof = fleet.cli.done("device export --format jsonl --tag roof");
    assert_eq!(roof.trim_end().lines().count(), 2, "{roof}");
}

#[test]
fn list_with_a_bad_line_is_named_and_enrols_nobody() {
    let fleet = Fleet::start();
    fleet.enrol("lamp-taken", "lamp");
    for (line, part) in [
        ("lamp-taken,lamp,,", "line 3: a device or a gateway named lamp-taken is enrolled already"),
        ("a b,lamp,,", "line 3: \"a b\": an endpoint name holds a control character or a blank"),
        ("lamp-3,lamp,<script>,", "line 3: tags: a tag holds '<'"),
        ("lamp-3,lamp,,9999", "line 3: chain_length: "),
        ("lamp-2,lamp,,", "line 3: lamp-2 stands in line 2 already"),
        ("lamp-3", "line 3: has 1 fields, the header has 4"),
    ] {
        fleet.put("bad.csv", &list(&["lamp-2,lamp,,", line]));
        let said = fleet.cli.refused("device import bad.csv");
        assert!(said.contains("nothing was imported") && said.contains(part), "{said}");
    }
    let devices: Vec<Device> = fleet.cli.json("device list");
    assert_eq!(devices.len(), 1);
}

#[test]
fn import_that_broke_off_goes_on_and_hands_out_nothing_that_was_received() {
    let mut fleet = Fleet::start();
    let content = "ab".repeat(32);
    let row =
        |line: u64| json!({"line": line, "device": {"endpoint": format!("lamp-{line}"), "class": "lamp"}});
    let stage = |fleet: &Fleet, line| {
        let body = json!({"content": content, "lines": 3, "rows": [row(line)]});
        fleet.server.http().put("/v1/imports/spring/rows", &body)
    };
    let beyond = stage(&fleet, u64::MAX);
    assert!(beyond.status == 400 && beyond.body.contains("line: at most"), "{beyond:?}");
    for line in [2, 3] {
        assert_eq!(stage(&fleet, line).status, 200);
    }
    fleet.kill_and_restart();
    let import: ImportState = fleet.server.http().read("/v1/imports/spring");
    assert_eq!((import.staged, import.staged_to, import.committed), (2, 3, None));
    let early = fleet.server.http().post("/v1/imports/spring/commit", &json!({}));
    assert_eq!(early.status, 409, "{}", early.body);
    assert_eq!(stage(&fleet, 4).status, 200);
    for _ in 0..2 {
        let committed = fleet.server.http().post("/v1/imports/spring/commit", &json!({}));
        assert_eq!(committed.status, 200, "{}", committed.body);
    }

    let units =
        |fleet: &Fleet| fleet.server.http().read::<UnitPage>("/v1/imports/spring/units?limit=2").units;
    let first = units(&fleet);
    assert_eq!(first.iter().map(|one| one.endpoint.as_str()).collect::<Vec<_>>(), ["lamp-2", "lamp-3"]);
    fleet.kill_and_restart();
    let again = units(&fleet);
    assert!(first.iter().zip(&again).all(|(one, other)| one.unit == other.unit), "another unit file");
    let received = fleet.server.http().post("/v1/imports/spring/received", &json!({"up_to": 3}));
    assert_eq!(received.json::<ImportState>().due, 1);
    fleet.kill_and_restart();
    let last = units(&fleet);
    assert_eq!(last.iter().map(|one| one.endpoint.as_str()).collect::<Vec<_>>(), ["lamp-4"]);
    let other = json!({"content": "cd".repeat(32), "lines": 1, "rows": [row(9)]});
    let refused = fleet.server.http().put("/v1/imports/spring/rows", &other);
    assert_eq!(refused.status, 409, "{}", refused.body);
}
