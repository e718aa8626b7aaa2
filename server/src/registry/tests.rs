use bellwether_decide::queue_mode::{Listening, Reach};
use bellwether_net::{NoService, Security, Shard, ShardConfig};

use super::*;

const NOW: u64 = 1_000;

fn shard() -> ShardHandle {
    let config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), Security::Plain);
    Shard::spawn(config, Box::new(NoService)).expect("a free port").0
}

fn lamp() -> Endpoint {
    Endpoint::try_from("lamp-1").expect("a name")
}

fn peer(session: u64, name: &str) -> Peer {
    Peer::new(SessionId(session), SocketAddr::from(([127, 0, 0, 1], 9)), Some(name.into()))
}

fn registered(shard: &ShardHandle, location: &str, session: u64, port: u16) -> Registry {
    let registry = Registry::default();
    add(&registry, shard, location, session, port);
    registry
}

fn add(registry: &Registry, shard: &ShardHandle, location: &str, session: u64, port: u16) -> bool {
    add_as(registry, shard, location, (session, port), None)
}

fn add_as(
    registry: &Registry,
    shard: &ShardHandle,
    location: &str,
    (session, port): (u64, u16),
    queue: Option<Queue>,
) -> bool {
    let endpoint = Endpoint::try_from("lamp-1").expect("a name");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (shard, session) = (shard.clone(), SessionId(session));
    let registration = Registration {
        endpoint,
        session,
        shard,
        address,
        lifetime_s: 60,
        expires: NOW + 60,
        speaks: Arc::new(Speaks { version: Version::V1_1, formats: Vec::new(), root: String::new() }),
        lists_updates: true,
        told: Told::Nothing,
        anchors: Brought::UpToDate,
        queue,
    };
    registry.register(location.to_owned(), registration)
}

#[test]
fn second_registration_of_a_device_ends_the_first() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    add(&registry, &shard, "b", 2, 6);
    assert_eq!(registry.count(), 1);
    assert!(registry.update("a", (&shard, &peer(2, "lamp-1")), None, NOW).is_none());
    assert!(registry.update("b", (&shard, &peer(2, "lamp-1")), None, NOW).is_some());
}

#[test]
fn who_comes_and_who_goes_is_told() {
    let shard = shard();
    let registry = Registry::default();
    let mut changes = registry.changes();
    add(&registry, &shard, "a", 1, 5);
    add(&registry, &shard, "b", 2, 6);
    registry.sweep(NOW + 61);
    let told: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
    let ports: Vec<_> = told.iter().map(|one| one.address.map(|address| address.port())).collect();
    assert_eq!(ports, [Some(5), Some(6), None]);
}

#[test]
fn another_device_can_neither_update_nor_end_a_registration() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    assert!(registry.update("a", (&shard, &peer(7, "lamp-2")), None, NOW).is_none());
    assert_eq!(registry.deregister("a", (&shard, &peer(7, "lamp-2"))), None);
    assert!(registry.deregister("a", (&shard, &peer(1, "lamp-1"))).is_some());
}

#[test]
fn peer_without_a_key_on_another_socket_can_neither_update_nor_end_a_registration() {
    let (plain, shard) = (shard(), shard());
    let registry = registered(&shard, "a", 1, 5);
    let stranger = Peer::new(SessionId(3), SocketAddr::from(([127, 0, 0, 1], 9)), None);
    assert!(registry.update("a", (&plain, &stranger), None, NOW).is_none());
    assert_eq!(registry.deregister("a", (&plain, &stranger)), None);
    assert_eq!(registry.count(), 1);
}

#[test]
fn registration_that_came_over_another_session_before_is_told_so() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    let says = |touched: Option<Touched>| touched.expect("its registration").from_another;
    let forgotten = || registry.former_is_forgotten(&Endpoint::try_from("lamp-1").expect("a name"));
    assert!(!says(registry.update("a", (&shard, &peer(1, "lamp-1")), None, NOW)));
    assert!(says(registry.update("a", (&shard, &peer(2, "lamp-1")), None, NOW)));
    assert!(says(registry.update("a", (&shard, &peer(2, "lamp-1")), None, NOW)), "the disk was full");
    assert!(add(&registry, &shard, "b", 2, 5), "and still is");
    forgotten();
    assert!(!add(&registry, &shard, "b", 2, 5));
    assert!(add(&registry, &shard, "c", 3, 5));
    forgotten();
    assert!(says(registry.deregister("c", (&shard, &peer(4, "lamp-1")))));
    forgotten();
    assert!(!add(&registry, &shard, "d", 5, 5));
}

