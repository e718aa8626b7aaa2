//! Requests of a peer, row by row: deduplication (RFC 7252 §4.5), answers (§5.2), refusals.

use super::bench::{Bench, PEER, ack, con, empty_ack_of, non, one, reset_of, rst};
use crate::code::{Code, Method};
use crate::message::Kind;
use crate::option::RawOption;
use crate::{Config, ETag, Response, UnknownExchange};
use alloc::string::ToString;
use alloc::vec;

const GET: Code = Code(1);

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn content() -> Response {
    Response::new(Code::CONTENT).with_payload(0, b"on".to_vec())
}

#[test]
fn answer_in_time_is_piggybacked() {
    let mut bench = bench();
    let sent = bench.take(&con(GET, 5).token(b"t").path("a/b"));
    assert!(sent.is_empty());
    let (exchange, request) = bench.asked();
    assert_eq!((request.method, request.path.len()), (Method::Get, 2));
    let answer = one(bench.respond(exchange, content()));
    assert_eq!((answer.header.kind, answer.header.message_id), (Kind::Ack, 5));
    assert_eq!(answer.token.as_bytes(), b"t");
    assert_eq!(answer.payload, b"on");
    bench.pass_s(200);
    assert!(bench.sent().is_empty());
}

// RFC 7252 §4.5
#[test]
fn repeated_con_gets_the_same_answer_and_is_processed_once() {
    let mut bench = bench();
    let request = con(GET, 5).token(b"t").path("a");
    bench.take(&request);
    let (exchange, _) = bench.asked();
    let answer = one(bench.respond(exchange, content()));
    bench.pass_s(3);
    let again = one(bench.take(&request));
    assert_eq!((again.header, again.payload), (answer.header, answer.payload));
    assert!(bench.events().is_empty());
}

