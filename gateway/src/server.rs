//! The session with the server: made again whenever it is gone, kept alive, and listened on.

use std::sync::Arc;

use bellwether_manifests::message::content_format;
use bellwether_net::coap::{Code, ExchangeId, Method, Request, Response};
use bellwether_net::{
    ConnectError, DtlsConfig, Event, Machine, NoService, Secret, Security, ShardConfig, ShardHandle,
};
use lwm2m_rs::ContentFormat;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::shelf::ShelfError;
use crate::trust::TrustError;
use crate::uplink::{self, Link, UplinkError};

/// How the gateway shows to the server who it is.
pub struct Credential {
    /// Name of the gateway.
    pub name: String,
    /// Key of the link.
    pub key: Secret,
    /// Servers, in their order.
    pub servers: Vec<String>,
}

/// Why a session did not come about or ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("the server's address can't be found")]
    Resolve(#[source] std::io::Error),
    #[error("no socket is to be had")]
    Socket(#[source] std::io::Error),
    #[error("no session came about")]
    Connect(#[from] ConnectError),
    #[error("the server did not take the greeting")]
    Greeting,
    #[error("the server does not answer")]
    Silent(#[from] UplinkError),
    #[error("the session was closed")]
    Closed,
}

/// Keeps a session with the server until the task is dropped.
pub async fn run(gateway: Arc<Gateway>, credential: Credential) {
    let mut backoff = gateway.backoff();
    for uri in credential.servers.iter().cycle() {
        let mut was_up = false;
        let ended = one_session(&gateway, &credential, uri, &mut was_up).await;
        gateway.uplink.set(None);
        if was_up {
            backoff.reset();
        }
        let wait = gateway.jittered(backoff.after_failure());
        let cause = std::error::Error::source(&ended).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(server = uri, reason = %ended, cause, wait_ms = wait.as_millis(), "no server");
        sleep(wait).await;
    }
}

/// The socket of one session; it is gone with the session, so that a dead one leaves nothing behind.
struct Socket(ShardHandle, Arc<dyn Machine>);

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing waits for the thread; a task must not.
        let shard = self.0.clone();
        self.1.work(Box::new(move || shard.stop()));
    }
}

async fn one_session(gateway: &Arc<Gateway>, credential: &Credential, uri: &str, was_up: &mut bool) -> Ended {
    let opened = open(gateway, credential, uri).await;
    let (socket, mut events, link) = match opened {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    gateway.uplink.set(Some(link));
    if let Err(ended) = greet(gateway).await {
        return ended;
    }
    tracing::info!(server = uri, "session with the server");
    *was_up = true;
    gateway.children_wake.notify_one();
    gateway.outbox_wake.notify_one();
    gateway.ahead_wake.notify_one();
    let ended = tokio::select! {
        // What is ready least often first, so that nothing starves.
        biased;
        ended = stay(gateway) => ended,
        ended = read_children(gateway) => ended,
        ended = listen(gateway, &socket.0, &mut events) => ended,
    };
    drop(socket);
    ended
}

async fn open(
    gateway: &Gateway,
    credential: &Credential,
    uri: &str,
) -> Result<(Socket, mpsc::Receiver<Event>, Link), Ended> {
    let server = uplink::resolve(uri).await.map_err(Ended::Resolve)?;
    let (identity, key) = (credential.name.as_bytes().to_vec(), credential.key.clone());
    let mut config = ShardConfig::new(uplink::local_for(server), Security::PskClient { identity, key });
    config.coap.transmission.ack_timeout = gateway.first_wait();
    // RFC 7252 §4.7 asks for one outstanding interaction with a server unless more is agreed; this server knows that
    // one gateway speaks for many devices.
    config.coap.transmission.nstart = NSTART;
    config.coap.in_flight_max = IN_FLIGHT_MAX;
    config.coap.body_bytes_max = BODY_BYTES_MAX;
    // Three retransmissions, as for any other answer: a line that comes back is noticed with the next handshake.
    let handshake_timeout = gateway.config.answer_wait();
    let retransmit_first = gateway.first_wait() / 2;
    config.dtls = DtlsConfig { retransmit_first, handshake_timeout, ..DtlsConfig::default() };
    let (shard, events) = gateway.machine.open_shard(config, Box::new(NoService)).map_err(Ended::Socket)?;
    let socket = Socket(shard.clone(), Arc::clone(&gateway.machine));
    let peer = shard.connect(server).await?;
    Ok((socket, events, Link { shard, session: peer.session }))
}

/// Tells the server that the gateway is there.
async fn greet(gateway: &Gateway) -> Result<(), Ended> {
    let lifetime = format!("lt={}", gateway.config.lifetime().as_secs());
    let response = gateway.uplink.ask(Request::new(Method::Post, "/g").with_query(&lifetime)).await?;
    if response.code.is_success() { Ok(()) } else { Err(Ended::Greeting) }
}

/// Repeats the greeting in half its lifetime, and at once when a request was not answered.
async fn stay(gateway: &Gateway) -> Ended {
    loop {
        tokio::select! {
            biased;
            () = sleep(gateway.config.lifetime() / 2) => {}
            () = gateway.uplink.suspected() => {}
        }
        if let Err(ended) = greet(gateway).await {
            return ended;
        }
    }
}

/// Reads the list of children whenever it may have changed.
async fn read_children(gateway: &Arc<Gateway>) -> Ended {
    loop {
        gateway.children_wake.notified().await;
        let mut backoff = gateway.backoff();
        while let Err(reason) = fetch_children(gateway).await {
            tracing::warn!(reason, "the list of children is not read; trying again");
            sleep(gateway.jittered(backoff.after_failure())).await;
        }
    }
}

async fn fetch_children(gateway: &Arc<Gateway>) -> Result<(), String> {
    let mut request = Request::new(Method::Get, "/g/c");
    request.accept = Some(CBOR);
    let response = gateway.uplink.ask_at_length(request).await.map_err(|error| error.to_string())?;
    if response.code != Code::CONTENT {
        return Err(format!("the server answered {}", response.code));
    }
    let list = zeroize::Zeroizing::new(response.payload);
    let room = Arc::clone(gateway);
    let taken = gateway.machine.beside(move || room.family.take(&list)).await;
    let gone = taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    tracing::info!(children = gateway.family.len(), gone = gone.len(), "list of children");
    gateway.part_with(&gone);
    gateway.push_wake.notify_one();
    Ok(())
}

/// Answers what the server asks until the session is gone.
async fn listen(gateway: &Arc<Gateway>, shard: &ShardHandle, events: &mut mpsc::Receiver<Event>) -> Ended {
    while let Some(event) = events.recv().await {
        match event {
            Event::Closed(..) => return Ended::Closed,
            Event::Request { exchange, request, .. } => answer(gateway, shard, exchange, request).await,
            // A client is told of no other session, and asked for no keys.
            _ => {}
        }
    }
    Ended::Closed
}

async fn answer(gateway: &Arc<Gateway>, shard: &ShardHandle, exchange: ExchangeId, request: Request) {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let code = match (request.method, path.as_slice(), request.content_format) {
        (Method::Put, ["b"], Some(content_format::BUNDLE)) => take_bundle(gateway, request.payload).await,
        (Method::Put, ["a"], Some(content_format::ANCHORS)) => take_anchors(gateway, request.payload).await,
        (Method::Post, ["g", "c"], _) => {
            gateway.children_wake.notify_one();
            Code::CHANGED
        }
        (Method::Put, ["b" | "a"], _) => Code::UNSUPPORTED_CONTENT_FORMAT,
        _ => Code::NOT_FOUND,
    };
    shard.respond(exchange, Response::new(code));
}

async fn take_bundle(gateway: &Arc<Gateway>, message: Vec<u8>) -> Code {
    let room = Arc::clone(gateway);
    let taken = gateway.machine.beside(move || room.shelf.take(&message, &room.trust.document())).await;
    match taken {
        Ok(Ok(bundle)) => {
            let (campaign, edition) = (&bundle.campaign, bundle.edition);
            tracing::info!(
                campaign,
                edition,
                grants = bundle.grants(),
                withdrawn = bundle.withdrawn,
                "bundle"
            );
            if !bundle.withdrawn && !bundle.is_current(gateway.now()) {
                tracing::warn!(campaign, "the bundle has expired by the clock here; requests are forwarded");
            }
            gateway.welcome(&bundle);
            Code::CHANGED
        }
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, cause, "a bundle is not kept");
            refusal_of_bundle(gateway, &error)
        }
        Err(_) => Code::INTERNAL_SERVER_ERROR,
    }
}

