//! Reading a device: the verb `devices read` over HTTP, MQTT and the command line.

use bellwether_api::{ReadValue, Reading, ValueKind};
use bellwether_net::coap::{Code, Response};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::http::Answer;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::raw_device::RawDevice;
use bellwether_tests::server::ACK_TIMEOUT_FLAG;
use serde_json::{Value, json};

fn read(fleet: &Fleet, name: &str, path: &str) -> Answer {
    fleet.server.http().post("/v1/commands/devices/read", &json!({"endpoint": name, "path": path}))
}

fn values(answer: &Answer) -> Vec<ReadValue> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json::<Reading>().values
}

fn refused(answer: &Answer, status: u16, code: &str, part: &str) {
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert!(body["message"].as_str().is_some_and(|text| text.contains(part)), "{body}");
}

fn has(meter: &RawDevice, path: &'static str, format: u16, payload: &[u8]) {
    meter.line.has(path, Response::new(Code::CONTENT).with_payload(format, payload.to_vec()));
}

#[test]
fn agent_is_read_by_object_instance_and_resource() {
    let meters = Meters::new();
    let mut agent = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    agent.switch_on(&[]);
    agent.wait_status("a registration", |status| status["registered"] == true);
    let version: Reading = meters.fleet.cli.json("device read meter-1 /3/0/3");
    assert_eq!(version.values.len(), 1);
    let one = &version.values[0];
    assert_eq!((one.path.as_str(), one.name.as_deref()), ("/3/0/3", Some("Firmware Version")));
    assert_eq!((one.kind, &one.value), (ValueKind::String, &json!("1.0")));
    let object: Reading = meters.fleet.cli.json("device read meter-1 /5");
    let state = object.values.iter().find(|one| one.path == "/5/0/3").expect("the state");
    assert_eq!((state.kind, &state.value), (ValueKind::Integer, &json!(0)));
    let instance: Reading = meters.fleet.cli.json("device read meter-1 /1/0");
    assert!(instance.values.iter().any(|one| one.name.as_deref() == Some("Lifetime")));
    assert!(meters.fleet.cli.refused("device read meter-1 /3/0/99").contains("4.04"));
    assert!(meters.fleet.cli.refused("device read meter-1 /5/0/2").contains("executed"));
}

#[test]
fn answers_in_every_format_mean_the_same() {
    let meters = Meters::new();
    let meter = meters.device("meter-1");
    let senml_cbor = [&[0x81, 0xa2, 0x00, 0x66][..], b"/3/0/9", &[0x02, 0x18, 95]].concat();
    for (format, payload) in [
        (0, &b"95"[..]),
        (60, &[0x18, 95]),
        (110, br#"[{"bn":"/3/0/","n":"9","v":95}]"#),
        (112, &senml_cbor),
        (1542, &[0xc1, 9, 95]),
        (11542, &[0xc1, 9, 95]),
        (11543, br#"{"bn":"/3/0/9","e":[{"v":95}]}"#),
    ] {
        let path = "3/0/9";
        meter.line.clear_readable();
        has(&meter, path, format, payload);
        let found = values(&read(&meters.fleet, "meter-1", "/3/0/9"));
        assert_eq!(found.len(), 1, "{format}");
        assert_eq!((found[0].kind, &found[0].value), (ValueKind::Integer, &json!(95)), "{format}");
        assert_eq!(found[0].unit.as_deref(), Some("/100"));
    }
    // TLV is the best that this device lists; where it does not have it after all, it chooses itself.
    let reads = meter.line.heard().reads;
    assert_eq!(reads[0], ("3/0/9".to_owned(), Some(11542)));
    assert_eq!(reads[1], ("3/0/9".to_owned(), None));
}

#[test]
fn what_a_device_says_against_a_read_is_told() {
    let meters = Meters::new();
    let meter = meters.device("meter-1");
    meters.fleet.device("meter-2", "meter");
    let fleet = &meters.fleet;
    refused(&read(fleet, "meter-1", "/3/0/99"), 404, "not_found", "has no /3/0/99 (4.04)");
    refused(&read(fleet, "meter-2", "/3/0/0"), 409, "conflict", "is not registered now");
    refused(&read(fleet, "meter-3", "/3/0/0"), 404, "not_found", "no device named meter-3");
    refused(&read(fleet, "meter-1", "3/0/0"), 400, "invalid", "does not begin with a slash");
    refused(&read(fleet, "meter-1", "/0/0/5"), 400, "invalid", "holds a device's keys");
    for (path, code, status, kind, part) in [
        ("3/0/1", Code::METHOD_NOT_ALLOWED, 409, "conflict", "4.05"),
        ("3/0/2", Code::UNAUTHORIZED, 409, "conflict", "does not let this server"),
        ("3/0/3", Code::INTERNAL_SERVER_ERROR, 502, "bad_answer", "5.00"),
    ] {
        meter.line.has(path, Response { content_format: Some(11542), ..Response::new(code) });
        refused(&read(fleet, "meter-1", &format!("/{path}")), status, kind, part);
    }
    has(&meter, "3/0/9", 11542, &[0xc3, 9, 1, 2, 3]);
    refused(&read(fleet, "meter-1", "/3/0/9"), 502, "bad_answer", "no Integer");
    has(&meter, "3/0/10", 50, b"{}");
    refused(&read(fleet, "meter-1", "/3/0/10"), 502, "bad_answer", "format 50");
}

#[test]
fn silent_device_keeps_no_other_command_waiting() {
    let flags = ["--mqtt-listen", "127.0.0.1:0", ACK_TIMEOUT_FLAG, "40"];
    let meters = Meters::on(Fleet::start_with(&flags), 4_000);
    let mut agent = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    agent.switch_on(&[]);
    agent.wait_status("a registration", |status| status["registered"] == true);
    agent.kill9();
    let mut manager = Mqtt::connect(&Login::embedded(meters.fleet.server.data()), "manager");
    manager.subscribe("bellwether/v1/default/replies/#");
    let topic = |verb: &str| format!("bellwether/v1/default/commands/devices/{verb}");
    let asked = json!({"request_id": "read", "endpoint": "meter-1", "path": "/3/0/0"});
    manager.publish(&topic("read"), &asked.to_string(), false);
    manager.publish(&topic("list"), &json!({"request_id": "list"}).to_string(), false);
    let first = manager.wait("a reply", |one| one.topic.contains("/replies/"));
    assert!(first.topic.ends_with("/list"), "{first:?}");
    let second = manager.wait("the other reply", |one| one.topic.ends_with("/replies/read"));
    assert_eq!(second.json()["error"]["code"], "no_answer", "{second:?}");
}
