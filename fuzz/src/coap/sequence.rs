//! An endpoint fed datagrams and time in any order, as server and as client.

use core::time::Duration;
use std::collections::{HashMap, HashSet};

use bellwether_coap::{
    Code, Config, Endpoint, Event, ExchangeId, Instant, Method, Request, RequestId, Response,
};

use super::is_well_formed;
use crate::input::{Input, counted};

/// Peers that take part.
const PEERS: u8 = 3;

/// Steps of one run.
const STEPS_MAX: usize = 200;

/// Timers that may fire until nothing waits any more: each of the steps leaves a few, each a few times.
const TIMEOUTS_MAX: usize = 20_000;

fn config() -> Config {
    Config { body_bytes_max: 4096, held_bytes_max: 16 * 1024, peers_max: 2, ..Config::default() }
}

/// The endpoint, what was sent last to each peer, and what is still open.
struct Run {
    endpoint: Endpoint<u8>,
    now: Instant,
    sent: HashMap<u8, Vec<u8>>,
    open: Vec<ExchangeId>,
    asked: HashSet<RequestId>,
    ended: HashSet<RequestId>,
}

impl Run {
    /// Takes out everything there is, and asserts that it is in its bounds; gives the number of datagrams.
    fn drained(&mut self) -> usize {
        let mut count = 0;
        while let Some(transmit) = self.endpoint.poll_transmit() {
            assert!(is_well_formed(&transmit.bytes), "{:02x?}", transmit.bytes);
            assert!(transmit.bytes.len() <= config().datagram_bytes_max);
            self.sent.insert(transmit.peer, transmit.bytes);
            count += 1;
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { exchange, request, .. } => {
                    assert!(request.payload.len() <= config().body_bytes_max);
                    self.open.push(exchange);
                }
                Event::Response { id, response, .. } => {
                    assert!(response.payload.len() <= config().body_bytes_max);
                    self.end(id);
                }
                Event::Failed { id, .. } => self.end(id),
            }
        }
        let (load, bounds) = (self.endpoint.load(), config());
        assert!(load.peers <= bounds.peers_max, "{load:?}");
        assert!(load.requests <= load.peers * bounds.in_flight_max, "{load:?}");
        assert!(load.exchanges + load.separate <= load.peers * bounds.exchanges_per_peer_max, "{load:?}");
        assert!(load.bodies <= load.peers * bounds.bodies_per_peer_max, "{load:?}");
        assert!(load.body_bytes <= bounds.held_bytes_max, "{load:?}");
        count
    }

    fn end(&mut self, id: RequestId) {
        assert!(self.asked.contains(&id), "a request that was not made ended");
        assert!(self.ended.insert(id), "a request ended twice");
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let peer = input.byte() % PEERS;
        match input.byte() % 9 {
            0 | 1 => self.receive(peer, input.counted()),
            2 => self.receive(peer, &block_of(input)),
            3 => self.receive(peer, &answer_to(self.sent.get(&peer).map_or(&[], Vec::as_slice), input)),
            4 => {
                self.now = Instant(self.now.0 + Duration::from_millis(u64::from(input.u16()) * 4));
                self.endpoint.handle_timeout(self.now);
            }
            5 => self.ask(peer, input),
            6 if !self.open.is_empty() => {
                let exchange = self.open.remove(usize::from(input.byte()) % self.open.len());
                let codes = [0x45, 0x44, 0x43, 0x84, 0xa0];
                let mut response = Response::new(Code(codes[usize::from(input.byte()) % codes.len()]));
                response.payload = vec![7; usize::from(input.u16()) % 5000];
                let _ = self.endpoint.respond(self.now, exchange, response);
            }
            7 => self.endpoint.forget(peer),
            _ => {
                if let Some(id) = self.asked.difference(&self.ended).min().copied() {
                    self.endpoint.cancel(id);
                    self.ended.insert(id);
                }
            }
        }
    }

    fn receive(&mut self, peer: u8, datagram: &[u8]) {
        self.endpoint.handle_datagram(self.now, peer, datagram);
        // An answer, and the next message of ours that the answer made room for.
        let sent = self.drained();
        assert!(sent <= 2, "one datagram brings {sent}");
    }

    fn ask(&mut self, peer: u8, input: &mut Input<'_>) {
        let method = if input.byte() & 1 == 0 { Method::Get } else { Method::Put };
        let mut request = Request::new(method, "/5/0/0");
        request.confirmable = input.byte() & 3 != 0;
        request.payload = vec![1; usize::from(input.u16()) % 4200];
        if let Ok(id) = self.endpoint.request(self.now, peer, request) {
            self.asked.insert(id);
        }
    }

    /// Lets time pass until nothing waits: everything has ended then, and nothing is kept.
    fn finish(&mut self) {
        for _ in 0..TIMEOUTS_MAX {
            let Some(next) = self.endpoint.poll_timeout() else {
                assert_eq!(self.endpoint.load(), bellwether_coap::Load::default());
                assert_eq!(self.asked, self.ended, "a request has no end");
                return;
            };
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            self.drained();
        }
        panic!("timers go on for ever: {:?}", self.endpoint.load());
    }
}

