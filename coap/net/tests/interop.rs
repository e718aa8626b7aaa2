//! Foreign peers over loopback: libcoap with `OpenSSL` and with `GnuTLS` (`libcoap3-bin`), either role.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_net::{NoService, Peer, PskTable, Secret, Security, Service, Shard, ShardConfig, ShardHandle};
use tokio::time::timeout;

const KEY: &str = "0123456789abcdef";

fn key() -> Secret {
    Secret::new(KEY.into()).unwrap()
}

/// Answers with who asks on `/who`, else with the body it got.
struct Echo;

impl Service for Echo {
    fn answer(&mut self, peer: &Peer, request: &Request) -> Option<Response> {
        let mut body = request.payload.clone();
        if request.path == ["who"] {
            body = peer.identity.as_deref().unwrap_or("nobody").into();
        }
        Some(Response::new(Code::CONTENT).with_payload(0, body))
    }
}

fn server() -> ShardHandle {
    let table = PskTable::new();
    table.insert("lamp-1", key());
    let security = Security::PskServer(Arc::new(table));
    let config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), security);
    Shard::spawn(config, Box::new(Echo)).unwrap().0
}

/// Runs a libcoap client to its end; gives what it printed.
fn libcoap_client(tool: &str, arguments: &[&str], uri: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .args(["-B", "20", "-v", "0"])
        .args(arguments)
        .arg(uri)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} is needed (Debian: libcoap3-bin): {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// How often a client is started until it comes as far as the handshake.
const ATTEMPTS_MAX: usize = 10;
const CLIENTS: [&str; 2] = ["coap-client-openssl", "coap-client-gnutls"];

#[test]
fn libcoap_clients_get_their_identity() {
    let server = server();
    let uri = format!("coaps://{}/who", server.local_addr());
    for tool in CLIENTS {
        let printed = libcoap_client(tool, &["-m", "get", "-u", "lamp-1", "-k", KEY], &uri, b"");
        assert_eq!(String::from_utf8_lossy(&printed).trim(), "lamp-1", "{tool}");
    }
    assert_eq!(server.counters().sessions.handshakes_ok, 2);
}

#[test]
fn libcoap_clients_with_a_wrong_key_get_nothing() {
    let server = server();
    let uri = format!("coaps://{}/who", server.local_addr());
    for tool in CLIENTS {
        let arguments = ["-m", "get", "-u", "lamp-1", "-k", "fedcba9876543210"];
        // It gives up soon, on a slow machine even before it has shown its cookie.
        let before = server.counters().sessions.handshakes_begun;
        let begun = (0..ATTEMPTS_MAX).any(|_| {
            let printed = libcoap_client(tool, &arguments, &uri, b"");
            assert!(!String::from_utf8_lossy(&printed).contains("lamp-1"), "{tool}");
            server.counters().sessions.handshakes_begun > before
        });
        assert!(begun, "{tool}: {:?}", server.counters().sessions);
    }
    assert_eq!(server.counters().sessions.handshakes_ok, 0);
}

#[test]
fn libcoap_clients_pass_bodies_of_many_blocks() {
    let server = server();
    let uri = format!("coaps://{}/echo", server.local_addr());
    let body: Vec<u8> = (0..20_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    for tool in CLIENTS {
        let arguments = ["-m", "put", "-u", "lamp-1", "-k", KEY, "-f", "-", "-b", "1024"];
        let printed = libcoap_client(tool, &arguments, &uri, &body);
        assert_eq!(printed.trim_ascii_end(), body, "{tool}");
    }
}

/// A libcoap server that ends with the test.
struct LibcoapServer(Child);

impl Drop for LibcoapServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address of loopback that is this process's alone, so that nobody takes a port of it between a look and its use.
fn own_loopback() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, middle, low)
}

async fn get_from_libcoap(tool: &str) -> Response {
    let address = own_loopback();
    let server = Command::new(tool)
        .args(["-A", &address.to_string(), "-p", &PLAIN_PORT.to_string(), "-k", KEY, "-h", "hint", "-v", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = LibcoapServer(
        server.unwrap_or_else(|error| panic!("{tool} is needed (Debian: libcoap3-bin): {error}")),
    );
    let security = Security::PskClient { identity: b"lamp-1".to_vec(), key: key() };
    let config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), security);
    let (client, _events) = Shard::spawn(config, Box::new(NoService)).unwrap();
    // The handshake's retransmissions wait for the server to have started.
    let peer = client.connect(SocketAddr::from((address, PLAIN_PORT + 1))).await.unwrap();
    client.request(peer.session, Request::new(Method::Get, "/")).await.unwrap()
}

/// Where libcoap listens; it takes the next one for DTLS. Both are below those that systems give out by themselves.
const PLAIN_PORT: u16 = 25_683;

#[tokio::test]
async fn our_client_gets_from_libcoap_servers() {
    for tool in ["coap-server-openssl", "coap-server-gnutls"] {
        let response = timeout(Duration::from_mins(1), get_from_libcoap(tool)).await.unwrap();
        assert_eq!(response.code, Code::CONTENT, "{tool}");
        assert!(String::from_utf8_lossy(&response.payload).contains("libcoap"), "{tool}");
    }
}
