//! Bodies in blocks on the server's side (RFC 7959); the client's side is in `transfer`.

use super::bench::{Bench, Sending, con, one};
use crate::code::{Code, Method};
use crate::message::Received;
use crate::option::RawOption;
use crate::option::number;
use crate::option::set::OptionSet;
use crate::{Block, BlockSize, Config, ETag, Response};
use alloc::vec;
use alloc::vec::Vec;

const GET: Code = Code(1);
const POST: Code = Code(2);
const PUT: Code = Code(3);

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn block(number: u32, more: bool, exponent: u8) -> Block {
    Block { number, more, size: BlockSize::from_exponent(exponent).unwrap() }
}

/// One block of a PUT; blocks of 16 bytes filled with `fill`.
fn part(message_id: u16, number: u32, more: bool, fill: u8) -> Sending {
    con(PUT, message_id)
        .path("5/0/0")
        .with(|options| options.block1 = Some(block(number, more, 0)))
        .payload(&[fill; 16])
}

fn code_and_options(sent: Vec<Received>) -> (Code, OptionSet) {
    let answer = one(sent);
    (answer.header.code, answer.options.unwrap())
}

fn get_block(message_id: u16, wanted: Block) -> Sending {
    con(GET, message_id).path("f").with(|options| options.block2 = Some(wanted))
}

#[test]
fn blocks_are_continued_and_the_application_sees_the_whole_body() {
    let mut bench = bench();
    for number in 0..2u8 {
        let sent = bench.take(&part(u16::from(number), u32::from(number), true, number));
        let (code, options) = code_and_options(sent);
        assert_eq!(code, Code::CONTINUE);
        assert_eq!(options.block1, Some(block(u32::from(number), true, 0)));
    }
    assert!(bench.take(&part(2, 2, false, 2)).is_empty());
    let (exchange, request) = bench.asked();
    assert_eq!(request.method, Method::Put);
    assert_eq!(request.payload, [[0; 16], [1; 16], [2; 16]].concat());
    let sent = bench.respond(exchange, Response::new(Code::CHANGED));
    let (code, options) = code_and_options(sent);
    assert_eq!((code, options.block1), (Code::CHANGED, Some(block(2, false, 0))));
}

#[test]
fn server_of_small_blocks_asks_for_them_and_takes_them() {
    let config = Config { block_size: BlockSize::MIN, ..Config::default() };
    let mut bench = Bench::new(config);
    let first = con(PUT, 1).with(|options| options.block1 = Some(block(0, true, 1))).payload(&[0; 32]);
    let (_, options) = code_and_options(bench.take(&first));
    assert_eq!(options.block1, Some(block(0, true, 0)));
    let next = con(PUT, 2).with(|options| options.block1 = Some(block(2, false, 0))).payload(&[0; 5]);
    bench.take(&next);
    assert_eq!(bench.asked().1.payload.len(), 37);
}

// RFC 7959 §2.9.2
#[test]
fn block_out_of_order_is_incomplete_and_the_right_one_still_fits() {
    let mut bench = bench();
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    assert_eq!(code_and_options(bench.take(&part(1, 1, true, 1))).0, incomplete);
    bench.take(&part(2, 0, true, 0));
    assert_eq!(code_and_options(bench.take(&part(3, 2, true, 2))).0, incomplete);
    assert_eq!(code_and_options(bench.take(&part(4, 1, true, 1))).0, Code::CONTINUE);
    assert!(bench.events().is_empty());
}

#[test]
fn body_started_again_in_the_middle_is_the_new_one_alone() {
    let mut bench = bench();
    bench.take(&part(1, 0, true, 1));
    bench.take(&part(2, 1, true, 1));
    bench.take(&part(3, 0, true, 2));
    bench.take(&part(4, 1, false, 2));
    assert_eq!(bench.asked().1.payload, [2; 32]);
}

