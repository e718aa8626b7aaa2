//! Update requests at the real server: well-formed, altered, replayed, of others.

use bellwether_api::DeviceOutcome;
use bellwether_keys::mac::{self, OpenError};
use bellwether_keys::wrap::WrapError;
use bellwether_manifests::message::{Answer, Moment, content_format};
use bellwether_net::coap::{Code, Method, Request};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::{Options, Said};
use bellwether_tests::wait;

#[test]
fn device_is_offered_granted_and_confirmed_step_by_step() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let envelope = meter.line.manifest();
    assert_eq!(envelope, std::fs::read(&meters.manifest.path).expect("the envelope"));
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Offered);

    let granted = meter.granted(&meters.manifest.digest);
    assert!(granted.delta && granted.installed == meters.new_digest());
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    let delta = meter.fetch(&granted);
    assert!(delta.len() < meters.new.len() / 4, "{} bytes", delta.len());

    let decrypted = meter.identity.report(&granted, Moment::Decrypted);
    meter.report(&decrypted);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Ready);
    assert_eq!(meters.fleet.show("meter-1").index, 0);
    let installed = meter.identity.report(&granted, Moment::Installed);
    meter.report(&installed);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Installed);
    assert_eq!(meters.fleet.show("meter-1").index, 1);
}

#[test]
fn device_without_patches_gets_the_image_itself() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meter.identity.patches = false;
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    assert!(!granted.delta);
    assert_eq!(meter.fetch(&granted), meters.new);
}

#[test]
fn device_that_runs_an_unknown_base_gets_the_image_itself() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meter.identity.runs = images::digest(b"nobody published this");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    assert!(!granted.delta);
    assert_eq!(meter.fetch(&granted), meters.new);
}

#[test]
fn altered_request_is_dropped_and_leaves_no_trace() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Offered);
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    for at in 0..request.bytes.len() {
        let mut altered = request.bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let response = meter.send_request(&altered);
        assert_eq!(response.code.class(), 4, "byte {at}: {response:?}");
        assert!(response.payload.is_empty(), "byte {at}");
    }
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Offered);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
    assert!(matches!(meter.put_question(&request), Said::Grant(_)));
}

#[test]
fn truncated_and_extended_requests_are_dropped() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    for length in 0..request.bytes.len() {
        let response = meter.send_request(&request.bytes[..length]);
        assert_eq!(response.code, Code::BAD_REQUEST, "{length} bytes");
    }
    let mut longer = request.bytes.clone();
    longer.push(0);
    assert_eq!(meter.send_request(&longer).code, Code::BAD_REQUEST);
    assert!(matches!(meter.put_question(&request), Said::Grant(_)));
}

#[test]
fn replayed_request_gets_the_same_bytes_over_any_session() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    let first = meter.send_request(&request.bytes);
    assert_eq!(first.code, Code::CHANGED);
    assert_eq!(meter.send_request(&request.bytes).payload, first.payload);
    meter.reconnect(meters.fleet.server.coaps());
    assert_eq!(meter.send_request(&request.bytes).payload, first.payload);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Granted);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

// Row 5.
#[test]
fn same_question_again_gets_the_same_grant() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let first = meter.granted(&meters.manifest.digest);
    let again = meter.granted(&meters.manifest.digest);
    let message = |answer: &[u8]| Answer::decode(answer).expect("an answer").message.to_vec();
    assert_eq!(message(&first.answer), message(&again.answer));
}

// Rows 3 and 18.
#[test]
fn device_whose_clock_is_too_far_ahead_is_put_off_and_the_ledger_says_that_it_asked() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Offered);
    let apart = |days: u64| Options { clock: Some(wait::now() + days * 86_400), ..Options::default() };
    for _ in 0..2 {
        let said = meter.ask_with(&meters.manifest.digest, &apart(403));
        assert!(matches!(said, Said::Later(600)), "{said:?}");
    }
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clocks apart"]);
    let told = meters.fleet.cli.done("device explain meter-1");
    assert!(told.contains("it asked and has no grant yet"), "{told}");
    assert_eq!(told.matches("\"kind\": \"asked\"").count(), 1, "{told}");
    let said = meter.ask_with(&meters.manifest.digest, &apart(400));
    assert!(matches!(said, Said::Grant(_)), "{said:?}");
}

