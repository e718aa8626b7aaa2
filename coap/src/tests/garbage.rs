//! Bytes that no peer should send: nothing panics, little is answered, a live exchange survives.

use super::bench::{Bench, PEER, ack, con, one};
use crate::code::Code;
use crate::{Config, Event, Method, Request};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn feed(bench: &mut Bench, datagram: &[u8]) -> Vec<Vec<u8>> {
    bench.endpoint.handle_datagram(bench.now, PEER, datagram);
    core::iter::from_fn(|| bench.endpoint.poll_transmit()).map(|transmit| transmit.bytes).collect()
}

/// What it is, its bytes, the answers.
type Row<'a> = (&'a str, &'a [u8], &'a [&'a [u8]]);

#[test]
fn each_kind_of_bad_input_has_its_answer() {
    let nothing: &[&[u8]] = &[];
    let reset: &[&[u8]] = &[&[0x70, 0, 0x12, 0x34]];
    let rows: [Row; 14] = [
        ("nothing at all", &[], nothing),
        ("short header", &[0x40, 1, 0x12], nothing),
        ("version 2", &[0x80, 1, 0x12, 0x34], nothing),
        ("version 0", &[0, 1, 0x12, 0x34], nothing),
        ("token of 9 bytes", &[0x49, 1, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0], reset),
        ("token cut off", &[0x48, 1, 0x12, 0x34, 0], reset),
        ("option cut off", &[0x40, 1, 0x12, 0x34, 0xb5, b'a'], reset),
        ("option delta 15", &[0x40, 1, 0x12, 0x34, 0xf0], reset),
        ("option length 15", &[0x40, 1, 0x12, 0x34, 0x0f], reset),
        ("marker without payload", &[0x40, 1, 0x12, 0x34, 0xff], reset),
        ("Empty with a payload", &[0x40, 0, 0x12, 0x34, 0xff, 1], reset),
        ("reserved class 1", &[0x40, 0x20, 0x12, 0x34], reset),
        ("ACK with a request code", &[0x60, 1, 0x12, 0x34], nothing),
        ("RST with a code", &[0x70, 0x45, 0x12, 0x34], nothing),
    ];
    for (name, datagram, answer) in rows {
        let mut bench = Bench::new(Config::default());
        assert_eq!(feed(&mut bench, datagram), answer, "{name}");
        assert!(bench.events().is_empty(), "{name}");
        assert_eq!(bench.endpoint.counters().malformed, 1, "{name}");
        assert_eq!(bench.endpoint.poll_timeout(), None, "{name}");
    }
}

#[test]
fn malformed_non_brings_no_answer() {
    let mut bench = Bench::new(Config::default());
    assert!(feed(&mut bench, &[0x50, 1, 0x12, 0x34, 0xff]).is_empty());
}

#[test]
fn oversized_datagram_is_malformed() {
    let mut bench = Bench::new(Config::default());
    let long = con(Code(2), 0x1234).path("a").payload(&vec![0; 1280]);
    assert_eq!(feed(&mut bench, &long.bytes()), [[0x70, 0, 0x12, 0x34]]);
}

#[test]
fn live_exchange_survives_twenty_thousand_garbage_datagrams() {
    let mut bench = Bench::new(Config::default());
    let asked = bench.ask(Request::new(Method::Get, "/a"));
    let mut noise = crate::generator::Generator::new([9; 32]);
    for _ in 0..20_000 {
        let length = usize::from(noise.next_u16() % 40);
        let garbage: Vec<u8> = (0..length).map(|_| noise.next().to_be_bytes()[0]).collect();
        feed(&mut bench, &garbage);
    }
    bench.events();
    let answer = ack(Code::CONTENT, asked.header.message_id).token_of(&asked);
    bench.take(&answer);
    assert!(matches!(one(bench.events()), Event::Response { .. }));
}

/// Starts from a message that is right, so that more than the header is reached.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let block = proptest::option::of(0u8..=7);
    (1u8..8, any::<u16>(), block, proptest::collection::vec(change, 0..4)).prop_map(
        |(code, id, exponent, changes)| {
            let mut bytes = con(Code(code), id).path("5/0/0").payload(&[1; 20]).bytes();
            if let Some(exponent) = exponent {
                // Block1 after Uri-Path: delta 16, one byte.
                let marker = bytes.len() - 21;
                bytes.splice(marker..marker, [0xd1, 3, 0x08 | exponent]);
            }
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic_and_everything_ends(
        datagrams in proptest::collection::vec(
            (0u64..3, prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), nearly_right()]),
            1..40,
        ),
    ) {
        let mut bench = Bench::new(Config::default());
        let id = bench.endpoint.request(bench.now, 0, Request::new(Method::Get, "/a")).unwrap();
        for (peer, datagram) in datagrams {
            bench.endpoint.handle_datagram(bench.now, peer, &datagram);
        }
        bench.pass_s(3_000);
        prop_assert_eq!(bench.endpoint.poll_timeout(), None);
        let ends = bench.events().into_iter().filter(|event| match event {
            Event::Response { id: ended, .. } | Event::Failed { id: ended, .. } => *ended == id,
            Event::Request { .. } => false,
        });
        prop_assert_eq!(ends.count(), 1);
    }
}
