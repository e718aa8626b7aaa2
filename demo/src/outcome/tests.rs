use super::*;
use crate::row::{Asked, Traffic};

fn image(version: &str) -> Image {
    Image { version: version.to_owned(), digest: format!("digest of {version}") }
}

fn row(device: &str, ran: &str, runs: &str, got: Option<Got>, served: Served) -> Row {
    Row {
        device: device.to_owned(),
        ran: image(ran),
        asked: Asked { requests: 1, index: Some(0) },
        got,
        served,
        traffic: Traffic::default(),
        is_plain: false,
        runs: image(runs),
        said: None,
        refused: false,
        result: 1,
        why_not: None,
    }
}

fn delta(from: &str) -> Got {
    Got::Delta { base: image(from), bytes: 12, of: None }
}

fn wanted(device: &str, got: ExpectedGot, served: Served, runs: &str, end: End) -> ExpectedRow {
    ExpectedRow { device: device.to_owned(), got, served, runs: image(runs), says: None, end }
}

const LAMP_SAYS: &str = "lamp firmware 2.0.0 shines";

fn expected() -> Expected {
    let from = |version| ExpectedGot::DeltaFrom(image(version));
    let lamp = wanted("lamp-1", ExpectedGot::Full, Served::Server, "2.0.0", End::Installed);
    let copy = End::CopyOf("meter-1".to_owned());
    Expected {
        rows: vec![
            ExpectedRow { says: Some(LAMP_SAYS.to_owned()), ..lamp },
            wanted("meter-1", from("1.0"), Served::Server, "1.1", End::Installed),
            wanted("meter-1′", ExpectedGot::Nothing, Served::Nobody, "1.0", copy),
            wanted("meter-2", from("1.0"), Served::Gateway, "1.1", End::Installed),
            wanted("meter-3", from("1.0"), Served::Gateway, "1.1", End::Installed),
            wanted("meter-4", from("0.9"), Served::GatewayAlone, "1.1", End::Installed),
            wanted("valve-1", ExpectedGot::Nothing, Served::Nobody, "1.0", End::NotForIt),
        ],
        gateway: "gateway-1".to_owned(),
    }
}

fn frames(root: &str, frames: u64, sent: &[(&str, u64)]) -> FrameCount {
    let sent = sent.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    FrameCount { root: root.to_owned(), frames, sent }
}

fn track(device: &str, outcome: DeviceOutcome) -> CampaignDevice {
    CampaignDevice {
        endpoint: device.to_owned(),
        class: "meter".to_owned(),
        outcome,
        got: None,
        reason: None,
    }
}

fn good() -> Outcome {
    let lamp = row("lamp-1", "1.0.0", "2.0.0", Some(Got::Full { bytes: 9 }), Served::Server);
    let copy = row("meter-1′", "1.0", "1.0", None, Served::Nobody);
    let valve = row("valve-1", "1.0", "1.0", None, Served::Nobody);
    let installed = ["lamp-1", "meter-1", "meter-2", "meter-3", "meter-4"];
    let installed = installed.map(|device| track(device, DeviceOutcome::Installed));
    Outcome {
        rows: vec![
            Row { said: Some(LAMP_SAYS.to_owned()), ..lamp },
            row("meter-1", "1.0", "1.1", Some(delta("1.0")), Served::Server),
            Row {
                asked: Asked { requests: 2, index: Some(0) },
                refused: true,
                why_not: Some("refused".to_owned()),
                ..copy
            },
            row("meter-2", "1.0", "1.1", Some(delta("1.0")), Served::Gateway),
            row("meter-3", "1.0", "1.1", Some(delta("1.0")), Served::Gateway),
            row("meter-4", "0.9", "1.1", Some(delta("0.9")), Served::GatewayAlone),
            Row {
                asked: Asked { requests: 0, index: None },
                result: 6,
                why_not: Some("no such class".to_owned()),
                ..valve
            },
        ],
        alarms: vec![(CLONE.to_owned(), "meter-1".to_owned())],
        campaign: installed.into_iter().chain([track("valve-1", DeviceOutcome::Failed)]).collect(),
        frames: vec![
            frames("aa", 30, &[("lamp-1", 30)]),
            frames("bb", 12, &[("gateway-1", 12), ("meter-1", 12)]),
            frames("cc", 14, &[("gateway-1", 14)]),
        ],
        away: Away {
            device: "meter-4".to_owned(),
            ran: image("1.1"),
            registered: false,
            reports_waiting: 1,
            index_known: 0,
            passed_before: Counts { up: 7, down: 8, lost: 0, ..Counts::default() },
            passed_after: Counts { up: 7, down: 8, lost: 5, ..Counts::default() },
        },
    }
}

/// Gives what is found after one thing went otherwise.
fn faults_after(change: impl FnOnce(&mut Outcome)) -> Vec<String> {
    let mut outcome = good();
    change(&mut outcome);
    outcome.faults(&expected())
}

