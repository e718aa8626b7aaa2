//! Shards on loopback: requests both ways over one session, bodies in blocks, bounds, ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_net::{
    CloseReason, ConnectError, EVENTS_MAX, Event, NoService, Peer, PskTable, RequestError, Secret, Security,
    Service, Shard, ShardConfig, ShardHandle,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const KEY: &[u8] = b"0123456789abcdef";

fn key(bytes: &[u8]) -> Secret {
    Secret::new(bytes.to_vec()).unwrap()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn server_security() -> Security {
    let table = PskTable::new();
    for n in 0..40 {
        table.insert(format!("lamp-{n}"), key(KEY));
    }
    Security::PskServer(Arc::new(table))
}

fn client_security(identity: &str, psk: &[u8]) -> Security {
    Security::PskClient { identity: identity.into(), key: key(psk) }
}

fn shard(security: Security, service: impl Service + 'static) -> (ShardHandle, Receiver<Event>) {
    Shard::spawn(ShardConfig::new(loopback(), security), Box::new(service)).unwrap()
}

/// No test waits longer; it is no measure of speed.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_mins(1), future).await.unwrap()
}

/// Answers with who asks, what it is asked, and the body it got.
struct Echo;

impl Service for Echo {
    fn answer(&mut self, peer: &Peer, request: &Request) -> Option<Response> {
        let mut body = request.payload.clone();
        match request.path.first().map(String::as_str) {
            Some("who") => body = peer.identity.as_deref().unwrap_or("nobody").into(),
            Some("big") => body = vec![b'x'; 100_000],
            Some("echo") => {}
            _ => return None,
        }
        Some(Response::new(Code::CONTENT).with_payload(42, body))
    }
}

fn get(path: &str) -> Request {
    Request::new(Method::Get, path)
}