#[test]
fn request_with_an_old_counter_must_prove_itself() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let first = meter.granted(&meters.manifest.digest);
    let old = Options { counter: Some(1), ..Options::default() };
    let Said::Prove(echo) = meter.ask_with(&meters.manifest.digest, &old) else {
        panic!("an old counter is not asked to prove itself");
    };
    let honest = Options { echo: Some(echo), ..Options::default() };
    let Said::Grant(again) = meter.ask_with(&meters.manifest.digest, &honest) else {
        panic!("the device itself proved itself in vain");
    };
    assert_eq!(again.number, first.number);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

#[test]
fn proof_by_a_counter_that_was_used_raises_an_alarm_and_gets_nothing() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    meter.granted(&meters.manifest.digest);
    let old = Options { counter: Some(1), ..Options::default() };
    let Said::Prove(echo) = meter.ask_with(&meters.manifest.digest, &old) else {
        panic!("an old counter is not asked to prove itself");
    };
    let rolled_back = Options { counter: Some(1), echo: Some(echo), ..Options::default() };
    let said = meter.ask_with(&meters.manifest.digest, &rolled_back);
    assert!(matches!(said, Said::Refused(IDENTITY_IN_DOUBT, _)), "{said:?}");
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["clone or rolled-back device"]);
}

#[test]
fn request_of_one_device_sent_by_another_gets_nothing() {
    let meters = Meters::new();
    let (mut one, other) = (meters.device("meter-1"), meters.device("meter-2"));
    let campaign = meters.launch();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Offered);
    let request = one.identity.request(&meters.manifest.digest, &Options::default());
    assert_eq!(other.send_request(&request.bytes).code, Code::UNAUTHORIZED);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Offered);
    assert!(matches!(one.put_question(&request), Said::Grant(_)));
}

#[test]
fn request_in_the_name_of_another_gets_nothing_over_any_session() {
    let meters = Meters::new();
    let (one, mut other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    other.identity.name = "meter-1".to_owned();
    let forged = other.identity.request(&meters.manifest.digest, &Options::default());
    assert_eq!(other.send_request(&forged.bytes).code, Code::UNAUTHORIZED);
    assert_eq!(one.send_request(&forged.bytes).code, Code::UNAUTHORIZED);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

// Row 2.
#[test]
fn unknown_identity_is_refused_without_detail_and_raises_one_alarm() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    meter.identity.name = "ghost".to_owned();
    for _ in 0..3 {
        let request = meter.identity.request(&meters.manifest.digest, &Options::default());
        let response = meter.send_request(&request.bytes);
        assert_eq!((response.code, response.payload.len()), (Code::FORBIDDEN, 0));
    }
    let alarms = meters.fleet.alarms("ghost");
    assert_eq!((alarms.len(), alarms[0].kind.as_str(), alarms[0].count), (1, "unknown identity", 3));
    assert!(alarms[0].addresses[0].starts_with("127.0.0.1:"), "{:?}", alarms[0].addresses);
}

#[test]
fn grant_of_one_device_does_not_open_at_another() {
    let meters = Meters::new();
    let (mut one, mut other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.launch();
    for device in [&mut one, &mut other] {
        device.identity.patches = false;
    }
    let granted = one.granted(&meters.manifest.digest);
    let others = other.granted(&meters.manifest.digest);
    // One ciphertext for both; only the key is wrapped for each.
    assert_eq!((granted.root, granted.content), (others.root, others.content));
    assert_eq!(one.fetch(&granted), meters.new);

    let message = Answer::decode(&granted.answer).expect("an answer").message;
    let opened = mac::open_grant(&other.identity.down(0), message);
    assert_eq!(opened.expect_err("another device's"), OpenError::Mac);
    let content = other.line.fetch(&granted);
    assert_eq!(other.identity.open_content(&granted, &content), Err(WrapError::Integrity));
}

#[test]
fn verdict_on_one_request_is_none_on_another() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.fleet.launch(&meters.manifest, "");
    meter.identity.runs = meters.new_digest();
    let first = meter.identity.request(&meters.manifest.digest, &Options::default());
    let response = meter.send_request(&first.bytes);
    let second = meter.identity.request(&meters.manifest.digest, &Options::default());
    assert_eq!(meter.identity.read(&first, &response), Said::Nothing);
    let message = Answer::decode(&response.payload).expect("an answer").message;
    let opened = mac::open_verdict(&meter.identity.down(0), &second.nonce, message);
    assert_eq!(opened.expect_err("on another request"), OpenError::OtherQuestion);
}

#[test]
fn unknown_manifest_is_refused_before_anything_is_kept() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    assert_eq!(meter.ask(&[7; 32]), Said::Code(Code::BAD_REQUEST));
    meter.granted(&meters.manifest.digest);
}