#[test]
fn two_bodies_for_two_resources_interleave() {
    let mut bench = bench();
    let other = |id, number, more| part(id, number, more, 9).path("33629/0/0");
    bench.take(&part(1, 0, true, 1));
    bench.take(&other(2, 0, true));
    bench.take(&part(3, 1, false, 1));
    assert_eq!(bench.asked().1.payload, [1; 32]);
    bench.take(&other(4, 1, false));
    assert_eq!(bench.asked().1.payload, [9; 32]);
}

#[test]
fn two_bodies_for_one_resource_never_mix() {
    let mut bench = bench();
    bench.take(&part(1, 0, true, 1));
    bench.take(&part(2, 1, true, 1));
    bench.take(&part(3, 0, true, 2));
    let sent = bench.take(&part(4, 2, false, 1));
    assert_eq!(code_and_options(sent).0, Code::REQUEST_ENTITY_INCOMPLETE);
    bench.take(&part(5, 1, false, 2));
    assert_eq!(bench.asked().1.payload, [2; 32]);
}

// RFC 9175 §3.3
#[test]
fn bodies_for_one_resource_interleave_under_different_request_tags() {
    let mut bench = bench();
    let tagged = |id, number, more, tag: u8| {
        let tag = RawOption { number: number::REQUEST_TAG, value: vec![tag] };
        part(id, number, more, tag.value[0]).with(|options| options.other.push(tag))
    };
    bench.take(&tagged(1, 0, true, 1));
    bench.take(&tagged(2, 0, true, 2));
    bench.take(&tagged(3, 1, false, 1));
    assert_eq!(bench.asked().1.payload, [1; 32]);
    bench.take(&tagged(4, 1, false, 2));
    assert_eq!(bench.asked().1.payload, [2; 32]);
}

// RFC 7959 §2.9.3
#[test]
fn body_past_the_bound_is_refused_with_the_bound() {
    let config = Config { body_bytes_max: 40, ..Config::default() };
    let mut bench = Bench::new(config);
    for id in 0..2 {
        bench.take(&part(id, u32::from(id), true, 0));
    }
    let too_large = (Code::REQUEST_ENTITY_TOO_LARGE, Some(40));
    let (code, options) = code_and_options(bench.take(&part(2, 2, true, 0)));
    assert_eq!((code, options.size1), too_large);
    let announced = part(3, 0, true, 0).with(|options| options.size1 = Some(41));
    let (code, options) = code_and_options(bench.take(&announced));
    assert_eq!((code, options.size1), too_large);
    let whole = con(POST, 4).path("a").payload(&[0; 41]);
    let (code, options) = code_and_options(bench.take(&whole));
    assert_eq!((code, options.size1), too_large);
}

#[test]
fn block_of_another_length_than_it_says_is_a_bad_request() {
    let mut bench = bench();
    for (id, more, bytes) in [(1, true, 15), (2, true, 17), (3, false, 17)] {
        let bad = part(id, 0, more, 0).payload(&vec![0; bytes]);
        assert_eq!(code_and_options(bench.take(&bad)).0, Code::BAD_REQUEST);
    }
}