#[test]
fn device_that_left_can_say_so_until_nothing_is_kept_of_it() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    let leave = |name| registry.deregister("a", (&shard, &peer(2, name)));
    assert!(registry.left().is_empty());
    assert!(leave("lamp-1").is_some());
    let lamp = Endpoint::try_from("lamp-1").expect("a name");
    assert_eq!(registry.left(), std::slice::from_ref(&lamp), "the disk was full");
    assert_eq!(
        (leave("lamp-1"), leave("lamp-2")),
        (Some(Touched { endpoint: lamp.clone(), from_another: true }), None)
    );
    registry.former_is_forgotten(&lamp);
    assert_eq!((leave("lamp-1"), registry.left()), (None, Vec::new()));
}

#[test]
fn device_that_is_back_has_not_left() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    assert!(registry.deregister("a", (&shard, &peer(2, "lamp-1"))).is_some());
    assert!(add(&registry, &shard, "b", 2, 5), "what was kept before is to be forgotten now");
    assert!(registry.left().is_empty());
    assert_eq!(registry.deregister("a", (&shard, &peer(2, "lamp-1"))), None);
}

#[test]
fn lifetime_of_0_is_for_ever_after_an_update_too() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    assert!(registry.update("a", (&shard, &peer(1, "lamp-1")), Some(0), NOW).is_some());
    assert!(registry.update("a", (&shard, &peer(1, "lamp-1")), None, NOW + 1_000_000).is_some());
    assert_eq!(registry.sweep(NOW + 2_000_000), 0);
    assert_eq!(registry.is_ready(&lamp(), NOW + 2_000_000), Some(true));
}

#[test]
fn registration_past_its_lifetime_is_not_reachable_and_is_swept() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    assert_eq!(registry.is_ready(&lamp(), NOW + 60), Some(true));
    assert_eq!((registry.is_ready(&lamp(), NOW + 61), registry.sweep(NOW + 60)), (None, 0));
    assert_eq!((registry.sweep(NOW + 61), registry.count()), (1, 0));
    let kept = registry.write();
    assert!(kept.locations.is_empty() && kept.sessions.is_empty() && kept.ends.is_empty());
}

#[test]
fn registration_that_was_renewed_replaced_or_ended_leaves_no_earlier_end_behind() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    registry.update("a", (&shard, &peer(1, "lamp-1")), Some(90), NOW + 50).expect("its registration");
    assert_eq!(registry.sweep(NOW + 100), 0);
    assert_eq!(registry.write().ends.len(), 1);
    add(&registry, &shard, "b", 2, 5);
    assert_eq!(registry.write().ends.len(), 1, "the earlier registration has ended");
    registry.deregister("b", (&shard, &peer(2, "lamp-1"))).expect("its registration");
    assert!(registry.write().ends.is_empty());
}

#[test]
fn lost_session_ends_the_registration_that_came_over_it_and_no_other() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    registry.update("a", (&shard, &peer(2, "lamp-1")), None, NOW).expect("its registration");
    registry.forget_lost(shard.local_addr(), SessionId(1));
    assert_eq!(registry.count(), 1);
    registry.forget_lost(shard.local_addr(), SessionId(2));
    assert_eq!(registry.count(), 0);
    assert!(registry.write().sessions.is_empty());
}

#[test]
fn session_that_nobody_keeps_ends_no_registration_of_another_socket() {
    let (plain, secure) = (shard(), shard());
    let registry = registered(&plain, "a", 1, 5);
    registry.forget_lost(secure.local_addr(), SessionId(1));
    assert_eq!(registry.count(), 1, "a forged connection ID has ended it");
}