#[tokio::test]
async fn requests_go_both_ways_over_one_dtls_session() {
    let (server, mut at_server) = shard(server_security(), Echo);
    let (client, mut at_client) = shard(client_security("lamp-1", KEY), NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    let response = soon(client.request(session, get("/who"))).await.unwrap();
    assert_eq!(response.payload, b"lamp-1");

    let Some(Event::Connected(peer)) = soon(at_server.recv()).await else { panic!() };
    assert_eq!(peer.identity.as_deref(), Some("lamp-1"));
    let asked = tokio::spawn({
        let server = server.clone();
        async move { server.request(peer.session, get("/3/0")).await }
    });
    let Some(Event::Request { exchange, request, .. }) = soon(at_client.recv()).await else { panic!() };
    assert_eq!(request.path, ["3", "0"]);
    client.respond(exchange, Response::new(Code::CONTENT).with_payload(0, b"lamp".to_vec()));
    assert_eq!(soon(asked).await.unwrap().unwrap().payload, b"lamp");
}

#[tokio::test]
async fn owner_answers_what_the_service_does_not() {
    let (server, mut at_server) = shard(server_security(), Echo);
    let (client, _at_client) = shard(client_security("lamp-1", KEY), NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    assert!(matches!(soon(at_server.recv()).await, Some(Event::Connected(_))));
    let asked = tokio::spawn(async move { client.request(session, get("/rd")).await });
    let Some(Event::Request { exchange, peer, request }) = soon(at_server.recv()).await else { panic!() };
    assert_eq!((peer.identity.as_deref(), request.path.as_slice()), (Some("lamp-1"), &["rd".to_owned()][..]));
    server.respond(exchange, Response::new(Code::CREATED));
    assert_eq!(soon(asked).await.unwrap().unwrap().code, Code::CREATED);
}

#[tokio::test]
async fn bodies_of_many_blocks_pass_both_ways() {
    let (server, _events) = shard(server_security(), Echo);
    let (client, _at_client) = shard(client_security("lamp-1", KEY), NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    let response = soon(client.request(session, get("/big"))).await.unwrap();
    assert_eq!(response.payload, vec![b'x'; 100_000]);
    let body: Vec<u8> = (0..90_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let put = Request::new(Method::Put, "/echo").with_payload(42, body.clone());
    let response = soon(client.request(session, put)).await.unwrap();
    assert_eq!(response.payload, body);
}

#[tokio::test]
async fn wrong_key_and_unknown_identity_get_the_same_refusal() {
    let (server, _events) = shard(server_security(), Echo);
    for (identity, psk) in [("lamp-1", &b"fedcba9876543210"[..]), ("lamp-99", KEY)] {
        let (client, _at_client) = shard(client_security(identity, psk), NoService);
        let refused = soon(client.connect(server.local_addr())).await.unwrap_err();
        assert_eq!(refused, ConnectError::Failed(CloseReason::HandshakeRefused));
    }
    let counters = server.counters().sessions;
    assert_eq!((counters.handshakes_ok, counters.handshakes_failed, counters.identities_unknown), (0, 2, 1));
}

#[tokio::test]
async fn forty_clients_are_served_at_once() {
    let (server, _events) = shard(server_security(), Echo);
    let clients = (0..40).map(|n| {
        let address = server.local_addr();
        tokio::spawn(async move {
            let (client, _events) = shard(client_security(&format!("lamp-{n}"), KEY), NoService);
            let session = client.connect(address).await.unwrap().session;
            let response = client.request(session, get("/who")).await.unwrap();
            client.stop();
            response.payload == format!("lamp-{n}").into_bytes()
        })
    });
    for client in clients {
        assert!(soon(client).await.unwrap());
    }
    assert_eq!(server.counters().sessions.handshakes_ok, 40);
}

#[tokio::test]
async fn traffic_of_a_session_tells_the_handshake_apart() {
    let (server, mut at_server) = shard(server_security(), Echo);
    let (client, _at_client) = shard(client_security("lamp-1", KEY), NoService);
    let at_client = soon(client.connect(server.local_addr())).await.unwrap();
    let after_handshake = at_client.traffic();
    assert!(after_handshake.handshake_in > 0 && after_handshake.handshake_out > 0);
    assert_eq!((after_handshake.application_in, after_handshake.application_out), (0, 0));
    soon(client.request(at_client.session, get("/big"))).await.unwrap();
    let traffic = at_client.traffic();
    assert!(traffic.application_in > 100_000 && traffic.application_in < 110_000, "{traffic:?}");
    assert_eq!(traffic.handshake_in, after_handshake.handshake_in);
    assert_eq!(client.counters().sessions.traffic, traffic);
    assert_eq!((client.counters().datagrams_unsent, server.counters().datagrams_unsent), (0, 0));
    let Some(Event::Connected(peer)) = soon(at_server.recv()).await else { panic!() };
    assert_eq!(peer.traffic().application_out, traffic.application_in);
    assert_eq!(peer.traffic().application_in, traffic.application_out);
}

#[tokio::test]
async fn garbage_at_the_socket_does_not_disturb_a_session() {
    let (server, _events) = shard(server_security(), Echo);
    let (client, _at_client) = shard(client_security("lamp-1", KEY), NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    let stranger = UdpSocket::bind(loopback()).unwrap();
    for n in 0..2_000_usize {
        let garbage = vec![u8::try_from(n % 251).unwrap(); n];
        stranger.send_to(&garbage, server.local_addr()).unwrap();
        if n % 100 == 0 {
            let response = soon(client.request(session, get("/who"))).await.unwrap();
            assert_eq!(response.payload, b"lamp-1");
        }
    }
    assert!(server.counters().sessions.malformed > 1_000);
    assert_eq!(server.counters().sessions.sessions_now, 1);
}

#[tokio::test]
async fn full_event_channel_makes_the_shard_answer_busy() {
    let mut config = ShardConfig::new(loopback(), Security::Plain);
    config.coap.exchanges_per_peer_max = EVENTS_MAX * 2;
    config.coap.in_flight_max = EVENTS_MAX * 2;
    config.coap.transmission.nstart = EVENTS_MAX * 2;
    config.coap.dedup_ring_max = EVENTS_MAX * 2;
    let (server, at_server) = Shard::spawn(config.clone(), Box::new(NoService)).unwrap();
    let (client, _at_client) = Shard::spawn(config, Box::new(NoService)).unwrap();
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..=EVENTS_MAX {
        let client = client.clone();
        asked.spawn(async move { client.request(session, get("/rd")).await });
    }
    // One event tells of the session, so two requests find no room.
    for _ in 0..2 {
        let response = soon(asked.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!((response.code, response.max_age), (Code::SERVICE_UNAVAILABLE, Some(5)));
    }
    assert_eq!(server.counters().requests_refused, 2);
    drop(at_server);
}

#[tokio::test]
async fn plain_shard_knows_no_identity() {
    let (server, _events) = shard(Security::Plain, Echo);
    let (client, _at_client) = shard(Security::Plain, NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    assert_eq!(soon(client.request(session, get("/who"))).await.unwrap().payload, b"nobody");
}

#[tokio::test]
async fn port_in_use_is_an_error_and_not_shared() {
    let (server, _events) = shard(server_security(), Echo);
    let again = ShardConfig::new(server.local_addr(), server_security());
    assert!(Shard::spawn(again, Box::new(Echo)).is_err());
}

/// Serves where another shard was; a test beside this one may have got the port meanwhile, and gives it back.
async fn freed(address: SocketAddr) -> (ShardHandle, Receiver<Event>) {
    loop {
        match Shard::spawn(ShardConfig::new(address, server_security()), Box::new(Echo)) {
            Ok(served) => return served,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn stopping_frees_the_port_and_tells_the_peers() {
    let (server, _events) = shard(server_security(), Echo);
    let (client, mut at_client) = shard(client_security("lamp-1", KEY), NoService);
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    let address = server.local_addr();
    server.stop();
    let Some(Event::Closed(peer, CloseReason::Peer)) = soon(at_client.recv()).await else { panic!() };
    assert_eq!(peer.session, session);
    assert_eq!(soon(client.request(session, get("/who"))).await, Err(RequestError::NoSession));
    assert_eq!(soon(server.connect(address)).await.unwrap_err(), ConnectError::Stopped);
    let (server, _events) = soon(freed(address)).await;
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    assert_eq!(soon(client.request(session, get("/who"))).await.unwrap().payload, b"lamp-1");
}

#[tokio::test]
async fn reconnecting_from_the_same_port_replaces_the_session() {
    let (server, mut at_server) = shard(server_security(), Echo);
    let (client, mut at_client) = shard(client_security("lamp-1", KEY), NoService);
    let first = soon(client.connect(server.local_addr())).await.unwrap().session;
    let second = soon(client.connect(server.local_addr())).await.unwrap().session;
    assert_eq!(soon(client.request(second, get("/who"))).await.unwrap().payload, b"lamp-1");
    let Some(Event::Closed(peer, CloseReason::Replaced)) = soon(at_client.recv()).await else { panic!() };
    assert_eq!(peer.session, first);
    for expected in ["connected", "closed", "connected"] {
        let event = match soon(at_server.recv()).await.unwrap() {
            Event::Connected(_) => "connected",
            Event::Closed(_, CloseReason::Replaced) => "closed",
            other => panic!("{other:?}"),
        };
        assert_eq!(event, expected);
    }
}

#[tokio::test]
async fn request_whose_caller_gave_up_makes_room_for_others() {
    let (server, mut at_server) = shard(server_security(), NoService);
    let mut config = ShardConfig::new(loopback(), client_security("lamp-1", KEY));
    config.coap.in_flight_max = 1;
    let (client, _at_client) = Shard::spawn(config, Box::new(NoService)).unwrap();
    let session = soon(client.connect(server.local_addr())).await.unwrap().session;
    assert!(matches!(soon(at_server.recv()).await, Some(Event::Connected(_))));
    let abandoned = tokio::spawn({
        let client = client.clone();
        async move { client.request(session, get("/slow")).await }
    });
    assert!(matches!(soon(at_server.recv()).await, Some(Event::Request { .. })));
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    let asked = tokio::spawn(async move { client.request(session, get("/next")).await });
    let Some(Event::Request { exchange, .. }) = soon(at_server.recv()).await else { panic!() };
    server.respond(exchange, Response::new(Code::CONTENT));
    assert_eq!(soon(asked).await.unwrap().unwrap().code, Code::CONTENT);
}
