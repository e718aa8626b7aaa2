//! The real server and a gateway that says what it is told to: whom it speaks for, what it is given, what is taken back.

use std::path::PathBuf;

use bellwether_api::{CampaignState, Device, DeviceOutcome, Explanation, FrameCount, Gateway, Health};
use bellwether_manifests::link::HintKind;
use bellwether_manifests::message::{Moment, content_format};
use bellwether_net::coap::{Code, Method, Request};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Identity, Line, Options, RawDevice, Said};
use bellwether_tests::raw_gateway::RawGateway;
use bellwether_tests::wait;

/// A fleet with an enrolled gateway that is switched on.
fn with_gateway() -> (Meters, RawGateway) {
    let meters = Meters::new();
    let gateway = enrolled(&meters, "gw-1");
    (meters, gateway)
}

fn enrolled(meters: &Meters, name: &str) -> RawGateway {
    let line = format!("gateway add {name} --uri coaps://127.0.0.1:5999 --out {name}.unit");
    meters.fleet.cli.done(&line);
    RawGateway::switch_on(meters.fleet.server.coaps(), &unit(meters, name))
}

fn unit(meters: &Meters, name: &str) -> PathBuf {
    meters.fleet.folder().join(format!("{name}.unit"))
}

/// A meter behind the gateway, registered, that told its answers: a campaign that is launched now sends one bundle, and
/// not another one when it has been heard.
fn telling(meters: &Meters, name: &str) -> RawDevice {
    let unit = meters.fleet.device_behind(name, "meter", "gw-1");
    let meter = RawDevice::telling(meters.fleet.server.coaps(), &unit, "meter", images::digest(&meters.old));
    meters.fleet.wait_told(name);
    meter
}

/// A meter behind the gateway that was never switched on.
fn silent(meters: &Meters, name: &str) -> Identity {
    let unit = meters.fleet.device_behind(name, "meter", "gw-1");
    Identity::from_factory(&unit, "meter", images::digest(&meters.old))
}

#[test]
fn story_of_a_device_says_that_it_is_registered_and_that_its_gateway_is_here() {
    let (meters, gateway) = with_gateway();
    let _meter = telling(&meters, "meter-1");
    assert_eq!(gateway.here().code, Code::CHANGED);
    let story: Explanation = meters.fleet.cli.json("device explain meter-1");
    let says = |words: &str| story.standing.iter().any(|line| line.contains(words));
    assert!(says("it is registered, from 127.0.0.1:"), "{story:#?}");
    assert!(says("its gateway gw-1 is here"), "{story:#?}");
}

#[test]
fn gateway_has_the_keys_of_its_links_and_no_device_may_act_as_one() {
    let (meters, gateway) = with_gateway();
    let meter = silent(&meters, "meter-1");
    meters.fleet.device("meter-2", "meter");
    assert_eq!(gateway.children(), [("meter-1".to_owned(), meter.link_psk())]);
    assert_ne!(meter.link_psk(), meter.psk());
    let device = meters.device("meter-3");
    for (method, path) in [(Method::Post, "/g"), (Method::Get, "/g/c"), (Method::Post, "/g/t")] {
        let code = device.line.send(Request::new(method, path)).code;
        assert_eq!(code.class(), 4, "{path}: {code}");
    }
    assert_eq!(gateway.line.try_register("gw-1", b"</>;rt=\"oma.lwm2m\",</5/0>").code, Code::FORBIDDEN);
    assert_eq!(gateway.line.try_register("meter-1", b"</>;rt=\"oma.lwm2m\",</5/0>").code, Code::FORBIDDEN);
}

#[test]
fn gateway_is_told_when_its_list_changes_and_reads_it_only_then() {
    let (meters, gateway) = with_gateway();
    silent(&meters, "meter-1");
    let first = gateway.list(None);
    let same = gateway.list(first.etag);
    assert_eq!((same.code, same.payload.len()), (Code::VALID, 0));
    silent(&meters, "meter-2");
    let told = |times| {
        let look = || (gateway.line.heard().children_changed >= times).then_some(());
        wait::until("a gateway that is told of its list", wait::LONG, look, || meters.fleet.server.tail());
    };
    told(2);
    let second = gateway.list(first.etag);
    assert_eq!((second.code, gateway.children().len()), (Code::CONTENT, 2));
    let detached: Device = meters.fleet.cli.json("device detach meter-1");
    assert_eq!(detached.gateway, None);
    told(3);
    assert_eq!(gateway.children().len(), 1);
}