#[test]
fn device_that_moved_is_found_at_its_new_address() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    let (new, endpoint) =
        (SocketAddr::from(([127, 0, 0, 1], 6)), Endpoint::try_from("lamp-1").expect("a name"));
    registry.moved("lamp-1", SessionId(9), new);
    assert_ne!(registry.find(&endpoint, NOW).expect("it").address, new);
    registry.moved("lamp-1", SessionId(1), new);
    assert_eq!(registry.find(&endpoint, NOW).expect("it").address, new);
    assert_eq!(registry.other_address(&endpoint, "127.0.0.1:6"), Some("127.0.0.1:5".to_owned()));
    assert!(registry.of_session("lamp-1", SessionId(1)).is_some());
    assert!(registry.of_session("lamp-1", SessionId(9)).is_none());
}

#[test]
fn device_whose_answers_are_awaited_is_passed_over_until_it_told_them() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    let endpoint = Endpoint::try_from("lamp-1").expect("a name");
    if let Some(registration) = registry.write().by_location.get_mut("a") {
        registration.told = Told::Awaited;
    }
    assert!(registry.is_ready(&endpoint, NOW) == Some(false) && registry.find(&endpoint, NOW).is_some());
    registry.told(&endpoint, SessionId(9), Some(Arc::from([1])));
    assert_eq!(registry.is_ready(&endpoint, NOW), Some(false), "told over a session that is not its");
    registry.told(&endpoint, SessionId(1), Some(Arc::from([1])));
    assert_eq!(registry.is_ready(&endpoint, NOW), Some(true));
    assert_eq!(registry.stable_answers(&endpoint, NOW).as_deref(), Some(&[1][..]));
    registry.told(&endpoint, SessionId(1), None);
    assert_eq!(registry.stable_answers(&endpoint, NOW), None);
}

#[test]
fn device_that_newer_anchors_did_not_come_to_is_tried_again_once_it_is_heard() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    let endpoint = Endpoint::try_from("lamp-1").expect("a name");
    let heard = || registry.heard(&endpoint, "127.0.0.1:5", NOW, false);
    heard();
    assert!(registry.take_behind(NOW).is_empty());
    registry.brought(&endpoint, SessionId(9), false);
    heard();
    assert!(registry.take_behind(NOW).is_empty(), "found over a session that is not its");
    registry.brought(&endpoint, SessionId(1), false);
    assert!(registry.take_behind(NOW).is_empty(), "it is as silent as it was");
    heard();
    assert_eq!(registry.take_behind(NOW).len(), 1);
    assert!(registry.take_behind(NOW).is_empty(), "it is being tried");
    registry.brought(&endpoint, SessionId(1), true);
    heard();
    assert!(registry.take_behind(NOW).is_empty());
}

#[test]
fn registration_lasts_as_long_by_the_clock_of_the_next_start() {
    let on_the_wall = carried(expiry(300, 5_000), 5_100, 1_800_000_000);
    assert_eq!(carried(on_the_wall, 1_800_000_050, 3), 153);
    assert_eq!(carried(carried(expiry(0, 5_000), 5_100, 9), 10, 3), u64::MAX);
}

#[test]
fn other_address_is_the_one_before_where_the_latest_is_the_askers() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    add(&registry, &shard, "b", 2, 6);
    let endpoint = Endpoint::try_from("lamp-1").expect("a name");
    assert_eq!(registry.other_address(&endpoint, "127.0.0.1:6"), Some("127.0.0.1:5".to_owned()));
    assert_eq!(registry.other_address(&endpoint, "127.0.0.1:5"), Some("127.0.0.1:6".to_owned()));
}

/// A lamp in queue mode, whose window is ten seconds, heard now over session 1.
fn in_queue_mode(shard: &ShardHandle) -> Registry {
    let registry = Registry::new(10);
    add_as(&registry, shard, "a", (1, 5), Some(Queue::heard(NOW, None)));
    registry
}