/// Steps: a peer, what happens, and what it happens with.
pub(crate) fn sequence(data: &[u8]) {
    let mut input = Input::new(data);
    let mut run = Run {
        endpoint: Endpoint::new(config(), [4; 32]),
        now: Instant::default(),
        sent: HashMap::new(),
        open: Vec::new(),
        asked: HashSet::new(),
        ended: HashSet::new(),
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
        run.drained();
    }
    run.finish();
}

/// Writes a request with a block option and a body that fits it, or nearly.
fn block_of(input: &mut Input<'_>) -> Vec<u8> {
    let (shape, message_id, token) = (input.byte(), input.byte(), input.byte() % 4);
    let (number, exponent) = (u32::from(input.byte()), shape & 7);
    let more = shape & 8;
    let code = [1, 2, 3, 5][usize::from(shape >> 4 & 3)];
    let kind = if shape & 0x40 == 0 { 0x40 } else { 0x50 };
    let value = number << 4 | u32::from(more | exponent);
    let mut bytes = vec![kind | 1, code, 0, message_id, token, 0xb1, b'a'];
    // Uri-Path is 11, Block2 23, Block1 27.
    let delta = if shape & 0x80 == 0 { 27 - 11 } else { 23 - 11 };
    let value = value.to_be_bytes();
    if delta < 13 {
        bytes.push(delta << 4 | 2);
    } else {
        bytes.extend([0xd2, delta - 13]);
    }
    bytes.extend_from_slice(&value[2..]);
    let skew = input.byte();
    let length = usize::from(16_u16 << exponent.min(6)).saturating_sub(usize::from(skew & 3));
    if shape & 0x80 == 0 && length > 0 {
        bytes.push(0xff);
        bytes.extend(vec![skew; if skew & 0x80 == 0 { length } else { length / 2 + 1 }]);
    }
    bytes
}

/// Writes an answer that fits what was sent: its token, its message id, and what the input says.
fn answer_to(sent: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let Some(header) = sent.first_chunk::<4>() else { return Vec::new() };
    let shape = input.byte();
    let token = sent.get(4..4 + usize::from(header[0] & 15)).unwrap_or_default();
    match shape & 7 {
        0 => vec![0x60, 0, header[2], header[3]],
        1 => vec![0x70, 0, header[2], header[3]],
        _ => {
            let kind = [0x60, 0x60, 0x60, 0x60, 0x40, 0x50][usize::from(shape & 7) - 2];
            let count = u8::try_from(token.len()).unwrap_or_default();
            let codes = [0x45, 0x44, 0x5f, 0x88, 0x8d, 0x41, 0x45, 0x45];
            let mut bytes = vec![kind | count, codes[usize::from(shape >> 3 & 7)], header[2], header[3]];
            bytes.extend_from_slice(token);
            bytes.extend_from_slice(input.counted());
            bytes
        }
    }
}

pub(crate) fn sequence_seeds() -> Vec<Vec<u8>> {
    let datagram = |bytes: &[u8]| [&[0, 0][..], &counted(bytes)].concat();
    let block = |number: u8, more: u8| vec![0, 2, 2 | more << 3 | 0x20, number, 1, number, 0];
    let answer = |shape: u8, rest: &[u8]| [&[1, 3, shape][..], &counted(rest)].concat();
    let pass = |quarter_s: u16| [&[0, 4][..], &(quarter_s * 62).to_be_bytes()].concat();
    let ask = |method: u8, length: u16| [&[1, 5, method, 1][..], &length.to_be_bytes()].concat();
    let respond = |length: u16| [&[0, 6, 0, 0x45][..], &length.to_be_bytes()].concat();
    vec![
        super::message_seeds().iter().flat_map(|bytes| datagram(bytes)).collect(),
        [block(0, 1), block(1, 1), block(2, 0), respond(3000), pass(8), block(1, 0)].concat(),
        [ask(1, 3000), answer(2, b"\xd1\x0e\x0e"), answer(0x12, b"\xd1\x0e\x1e"), answer(2, b"\xd1\x0e\x26")]
            .concat(),
        [
            ask(0, 0),
            answer(2, &[&b"\xd1\x0a\x0a\xff"[..], &[5; 64]].concat()),
            answer(2, b"\xd1\x0a\x12\xffend"),
        ]
        .concat(),
        [ask(0, 0), ask(1, 20), vec![1, 3, 0], pass(20), answer(6, b"\xffx"), vec![1, 7], vec![0, 8]]
            .concat(),
        [datagram(b"\x41\x01\x00\x01t\xb1a"), pass(5), respond(100), pass(100), vec![0, 3, 0]].concat(),
    ]
}