#[test]
fn gateway_and_device_never_have_one_name() {
    let (meters, _gateway) = with_gateway();
    meters.fleet.device("meter-1", "meter");
    let cli = &meters.fleet.cli;
    let said = cli.refused("device add gw-1 --class meter --out x.unit");
    assert!(said.contains("named gw-1 is enrolled already"), "{said}");
    let said = cli.refused("gateway add meter-1 --uri coaps://127.0.0.1:5999 --out x.unit");
    assert!(said.contains("named meter-1 is enrolled already"), "{said}");
    let said = cli.refused("gateway add gw-2 --uri http://127.0.0.1 --out x.unit");
    assert!(said.contains("coaps://HOST:PORT"), "{said}");
    let said = cli.refused("device add meter-2 --class meter --gateway gw-9 --out x.unit");
    assert!(said.contains("gateway list"), "{said}");
    assert!(!meters.fleet.folder().join("x.unit").exists());
    let gateways: Vec<Gateway> = cli.json("gateway list");
    assert_eq!((gateways.len(), gateways[0].present.is_some()), (1, true));
}

#[test]
fn gateway_speaks_for_the_devices_of_its_list_alone() {
    let (meters, gateway) = with_gateway();
    let other = enrolled(&meters, "gw-2");
    let mut meter = silent(&meters, "meter-1");
    let mut foreign = meters.device("meter-2");
    let campaign = meters.launch();
    let request = foreign.identity.request(&meters.manifest.digest, &Options::default());
    assert_eq!(gateway.forward(&foreign.identity, &request), Said::Code(Code::UNAUTHORIZED));
    let request = meter.request(&meters.manifest.digest, &Options::default());
    assert_eq!(other.forward(&meter, &request), Said::Code(Code::UNAUTHORIZED));
    let Said::Grant(granted) = gateway.forward(&meter, &request) else { panic!("no grant for a child") };
    let report = meter.report(&granted, Moment::Decrypted);
    assert_eq!(other.line.send_report(&report.bytes).code, Code::UNAUTHORIZED);
    let receipt = gateway.line.send_report(&report.bytes);
    assert_eq!((receipt.code, receipt.content_format), (Code::CHANGED, Some(content_format::RECEIPT)));
    meter.check_receipt(&report, &receipt.payload);
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Ready);
}

#[test]
fn alarm_about_a_forwarded_message_names_the_gateway() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    meters.launch();
    let mut clone = meter.identity.clone();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    let request = clone.request(&meters.manifest.digest, &Options::default());
    let Said::Prove(echo) = gateway.forward(&clone, &request) else {
        panic!("a clone is asked to prove itself")
    };
    let proved = Options { echo: Some(echo), ..Options::default() };
    let request = clone.request(&meters.manifest.digest, &proved);
    gateway.forward(&clone, &request);
    let alarms = meters.fleet.alarms("meter-1");
    let addresses: Vec<&String> = alarms.iter().flat_map(|alarm| &alarm.addresses).collect();
    assert!(addresses.iter().any(|address| address.ends_with("(gateway gw-1)")), "{addresses:?}");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
}

#[test]
fn bundle_has_the_grant_that_the_device_would_get_and_the_device_gets_that_same_one() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    let campaign = meters.launch();
    let held = gateway.bundle(1);
    assert_eq!((&held.campaign, held.push.as_slice()), (&campaign, &["meter-1".to_owned()][..]));
    assert_eq!(held.envelope, std::fs::read(&meters.manifest.path).expect("the envelope"));
    assert!(held.not_after > wait::now());
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    let Said::Grant(ahead) = held.answer(&meter.identity, &request) else { panic!("no grant in the bundle") };
    assert!(ahead.delta && ahead.installed == meters.new_digest());
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Offered);

    // Its own selector leads to the grant that was made ahead (row 5), over either way.
    let Said::Grant(asked) = gateway.forward(&meter.identity, &request) else { panic!("no grant") };
    assert_eq!((asked.number, &asked.content), (ahead.number, &ahead.content));
    assert!(meter.line.heard().manifests.is_empty(), "the manifest is the gateway's to bring");

    // The report comes through the gateway, Execute over the device's own registration.
    let report = meter.identity.report(&ahead, Moment::Decrypted);
    let receipt = gateway.line.send_report(&report.bytes);
    meter.identity.check_receipt(&report, &receipt.payload);
    let look = || (meter.line.heard().executes == 1).then_some(());
    wait::until("Execute", wait::LONG, look, || meters.fleet.story(&campaign, "meter-1"));
}

