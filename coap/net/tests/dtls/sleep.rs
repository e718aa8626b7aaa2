//! Hibernated sessions: out of memory, back, in another engine, and never twice.

use std::time::Duration;

use crate::wire::{Datagram, Dice, Fate, KEY, Wire, client, client_address, key, server, server_address};
use bellwether_net::SessionId;
use bellwether_net::dtls::{CloseReason, Dormant, DtlsConfig, SendError};

fn config() -> DtlsConfig {
    let cid_secret = Some(key(b"tells made-up connection IDs"));
    DtlsConfig { hibernate_after: Some(Duration::from_mins(5)), cid_secret, ..DtlsConfig::default() }
}

/// A session that has carried data; that is when Mbed TLS forgets its handshake.
fn used() -> (Wire, SessionId) {
    let mut wire = Wire::new(server(config()), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.send(client_address(), b"first");
    wire.deliver_all();
    let session = wire.server().last_session();
    (wire, session)
}

fn asleep() -> (Wire, Dormant) {
    let (mut wire, session) = used();
    wire.run(301, &mut |_| Fate::Deliver);
    let dormant = wire.server().dormant.pop().unwrap();
    assert_eq!(dormant.session, session);
    wire.server().data.clear();
    (wire, dormant)
}

fn resume(wire: &mut Wire, session: SessionId, dormant: Option<Dormant>) -> bool {
    wire.at(server_address(), |engine, now, out| engine.resume(session, dormant, now, out))
}

/// What a store gives back of what it was given.
fn from_store(dormant: &Dormant, age: Duration) -> Dormant {
    let Dormant { session, identity, address, .. } = dormant;
    Dormant::from_parts(*session, identity.clone(), *address, age, dormant.secret().to_vec())
}

fn sequence_number(datagram: &Datagram) -> u64 {
    datagram.bytes[5..11].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[test]
fn idle_session_leaves_memory_and_its_peer_hears_nothing() {
    let (mut wire, dormant) = asleep();
    assert_eq!(dormant.identity.as_ref(), "lamp-1");
    assert_eq!(dormant.address, client_address());
    assert!(dormant.age >= Duration::from_mins(5), "{:?}", dormant.age);
    assert!(dormant.secret().len() <= 280, "{} bytes", dormant.secret().len());
    let counters = wire.server().engine.counters();
    assert_eq!((counters.sessions_now, counters.sessions_hibernated, counters.sessions_evicted), (0, 1, 0));
    assert!(wire.server().closed.is_empty() && wire.client().closed.is_empty());
    let refused = wire.at(server_address(), |engine, now, out| engine.send(dormant.session, b"x", now, out));
    assert_eq!(refused, Err(SendError::NoSession));
}

#[test]
fn record_of_a_sleeping_session_waits_for_it_and_is_then_read() {
    let (mut wire, dormant) = asleep();
    wire.send(client_address(), b"awake");
    wire.send(client_address(), b"and on");
    wire.deliver_all();
    assert_eq!(wire.server().wanted, [dormant.session]);
    assert!(wire.server().data.is_empty());
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    let said: Vec<_> = wire.server().data.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(said, [b"awake".to_vec(), b"and on".to_vec()]);
    assert_eq!(wire.server().resumed[0].identity.as_deref(), Some("lamp-1"));
    wire.send_over(server_address(), dormant.session, b"good morning");
    wire.deliver_all();
    assert_eq!(wire.client().data[0].1, b"good morning");
    let counters = wire.server().engine.counters();
    assert_eq!((counters.handshakes_begun, counters.sessions_resumed, counters.wakes_now), (1, 1, 0));
}

#[test]
fn session_goes_on_in_another_engine_from_another_address() {
    let (mut wire, dormant) = asleep();
    wire.nodes.insert(server_address(), server(config()));
    let elsewhere = "203.0.113.5:777".parse().unwrap();
    wire.rebind(client_address(), elsewhere);
    wire.send(client_address(), b"after the restart");
    wire.deliver_all();
    assert!(resume(&mut wire, dormant.session, Some(from_store(&dormant, dormant.age))));
    assert_eq!(wire.server().data[0].1, b"after the restart");
    assert_eq!(wire.server().moved, [(dormant.session, elsewhere)]);
    wire.send_over(server_address(), dormant.session, b"welcome");
    wire.deliver_all();
    assert_eq!(wire.client().data[0].1, b"welcome");
    assert_eq!(wire.server().engine.counters().handshakes_begun, 0);
}

#[test]
fn server_speaks_first_to_a_session_that_it_brought_back() {
    let (mut wire, dormant) = asleep();
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    wire.send_over(server_address(), dormant.session, b"push");
    wire.deliver_all();
    assert_eq!(wire.client().data[0].1, b"push");
}

#[test]
fn sequence_numbers_jump_over_all_that_may_have_been_used() {
    let (mut wire, dormant) = asleep();
    // The same session twice, as from a copied database: an hour lies between.
    let mut numbers = Vec::new();
    for age in [dormant.age, dormant.age + Duration::from_hours(1)] {
        wire.nodes.insert(server_address(), server(config()));
        assert!(resume(&mut wire, dormant.session, Some(from_store(&dormant, age))));
        for _ in 0..50 {
            wire.send_over(server_address(), dormant.session, b"x");
        }
        numbers.extend(wire.on_the_way.drain(..).map(|datagram| sequence_number(&datagram)));
    }
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
    assert!(numbers[0] >= 65_536 * 300);
    assert!(numbers[50] >= 65_536 * 3_900);
}

#[test]
fn session_taken_back_at_once_uses_no_number_twice_without_help_of_the_clock() {
    let (mut wire, session) = used();
    wire.send(server_address(), b"x");
    let before = sequence_number(wire.on_the_way.back().unwrap());
    wire.at(server_address(), |engine, now, out| engine.hibernate_all(now, out));
    let dormant = wire.server().dormant.pop().unwrap();
    assert!(resume(&mut wire, session, Some(from_store(&dormant, Duration::ZERO))));
    wire.send_over(server_address(), session, b"y");
    assert!(sequence_number(wire.on_the_way.back().unwrap()) > before);
}

#[test]
fn record_read_before_the_sleep_is_not_read_again_after_it() {
    let (mut wire, session) = used();
    wire.send(client_address(), b"once");
    let record = wire.on_the_way.pop_front().unwrap();
    wire.inject(&record);
    wire.run(400, &mut |_| Fate::Deliver);
    let dormant = wire.server().dormant.pop().unwrap();
    wire.server().data.clear();
    wire.inject(&record);
    assert_eq!(wire.server().wanted, [session]);
    assert!(resume(&mut wire, session, Some(dormant)));
    assert!(wire.server().data.is_empty());
    assert!(wire.server().moved.is_empty());
}

#[test]
fn session_woken_by_a_forged_record_sleeps_again() {
    let (mut wire, dormant) = asleep();
    wire.send(client_address(), b"true");
    let mut forged = wire.on_the_way.pop_front().unwrap();
    let true_one = forged.clone();
    *forged.bytes.last_mut().unwrap() ^= 1;
    forged.from = "203.0.113.66:6".parse().unwrap();
    wire.inject(&forged);
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    assert!(wire.server().data.is_empty() && wire.server().moved.is_empty());
    wire.run(301, &mut |_| Fate::Deliver);
    let again = wire.server().dormant.pop().unwrap();
    assert!(again.age >= dormant.age + Duration::from_mins(5));
    wire.inject(&true_one);
    assert!(resume(&mut wire, dormant.session, Some(again)));
    assert_eq!(wire.server().data[0].1, b"true");
}

#[test]
fn records_for_sessions_that_nobody_keeps_are_bounded_and_forgotten() {
    let roomy = DtlsConfig { sessions_per_identity_max: 10, ..config() };
    let mut wire = Wire::new(server(roomy), client("lamp-1", KEY));
    let places: Vec<_> = (0..10_u8).map(|n| std::net::SocketAddr::from(([203, 0, 113, n], 9))).collect();
    for &place in &places {
        wire.nodes.insert(place, client("lamp-1", KEY));
        wire.connect(place);
        wire.deliver_all();
    }
    // As after a crash: the devices go on with what is no more.
    wire.nodes.insert(server_address(), server(DtlsConfig { wakes_max: 3, ..config() }));
    for &place in &places {
        for _ in 0..10 {
            wire.send(place, b"hello?");
        }
    }
    wire.deliver_all();
    assert_eq!(wire.server().wanted.len(), 3);
    let counters = wire.server().engine.counters();
    // Of the three, four records each are held.
    assert_eq!((counters.wakes_now, counters.wakes_refused), (3, 100 - 12));
    let first = wire.server().wanted[0];
    assert!(!resume(&mut wire, first, None));
    assert_eq!(wire.server().engine.counters().wakes_now, 2);
    wire.run(60, &mut |_| Fate::Deliver);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.wakes_now, counters.rejected), (0, 12));
    assert_eq!(wire.server().engine.next_timeout(), None);
}

