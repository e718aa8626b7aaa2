//! Requests of ours, row by row: retransmission (RFC 7252 §4.2), matching (§5.3.2), NSTART (§4.7).

use super::bench::{Bench, PEER, ack, con, empty_ack_of, non, one, reset_of, rst};
use crate::code::Code;
use crate::message::{Kind, Received};
use crate::option::RawOption;
use crate::{Config, Event, Failure, Instant, Method, Request, RequestError, RequestId, Response};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn get() -> Request {
    Request::new(Method::Get, "/a")
}

fn get_non() -> Request {
    Request { confirmable: false, ..get() }
}

fn response(events: Vec<Event<u64>>) -> Response {
    match one(events) {
        Event::Response { response, .. } => response,
        other => panic!("no response: {other:?}"),
    }
}

fn failure(events: Vec<Event<u64>>) -> Failure {
    match one(events) {
        Event::Failed { reason, .. } => reason,
        other => panic!("no failure: {other:?}"),
    }
}

/// Every transmission of the bench's only peer until it falls silent, with its time.
fn transmissions(bench: &mut Bench) -> Vec<(Instant, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(at) = bench.endpoint.poll_timeout() {
        while let Some(transmit) = bench.endpoint.poll_transmit() {
            all.push((bench.now, transmit.bytes));
        }
        bench.now = bench.now.max(at);
        bench.endpoint.handle_timeout(bench.now);
        assert!(all.len() < 100, "the endpoint never falls silent");
    }
    all
}

#[test]
fn silent_peer_gets_the_same_con_five_times_with_doubling_waits() {
    let mut bench = bench();
    bench.endpoint.request(bench.now, PEER, get()).unwrap();
    let all = transmissions(&mut bench);
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|(_, bytes)| *bytes == all[0].1));
    let waits: Vec<_> = all.windows(2).map(|two| two[1].0.0.saturating_sub(two[0].0.0)).collect();
    assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&waits[0]));
    for two in waits.windows(2) {
        // Each deadline is rounded up to the millisecond.
        let off = two[1].abs_diff(two[0] * 2);
        assert!(off <= Duration::from_millis(2), "{waits:?}");
    }
    assert_eq!(failure(bench.events()), Failure::TimedOut);
    assert_eq!(bench.endpoint.counters().retransmissions, 4);
}

#[test]
fn piggybacked_response_ends_the_exchange() {
    let mut bench = bench();
    let asked = bench.ask(get());
    let answer = ack(Code::CONTENT, asked.header.message_id).token_of(&asked).payload(b"on");
    assert!(bench.take(&answer).is_empty());
    assert_eq!(response(bench.events()).payload, b"on");
    assert!(transmissions(&mut bench).is_empty());
    assert!(bench.events().is_empty());
}

#[test]
fn empty_ack_stops_retransmission_and_the_separate_response_is_acknowledged() {
    let mut bench = bench();
    let asked = bench.ask(get());
    bench.take(&ack(Code::EMPTY, asked.header.message_id));
    bench.pass_s(90);
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    let separate = con(Code::CONTENT, 77).token_of(&asked);
    assert_eq!(one(bench.take(&separate)).header, empty_ack_of(77));
    assert_eq!(response(bench.events()).code, Code::CONTENT);
}

// RFC 7252 §4.5
#[test]
fn repeated_separate_response_is_acknowledged_again_and_delivered_once() {
    let mut bench = bench();
    let asked = bench.ask(get());
    let separate = con(Code::CONTENT, 77).token_of(&asked);
    bench.take(&separate);
    assert_eq!(bench.events().len(), 1);
    assert_eq!(one(bench.take(&separate)).header, empty_ack_of(77));
    assert!(bench.events().is_empty());
    assert_eq!(bench.endpoint.counters().duplicates, 1);
}

