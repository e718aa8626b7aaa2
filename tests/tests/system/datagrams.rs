//! What strangers send to the DTLS port, and sessions under wrong names or keys.

use std::net::{SocketAddr, UdpSocket};

use bellwether_net::coap::{Code, Method, Request};
use bellwether_net::{CloseReason, ConnectError};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::raw_device::Line;

fn stranger() -> UdpSocket {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port")
}

#[test]
fn garbage_at_the_port_disturbs_neither_sessions_nor_new_devices() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let stranger = stranger();
    for length in 0..2_000 {
        let garbage = images::image(length, usize::try_from(length).expect("small"));
        stranger.send_to(&garbage, meters.fleet.server.coaps()).expect("sent");
    }
    // The largest that UDP over loopback carries.
    stranger.send_to(&vec![0x16; 65_507], meters.fleet.server.coaps()).expect("sent");
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    let other = meters.device("meter-2");
    assert!(meters.fleet.show("meter-2").registered.is_some());
    drop(other);
}

#[test]
fn handshakes_cut_short_and_altered_leave_the_server_serving() {
    let meters = Meters::new();
    let stranger = stranger();
    let hello = client_hello();
    for length in 0..=hello.len() {
        stranger.send_to(&hello[..length], meters.fleet.server.coaps()).expect("sent");
    }
    for at in 0..hello.len() {
        let mut altered = hello.clone();
        altered[at] ^= 0xff;
        stranger.send_to(&altered, meters.fleet.server.coaps()).expect("sent");
    }
    let meter = meters.device("meter-1");
    assert!(meters.fleet.show("meter-1").registered.is_some());
    drop(meter);
}

#[test]
fn wrong_key_and_unknown_name_get_the_same_refusal() {
    let meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    let address = meters.fleet.server.coaps();
    for name in ["meter-1", "ghost", "meter-10", &"x".repeat(128)] {
        let refused = Line::try_connect(address, name, vec![7; 32]).err();
        assert_eq!(refused, Some(ConnectError::Failed(CloseReason::HandshakeRefused)), "{name:?}");
    }
    assert!(meters.fleet.show("meter-1").registered.is_none());
}

#[test]
fn key_of_one_device_does_not_open_a_session_for_another() {
    let meters = Meters::new();
    let one = meters.device("meter-1");
    meters.fleet.device("meter-2", "meter");
    let refused = Line::try_connect(meters.fleet.server.coaps(), "meter-2", one.identity.psk()).err();
    assert_eq!(refused, Some(ConnectError::Failed(CloseReason::HandshakeRefused)));
}

#[test]
fn device_can_neither_register_nor_end_the_registration_of_another() {
    let meters = Meters::new();
    let one = meters.device("meter-1");
    let location = one.line.register("meter-1");
    let other = meters.device("meter-2");
    assert_eq!(other.line.try_register("meter-1", b"</5/0>").code, Code::FORBIDDEN);
    assert_eq!(other.line.try_register("ghost", b"</5/0>").code, Code::FORBIDDEN);
    let delete = || Request::new(Method::Delete, &location);
    let update = || Request::new(Method::Post, &location);
    assert_eq!(other.line.send(delete()).code, Code::NOT_FOUND);
    assert_eq!(other.line.send(update()).code, Code::NOT_FOUND);
    assert_eq!(one.line.send(update()).code, Code::CHANGED);
    assert_eq!(one.line.send(delete()).code, Code::DELETED);
    assert_eq!(one.line.send(update()).code, Code::NOT_FOUND);
}

#[test]
fn malformed_registrations_are_refused_with_their_reason() {
    let meters = Meters::new();
    let meter = meters.device("meter-1");
    let refused = |objects: &[u8]| {
        let response = meter.line.try_register("meter-1", objects);
        (response.code, String::from_utf8(response.payload).expect("text"))
    };
    let (code, text) = refused(b"</5/0");
    assert_eq!(code, Code::BAD_REQUEST);
    assert!(text.contains("link format"), "{text}");
    assert_eq!(refused(&[0xff; 2_000]).0, Code::BAD_REQUEST);
    for (query, expected) in [
        ("lwm2m=9.9", Code::PRECONDITION_FAILED),
        ("lt=soon", Code::BAD_REQUEST),
        ("ep=a%00", Code::BAD_REQUEST),
    ] {
        let request = Request::new(Method::Post, "/rd").with_query(query);
        let missing = ["ep=meter-1", "lwm2m=1.1", "lt=60"];
        let key = query.split('=').next().expect("a key");
        let request = missing
            .iter()
            .filter(|one| !one.starts_with(key))
            .fold(request, |request, one| request.with_query(one));
        let code = meter.line.send(request.with_payload(40, b"</5/0>".to_vec())).code;
        assert!(code == expected || (query.starts_with("ep") && code == Code::FORBIDDEN), "{query}: {code}");
    }
}

/// A DTLS 1.2 `ClientHello` without cookie, offering PSK-AES128-CCM8.
///
/// Source: RFC 6347 §4.1, §4.2.2; RFC 5246 §7.4.1.2.
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[0x11; 32]);
    // No session, no cookie, one suite, no compression.
    body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0xa8, 1, 0]);
    let length = u8::try_from(body.len()).expect("short");
    let handshake = [&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length][..], &body].concat();
    let length = u8::try_from(handshake.len()).expect("short");
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, length][..], &handshake].concat()
}
