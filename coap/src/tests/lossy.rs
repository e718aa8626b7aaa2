//! Whole exchanges over a bad wire: nothing is delivered twice, everything ends, and what
//! arrives is right.

use super::world::{Weather, World};
use crate::code::{Code, Method};
use crate::{Block, BlockSize, ETag, Request, RequestId, Response};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;

const BODY_BYTES: usize = 64 * 1024;

fn body() -> Vec<u8> {
    (0..BODY_BYTES).map(|n| (n * 31 / 7).to_be_bytes()[7]).collect()
}

fn application(request: &Request) -> Response {
    match (request.method, request.path[0].as_str()) {
        (Method::Get, "large") => {
            let mut response = Response::new(Code::CONTENT).with_payload(42, body());
            response.etag = ETag::new(b"v1").ok();
            response
        }
        (Method::Get, "frame") => frame(request.block2),
        (Method::Put, _) if request.payload != body() => Response::new(Code::BAD_REQUEST),
        _ => Response::new(Code::CHANGED).with_payload(0, request.path[0].clone().into_bytes()),
    }
}

/// A handler that serves single blocks itself.
fn frame(wanted: Option<Block>) -> Response {
    let wanted = wanted.unwrap_or(Block::first(BlockSize::MAX));
    let at = wanted.offset_bytes();
    let block = body()[at..at + wanted.size.bytes()].to_vec();
    let mut response = Response::new(Code::CONTENT).with_payload(42, block);
    let more = at + wanted.size.bytes() < BODY_BYTES;
    response.block2 = Some(Block { more, ..wanted });
    response
}

fn weather() -> impl Strategy<Value = Weather> {
    (0u32..25, 0u32..30, 1u32..4_000, 1u32..3_000).prop_map(
        |(loss_percent, double_percent, delay_ms_max, think_ms_max)| Weather {
            loss_percent,
            double_percent,
            delay_ms_max,
            think_ms_max,
        },
    )
}

/// Every request has exactly one end, and nothing is left in either endpoint.
fn assert_all_ended_once(world: &World, ids: &[RequestId]) {
    let ended: BTreeSet<_> = world.ended.iter().map(|(id, _)| *id).collect();
    assert_eq!(world.ended.len(), ids.len());
    assert_eq!(ended, ids.iter().copied().collect());
    for endpoint in &world.endpoints {
        assert_eq!(endpoint.poll_timeout(), None);
    }
}

const MILD: Weather = Weather { loss_percent: 5, double_percent: 20, delay_ms_max: 300, think_ms_max: 1_500 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plain_requests_are_acted_on_at_most_once(seed in any::<u8>(), weather in weather()) {
        let mut world = World::new(seed, weather);
        let mut ids = Vec::new();
        for n in 0..10 {
            let mut request = Request::new(Method::Post, &std::format!("/{n}"));
            request.confirmable = n % 3 != 0;
            ids.push(world.ask(request));
        }
        world.run(&application);
        assert_all_ended_once(&world, &ids);
        let asked: BTreeSet<_> = world.asked.iter().map(|request| &request.path).collect();
        prop_assert_eq!(asked.len(), world.asked.len());
        for (id, response) in &world.ended {
            let path = ids.iter().position(|other| other == id).unwrap();
            if let Some(response) = response {
                let text = std::format!("{path}");
                prop_assert_eq!(&response.payload, text.as_bytes());
            }
        }
    }

    #[test]
    fn body_of_64_kib_goes_up_once_and_whole(seed in any::<u8>(), weather in weather()) {
        let mut world = World::new(seed, weather);
        let put = Request::new(Method::Put, "/5/0/0").with_payload(42, body());
        let id = world.ask(put);
        world.run(&application);
        assert_all_ended_once(&world, &[id]);
        prop_assert!(world.asked.len() <= 1);
        prop_assert!(world.asked.iter().all(|request| request.payload == body()));
    }

    #[test]
    fn body_of_64_kib_comes_down_whole_or_not_at_all(seed in any::<u8>(), weather in weather()) {
        let mut world = World::new(seed, weather);
        let id = world.ask(Request::new(Method::Get, "/large"));
        world.run(&application);
        assert_all_ended_once(&world, &[id]);
        if let Some(response) = &world.ended[0].1 {
            prop_assert_eq!((response.code, &response.payload), (Code::CONTENT, &body()));
        }
    }

    #[test]
    fn single_blocks_come_as_asked(seed in any::<u8>(), weather in weather()) {
        let mut world = World::new(seed, weather);
        let numbers = [0, 63, 7, 8, 31];
        let ids: Vec<_> = numbers
            .iter()
            .map(|number| {
                let wanted = Block::ask(*number, BlockSize::MAX);
                world.ask(Request::new(Method::Get, "/frame").with_block2(wanted))
            })
            .collect();
        world.run(&application);
        assert_all_ended_once(&world, &ids);
        prop_assert!(world.asked.len() <= numbers.len());
        for (id, response) in &world.ended {
            let at = ids.iter().position(|other| other == id).unwrap();
            let wanted = Block::ask(numbers[at], BlockSize::MAX);
            if let Some(response) = response {
                prop_assert_eq!(response, &frame(Some(wanted)));
            }
        }
    }
}

#[test]
fn mild_loss_costs_retransmissions_and_no_request() {
    for seed in 0..20 {
        let mut world = World::new(seed, MILD);
        let up = world.ask(Request::new(Method::Put, "/5/0/0").with_payload(42, body()));
        let down = world.ask(Request::new(Method::Get, "/large"));
        world.run(&application);
        assert_all_ended_once(&world, &[up, down]);
        for (id, response) in &world.ended {
            let response = response.as_ref().unwrap_or_else(|| panic!("seed {seed}: {id:?}"));
            assert!(response.code.is_success(), "seed {seed}: {response:?}");
        }
        assert!(world.endpoints[0].counters().retransmissions > 0);
    }
}
