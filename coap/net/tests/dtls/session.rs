//! Established sessions over a wire in memory: forged, replayed and garbage datagrams, ends, bounds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{
    Datagram, Dice, Fate, KEY, Wire, client, client_address, client_without_cid, server, server_address,
};
use bellwether_net::dtls::{CloseReason, DtlsConfig, PLAINTEXT_BYTES_MAX, SendError};

fn assert_alive(wire: &mut Wire) {
    wire.server().data.clear();
    wire.client().data.clear();
    wire.send(client_address(), b"still");
    wire.send(server_address(), b"here");
    wire.deliver_all();
    assert_eq!(wire.server().data.len(), 1);
    assert_eq!(wire.client().data.len(), 1);
    assert!(wire.server().closed.is_empty() && wire.client().closed.is_empty());
}

#[test]
fn garbage_mid_session_is_dropped_and_counted() {
    let mut wire = Wire::established();
    let mut dice = Dice(1);
    for n in 0..20_000_u64 {
        let length = usize::try_from(dice.roll(96)).unwrap();
        let mut bytes = dice.bytes(length);
        // Half of it looks like a record as far as a header goes.
        if n % 2 == 0 && bytes.len() >= 14 {
            let body = u8::try_from(bytes.len() - 13).unwrap();
            bytes[0] = 20 + u8::try_from(dice.roll(4)).unwrap();
            bytes[1..5].copy_from_slice(&[0xfe, 0xfd, 0, u8::try_from(dice.roll(3)).unwrap()]);
            bytes[11..13].copy_from_slice(&[0, body]);
        }
        for (from, to) in [(client_address(), server_address()), (server_address(), client_address())] {
            wire.inject(&Datagram { from, to, bytes: bytes.clone() });
        }
    }
    let counters = wire.server().engine.counters();
    assert!(counters.malformed > 5_000, "{counters:?}");
    assert!(counters.rejected > 5_000, "{counters:?}");
    assert_eq!(counters.handshakes_begun, 1);
    assert!(wire.server().data.is_empty() && wire.client().data.is_empty());
    assert_alive(&mut wire);
}

#[test]
fn truncated_datagrams_are_dropped_and_the_whole_one_is_read() {
    let mut wire = Wire::established();
    wire.send(client_address(), b"once");
    let whole = wire.on_the_way.pop_front().unwrap();
    for length in 0..whole.bytes.len() {
        wire.inject(&Datagram { bytes: whole.bytes[..length].to_vec(), ..whole.clone() });
    }
    assert!(wire.server().data.is_empty());
    wire.inject(&whole);
    assert_eq!(wire.server().data[0].1, b"once");
    assert_alive(&mut wire);
}

#[test]
fn oversized_datagrams_are_dropped() {
    let mut wire = Wire::established();
    for body in [2_100_u16, 2_304, 2_305, 9_000, 60_000] {
        let mut bytes = vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9];
        bytes.extend_from_slice(&body.to_be_bytes());
        bytes.resize(13 + usize::from(body), 0xaa);
        wire.inject(&Datagram { from: client_address(), to: server_address(), bytes });
    }
    let counters = wire.server().engine.counters();
    assert_eq!((counters.malformed, counters.rejected), (3, 2));
    assert_alive(&mut wire);
}

#[test]
fn replayed_records_are_dropped_and_counted() {
    let mut wire = Wire::established();
    wire.send(client_address(), b"once");
    let record = wire.on_the_way.pop_front().unwrap();
    for _ in 0..100 {
        wire.inject(&record);
    }
    assert_eq!(wire.server().data.len(), 1);
    assert_eq!(wire.server().engine.counters().rejected, 99);
    assert_alive(&mut wire);
}

#[test]
fn tampered_records_are_dropped_whichever_byte_changed() {
    let mut wire = Wire::established();
    wire.send(client_address(), b"true");
    let record = wire.on_the_way.pop_front().unwrap();
    for at in 0..record.bytes.len() {
        let mut tampered = record.clone();
        tampered.bytes[at] ^= 1;
        wire.inject(&tampered);
        assert!(wire.server().data.is_empty(), "byte {at}");
    }
    wire.inject(&record);
    assert_eq!(wire.server().data[0].1, b"true");
    assert_alive(&mut wire);
}

#[test]
fn records_of_one_session_are_worth_nothing_in_another() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client_without_cid("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    let second: SocketAddr = "203.0.113.9:40000".parse().unwrap();
    wire.nodes.insert(second, client_without_cid("lamp-2", KEY));
    wire.connect(second);
    wire.deliver_all();
    wire.send(client_address(), b"mine");
    let record = wire.on_the_way.pop_front().unwrap();
    wire.inject(&Datagram { from: second, ..record.clone() });
    wire.inject(&Datagram { from: "203.0.113.77:1".parse().unwrap(), ..record });
    assert!(wire.server().data.is_empty());
    assert_eq!(wire.server().engine.counters().rejected, 2);
}

#[test]
fn reordered_records_are_all_read() {
    let mut wire = Wire::established();
    for n in 0..40_u8 {
        wire.send(client_address(), &[n]);
    }
    while let Some(record) = wire.on_the_way.pop_back() {
        wire.inject(&record);
    }
    assert_eq!(wire.server().data.len(), 40);
}