// RFC 7252 §5.2.2: the response may arrive before the acknowledgement it follows.
#[test]
fn separate_response_without_an_ack_before_it_stops_retransmission() {
    let mut bench = bench();
    let asked = bench.ask(get());
    bench.take(&con(Code::CONTENT, 77).token_of(&asked));
    bench.pass_s(200);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.endpoint.counters().retransmissions, 0);
    let late = ack(Code::EMPTY, asked.header.message_id);
    assert!(bench.take(&late).is_empty());
    assert_eq!(response(bench.events()).code, Code::CONTENT);
}

#[test]
fn acknowledged_request_without_a_response_times_out() {
    let mut bench = bench();
    let asked = bench.ask(get());
    bench.take(&ack(Code::EMPTY, asked.header.message_id));
    bench.pass_s(92);
    assert!(bench.events().is_empty());
    bench.pass_s(2);
    assert_eq!(failure(bench.events()), Failure::TimedOut);
}

#[test]
fn reset_ends_a_con_and_a_non_request() {
    for request in [get(), get_non()] {
        let mut bench = bench();
        let asked = bench.ask(request);
        bench.take(&rst(asked.header.message_id));
        assert_eq!(failure(bench.events()), Failure::Reset);
        assert!(transmissions(&mut bench).is_empty());
    }
}

#[test]
fn non_request_is_sent_once_and_takes_a_non_response() {
    let mut bench = bench();
    let asked = bench.ask(get_non());
    assert_eq!(asked.header.kind, Kind::Non);
    bench.pass_s(10);
    assert!(bench.sent().is_empty());
    bench.take(&non(Code::CONTENT, 5).token_of(&asked));
    assert_eq!(response(bench.events()).code, Code::CONTENT);
}

#[test]
fn non_request_without_a_response_times_out() {
    let mut bench = bench();
    bench.ask(get_non());
    bench.pass_s(94);
    assert_eq!(failure(bench.events()), Failure::TimedOut);
}

// RFC 7252 §5.3.2
#[test]
fn piggybacked_response_must_match_message_id_and_token() {
    let mut bench = bench();
    let asked = bench.ask(get());
    let id = asked.header.message_id;
    bench.take(&ack(Code::CONTENT, id).token(b"other"));
    bench.take(&ack(Code::CONTENT, id.wrapping_add(1)).token_of(&asked));
    assert!(bench.events().is_empty());
    assert_eq!(bench.endpoint.counters().unmatched, 2);
}

#[test]
fn piggybacked_response_after_an_empty_ack_is_not_taken() {
    let mut bench = bench();
    let asked = bench.ask(get());
    bench.take(&ack(Code::EMPTY, asked.header.message_id));
    bench.take(&ack(Code::CONTENT, asked.header.message_id).token_of(&asked));
    assert!(bench.events().is_empty());
}

#[test]
fn response_of_another_peer_is_not_taken() {
    let mut bench = bench();
    let asked = bench.ask(get());
    let answer = ack(Code::CONTENT, asked.header.message_id).token_of(&asked);
    bench.take_from(2, &answer);
    let separate = con(Code::CONTENT, 9).token_of(&asked);
    assert_eq!(one(bench.take_from(2, &separate)).header, reset_of(9));
    assert!(bench.events().is_empty());
}

#[test]
fn unexpected_con_response_is_reset_and_a_non_one_ignored() {
    let mut bench = bench();
    let unexpected = con(Code::CONTENT, 9).token(b"none");
    assert_eq!(one(bench.take(&unexpected)).header, reset_of(9));
    assert!(bench.take(&non(Code::CONTENT, 10).token(b"none")).is_empty());
    assert!(bench.take(&ack(Code::CONTENT, 11).token(b"none")).is_empty());
    assert!(bench.events().is_empty());
}

// RFC 7252 §5.4.1
#[test]
fn critical_option_in_a_response_rejects_it_and_ends_the_request() {
    let unknown = RawOption { number: 2_049, value: vec![] };
    let mut bench = bench();
    let asked = bench.ask(get());
    let bad = con(Code::CONTENT, 9).token_of(&asked).with(|options| options.other.push(unknown));
    assert_eq!(one(bench.take(&bad)).header, reset_of(9));
    let reason = Failure::BadOption { number: 2_049 };
    assert_eq!(failure(bench.events()), reason);
}