#[test]
fn repeated_con_before_the_answer_is_dropped_and_after_the_empty_ack_gets_it_again() {
    let mut bench = bench();
    let request = con(GET, 5).path("a");
    bench.take(&request);
    assert!(bench.take(&request).is_empty());
    bench.pass_s(1);
    assert_eq!(one(bench.sent()).header, empty_ack_of(5));
    assert_eq!(one(bench.take(&request)).header, empty_ack_of(5));
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn repeated_non_is_dropped() {
    let mut bench = bench();
    let request = non(GET, 5).path("a");
    bench.take(&request);
    let (exchange, asked) = bench.asked();
    assert!(!asked.confirmable);
    let answer = one(bench.respond(exchange, content()));
    assert_eq!(answer.header.kind, Kind::Non);
    assert!(bench.take(&request).is_empty());
    assert!(bench.events().is_empty());
}

#[test]
fn same_message_id_of_another_peer_or_after_its_lifetime_is_new() {
    let mut bench = bench();
    let request = con(GET, 5).path("a");
    for peer in [PEER, 2] {
        bench.take_from(peer, &request);
        assert_eq!(bench.events().len(), 1);
    }
    bench.pass_s(246);
    bench.take(&request);
    assert!(bench.events().is_empty());
    bench.pass_s(1);
    bench.take(&request);
    assert_eq!(bench.events().len(), 1);
}

// RFC 7252 §5.2.2
#[test]
fn late_answer_travels_in_a_con_of_its_own_until_it_is_acknowledged() {
    let mut bench = bench();
    bench.take(&con(GET, 5).token(b"t").path("a"));
    let (exchange, _) = bench.asked();
    bench.pass_s(2);
    assert_eq!(one(bench.sent()).header, empty_ack_of(5));
    let separate = one(bench.respond(exchange, content()));
    assert_eq!(separate.header.kind, Kind::Con);
    assert_eq!(separate.token.as_bytes(), b"t");
    bench.pass_s(4);
    assert_eq!(one(bench.sent()).header, separate.header);
    bench.take(&ack(Code::EMPTY, separate.header.message_id));
    bench.pass_s(100);
    assert!(bench.sent().is_empty());
}

#[test]
fn separate_response_ends_at_a_reset_or_after_five_transmissions() {
    for reset in [true, false] {
        let mut bench = bench();
        bench.take(&con(GET, 5).path("a"));
        let (exchange, _) = bench.asked();
        bench.pass_s(2);
        bench.sent();
        let separate = one(bench.respond(exchange, content()));
        if reset {
            bench.take(&rst(separate.header.message_id));
        }
        bench.pass_s(100);
        assert_eq!(bench.sent().len(), if reset { 0 } else { 4 });
        let lost = u64::from(!reset);
        assert_eq!(bench.endpoint.counters().responses_lost, lost);
    }
}

#[test]
fn exchange_is_answered_once_and_given_up_when_the_application_is_silent() {
    let mut bench = bench();
    bench.take(&con(GET, 5).path("a"));
    let (exchange, _) = bench.asked();
    bench.respond(exchange, content());
    let again = bench.endpoint.respond(bench.now, exchange, content());
    assert_eq!(again, Err(UnknownExchange));
    bench.take(&con(GET, 6).path("a"));
    let (exchange, _) = bench.asked();
    bench.pass_s(249);
    let late = bench.endpoint.respond(bench.now, exchange, content());
    assert_eq!(late, Err(UnknownExchange));
    assert_eq!(bench.endpoint.counters().exchanges_abandoned, 1);
}

#[test]
fn exchange_of_a_forgotten_peer_cannot_be_answered() {
    let mut bench = bench();
    bench.take(&con(GET, 5).path("a"));
    let (exchange, _) = bench.asked();
    bench.endpoint.forget(PEER);
    let late = bench.endpoint.respond(bench.now, exchange, content());
    assert_eq!(late, Err(UnknownExchange));
    assert_eq!(bench.endpoint.poll_timeout(), None);
}

#[test]
fn options_of_the_response_reach_the_wire() {
    let mut bench = bench();
    bench.take(&con(Code(2), 5).path("rd"));
    let (exchange, _) = bench.asked();
    let mut created = Response::new(Code::CREATED);
    created.location_path = vec!["rd".to_string(), "7".to_string()];
    created.etag = ETag::new(b"e").ok();
    created.max_age = Some(3600);
    let answer = one(bench.respond(exchange, created.clone()));
    let options = answer.options.unwrap();
    let read = Response::from_options(answer.header.code, options, answer.payload);
    assert_eq!(read, created);
}

// RFC 7252 §1.2, §4.2
#[test]
fn ping_is_answered_with_a_reset_and_leaves_no_trace() {
    let mut bench = bench();
    assert_eq!(one(bench.take(&con(Code::EMPTY, 5))).header, reset_of(5));
    assert!(bench.take(&non(Code::EMPTY, 6)).is_empty());
    assert_eq!(bench.endpoint.poll_timeout(), None);
}

fn refusal(request: &super::bench::Sending) -> Code {
    let mut bench = bench();
    let answer = one(bench.take(request));
    assert!(bench.events().is_empty());
    assert_eq!(answer.header.kind, Kind::Ack);
    answer.header.code
}

#[test]
fn unknown_method_proxying_and_bad_block_size_have_their_codes() {
    assert_eq!(refusal(&con(Code(8), 5).path("a")), Code::METHOD_NOT_ALLOWED);
    let raw = |number, value: &[u8]| RawOption { number, value: value.to_vec() };
    for (option, code) in [
        (raw(35, b"coap://x/"), Code::PROXYING_NOT_SUPPORTED),
        (raw(23, &[7]), Code::BAD_REQUEST),
        (raw(2_049, &[]), Code::BAD_OPTION),
        (raw(1, b"e"), Code::BAD_OPTION),
        (raw(9, &[]), Code::BAD_OPTION),
    ] {
        let request = con(GET, 5).with(|options| options.other.push(option));
        assert_eq!(refusal(&request), code);
    }
}

// RFC 7252 §5.4.1
#[test]
fn critical_option_in_a_non_request_drops_it() {
    let mut bench = bench();
    let unknown = RawOption { number: 2_049, value: vec![] };
    let request = non(GET, 5).with(|options| options.other.push(unknown));
    assert!(bench.take(&request).is_empty());
    assert!(bench.events().is_empty());
    assert_eq!(bench.endpoint.counters().options_refused, 1);
}

#[test]
fn host_and_port_are_kept_for_the_application() {
    let mut bench = bench();
    let host = RawOption { number: 3, value: b"server".to_vec() };
    bench.take(&con(GET, 5).with(|options| options.other.push(host.clone())));
    assert_eq!(bench.asked().1.other, vec![host]);
}

#[test]
fn request_past_the_unanswered_ones_is_dropped_and_its_repetition_taken_later() {
    let config = Config { exchanges_per_peer_max: 1, ..Config::default() };
    let mut bench = Bench::new(config);
    bench.take(&con(GET, 5).path("a"));
    let (exchange, _) = bench.asked();
    let second = con(GET, 6).path("b");
    bench.take(&second);
    assert!(bench.events().is_empty());
    bench.respond(exchange, content());
    bench.take(&second);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn response_too_long_for_a_datagram_becomes_an_internal_error() {
    let mut bench = bench();
    bench.take(&con(GET, 5).path("a"));
    let (exchange, _) = bench.asked();
    let mut long = content();
    long.location_query = vec!["a".repeat(255); 6];
    let answer = one(bench.respond(exchange, long));
    assert_eq!(answer.header.code, Code::INTERNAL_SERVER_ERROR);
}

#[test]
fn responses_without_acknowledgement_count_as_open_requests() {
    let config = Config { exchanges_per_peer_max: 4, ..Config::default() };
    let mut bench = Bench::new(config);
    // A peer that asks and asks, and acknowledges no response.
    for message_id in 0..40 {
        bench.take(&con(GET, message_id).path("a"));
        for event in bench.events() {
            let crate::Event::Request { exchange, .. } = event else { panic!("{event:?}") };
            bench.pass_s(1);
            bench.respond(exchange, content());
        }
        let load = bench.endpoint.load();
        assert!(load.exchanges + load.separate <= 4, "{load:?}");
    }
    assert!(bench.endpoint.counters().exchanges_refused > 0);
    // What was given up makes room.
    bench.pass_s(100);
    assert_eq!(bench.endpoint.load().separate, 0);
    bench.take(&con(GET, 100).path("a"));
    assert_eq!(bench.events().len(), 1);
}