#[test]
fn one_place_with_many_connection_ids_keeps_no_other_waiting() {
    let roomy = DtlsConfig { sessions_per_identity_max: 10, ..config() };
    let mut wire = Wire::new(server(roomy), client("lamp-1", KEY));
    let places: Vec<_> = (0..10_u8).map(|n| std::net::SocketAddr::from(([203, 0, 113, n], 9))).collect();
    for &place in &places {
        wire.nodes.insert(place, client("lamp-1", KEY));
        wire.connect(place);
        wire.deliver_all();
    }
    wire.nodes.insert(server_address(), server(DtlsConfig { wakes_per_address_max: 3, ..config() }));
    for &place in &places[..9] {
        wire.send(place, b"again");
    }
    // Nine of them are somebody's, or were overheard by him.
    while let Some(overheard) = wire.on_the_way.pop_front() {
        wire.inject(&Datagram { from: client_address(), ..overheard });
    }
    assert_eq!((wire.server().wanted.len(), wire.server().engine.counters().wakes_refused), (3, 6));
    wire.send(places[9], b"mine");
    wire.deliver_all();
    assert_eq!(wire.server().wanted.len(), 4);
    // What is answered makes room, and so does what is given up.
    let first = wire.server().wanted[0];
    assert!(!resume(&mut wire, first, None));
    assert!(!resume(&mut wire, first, None));
    wire.send(places[8], b"again");
    let overheard = wire.on_the_way.pop_front().unwrap();
    wire.inject(&Datagram { from: client_address(), ..overheard.clone() });
    assert_eq!(wire.server().wanted.len(), 5);
    wire.run(60, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().engine.counters().wakes_now, 0);
    wire.inject(&Datagram { from: client_address(), ..overheard });
    assert_eq!(wire.server().wanted.len(), 6);
}