#[test]
fn device_that_told_nothing_is_a_target_without_a_grant() {
    let (meters, gateway) = with_gateway();
    silent(&meters, "meter-1");
    meters.launch();
    let held = gateway.bundle(1);
    assert_eq!((held.push.as_slice(), held.grants.len()), (&["meter-1".to_owned()][..], 0));
}

#[test]
fn what_a_gateway_has_seen_ends_the_wait_for_its_device() {
    let (meters, gateway) = with_gateway();
    for name in ["meter-1", "meter-2"] {
        telling(&meters, name);
    }
    let foreign = meters.device("meter-3");
    let campaign = meters.launch();
    gateway.bundle(1);
    assert_eq!(gateway.hint(&campaign, "meter-1", HintKind::Refused, "6").code, Code::CHANGED);
    let failed = meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Failed);
    assert!(failed.reason.expect("a reason").contains("not for this device"));
    assert_eq!(gateway.hint(&campaign, "meter-2", HintKind::Unreached, "").code, Code::CHANGED);
    meters.fleet.wait_outcome(&campaign, "meter-2", DeviceOutcome::Waiting);
    // Neither of a device that is not its, nor of a campaign that is none.
    foreign.line.manifest();
    gateway.hint(&campaign, "meter-3", HintKind::Refused, "6");
    gateway.hint("99", "meter-2", HintKind::Refused, "6");
    assert_eq!(meters.fleet.track(&campaign, "meter-3").outcome, DeviceOutcome::Offered);
    assert_eq!(gateway.line.post("/g/t", 60, b"garbage").code, Code::BAD_REQUEST);
}

#[test]
fn gateway_cannot_fail_a_device_that_was_not_offered_anything() {
    let (meters, gateway) = with_gateway();
    for name in ["meter-1", "meter-2"] {
        silent(&meters, name);
    }
    let campaign = meters.fleet.launch(&meters.manifest, "--at-most 1");
    let offered = gateway.bundle(1).push;
    let other = ["meter-1", "meter-2"].into_iter().find(|name| !offered.contains(&(*name).to_owned()));
    let other = other.expect("one at a time");
    for (what, detail) in [(HintKind::Refused, "6"), (HintKind::Unreached, "")] {
        assert_eq!(gateway.hint(&campaign, other, what, detail).code, Code::CHANGED);
    }
    let track = meters.fleet.track(&campaign, other);
    assert_eq!((track.outcome, track.reason), (DeviceOutcome::Waiting, None));
}

#[test]
fn device_that_is_tried_again_is_offered_the_manifest_though_its_gateway_brings_it_no_second_time() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    let campaign = meters.launch();
    gateway.bundle(1);
    let granted = meter.granted(&meters.manifest.digest);
    let failed = meter.identity.report(&granted, Moment::Failed);
    meter.report(&failed);
    meters.fleet.wait_state(&campaign, CampaignState::Finished);
    assert!(gateway.bundle(2).withdrawn);
    meters.fleet.cli.done(&format!("campaign retry-failed {campaign}"));
    meter.line.manifest();
    let again = gateway.bundle(3);
    assert_eq!((again.push.as_slice(), again.grants.len()), (&["meter-1".to_owned()][..], 1));
}

#[test]
fn bundle_of_a_cancelled_campaign_is_withdrawn_from_a_gateway_that_was_away() {
    let (meters, mut gateway) = with_gateway();
    let _meter = telling(&meters, "meter-1");
    let campaign = meters.launch();
    let first = gateway.bundle(1);
    // Gone without a word that would count: the line ends, and the campaign too.
    gateway.line = Line::connect(meters.fleet.server.coaps(), "gw-1", gateway_key(&meters));
    meters.fleet.cli.done(&format!("campaign cancel {campaign}"));
    gateway.reconnect(meters.fleet.server.coaps());
    let last = gateway.bundle(1);
    assert!(last.withdrawn && last.grants.is_empty() && last.edition > first.edition);
}

#[test]
fn bundle_of_a_recalled_release_is_withdrawn_and_goes_again_once_it_is_reinstated() {
    let (meters, gateway) = with_gateway();
    let _meter = telling(&meters, "meter-1");
    let campaign = meters.launch();
    assert_eq!(gateway.bundle(1).grants.len(), 1);
    meters.fleet.cli.done("release recall 2.0 --class meter --why flickers");
    let last = gateway.bundle(2);
    assert!(last.withdrawn && last.grants.is_empty());
    meters.fleet.cli.done("release reinstate 2.0 --class meter --why harmless");
    meters.fleet.cli.done(&format!("campaign retry-failed {campaign}"));
    let again = gateway.bundle(3);
    assert!(!again.withdrawn && again.grants.len() == 1);
}

