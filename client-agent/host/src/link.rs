//! One link of the device: a socket of its own, a session, and the request that is under way on it.

use crate::server::{self, ServerError};
use crate::status::Traffic;
use bellwether_agent::agent::Ticket;
use bellwether_agent::coap::{ExchangeId, Failure, Request, Response};
use bellwether_net::coap::Config as CoapConfig;
use bellwether_net::{
    ConnectError, DtlsConfig, Event as NetEvent, NoService, Peer, RequestError, Secret, Security, SessionId,
    Shard, ShardConfig, ShardHandle,
};
use std::error::Error;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;

/// A link to a server or a gateway.
pub(crate) struct Link {
    name: &'static str,
    security: Security,
    ack_timeout: Duration,
    socket: Option<Socket>,
    peer: Option<SessionId>,
    connecting: Option<Waiting<Attempt>>,
    in_flight: Option<Waiting<(Ticket, Result<Response, RequestError>)>>,
    /// Bytes of sockets that are closed.
    traffic_before: Traffic,
}

/// What happened on a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A session stands.
    Connected,
    /// The session ended, or none came about.
    Disconnected,
    /// The request that was under way has its response.
    Answered(Ticket, Response),
    /// It will not have one.
    Failed(Ticket, Failure),
    /// The peer asks something; answer with [`Link::respond`].
    Request(ExchangeId, Request),
    /// Nothing that concerns the agent.
    Nothing,
    /// The thread of the socket has died.
    Dead,
}