#[test]
fn made_up_connection_ids_take_no_place_of_a_session_that_is_kept() {
    let (mut wire, dormant) = asleep();
    wire.nodes.insert(server_address(), server(DtlsConfig { wakes_max: 3, ..config() }));
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let mut bytes = vec![25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0];
        bytes.extend(dice.bytes(7));
        bytes.extend([0, 20]);
        bytes.extend(dice.bytes(20));
        wire.inject(&Datagram { from: client_address(), to: server_address(), bytes });
    }
    wire.send(client_address(), b"awake");
    wire.deliver_all();
    assert_eq!(wire.server().wanted.last(), Some(&dormant.session));
    // By chance, one in 65,536 of those is looked up.
    assert!(wire.server().wanted.len() <= 2, "{:?}", wire.server().wanted);
    let counters = wire.server().engine.counters();
    assert_eq!((counters.wakes_refused, counters.rejected), (0, 20_001 - counters.wakes_asked));
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    assert_eq!(wire.server().data[0].1, b"awake");
}

#[test]
fn damaged_session_does_not_go_on_and_harms_nobody() {
    let (mut wire, dormant) = asleep();
    let whole = dormant.secret().to_vec();
    for length in 0..whole.len() {
        let cut = Dormant::from_parts(
            dormant.session,
            dormant.identity.clone(),
            dormant.address,
            dormant.age,
            whole[..length].to_vec(),
        );
        assert!(!resume(&mut wire, dormant.session, Some(cut)), "{length} bytes");
    }
    assert!(!resume(&mut wire, SessionId(5), Some(dormant.clone())), "under another name");
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    assert!(!resume(&mut wire, dormant.session, Some(dormant)), "twice");
    assert_eq!(wire.server().engine.counters().sessions_now, 1);
}

