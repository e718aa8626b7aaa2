//! Bodies in blocks between two endpoints over two engines, while an address translator forgets the device.

use std::mem;
use std::net::SocketAddr;

use bellwether_coap::{Code, Config, Endpoint, Event, Method, Request, Response};

use crate::wire::{Datagram, Dice, KEY, Wire, client, client_address, seeds, server, server_address};
use bellwether_net::SessionId;
use bellwether_net::dtls::DtlsConfig;

/// Endpoints at both ends of a wire; each answers what it is asked with the body it got, or with a big one.
struct Talk {
    wire: Wire,
    endpoints: [(SocketAddr, Endpoint<SessionId>); 2],
    answers: Vec<Response>,
    bodies: Vec<Vec<u8>>,
    /// The device moves to another address after so many datagrams.
    moves_every: usize,
    delivered: usize,
    moves: u16,
    is_lost: bool,
}

fn body() -> Vec<u8> {
    (0..40_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

impl Talk {
    fn new(moves_every: usize, seed: u64) -> Self {
        let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
        wire.connect(client_address());
        wire.deliver_all();
        let endpoint = |side| {
            let mut bytes = [side; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            Endpoint::new(Config::default(), bytes)
        };
        let endpoints = [(server_address(), endpoint(0)), (client_address(), endpoint(100))];
        Self {
            wire,
            endpoints,
            answers: vec![],
            bodies: vec![],
            moves_every,
            delivered: 0,
            moves: 0,
            is_lost: false,
        }
    }

    fn request(&mut self, from: SocketAddr, request: Request) {
        let session = self.wire.nodes[&from].last_session();
        let now = self.wire.now;
        let (_, endpoint) = self.endpoints.iter_mut().find(|(address, _)| *address == from).unwrap();
        endpoint.request(now, session, request).unwrap();
    }

    /// Goes on until nothing more happens before the end of an hour.
    fn run(&mut self) {
        let end = self.wire.now.after(std::time::Duration::from_hours(1));
        loop {
            self.settle();
            while let Some(datagram) = self.wire.on_the_way.pop_front() {
                self.delivered += 1;
                let datagram = if self.delivered.is_multiple_of(self.moves_every) {
                    self.moved(datagram)
                } else {
                    datagram
                };
                self.wire.inject(&datagram);
                self.settle();
            }
            if mem::take(&mut self.is_lost) {
                // A device that waits for more asks after it; that tells where it is.
                self.request(client_address(), Request::new(Method::Post, "/rd/1"));
                continue;
            }
            let next = self.endpoints.iter().filter_map(|(_, endpoint)| endpoint.poll_timeout()).min();
            let Some(next) = next.filter(|&next| next <= end) else { return };
            self.wire.now = self.wire.now.max(next);
            let now = self.wire.now;
            self.endpoints.iter_mut().for_each(|(_, endpoint)| endpoint.handle_timeout(now));
        }
    }

    /// Moves the device. Its own datagram is the first one from the new place; one that was for it reaches nobody.
    fn moved(&mut self, datagram: Datagram) -> Datagram {
        self.moves += 1;
        let outside = SocketAddr::from(([203, 0, 113, 1], 20_000 + self.moves));
        self.wire.rebind(client_address(), outside);
        self.is_lost = datagram.to != server_address();
        if self.is_lost { datagram } else { Datagram { from: outside, ..datagram } }
    }

    fn settle(&mut self) {
        let now = self.wire.now;
        for (address, endpoint) in &mut self.endpoints {
            let inbox = mem::take(&mut self.wire.nodes.get_mut(address).unwrap().inbox);
            for (session, bytes) in inbox {
                endpoint.handle_datagram(now, session, &bytes);
            }
            while let Some(event) = endpoint.poll_event() {
                match event {
                    Event::Request { exchange, request, .. } => {
                        let payload = if request.method == Method::Get { body() } else { vec![] };
                        self.bodies.push(request.payload);
                        let response = Response::new(Code::CONTENT).with_payload(42, payload);
                        endpoint.respond(now, exchange, response).unwrap();
                    }
                    Event::Response { response, .. } => self.answers.push(response),
                    Event::Failed { reason, .. } => panic!("{reason:?} after {} datagrams", self.delivered),
                }
            }
            while let Some(transmit) = endpoint.poll_transmit() {
                let (address, now) = (*address, now);
                self.wire
                    .at(address, |engine, _, out| engine.send(transmit.peer, &transmit.bytes, now, out))
                    .unwrap();
            }
        }
    }

    fn assert_moved(&mut self, seed: u64) {
        let moved = self.wire.server().moved.len();
        assert!(moved > 0 && self.moves > 0, "seed {seed}: {moved} of {} moves seen", self.moves);
        let counters = self.wire.server().engine.counters();
        assert_eq!((counters.handshakes_begun, counters.sessions_now), (1, 1), "seed {seed}");
    }
}

#[test]
fn body_pushed_to_a_device_survives_its_moves() {
    for seed in seeds(20) {
        let moves_every = 7 + usize::try_from(Dice(seed).roll(30)).unwrap();
        let mut talk = Talk::new(moves_every, seed);
        talk.request(server_address(), Request::new(Method::Put, "/5/0/0").with_payload(42, body()));
        talk.run();
        assert!(talk.bodies.contains(&body()), "seed {seed}");
        talk.assert_moved(seed);
    }
}

#[test]
fn body_fetched_by_a_device_survives_its_moves() {
    for seed in seeds(20) {
        let moves_every = 7 + usize::try_from(Dice(seed).roll(30)).unwrap();
        let mut talk = Talk::new(moves_every, seed);
        talk.request(client_address(), Request::new(Method::Get, "/f"));
        talk.run();
        assert!(talk.answers.iter().any(|answer| answer.payload == body()), "seed {seed}");
        talk.assert_moved(seed);
    }
}
