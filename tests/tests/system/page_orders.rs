//! What the page lets operators do to devices and releases, and nobody else.

use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::RawDevice;

use super::page::{Visit, location, watch_token};

#[test]
fn device_is_found_by_its_tag_and_given_up_only_by_who_means_it_and_may() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let _device = meters.device("meter-1");
    fleet.enrol("meter-2", "meter");
    fleet.cli.done("device tag add roof meter-1");
    fleet.cli.done("device tag add ring=1 meter-1");
    let visit = Visit::logged_in(fleet, &fleet.server.token());
    let roof = visit.get("/fleet?tag=roof").body;
    assert!(roof.contains("/devices/meter-1") && !roof.contains("/devices/meter-2"), "{roof}");
    assert!(roof.contains("href=\"/fleet?tag=ring%3D1\""), "{roof}");
    assert!(visit.get("/fleet?tag=roof&q=meter-2").body.contains("has the tag “roof”"));
    assert_eq!(visit.get("/fleet?tag=no%20tag").status, 400);
    assert!(visit.get("/devices/meter-1").body.contains("href=\"/fleet?tag=roof\""));

    let path = "/devices/meter-1/decommission";
    let give_up = |visit: &Visit, token: &str, sure: &str, headers: &[(&str, &str)]| {
        let form = [("form_token", token), ("request_id", "p-1"), ("why", "scrapped"), ("sure", sure)];
        visit.post(path, &form, headers)
    };
    let reader = Visit::logged_in(fleet, &watch_token(fleet));
    assert!(!reader.get("/devices/meter-1").body.contains("decommission"));
    let refused = give_up(&reader, &reader.form_token("/devices/meter-1"), "yes", &[]);
    assert!(refused.status == 403 && refused.body.contains("only reads"), "{}", refused.body);
    let token = visit.form_token("/devices/meter-1");
    for refused in [
        give_up(&visit, "", "yes", &[]),
        give_up(&visit, &token, "yes", &[("origin", "http://evil.example")]),
    ] {
        assert_eq!(refused.status, 403, "{}", refused.body);
    }
    let unsure = give_up(&visit, &token, "", &[]);
    assert!(unsure.status == 400 && unsure.body.contains("tick the box"), "{}", unsure.body);
    assert_eq!(fleet.show("meter-1").decommissioned, None);

    let done = give_up(&visit, &token, "yes", &[]);
    assert_eq!((done.status.as_u16(), location(&done)), (303, "/devices/meter-1"), "{}", done.body);
    assert!(fleet.show("meter-1").decommissioned.is_some());
    let gone = visit.get("/devices/meter-1").body;
    assert!(gone.contains("decommissioned") && !gone.contains(path), "{gone}");
    assert!(visit.get("/fleet?q=meter-1").body.contains("decommissioned"));
    let acts = fleet.server.http().get("/v1/events?endpoint=meter-1").body;
    assert!(acts.contains("\"who\":\"kim\"") && acts.contains("scrapped"), "{acts}");
}

#[test]
fn release_is_recalled_and_reinstated_by_who_may_and_its_page_tells_who_runs_it() {
    let meters = Meters::new();
    let fleet = &meters.fleet;
    let unit = fleet.device("meter-1", "meter");
    let old = images::digest(&meters.old);
    let _device = RawDevice::telling(fleet.server.coaps(), &unit, "meter", old);
    fleet.wait_told("meter-1");
    fleet.cli.done("device tag add roof meter-1");
    let visit = Visit::logged_in(fleet, &fleet.server.token());
    assert!(visit.get("/releases").body.contains("href=\"/releases/meter/app/1.0\""));
    let page = visit.get("/releases/meter/app/1.0").body;
    assert!(page.contains("1 device, by what") && page.contains("/devices/meter-1"), "{page}");
    assert_eq!(visit.get("/releases/meter/app/9.0").status, 404);

    let order = |visit: &Visit, token: &str, order: &str, id: &str| {
        let form = [("form_token", token), ("request_id", id), ("why", "flickers")];
        visit.post(&format!("/releases/meter/app/2.0/{order}"), &form, &[])
    };
    let reader = Visit::logged_in(fleet, &watch_token(fleet));
    assert!(!reader.get("/releases/meter/app/2.0").body.contains("/recall"));
    let refused = order(&reader, &reader.form_token("/devices/meter-1"), "recall", "p-1");
    assert!(refused.status == 403 && refused.body.contains("only reads"), "{}", refused.body);
    let token = visit.form_token("/releases/meter/app/2.0");
    assert_eq!(order(&visit, "wrong", "recall", "p-2").status, 403);
    assert_eq!(order(&visit, &token, "who-runs", "p-2").status, 404);
    let done = order(&visit, &token, "recall", "p-2");
    assert_eq!((done.status.as_u16(), location(&done)), (303, "/releases/meter/app/2.0"), "{}", done.body);
    let page = visit.get("/releases/meter/app/2.0").body;
    assert!(page.contains(": flickers. Nobody gets it any more.") && page.contains("/reinstate"), "{page}");
    assert!(visit.get("/releases").body.contains("recalled"));
    assert_eq!(order(&visit, &token, "reinstate", "p-3").status, 303);
    assert!(!visit.get("/releases/meter/app/2.0").body.contains("flickers"));

    fleet.cli.done(&format!("manifest publish {}", meters.manifest.path.display()));
    let digest = hex::encode(meters.manifest.digest);
    let launch = |tags: &str, id: &str| {
        let form = [("form_token", token.as_str()), ("request_id", id), ("tags", tags)];
        visit.post(&format!("/manifests/{digest}/launch"), &form, &[])
    };
    assert_eq!(launch("cellar", "p-4").status, 400);
    let launched = launch("roof", "p-5");
    assert_eq!((launched.status.as_u16(), location(&launched)), (303, "/campaigns/1"), "{}", launched.body);
    assert_eq!(fleet.campaign("1").devices.len(), 1);
}
