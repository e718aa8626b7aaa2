//! Two honest endpoints over a wire that loses, doubles, delays, reorders and alters.

use core::time::Duration;

use bellwether_coap::{Code, Config, Endpoint, Event, Instant, Method, Request, RequestId, Response};

use crate::input::Input;

/// Datagrams on their way: when they arrive, at which end, and what they are.
struct Wire<'a> {
    fate: Input<'a>,
    under_way: Vec<(Instant, usize, Vec<u8>)>,
    altered: bool,
}

impl Wire<'_> {
    fn send(&mut self, now: Instant, to: usize, bytes: Vec<u8>) {
        let fate = self.fate.byte();
        let late = |quarters: u8| Instant(now.0 + Duration::from_millis(20 + u64::from(quarters) * 1500));
        match fate & 7 {
            1 => {}
            2 => {
                self.under_way.push((late(0), to, bytes.clone()));
                self.under_way.push((late(fate >> 3 & 7), to, bytes));
            }
            3 => self.under_way.push((late(fate >> 3 & 7), to, bytes)),
            4 if !bytes.is_empty() => {
                let mut bytes = bytes;
                let at = usize::from(self.fate.u16()) % bytes.len();
                bytes[at] ^= self.fate.byte() | 1;
                self.altered = true;
                self.under_way.push((late(0), to, bytes));
            }
            _ => self.under_way.push((late(0), to, bytes)),
        }
    }

    fn arrivals(&mut self, now: Instant) -> Vec<(usize, Vec<u8>)> {
        self.under_way.sort_by_key(|(at, ..)| *at);
        let due = self.under_way.iter().take_while(|(at, ..)| *at <= now).count();
        self.under_way.drain(..due).map(|(_, to, bytes)| (to, bytes)).collect()
    }
}

fn body(length: u16, mark: u8) -> Vec<u8> {
    (0..length).map(|at| at.to_be_bytes()[1] ^ mark).collect()
}

/// Every request ends exactly once; what arrives on a wire that alters nothing is what was sent.
pub(crate) fn pair(data: &[u8]) {
    let mut input = Input::new(data);
    let (up, down) = (input.u16() % 4000, input.u16() % 4000);
    let late = input.byte() & 1 == 1;
    let mut wire = Wire { fate: input, under_way: Vec::new(), altered: false };
    let mut ends = [
        Endpoint::<usize>::new(Config::default(), [5; 32]),
        Endpoint::<usize>::new(Config::default(), [6; 32]),
    ];
    let mut now = Instant::default();
    let put = Request::new(Method::Put, "/5/0/0").with_payload(42, body(up, 1));
    let get = Request::new(Method::Get, "/f");
    let asked: Vec<RequestId> =
        [put, get].into_iter().map(|request| ends[0].request(now, 1, request).expect("room")).collect();
    let mut ended = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..STEPS_MAX {
        for at in [0, 1] {
            drain(at, &mut ends, now, &mut wire, &mut ended, &mut waiting);
        }
        if !late || wire.under_way.is_empty() {
            for (exchange, request) in waiting.drain(..) {
                answer(&mut ends[1], now, exchange, &request, (up, down), wire.altered);
            }
            drain(1, &mut ends, now, &mut wire, &mut ended, &mut waiting);
        }
        let timers = ends.iter().filter_map(Endpoint::poll_timeout);
        let Some(next) = timers.chain(wire.under_way.iter().map(|(at, ..)| *at)).min() else { break };
        now = now.max(next);
        for (to, bytes) in wire.arrivals(now) {
            ends[to].handle_datagram(now, 1 - to, &bytes);
        }
        for end in &mut ends {
            end.handle_timeout(now);
        }
    }
    for end in &ends {
        assert_eq!(
            (end.poll_timeout(), end.load().peers),
            (None, 0),
            "something never ends: {:?}",
            end.load()
        );
    }
    ended.sort_by_key(|(id, _)| *id);
    assert_eq!(ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), asked, "each request ends once");
    if let (Some((_, Some(got))), false) = (ended.get(1), wire.altered) {
        assert_eq!(got.payload, body(down, 2), "the body that was sent");
    }
}

type Waiting = Vec<(bellwether_coap::ExchangeId, Request)>;

fn drain(
    at: usize,
    ends: &mut [Endpoint<usize>; 2],
    now: Instant,
    wire: &mut Wire<'_>,
    ended: &mut Vec<(RequestId, Option<Response>)>,
    waiting: &mut Waiting,
) {
    while let Some(transmit) = ends[at].poll_transmit() {
        wire.send(now, 1 - at, transmit.bytes);
    }
    while let Some(event) = ends[at].poll_event() {
        match event {
            Event::Request { exchange, request, .. } => waiting.push((exchange, request)),
            Event::Response { id, response, .. } => ended.push((id, Some(response))),
            Event::Failed { id, .. } => ended.push((id, None)),
        }
    }
}

fn answer(
    server: &mut Endpoint<usize>,
    now: Instant,
    exchange: bellwether_coap::ExchangeId,
    request: &Request,
    (up, down): (u16, u16),
    altered: bool,
) {
    let response = if request.method == Method::Get {
        Response::new(Code::CONTENT).with_payload(42, body(down, 2))
    } else {
        assert!(altered || request.payload == body(up, 1), "the body that was sent");
        Response::new(Code::CHANGED)
    };
    let _ = server.respond(now, exchange, response);
}

pub(crate) fn pair_seeds() -> Vec<Vec<u8>> {
    let seed = |up: u16, down: u16, late: u8, fate: &[u8]| {
        [&up.to_be_bytes()[..], &down.to_be_bytes(), &[late], fate].concat()
    };
    vec![
        seed(10, 10, 0, &[]),
        seed(3000, 3000, 0, &[]),
        seed(3000, 3000, 1, &[0, 1, 0, 2, 0, 3, 0, 0, 1, 1, 0, 2, 11, 0, 3]),
        seed(2500, 1500, 0, &[4, 0, 2, 8, 0, 4, 0, 6, 1, 0, 0, 4, 0, 9, 255]),
        seed(0, 3999, 1, &[1; 12]),
    ]
}

/// Turns of the loop: each is a timer or an arrival, and 200 peers' worth of them end long before.
const STEPS_MAX: usize = 20_000;
