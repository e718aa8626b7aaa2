//! Connection IDs: peers that go on from another address, and those who would like to seem to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::{
    Datagram, Fate, KEY, Node, Wire, client, client_address, client_without_cid, key, server, server_address,
};
use bellwether_net::PskTable;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{CloseReason, DtlsConfig};

fn place(n: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, n], 50_000))
}

/// Sends from the client and gives the datagram instead of delivering it.
fn record_of_client(wire: &mut Wire, bytes: &[u8]) -> Datagram {
    wire.send(client_address(), bytes);
    wire.on_the_way.pop_back().unwrap()
}

#[test]
fn client_sends_to_the_connection_id_and_gets_records_without_one() {
    let mut wire = Wire::established();
    let session = wire.server().last_session();
    let up = record_of_client(&mut wire, b"up");
    assert_eq!(up.bytes[0], 25);
    assert_eq!(up.bytes[11..19], session.0.to_be_bytes());
    wire.send(server_address(), b"down");
    assert_eq!(wire.on_the_way.pop_back().unwrap().bytes[0], 23);
}

#[test]
fn connection_ids_carry_the_number_of_their_shard_and_are_all_different() {
    let config = DtlsConfig { shard: 7, ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        wire.connect(client_address());
        wire.deliver_all();
        let session = wire.server().last_session();
        assert_eq!(session.0 >> 56, 7);
        assert!(seen.insert(session));
    }
}

#[test]
fn record_to_another_shards_connection_id_is_dropped() {
    let mut wire = Wire::established();
    let mut record = record_of_client(&mut wire, b"up");
    record.bytes[11] = 9;
    wire.inject(&record);
    assert!(wire.server().data.is_empty() && wire.server().wanted.is_empty());
    assert_eq!(wire.server().engine.counters().rejected, 1);
}

#[test]
fn session_goes_on_from_another_address_without_a_handshake() {
    let mut wire = Wire::established();
    let session = wire.server().last_session();
    wire.rebind(client_address(), place(1));
    wire.send(client_address(), b"from there");
    wire.deliver_all();
    assert_eq!(wire.server().data, [(session, b"from there".to_vec())]);
    assert_eq!(wire.server().moved, [(session, place(1))]);
    wire.send(server_address(), b"back");
    assert_eq!(wire.on_the_way.back().unwrap().to, place(1));
    wire.deliver_all();
    assert_eq!(wire.client().data[0].1, b"back");
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_begun, counters.rebinds, counters.sessions_now), (1, 1, 1));
}

// RFC 9146 §6: only a record that is newer than the newest seen.
#[test]
fn late_record_is_read_but_does_not_draw_the_address_back() {
    let mut wire = Wire::established();
    let late = record_of_client(&mut wire, b"late");
    wire.rebind(client_address(), place(1));
    wire.send(client_address(), b"new");
    wire.deliver_all();
    wire.inject(&late);
    assert_eq!(wire.server().data.len(), 2);
    assert_eq!(wire.server().moved.len(), 1);
    wire.send(server_address(), b"back");
    assert_eq!(wire.on_the_way.back().unwrap().to, place(1));
}

#[test]
fn neither_a_replayed_nor_a_forged_record_moves_a_session() {
    let mut wire = Wire::established();
    let record = record_of_client(&mut wire, b"once");
    wire.inject(&record);
    wire.inject(&Datagram { from: place(2), ..record.clone() });
    // A sequence number that is newer than any, on a record that nobody could protect.
    let mut forged = Datagram { from: place(2), ..record };
    forged.bytes[5..11].copy_from_slice(&[0, 0, 0, 1, 0, 0]);
    wire.inject(&forged);
    assert_eq!(wire.server().data.len(), 1);
    assert!(wire.server().moved.is_empty());
    wire.send(server_address(), b"back");
    assert_eq!(wire.on_the_way.back().unwrap().to, client_address());
}

#[test]
fn record_without_the_connection_id_is_no_record_of_a_session_that_has_one() {
    let mut wire = Wire::established();
    let record = record_of_client(&mut wire, b"up");
    let mut bare = record.bytes.clone();
    bare.drain(11..19);
    bare[0] = 23;
    wire.inject(&Datagram { bytes: bare, ..record.clone() });
    assert!(wire.server().data.is_empty());
    wire.inject(&record);
    assert_eq!(wire.server().data.len(), 1);
}