/// Why no session came about.
#[derive(Debug, Error)]
enum LinkError {
    #[error(transparent)]
    Name(#[from] ServerError),
    #[error("no socket can be had")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What became of a try to make a session.
struct Attempt {
    /// A socket that was bound for it.
    bound: Option<Socket>,
    session: Result<Peer, LinkError>,
}

/// A bound socket with the thread that serves it.
struct Socket {
    net: ShardHandle,
    events: mpsc::Receiver<NetEvent>,
}

impl Link {
    /// Makes a link that is not connected; `None` where the credential is none.
    #[must_use]
    pub(crate) fn new(
        name: &'static str,
        (identity, psk): (&str, &[u8]),
        ack_timeout: Duration,
        traffic_before: Traffic,
    ) -> Option<Self> {
        let identity = identity.as_bytes().to_vec();
        let security = Security::PskClient { identity, key: Secret::new(psk.to_vec())? };
        Some(Self {
            name,
            security,
            ack_timeout,
            socket: None,
            peer: None,
            connecting: None,
            in_flight: None,
            traffic_before,
        })
    }

    /// Begins a session with a `coaps` URI; [`Link::wait`] tells what became of it.
    pub(crate) fn connect(&mut self, uri: &str) {
        let (uri, security, ack_timeout) = (uri.to_owned(), self.security.clone(), self.ack_timeout);
        let net = self.socket.as_ref().map(|socket| socket.net.clone());
        self.connecting = Some(Box::pin(async move {
            let mut bound = None;
            let session = try_connect(&uri, net, &mut bound, security, ack_timeout).await;
            Attempt { bound, session }
        }));
    }

    /// Tells whether there is a session.
    #[must_use]
    pub(crate) fn is_connected(&self) -> bool {
        self.peer.is_some()
    }

    /// Sends a request over the session; [`Link::wait`] gives the response.
    pub(crate) fn send(&mut self, ticket: Ticket, request: Request) {
        let via = self.peer.zip(self.socket.as_ref().map(|socket| socket.net.clone()));
        self.in_flight = Some(Box::pin(async move {
            match via {
                Some((session, net)) => (ticket, net.request(session, request).await),
                None => (ticket, Err(RequestError::NoSession)),
            }
        }));
    }

    /// Answers a request of the peer.
    pub(crate) fn respond(&self, exchange: ExchangeId, response: Response) {
        if let Some(socket) = &self.socket {
            socket.net.respond(exchange, response);
        }
    }

    /// Ends the session, or gives up the one that is being made.
    pub(crate) fn drop_session(&mut self) {
        self.in_flight = None;
        self.connecting = None;
        if let (Some(session), Some(socket)) = (self.peer.take(), &self.socket) {
            socket.net.close(session);
        }
    }

    /// Waits until something happens, for ever where nothing can.
    pub(crate) async fn wait(&mut self) -> LinkEvent {
        // In this order: an answer that came before a request of the peer, as a receipt before an Execute, is taken
        // before it.
        tokio::select! {
            biased;
            (ticket, answer) = of(&mut self.in_flight) => {
                self.in_flight = None;
                match answer {
                    Ok(response) => LinkEvent::Answered(ticket, response),
                    Err(error) => LinkEvent::Failed(ticket, failure(error)),
                }
            }
            event = next_event(&mut self.socket) => self.take_event(event),
            attempt = of(&mut self.connecting) => self.take_attempt(attempt),
        }
    }

    /// Tells how many bytes went over the link since the process started.
    #[must_use]
    pub(crate) fn traffic(&self) -> Traffic {
        let now = self.socket.as_ref().map(|socket| socket.net.counters().sessions.traffic);
        self.traffic_before + now.map(Traffic::from).unwrap_or_default()
    }

    /// Takes what comes in, or loses it, as with a radio that is off.
    pub(crate) async fn listen(&self, listens: bool) {
        if let Some(socket) = &self.socket {
            socket.net.listen(listens).await;
        }
    }

    /// Tells how many datagrams came while it did not listen.
    #[must_use]
    pub(crate) fn missed(&self) -> u64 {
        self.socket.as_ref().map_or(0, |socket| socket.net.counters().datagrams_missed)
    }

    /// Frees the socket. What was handed over before, such as the answer to the Execute that restarts the device,
    /// still goes out.
    pub(crate) fn close(mut self) {
        // A socket that is being bound for a session is freed with its future.
        self.connecting = None;
        if let Some(socket) = &self.socket {
            socket.net.stop();
        }
    }

    fn take_event(&mut self, event: Option<NetEvent>) -> LinkEvent {
        match event {
            Some(NetEvent::Request { exchange, request, .. }) => LinkEvent::Request(exchange, request),
            Some(NetEvent::Closed(peer, reason)) if Some(peer.session) == self.peer => {
                tracing::info!(link = self.name, %reason, "session closed");
                self.peer = None;
                self.in_flight = None;
                LinkEvent::Disconnected
            }
            Some(_) => LinkEvent::Nothing,
            None => LinkEvent::Dead,
        }
    }

    fn take_attempt(&mut self, attempt: Attempt) -> LinkEvent {
        self.connecting = None;
        if let Some(bound) = attempt.bound {
            self.traffic_before = self.traffic();
            if let Some(old) = self.socket.replace(bound) {
                old.net.stop();
            }
        }
        match attempt.session {
            Ok(peer) => {
                tracing::info!(link = self.name, address = %peer.address, "session established");
                self.peer = Some(peer.session);
                LinkEvent::Connected
            }
            Err(error) => {
                let reason = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(link = self.name, %error, reason, "trying again later");
                LinkEvent::Disconnected
            }
        }
    }
}

/// Makes a session on `net`, or on a socket that is bound for it where that is of the other address family.
async fn try_connect(
    uri: &str,
    net: Option<ShardHandle>,
    bound: &mut Option<Socket>,
    security: Security,
    ack_timeout: Duration,
) -> Result<Peer, LinkError> {
    let address = server::resolve(uri).await?;
    let net = match net.filter(|net| net.local_addr().is_ipv4() == address.is_ipv4()) {
        Some(net) => net,
        None => bound.insert(Socket::bind(address, security, ack_timeout)?).net.clone(),
    };
    Ok(net.connect(address).await?)
}

impl Socket {
    /// Binds a port for talking to `to`.
    fn bind(to: SocketAddr, security: Security, ack_timeout: Duration) -> io::Result<Self> {
        let mut config = ShardConfig::new(server::local_for(to), security);
        config.coap = coap_config(ack_timeout);
        config.dtls = DtlsConfig {
            retransmit_first: ack_timeout / 2,
            handshake_timeout: ack_timeout * HANDSHAKE_FACTOR,
            ..DtlsConfig::default()
        };
        let (net, events) = Shard::spawn(config, Box::new(NoService))?;
        Ok(Self { net, events })
    }
}

async fn next_event(socket: &mut Option<Socket>) -> Option<NetEvent> {
    match socket {
        Some(socket) => socket.events.recv().await,
        None => pending().await,
    }
}

/// Waits for a future that may not be there, and then for ever.
async fn of<T>(future: &mut Option<Waiting<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn failure(error: RequestError) -> Failure {
    match error {
        RequestError::Failed(failure) => failure,
        // Nothing was sent, or the session ended meanwhile: what the agent asked for is not under way.
        _ => Failure::PeerGone,
    }
}

/// Times that follow from the first wait, as RFC 7252 §4.8.2 derives them.
fn coap_config(ack_timeout: Duration) -> CoapConfig {
    let mut config = CoapConfig::default();
    config.transmission.ack_timeout = ack_timeout;
    config.transmission.processing_delay = ack_timeout / 2;
    config.response_wait = config.transmission.max_transmit_wait();
    config
}

/// Time that a handshake may take, in first waits: 30 s with CoAP's own 2 s, five transmissions of every flight.
const HANDSHAKE_FACTOR: u32 = 15;
