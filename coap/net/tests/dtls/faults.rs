//! Whole lives of a device under one seed: loss, copies, disorder, damage, moves, replays, sleep, restarts.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{
    Datagram, Dice, KEY, Node, Slow, Wire, client, client_address, key, seeds, server_address,
};
use bellwether_net::SessionId;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{Dormant, DtlsConfig};

/// The world of one run.
struct Life {
    seed: u64,
    dice: Dice,
    wire: Wire,
    /// What a store keeps of sessions.
    kept: HashMap<SessionId, Dormant>,
    /// Every datagram that ever was on the wire: for replays.
    seen: Vec<Datagram>,
    /// Everything said, by sender; each is said once.
    said: HashSet<(bool, Vec<u8>)>,
    heard: HashSet<(bool, Vec<u8>)>,
    number: u32,
    moves: u16,
}

fn slow_server() -> Node {
    let config = DtlsConfig {
        hibernate_after: Some(Duration::from_mins(5)),
        cid_secret: Some(key(b"tells made-up connection IDs")),
        ..DtlsConfig::default()
    };
    Node::new(Box::new(MbedTls::server(std::sync::Arc::new(Slow), config).unwrap()))
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: Dice(seed),
            wire: Wire::new(slow_server(), client("lamp-1", KEY)),
            kept: HashMap::new(),
            seen: Vec::new(),
            said: HashSet::new(),
            heard: HashSet::new(),
            number: 0,
            moves: 0,
        }
    }

    /// The owner of the server's engine: keeps what it gives out, brings what it asks for.
    fn own(&mut self) {
        for dormant in std::mem::take(&mut self.wire.server().dormant) {
            self.kept.insert(dormant.session, dormant);
        }
        for session in std::mem::take(&mut self.wire.server().wanted) {
            let dormant = self.kept.remove(&session);
            self.wire.at(server_address(), |engine, now, out| engine.resume(session, dormant, now, out));
        }
        for (session, identity) in std::mem::take(&mut self.wire.server().keys_wanted) {
            let found = (identity == "lamp-1").then(|| key(KEY));
            self.wire.at(server_address(), |engine, now, out| engine.supply_key(session, found, now, out));
        }
    }

    fn deliver(&mut self) {
        while let Some(datagram) = self.wire.on_the_way.pop_front() {
            self.seen.push(datagram.clone());
            match self.dice.roll(20) {
                0..=2 => continue,
                3 | 4 => self.wire.on_the_way.push_back(datagram.clone()),
                5 => self.wire.inject(&self.damaged(&datagram)),
                6 | 7 if !self.wire.on_the_way.is_empty() => {
                    self.wire.on_the_way.push_back(datagram);
                    continue;
                }
                8 => self.replay(),
                _ => {}
            }
            self.wire.inject(&datagram);
            self.own();
        }
        self.listen();
    }

    fn damaged(&self, datagram: &Datagram) -> Datagram {
        let mut dice = Dice(self.seed ^ self.seen.len() as u64);
        let mut bytes = datagram.bytes.clone();
        let at = usize::try_from(dice.roll(bytes.len() as u64)).unwrap();
        // Only records of a session: a damaged handshake message in the clear may cost the handshake.
        if matches!(bytes[0], 23 | 25) {
            bytes[at] ^= 1 << dice.roll(8);
        }
        Datagram { bytes, ..datagram.clone() }
    }

    fn replay(&mut self) {
        let at = usize::try_from(self.dice.roll(self.seen.len() as u64)).unwrap();
        let mut copy = self.seen[at].clone();
        if self.dice.roll(2) == 0 && copy.to == server_address() {
            copy.from = SocketAddr::from(([198, 18, 0, 1], 6_666));
        }
        self.wire.inject(&copy);
        self.own();
    }

    fn listen(&mut self) {
        for (address, by_server) in [(server_address(), false), (client_address(), true)] {
            for (_, bytes) in std::mem::take(&mut self.wire.nodes.get_mut(&address).unwrap().data) {
                let said = (by_server, bytes);
                assert!(self.said.contains(&said), "seed {}: nobody said {said:?}", self.seed);
                assert!(self.heard.insert(said.clone()), "seed {}: {said:?} was heard twice", self.seed);
            }
        }
    }

    fn device_says(&mut self) -> Vec<u8> {
        self.number += 1;
        let text = self.number.to_be_bytes().to_vec();
        self.said.insert((false, text.clone()));
        let session = self.wire.client().established.last().map(|established| established.session);
        if let Some(session) = session {
            let sent =
                self.wire.at(client_address(), |engine, now, out| engine.send(session, &text, now, out));
            assert!(sent.is_ok(), "seed {}: {sent:?}", self.seed);
        }
        text
    }

    fn server_says(&mut self) {
        let Some(established) = self.wire.server().established.last() else { return };
        let session = established.session;
        self.number += 1;
        let text = self.number.to_be_bytes().to_vec();
        self.said.insert((true, text.clone()));
        let sleeping = self.kept.remove(&session);
        if sleeping.is_some() {
            self.wire.at(server_address(), |engine, now, out| engine.resume(session, sleeping, now, out));
        }
        // It may be an older one that the device has replaced.
        let _ = self.wire.at(server_address(), |engine, now, out| engine.send(session, &text, now, out));
    }

    /// SIGTERM and a new start: what can be hibernated goes on.
    fn restart(&mut self) {
        self.wire.at(server_address(), |engine, now, out| engine.hibernate_all(now, out));
        self.own();
        let established = std::mem::take(&mut self.wire.server().established);
        self.wire.nodes.insert(server_address(), slow_server());
        self.wire.server().established = established;
    }

    fn step(&mut self) {
        match self.dice.roll(12) {
            0..=4 => drop(self.device_says()),
            5..=7 => self.server_says(),
            8 => {
                self.moves += 1;
                let outside = SocketAddr::from(([203, 0, 113, 1], 20_000 + self.moves));
                self.wire.rebind(client_address(), outside);
            }
            9 => self.pass(Duration::from_secs(400)),
            10 => self.restart(),
            _ => self.pass(Duration::from_secs(3)),
        }
        self.deliver();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.wire.now.after(time);
        while self.wire.wake_next(until) {
            self.own();
            self.deliver();
        }
        self.wire.now = until;
    }

    /// The device connects until it has a session, as a device does.
    fn connect(&mut self) {
        for _ in 0..20 {
            if self.wire.client().established.is_empty() {
                self.wire.connect(client_address());
                self.deliver();
                self.pass(Duration::from_secs(40));
            }
        }
        assert_eq!(self.wire.client().established.len(), 1, "seed {}", self.seed);
    }

    /// Over a good line, what is said now is heard, by the session there was from the beginning.
    fn assert_alive(&mut self) {
        let begun = self.wire.server().engine.counters().handshakes_begun;
        let text = self.device_says();
        while let Some(datagram) = self.wire.on_the_way.pop_front() {
            self.wire.inject(&datagram);
            self.own();
        }
        self.listen();
        assert!(self.heard.contains(&(false, text)), "seed {}: the session is dead", self.seed);
        assert_eq!(self.wire.server().engine.counters().handshakes_begun, begun, "seed {}", self.seed);
        assert!(self.wire.client().closed.is_empty() || self.wire.client().established.len() == 1);
    }
}