#[test]
fn device_outside_of_every_campaign_is_told_so() {
    let meters = Meters::new();
    let (mut one, _other) = (meters.device("meter-1"), meters.device("meter-2"));
    meters.fleet.launch(&meters.manifest, "--device meter-2");
    let said = one.ask(&meters.manifest.digest);
    assert!(matches!(said, Said::Refused(NO_CAMPAIGN | NOT_TARGETED, _)), "{said:?}");
}

#[test]
fn oversized_bodies_are_refused_and_the_next_request_is_served() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    // More than a request may have, and more than any body.
    assert_eq!(meter.send_request(&[0x5a; 5_000]).code, Code::BAD_REQUEST);
    assert_eq!(meter.send_request(&vec![0x5a; 300_000]).code, Code::REQUEST_ENTITY_TOO_LARGE);
    meter.granted(&meters.manifest.digest);
}

#[test]
fn request_to_another_path_or_in_another_format_is_refused() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let request = meter.identity.request(&meters.manifest.digest, &Options::default());
    let line = &meter.line;
    let code = |path, format| line.post(path, format, &request.bytes).code;
    assert_eq!(code("/v", content_format::REQUEST), Code::BAD_REQUEST);
    assert_eq!(code("/u/u", content_format::REQUEST), Code::BAD_REQUEST);
    assert_eq!(code("/u", content_format::REPORT), Code::NOT_FOUND);
    assert_eq!(code("/u", 42), Code::NOT_FOUND);
    let get = line.send(Request::new(Method::Get, "/u"));
    assert_eq!(get.code, Code::NOT_FOUND);
    assert!(matches!(meter.put_question(&request), Said::Grant(_)));
}

// Row 7.
#[test]
fn device_that_runs_the_image_is_told_that_there_is_nothing_to_do() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    assert_eq!(meter.ask(&meters.manifest.digest), Said::Nothing);
    assert_eq!(meters.fleet.track(&campaign, "meter-1").outcome, DeviceOutcome::Installed);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

// Row 7.
#[test]
fn confirmed_update_is_not_given_twice_and_raises_an_alarm() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, images::digest(&meters.old));
    let said = meter.ask(&meters.manifest.digest);
    assert!(matches!(said, Said::Refused(ALREADY_SENT, _)), "{said:?}");
    assert_eq!(meters.fleet.alarm_kinds("meter-1"), ["repeated request"]);
}

/// Numbers of refusals on the wire.
const IDENTITY_IN_DOUBT: i64 = 1;
const ALREADY_SENT: i64 = 2;
const NO_CAMPAIGN: i64 = 11;
const NOT_TARGETED: i64 = 12;
