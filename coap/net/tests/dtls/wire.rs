//! A server engine, client engines and the network between them, in memory and virtual time.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_coap::Instant;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{CloseReason, Dormant, DtlsConfig, Engine, Established, Output, Outputs};
use bellwether_net::{Lookup, PskStore, PskTable, Secret, SessionId};

/// What the network does with one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Deliver,
    Lose,
    /// Put behind all that is on the way.
    Delay,
}

/// One side: an engine and what it told.
pub(crate) struct Node {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) established: Vec<Established>,
    pub(crate) closed: Vec<(SessionId, CloseReason)>,
    pub(crate) data: Vec<(SessionId, Vec<u8>)>,
    /// Data in the order of [`Node::data`], for whoever takes it out.
    pub(crate) inbox: VecDeque<(SessionId, Vec<u8>)>,
    pub(crate) moved: Vec<(SessionId, SocketAddr)>,
    pub(crate) keys_wanted: Vec<(SessionId, String)>,
    pub(crate) wanted: Vec<SessionId>,
    pub(crate) dormant: Vec<Dormant>,
    pub(crate) resumed: Vec<Established>,
}

#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Wire {
    pub(crate) now: Instant,
    pub(crate) nodes: HashMap<SocketAddr, Node>,
    pub(crate) on_the_way: VecDeque<Datagram>,
    /// Everything ever sent.
    pub(crate) sent: Vec<Datagram>,
    /// Where a node behind an address translator seems to be.
    pub(crate) translated: HashMap<SocketAddr, SocketAddr>,
}

pub(crate) const KEY: &[u8] = b"0123456789abcdef";

pub(crate) fn server_address() -> SocketAddr {
    "192.0.2.1:5684".parse().unwrap()
}

pub(crate) fn client_address() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

pub(crate) fn key(bytes: &[u8]) -> Secret {
    Secret::new(bytes.to_vec()).unwrap()
}

pub(crate) fn client(identity: &str, psk: &[u8]) -> Node {
    let engine = MbedTls::client(identity.into(), key(psk), DtlsConfig::default()).unwrap();
    Node::new(Box::new(engine))
}

/// A device whose stack knows no connection IDs.
pub(crate) fn client_without_cid(identity: &str, psk: &[u8]) -> Node {
    let config = DtlsConfig { connection_ids: false, ..DtlsConfig::default() };
    Node::new(Box::new(MbedTls::client(identity.into(), key(psk), config).unwrap()))
}

/// A server that knows lamp-1 and lamp-2 by [`KEY`].
pub(crate) fn server(config: DtlsConfig) -> Node {
    let table = PskTable::new();
    table.insert("lamp-1", key(KEY));
    table.insert("lamp-2", key(KEY));
    Node::new(Box::new(MbedTls::server(Arc::new(table), config).unwrap()))
}

/// Knows nobody at once.
pub(crate) struct Slow;

impl PskStore for Slow {
    fn find(&self, _: &[u8]) -> Lookup {
        Lookup::Later
    }
}

impl Node {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        Self {
            engine,
            established: Vec::new(),
            closed: Vec::new(),
            data: Vec::new(),
            inbox: VecDeque::new(),
            moved: Vec::new(),
            keys_wanted: Vec::new(),
            wanted: Vec::new(),
            dormant: Vec::new(),
            resumed: Vec::new(),
        }
    }

    pub(crate) fn last_session(&self) -> SessionId {
        self.established.last().unwrap().session
    }
}

impl Wire {
    pub(crate) fn new(server: Node, client: Node) -> Self {
        Self {
            now: Instant::default(),
            nodes: HashMap::from([(server_address(), server), (client_address(), client)]),
            on_the_way: VecDeque::new(),
            sent: Vec::new(),
            translated: HashMap::new(),
        }
    }

    /// lamp-1 and its server, their session established.
    pub(crate) fn established() -> Self {
        let mut wire = Self::new(server(DtlsConfig::default()), client("lamp-1", KEY));
        wire.connect(client_address());
        wire.deliver_all();
        assert_eq!(wire.server().established.len(), 1);
        assert_eq!(wire.client().established.len(), 1);
        wire
    }

    pub(crate) fn server(&mut self) -> &mut Node {
        self.nodes.get_mut(&server_address()).unwrap()
    }

    pub(crate) fn client(&mut self) -> &mut Node {
        self.nodes.get_mut(&client_address()).unwrap()
    }