#[test]
fn session_that_carried_nothing_yet_is_not_hibernated_but_closed_when_it_is_idle_for_long() {
    let mut wire = Wire::new(server(config()), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.run(23 * 3_600, &mut |_| Fate::Deliver);
    assert!(wire.server().dormant.is_empty() && wire.server().closed.is_empty());
    wire.send(client_address(), b"late");
    wire.deliver_all();
    assert_eq!(wire.server().data.len(), 1);
    wire.run(700, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().dormant.len(), 1);
}

#[test]
fn session_that_never_carries_anything_is_closed() {
    let mut wire = Wire::new(server(config()), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.run(24 * 3_600 + 1, &mut |_| Fate::Deliver);
    assert_eq!(wire.server().closed[0].1, CloseReason::Idle);
}

#[test]
fn session_that_has_to_make_room_is_hibernated_instead_of_closed() {
    let mut wire = Wire::new(server(DtlsConfig { sessions_max: 1, ..config() }), client("lamp-1", KEY));
    let other = "203.0.113.8:1".parse().unwrap();
    wire.nodes.insert(other, client("lamp-2", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.send(client_address(), b"first");
    wire.deliver_all();
    wire.connect(other);
    wire.deliver_all();
    assert!(wire.server().closed.is_empty());
    let dormant = wire.server().dormant.pop().unwrap();
    assert_eq!(dormant.identity.as_ref(), "lamp-1");
    wire.send(client_address(), b"again");
    wire.send(other, b"mine");
    wire.deliver_all();
    assert!(resume(&mut wire, dormant.session, Some(dormant.clone())));
    let counters = wire.server().engine.counters();
    assert_eq!((counters.sessions_now, counters.sessions_hibernated), (1, 2));
}

#[test]
fn stopping_engine_gives_all_its_sessions_out() {
    let mut wire = Wire::new(server(config()), client("lamp-1", KEY));
    let places: Vec<_> = (1..=3_u8).map(|n| std::net::SocketAddr::from(([203, 0, 113, n], 9))).collect();
    for &place in &places {
        wire.nodes.insert(place, client("lamp-1", KEY));
        wire.connect(place);
        wire.deliver_all();
        wire.send(place, b"first");
    }
    wire.deliver_all();
    wire.at(server_address(), |engine, now, out| engine.hibernate_all(now, out));
    let dormant = std::mem::take(&mut wire.server().dormant);
    assert_eq!(dormant.len(), 3);
    assert_eq!(wire.server().engine.counters().sessions_now, 0);
    wire.nodes.insert(server_address(), server(config()));
    for (place, dormant) in places.iter().zip(dormant) {
        wire.send(*place, b"again");
        wire.deliver_all();
        let session = *wire.server().wanted.last().unwrap();
        let found = if session == dormant.session { dormant } else { continue };
        assert!(resume(&mut wire, session, Some(found)));
    }
}

#[test]
fn sessions_that_come_back_count_for_their_identity() {
    let config = DtlsConfig { sessions_per_identity_max: 1, ..config() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.send(client_address(), b"first");
    wire.deliver_all();
    wire.run(301, &mut |_| Fate::Deliver);
    let dormant = wire.server().dormant.pop().unwrap();
    let other = "203.0.113.8:1".parse().unwrap();
    wire.nodes.insert(other, client("lamp-1", KEY));
    wire.connect(other);
    wire.deliver_all();
    let second = wire.server().last_session();
    assert!(resume(&mut wire, dormant.session, Some(dormant)));
    assert_eq!(wire.server().closed, [(second, CloseReason::Evicted)]);
}

#[test]
fn record_that_somebody_repeats_wakes_its_session_and_ends_no_other_of_its_identity() {
    let config = DtlsConfig { sessions_per_identity_max: 1, ..config() };
    let mut wire = Wire::new(server(config), client("lamp-1", KEY));
    wire.connect(client_address());
    wire.deliver_all();
    wire.send(client_address(), b"first");
    let overheard = wire.on_the_way.front().unwrap().clone();
    wire.deliver_all();
    wire.run(301, &mut |_| Fate::Deliver);
    let left_behind = wire.server().dormant.pop().unwrap();
    let other = "203.0.113.8:1".parse().unwrap();
    wire.nodes.insert(other, client("lamp-1", KEY));
    wire.connect(other);
    wire.deliver_all();
    wire.send(other, b"in use");
    wire.deliver_all();
    let in_use = wire.server().last_session();

    wire.inject(&overheard);
    assert!(resume(&mut wire, left_behind.session, Some(left_behind)));
    wire.deliver_all();
    assert!(wire.server().closed.is_empty() && wire.nodes[&other].closed.is_empty());
    assert_eq!(wire.server().dormant.pop().unwrap().session, in_use);
}

/// A state in which the connection ID of ours has `more` bytes behind it.
fn with_longer_cid(dormant: &Dormant, more: u8) -> Dormant {
    let mut state = dormant.secret().to_vec();
    let cid = dormant.session.0.to_be_bytes();
    let at = state.windows(cid.len()).position(|window| window == cid).unwrap();
    state[at - 1] += more;
    let end = at + cid.len();
    state.splice(end..end, std::iter::repeat_n(0xaa, more.into()));
    let Dormant { session, identity, address, age, .. } = dormant;
    Dormant::from_parts(*session, identity.clone(), *address, *age, state)
}

/// Mbed TLS copies a connection ID of any length into 32 bytes: of 32 more it overwrites the peer's, of 128 the heap.
#[test]
fn state_with_a_connection_id_longer_than_its_room_is_refused() {
    let (mut wire, dormant) = asleep();
    for more in [1, 32] {
        assert!(!resume(&mut wire, dormant.session, Some(with_longer_cid(&dormant, more))), "{more}");
    }
    assert!(resume(&mut wire, dormant.session, Some(dormant)));
}

#[test]
fn state_of_another_session_is_refused() {
    let (mut wire, dormant) = asleep();
    let other = SessionId(dormant.session.0 ^ 1);
    let Dormant { identity, address, age, .. } = dormant.clone();
    let swapped = Dormant::from_parts(other, identity, address, age, dormant.secret().to_vec());
    assert!(!resume(&mut wire, other, Some(swapped)));
}

#[test]
fn state_that_was_cut_or_has_more_behind_it_is_refused() {
    let (mut wire, dormant) = asleep();
    let whole = dormant.secret().to_vec();
    let Dormant { session, identity, address, age, .. } = dormant;
    let changed = (0..whole.len()).map(|length| whole[..length].to_vec());
    for state in changed.chain([[&whole[..], b"x"].concat()]) {
        let length = state.len();
        let dormant = Dormant::from_parts(session, identity.clone(), address, age, state);
        assert!(!resume(&mut wire, session, Some(dormant)), "{length} of {} bytes", whole.len());
    }
}
