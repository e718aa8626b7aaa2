//! DTLS: what anybody can send who holds no key, before, during and after a handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use bellwether_coap::Instant;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{DtlsConfig, Engine, Output, Outputs};
use bellwether_net::{PskTable, Secret, SessionId};

use crate::input::{Input, counted};

const KEY: &[u8] = b"0123456789abcdef";

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5684))
}

fn key() -> Secret {
    Secret::new(KEY.to_vec()).expect("its length")
}

/// What one side has told.
struct Side {
    engine: MbedTls,
    address: SocketAddr,
    session: Option<SessionId>,
    data: Vec<Vec<u8>>,
    closed: u32,
    sent: Vec<Vec<u8>>,
}

impl Side {
    fn new(engine: MbedTls, last: u8) -> Self {
        Self { engine, address: address(last), session: None, data: Vec::new(), closed: 0, sent: Vec::new() }
    }

    fn drain(&mut self, out: &mut Outputs) {
        while let Some(output) = out.pop() {
            match output {
                Output::Transmit { datagram, .. } => self.sent.push(datagram.to_vec()),
                Output::Established(established) => self.session = Some(established.session),
                Output::Data { bytes, .. } => self.data.push(bytes.to_vec()),
                Output::Closed { .. } => self.closed += 1,
                _ => {}
            }
        }
    }

    fn take(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut out = Outputs::new();
        self.engine.on_datagram(from, datagram, Instant::default(), &mut out);
        self.drain(&mut out);
    }
}

/// Datagrams of a stranger from any address while a device and its server shake hands and talk: neither is harmed.
pub(crate) fn strangers(data: &[u8]) {
    let mut input = Input::new(data);
    let table = PskTable::new();
    table.insert("lamp-1", key());
    let server = MbedTls::server(Arc::new(table), DtlsConfig::default()).expect("a server");
    let client = MbedTls::client("lamp-1".into(), key(), DtlsConfig::default()).expect("a client");
    let (mut server, mut client) = (Side::new(server, 1), Side::new(client, 7));
    let mut out = Outputs::new();
    client.engine.connect(server.address, Instant::default(), &mut out).expect("room");
    client.drain(&mut out);
    for turn in 0..TURNS {
        if !input.is_empty() {
            stranger(&mut input, &mut server, &client, turn);
        }
        exchange(&mut server, &mut client);
    }
    // Whoever was in the handshake's way could at most delay it; nothing is repeated here, for no time passes.
    let (Some(session), Some(_)) = (client.session, server.session) else { return };
    client.engine.send(session, b"hello", Instant::default(), &mut out).expect("established");
    client.drain(&mut out);
    exchange(&mut server, &mut client);
    assert_eq!((server.closed, client.closed), (0, 0), "a stranger ended a session");
    assert_eq!(server.data, [b"hello"], "only what the device sent has come");
}

/// Hands on what both have sent.
fn exchange(server: &mut Side, client: &mut Side) {
    for datagram in core::mem::take(&mut client.sent) {
        server.take(client.address, &datagram);
    }
    for datagram in core::mem::take(&mut server.sent) {
        client.take(server.address, &datagram);
    }
}

/// One datagram of a stranger: of its own making, or one of the device's with changes. Before the handshake is over
/// it comes from the stranger's own address, after that from the device's too.
fn stranger(input: &mut Input<'_>, server: &mut Side, client: &Side, turn: usize) {
    let how = input.byte();
    let mut datagram = match client.sent.first() {
        Some(seen) if how & 1 == 1 => seen.clone(),
        _ => input.counted().to_vec(),
    };
    for _ in 0..how >> 1 & 3 {
        let at = usize::from(input.u16()) % datagram.len().max(1);
        if let Some(byte) = datagram.get_mut(at) {
            *byte ^= input.byte();
        }
    }
    let is_forged = client.sent.first() != Some(&datagram);
    let from = if server.session.is_some() && turn > HANDSHAKE_TURNS && is_forged {
        client.address
    } else {
        address(9)
    };
    let before = server.sent.len();
    server.take(from, &datagram);
    let answered: usize = server.sent.drain(before..).map(|answer| answer.len()).sum();
    assert!(
        from == client.address || answered <= datagram.len().max(64),
        "{answered} bytes for {}",
        datagram.len()
    );
}

pub(crate) fn strangers_seeds() -> Vec<Vec<u8>> {
    let mut client = MbedTls::client("lamp-1".into(), key(), DtlsConfig::default()).expect("a client");
    let mut out = Outputs::new();
    client.connect(address(1), Instant::default(), &mut out).expect("room");
    let hello = match out.pop() {
        Some(Output::Transmit { datagram, .. }) => datagram.to_vec(),
        other => panic!("no ClientHello: {other:?}"),
    };
    let alert = b"\x15\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x05\x00\x02\x02\x28";
    let data = b"\x17\xfe\xfd\x00\x01\x00\x00\x00\x00\x00\x09\x00\x10\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
    let own = |bytes: &[u8]| [&[0][..], &counted(bytes)].concat();
    vec![
        own(&hello),
        [
            own(&hello),
            own(alert),
            own(data),
            own(&[data.as_slice(), alert].concat()),
            own(alert),
            own(data),
            own(&hello),
        ]
        .concat(),
        vec![1, 1, 3, 0, 20, 7, 1, 5, 0, 9, 8, 0, 30, 1, 1],
    ]
}

/// Turns of a run: six flights with the cookie, and some after the handshake.
const TURNS: usize = 10;

/// Turns after which an honest handshake is over.
const HANDSHAKE_TURNS: usize = 5;