fn live(seed: u64) {
    let mut life = Life::new(seed);
    life.connect();
    // A session that has carried nothing is not kept over a restart.
    for _ in 0..30 {
        life.device_says();
        life.deliver();
    }
    for _ in 0..60 {
        life.step();
    }
    life.assert_alive();
}

#[test]
fn session_survives_whatever_the_wire_and_the_server_do() {
    // A second or two without optimisation.
    seeds(60).for_each(live);
}

#[test]
fn handshake_in_fragments_is_put_together() {
    for seed in seeds(200) {
        shake_in_fragments(seed, crate::wire::server(DtlsConfig::default()), &mut |_| {});
    }
}

#[test]
fn key_exchange_in_fragments_waits_for_its_key() {
    for seed in seeds(200) {
        let mut asked = 0;
        shake_in_fragments(seed, slow_server(), &mut |wire| {
            while wire.server().keys_wanted.len() > asked {
                let (session, identity) = wire.server().keys_wanted[asked].clone();
                assert_eq!(identity, "lamp-1", "seed {seed}");
                asked += 1;
                let found = Some(key(KEY));
                wire.at(server_address(), |engine, now, out| engine.supply_key(session, found, now, out));
            }
        });
        assert_eq!(asked, 1, "seed {seed}");
    }
}

