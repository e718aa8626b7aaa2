//! Many peers: bounded, evicted, and no work while they are idle.

use super::bench::{Bench, con, one};
use crate::code::Code;
use crate::{Config, Response};

const GET: Code = Code(1);

fn serve(bench: &mut Bench, peer: u64, message_id: u16) {
    bench.take_from(peer, &con(GET, message_id).path("f"));
    let (exchange, _) = bench.asked();
    let content = Response::new(Code::CONTENT).with_payload(42, [1; 64].to_vec());
    one(bench.respond(exchange, content));
}

#[test]
fn work_for_a_datagram_does_not_grow_with_idle_peers() {
    let touched_with = |idle: u64| {
        let mut bench = Bench::new(Config::default());
        for peer in 0..idle {
            serve(&mut bench, peer, 1);
        }
        serve(&mut bench, idle, 1);
        let before = bench.endpoint.timers_touched();
        for message_id in 2..102 {
            serve(&mut bench, idle, message_id);
            bench.endpoint.handle_timeout(bench.now);
        }
        bench.endpoint.timers_touched() - before
    };
    assert_eq!(touched_with(10), 100);
    assert_eq!(touched_with(10_000), 100);
}

#[test]
fn idle_peer_is_evicted_and_a_busy_one_kept() {
    let mut bench = Bench::new(Config::default());
    serve(&mut bench, 1, 1);
    serve(&mut bench, 2, 1);
    bench.pass_s(200);
    serve(&mut bench, 2, 2);
    bench.pass_s(100);
    assert_eq!(bench.endpoint.counters().peers_evicted, 1);
    bench.pass_s(200);
    assert_eq!(bench.endpoint.counters().peers_evicted, 2);
    assert_eq!(bench.endpoint.poll_timeout(), None);
}

#[test]
fn new_peer_past_the_bound_is_dropped_until_another_is_forgotten() {
    let config = Config { peers_max: 1, ..Config::default() };
    let mut bench = Bench::new(config);
    serve(&mut bench, 1, 1);
    assert!(bench.take_from(2, &con(GET, 1).path("f")).is_empty());
    assert!(bench.events().is_empty());
    assert_eq!(bench.endpoint.counters().peers_refused, 1);
    bench.endpoint.forget(1);
    serve(&mut bench, 2, 1);
}