#[test]
fn half_a_body_is_dropped_after_its_wait() {
    let mut bench = bench();
    bench.take(&part(1, 0, true, 0));
    bench.pass_s(248);
    assert_eq!(bench.endpoint.counters().bodies_expired, 1);
    let sent = bench.take(&part(2, 1, false, 0));
    assert_eq!(code_and_options(sent).0, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn oldest_body_of_a_peer_makes_room_and_all_peers_together_are_bounded() {
    let config = Config { bodies_per_peer_max: 1, held_bytes_max: 40, ..Config::default() };
    let mut bench = Bench::new(config);
    bench.take(&part(1, 0, true, 0));
    bench.take(&part(2, 0, true, 0).path("b"));
    let sent = bench.take(&part(3, 1, true, 0));
    assert_eq!(code_and_options(sent).0, Code::REQUEST_ENTITY_INCOMPLETE);
    let sent = bench.take_from(2, &part(1, 0, true, 0));
    assert_eq!(code_and_options(sent).0, Code::CONTINUE);
    let sent = bench.take_from(3, &part(1, 0, true, 0));
    assert_eq!(code_and_options(sent).0, Code::SERVICE_UNAVAILABLE);
    bench.endpoint.forget(2);
    let sent = bench.take_from(3, &part(2, 0, true, 0));
    assert_eq!(code_and_options(sent).0, Code::CONTINUE);
}

/// Answers a first GET with 40 bytes under a tag.
fn first_block(bench: &mut Bench, id: u16, exponent: u8) -> OptionSet {
    bench.take(&get_block(id, block(0, false, exponent)));
    let (exchange, _) = bench.asked();
    let mut whole = Response::new(Code::CONTENT).with_payload(42, vec![3; 40]);
    whole.etag = ETag::new(b"e").ok();
    code_and_options(bench.respond(exchange, whole)).1
}

#[test]
fn large_response_is_sliced_and_its_other_blocks_served_without_the_application() {
    let mut bench = bench();
    let options = first_block(&mut bench, 1, 0);
    assert_eq!(options.block2, Some(block(0, true, 0)));
    assert_eq!(options.size2, Some(40));
    for (number, bytes) in [(1, 16), (2, 8)] {
        let wanted = block(number, false, 0);
        let answer = one(bench.take(&get_block(1 + u16::try_from(number).unwrap(), wanted)));
        let options = answer.options.unwrap();
        assert_eq!(options.block2, Some(block(number, number < 2, 0)));
        assert_eq!(options.etags, [ETag::new(b"e").unwrap()]);
        assert_eq!(answer.payload, vec![3; bytes]);
    }
    assert!(bench.events().is_empty());
}

#[test]
fn block_past_the_end_is_a_bad_request() {
    let mut bench = bench();
    first_block(&mut bench, 1, 0);
    let sent = bench.take(&get_block(2, block(3, false, 0)));
    assert_eq!(code_and_options(sent).0, Code::BAD_REQUEST);
}

#[test]
fn any_block_of_a_get_is_cut_from_the_applications_whole_body() {
    let mut bench = bench();
    bench.take(&get_block(1, block(1, false, 0)));
    let (exchange, request) = bench.asked();
    assert_eq!(request.block2, Some(block(1, false, 0)));
    let whole = Response::new(Code::CONTENT).with_payload(42, (0..40).collect());
    let answer = one(bench.respond(exchange, whole));
    assert_eq!(answer.payload, (16..32).collect::<Vec<u8>>());
}

#[test]
fn further_block_of_a_post_is_never_a_second_post() {
    let mut bench = bench();
    let wanted = con(POST, 1).path("u").with(|options| options.block2 = Some(block(1, false, 0)));
    let sent = bench.take(&wanted);
    assert_eq!(code_and_options(sent).0, Code::REQUEST_ENTITY_INCOMPLETE);
    assert!(bench.events().is_empty());
}

#[test]
fn block_of_the_application_is_sent_as_it_is() {
    let mut bench = bench();
    bench.take(&get_block(1, block(7, false, 6)));
    let (exchange, _) = bench.asked();
    let mut frame = Response::new(Code::CONTENT).with_payload(42, vec![5; 1024]);
    frame.block2 = Some(block(7, true, 6));
    frame.size2 = Some(64 * 1024);
    let answer = one(bench.respond(exchange, frame.clone()));
    let options = answer.options.unwrap();
    let read = Response::from_options(answer.header.code, options, answer.payload);
    assert_eq!(read, frame);
    bench.take(&get_block(2, block(8, false, 6)));
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn long_text_of_an_error_is_cut_to_one_block() {
    let mut bench = bench();
    bench.take(&con(GET, 1).path("f"));
    let (exchange, _) = bench.asked();
    let error = Response::new(Code::NOT_FOUND).with_payload(0, vec![b'x'; 3000]);
    let answer = one(bench.respond(exchange, error));
    assert_eq!(answer.payload.len(), 1024);
    assert_eq!(answer.options.unwrap().block2, None);
}