/// A handshake whose hello comes whole, as everywhere here, and what follows it in pieces, in any order, some twice;
/// `meanwhile` is called after each.
fn shake_in_fragments(seed: u64, server: Node, meanwhile: &mut dyn FnMut(&mut Wire)) {
    let mut dice = Dice(seed);
    let mut wire = Wire::new(server, client("lamp-1", KEY));
    wire.connect(client_address());
    let (end, mut cut, mut numbers) = (wire.now.after(Duration::from_mins(1)), 0, HashMap::new());
    loop {
        while let Some(datagram) = wire.on_the_way.pop_front() {
            for record in records(&datagram) {
                let mut pieces = fragments(&record, 1 + dice.roll(7));
                number(&mut pieces, &mut numbers);
                cut += u64::from(pieces.len() > 1);
                while !pieces.is_empty() {
                    let at = usize::try_from(dice.roll(pieces.len() as u64)).unwrap();
                    let piece = if dice.roll(4) == 0 { pieces[at].clone() } else { pieces.remove(at) };
                    wire.inject(&piece);
                    meanwhile(&mut wire);
                }
            }
        }
        if !wire.wake_next(end) {
            break;
        }
    }
    // At least the ServerHello and the ClientKeyExchange.
    assert!(cut >= 2, "seed {seed}: {cut}");
    assert_eq!(wire.client().established.len(), 1, "seed {seed}");
    wire.send(client_address(), b"up");
    wire.deliver_all();
    assert_eq!(wire.server().data.len(), 1, "seed {seed}");
}

/// Gives each record of a datagram one of its own.
fn records(datagram: &Datagram) -> Vec<Datagram> {
    let mut rest = datagram.bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let cid = if rest[0] == 25 { 8 } else { 0 };
        let length = usize::from(u16::from_be_bytes([rest[11 + cid], rest[12 + cid]]));
        let (record, behind) = rest.split_at(13 + cid + length);
        records.push(Datagram { bytes: record.to_vec(), ..datagram.clone() });
        rest = behind;
    }
    records
}

/// Cuts a single plaintext handshake message, other than the two hellos, into pieces.
fn fragments(record: &Datagram, most: u64) -> Vec<Datagram> {
    let bytes = &record.bytes;
    let is_cut = bytes[0] == 22 && bytes[3..5] == [0, 0] && !matches!(bytes[13], 1 | 3);
    if !is_cut || bytes.len() <= 25 || bytes[19..22] != [0, 0, 0] {
        return vec![record.clone()];
    }
    let (header, body) = (&bytes[13..25], &bytes[25..]);
    // A key exchange of lamp-1 has 8 bytes; of longer ones not so many that one is too late for the replay window.
    let most = usize::try_from(most).unwrap().max(body.len() / 32);
    let piece = |(n, chunk): (usize, &[u8])| {
        let mut piece = bytes[..11].to_vec();
        piece.extend_from_slice(&u16::try_from(chunk.len() + 12).unwrap().to_be_bytes());
        piece.extend_from_slice(&header[..6]);
        piece.extend_from_slice(&u32::try_from(n * most).unwrap().to_be_bytes()[1..]);
        piece.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_be_bytes()[1..]);
        piece.extend_from_slice(chunk);
        Datagram { bytes: piece, ..record.clone() }
    };
    body.chunks(most).enumerate().map(piece).collect()
}

/// Numbers plaintext records anew: there are more of them than their sender has made.
fn number(records: &mut [Datagram], numbers: &mut HashMap<SocketAddr, u32>) {
    for record in records.iter_mut().filter(|record| record.bytes[3..5] == [0, 0]) {
        let next = numbers.entry(record.from).or_default();
        *next += 1;
        record.bytes[7..11].copy_from_slice(&next.to_be_bytes());
    }
}