#[test]
fn device_in_queue_mode_is_ready_for_its_window_and_again_after_any_word_of_its_own() {
    let shard = shard();
    let registry = in_queue_mode(&shard);
    let ready = |now| registry.is_ready(&lamp(), now);
    assert_eq!((ready(NOW + 9), ready(NOW + 10)), (Some(true), Some(false)));
    assert_eq!(registry.reach(&lamp(), NOW + 10), Reach::Asleep);
    let says = |session, name, now| registry.heard_over(&shard, &peer(session, name), now);
    assert_eq!(says(1, "lamp-2", NOW + 20), None, "another one over its session");
    assert_eq!(says(2, "lamp-1", NOW + 20), None, "over no session of its registration");
    assert_eq!(ready(NOW + 20), Some(false));
    assert_eq!(says(1, "lamp-1", NOW + 20), Some(lamp()), "it slept");
    assert_eq!((ready(NOW + 20), says(1, "lamp-1", NOW + 21)), (Some(true), None));
    assert_eq!(registry.reach(&lamp(), NOW + 61), Reach::Away);
}

#[test]
fn device_in_queue_mode_that_misses_something_sleeps_until_it_is_heard() {
    let shard = shard();
    let registry = in_queue_mode(&shard);
    assert!(!registry.missed(&lamp(), SessionId(2), NOW + 1), "over a session that is not its");
    assert!(registry.missed(&lamp(), SessionId(1), NOW + 1));
    assert_eq!(registry.listening(&lamp(), NOW + 3), Some(Listening::Asleep { for_s: 2 }));
    registry.awake(&lamp(), NOW + 4);
    assert_eq!(registry.listening(&lamp(), NOW + 4), Some(Listening::Awake { left_s: 10 }));
    registry.missed(&lamp(), SessionId(1), NOW + 5);
    assert!(registry.update("a", (&shard, &peer(1, "lamp-1")), None, NOW + 6).is_some());
    assert_eq!(registry.is_ready(&lamp(), NOW + 6), Some(true));
}

#[test]
fn device_that_is_in_no_queue_mode_never_sleeps() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    assert!(!registry.missed(&lamp(), SessionId(1), NOW));
    assert_eq!(registry.listening(&lamp(), NOW + 60), Some(Listening::Always));
    assert_eq!(registry.heard_over(&shard, &peer(1, "lamp-1"), NOW + 60), None);
}

#[test]
fn queue_mode_is_turned_by_an_update_and_counted_until_the_registration_ends() {
    let shard = shard();
    let registry = registered(&shard, "a", 1, 5);
    registry.turn_queue_mode("a", true, NOW);
    registry.turn_queue_mode("a", true, NOW + 5);
    assert_eq!(registry.count_in_queue_mode(), 1);
    assert!(matches!(registry.listening(&lamp(), NOW), Some(Listening::Awake { .. })));
    registry.turn_queue_mode("a", false, NOW);
    assert_eq!(
        (registry.count_in_queue_mode(), registry.listening(&lamp(), NOW)),
        (0, Some(Listening::Always))
    );
    registry.turn_queue_mode("a", true, NOW);
    add_as(&registry, &shard, "b", (2, 5), Some(Queue::heard(NOW, None)));
    assert_eq!(registry.count_in_queue_mode(), 1, "one registration took the place of the other");
    registry.sweep(NOW + 61);
    assert_eq!(registry.count_in_queue_mode(), 0);
}

#[test]
fn device_that_slept_before_the_start_sleeps_on() {
    let shard = shard();
    let registry = Registry::new(10);
    // Heard five minutes before the start, by the wall clock.
    add_as(&registry, &shard, "a", (1, 5), Some(Queue::silent_since(50_000, (50_300, NOW))));
    assert_eq!(registry.listening(&lamp(), NOW + 7), Some(Listening::Asleep { for_s: 297 }));
    assert_eq!(registry.heard_over(&shard, &peer(1, "lamp-1"), NOW + 8), Some(lamp()));
    // The wall clock was set back since.
    add_as(&registry, &shard, "b", (1, 5), Some(Queue::silent_since(50_300, (50_000, NOW))));
    assert_eq!(registry.listening(&lamp(), NOW), Some(Listening::Awake { left_s: 10 }));
}
