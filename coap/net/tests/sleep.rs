//! Shards on loopback whose owner keeps keys and sleeping sessions.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_net::{
    CloseReason, ConnectError, Dormant, Event, Lookup, NoService, Peer, PskStore, RequestError, Secret,
    Security, Service, SessionId, Shard, ShardConfig, ShardHandle,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const KEY: &[u8] = b"0123456789abcdef";

/// Has no key in memory.
struct Elsewhere;

impl PskStore for Elsewhere {
    fn find(&self, _: &[u8]) -> Lookup {
        Lookup::Later
    }
}

/// Answers with who asks.
struct Who;

impl Service for Who {
    fn answer(&mut self, peer: &Peer, _: &Request) -> Option<Response> {
        let name = peer.identity.as_deref().unwrap_or("nobody");
        Some(Response::new(Code::CONTENT).with_payload(0, name.into()))
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn server(bind: SocketAddr, hibernate_after: Duration) -> (ShardHandle, Receiver<Event>) {
    try_server(bind, hibernate_after).unwrap()
}

fn try_server(bind: SocketAddr, hibernate_after: Duration) -> io::Result<(ShardHandle, Receiver<Event>)> {
    let mut config = ShardConfig::new(bind, Security::PskServer(Arc::new(Elsewhere)));
    config.dtls.hibernate_after = Some(hibernate_after);
    config.dtls.cid_secret = Secret::new(b"tells made-up connection IDs".to_vec());
    Shard::spawn(config, Box::new(Who))
}

/// Serves where another server was; a test beside this one may have got the port meanwhile, and gives it back.
async fn server_again(address: SocketAddr, hibernate_after: Duration) -> (ShardHandle, Receiver<Event>) {
    loop {
        match try_server(address, hibernate_after) {
            Ok(served) => return served,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn client(identity: &str) -> (ShardHandle, Receiver<Event>) {
    let key = Secret::new(KEY.to_vec()).unwrap();
    let security = Security::PskClient { identity: identity.into(), key };
    Shard::spawn(ShardConfig::new(loopback(), security), Box::new(Who)).unwrap()
}

/// No test waits longer; it is no measure of speed.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_mins(1), future).await.unwrap()
}

fn get() -> Request {
    Request::new(Method::Get, "/who")
}

/// Supplies the key of whoever is asked for, if it is lamp-1, until a session is established.
async fn admit(server: &ShardHandle, events: &mut Receiver<Event>) -> Peer {
    loop {
        match soon(events.recv()).await.unwrap() {
            Event::KeyWanted { session, identity } => {
                let key = (*identity == *"lamp-1").then(|| Secret::new(KEY.to_vec()).unwrap());
                server.supply_key(session, key);
            }
            Event::Connected(peer) => return peer,
            event => panic!("{event:?}"),
        }
    }
}

async fn asleep(events: &mut Receiver<Event>) -> Dormant {
    match soon(events.recv()).await.unwrap() {
        Event::Hibernated(dormant) => dormant,
        event => panic!("{event:?}"),
    }
}

async fn wanted(events: &mut Receiver<Event>) -> SessionId {
    match soon(events.recv()).await.unwrap() {
        Event::SessionWanted(session) => session,
        event => panic!("{event:?}"),
    }
}

async fn connected(
    server: &ShardHandle,
    events: &mut Receiver<Event>,
) -> (ShardHandle, Receiver<Event>, SessionId) {
    let (device, at_device) = client("lamp-1");
    let address = server.local_addr();
    let (session, _) =
        tokio::join!(async { soon(device.connect(address)).await.unwrap().session }, admit(server, events));
    (device, at_device, session)
}

#[tokio::test]
async fn key_comes_from_the_owner() {
    let (server, mut events) = server(loopback(), Duration::from_mins(5));
    let (device, _at_device, session) = connected(&server, &mut events).await;
    assert_eq!(soon(device.request(session, get())).await.unwrap().payload, b"lamp-1");
    let counters = server.counters().sessions;
    assert_eq!((counters.keys_asked, counters.keys_awaited_now), (1, 0));
}

#[tokio::test]
async fn identity_that_the_owner_does_not_know_is_refused() {
    let (server, mut events) = server(loopback(), Duration::from_mins(5));
    let (device, _at_device) = client("lamp-9");
    let address = server.local_addr();
    let (refused, ()) = tokio::join!(soon(device.connect(address)), async {
        let Some(Event::KeyWanted { session, .. }) = soon(events.recv()).await else { panic!() };
        server.supply_key(session, None);
    });
    assert_eq!(refused.unwrap_err(), ConnectError::Failed(CloseReason::HandshakeRefused));
    assert_eq!(server.counters().sessions.identities_unknown, 1);
}

#[tokio::test]
async fn sleeping_session_comes_back_for_the_device_and_for_the_server() {
    let (server, mut events) = server(loopback(), Duration::from_millis(100));
    let (device, _at_device, session) = connected(&server, &mut events).await;
    soon(device.request(session, get())).await.unwrap();

    let dormant = asleep(&mut events).await;
    let name = dormant.session;
    let (answer, ()) = tokio::join!(soon(device.request(session, get())), async {
        assert_eq!(wanted(&mut events).await, name);
        server.resume(name, Some(dormant));
    });
    assert_eq!(answer.unwrap().payload, b"lamp-1");

    let dormant = asleep(&mut events).await;
    let (answer, ()) = tokio::join!(soon(server.request(name, get())), async {
        assert_eq!(wanted(&mut events).await, name);
        server.resume(name, Some(dormant));
    });
    assert_eq!(answer.unwrap().payload, b"nobody");
    let counters = server.counters().sessions;
    assert_eq!((counters.handshakes_begun, counters.sessions_resumed), (1, 2));
}

#[tokio::test]
async fn session_that_the_server_and_its_device_both_want_is_asked_for_and_brought_once() {
    let (server, mut events) = server(loopback(), Duration::from_millis(100));
    let (device, _at_device, session) = connected(&server, &mut events).await;
    soon(device.request(session, get())).await.unwrap();
    let dormant = asleep(&mut events).await;
    let name = dormant.session;
    let (asked, answered, ()) =
        tokio::join!(soon(server.request(name, get())), soon(device.request(session, get())), async {
            assert_eq!(wanted(&mut events).await, name);
            // The record of the device has come in by now or comes later; either way the first answer serves it.
            while server.counters().sessions.wakes_asked == 0 {
                tokio::task::yield_now().await;
            }
            server.resume(name, Some(dormant.clone()));
        });
    assert_eq!((asked.unwrap().payload, answered.unwrap().payload), (b"nobody".into(), b"lamp-1".into()));
    // The next event is that it sleeps again: it was not asked for twice.
    let again = asleep(&mut events).await;
    // What was brought once goes on once, or it would use its nonces twice.
    server.resume(name, Some(dormant));
    let (answer, ()) = tokio::join!(soon(device.request(session, get())), async {
        assert_eq!(wanted(&mut events).await, name);
        server.resume(name, Some(again));
    });
    assert_eq!(answer.unwrap().payload, b"lamp-1");
    assert_eq!(server.counters().sessions.sessions_resumed, 2);
}

#[tokio::test]
async fn request_to_a_session_that_is_not_kept_fails_at_once() {
    let (server, mut events) = server(loopback(), Duration::from_mins(5));
    let nowhere = SessionId(77);
    let (failed, ()) = tokio::join!(soon(server.request(nowhere, get())), async {
        assert_eq!(wanted(&mut events).await, nowhere);
        server.resume(nowhere, None);
    });
    assert_eq!(failed.unwrap_err(), RequestError::NoSession);
    let (plain, _events) =
        Shard::spawn(ShardConfig::new(loopback(), Security::Plain), Box::new(NoService)).unwrap();
    assert_eq!(soon(plain.request(nowhere, get())).await.unwrap_err(), RequestError::NoSession);
}

#[tokio::test]
async fn device_goes_on_after_its_server_was_stopped_and_started() {
    let (first, mut events) = server(loopback(), Duration::from_mins(5));
    let (device, mut at_device, session) = connected(&first, &mut events).await;
    soon(device.request(session, get())).await.unwrap();
    let mut kept = soon(first.hibernate()).await;
    assert_eq!(kept.len(), 1);
    let (second, mut events) = soon(server_again(first.local_addr(), Duration::from_mins(5))).await;
    let (answer, ()) = tokio::join!(soon(device.request(session, get())), async {
        let session = wanted(&mut events).await;
        second.resume(session, kept.pop());
    });
    assert_eq!(answer.unwrap().payload, b"lamp-1");
    assert_eq!(second.counters().sessions.handshakes_begun, 0);
    assert!(at_device.try_recv().is_err(), "the device has heard of something");
}
