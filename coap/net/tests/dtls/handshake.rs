//! Handshakes over a wire in memory: loss, reordering, wrong keys, forgeries, bounds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{
    Datagram, Dice, Fate, KEY, Node, Wire, client, client_address, seeds, server, server_address,
};
use bellwether_net::dtls::{CloseReason, DtlsConfig};

fn other_address(n: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, u8::try_from(n >> 8).unwrap()], 30_000 + n))
}

#[test]
fn handshake_gives_both_sides_a_session_and_the_server_the_identity() {
    let mut wire = Wire::established();
    assert_eq!(wire.server().established[0].identity.as_deref(), Some("lamp-1"));
    assert_eq!(wire.server().established[0].address, client_address());
    wire.send(client_address(), b"up");
    wire.send(server_address(), b"down");
    wire.deliver_all();
    assert_eq!(wire.server().data[0].1, b"up");
    assert_eq!(wire.client().data[0].1, b"down");
    assert_eq!(wire.server().engine.counters().handshakes_ok, 1);
    assert_eq!(wire.server().engine.counters().handshakes_now, 0);
}

#[test]
fn handshake_survives_the_loss_of_any_one_datagram() {
    let whole = Wire::established().sent.len();
    assert_eq!(whole, 6);
    for lost in 0..whole {
        let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
        wire.connect(client_address());
        let mut count = 0;
        wire.run(20, &mut |_| {
            count += 1;
            if count == lost + 1 { Fate::Lose } else { Fate::Deliver }
        });
        assert_eq!(wire.client().established.len(), 1, "datagram {lost} lost");
        wire.send(client_address(), b"up");
        wire.deliver_all();
        assert_eq!(wire.server().data.len(), 1, "datagram {lost} lost");
    }
}

#[test]
fn handshake_survives_heavy_loss_and_reordering() {
    for seed in seeds(60) {
        let config = DtlsConfig { handshake_timeout: Duration::from_mins(10), ..DtlsConfig::default() };
        let mut wire = Wire::new(server(config), client("lamp-1", KEY));
        let mut dice = Dice(seed);
        let mut fate = |_: &Datagram| match dice.roll(10) {
            0..=1 => Fate::Lose,
            2..=4 => Fate::Delay,
            _ => Fate::Deliver,
        };
        // A device that fails tries again, and so does this one.
        for _ in 0..10 {
            if wire.client().established.is_empty() {
                wire.connect(client_address());
                wire.run(40, &mut fate);
            }
        }
        assert_eq!(wire.client().established.len(), 1, "seed {seed}");
        wire.send(client_address(), b"up");
        wire.deliver_all();
        assert_eq!(wire.server().data.last().unwrap().1, b"up", "seed {seed}");
    }
}

/// Sizes and record types of what the server sent: all that an outsider or a peer can compare.
fn seen_of_failure(peer: Node) -> (Vec<(usize, u8)>, Wire) {
    let mut wire = Wire::new(server(DtlsConfig::default()), peer);
    wire.connect(client_address());
    wire.run(60, &mut |_| Fate::Deliver);
    let from_server = wire.sent.iter().filter(|datagram| datagram.from == server_address());
    let seen = from_server.map(|datagram| (datagram.bytes.len(), datagram.bytes[0])).collect();
    (seen, wire)
}

#[test]
fn wrong_key_ends_in_failure_on_both_sides() {
    let (_, mut wire) = seen_of_failure(client("lamp-1", b"fedcba9876543210"));
    assert!(wire.server().established.is_empty() && wire.client().established.is_empty());
    assert_eq!(wire.client().closed[0].1, CloseReason::HandshakeRefused);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_failed, counters.handshakes_now), (1, 0));
    assert_eq!((counters.identities_unknown, counters.handshakes_ok), (0, 0));
    // The application of the server never heard of it.
    assert!(wire.server().closed.is_empty());
}

#[test]
fn unknown_identity_is_counted_and_looks_like_a_wrong_key() {
    let (of_wrong_key, _) = seen_of_failure(client("lamp-1", b"fedcba9876543210"));
    let (of_unknown, mut wire) = seen_of_failure(client("lamp-9", KEY));
    assert_eq!(of_unknown, of_wrong_key);
    assert!(wire.server().established.is_empty());
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_failed, counters.identities_unknown), (1, 1));
}

#[test]
fn thousand_spoofed_client_hellos_leave_no_state() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
    wire.connect(client_address());
    let hello = wire.sent[0].clone();
    wire.on_the_way.clear();
    for n in 0..1_000 {
        wire.inject(&Datagram { from: other_address(n), ..hello.clone() });
    }
    let counters = wire.server().engine.counters();
    assert_eq!(counters.cookies_sent, 1_000);
    assert_eq!((counters.handshakes_begun, counters.handshakes_now, counters.sessions_now), (0, 0, 0));
    assert_eq!(wire.server().engine.next_timeout(), None);
    // Nothing that anybody could make us send is longer than what they sent.
    assert!(wire.sent.iter().skip(1).all(|answer| answer.bytes.len() < hello.bytes.len()));
}

#[test]
fn cookie_of_one_address_is_worth_nothing_from_another() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver(&mut |datagram| {
        let with_cookie = datagram.to == server_address() && datagram.bytes[17..19] == [0, 1];
        if with_cookie { Fate::Lose } else { Fate::Deliver }
    });
    let with_cookie = wire.sent.last().unwrap().clone();
    assert_eq!(with_cookie.from, client_address());
    wire.inject(&Datagram { from: other_address(1), ..with_cookie });
    assert_eq!(wire.server().engine.counters().handshakes_begun, 0);
}