#[test]
fn outcome_as_it_must_be_has_no_faults() {
    assert_eq!(good().faults(&expected()), Vec::<String>::new());
}

#[test]
fn lamp_must_have_a_full_image_run_it_and_say_so_itself() {
    assert_eq!(faults_after(|it| it.rows[0].got = Some(delta("x"))).len(), 1);
    assert_eq!(
        faults_after(|it| it.rows[0].runs = image("1.0.0")),
        ["lamp-1 must run 2.0.0, and runs 1.0.0"]
    );
    assert_eq!(faults_after(|it| it.rows[0].said = None).len(), 1);
    assert_eq!(faults_after(|it| it.rows[0].said = Some("lamp firmware 1.0.0 shines".to_owned())).len(), 1);
    assert_eq!(faults_after(|it| it.rows[0].why_not = Some("rolled back".to_owned())).len(), 1);
}

#[test]
fn meters_must_have_a_delta_from_what_they_ran() {
    assert_eq!(
        faults_after(|it| it.rows[1].got = Some(delta("0.9"))),
        ["meter-1 must have got a delta from 1.0"]
    );
    assert_eq!(faults_after(|it| it.rows[5].got = Some(Got::Full { bytes: 1 })).len(), 1);
    assert_eq!(faults_after(|it| it.rows[3].runs = image("1.0")).len(), 1);
}

#[test]
fn device_that_has_no_row_or_that_the_campaign_does_not_hold_updated_is_a_fault() {
    let not_installed = ["meter-1 must stand as installed in the campaign"];
    assert_eq!(faults_after(|it| it.campaign[1].outcome = DeviceOutcome::Ready), not_installed);
    assert_eq!(faults_after(|it| drop(it.rows.remove(4))), ["meter-3 has no row"]);
}

#[test]
fn copy_must_be_refused_without_a_grant_and_raise_an_alarm() {
    assert_eq!(faults_after(|it| it.rows[2].got = Some(Got::Full { bytes: 1 })).len(), 1);
    assert_eq!(faults_after(|it| it.rows[2].refused = false).len(), 1);
    assert_eq!(faults_after(|it| it.rows[2].asked.requests = 1).len(), 1);
    assert_eq!(faults_after(|it| it.rows[2].runs = image("1.1")).len(), 1);
    assert_eq!(faults_after(|it| it.alarms.clear()).len(), 1);
    assert_eq!(faults_after(|it| it.alarms[0].1 = "lamp-1".to_owned()).len(), 1);
    assert_eq!(faults_after(|it| it.alarms[0].0 = "unknown identity".to_owned()).len(), 1);
}

#[test]
fn valve_must_ask_nothing_and_say_why_with_update_result_6() {
    assert_eq!(faults_after(|it| it.rows[6].asked.requests = 1).len(), 1);
    assert_eq!(faults_after(|it| it.rows[6].result = 5).len(), 1);
    assert_eq!(faults_after(|it| it.rows[6].why_not = None).len(), 1);
    assert_eq!(faults_after(|it| it.campaign[5].outcome = DeviceOutcome::Offered).len(), 1);
}

#[test]
fn frames_must_have_left_the_server_once_for_the_gateway() {
    let twice = faults_after(|it| {
        it.frames[1].sent.insert("gateway-1".to_owned(), 24);
    });
    assert_eq!(twice, ["24 frames of bb left for gateway-1, which has 12"]);
    assert_eq!(faults_after(|it| drop(it.frames.pop())).len(), 1);
    let told = good().frames_told(&expected());
    assert_eq!(
        told.first().map(String::as_str),
        Some("Frames: bb has 12; 12 left the server for gateway-1.")
    );
    assert_eq!(told.len(), 2);
}

#[test]
fn device_must_be_served_by_whom_it_is_said_to_be() {
    assert_eq!(faults_after(|it| it.rows[3].served = Served::Server).len(), 1);
    assert_eq!(faults_after(|it| it.rows[5].served = Served::Gateway).len(), 1);
}

#[test]
fn server_must_have_been_away_while_the_gateway_served_alone() {
    assert_eq!(faults_after(|it| it.away.ran = image("0.9")).len(), 1);
    assert_eq!(faults_after(|it| it.away.registered = true).len(), 1);
    assert_eq!(faults_after(|it| it.away.reports_waiting = 0).len(), 1);
    assert_eq!(faults_after(|it| it.away.index_known = 1).len(), 1);
    assert_eq!(faults_after(|it| it.away.passed_after.down = 9).len(), 1);
}

#[test]
fn table_has_a_row_for_each_device() {
    let table = good().table();
    for row in &expected().rows {
        assert!(table.contains(&row.device), "{table}");
    }
    assert!(table.contains("server away"), "{table}");
}