    /// Runs one engine call and collects what came of it.
    pub(crate) fn at<T>(
        &mut self,
        address: SocketAddr,
        call: impl FnOnce(&mut dyn Engine, Instant, &mut Outputs) -> T,
    ) -> T {
        let node = self.nodes.get_mut(&address).unwrap();
        let mut out = Outputs::new();
        let result = call(node.engine.as_mut(), self.now, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Transmit { to, datagram } => {
                    let from = self.translated.get(&address).copied().unwrap_or(address);
                    let datagram = Datagram { from, to, bytes: datagram.to_vec() };
                    self.sent.push(datagram.clone());
                    self.on_the_way.push_back(datagram);
                }
                Output::Established(established) => node.established.push(established),
                Output::Data { session, bytes } => {
                    node.data.push((session, bytes.to_vec()));
                    node.inbox.push_back((session, bytes.to_vec()));
                }
                Output::Closed { session, reason } => node.closed.push((session, reason)),
                Output::Moved { session, address } => node.moved.push((session, address)),
                Output::KeyWanted { session, identity } => {
                    node.keys_wanted.push((session, identity.to_string()));
                }
                Output::Wanted { session } => node.wanted.push(session),
                Output::Hibernated(dormant) => node.dormant.push(dormant),
                Output::Resumed(established) => node.resumed.push(established),
                _ => {}
            }
        }
        result
    }

    pub(crate) fn connect(&mut self, from: SocketAddr) -> SessionId {
        self.at(from, |engine, now, out| engine.connect(server_address(), now, out)).unwrap()
    }

    pub(crate) fn send(&mut self, from: SocketAddr, bytes: &[u8]) {
        let session = self.nodes[&from].last_session();
        self.at(from, |engine, now, out| engine.send(session, bytes, now, out)).unwrap();
    }

    pub(crate) fn send_over(&mut self, from: SocketAddr, session: SessionId, bytes: &[u8]) {
        self.at(from, |engine, now, out| engine.send(session, bytes, now, out)).unwrap();
    }

    /// Hands a datagram to its receiver, whoever made it.
    pub(crate) fn inject(&mut self, datagram: &Datagram) {
        let Datagram { from, to, bytes } = datagram;
        let mut behind = self.translated.iter().filter(|(_, outside)| *outside == to);
        let to = behind.next().map_or(*to, |(inside, _)| *inside);
        let is_reached = self.translated.get(&to).is_none_or(|outside| *outside == datagram.to);
        if is_reached && self.nodes.contains_key(&to) {
            self.at(to, |engine, now, out| engine.on_datagram(*from, bytes, now, out));
        }
    }

    /// Lets the address translator of `inside` forget it: its next datagram comes from another place, and what is
    /// sent to the place before reaches nobody.
    pub(crate) fn rebind(&mut self, inside: SocketAddr, outside: SocketAddr) {
        self.translated.insert(inside, outside);
    }

    pub(crate) fn deliver_all(&mut self) {
        self.deliver(&mut |_| Fate::Deliver);
    }

    /// Delivers until nothing is on the way.
    pub(crate) fn deliver(&mut self, fate: &mut dyn FnMut(&Datagram) -> Fate) {
        while let Some(datagram) = self.on_the_way.pop_front() {
            match fate(&datagram) {
                Fate::Deliver => self.inject(&datagram),
                Fate::Lose => {}
                Fate::Delay if self.on_the_way.is_empty() => self.inject(&datagram),
                Fate::Delay => self.on_the_way.push_back(datagram),
            }
        }
    }

    /// Goes to the next deadline of anybody; `false` if there is none before `until`.
    pub(crate) fn wake_next(&mut self, until: Instant) -> bool {
        let next = self.nodes.values().filter_map(|node| node.engine.next_timeout()).min();
        let Some(next) = next.filter(|&next| next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        let addresses: Vec<_> = self.nodes.keys().copied().collect();
        for address in addresses {
            self.at(address, |engine, now, out| engine.handle_timeout(now, out));
        }
        true
    }

    /// Delivers and wakes until `seconds` have passed or nothing is due before that.
    pub(crate) fn run(&mut self, seconds: u64, fate: &mut dyn FnMut(&Datagram) -> Fate) {
        let until = self.now.after(Duration::from_secs(seconds));
        self.deliver(fate);
        while self.wake_next(until) {
            self.deliver(fate);
        }
        self.now = until;
    }
}

/// Small pseudo-random numbers, the same for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }
}

/// The seeds of a test that is run with many: `SEEDS=n` tries more, `FIRST_SEED=n` begins elsewhere.
#[expect(clippy::disallowed_methods, reason = "a test has no command line; `make soak` sets these")]
pub(crate) fn seeds(most: u64) -> std::ops::Range<u64> {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let first = number("FIRST_SEED", 0);
    first..first + number("SEEDS", most)
}
