//! One datagram to an endpoint that knows nothing.

use bellwether_coap::{Config, Endpoint, Event, Instant, Method, Request};

use super::is_well_formed;

/// A datagram leads to at most one event and one datagram; a request that is read is the same after it was sent.
pub(crate) fn message(data: &[u8]) {
    let mut endpoint = Endpoint::<u8>::new(Config::default(), [1; 32]);
    let now = Instant::default();
    endpoint.handle_datagram(now, 0, data);
    let answer = endpoint.poll_transmit();
    if let Some(answer) = &answer {
        assert!(is_well_formed(&answer.bytes), "{:02x?}", answer.bytes);
        assert!(answer.bytes.len() <= data.len() + 64, "an answer of {} bytes", answer.bytes.len());
    }
    assert!(endpoint.poll_transmit().is_none(), "one datagram is answered by one");
    let event = endpoint.poll_event();
    assert!(endpoint.poll_event().is_none(), "one datagram is one event");
    if let Some(event) = event {
        assert!(is_well_formed(data), "{data:02x?}");
        assert_eq!(endpoint.counters().malformed, 0);
        let Event::Request { request, .. } = event else { panic!("nothing was asked: {event:?}") };
        sent_again(&request);
    }
}

/// Sends a request from one endpoint to another.
fn sent_again(request: &Request) {
    let (mut client, mut server) =
        (Endpoint::<u8>::new(Config::default(), [2; 32]), Endpoint::<u8>::new(Config::default(), [3; 32]));
    let now = Instant::default();
    if client.request(now, 0, request.clone()).is_err() {
        return;
    }
    let sent = client.poll_transmit().expect("the first message");
    assert!(is_well_formed(&sent.bytes));
    server.handle_datagram(now, 0, &sent.bytes);
    if let Some(Event::Request { request: read, .. }) = server.poll_event() {
        assert_eq!(read, *request);
    } else {
        // Only the first block of several can be without an event.
        assert!(request.payload.len() > 1024, "{request:?}");
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let requests = [
        Request::new(Method::Get, "/3/0/0"),
        Request::new(Method::Post, "/rd")
            .with_query("ep=lamp-1")
            .with_query("lt=60")
            .with_payload(40, b"</3/0>".to_vec()),
        Request::new(Method::Put, "/5/0/0").with_payload(42, vec![7; 1500]),
        Request::new(Method::Post, "/u").with_payload(65_100, vec![0xd1; 200]),
    ];
    let mut seeds: Vec<Vec<u8>> = requests
        .into_iter()
        .map(|request| {
            let mut client = Endpoint::<u8>::new(Config::default(), [2; 32]);
            client.request(Instant::default(), 0, request).expect("room");
            client.poll_transmit().expect("a datagram").bytes
        })
        .collect();
    seeds.extend([
        b"\x60\x00\x12\x34".to_vec(),
        b"\x40\x00\x12\x34".to_vec(),
        b"\x52\x01\x12\x34ab\xb1a\x43abc\xd2\x0a\x06\x42\xff".to_vec(),
        b"\x41\x01\x00\x01t\x3bexample.org\x42\x16\x33\x4315\x010\xc1\x0e\x52\x00\x01".to_vec(),
    ]);
    seeds
}