fn gateway_key(meters: &Meters) -> Vec<u8> {
    let unit = std::fs::read(unit(meters, "gw-1")).expect("a unit file");
    bellwether_manifests::link::GatewayUnit::decode(&unit).expect("a unit").psk.to_vec()
}

#[test]
fn gateway_that_comes_back_gets_the_newest_bundle_with_the_same_grant() {
    let (mut meters, mut gateway) = with_gateway();
    let _meter = telling(&meters, "meter-1");
    meters.launch();
    let first = gateway.bundle(1);
    meters.fleet.kill_and_restart();
    gateway.reconnect(meters.fleet.server.coaps());
    let again = gateway.bundle(1);
    assert!(again.edition > first.edition);
    assert_eq!((again.grants, again.campaign), (first.grants, first.campaign));
}

#[test]
fn devices_of_a_gateway_that_is_away_are_offered_the_manifest_directly() {
    let meters = Meters::new();
    meters.fleet.cli.done("gateway add gw-1 --uri coaps://127.0.0.1:5999 --out gw-1.unit");
    let meter = telling(&meters, "meter-1");
    meters.launch();
    meter.line.manifest();
}

/// Waits until the server has looked at its campaigns a few times more.
fn a_few_rounds_later(meters: &Meters) {
    let uptime = || meters.fleet.server.http().read::<Health>("/health").uptime_s;
    let from = uptime();
    wait::until(
        "some seconds of the server",
        wait::LONG,
        || (uptime() >= from + 4).then_some(()),
        String::new,
    );
}

#[test]
fn resumed_campaign_goes_around_a_gateway_that_is_away_once_and_not_each_second() {
    let (meters, mut gateway) = with_gateway();
    let meter = telling(&meters, "meter-1");
    let campaign = meters.launch();
    gateway.bundle(1);
    meters.fleet.cli.done(&format!("campaign pause {campaign}"));
    assert!(gateway.bundle(2).withdrawn);
    gateway.line = Line::connect(meters.fleet.server.coaps(), "gw-1", gateway_key(&meters));
    meters.fleet.cli.done(&format!("campaign resume {campaign}"));
    meter.line.manifest();
    a_few_rounds_later(&meters);
    assert_eq!(meter.line.heard().manifests.len(), 1);
}

#[test]
fn withdrawn_bundle_that_nobody_needs_any_more_is_settled_when_its_campaign_goes_on() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    meters.fleet.device("meter-2", "meter");
    let campaign = meters.launch();
    gateway.bundle(1);
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    meters.fleet.cli.done(&format!("campaign pause {campaign}"));
    assert!(gateway.bundle(2).withdrawn);
    meters.fleet.cli.done(&format!("campaign resume {campaign}"));
    a_few_rounds_later(&meters);
    // What is settled while the campaign goes on is withdrawn when it ends; what is not was looked at each second.
    meters.fleet.cli.done(&format!("campaign cancel {campaign}"));
    assert!(gateway.bundle(3).withdrawn);
}

#[test]
fn removed_gateway_is_out_at_once_and_its_devices_stay() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    meters.fleet.cli.done("gateway remove gw-1");
    assert!(gateway.line.try_send(Request::new(Method::Get, "/g/c")).is_err());
    assert!(Line::try_connect(meters.fleet.server.coaps(), "gw-1", gateway_key(&meters)).is_err());
    meters.launch();
    meter.line.manifest();
    meter.granted(&meters.manifest.digest);
    assert_eq!(meters.fleet.show("meter-1").gateway, None);
}