fn two_requests(bench: &mut Bench) -> (Received, RequestId) {
    let first = bench.ask(get());
    let second = bench.endpoint.request(bench.now, PEER, get()).unwrap();
    assert!(bench.sent().is_empty());
    (first, second)
}

// RFC 7252 §4.7
#[test]
fn second_request_waits_for_the_first_ones_response() {
    let mut bench = bench();
    let (first, _) = two_requests(&mut bench);
    let answer = ack(Code::CONTENT, first.header.message_id).token_of(&first);
    let second = one(bench.take(&answer));
    assert_ne!(second.header.message_id, first.header.message_id);
    assert_ne!(second.token, first.token);
}

// RFC 7252 §4.7
#[test]
fn empty_ack_lets_the_second_request_go() {
    let mut bench = bench();
    let (first, _) = two_requests(&mut bench);
    assert_eq!(bench.take(&ack(Code::EMPTY, first.header.message_id)).len(), 1);
}

#[test]
fn timeout_of_the_first_request_lets_the_second_go() {
    let mut bench = bench();
    two_requests(&mut bench);
    assert_eq!(transmissions(&mut bench).len(), 9);
    assert_eq!(bench.events().len(), 2);
}

#[test]
fn cancelled_request_falls_silent_and_lets_the_next_go_at_the_next_timeout() {
    let mut bench = bench();
    let first = bench.endpoint.request(bench.now, PEER, get()).unwrap();
    bench.endpoint.request(bench.now, PEER, get()).unwrap();
    let asked = one(bench.sent());
    bench.endpoint.cancel(first);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.sent().len(), 1);
    let late = con(Code::CONTENT, 9).token_of(&asked);
    assert_eq!(one(bench.take(&late)).header, reset_of(9));
    assert!(bench.events().is_empty());
}

#[test]
fn nstart_of_two_sends_two_requests_at_once() {
    let mut config = Config::default();
    config.transmission.nstart = 2;
    let mut bench = Bench::new(config);
    for _ in 0..3 {
        bench.endpoint.request(bench.now, PEER, get()).unwrap();
    }
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn forgotten_peer_fails_its_requests_and_nothing_more_is_sent() {
    let mut bench = bench();
    two_requests(&mut bench);
    bench.endpoint.forget(PEER);
    for event in bench.events() {
        let gone = Failure::PeerGone;
        assert!(matches!(event, Event::Failed { reason, .. } if reason == gone));
    }
    assert_eq!(bench.endpoint.poll_timeout(), None);
}

#[test]
fn requests_past_a_bound_are_not_taken() {
    let config = Config { in_flight_max: 1, body_bytes_max: 2000, peers_max: 1, ..Config::default() };
    let mut bench = Bench::new(config);
    let mut request = |peer, request| bench.endpoint.request(bench.now, peer, request);
    let long = get().with_payload(42, vec![0; 2001]);
    let bytes = 2001;
    assert_eq!(request(PEER, long), Err(RequestError::BodyTooLarge { bytes }));
    let mut long = get();
    long.query = vec!["a".repeat(255); 6];
    let bytes_max = 1280;
    let refused = Err(RequestError::MessageTooLong { bytes_max });
    assert_eq!(request(PEER, long), refused);
    assert!(request(PEER, get()).is_ok());
    assert_eq!(request(PEER, get()), Err(RequestError::TooManyInFlight));
    assert_eq!(request(2, get()), Err(RequestError::TooManyPeers));
}

#[test]
fn two_endpoints_with_one_seed_send_the_same_and_with_another_seed_not() {
    let first = |seed| {
        let mut endpoint = crate::Endpoint::new(Config::default(), [seed; 32]);
        endpoint.request(Instant::default(), PEER, get()).unwrap();
        endpoint.poll_transmit().unwrap().bytes
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}
