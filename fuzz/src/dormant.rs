//! Sleeping DTLS sessions as they come from the store: whatever they are, an engine takes them or leaves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_coap::Instant;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{Dormant, DtlsConfig, Engine, Output, Outputs};
use bellwether_net::{PskTable, Secret, SessionId};

use crate::input::{Input, counted};

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 5684))
}

fn key() -> Secret {
    Secret::new(b"0123456789abcdef".to_vec()).expect("its length")
}

fn server() -> MbedTls {
    let table = PskTable::new();
    table.insert("lamp-1", key());
    let config = DtlsConfig { hibernate_after: Some(Duration::from_mins(5)), ..DtlsConfig::default() };
    MbedTls::server(Arc::new(table), config).expect("a server")
}

/// A session of any state, and datagrams that somebody sends to it: what is taken up can send and be put to sleep
/// again, its sequence numbers go up, and nobody without its keys is heard.
pub(crate) fn dormant(data: &[u8]) {
    let mut input = Input::new(data);
    let (session, age) = (input.take(8), Duration::from_secs(u64::from(input.u16()) << 8));
    let session = SessionId(session.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)));
    let from_parts =
        |state: &[u8]| Dormant::from_parts(session, "lamp-1".into(), address(), age, state.to_vec());
    // It may be worn out, or have to stay awake.
    let Ok(Some((sent, again))) = woken(&from_parts(input.counted()), &mut input) else { return };
    match (sent, woken(&from_parts(again.secret()), &mut Input::new(&[]))) {
        (Some(sent), Ok(Some((Some(next), _)))) => {
            assert!(next > sent, "sequence number {next} after {sent}");
        }
        (_, Ok(_)) => {}
        // No engine gives out the last numbers, of which each jumps over some.
        (sent, Err(Refused)) => assert!(sent.is_none_or(|sent| sent >> 17 == (1 << 31) - 1), "{sent:?}"),
    }
}

/// What a woken session left: the sequence number of what it sent, if it could, and itself asleep again.
type Left = (Option<u64>, Dormant);

/// A session is not taken up.
#[derive(Debug)]
struct Refused;

/// Wakes a session, sends over it, lets strangers in, and puts it to sleep; `None` where it has to stay awake.
fn woken(dormant: &Dormant, strangers: &mut Input<'_>) -> Result<Option<Left>, Refused> {
    let (mut engine, mut out, now) = (server(), Outputs::new(), Instant::default());
    if !engine.resume(dormant.session, Some(dormant.clone()), now, &mut out) {
        assert_eq!(engine.counters().sessions_now, 0, "what is refused is not there");
        return Err(Refused);
    }
    drain(&mut out);
    let sent = engine.send(dormant.session, b"hello", now, &mut out).is_ok();
    let sent = sent.then(|| drain(&mut out).expect("what was sent goes out"));
    while !strangers.is_empty() {
        engine.on_datagram(address(), strangers.counted(), now, &mut out);
        drain(&mut out);
    }
    engine.hibernate_all(now, &mut out);
    while let Some(output) = out.pop() {
        if let Output::Hibernated(dormant) = output {
            return Ok(Some((sent, dormant)));
        }
    }
    Ok(None)
}

/// Takes all out, gives the sequence number of the last datagram; nothing that is said is believed.
fn drain(out: &mut Outputs) -> Option<u64> {
    let mut number = None;
    while let Some(output) = out.pop() {
        match output {
            Output::Data { .. } => panic!("a stranger is heard"),
            Output::Transmit { datagram, .. } => {
                let bytes = datagram.get(5..11).expect("a record");
                number = Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
            }
            _ => {}
        }
    }
    number
}

/// A session that has carried data, as it is put to sleep.
fn asleep(connection_ids: bool) -> Option<Dormant> {
    let config = DtlsConfig { connection_ids, ..DtlsConfig::default() };
    let mut client = MbedTls::client("lamp-1".into(), key(), config).expect("a client");
    let (mut server, mut out, now) = (server(), Outputs::new(), Instant::default());
    let at = SocketAddr::from(([192, 0, 2, 1], 5684));
    let session = client.connect(at, now, &mut out).expect("room");
    let (mut dormant, mut is_up) = (None, false);
    // Six flights, the datagram of data, and what is said of it.
    for turn in 0..12 {
        let from_client = datagrams(&mut out, &mut dormant, &mut is_up);
        for datagram in from_client {
            server.on_datagram(address(), &datagram, now, &mut out);
        }
        let from_server = datagrams(&mut out, &mut dormant, &mut is_up);
        for datagram in from_server {
            client.on_datagram(at, &datagram, now, &mut out);
        }
        if turn == 8 && is_up {
            client.send(session, b"first", now, &mut out).expect("established");
        }
    }
    server.hibernate_all(now, &mut out);
    datagrams(&mut out, &mut dormant, &mut is_up);
    dormant
}

fn datagrams(out: &mut Outputs, dormant: &mut Option<Dormant>, is_up: &mut bool) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    while let Some(output) = out.pop() {
        match output {
            Output::Transmit { datagram, .. } => sent.push(datagram.to_vec()),
            Output::Hibernated(one) => *dormant = Some(one),
            Output::Established(_) => *is_up = true,
            _ => {}
        }
    }
    sent
}

pub(crate) fn dormant_seeds() -> Vec<Vec<u8>> {
    let dormant = asleep(true).expect("a session with a connection ID sleeps");
    assert!(asleep(false).is_none(), "a session without one is kept in memory");
    let id = dormant.session.0.to_be_bytes();
    let record = [&b"\x19\xfe\xfd\x00\x01\x00\x00\x00\x00\x00\x09"[..], &id, b"\x00\x10", &[7; 16]].concat();
    let state = counted(dormant.secret());
    let alone = [&id[..], &[0, 1], &state].concat();
    vec![[&alone[..], &counted(&record), &counted(&record[..20])].concat(), alone]
}