#[test]
fn frames_are_counted_by_who_fetched_them() {
    let (meters, gateway) = with_gateway();
    let mut meter = telling(&meters, "meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.fetch(&granted);
    for _ in 0..2 {
        gateway.line.fetch(&granted);
    }
    let counts: Vec<FrameCount> = meters.fleet.cli.json("release frames");
    let count = counts.iter().find(|count| count.root == hex::encode(granted.root)).expect("counted");
    assert_eq!((count.sent["meter-1"], count.sent["gw-1"]), (count.frames, 2 * count.frames));
}

/// Makes the anchors of an edition, signed by the root key that all editions have.
fn publish_anchors(meters: &Meters, edition: u64) -> Vec<u8> {
    let cli = &meters.fleet.cli;
    let file = format!("anchors-{edition}.cose");
    cli.done(&format!(
        "keys anchors --vendor example.com --edition {edition} --root root.key --author author.pub \
         --distributor distributor.pub --out {file}"
    ));
    cli.done(&format!("keys trust {file}"));
    std::fs::read(meters.fleet.folder().join(file)).expect("the anchors")
}

#[test]
fn missed_editions_of_the_anchors_are_written_in_order_and_new_ones_at_once() {
    let (meters, gateway) = with_gateway();
    let unit = meters.fleet.device_behind("meter-1", "meter", "gw-1");
    let (second, third) = (publish_anchors(&meters, 2), publish_anchors(&meters, 3));
    let device = RawDevice::telling(meters.fleet.server.coaps(), &unit, "meter", images::digest(&meters.old));
    let written = |line: &Line, count| {
        let look = || Some(line.heard().anchors).filter(|anchors| anchors.len() >= count);
        wait::until("newer anchors", wait::LONG, look, || meters.fleet.server.tail())
    };
    assert_eq!(written(&device.line, 2), [second, third]);
    let fourth = publish_anchors(&meters, 4);
    assert_eq!(written(&device.line, 3)[2], fourth);
    assert!(written(&gateway.line, 3).contains(&fourth));
    // Grants say which edition they need, and the device knows the manifest's author by it.
    let mut device = device;
    meters.launch();
    device.granted(&meters.manifest.digest);
}

#[test]
fn anchors_that_replace_nothing_are_refused_with_what_to_do() {
    let (meters, _gateway) = with_gateway();
    publish_anchors(&meters, 3);
    let cli = &meters.fleet.cli;
    let make = |edition, root: &str, vendor: &str, out: &str| {
        cli.done(&format!(
            "keys anchors --vendor {vendor} --edition {edition} --root {root} --author author.pub \
             --distributor distributor.pub --out {out}"
        ));
        cli.refused(&format!("keys trust {out}"))
    };
    cli.done("keys new other.key");
    let said = make(2, "root.key", "example.com", "low.cose");
    assert!(said.contains("higher --edition"), "{said}");
    let said = make(4, "other.key", "example.com", "unsigned.cose");
    assert!(said.contains("sign-anchors"), "{said}");
    let said = make(4, "root.key", "other.example", "foreign.cose");
    assert!(said.contains("another vendor"), "{said}");
    cli.done("keys sign-anchors unsigned.cose --key root.key --replacing anchors-3.cose --out signed.cose");
    cli.done("keys trust signed.cose");
}

#[test]
fn manifest_of_an_author_who_lost_trust_is_not_used_any_more() {
    let meters = Meters::new();
    let cli = &meters.fleet.cli;
    cli.done("keys new new-author.key");
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    meter.line.manifest();
    cli.done(
        "keys anchors --vendor example.com --edition 2 --root root.key --author new-author.pub \
         --distributor distributor.pub --out next.cose",
    );
    cli.done("keys trust next.cose");
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    assert!(matches!(meter.put_question(&request), Said::Code(_)));
    let listed: Vec<bellwether_api::Manifest> = meters.fleet.server.http().read("/v1/manifests");
    assert!(listed.is_empty(), "{listed:?}");

    // Its campaign does not wait for ever: it says why it stopped, and goes on where the author is listed again.
    meters.fleet.wait_state(&campaign, CampaignState::Paused);
    let story = cli.done(&format!("campaign explain {campaign}"));
    assert!(story.contains("anchors in force do not allow its manifest"), "{story}");
    cli.done(&format!("campaign resume {campaign}"));
    meters.fleet.wait_state(&campaign, CampaignState::Paused);
    publish_anchors(&meters, 3);
    cli.done(&format!("campaign resume {campaign}"));
    meter.granted(&meters.manifest.digest);
}

#[test]
fn server_that_the_anchors_do_not_list_signs_nothing() {
    let meters = Meters::new();
    let cli = &meters.fleet.cli;
    cli.done("keys new other.key");
    let mut meter = meters.device("meter-1");
    meters.launch();
    cli.done(
        "keys anchors --vendor example.com --edition 2 --root root.key --author author.pub \
         --distributor other.pub --out next.cose",
    );
    cli.done("keys trust next.cose");
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    assert_eq!(meter.put_question(&request), Said::Code(Code::SERVICE_UNAVAILABLE));
    let manifest = meters.manifest.path.display();
    let said = cli.refused(&format!("campaign launch --manifest {manifest}"));
    assert!(said.contains("keys distributor"), "{said}");
}