#[test]
fn alert_in_the_clear_does_not_end_a_handshake_that_goes_on() {
    let alert = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 40];
    for to_server in [true, false] {
        let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
        wire.connect(client_address());
        while let Some(datagram) = wire.on_the_way.pop_front() {
            let (from, to) = (client_address(), server_address());
            let (from, to) = if to_server { (from, to) } else { (to, from) };
            wire.inject(&Datagram { from, to, bytes: alert.clone() });
            wire.inject(&datagram);
        }
        assert_eq!(wire.client().established.len(), 1, "alert to the server: {to_server}");
        assert_eq!(wire.server().established.len(), 1);
    }
}

#[test]
fn garbage_from_the_address_of_a_handshake_does_not_end_it() {
    let mut dice = Dice(3);
    for round in 0..200 {
        let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
        wire.connect(client_address());
        while let Some(datagram) = wire.on_the_way.pop_front() {
            // No record at all, and a record of the epoch that is not reached yet.
            let mut noise = dice.bytes(40);
            wire.inject(&Datagram { bytes: noise.clone(), ..datagram.clone() });
            noise[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 27]);
            wire.inject(&Datagram { bytes: noise, ..datagram.clone() });
            wire.inject(&datagram);
        }
        wire.run(20, &mut |_| Fate::Deliver);
        assert_eq!(wire.client().established.len(), 1, "round {round}");
        assert_eq!(wire.server().established.len(), 1, "round {round}");
    }
}

#[test]
fn client_gives_up_on_a_silent_server_at_the_handshake_timeout() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
    let session = wire.connect(client_address());
    wire.run(29, &mut |_| Fate::Lose);
    assert!(wire.client().closed.is_empty());
    // RFC 6347 §4.2.4.1: sent at 0, 1, 3, 7 and 15 s.
    assert_eq!(wire.sent.len(), 5);
    wire.run(2, &mut |_| Fate::Lose);
    assert_eq!(wire.client().closed, [(session, CloseReason::HandshakeTimeout)]);
}

#[test]
fn server_forgets_a_handshake_that_stops_halfway() {
    let mut wire = Wire::new(server(DtlsConfig::default()), client("lamp-1", KEY));
    wire.connect(client_address());
    // The client's last flight, key exchange and Finished, never arrives.
    let mut hellos = 0;
    wire.deliver(&mut |datagram| {
        hellos += u32::from(datagram.to == server_address());
        if hellos > 2 { Fate::Lose } else { Fate::Deliver }
    });
    assert_eq!(wire.server().engine.counters().handshakes_now, 1);
    wire.run(40, &mut |_| Fate::Lose);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_now, counters.handshakes_failed), (0, 1));
}

#[test]
fn handshakes_beyond_the_bound_are_refused_until_others_end() {
    let config = DtlsConfig { handshakes_in_progress_max: 2, ..DtlsConfig::default() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    for n in 1..=3 {
        wire.nodes.insert(other_address(n * 256), client("lamp-1", KEY));
        wire.connect(other_address(n * 256));
    }
    // Only ClientHellos pass, so every handshake that begins stays in progress.
    let mut only_hellos = |datagram: &Datagram| match datagram.bytes[13] {
        1 | 3 if datagram.bytes[0] == 22 => Fate::Deliver,
        _ => Fate::Lose,
    };
    wire.deliver(&mut only_hellos);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_now, counters.handshakes_refused), (2, 1));
    wire.run(31, &mut |_| Fate::Lose);
    assert_eq!(wire.server().engine.counters().handshakes_now, 0);
    wire.connect(client_address());
    wire.deliver_all();
    assert_eq!(wire.client().established.len(), 1);
}

// RFC 6347 §4.2.8
#[test]
fn client_hello_from_an_address_with_a_session_does_not_end_it() {
    let mut wire = Wire::established();
    let stranger = client("nobody", b"wrong");
    let device = wire.nodes.insert(client_address(), stranger).unwrap();
    wire.connect(client_address());
    wire.run(60, &mut |_| Fate::Deliver);
    assert_eq!(wire.client().closed[0].1, CloseReason::HandshakeRefused);
    wire.nodes.insert(client_address(), device);
    wire.send(client_address(), b"still here");
    wire.deliver_all();
    assert_eq!(wire.server().data[0].1, b"still here");
    assert!(wire.server().closed.is_empty());
}

#[test]
fn session_goes_on_while_a_new_handshake_from_its_address_is_under_way() {
    let mut wire = Wire::established();
    let first = wire.server().last_session();
    let device = wire.nodes.insert(client_address(), client("lamp-1", KEY)).unwrap();
    wire.connect(client_address());
    let mut records = 0;
    // Cookie exchange and the ServerHello flight pass, then the first session speaks.
    wire.deliver(&mut |datagram| {
        records += usize::from(datagram.to == server_address());
        if records > 2 { Fate::Lose } else { Fate::Deliver }
    });
    assert_eq!(wire.server().engine.counters().handshakes_now, 1);
    let restarted = wire.nodes.insert(client_address(), device).unwrap();
    wire.send(client_address(), b"between");
    wire.deliver_all();
    assert_eq!(wire.server().data, [(first, b"between".to_vec())]);
    wire.nodes.insert(client_address(), restarted);
    wire.run(20, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().closed, [(first, CloseReason::Replaced)]);
    wire.send(client_address(), b"after");
    wire.deliver_all();
    let second = wire.server().last_session();
    assert_eq!(wire.server().data[1], (second, b"after".to_vec()));
}

#[test]
fn late_copy_of_the_client_hello_that_made_a_session_begins_nothing() {
    let mut wire = Wire::established();
    let hello = wire.sent.iter().rfind(|datagram| datagram.bytes[13] == 1).unwrap().clone();
    wire.inject(&hello);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_begun, counters.handshakes_now), (1, 0));
}