#[test]
fn longest_plaintext_passes_and_a_longer_one_is_refused() {
    let mut wire = Wire::established();
    wire.send(client_address(), &[5; PLAINTEXT_BYTES_MAX]);
    wire.deliver_all();
    assert_eq!(wire.server().data[0].1.len(), PLAINTEXT_BYTES_MAX);
    let session = wire.client().last_session();
    let long = vec![5; PLAINTEXT_BYTES_MAX + 1];
    let refused = wire.at(client_address(), |engine, now, out| engine.send(session, &long, now, out));
    assert_eq!(refused, Err(SendError::TooLong { bytes: PLAINTEXT_BYTES_MAX + 1 }));
    assert_alive(&mut wire);
}

#[test]
fn closing_tells_the_peer_and_ends_the_session_on_both_sides() {
    let mut wire = Wire::established();
    let (ours, theirs) = (wire.client().last_session(), wire.server().last_session());
    wire.at(client_address(), |engine, now, out| engine.close(ours, now, out));
    wire.deliver_all();
    assert_eq!(wire.client().closed, [(ours, CloseReason::Local)]);
    assert_eq!(wire.server().closed, [(theirs, CloseReason::Peer)]);
    assert_eq!(wire.server().engine.counters().sessions_now, 0);
    let refused = wire.at(client_address(), |engine, now, out| engine.send(ours, b"x", now, out));
    assert_eq!(refused, Err(SendError::NoSession));
}

#[test]
fn idle_session_is_closed_and_a_heard_one_is_kept() {
    let config = DtlsConfig { session_idle_max: Duration::from_secs(100), ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.run(90, &mut |_| Fate::Deliver);
    wire.send(client_address(), b"here");
    wire.run(90, &mut |_| Fate::Deliver);
    assert!(wire.server().closed.is_empty());
    wire.run(20, &mut |_| Fate::Deliver);
    let session = wire.server().last_session();
    assert_eq!(wire.server().closed, [(session, CloseReason::Idle)]);
    assert_eq!(wire.client().closed[0].1, CloseReason::Peer);
}

#[test]
fn session_beyond_the_bound_evicts_the_one_idle_longest() {
    let config = DtlsConfig { sessions_max: 3, ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    let address = |n: u8| SocketAddr::from(([203, 0, 113, n], 40_000));
    for n in 0..3 {
        wire.nodes.insert(address(n), client("lamp-1", KEY));
        wire.connect(address(n));
        wire.run(1, &mut |_| Fate::Deliver);
    }
    // The oldest speaks again, so the second one is idle longest.
    wire.send(address(0), b"here");
    wire.run(1, &mut |_| Fate::Deliver);
    wire.connect(client_address());
    wire.deliver_all();
    let second = wire.server().established[1].session;
    assert_eq!(wire.server().closed, [(second, CloseReason::Evicted)]);
    assert_eq!(wire.server().engine.counters().sessions_now, 3);
    assert_eq!(wire.nodes[&address(1)].closed[0].1, CloseReason::Peer);
}

#[test]
fn identity_beyond_its_bound_loses_its_own_oldest_session_and_nobody_elses() {
    let config = DtlsConfig { sessions_per_identity_max: 2, ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-2", KEY));
    wire.connect(client_address());
    wire.run(1, &mut |_| Fate::Deliver);
    let address = |n: u8| SocketAddr::from(([203, 0, 113, n], 40_000));
    for n in 0..4 {
        wire.nodes.insert(address(n), client("lamp-1", KEY));
        wire.connect(address(n));
        wire.run(1, &mut |_| Fate::Deliver);
    }
    let made: Vec<_> = wire.server().established.iter().map(|session| session.session).collect();
    let evicted = [1, 2].map(|n| (made[n], CloseReason::Evicted));
    assert_eq!(wire.server().closed, evicted);
    assert_eq!(wire.server().engine.counters().sessions_now, 3);
}

#[test]
fn traffic_is_every_byte_of_the_wire_with_the_handshake_apart() {
    let mut wire = Wire::established();
    let bytes = |wire: &Wire, from| -> u64 {
        wire.sent.iter().filter(|d| d.from == from).map(|d| d.bytes.len() as u64).sum()
    };
    let (up, down) = (bytes(&wire, client_address()), bytes(&wire, server_address()));
    wire.send(client_address(), &[0; 100]);
    wire.send(server_address(), &[0; 10]);
    wire.deliver_all();
    let of_client = wire.client().established[0].traffic.bytes();
    assert_eq!((of_client.handshake_out, of_client.handshake_in), (up, down));
    // 13 header, 8 explicit nonce, 8 tag: 29 bytes a record; and to the server 8 of connection ID, 1 of content
    // type, and padding to a multiple of 16.
    assert_eq!((of_client.application_out, of_client.application_in), (149, 39));
    assert_eq!(wire.client().engine.counters().traffic, of_client);
    let of_server = wire.server().engine.counters().traffic;
    assert_eq!((of_server.handshake_in, of_server.handshake_out), (up, down));
    assert_eq!((of_server.application_in, of_server.application_out), (149, 39));
    let of_session = wire.server().established[0].traffic.bytes();
    let first_hello = wire.sent[0].bytes.len() as u64;
    assert_eq!(of_session.handshake_in, up - first_hello);
    assert_eq!(of_session.handshake_out, down - wire.sent[1].bytes.len() as u64);
}
