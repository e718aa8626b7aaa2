//! Keys that the store does not have in memory: the handshake waits for them.

use std::sync::Arc;

use crate::wire::{Datagram, Fate, KEY, Node, Slow, Wire, client, client_address, key, server_address};
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{CloseReason, DtlsConfig};

fn slow_server(config: DtlsConfig) -> Node {
    Node::new(Box::new(MbedTls::server(Arc::new(Slow), config).unwrap()))
}

fn waiting(identity: &str, psk: &[u8]) -> Wire {
    let mut wire = Wire::new(slow_server(DtlsConfig::default()), client(identity, psk));
    wire.connect(client_address());
    wire.deliver_all();
    assert_eq!(wire.server().keys_wanted.len(), 1);
    assert_eq!(wire.server().keys_wanted[0].1, identity);
    wire
}

fn supply(wire: &mut Wire, psk: Option<&[u8]>) {
    let session = wire.server().keys_wanted.last().unwrap().0;
    wire.at(server_address(), |engine, now, out| engine.supply_key(session, psk.map(key), now, out));
}

#[test]
fn handshake_goes_on_when_its_key_comes() {
    let mut wire = waiting("lamp-1", KEY);
    assert!(wire.server().established.is_empty());
    assert_eq!(wire.server().engine.counters().keys_awaited_now, 1);
    supply(&mut wire, Some(KEY));
    wire.deliver_all();
    assert_eq!(wire.server().established[0].identity.as_deref(), Some("lamp-1"));
    assert_eq!(wire.client().established.len(), 1);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.keys_awaited_now, counters.keys_asked, counters.handshakes_ok), (0, 1, 1));
}

#[test]
fn key_that_comes_after_the_client_has_repeated_itself_is_asked_for_once() {
    let mut wire = waiting("lamp-1", KEY);
    wire.run(10, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().keys_wanted.len(), 1);
    supply(&mut wire, Some(KEY));
    wire.run(20, &mut |_| Fate::Deliver);
    assert_eq!(wire.client().established.len(), 1);
    wire.send(client_address(), b"up");
    wire.deliver_all();
    assert_eq!(wire.server().data[0].1, b"up");
}

#[test]
fn identity_without_a_key_fails_where_a_wrong_key_does() {
    let seen = |psk: Option<&[u8]>| {
        let mut wire = waiting("lamp-1", KEY);
        supply(&mut wire, psk);
        wire.run(60, &mut |_| Fate::Deliver);
        assert_eq!(wire.client().closed[0].1, CloseReason::HandshakeRefused);
        let sent = wire.sent.iter().filter(|datagram| datagram.from == server_address());
        let sent: Vec<_> = sent.map(|datagram| (datagram.bytes.len(), datagram.bytes[0])).collect();
        (sent, wire.server().engine.counters().identities_unknown)
    };
    let (of_unknown, of_wrong) = (seen(None), seen(Some(b"fedcba9876543210")));
    assert_eq!(of_unknown.0, of_wrong.0);
    assert_eq!((of_unknown.1, of_wrong.1), (1, 0));
}

#[test]
fn key_that_never_comes_costs_a_handshake_and_no_more() {
    let mut wire = waiting("lamp-1", KEY);
    wire.run(60, &mut |_| Fate::Deliver);
    assert_eq!(wire.client().closed[0].1, CloseReason::HandshakeTimeout);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.keys_awaited_now, counters.handshakes_now, counters.handshakes_failed), (0, 0, 1));
    // Too late: nobody waits for it.
    supply(&mut wire, Some(KEY));
    assert!(wire.server().established.is_empty());
}

#[test]
fn handshakes_beyond_the_bound_of_look_ups_wait_for_their_turn() {
    let config = DtlsConfig { keys_awaited_max: 2, ..DtlsConfig::default() };
    let mut wire = Wire::new(slow_server(config), client("lamp-1", KEY));
    let places: Vec<_> = (1..=3_u8).map(|n| std::net::SocketAddr::from(([203, 0, 113, n], 9))).collect();
    for &place in &places {
        wire.nodes.insert(place, client("lamp-1", KEY));
        wire.connect(place);
        wire.deliver_all();
    }
    let counters = wire.server().engine.counters();
    assert_eq!((counters.keys_awaited_now, counters.keys_refused), (2, 1));
    supply(&mut wire, Some(KEY));
    wire.deliver_all();
    // The one that was refused says its flight again, and now there is room.
    wire.run(2, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().keys_wanted.len(), 3);
    supply(&mut wire, Some(KEY));
    wire.deliver_all();
    assert_eq!(wire.nodes[&places[2]].established.len(), 1);
}

#[test]
fn what_is_held_for_a_key_is_bounded() {
    let mut wire = waiting("lamp-1", KEY);
    let mut exchange = wire.sent.iter().rfind(|sent| sent.from == client_address()).unwrap().clone();
    // Only its first record: a key exchange, said again and again with ever newer numbers.
    let length = 13 + usize::from(u16::from_be_bytes([exchange.bytes[11], exchange.bytes[12]]));
    exchange.bytes.truncate(length);
    for n in 0..10_000_u16 {
        exchange.bytes[9..11].copy_from_slice(&n.to_be_bytes());
        wire.inject(&Datagram { ..exchange.clone() });
    }
    supply(&mut wire, Some(KEY));
    wire.run(20, &mut |_| Fate::Deliver);
    assert_eq!(wire.client().established.len(), 1);
}

#[test]
fn key_for_a_session_that_asked_for_none_changes_nothing() {
    let mut wire = Wire::established();
    let session = wire.server().last_session();
    wire.at(server_address(), |engine, now, out| engine.supply_key(session, None, now, out));
    wire.send(client_address(), b"up");
    wire.deliver_all();
    assert_eq!(wire.server().data.len(), 1);
}

#[test]
fn handshake_under_a_key_that_is_no_longer_good_ends_wherever_it_is() {
    let mut waits = waiting("lamp-1", KEY);
    let session = waits.server().keys_wanted[0].0;
    waits.at(server_address(), |engine, now, out| engine.close_all_of("lamp-2", now, out));
    assert_eq!(waits.server().engine.counters().handshakes_now, 1);
    waits.at(server_address(), |engine, now, out| engine.close_all_of("lamp-1", now, out));
    waits.at(server_address(), |engine, now, out| engine.supply_key(session, Some(key(KEY)), now, out));
    waits.deliver_all();
    let counters = waits.server().engine.counters();
    assert_eq!((counters.keys_awaited_now, counters.handshakes_now, counters.sessions_now), (0, 0, 0));

    let mut live = waiting("lamp-1", KEY);
    supply(&mut live, Some(KEY));
    live.deliver_all();
    live.at(server_address(), |engine, now, out| engine.close_all_of("lamp-1", now, out));
    assert_eq!(live.server().closed[0].1, CloseReason::Local);
    assert_eq!(live.server().engine.counters().sessions_now, 0);
}