#[test]
fn two_devices_that_swap_their_addresses_keep_their_sessions() {
    let mut wire = Wire::established();
    let other = place(9);
    wire.nodes.insert(other, client("lamp-2", KEY));
    wire.connect(other);
    wire.deliver_all();
    let (first, second) = (wire.server().established[0].session, wire.server().established[1].session);
    wire.rebind(client_address(), other);
    wire.rebind(other, client_address());
    for (from, text) in [(client_address(), b"one"), (other, b"two")] {
        wire.send(from, text);
    }
    wire.deliver_all();
    assert_eq!(wire.server().data, [(first, b"one".to_vec()), (second, b"two".to_vec())]);
    assert!(wire.server().closed.is_empty());
    for (session, text) in [(first, b"1"), (second, b"2")] {
        wire.at(server_address(), |engine, now, out| engine.send(session, text, now, out)).unwrap();
    }
    wire.deliver_all();
    assert_eq!(wire.client().data[0].1, b"1");
    assert_eq!(wire.nodes[&other].data[0].1, b"2");
}

#[test]
fn device_on_the_address_that_another_left_does_not_end_its_session() {
    let mut wire = Wire::established();
    let sleeper = wire.nodes.insert(client_address(), client("lamp-2", KEY)).unwrap();
    let first = wire.server().last_session();
    wire.connect(client_address());
    wire.deliver_all();
    assert!(wire.server().closed.is_empty());
    // The one that slept comes back from elsewhere, by its connection ID.
    wire.nodes.insert(place(3), sleeper);
    wire.send(place(3), b"awake");
    wire.deliver_all();
    assert_eq!(wire.server().data, [(first, b"awake".to_vec())]);
    assert_eq!(wire.server().engine.counters().sessions_now, 2);
}

#[test]
fn device_that_begins_anew_from_its_address_replaces_its_session() {
    let mut wire = Wire::established();
    let first = wire.server().last_session();
    wire.nodes.insert(client_address(), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    assert_eq!(wire.server().closed, [(first, CloseReason::Replaced)]);
}

#[test]
fn moving_address_counts_no_second_session_of_an_identity() {
    let config = DtlsConfig { sessions_per_identity_max: 1, ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    for n in 1..50 {
        wire.rebind(client_address(), place(n));
        wire.send(client_address(), &[n]);
        wire.deliver_all();
    }
    assert!(wire.server().closed.is_empty());
    assert_eq!(wire.server().data.len(), 49);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.sessions_now, counters.rebinds), (1, 49));
}

#[test]
fn finished_from_another_address_than_its_handshake_is_dropped() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
    wire.connect(client_address());
    let mut finished = None;
    while let Some(datagram) = wire.on_the_way.pop_front() {
        if datagram.to == server_address() && datagram.bytes[13] == 16 {
            // Its last flight: the key exchange, the change of cipher, and the Finished to the connection ID.
            finished = Some(datagram);
            break;
        }
        wire.inject(&datagram);
    }
    let finished = finished.unwrap();
    wire.inject(&Datagram { from: place(4), ..finished.clone() });
    assert!(wire.server().established.is_empty());
    wire.inject(&finished);
    wire.deliver_all();
    assert_eq!(wire.server().established[0].address, client_address());
    assert_eq!(wire.client().established.len(), 1);
}

#[test]
fn peers_without_connection_ids_are_found_by_their_address_and_never_hibernated() {
    let config = DtlsConfig { hibernate_after: Some(Duration::from_mins(5)), ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client_without_cid("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    let up = record_of_client(&mut wire, b"up");
    assert_eq!(up.bytes[0], 23);
    wire.inject(&Datagram { from: place(1), ..up.clone() });
    assert!(wire.server().data.is_empty());
    wire.inject(&up);
    assert_eq!(wire.server().data.len(), 1);
    wire.run(3_600, &mut |_| Fate::Deliver);
    assert!(wire.server().dormant.is_empty() && wire.server().closed.is_empty());
    wire.run(24 * 3_600, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().closed[0].1, CloseReason::Idle);
}

#[test]
fn session_with_a_server_without_connection_ids_works() {
    let table = PskTable::new();
    table.insert("lamp-1", key(KEY));
    let config = DtlsConfig { connection_ids: false, ..DtlsConfig::default() };
    let old = Node::new(Box::new(MbedTls::server(Arc::new(table), config).unwrap()));
    let mut wire = Wire::new(old, client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    assert_eq!(record_of_client(&mut wire, b"up").bytes[0], 23);
}