fn refusal_of_bundle(gateway: &Gateway, error: &ShelfError) -> Code {
    use crate::held::BundleRefusal;
    match error {
        ShelfError::Refused(BundleRefusal::Malformed(_)) => Code::BAD_REQUEST,
        ShelfError::Refused(_) => Code::UNAUTHORIZED,
        ShelfError::Edition { .. } => Code::CONFLICT,
        ShelfError::Anchors(_) | ShelfError::Disk(_) => {
            gateway.counters.disk_errors.one();
            Code::INTERNAL_SERVER_ERROR
        }
    }
}

async fn take_anchors(gateway: &Arc<Gateway>, document: Vec<u8>) -> Code {
    let room = Arc::clone(gateway);
    let taken = gateway.machine.beside(move || {
        let edition = room.trust.replace(&document)?;
        if let Err(error) = room.verify_again() {
            tracing::error!(%error, "bundles can't be verified again");
        }
        Ok(edition)
    });
    match taken.await {
        Ok(Ok(edition)) => {
            tracing::info!(edition, "anchors replaced");
            Code::CHANGED
        }
        Ok(Err(error)) => refusal_of_anchors(gateway, &error),
        Err(_) => Code::INTERNAL_SERVER_ERROR,
    }
}

fn refusal_of_anchors(gateway: &Gateway, error: &TrustError) -> Code {
    use bellwether_manifests::anchors::AnchorsError;
    tracing::warn!(%error, "anchors are not taken");
    match error {
        TrustError::Anchors(AnchorsError::Edition(_)) => Code::CONFLICT,
        TrustError::Anchors(AnchorsError::Cbor(_) | AnchorsError::Cose(_)) => Code::BAD_REQUEST,
        TrustError::Anchors(_) => Code::UNAUTHORIZED,
        TrustError::Disk(_) | TrustError::TooMany => {
            gateway.counters.disk_errors.one();
            Code::INTERNAL_SERVER_ERROR
        }
    }
}

/// Content-Format of CBOR (RFC 8949 §9.2).
pub(crate) const CBOR: u16 = ContentFormat::CBOR.0;

/// Requests that the server has not answered: three forwarded ones, one of the outbox, four flights of frames. It
/// takes eight of one peer.
const NSTART: usize = 8;

/// Requests that are sent or wait to be: none waits long behind the semaphores before it.
const IN_FLIGHT_MAX: usize = 64;

/// Bytes of one body: a signed bundle.
const BODY_BYTES_MAX: usize = 1024 * 1024;
